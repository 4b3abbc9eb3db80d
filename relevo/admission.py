"""Whether there is room for what comes in: one answer for all that fills up."""

from dataclasses import dataclass

from relevo.memory import Memory
from relevo.messages import Delivery
from relevo.store.crowds import Crowds
from relevo.store.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Admission:
    """What is asked for every webhook."""

    inbox: Inbox
    memory: Memory
    crowds: Crowds

    def overloaded(self, business_id: str) -> bool:
        """Tell whether nothing more of this business should be taken."""
        return self.memory.short or self.inbox.full_for(business_id)

    def turns_away(self, delivery: Delivery) -> bool:
        """Tell whether it is of somebody who has too much waiting already."""
        return self.crowds.turns_away(delivery)

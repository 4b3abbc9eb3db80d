"""Who a message is from, and which of a batch are one message, or from one person."""

import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from relevo import identity
from relevo.identity import PHONE
from relevo.messages import (
    CLOCK_SKEW_MAX,
    Address,
    AddressChange,
    Author,
    Delivery,
    InboundMessage,
    NewContact,
    Receipt,
)
from relevo.store.batches import Placed

LANES = 512
"""Strangers line up in so many, however many they are: a server has room for few thousand locks."""

Reached = tuple[str, str, str]


@dataclass(slots=True)
class Person:
    """A stranger under all addresses that a batch links: (kind, scope, value), phones first."""

    business_id: str
    canonical_key: str = ""
    addresses: list[Reached] = field(default_factory=list)

    def lanes(self) -> list[int]:
        """Return where he lines up, so that whoever shares an address with him meets after him.

        Who has one phone and nothing else needs none: his address is the key that is unique.
        """
        if len(self.addresses) == 1 and self.addresses[0][0] == PHONE:
            return []
        names = [*("\n".join(address) for address in self.addresses), self.canonical_key]
        return [
            zlib.crc32(f"{self.business_id}\n{name}".encode(errors="replace")) % LANES
            for name in names
        ]


class Placer:
    """Prepares what is delivered for its conversation."""

    def __init__(self, regions: Mapping[str, str], portfolios: Mapping[str, str]) -> None:
        """Take the regions of phones written without a country code, by business.

        And the portfolios of channels; one that is not among them is a portfolio of its own.
        """
        self._regions = regions
        self._portfolios = portfolios

    @property
    def businesses(self) -> Collection[str]:
        """Return whose deliveries it prepares."""
        return self._regions.keys()

    def reached(self, addresses: Sequence[Address], delivery: Delivery) -> list[Reached]:
        """Return addresses as they are stored: in one spelling, and within what that means them."""
        region, channel_id = self._regions[delivery.business_id], delivery.channel_id
        portfolio = self._portfolios.get(channel_id, channel_id)
        normalised = [identity.normalised(address, region) for address in addresses]
        return [
            (a.kind, identity.scope(a.kind, channel_id, portfolio), a.value) for a in normalised
        ]

    def batch(self, deliveries: Sequence[Delivery], receipts: Sequence[Receipt]) -> list[Placed]:
        """Prepare the messages of a batch; twins within it are one, under all their ids."""
        placed: dict[tuple[str, str], Placed] = {}
        unique: dict[int, Placed] = {}
        for owner, delivery in enumerate(deliveries):
            for message in delivery.arrivals:
                if not isinstance(message, InboundMessage):
                    continue
                item = self._place(owner, delivery, message)
                known = (placed.get((item.channel_id, key)) for key in item.keys)
                twins = {id(twin): twin for twin in known if twin is not None}
                first = min(twins.values(), key=lambda twin: twin.owner, default=item)
                unique[id(first)] = first
                # One that has the ids of two, which had none in common, makes those one too.
                for twin in (*twins.values(), item):
                    if twin is not first:
                        self._join(first, twin)
                        unique.pop(id(twin), None)
                        receipts[twin.owner].duplicates += 1
                placed.update(((first.channel_id, key), first) for key in first.keys)
        return sorted(
            unique.values(), key=lambda item: (item.business_id, item.channel_id, item.keys[0])
        )

    def links(self, deliveries: Sequence[Delivery]) -> list[tuple[str, ...]]:
        """Return the links that are told besides messages, sorted.

        These are changes of address, and all addresses of a contact. Each is (business, address,
        other address, reason), flat.
        """
        found = set()
        for delivery in deliveries:
            for arrival in delivery.arrivals:
                match arrival:
                    case AddressChange():
                        old, new, why = arrival.old, arrival.new, "number_changed"
                    case NewContact():
                        old, new, why = arrival.addresses[:1], arrival.addresses[1:], "message"
                    case _:
                        continue
                pairs = product(*(self.reached(a, delivery) for a in (old, new)))
                found |= {(delivery.business_id, *one, *other, why) for one, other in pairs}
        return sorted(found)

    def contacts(self, deliveries: Sequence[Delivery]) -> list[Placed]:
        """Prepare the contacts that the provider calls new; none is stored as a message."""
        return [
            self._place(owner, delivery, _as_message(arrival))
            for owner, delivery in enumerate(deliveries)
            for arrival in delivery.arrivals
            if isinstance(arrival, NewContact)
        ]

    def people(self, placed: Sequence[Placed]) -> list[Person]:
        """Return whom these are from: whoever shares an address, or a key, is one person.

        A phone and another address that came apart, before any message linked them, stay two.
        """
        leaders: dict[tuple[str, ...], tuple[str, ...]] = {}

        def leader(name: tuple[str, ...]) -> tuple[str, ...]:
            while (above := leaders.setdefault(name, name)) != name:
                leaders[name] = leaders[above]
                name = above
            return name

        for item in placed:
            first = leader((item.business_id, item.canonical_key))
            for address in item.addresses:
                leaders[leader((item.business_id, *address))] = first
        people: dict[tuple[str, ...], Person] = {}
        for item in placed:
            name = leader((item.business_id, item.canonical_key))
            person = people.setdefault(name, Person(item.business_id))
            person.addresses = _together(person.addresses, item.addresses)
        for person in people.values():
            person.canonical_key = self._canonical_key(person.business_id, person.addresses)
        return list(people.values())

    def _place(self, owner: int, delivery: Delivery, message: InboundMessage) -> Placed:
        region = self._regions[delivery.business_id]
        addresses = self.reached(message.addresses, delivery)
        business_id, scope = delivery.business_id, addresses[0][1]
        latest = delivery.received_at + CLOCK_SKEW_MAX
        return Placed(
            owner=owner,
            business_id=business_id,
            channel_id=delivery.channel_id,
            canonical_key=identity.canonical_key(business_id, message.addresses, region, scope),
            keys=list(message.keys),
            addresses=addresses,
            message=message,
            event_at=min(message.event_at or delivery.received_at, latest),
            received_at=delivery.received_at,
            written=_written(message.addresses, addresses, region),
        )

    def _join(self, first: Placed, twin: Placed) -> None:
        """Let a message have what its twin knows more: ids, and addresses, phones before others."""
        first.keys.extend(key for key in twin.keys if key not in first.keys)
        first.written |= twin.written
        if not set(twin.addresses) <= set(first.addresses):
            first.addresses = _together(first.addresses, twin.addresses)
            first.canonical_key = self._canonical_key(first.business_id, first.addresses)

    def _canonical_key(self, business_id: str, addresses: Sequence[Reached]) -> str:
        named = tuple(Address(kind, value) for kind, _scope, value in addresses)
        region, (_, scope, _) = self._regions[business_id], addresses[0]
        return identity.canonical_key(business_id, named, region, scope)


def _written(
    addresses: Sequence[Address], normalised: Sequence[Reached], region: str
) -> dict[Reached, str]:
    """Return the spelling of those that their provider spells otherwise than we do."""
    pairs = zip(addresses, normalised, strict=True)
    found = {reach: identity.as_written(address, region).value for address, reach in pairs}
    return {reach: value for reach, value in found.items() if value != reach[2]}


def _together(some: Sequence[Reached], more: Sequence[Reached]) -> list[Reached]:
    """Return every address once, the phones first, else as they came."""
    return sorted(dict.fromkeys((*some, *more)), key=lambda address: address[0] != PHONE)


def _as_message(contact: NewContact) -> InboundMessage:
    return InboundMessage(
        keys=("new-contact",),
        addresses=contact.addresses,
        author=Author.CUSTOMER,
        kind="contact",
        body="",
        event_at=None,
    )

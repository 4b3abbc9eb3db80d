"""Every move a conversation can make, as a table, and the picture that is drawn from it.

Two rules for this file:

1. The table is data: it decides nothing, `conversation.step` does. Tests hold every step that they
   take against it, so that neither it nor the picture can drift from the code.
2. A pair that is absent changes nothing: whatever happens in a state that the table does not list
   for it is late, repeated or unexpected.

`docs/conversation.mmd` holds exactly what `mermaid()` returns.
"""

from collections import defaultdict

States = frozenset[str]

_ENDED = frozenset({"Idle", "Gathering"})

TRANSITIONS: dict[tuple[str, str], States] = {
    ("Idle", "Looked"): _ENDED,
    ("Idle", "TimerFired"): _ENDED | {"Sending"},
    ("Gathering", "Looked"): _ENDED,
    ("Gathering", "TimerFired"): _ENDED | {"Recalling", "Ensuring", "Answering", "Sending"},
    ("Recalling", "Looked"): _ENDED | {"Recalling"},
    ("Recalling", "TimerFired"): _ENDED | {"Recalling", "Ensuring", "Answering"},
    ("Recalling", "HistoryRecalled"): _ENDED | {"Recalling", "Ensuring", "Answering"},
    ("Recalling", "Interrupted"): frozenset({"Recalling"}),
    ("Ensuring", "Looked"): _ENDED | {"Ensuring"},
    ("Ensuring", "TimerFired"): _ENDED | {"Ensuring", "Recalling"},
    ("Ensuring", "ConversationEnsured"): _ENDED | {"Ensuring", "Answering"},
    ("Ensuring", "AnswerFailed"): _ENDED | {"Ensuring", "Recalling"},
    ("Ensuring", "Interrupted"): _ENDED | {"Ensuring", "Recalling"},
    ("Answering", "Looked"): _ENDED | {"Answering"},
    ("Answering", "TimerFired"): _ENDED | {"Answering", "Recalling", "Reconciling"},
    ("Answering", "Answered"): _ENDED | {"Answering", "Sending"},
    ("Answering", "AnswerFailed"): _ENDED | {"Answering", "Recalling", "Ensuring", "Reconciling"},
    ("Answering", "Interrupted"): _ENDED | {"Answering", "Ensuring", "Recalling", "Reconciling"},
    ("Reconciling", "Looked"): _ENDED | {"Reconciling"},
    ("Reconciling", "TimerFired"): _ENDED | {"Reconciling", "Recalling", "Ensuring"},
    ("Reconciling", "Answered"): _ENDED | {"Reconciling", "Sending"},
    ("Reconciling", "AnswerFailed"): _ENDED | {"Reconciling", "Recalling", "Ensuring"},
    ("Reconciling", "Reconciled"): _ENDED | {"Reconciling", "Recalling", "Ensuring"},
    ("Reconciling", "Interrupted"): _ENDED | {"Reconciling", "Recalling"},
    ("Sending", "Looked"): _ENDED | {"Sending"},
    ("Sending", "TimerFired"): _ENDED | {"Sending"},
    ("Sending", "SendAccepted"): _ENDED | {"Sending"},
    ("Sending", "SendFailed"): _ENDED | {"Sending"},
    ("Sending", "HistoryRecalled"): _ENDED | {"Sending"},
    ("Sending", "Interrupted"): _ENDED | {"Sending"},
}


def mermaid() -> str:
    """Draw the table: one line per move, its events as the label; staying is left out."""
    events: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (state, event), afters in TRANSITIONS.items():
        for after in afters - {state}:
            events[state, after].append(event)
    moves = sorted(events, key=lambda move: [_STATES.index(state) for state in move])
    lines = [f"    {a} --> {b}: {', '.join(events[a, b])}" for a, b in moves]
    return "\n".join(["stateDiagram-v2", "    [*] --> Idle", *lines, ""])


_STATES = ("Idle", "Gathering", "Recalling", "Ensuring", "Answering", "Reconciling", "Sending")

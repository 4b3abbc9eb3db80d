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

TRANSITIONS: dict[tuple[str, str], States] = {
    ("Idle", "Looked"): frozenset({"Idle", "Gathering"}),
    ("Gathering", "Looked"): frozenset({"Gathering", "Idle"}),
    ("Gathering", "TimerFired"): frozenset(
        {"Gathering", "Recalling", "Ensuring", "Answering", "Idle"}
    ),
    ("Recalling", "Looked"): frozenset({"Recalling", "Idle", "Gathering"}),
    ("Recalling", "TimerFired"): frozenset({"Recalling", "Ensuring", "Answering"}),
    ("Recalling", "HistoryRecalled"): frozenset(
        {"Recalling", "Ensuring", "Answering", "Idle", "Gathering"}
    ),
    ("Recalling", "Interrupted"): frozenset({"Recalling"}),
    ("Ensuring", "Looked"): frozenset({"Ensuring", "Idle", "Gathering"}),
    ("Ensuring", "TimerFired"): frozenset({"Ensuring", "Recalling", "Idle", "Gathering"}),
    ("Ensuring", "ConversationEnsured"): frozenset({"Ensuring", "Answering"}),
    ("Ensuring", "AnswerFailed"): frozenset({"Ensuring", "Idle", "Gathering"}),
    ("Ensuring", "Interrupted"): frozenset({"Ensuring", "Recalling"}),
    ("Answering", "Looked"): frozenset({"Answering", "Idle", "Gathering"}),
    ("Answering", "TimerFired"): frozenset(
        {"Answering", "Recalling", "Ensuring", "Idle", "Gathering"}
    ),
    ("Answering", "Answered"): frozenset({"Answering", "Sending", "Idle", "Gathering"}),
    ("Answering", "AnswerFailed"): frozenset({"Answering", "Ensuring", "Idle", "Gathering"}),
    ("Answering", "Interrupted"): frozenset({"Answering", "Ensuring", "Idle", "Gathering"}),
    ("Sending", "Looked"): frozenset({"Sending", "Idle", "Gathering"}),
    ("Sending", "TimerFired"): frozenset({"Sending", "Idle", "Gathering"}),
    ("Sending", "SendAccepted"): frozenset({"Sending", "Idle", "Gathering"}),
    ("Sending", "SendFailed"): frozenset({"Sending", "Idle", "Gathering"}),
    ("Sending", "HistoryRecalled"): frozenset({"Sending", "Idle", "Gathering"}),
    ("Sending", "Interrupted"): frozenset({"Sending", "Idle", "Gathering"}),
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


_STATES = ("Idle", "Gathering", "Recalling", "Ensuring", "Answering", "Sending")

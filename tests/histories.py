"""Random histories: everything that can happen to one customer, in small numbers."""

from hypothesis import strategies as st

from relevo.events import AnswerFailure, SendFailure
from relevo.messages import Author
from relevo.turns import RecallStatus, Rules
from tests.plans import Arrival, Asking, Deed, History, Taking, Thinking, Wish

AUTHORS = (
    *[Author.CUSTOMER] * 6,
    *[Author.AGENT] * 3,
    Author.AUTOMATION,
    Author.UNKNOWN,
)
PAUSES = (1.5, 3, 7, 12, 33, 61, 90, 250, 700)
DELAYS = (0, 0, 0, 1, 4, 15, 130, 400)
BRIEF = (1, 1, 2, 6)
CHANGES = (0.5, 2, 5.5, 9, 11, 12.5, 14, 20, 45, 300)

rules = st.builds(
    Rules,
    quiet_seconds=st.just(10),
    gather_max_seconds=st.just(30),
    gap_seconds=st.just(60),
    first_contact_lookback_seconds=st.sampled_from((600, 600, 0)),
    recall_timeout_seconds=st.just(5),
    late_answer_seconds=st.just(120),
    answer_timeout_seconds=st.just(20),
    ai_conversations=st.booleans(),
    human_hold_seconds=st.sampled_from((0, 0, 40, 300)),
    fallback_text=st.sampled_from(("", "One moment, please")),
)


changing = st.tuples(st.sampled_from(CHANGES), st.sampled_from((False, False, True)))


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[Arrival, ...]:
    """Draw a chat of up to a dozen messages, no two at one instant."""
    found = []
    at_seconds = 0.0
    for _ in range(draw(st.integers(1, 12))):
        at_seconds += draw(st.sampled_from(PAUSES))
        author = draw(st.sampled_from(AUTHORS))
        seen_max = 3 if author is Author.CUSTOMER else 1
        seen_min = 0 if draw(st.integers(0, 4)) == 0 or author is not Author.CUSTOMER else 1
        delays = draw(st.lists(st.sampled_from(DELAYS), min_size=seen_min, max_size=seen_max))
        one_id = draw(st.booleans())
        timed = bool(delays) or draw(st.integers(0, 5)) > 0
        # Who tells of changes gives a message one id, in the webhook and in the history, and a
        # time in both.
        changes = draw(st.lists(changing, max_size=3)) if one_id and timed else []
        found.append(
            Arrival(
                author,
                at_seconds,
                tuple(delays),
                in_history=draw(st.integers(0, 4)) > 0,
                timed=timed,
                one_id=one_id,
                changes=tuple(changes),
            )
        )
    return tuple(found)


recalls = st.lists(
    st.builds(
        Asking,
        status=st.sampled_from(
            (
                *[RecallStatus.COMPLETE] * 3,
                RecallStatus.FAILED,
                RecallStatus.TRUNCATED,
                RecallStatus.UNAVAILABLE,
            )
        ),
        seconds=st.sampled_from((1, 1, 3, 7, None)),
    ),
    max_size=5,
)

thoughts = st.lists(
    st.builds(
        Thinking,
        parts=st.integers(0, 3),
        failure=st.sampled_from((*[None] * 6, *AnswerFailure)),
        seconds=st.sampled_from((*BRIEF, 15, None)),
        stored=st.booleans(),
        stored_seconds=st.sampled_from((1, 3, 25)),
    ),
    max_size=8,
)

sends = st.lists(
    st.builds(
        Taking,
        failure=st.sampled_from((*[None] * 5, *SendFailure)),
        arrives=st.booleans(),
        named=st.booleans(),
        seconds=st.sampled_from((*BRIEF, None)),
        echo_seconds=st.sampled_from((None, None, 0.5, 3)),
    ),
    max_size=8,
)

deeds = st.one_of(
    st.builds(Deed, st.just(Wish.HOLD), st.sampled_from((5, 45, 200, None))),
    st.builds(
        Deed,
        st.sampled_from(
            (
                Wish.GIVE_BACK,
                Wish.ANSWER,
                Wish.ANSWER,
                Wish.WRITE,
                Wish.WRITE,
                Wish.WRITE_AHEAD,
                Wish.SAY,
            )
        ),
    ),
)

times = st.sampled_from([n * 7.25 for n in range(120)])
commits = st.integers(1, 25)

histories = st.builds(
    History,
    rules=rules,
    arrivals=arrivals(),
    recalls=recalls.map(tuple),
    ensures=thoughts.map(tuple),
    thoughts=thoughts.map(tuple),
    sends=sends.map(tuple),
    crashes=st.lists(st.tuples(times, st.sampled_from((1, 30, 300))), max_size=2).map(tuple),
    crashing_commits=st.lists(st.tuples(commits, st.booleans()), max_size=2).map(tuple),
    slips=st.lists(commits, max_size=2, unique=True).map(tuple),
    returns=st.lists(commits, max_size=3, unique=True).map(tuple),
    deeds=st.lists(st.tuples(times, deeds), max_size=6).map(tuple),
    slipping_changes=st.lists(st.tuples(commits, st.booleans()), max_size=3).map(tuple),
    slipping_deeds=st.lists(st.tuples(commits, deeds), max_size=2).map(tuple),
    sweeps=st.lists(times, max_size=2).map(tuple),
    new_contact=st.booleans(),
)

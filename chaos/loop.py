"""The kill loop: the server dies at random instants under traffic, and the books must be right."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import asyncpg

from bench.rig import Outsides
from chaos.ledger import Findings, examine
from chaos.server import Server, Site, until
from chaos.town import Town
from relevo.clock import SystemClock

STARTING_SHARE = 0.25
STARTING_SECONDS_MAX = 1.0
"""So many lives end within this after their process was made, mostly before they serve."""
SERVING_SECONDS_MAX = 2.0
"""The others end within this after they began to serve."""
QUIET_SECONDS = 0.3
RULES = "first_contact_lookback_seconds = 0\n"
"""The provider allows ten questions about history in ten seconds; they are for sends in doubt."""
DRAIN_SECONDS_MAX = 180
"""For the last life: doubts are resolved within 120 s."""
LAST_WORDS_MAX = 3
STOP_SECONDS_MAX = 15
"""10 s of drain, and what is around it."""

BLIND_SECONDS = 120
"""So long a send in doubt is looked for before it is repeated without an answer."""

FATES = """
SELECT m.body, CASE WHEN m.source = 'history' AND EXISTS (SELECT FROM turn AS t
        WHERE t.conversation_id = m.conversation_id AND m.id = ANY (t.missed_ids)
            AND t.outcome = 'answered') THEN 'told' ELSE m.fate END AS fate
FROM message AS m WHERE m.author = 'customer'
"""
RESENT = """
SELECT m.body, o.started_at - o.first_started_at >= $1::interval AS blind FROM outbox AS o
JOIN message AS m ON (m.business_id, m.id) = (o.business_id, o.message_id) WHERE o.resent
"""
NOTHING_WAITS = """
SELECT NOT EXISTS (SELECT FROM untold WHERE state NOT IN ('context', 'failed'))
    AND NOT EXISTS (SELECT FROM turn WHERE stage <> 'ended')
"""
FAILED = "SELECT count(*) FROM untold WHERE state = 'failed'"
OUTCOMES = "SELECT outcome, count(*) AS turns FROM turn GROUP BY outcome"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much chaos; the same seed draws the same instants."""

    kills: int
    customers: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the loop has found."""

    plan: Plan
    findings: Findings
    audited: int
    """The exit code of `relevo audit`."""
    fates: dict[str, int]
    exit_code: int | None
    stop_seconds: float
    seconds: float
    kills_while_starting: int
    messages: int
    replies: int
    redelivered: int
    repeated: int
    resent: int
    """Texts that were sent again after a doubt."""
    blind: int
    """Of these, without an answer of the history: only they may be at the provider twice."""
    outcomes: dict[str, int]

    @property
    def sound(self) -> bool:
        """Tell whether everything is as promised."""
        return self.findings.sound and self.audited == 0 and self.exit_code == 0


async def kill_loop(plan: Plan, site: Site, say: Callable[[str], None]) -> Outcome:
    """Kill the server so often under traffic; then let it finish, stop it, and read the books."""
    started_at = SystemClock().monotonic()
    # The instants do not depend on how the traffic happens to go.
    instants = random.Random(f"{plan.seed} instants")
    async with Town(plan.customers, random.Random(f"{plan.seed} town")) as town:
        server = Server(site, Outsides(town.wati.base_url, town.ai.base_url, QUIET_SECONDS, RULES))
        town.url = server.webhooks
        try:
            await server.start()
            await server.serving()
            town.open()
            while_starting = 0
            for number in range(1, plan.kills + 1):
                say(f"kill {number} of {plan.kills}; {len(town.letters):,} messages")
                while_starting += await _live_and_die(server, instants)
                town.complain()
                await server.start()
            await server.serving()
            say("the last life ends what is open …")
            async with site.database() as connection:
                await _ended(town, connection)
            exit_code, stop_seconds = await server.stop(STOP_SECONDS_MAX)
            audited, _ = await server.ask("audit --json")
            async with site.database() as connection:
                fates = {r["body"]: r["fate"] for r in await connection.fetch(FATES)}
                resent = await connection.fetch(RESENT, timedelta(seconds=BLIND_SECONDS))
                outcomes = {r["outcome"]: r["turns"] for r in await connection.fetch(OUTCOMES)}
        finally:
            await server.close()
        replies = town.replies
        blind = frozenset(row["body"] for row in resent if row["blind"])
        return Outcome(
            plan=plan,
            findings=examine(town.letters.values(), replies, fates, town.with_agents, blind),
            audited=audited,
            fates=dict(Counter(fates.values())),
            exit_code=exit_code,
            stop_seconds=stop_seconds,
            seconds=SystemClock().monotonic() - started_at,
            kills_while_starting=while_starting,
            messages=len(town.letters),
            replies=len(replies),
            redelivered=town.redelivered,
            repeated=town.repeated,
            resent=len(resent),
            blind=len(blind),
            outcomes=outcomes,
        )


async def _live_and_die(server: Server, instants: random.Random) -> bool:
    """Kill a life at a random instant; True: it had not begun to serve."""
    if instants.random() < STARTING_SHARE:
        serves = False
        with suppress(TimeoutError):
            async with asyncio.timeout(instants.uniform(0, STARTING_SECONDS_MAX)):
                await server.serving()
                serves = True
    else:
        await server.serving()
        serves = True
        await asyncio.sleep(instants.uniform(0, SERVING_SECONDS_MAX))
    await server.kill()
    return not serves


async def _ended(town: Town, connection: asyncpg.Connection) -> None:
    """Wait until nothing waits for an answer. What failed is answered with a customer's next."""
    for _ in range(LAST_WORDS_MAX):
        await town.close()
        async with asyncio.timeout(DRAIN_SECONDS_MAX):
            await until(connection, NOTHING_WAITS)
        if not await connection.fetchval(FAILED):
            return

"""Whether a node is overloaded, how it says so, and which requests others can answer (design 8, Waits)."""

from collections.abc import Sequence
from itertools import groupby
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.api.metrics import Metrics
from bflcd.core.events import SyncChanged
from bflcd.core.node_events import EventKind
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.node.following import RoundClaims
from bflcd.node.load.overload import LASTING, LEAST_LIMIT, MOST_LIMIT, MOST_TIMES, Lags, Overload, limit_of
from bflcd.node.load.shedding import others_can_answer
from bflcd.node.load.watch import PERIOD, LoadWatch
from bflcd.node.runtime.inbox import QueueInbox
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.node.standing import Newcomer, NodeOfChain
from bflcd.node.training_words import TrainingWords
from bflcd.node.views.status import status_without_chain
from bflcd.types import Digest, Millis, Round
from bflcd.wire.blocks import header_hash
from bflcd.wire.requests import REQUESTS, GetChunk, GetGenesis, GetHeaders, GetManifest, GetSegment, Request
from bflcd.wire.training import Training
from tests.helpers.ledger import make_genesis
from tests.net.test_exchange import ASKED
from tests.node.test_status import facts_of

LIMIT = 0.5


def measured(overload: Overload, late: float, seconds: float, elapsed: float = PERIOD) -> list[bool]:
    """Measure the same lateness of the event loop for so long; what it was after each."""
    found = []
    for _ in range(round(seconds / elapsed)):
        overload.note(Lags(loop=late), elapsed=elapsed, own_share=0.0, limit=LIMIT)
        found.append(overload.is_on)
    return found


def lasting(states: Sequence[bool], elapsed: float = PERIOD) -> list[tuple[bool, float]]:
    """How long each state lasted, in seconds, in order."""
    return [(state, elapsed * len(list(run))) for state, run in groupby(states)]


@pytest.mark.parametrize(
    ("phases", "states"),
    [
        ([(0.0, 60)], [False]),
        ([(0.9 * LIMIT, 600)], [False]),  # late, and no more than is borne
        ([(2 * LIMIT, 5)], [False]),  # too short
        ([(2 * LIMIT, 20)], [False, True]),
        ([(2 * LIMIT, 20), (0.0, 30)], [False, True, False]),
        ([(2 * LIMIT, 20), (0.7 * LIMIT, 300)], [False, True]),  # not well enough to say that it is over
        ([(2 * LIMIT, 20), *[(0.0, 4), (2 * LIMIT, 4)] * 20], [False, True]),  # one warning, not twenty
        ([(2 * LIMIT, 20), (0.0, 30)] * 2, [False, True, False, True, False]),
    ],
)
def test_it_is_overloaded_once_it_has_been_late_for_a_while_and_until_it_has_kept_up_for_a_while(
    phases: list[tuple[float, float]], states: list[bool]
) -> None:
    overload = Overload()
    found = [state for late, seconds in phases for state in measured(overload, late, seconds)]
    assert [state for state, _ in lasting(found)] == states


@pytest.mark.parametrize("late", [2 * LIMIT, 10 * LIMIT, 1_000.0])
def test_it_is_said_within_ten_seconds_and_taken_back_within_ten(late: float) -> None:
    """However late it was: one measure counts no more than a few times the limit."""
    overload = Overload()
    (_, before), _ = lasting(measured(overload, late, 30))
    (_, after), _ = lasting(measured(overload, 0.0, 30))
    assert LASTING <= before + PERIOD <= 10
    assert LASTING <= after + PERIOD <= 10


def test_a_halt_of_a_while_is_an_overload_at_once_and_over_within_ten_seconds() -> None:
    """Given a process that was stopped for 20 s, when it wakes, then it was behind for so long."""
    overload = Overload()
    assert overload.note(Lags(loop=20.0), elapsed=20.5, own_share=0.0, limit=LIMIT)
    assert overload.is_on
    (_, after), _ = lasting(measured(overload, 0.0, 30))
    assert after <= 10


@pytest.mark.parametrize("which", ["loop", "network", "waiting"])
def test_each_of_the_three_counts(which: str) -> None:
    overload = Overload()
    for _ in range(20):
        overload.note(Lags(**{which: 2 * LIMIT}), elapsed=PERIOD, own_share=0.0, limit=LIMIT)
    assert overload.is_on
    assert overload.lags.worst == getattr(overload.lags, which)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.5, 60)), max_size=60))
def test_whatever_was_measured_it_is_bounded_and_over_ten_seconds_after_it_is(measures: list[tuple[float, float]]) -> None:
    overload, was_on, since = Overload(), False, 0.0
    for late, elapsed in measures:
        changed = overload.note(Lags(late, late / 2, late / 3), elapsed=elapsed, own_share=0.5, limit=LIMIT)
        assert changed == (overload.is_on is not was_on)
        since = since + elapsed if overload.lags.worst > LIMIT else 0.0
        assert was_on or not overload.is_on or since >= LASTING
        was_on = overload.is_on
        assert 0 <= overload.lags.worst <= MOST_TIMES * LIMIT
    assert not measured(overload, 0.0, 10)[-1]


@pytest.mark.parametrize(("t0", "limit"), [(50, LEAST_LIMIT), (500, 0.25), (1_250, 0.625), (4_000, 2.0), (3_600_000, MOST_LIMIT)])
def test_half_of_t0_is_borne_within_bounds(t0: int, limit: float) -> None:
    assert limit_of(Millis(t0)) == limit


@pytest.mark.parametrize(
    ("lags", "own_share", "reason"),
    [
        (Lags(loop=1.0), 0.95, "the daemon itself takes 95 % of a processor: it needs a faster machine"),
        (Lags(loop=1.0), 0.05, "the daemon itself takes only 5 % of a processor: other programs"),
        (Lags(network=0.8, waiting=1.4), 0.05, "the daemon itself takes only 5 % of a processor: other programs"),
        (Lags(waiting=1.0), 0.95, "the daemon itself takes 95 % of a processor: it needs a faster machine"),
        (Lags(waiting=1.0), 0.05, "look at the disk"),
    ],
)
def test_the_warning_has_figures_the_likely_reason_and_what_to_do(lags: Lags, own_share: float, reason: str) -> None:
    overload = Overload()
    assert overload.warnings() == []
    for _ in range(60):
        overload.note(lags, elapsed=PERIOD, own_share=own_share, limit=LIMIT)
    (text,) = overload.warnings()
    assert reason in text
    assert f"its event loop is {lags.loop:.2f} s late, its network's thread {lags.network:.2f} s" in text
    assert f"has waited {lags.waiting:.2f} s ({LIMIT:.2f} s are borne)" in text


# -- measuring -------------------------------------------------------------------------------------------------------------------


class EndOfTestError(Exception):
    """Ends an endless task."""


class Slept:
    """A scheduler whose sleeps end as late as a script says, and that ends with it."""

    def __init__(self, late: Sequence[float]) -> None:
        self.now, self.late = 0.0, list(late)
        self.asked: list[float] = []

    def now_ns(self) -> int:
        return round(self.now * 1e9)

    async def sleep(self, seconds: float) -> None:
        if not self.late:
            raise EndOfTestError
        self.asked.append(seconds)
        self.now += seconds + self.late.pop(0)


async def watched(overload: Overload, late: Sequence[float], **changes: Any) -> tuple[list[tuple[EventKind, str]], Slept]:
    told: list[tuple[EventKind, str]] = []
    scheduler = Slept(late)
    options: dict[str, Any] = {
        "network": lambda: 0.0,
        "queues": (),
        "now": lambda: Millis(round(1000 * scheduler.now)),
        "view_timeout": lambda: Millis(1_000),
        "round_": lambda: Round(7),
        "tell": lambda kind, round_, text, **_fields: told.append((kind, f"{round_}: {text}")),
        "processor": lambda: scheduler.now / 10,
    }
    watch = LoadWatch(overload, scheduler=scheduler, **{**options, **changes})  # type: ignore[arg-type]
    with pytest.raises(EndOfTestError):
        await watch.run()
    return told, scheduler


async def test_the_beginning_and_the_end_are_told_once_each() -> None:
    told, scheduler = await watched(Overload(), [0.0] * 50 + [1.0] * 40 + [0.0] * 100)
    assert [kind for kind, _ in told] == [EventKind.OVERLOADED, EventKind.KEEPS_UP]
    assert told[0][1].startswith("7: this node is overloaded: its event loop is ")
    assert "takes only 10 % of a processor" in told[0][1]
    assert told[1][1].startswith("7: this node keeps up again, after ")
    assert set(scheduler.asked) == {PERIOD}, "one measure a second, and nothing else"


async def test_what_is_measured_is_the_oldest_message_of_any_queue_and_the_networks_thread() -> None:
    overload, now = Overload(), lambda: Millis(1_000)
    await watched(overload, [0.0] * 100, now=now, queues=(lambda: None, lambda: Millis(600), lambda: Millis(900)))
    assert overload.lags == Lags(waiting=pytest.approx(0.4))
    overload = Overload()
    told, _ = await watched(overload, [0.0] * 100, network=lambda: 0.9)
    assert [kind for kind, _ in told] == [EventKind.OVERLOADED]
    assert overload.lags == Lags(network=pytest.approx(0.9))


async def test_the_queue_of_events_knows_since_when_its_next_one_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [Millis(5)]
    monkeypatch.setattr("bflcd.node.runtime.inbox.clock", lambda: now[0])
    inbox, event = QueueInbox(), SyncChanged(active=True)
    assert inbox.oldest() is None
    await inbox.put(event)
    now[0] = Millis(9)
    await inbox.put(event)
    assert inbox.oldest() == 5
    assert inbox.take() is not None
    assert inbox.oldest() == 9
    await inbox.wait(None)
    assert inbox.oldest() is None
    assert inbox.take() is not None


async def test_status_and_metrics_show_it() -> None:
    facts = facts_of(IDENTITIES[0].node_id)
    before = status_without_chain(facts)
    assert (before.lag, before.overloaded, before.warnings) == (0.0, False, [])
    measured(facts.overload, 2 * LIMIT, 30)
    status, metrics = status_without_chain(facts), Metrics()
    assert (status.lag, status.overloaded) == (pytest.approx(2 * LIMIT), True)
    assert status.warnings == [facts.overload.text()]
    metrics.shed_one("Beacon")
    text = metrics.render(status).decode()
    assert "\nbflc_overloaded 1.0" in text
    assert f"\nbflc_lag_seconds {status.lag}" in text
    assert '\nbflc_shed_total{kind="Beacon"} 1.0' in text


# -- requests --------------------------------------------------------------------------------------------------------------------

GENESIS, IDENTITIES = make_genesis()
HEADER, STATE = genesis_header(GENESIS), genesis_state(GENESIS)
CHAIN = STATE.chain
RUNNING = 9
MODEL = GENESIS.model.root
NOW, BEFORE, OLD = (Digest(bytes([number]) * 32) for number in range(1, 4))


def a_context() -> Any:
    context = RoundContext(GENESIS, Head(HEADER, header_hash(HEADER), STATE), IDENTITIES[0].node_id)
    return SimpleNamespace(round=Round(RUNNING), head_blob=context.head_blob, real=context)


def unpublished() -> Unpublished:
    found = Unpublished((NOW,), Round(RUNNING))
    found.offered(BEFORE, Round(RUNNING - 1))
    return found


SHED: list[tuple[Request[Any], bool]] = [
    (GetGenesis(CHAIN), True),
    *((GetHeaders(CHAIN, Round(first), 256), False) for first in range(1, RUNNING + 3)),
    *((GetSegment(CHAIN, Round(round_)), False) for round_ in range(1, RUNNING + 3)),
    *((GetManifest(CHAIN, root), shed) for root, shed in ((MODEL, False), (NOW, False), (BEFORE, True), (OLD, True))),
    *((GetChunk(CHAIN, root, 0), shed) for root, shed in ((MODEL, False), (NOW, False), (BEFORE, True), (OLD, True))),
]


@pytest.mark.parametrize(("request_", "shed"), SHED, ids=lambda value: type(value).__name__)
def test_old_payloads_can_wait_and_the_chain_and_the_running_rounds_cannot(request_: Request[Any], shed: bool) -> None:
    """The round's model and its offers are always given; so are headers and segments, of which who catches up needs all at once."""
    assert others_can_answer(request_, a_context(), unpublished()) is shed


def test_every_other_request_is_answered_always() -> None:
    """Heartbeats, cards and offers of a proposal, operations, what managers look for, who is a member."""
    kinds = {type(request) for request, _ in SHED}
    live = {kind.__name__ for kind in REQUESTS if kind not in kinds}
    assert live == {"GetStatus", "GetAddresses", "GetEnvelopes", "GetOperations", "GetPrepared", "GetMembership"}
    for kind in REQUESTS:
        if kind not in kinds:
            assert not others_can_answer(ASKED[kind], a_context(), unpublished())


def test_peers_meet_it_only_while_it_lasts() -> None:
    """Given a node of a chain, then what it refuses and where it says that it stands follow whether it is overloaded; a node without
    a chain refuses nothing on this account."""
    overload, context = Overload(), a_context()
    service: Any = SimpleNamespace(
        handlers=dict, others_can_answer=lambda request: others_can_answer(request, context, unpublished())
    )
    core: Any = SimpleNamespace(context=context.real)
    words = TrainingWords(context.real.me, Training.TRAINS, lambda: None)
    nothing: Any = None
    standing = NodeOfChain(
        core, service, RoundClaims(lambda: None), nothing, nothing, training=words, overload=overload, sponsors=frozenset()
    )
    old = GetChunk(CHAIN, OLD, 0)
    assert (standing.sheds(old), standing.standpoint().overloaded) == (False, False)
    measured(overload, 2 * LIMIT, 30)
    assert (standing.sheds(old), standing.standpoint().overloaded) == (True, True)
    assert not standing.sheds(GetSegment(CHAIN, Round(1)))
    assert standing.standpoint().judges is context.real.judges
    measured(overload, 0.0, 30)
    assert (standing.sheds(old), standing.standpoint().overloaded) == (False, False)
    assert not Newcomer().sheds(old)

"""Scenes for the fault catalogue: whole cores in virtual time, what one round of them usually takes, and who says what."""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from bflcd.core.core import Core
from bflcd.core.effects import Effect
from bflcd.core.events import Event, Instant
from bflcd.ledger.quorum import leader
from bflcd.types import Millis, NodeId, View
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import (
    Commit,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    Prepare,
    PrePrepare,
    ScoreCard,
    ViewChange,
)
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

T0 = 1_250
"""View timeout of view 0 in these worlds, virtual milliseconds."""

Figure = Callable[..., None]
"""The fixture `figure`: `figure(row, measured, asked, unit)` notes a figure and asserts that it is at most what is asked."""

VMAX = 16 * T0
"""The longest view."""

OFFER, CARD, PRE_PREPARE, PREPARE, COMMIT, VIEW_CHANGE = map(
    number_of, (Offer, ScoreCard, PrePrepare, Prepare, Commit, ViewChange)
)
"""Numbers of the signed kinds."""


def mostly_slow(first: Any, *others: Any) -> list[Any]:
    """Parameters of which the default suite takes the first, and the slow one all."""
    return [first, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]


def spent(views: int) -> int:
    """S(c): the time of views 0 to c."""
    return sum(T0 * min(2**view, 16) for view in range(views + 1))


def a_world(nodes: int = 10, committee: int = 4, places: int = 6, seed: int = 0, **params: Any) -> World:
    """A running community in virtual time."""
    genesis, identities = make_genesis(nodes=nodes, committee=committee, places=places, view_timeout=T0, **params)
    world = World(genesis, identities, seed)
    world.start_all()
    return world


def reach(world: World, round_: int, limit: int, who: Iterable[NodeId] | None = None) -> None:
    """Run until all (or `who`) stand at `round_`; fails past `limit` virtual milliseconds."""
    nodes = None if who is None else tuple(who)

    def there() -> bool:
        return min(world.rounds() if nodes is None else map(world.round_of, nodes)) >= round_

    assert world.run_until(there, limit), (world.now, world.rounds(), world.notices[-20:])


def elapsed(world: World, round_: int, limit: int = 400_000, who: Iterable[NodeId] | None = None) -> int:
    """Virtual milliseconds until all (or `who`) stand at `round_`."""
    before = world.now
    reach(world, round_, limit, who)
    return world.now - before


def one_state(world: World) -> None:
    """No fork, nothing lost, no unit of the ledger gained or lost: one head a round, one state, one sum."""
    newest = max(world.rounds())
    assert len({world.disks[n].head.hash for n in world.cores if world.round_of(n) == newest}) == 1
    for disk in world.disks.values():
        state = disk.head.state
        assert sum(a.balance + a.deposit for a in state.accounts) + state.pool + state.burnt == state.supply
        for round_, certified in disk.segments.items():
            assert certified.certificate.digest == world.decided[round_]


def committee_of(world: World) -> tuple[NodeId, ...]:
    """The committee of the newest round."""
    return max((core.context for core in world.cores.values()), key=lambda context: context.round).committee


def leader_in(world: World, view: int = 0) -> NodeId:
    """Who leads a view of the newest round."""
    context = max((core.context for core in world.cores.values()), key=lambda s: s.round)
    return leader(context.committee, View(view))


def a_trainer(world: World) -> NodeId:
    """A member without a seat in the newest round."""
    return next(node for node in world.cores if node not in committee_of(world))


def kind(message: object) -> int | None:
    """The number of the signed body in a gossiped message; None for an announcement."""
    if isinstance(message, JustifiedPrePrepare):
        message = message.pre_prepare
    if isinstance(message, JustifiedViewChange):
        message = message.view_change
    return peek_number(message.payload) if isinstance(message, Envelope) else None


def refusals(world: World, *harmless: str) -> list[str]:
    """Why messages were refused, but for what being early or late brings about."""
    usual = {"wrong_round", "wrong_view", "duplicate", *harmless}
    return [f"{b.rejection.value}: {b.text}" for b in world.blames if b.rejection.value not in usual]


class Skewed:
    """A core whose wall clock is wrong by `offset` milliseconds; its timers are right."""

    def __init__(self, core: Core, offset: int) -> None:
        self._core, self._offset = core, offset

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        return self._core.handle(event, self._seen(now))

    def tick(self, now: Instant) -> list[Effect]:
        return self._core.tick(self._seen(now))

    def deadline(self, now: Instant) -> Millis | None:
        return self._core.deadline(self._seen(now))

    def _seen(self, now: Instant) -> Instant:
        return Instant(now.mono, Millis(now.wall + self._offset))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


class Paused:
    """A process that is stopped: what comes to it waits, and no time passes for it."""

    def __init__(self, world: World, node: NodeId) -> None:
        self._world, self._node, self._core = world, node, world.cores[node]
        self._waiting: list[Event] = []
        world.cores[node] = self  # type: ignore[assignment]

    def handle(self, event: Event, now: Instant) -> list[Effect]:
        self._waiting.append(event)
        return []

    def deadline(self, now: Instant) -> Millis | None:
        return None

    def resume(self) -> None:
        """Go on, with all that waited."""
        self._world.cores[self._node] = self._core
        for event in self._waiting:
            self._world.feed(self._node, event)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def on_effect(world: World, act: Callable[[NodeId, Effect], bool]) -> None:
    """Call `act(node, effect)` before each effect is carried out; True drops the effect and all that were to follow it."""
    carry_out = world.carry_out

    def one_by_one(node: NodeId, effects: list[Effect]) -> None:
        for effect in effects:
            if act(node, effect):
                return
            carry_out(node, [effect])

    world.carry_out = one_by_one  # type: ignore[method-assign]

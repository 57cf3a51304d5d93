"""A node that can't train tells its peers: they stop waiting for its offer, and begin again when it says that it trains."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bflcd.api.schema.status import TrainingWord
from bflcd.core.core import Core
from bflcd.core.events import IdleChanged, Instant
from bflcd.core.signing_guard import SigningGuard
from bflcd.learn.health import Work, WorkHealth
from bflcd.net.memory import MemoryNetwork
from bflcd.net.peer import PeerCallbacks, PeerSettings
from bflcd.net.peers import PeerManager
from bflcd.node.following import RoundClaims
from bflcd.node.load.overload import Overload
from bflcd.node.standing import NodeOfChain
from bflcd.node.training_words import Readiness, TrainingWords
from bflcd.node.views.members import peer_view, training_view
from bflcd.types import Millis, NodeId, Round
from bflcd.wire.training import Training
from tests.helpers.ledger import make_genesis
from tests.helpers.network import AnyAddress, build_node, real_now, running, until
from tests.helpers.world import World

SELDOM = PeerSettings(heartbeat_period=600.0, exchange_period=600.0, tick=0.02)
"""Heartbeats are so far apart that none of them brings what is told here."""

ME, PEER, OTHER = (NodeId(bytes([n]) * 32) for n in (1, 2, 3))


def words_of(told: list[frozenset[NodeId]], own: Training = Training.TRAINS) -> TrainingWords:
    words = TrainingWords(ME, own, lambda: told.append(words.idle()))
    return words


def test_each_word_counts_for_its_author_until_its_connection_ends() -> None:
    """Given words of members, then who says that it does not train is idle, until it says that it does, or is gone."""
    told: list[frozenset[NodeId]] = []
    words = words_of(told)
    words.note(PEER, Training.TASK)
    words.note(PEER, Training.DEVICE)  # another cause is no news; that somebody trains of whom nothing was known is
    words.note(OTHER, Training.TRAINS)
    words.say(Training.DATA)
    words.note(PEER, Training.TRAINS)
    words.note(PEER, Training.STORAGE)
    words.forget(PEER)
    words.forget(PEER)
    assert told == [{PEER}, {PEER}, {ME, PEER}, {ME}, {ME, PEER}, {ME}]
    assert words.training() == {OTHER}
    assert words.own is Training.DATA


def test_nobody_else_speaks_for_this_node() -> None:
    told: list[frozenset[NodeId]] = []
    words = words_of(told, Training.OBSERVES)
    words.note(ME, Training.TRAINS)
    assert (words.own, words.idle(), told) == (Training.OBSERVES, {ME}, [])


def test_every_word_has_a_name_for_people() -> None:
    assert {training_view(word) for word in Training} == set(TrainingWord)


class Member:
    """A node of a real core, a real peer manager and what stands between them, as `RunningNode` puts them together."""

    def __init__(self, hub: MemoryNetwork, number: int, world: World) -> None:
        self.identity = list(world.identities.values())[number]
        self.core: Core = world.cores[self.identity.node_id]
        self.health = WorkHealth(lambda: 0.0)
        self.words = TrainingWords(self.identity.node_id, Training.TRAINS, self._tell)
        self.health.watch(self._say)
        claims = RoundClaims(lambda: None)
        measures = SimpleNamespace(stats=SimpleNamespace(oldest_payload=Round(0)))
        service = SimpleNamespace(handlers=dict)
        own: Any = {"training": self.words, "overload": Overload(), "sponsors": frozenset()}
        self.standing = NodeOfChain(self.core, service, claims, None, measures, **own)  # type: ignore[arg-type]
        self.node = build_node(hub, number, set(world.identities), key=self.identity)
        self.manager = PeerManager(
            self.node.transport,
            self.node.exchange,
            status=self.standing.status,
            is_member=self.standing.is_member,
            callbacks=PeerCallbacks(up=lambda *_: None, down=self.standing.lost, status=self.standing.heard_of),
            now=real_now,
            rng=Random(number),
            book=SimpleNamespace(addresses=_nothing, remember_address=_nothing),  # type: ignore[arg-type]
            rule=AnyAddress(),
            settings=SELDOM,
        )
        self.node.exchange.serve(self.manager.handlers())

    @property
    def id(self) -> NodeId:
        return self.identity.node_id

    def _tell(self) -> None:
        self.core.handle(IdleChanged(self.words.idle(), self.words.training()), Instant(Millis(1), Millis(1)))

    def _say(self) -> None:
        self.words.say(self.health.training)
        self.manager.say_anew()

    def expects(self) -> frozenset[NodeId]:
        return self.core.snapshot(Instant(Millis(1), Millis(1))).expected

    def told_by(self, node: NodeId) -> TrainingWord | None:
        return {info.node: peer_view(info).training for info in self.manager.peers()}[node]


async def _nothing(*_: object) -> tuple[()]:
    return ()


@asynccontextmanager
async def a_judge_and_a_trainer() -> AsyncIterator[tuple[Member, Member]]:
    """Two members of a community in its first round, in which everybody is expected; they are connected to each other."""
    genesis, identities = make_genesis()
    world = World(genesis, identities)
    world.start_all()
    seats = [number for number, identity in enumerate(identities) if identity.node_id in genesis.committee]
    free = [number for number in range(len(identities)) if number not in seats]
    hub = MemoryNetwork()
    judge, trainer = Member(hub, seats[0], world), Member(hub, free[0], world)
    for member in (judge, trainer):
        await member.node.transport.start()
    async with running(judge.manager.run, trainer.manager.run):
        await asyncio.sleep(0)
        trainer.manager.add_address(judge.node.address)
        await until(lambda: bool(judge.manager.members()) and bool(trainer.manager.members()))
        try:
            yield judge, trainer
        finally:
            for member in (judge, trainer):
                await member.node.transport.close()


async def test_a_judge_does_not_wait_for_who_says_that_it_cannot_train() -> None:
    """Given a trainer that is expected / When its training fails / Then it tells the judge at once and why, and is not expected,
    until its training succeeds / And that of all others goes on being expected."""
    async with a_judge_and_a_trainer() as (judge, trainer):
        before = judge.expects()
        assert trainer.id in before
        assert judge.told_by(trainer.id) is TrainingWord.TRAINS
        trainer.health.failed(Work.TRAIN, "the input of row 17 in column 3 is nan", Training.DATA)
        await until(lambda: judge.expects() == before - {trainer.id})
        assert judge.told_by(trainer.id) is TrainingWord.DATA
        trainer.health.succeeded(Work.TRAIN)
        await until(lambda: judge.expects() == before)
        assert judge.told_by(trainer.id) is TrainingWord.TRAINS


@pytest.mark.parametrize("work", [Work.SCORE, Work.MEASURE])
async def test_what_is_no_training_is_not_told(work: Work) -> None:
    async with a_judge_and_a_trainer() as (judge, trainer):
        trainer.health.failed(work, "no")
        trainer.health.failed(Work.TRAIN, "no", Training.TASK)
        await until(lambda: judge.told_by(trainer.id) is TrainingWord.TASK)
        trainer.health.succeeded(Work.TRAIN)
        await until(lambda: judge.told_by(trainer.id) is TrainingWord.TRAINS)


async def test_who_is_gone_is_expected_by_the_usual_rules_again() -> None:
    """Given a trainer that said that it does not train / When its connection ends / Then its word is forgotten with it."""
    async with a_judge_and_a_trainer() as (judge, trainer):
        trainer.health.failed(Work.START, "no torch", Training.WORKER)
        await until(lambda: trainer.id not in judge.expects())
        await trainer.node.transport.close()
        await until(lambda: trainer.id in judge.expects())


class Worker:
    """Of which it is known only whether it is there."""

    there = False


def readiness_of(*, round_: int, claim: int, floor: int | None = None) -> tuple[Readiness, SimpleNamespace, Worker]:
    core, worker, claims = (
        SimpleNamespace(syncing=False, context=SimpleNamespace(round=Round(round_))),
        Worker(),
        RoundClaims(lambda: None),
    )
    if claim:
        claims.note(PEER, Round(claim))
    guard = SigningGuard(floor=None if floor is None else Round(floor))
    return Readiness(cast("Core", core), guard, claims, computes=lambda: worker.there), core, worker


def test_a_node_that_starts_says_that_it_is_behind_until_it_could_train() -> None:
    """Given a chain with rounds, then a node is ready once it has caught up, its worker is there and it may sign; and stays so."""
    ready, core, worker = readiness_of(round_=5, claim=9, floor=6)
    ready.followed()
    assert not ready.look()
    core.syncing = worker.there = True
    assert not ready.look()
    core.syncing, core.context.round = False, Round(6)
    assert not ready.look()
    core.context.round = Round(7)
    worker.there = False
    assert not ready.look()
    worker.there = True
    assert ready.look()
    core.syncing, worker.there = True, False
    assert ready.look()


def test_a_community_that_has_closed_no_round_is_waited_for_before_its_workers_are_there() -> None:
    """Given round 0 and nobody beyond it, then a node without a worker is waited for; no more once others have gone on."""
    assert readiness_of(round_=0, claim=0)[0].look()
    assert not readiness_of(round_=0, claim=1)[0].look()


def test_a_node_whose_worker_is_there_before_anybody_is_connected_does_not_know_yet_that_it_is_behind() -> None:
    """Given a worker that is there first, when the node hears that others have gone on and catches up, then it says that it is behind."""
    ready, core, worker = readiness_of(round_=5, claim=0)
    worker.there = True
    ready.followed()
    assert ready.look()
    core.syncing = True
    assert not ready.look()

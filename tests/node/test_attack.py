"""A node that attacks: on a testnet only, and when its worker is told to lie."""

from dataclasses import replace

import pytest

from bflcd.config import AttackSection
from bflcd.core.records import Head
from bflcd.core.round.context import RoundContext
from bflcd.errors import OperatorError
from bflcd.learn.attacks import AttackConfig
from bflcd.learn.protocol import (
    AttackContext,
    EvaluateJob,
    EvaluateResult,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    UpdateToScore,
)
from bflcd.ledger.disclosure import said_gain
from bflcd.ledger.judging import judging_of
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.node.attack import AttackingCompute, attack_warnings, check_attack, round_seed
from bflcd.types import Digest, Epoch, NodeId, Round
from bflcd.wire.blocks import chain_id_of, header_hash
from bflcd.wire.messages import CardEntry, ScoreCard
from tests.helpers.ledger import make_genesis

GENESIS, IDENTITIES = make_genesis(nodes=10, committee=4)
NODES = [identity.node_id for identity in IDENTITIES]
"""The first four hold the seats."""

CHAIN = chain_id_of(GENESIS)
TRAIN = TrainJob(Round(0), b"model", 3, "label")
SCORE = ScoreJob(Round(0), b"model", (), 3, 100, 4)
TRAINED = TrainResult(b"update", 5, 0.5, 0.1)
SCORED = ScoreResult(1, 2, (), (), 0.1, 5, 9)
EVALUATED = EvaluateResult(None, None, 0)


class Worker:
    """Remembers what it is asked."""

    def __init__(self):
        self.asked = []

    async def start(self):
        self.asked.append("start")

    async def train(self, job):
        self.asked.append(job)
        return TRAINED

    async def score(self, job):
        self.asked.append(job)
        return SCORED

    async def evaluate(self, job):
        self.asked.append(job)
        return EVALUATED

    async def close(self):
        self.asked.append("close")


def context(committee, round_=0):
    """A round with these seats."""
    header = genesis_header(GENESIS)
    state = replace(genesis_state(GENESIS), round=Round(round_), committee=tuple(committee))
    return RoundContext(GENESIS, Head(header, header_hash(header), state), NODES[9])


def attacker(name, adversaries, situations):
    worker, rounds = Worker(), iter(situations)
    return worker, AttackingCompute(worker, AttackConfig(name, tuple(adversaries)), lambda: next(rounds))


def a_card(round_, *entries):
    """What another judge shows in a round."""
    return ScoreCard(CHAIN, Round(round_), Epoch(0), CHAIN, CHAIN, 1_250_000, 500_000, tuple(entries), (NODES[1],))


# -- where ----------------------------------------------------------------------------------------------------------------


def test_an_attack_is_refused_on_a_chain_that_is_no_testnet():
    with pytest.raises(OperatorError, match=f"chain {CHAIN.hex()[:8]} is no testnet") as caught:
        check_attack(AttackSection(name="noise"), GENESIS)
    assert caught.value.code == "not_a_testnet"
    assert "bflcd testnet" in caught.value.hint


def test_an_attack_on_a_testnet_and_an_honest_node_anywhere_are_let_in():
    check_attack(AttackSection(name="noise"), replace(GENESIS, testnet=True))
    check_attack(AttackSection(accomplices=(NODES[0].hex(),)), GENESIS)


def test_being_a_testnet_is_part_of_the_chain_id():
    assert chain_id_of(replace(GENESIS, testnet=True)) != CHAIN


def test_an_attacker_is_warned_of_itself():
    assert attack_warnings(AttackSection()) == []
    [text] = attack_warnings(AttackSection(name="noise"))
    assert "plays the attack 'noise'" in text


# -- when -----------------------------------------------------------------------------------------------------------------


async def test_the_worker_is_told_what_the_adversaries_know_of_the_round():
    """Given two adversaries of ten nodes, one of whom holds one of four seats, then six train, one of them an adversary."""
    worker, compute = attacker("noise", (NODES[0], NODES[9]), [context(NODES[:4], 7)] * 2)
    assert await compute.train(TRAIN) is TRAINED
    assert await compute.score(SCORE) is SCORED
    known = AttackContext(trainers=6, conspirators=1, seed=round_seed(CHAIN, Round(7)))
    assert worker.asked == [replace(TRAIN, attack=known), replace(SCORE, attack=known)]


async def test_a_worker_that_asks_is_told_how_judges_will_meet_its_offers():
    worker, compute = attacker("asker", NODES[8:], [context(NODES[:4], 7)])
    await compute.train(TRAIN)
    (job,) = worker.asked
    assert job.attack.judging == judging_of(GENESIS.params, context(NODES[:4], 7).state, NODES[9])


async def test_a_copier_measures_nothing_and_says_what_the_first_card_of_the_round_says():
    """Given a card of the round before, and later two of this one, then it waits for these, and what the first says of each offer is what
    its own card will say; what that does not name it refuses."""
    keys = [Digest(bytes([n]) * 32) for n in range(4)]
    entries = [CardEntry(NODES[5], key, CHAIN, gain, 0, 77, 9) for key, gain in zip(keys, (4_000, 0, -1), strict=False)]
    looks = iter([(a_card(6, *entries),), (), (a_card(7, *entries), a_card(7))])
    worker, running = Worker(), context(NODES[:4], 7)
    compute = AttackingCompute(worker, AttackConfig("copying-judge", (NODES[9],)), lambda: running, lambda: next(looks))
    job = replace(SCORE, round=Round(7), candidates=tuple(UpdateToScore(key, b"update", "label") for key in keys))
    result = await compute.score(job)
    assert (result.base_loss, result.base_accuracy, result.invalid) == (1_250_000, 500_000, ())
    assert [said_gain(score.gain, -30) for score in result.scores] == [4_000, 0, -1, -1]
    assert [score.norm for score in result.scores[:3]] == [77] * 3
    assert worker.asked == []
    assert next(looks, None) is None


async def test_a_copier_to_whom_nothing_is_shown_ends_with_its_round():
    rounds = iter([context(NODES[:4], 7)] * 3 + [context(NODES[:4], 8)])
    worker = Worker()
    compute = AttackingCompute(worker, AttackConfig("copying-judge", (NODES[9],)), lambda: next(rounds), tuple)
    assert (await compute.score(replace(SCORE, round=Round(7)))).scores == ()
    assert next(rounds, None) is None


async def test_all_else_reaches_the_worker_as_it_is():
    worker, compute = attacker("noise", NODES[8:], [])
    await compute.start()
    assert await compute.evaluate(EvaluateJob(b"model")) is EVALUATED
    await compute.close()
    assert worker.asked == ["start", EvaluateJob(b"model"), "close"]


@pytest.mark.parametrize("name", ["sleeper", "noise"])
async def test_a_sleeper_waits_for_more_than_half_of_the_seats_and_then_goes_on(name, caplog):
    """Given five adversaries, When they hold 0, 2, 3 and again 0 of four seats, Then sleepers attack from the third round on."""
    adversaries = NODES[5:]
    seats = [NODES[:4], (*NODES[:2], *adversaries[:2]), (NODES[0], *adversaries[:3]), NODES[:4]]
    worker, compute = attacker(name, adversaries, [context(committee, round_) for round_, committee in enumerate(seats)])
    for job in (TRAIN, SCORE, TRAIN, SCORE):
        await (compute.train(job) if job is TRAIN else compute.score(job))
    waited = 2 if name == "sleeper" else 0
    assert [job.attack is not None for job in worker.asked] == [index >= waited for index in range(4)]
    begun = [record.getMessage() for record in caplog.records]
    assert begun == [f"the attack begins in round {waited}; liars hold {3 if waited else 0} of 4 seats"]


def test_all_adversaries_draw_alike_and_anew_each_round():
    seeds = [round_seed(CHAIN, Round(0)), round_seed(CHAIN, Round(1)), round_seed(Digest(bytes(32)), Round(0))]
    assert len(set(seeds)) == 3
    assert round_seed(CHAIN, Round(0)) == seeds[0]
    assert all(0 <= seed < 2**56 for seed in seeds)


def test_the_node_itself_is_one_of_the_adversaries():
    me, other = NodeId(bytes([1]) * 32), NodeId(bytes([2]) * 32)
    section = AttackSection(name="alie", accomplices=(other.hex(), me.hex()), strength=2.0, lies="none")
    assert section.for_worker(me) == AttackConfig("alie", (me, other), 2.0, "none")
    assert AttackSection(name="alie").for_worker(me) == AttackConfig("alie", (me,))
    assert AttackSection(accomplices=(other.hex(),), strength=2.0).for_worker(me) is None

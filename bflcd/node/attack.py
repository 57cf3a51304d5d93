"""A node that plays an attack: on a testnet only, in its compute worker only. What it signs and says keeps to the protocol."""

import logging
from collections.abc import Callable
from dataclasses import replace

from bflcd.config import AttackSection
from bflcd.core.round.context import RoundContext
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.errors import OperatorError
from bflcd.learn.attacks import AttackConfig, acts_now
from bflcd.learn.protocol import (
    AttackContext,
    Compute,
    EvaluateJob,
    EvaluateResult,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
)
from bflcd.ledger.judging import judging_of
from bflcd.ledger.roles import trainers
from bflcd.params import Genesis
from bflcd.types import Digest, Round, short
from bflcd.wire.blocks import chain_id_of

logger = logging.getLogger(__name__)


def check_attack(section: AttackSection, genesis: Genesis) -> None:
    """Raise OperatorError (`not_a_testnet`) for an attack on a chain where something of worth may be learned."""
    if section.name and not genesis.testnet:
        raise OperatorError(
            f"attack.name = {section.name!r}, but chain {short(chain_id_of(genesis))} is no testnet: nothing is done on it",
            hint="leave the attack out, or play it on a chain of `bflcd testnet` (docs/attacks.md)",
            code="not_a_testnet",
        )


def attack_warnings(section: AttackSection) -> list[str]:
    """What the operator of an attacker is told for as long as it runs; nothing of an honest node."""
    if not section.name:
        return []
    return [f"this node plays the attack {section.name!r}: what it offers and scores is false (attack.name)"]


class AttackingCompute:
    """Implements `learn.protocol.Compute`: tells an attacker's worker in which jobs to lie.

    Sleepers begin with the first job of a round in which adversaries hold more than half of the seats, and go on for good: until
    the process ends, since nothing remembers it longer.
    """

    def __init__(self, worker: Compute, attack: AttackConfig, running: Callable[[], RoundContext]) -> None:
        """`worker`: set up with the same `attack`; `running`: the context of the round that runs. Raises UsageError."""
        self._worker = worker
        self._attack = attack.find()
        self._adversaries = frozenset(attack.adversaries)
        self._running = running
        self._begun = False

    async def start(self) -> None:
        """As the worker."""
        await self._worker.start()

    async def train(self, job: TrainJob) -> TrainResult:
        """As the worker, with a lie if this is the time for one."""
        return await self._worker.train(replace(job, attack=self._attack_context()))

    async def score(self, job: ScoreJob) -> ScoreResult:
        """As the worker, with a lie if this is the time for one."""
        return await self._worker.score(replace(job, attack=self._attack_context()))

    async def evaluate(self, job: EvaluateJob) -> EvaluateResult:
        """As the worker: nobody is lied to."""
        return await self._worker.evaluate(job)

    async def close(self) -> None:
        """As the worker."""
        await self._worker.close()

    def _attack_context(self) -> AttackContext | None:
        """What the adversaries know of the running round; None while they behave."""
        context = self._running()
        state, seats = context.state, len(context.committee)
        held = len(self._adversaries.intersection(context.committee))
        if not self._begun and acts_now(self._attack, held, seats):
            self._begun = True
            logger.warning("the attack begins in round %d; liars hold %d of %d seats", context.round, held, seats)
        if not self._begun:
            return None
        offering = trainers(context.params, state)
        judging = judging_of(context.params, state, context.me) if self._attack.asks or self._attack.weighs else None
        return AttackContext(len(offering), len(offering & self._adversaries), round_seed(state.chain, context.round), judging)


def round_seed(chain: Digest, round_: Round) -> int:
    """Below 2^56: what all adversaries of a round draw from alike, without a word between them."""
    return int.from_bytes(digest(Domain.CONFIG, b"attack", chain, integer(round_))[:7], "big")

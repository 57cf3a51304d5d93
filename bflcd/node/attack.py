"""A node that plays an attack: on a testnet only, in its compute worker only. What it signs and says keeps to the protocol."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from bflcd.config import AttackSection
from bflcd.core.round.context import RoundContext
from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.errors import OperatorError
from bflcd.learn.attacks import AttackConfig, acts_now
from bflcd.learn.lies.cards import DEFAMED_GAIN
from bflcd.learn.protocol import (
    AttackContext,
    Compute,
    EvaluateJob,
    EvaluateResult,
    ScoreJob,
    ScoreResult,
    TrainJob,
    TrainResult,
    UpdateScore,
)
from bflcd.ledger.disclosure import REFUSED
from bflcd.ledger.judging import judging_of
from bflcd.ledger.roles import trainers
from bflcd.params import Genesis
from bflcd.types import Digest, MicroNats, PartsPerMillion, Round, short
from bflcd.wire.blocks import chain_id_of
from bflcd.wire.messages import CardEntry, ScoreCard

LOOKS: Final = 0.005
"""Seconds between two looks of a copier at what others have shown."""

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

    def __init__(
        self,
        worker: Compute,
        attack: AttackConfig,
        running: Callable[[], RoundContext],
        shown: Callable[[], Sequence[ScoreCard]] = tuple,
    ) -> None:
        """`worker`: set up with the same `attack`; `running`: the context of the round that runs; `shown`: what others' cards say
        in it, as they come. Raises UsageError."""
        self._worker = worker
        self._attack = attack.find()
        self._adversaries = frozenset(attack.adversaries)
        self._running = running
        self._shown = shown
        self._begun = False

    async def start(self) -> None:
        """As the worker."""
        await self._worker.start()

    async def train(self, job: TrainJob) -> TrainResult:
        """As the worker, with a lie if this is the time for one."""
        return await self._worker.train(replace(job, attack=self._attack_context()))

    async def score(self, job: ScoreJob) -> ScoreResult:
        """As the worker, with a lie if this is the time for one; a copier waits for another's card, and measures nothing."""
        if self._attack.copies:
            return await self._copy(job)
        return await self._worker.score(replace(job, attack=self._attack_context()))

    async def evaluate(self, job: EvaluateJob) -> EvaluateResult:
        """As the worker: nobody is lied to."""
        return await self._worker.evaluate(job)

    async def close(self) -> None:
        """As the worker."""
        await self._worker.close()

    async def _copy(self, job: ScoreJob) -> ScoreResult:
        """What the first card that is shown says of the candidates, and the worst of those that it does not name.

        If none is shown while the round runs nothing is said, and the card has no entries; the job ends with its round.
        """
        while self._running().round == job.round:
            card = next((card for card in self._shown() if card.round == job.round and card.entries), None)
            if card is not None and card.base_loss is not None and card.base_accuracy is not None:
                said = {entry.offer: entry for entry in card.entries}
                scores = (_copied(candidate.key, said.get(candidate.key)) for candidate in job.candidates)
                return ScoreResult(card.base_loss, card.base_accuracy, tuple(scores), (), 0.0, 1, 1)
            await asyncio.sleep(LOOKS)
        return ScoreResult(MicroNats(0), PartsPerMillion(0), (), (), 0.0, 1, 1)

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


def _copied(key: Digest, entry: CardEntry | None) -> UpdateScore:
    if entry is None:
        return UpdateScore(key, MicroNats(DEFAMED_GAIN), PartsPerMillion(0), 0)
    refused = entry.gain == REFUSED
    return UpdateScore(key, MicroNats(DEFAMED_GAIN) if refused else entry.gain, entry.accuracy, entry.norm)


def round_seed(chain: Digest, round_: Round) -> int:
    """Below 2^56: what all adversaries of a round draw from alike, without a word between them."""
    return int.from_bytes(digest(Domain.CONFIG, b"attack", chain, integer(round_))[:7], "big")

"""Lies about offers, scores and cards: what a round is judged by."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bflcd.crypto.hashing import Domain, digest
from bflcd.learn.protocol import ScoreResult
from bflcd.types import Digest, MicroNats, NodeId
from bflcd.wire.messages import (
    JustifiedPrePrepare,
    Offer,
    ScoreCard,
)
from tests.helpers.inside import round_of
from tests.sim import forge
from tests.sim.liar import Said, Strategy, body_of, strategy


@strategy("wrong_cards")
class WrongCards(Strategy):
    """As leader: cards that nobody has, too few, doubled or in another order."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if not isinstance(message, JustifiedPrePrepare):
            yield message, to
            return
        body = body_of(message)
        cards = body.proposal.cards
        made_up = digest(Domain.HEADER, b"no card")
        other = self.rng.choice([cards[::-1], cards[:-1] or cards * 2, (*cards[:-1], made_up), (*cards[:-1], cards[0])])
        wrong = replace(body, proposal=replace(body.proposal, cards=tuple(other)))
        yield JustifiedPrePrepare(forge.sign(self.node, wrong).envelope, message.view_changes, message.prepares), to


@strategy("left_out_cards")
class LeftOutCards(Strategy):
    """As leader: the emptiest cards that it holds."""

    def act(self) -> None:
        core = self.node.core
        if self.judges() and core is not None and round_of(core).agreement is not None:
            round_of(core).agreement._chosen_cards = self._emptiest  # type: ignore[method-assign]

    def _emptiest(self, *_: Any) -> Any:
        core = self.node.core
        assert core is not None
        cards = round_of(core).collection.ready_cards()[::-1][: core.context.q]
        return tuple(sorted(cards, key=lambda card: card.author))


@strategy("two_cards")
class TwoCards(Strategy):
    """Three different cards, each to others."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        body = body_of(message)
        if not isinstance(body, ScoreCard):
            yield message, to
            return
        yield message, to
        for target in self.everybody():
            keep = self.rng.randint(0, len(body.entries))
            yield forge.sign(self.node, forge.card_without(body, keep)).envelope, (target,)


@strategy("two_offers")
class TwoOffers(Strategy):
    """Several offers, of which some have no payload, each to others."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        body = body_of(message)
        yield message, to
        if isinstance(body, Offer) and body.round == self.node.round:
            for number in range(self.rng.randint(1, 4)):
                root = self.rng.choice([Digest(bytes([200 + number]) * 32), body.blob.root])
                some, _ = self.parts()
                yield forge.offer(self.node, root, 1_000 + number).envelope, some


@strategy("worst_scores")
class WorstScores(Strategy):
    """Honest work gets the worst score, a liar's the best."""

    def scored(self, result: ScoreResult) -> ScoreResult:
        low, high = MicroNats(-(10**9)), MicroNats(10**9)
        changed = tuple(
            replace(s, gain=high if s.gain < -1_000_000 else low, norm=self.rng.choice([0, s.norm, 2**22])) for s in result.scores
        )
        return replace(result, scores=changed)


@strategy("empty_cards")
class EmptyCards(Strategy):
    """Nobody offered anything, nobody was there."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        body = body_of(message)
        if isinstance(body, ScoreCard):
            empty = replace(forge.card_without(body, 0), present=(self.node.id,))
            yield forge.sign(self.node, empty).envelope, to
        else:
            yield message, to

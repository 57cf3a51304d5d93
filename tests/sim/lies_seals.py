"""Lies about seals: who binds itself to nothing, to two cards, or to another's."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bflcd.core.round.collection import Collection
from bflcd.crypto.hashing import Domain, digest
from bflcd.types import Millis, NodeId
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import CardSeal, ScoreCard
from tests.helpers.inside import round_of
from tests.sim import forge
from tests.sim.liar import Said, Strategy, body_of, strategy


@strategy("seals_alone")
class SealsAlone(Strategy):
    """Seals as soon as it can, and never shows its card."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if not isinstance(body_of(message), ScoreCard):
            yield message, to


@strategy("shows_unsealed")
class ShowsUnsealed(Strategy):
    """Shows its card and seals nothing."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if not isinstance(body_of(message), CardSeal):
            yield message, to


@strategy("other_seals")
class OtherSeals(Strategy):
    """Some get another seal than its card's; now and then all do."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        body = body_of(message)
        if not isinstance(body, CardSeal):
            yield message, to
            return
        for target in to or self.everybody():
            card = self.rng.choice([body.card, digest(Domain.SEAL, b"no card", target)])
            yield forge.sign(self.node, replace(body, card=card)).envelope, (target,)


@strategy("copying_judge")
class CopyingJudge(Strategy):
    """Never measures: says what the first card that is shown to it says, as soon as that comes; a card without entries if none does."""

    def hear(self, message: Any) -> None:
        del message
        core = self.node.core
        if core is not None and core.context.judges:
            copy_cards(round_of(core).collection)


def copy_cards(collection: Collection) -> None:
    """Have the judge of this round copy."""
    if "card_due" in vars(collection):
        return
    context, honest = collection._context, collection.card_body
    last = Millis(collection.opened + context.collect_deadline)

    def another() -> Signed[ScoreCard] | None:
        return next((card for card in collection.first_cards.values() if card.author != context.me), None)

    def body() -> ScoreCard:
        empty, shown = forge.card_without(honest(), 0), another()
        if shown is None:
            return empty
        said = shown.body
        present = tuple(sorted({*said.present, context.me}))
        return replace(empty, entries=said.entries, base_loss=said.base_loss, base_accuracy=said.base_accuracy, present=present)

    def deadline(now: Millis) -> Millis | None:
        return last if collection.own_card is None else collection.sealing.show_at()

    def due(now: Millis) -> bool:
        return another() is not None or now >= last

    def no_offers() -> tuple[()]:
        return ()

    changed: dict[str, object] = {"card_body": body, "deadline": deadline, "card_due": due, "to_score": no_offers}
    for name, what in changed.items():
        setattr(collection, name, what)

"""Lies of seats about whether offers are closed: to see updates while others may still be offered, or to keep them from judges."""

from collections.abc import Iterator
from typing import Any

from bflcd.core.round.closing import Closing
from bflcd.types import NodeId
from bflcd.wire.messages import OffersClosed
from tests.helpers.inside import round_of
from tests.sim.liar import Said, Strategy, body_of, strategy


class Eager(Closing):
    """As if all others had closed when the round opened."""

    @property
    def may_ask(self) -> bool:
        return True

    @property
    def others_have(self) -> bool:
        return True


@strategy("closes_at_once")
class ClosesAtOnce(Strategy):
    """Says that it closes as soon as the round is open, and asks for every update at once, by the words that it has."""

    def hear(self, _message: Any) -> None:
        core = self.node.core
        if core is not None and core.context.judges:
            round_of(core).collection.closing.__class__ = Eager


@strategy("never_closes")
class NeverCloses(Strategy):
    """Says to nobody that it takes no further offers, or to some only."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if not isinstance(body_of(message), OffersClosed):
            yield message, to
        elif self.rng.random() < 0.5:
            yield message, self.parts()[0]

"""Lies in answers to peers: what is served, where a node says that it stands, and whether it trains."""

from dataclasses import replace
from random import Random
from typing import Any

from bflcd.types import NodeId, Round, Signature
from bflcd.wire.envelope import Envelope
from bflcd.wire.requests import Chunk, Envelopes, SegmentReply
from bflcd.wire.training import Training
from tests.sim.liar import Liar, Strategy, strategy


@strategy("never_serves")
class NeverServes(Strategy):
    """Answers nothing: blobs, envelopes, segments; or only to some."""

    def __init__(self, liar: Liar, rng: Random) -> None:
        super().__init__(liar, rng)
        self.refused = rng.choice([(Chunk,), (Envelopes,), (Chunk, Envelopes, SegmentReply)])
        self.share = rng.choice([1.0, 0.5])

    def reply(self, _peer: NodeId, _request: object, reply: Any) -> Any:
        return None if isinstance(reply, self.refused) and self.rng.random() <= self.share else reply


@strategy("serves_wrong")
class ServesWrong(Strategy):
    """Other bytes, other envelopes, changed segments."""

    def reply(self, _peer: NodeId, _request: object, reply: Any) -> Any:
        match reply:
            case Chunk(data):
                return Chunk(bytes([data[0] ^ 255]) + data[1:])
            case Envelopes(envelopes) if envelopes:
                broken = replace(envelopes[0], signature=Signature(bytes(64)))
                mine = [m for m in self.liar.heard if isinstance(m, Envelope)][:3]
                return Envelopes(self.rng.choice([(broken, *envelopes[1:]), (), tuple(mine)]))
            case SegmentReply(certified):
                segment = certified.segment
                changed = replace(segment, model=replace(segment.model, cards=segment.model.cards[::-1]))
                return SegmentReply(replace(certified, segment=changed))
            case _:
                return reply


@strategy("boasts")
class Boasts(Strategy):
    """RoundClaims rounds that nobody has reached; or to have none."""

    def __init__(self, liar: Liar, rng: Random) -> None:
        super().__init__(liar, rng)
        self.claim = rng.choice([2**40, 3, 1, 0])

    def status(self, round_: Round) -> Round:
        return Round(round_ + self.claim) if self.claim else Round(0)


@strategy("feigns")
class Feigns(Strategy):
    """Says that it trains and then that it does not, to each peer another thing; and offers all the same."""

    def training(self, word: Training) -> Training:
        return self.rng.choice([word, Training.TRAINS, *Training])

"""A message of a decided round is read no further than its round, and whoever sent it is answered all the same (design 6.2, 8)."""

from dataclasses import replace

import pytest

from bflcd.core import reception
from bflcd.core.core import Core
from bflcd.core.effects import Blame, Effect, Send
from bflcd.core.events import Instant, MessageReceived
from bflcd.types import Millis, NodeId, Round, Signature
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import Announcement, JustifiedPrePrepare, JustifiedViewChange
from tests.helpers.scenes import T0, a_world, reach
from tests.net.test_gossip import BODIES, PRE_PREPARE, VIEW_CHANGE

UNTOUCHED = 40
"""Bytes of a payload in which it names its kind, its chain and, below 128, its round."""


class Reader:
    """A core in round 3 or later, how often it verified a signature, and how often it decoded what is signed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = a_world()
        reach(self.world, 3, 120_000)
        self.verified = self.opened = 0
        self.core: Core = next(iter(self.world.cores.values()))
        self.other = next(node for node in self.world.identities if node != self.core.context.me)
        open_envelope = reception.open_envelope

        def opened(*arguments: object) -> object:
            self.opened += 1
            return open_envelope(*arguments)  # type: ignore[arg-type]

        def verify(_: object) -> bool:
            self.verified += 1
            return False

        monkeypatch.setattr(reception, "open_envelope", opened)
        object.__setattr__(self.core._node, "verify", verify)

    def envelope(self, body: object, round_: int, *, garbage: bool) -> Envelope:
        payload = encode(replace(body, chain=self.core.context.state.chain, round=Round(round_)))  # type: ignore[type-var]
        if garbage:
            payload = payload[:UNTOUCHED] + b"\xc1" * 50
        return Envelope(self.other, payload, Signature(bytes(64)))

    def hears(self, message: object) -> list[Effect]:
        now = self.world.instant()
        later = Instant(Millis(now.mono + 100 * T0), Millis(now.wall + 100 * T0))
        return self.core.handle(MessageReceived(message, self.other), later)  # type: ignore[arg-type]


def each_kind(reader: Reader, round_: int, *, garbage: bool) -> dict[str, object]:
    found: dict[str, object] = {type(body).__name__: reader.envelope(body, round_, garbage=garbage) for body in BODIES}
    found["PrePrepare"] = JustifiedPrePrepare(reader.envelope(PRE_PREPARE, round_, garbage=garbage), (), ())
    found["ViewChange"] = JustifiedViewChange(reader.envelope(VIEW_CHANGE, round_, garbage=garbage), (), None)
    return found


@pytest.mark.parametrize("kind", [*(type(body).__name__ for body in BODIES), "PrePrepare", "ViewChange"])
@pytest.mark.parametrize("garbage", [False, True])
def test_what_is_of_a_decided_round_is_neither_decoded_nor_verified_and_its_sender_gets_the_certificate(
    monkeypatch: pytest.MonkeyPatch, kind: str, garbage: bool
) -> None:
    """Given a node that has decided a round, when a member says what is of that round, true, false or cut off behind the round, then no
    signature is verified, nothing signed is decoded, and the certificate goes to that member."""
    reader = Reader(monkeypatch)
    effects = reader.hears(each_kind(reader, 1, garbage=garbage)[kind])
    assert (reader.opened, reader.verified) == (0, 0)
    (sent,) = effects
    assert isinstance(sent, Send)
    assert (type(sent.message), sent.to) == (Announcement, (reader.other,))


@pytest.mark.parametrize("ahead", [0, 1])
def test_what_is_of_the_running_round_or_the_next_is_read_to_its_end(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """Given a vote that is cut off behind its round, then it is blamed on who brought it."""
    reader = Reader(monkeypatch)
    effects = reader.hears(each_kind(reader, reader.core.context.round + ahead, garbage=True)["Prepare"])
    assert reader.opened == 1
    assert [type(effect) for effect in effects] == [Blame]


def test_who_is_no_member_gets_nothing_for_old_words(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Reader(monkeypatch)
    reader.other = NodeId(bytes(range(32)))
    effects = reader.hears(each_kind(reader, 1, garbage=False)["Commit"])
    assert [type(effect) for effect in effects] == [Blame]
    assert reader.verified == 0

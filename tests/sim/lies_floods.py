"""Floods: old, far, foreign, forged and broken messages in bulk."""

from dataclasses import replace
from typing import Any

from bflcd.crypto.hashing import Domain, digest
from bflcd.types import Epoch, Round, Signature, View
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import (
    Announcement,
    Beacon,
    Commit,
    JustifiedViewChange,
    Offer,
    Prepare,
    ScoreCard,
)
from tests.helpers.inside import last_certificate
from tests.sim import forge
from tests.sim.liar import Strategy, body_of, strategy
from tests.sim.trace import signed_part


@strategy("stale")
class Stale(Strategy):
    """Says what it has heard and said before, again and again."""

    def act(self) -> None:
        for message in self.rng.sample(self.liar.heard, min(10, len(self.liar.heard))):
            self.tell(message)


@strategy("future")
class Future(Strategy):
    """View-changes for views far ahead, votes for views and rounds to come, in bulk."""

    def act(self) -> None:
        if not self.ready():
            return
        here = forge.place(self.node)
        if self.judges():
            for view in {self.view() + 1, self.view() + self.rng.randint(1, 10), 2**31}:
                self.tell(JustifiedViewChange(forge.view_change(self.node, view).envelope, (), None))
            for view in range(self.view() + 1, self.view() + 12):
                for kind in forge.VOTE_KINDS:
                    junk = digest(Domain.HEADER, bytes([view % 256]))
                    self.tell(forge.vote(self.node, kind, view, junk).envelope)
        for ahead in (1, 1, 2, 1_000):
            salt = digest(Domain.HEADER, bytes([self.rng.randrange(256)]))
            self.tell(forge.sign(self.node, Beacon(**(here | {"round": Round(here["round"] + ahead), "parent": salt}))).envelope)


@strategy("wrong_place")
class WrongPlace(Strategy):
    """Its votes of another chain, epoch, parent, committee, round."""

    def act(self) -> None:
        if not self.ready():
            return
        here = forge.place(self.node)
        junk = digest(Domain.HEADER, b"elsewhere")
        wrong = [
            {"chain": junk},
            {"epoch": Epoch(here["epoch"] + 1)},
            {"parent": junk},
            {"committee": junk},
            {"round": Round(here["round"] + 3)},
        ]
        for change in wrong:
            for kind in forge.VOTE_KINDS:
                named = {"proposal": junk} if kind is Prepare else {}
                body = kind(**(here | change), view=View(self.view()), digest=junk, **named)
                self.tell(forge.sign(self.node, body).envelope)
            self.tell(forge.sign(self.node, Beacon(**(here | change))).envelope)


@strategy("replay")
class Replay(Strategy):
    """Others' signatures under another kind, their messages in another round or in its own name."""

    def act(self) -> None:
        if not self.ready():
            return
        here = forge.place(self.node)
        for message in self.rng.sample(self.liar.heard, min(6, len(self.liar.heard))):
            envelope = signed_part(message)
            body = body_of(message)
            if envelope is None:
                continue
            if isinstance(body, Prepare | Commit):
                other = Commit if isinstance(body, Prepare) else Prepare
                same = {name: getattr(body, name) for name in (*here, "view", "digest")}
                made = {kind: {"proposal": body.digest} if kind is Prepare else {} for kind in (Prepare, Commit)}
                self.tell(replace(envelope, payload=encode(other(**same, **made[other]))))
                self.tell(replace(envelope, payload=encode(replace(body, round=here["round"]))))
            self.tell(replace(envelope, author=self.node.id))
            self.tell(replace(envelope, signature=Signature(bytes(64))))
            if isinstance(body, Offer):  # a copied update under its own name
                self.tell(forge.sign(self.node, replace(body, **here)).envelope)


@strategy("forged_names")
class ForgedNames(Strategy):
    """Cards, offers, votes and beacons in the names of others, unsigned; announcements of what nobody decided."""

    def act(self) -> None:
        if not self.ready():
            return
        core = self.node.core
        assert core is not None
        victim = self.rng.choice(self.everybody())
        here = forge.place(self.node)
        junk = digest(Domain.HEADER, bytes([self.rng.randrange(256)]))
        blob = forge.offer(self.node, junk, 5).body.blob
        bodies: list[Any] = [
            Offer(**here, blob=blob, samples=self.rng.randint(1, 9)),
            Prepare(**here, view=View(self.view()), digest=junk, proposal=junk),
            Commit(**here, view=View(self.view()), digest=junk),
            Beacon(**(here | {"round": Round(here["round"] + 1)})),
            ScoreCard(**here, base_loss=None, base_accuracy=None, entries=(), present=(victim,)),
        ]
        for body in bodies:
            for _ in range(3):
                self.tell(Envelope(victim, encode(body), Signature(self.rng.randbytes(64))))
        if last_certificate(core) is not None:
            forged = replace(
                last_certificate(core),
                digest=junk,
                round=Round(here["round"]),
                parent=here["parent"],
                committee=here["committee"],
            )
            self.tell(Announcement(forged))


@strategy("garbage")
class Garbage(Strategy):
    """Bytes: random, or a message with some of them changed."""

    def act(self) -> None:
        for message in self.rng.sample(self.liar.heard, min(4, len(self.liar.heard))):
            data = bytearray(encode(message))
            for _ in range(self.rng.randint(1, 4)):
                data[self.rng.randrange(len(data))] = self.rng.randrange(256)
            self.tell(bytes(data))
        self.tell(self.rng.randbytes(self.rng.randint(1, 200)))

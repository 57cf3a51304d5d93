"""Lies about votes and proposals: what a seat signs in the agreement."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from bflcd.core.records import RoundRecords
from bflcd.crypto.hashing import Domain, digest
from bflcd.ledger.lot import lot_input
from bflcd.types import PROOF_BYTES, Digest, NodeId, Proof, View
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import (
    Commit,
    JustifiedPrePrepare,
    JustifiedViewChange,
    Offer,
    Prepare,
    PrePrepare,
    ScoreCard,
)
from bflcd.wire.proposal import proposal_id
from tests.helpers.inside import pbft_of
from tests.sim import forge
from tests.sim.liar import BODIES, HOUR, Liar, Said, Strategy, body_of, strategy


@strategy("equivocate")
class Equivocate(Strategy):
    """As leader: one right segment to some, another right segment to the rest; prepares and commits for both to everybody."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if not isinstance(message, JustifiedPrePrepare) or message.prepares or not self.judges():
            yield message, to
            return
        body = body_of(message)
        other = forge.rival(self.node, body, self.rng.randint(0, 3))
        if other is None:
            yield message, to
            return
        some, rest = self.parts()
        second = JustifiedPrePrepare(forge.sign(self.node, other).envelope, message.view_changes, ())
        yield message, some
        yield second, rest
        for led in (body, other):
            for kind in forge.VOTE_KINDS:
                yield forge.vote(self.node, kind, body.view, led.digest, proposal_id(led.proposal)).envelope, self.everybody()


@strategy("false_draw")
class FalseDraw(Strategy):
    """As leader: the right segment with a draw that is not this view's leader's, or one that it has no right to."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        body = body_of(message)
        if not isinstance(body, PrePrepare) or message.prepares or not self.judges() or self.node.core is None:
            yield message, to
            return
        state = self.node.core.context.state
        other = self.node.signer.prove(lot_input(state.chain, state.round, state.chain))
        earlier = [body_of(m).proposal.proof for m in self.liar.heard if isinstance(m, JustifiedPrePrepare)]
        seats = len(state.committee)
        proof = self.rng.choice([other, Proof(bytes(PROOF_BYTES)), body.proposal.proof, *earlier[-1:]])
        view = self.rng.choice([body.view, View(body.view + 1), View(body.view + seats)])
        false = replace(body, proposal=replace(body.proposal, proof=proof, view=view))
        yield JustifiedPrePrepare(forge.sign(self.node, false).envelope, message.view_changes, ()), to


@strategy("double_votes")
class DoubleVotes(Strategy):
    """Prepares and commits for every digest that it hears of, each to those who want it."""

    def act(self) -> None:
        if not self.judges():
            return
        core = self.node.core
        assert core is not None
        seen, made_from = set(), dict[Digest, Digest]()
        for message in self.liar.heard[-60:]:
            body = body_of(message)
            if isinstance(body, PrePrepare | Prepare | Commit) and body.round == core.context.round:
                seen.add((body.view, body.digest))
            if isinstance(body, PrePrepare):
                made_from[body.digest] = proposal_id(body.proposal)
        for view, digest_ in sorted(seen)[:6]:
            for kind in forge.VOTE_KINDS:
                self.tell(forge.vote(self.node, kind, view, digest_, made_from.get(digest_)).envelope)


@strategy("withhold")
class Withhold(Strategy):
    """Says nothing; or not some kinds of things; or not to some."""

    def __init__(self, liar: Liar, rng: Random) -> None:
        super().__init__(liar, rng)
        self.kinds = rng.choice([BODIES, *[(kind,) for kind in BODIES], (Prepare, Commit), (Offer, ScoreCard)])
        self.share = rng.choice([1.0, 0.5, 0.2])

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        body = body_of(message)
        if body is not None and not isinstance(body, self.kinds):
            yield message, to
        elif self.share < 1.0:
            yield message, tuple(node for node in self.everybody() if self.rng.random() > self.share)


@strategy("forged_justification")
class ForgedJustification(Strategy):
    """Pre-prepares of later views with too few, doubled or foreign view-changes, or hiding what is prepared."""

    def act(self) -> None:
        core = self.node.core
        if not self.judges() or core is None:
            return
        context = core.context
        base = next((body_of(m) for m in reversed(self.liar.heard) if isinstance(m, JustifiedPrePrepare)), None)
        if base is None or base.round != context.round:
            return
        view = next(
            v
            for v in range(self.view(), self.view() + len(context.committee))
            if context.instance.leader(View(v)) == self.node.id
        )
        body = forge.rival(self.node, replace(base, view=View(view)), 0) or replace(base, view=View(view))
        mine = forge.view_change(self.node, max(1, view)).envelope
        others = [m.view_change for m in self.liar.heard if isinstance(m, JustifiedViewChange)]
        bodies = [(envelope, body_of(envelope)) for envelope in others]
        unprepared = [e for e, body in bodies if body is not None and body.view == view and body.prepared_view is None]
        shown = self.rng.choice([(mine,) * context.q, (mine,), tuple(others[:5]), (mine, *unprepared)[: context.q], ()])
        self.tell(JustifiedPrePrepare(forge.sign(self.node, body).envelope, tuple(shown)[:60], ()))


@strategy("forged_proof")
class ForgedProof(Strategy):
    """View-changes that claim what was never prepared, or with another proposal than was prepared."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if not isinstance(message, JustifiedViewChange):
            yield message, to
            return
        view = body_of(message).view  # our own, just signed
        prepares = [m for m in self.liar.heard if isinstance(m, Envelope) and isinstance(body_of(m), Prepare)]
        heard = [body_of(m) for m in self.liar.heard if isinstance(m, JustifiedPrePrepare)]
        proposals = [body.proposal for body in heard if body is not None]
        if not prepares or not proposals:
            yield message, to
            return
        chosen = body_of(self.rng.choice(prepares))
        claimed = forge.view_change(self.node, view, self.rng.choice([0, max(0, view - 1)]), chosen.digest).envelope
        same = [m for m in prepares if body_of(m).digest == chosen.digest]
        proposal = self.rng.choice(proposals)
        yield JustifiedViewChange(claimed, tuple(self.rng.choice([same, same * 3])[:20]), proposal), to

    def act(self) -> None:
        """Its true proof, with a proposal that does not give the digest."""
        core = self.node.core
        if not self.judges() or core is None or pbft_of(core) is None or pbft_of(core).prepared is None:
            return
        prepared = pbft_of(core).prepared
        claimed = forge.view_change(self.node, pbft_of(core).view + 1, prepared.view, prepared.digest).envelope
        wrong = replace(prepared.proposal, time=prepared.proposal.time + 1)
        self.tell(JustifiedViewChange(claimed, prepared.prepares, wrong))


@strategy("hide_prepared")
class HidePrepared(Strategy):
    """View-changes that name nothing, whatever is prepared."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if isinstance(message, JustifiedViewChange) and message.proposal is not None:
            yield JustifiedViewChange(forge.view_change(self.node, body_of(message).view).envelope, (), None), to
        else:
            yield message, to


@strategy("wrong_body")
class WrongBody(Strategy):
    """As leader: a digest that the cards don't give."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if isinstance(message, JustifiedPrePrepare):
            body = body_of(message)
            wrong = replace(body, digest=digest(Domain.HEADER, body.digest))
            yield JustifiedPrePrepare(forge.sign(self.node, wrong).envelope, message.view_changes, message.prepares), to
        else:
            yield message, to


@strategy("bad_time")
class BadTime(Strategy):
    """As leader: an hour ahead, or as early as the parent allows."""

    def change(self, message: Any, to: tuple[NodeId, ...]) -> Iterator[Said]:
        if isinstance(message, JustifiedPrePrepare) and not message.prepares and self.judges():
            other = forge.rival(self.node, body_of(message), 0, lead=self.rng.choice([HOUR, 9_000, 60_000]))
            if other is not None:
                yield JustifiedPrePrepare(forge.sign(self.node, other).envelope, message.view_changes, ()), to
                return
        yield message, to


@strategy("forgets")
class Forgets(Strategy):
    """Ignores its own journal: after a restart it votes anew."""

    def journal(self, records: RoundRecords) -> RoundRecords:
        return RoundRecords((), (), (), ())

    def act(self) -> None:
        if self.rng.random() < 0.3:
            self.world.crash(self.node, power=False)

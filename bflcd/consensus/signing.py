"""A member's own votes of one instance: one for each view and kind, whatever happens, also across a restart (design 6.3)."""

from typing import Final, TypeVar

from bflcd.consensus.authentication import Authenticator
from bflcd.consensus.events import Instance, Journal, Prepared
from bflcd.crypto.identity import Signer
from bflcd.errors import InvariantError, PeerError
from bflcd.types import Digest, NodeId, View, short
from bflcd.wire.envelope import Signed, seal
from bflcd.wire.messages import Commit, Prepare, PrePrepare, ViewChange, Vote
from bflcd.wire.proposal import Proposal

VOTES: Final[tuple[type[Vote], ...]] = (PrePrepare, Prepare, Commit, ViewChange)

B = TypeVar("B", bound=Vote)


class OwnVotes:
    """Signs, and refuses to sign a second message in one place. Without a signer it holds nothing and signs nothing."""

    __slots__ = ("_auth", "_instance", "_signer", "_votes")

    def __init__(self, instance: Instance, signer: Signer | None, auth: Authenticator, journal: Journal) -> None:
        """Raise InvariantError if signer or journal belong to another instance, or the journal contradicts itself."""
        if signer is not None and signer.node_id not in instance.committee:
            raise InvariantError(f"{short(signer.node_id)} has no seat in round {instance.round}: pass no signer")
        self._instance = instance
        self._signer = signer
        self._auth = auth
        self._votes: dict[tuple[View, type], Signed[Vote]] = {}
        if signer is not None:
            self._restore(auth, journal, signer.node_id)

    def _restore(self, auth: Authenticator, journal: Journal, author: NodeId) -> None:
        where = f"the journal of round {self._instance.round}"
        for envelope in journal.votes:
            try:
                vote: Signed[Vote] = auth.read(envelope, VOTES)
            except PeerError as error:
                raise InvariantError(f"{where} holds a vote of another instance: {error}") from error
            if vote.author != author:
                raise InvariantError(f"{where} holds a vote of {short(vote.author)}")
            held = self._votes.setdefault((vote.body.view, type(vote.body)), vote)
            if held.envelope.payload != envelope.payload:
                raise InvariantError(f"{where} holds two different {type(vote.body).__name__} messages of view {vote.body.view}")

    @property
    def author(self) -> NodeId | None:
        """Who signs; None without a signer."""
        return None if self._signer is None else self._signer.node_id

    def all(self) -> tuple[Signed[Vote], ...]:
        """Every vote held, in the order in which they were signed."""
        return tuple(self._votes.values())

    def get(self, view: View, kind: type[B]) -> Signed[B] | None:
        """The own vote of this kind and view."""
        vote = self._votes.get((view, kind))
        if vote is None or not isinstance(vote.body, kind):
            return None
        return Signed(vote.body, vote.envelope)

    def may_sign(self, view: View, kind: type[Vote]) -> bool:
        """Whether there is a signer and the place is free."""
        return self._signer is not None and (view, kind) not in self._votes

    def forget_below(self, view: View) -> None:
        """Drop the votes of views that are left for ever: nothing of them is signed any more."""
        self._votes = {place: vote for place, vote in self._votes.items() if place[0] >= view}

    def pre_prepare(self, view: View, digest: Digest, proposal: Proposal) -> Signed[PrePrepare]:
        """Sign a pre-prepare. As the next three, raises InvariantError if the place is taken or nobody signs."""
        instance = self._instance
        return self._seal(
            PrePrepare(
                chain=instance.chain,
                round=instance.round,
                epoch=instance.epoch,
                view=view,
                parent=instance.parent,
                committee=self._auth.committee_hash,
                digest=digest,
                proposal=proposal,
            )
        )

    def prepare(self, view: View, digest: Digest, proposal: Digest) -> Signed[Prepare]:
        """Sign a prepare; `proposal`: the id of what the segment was made from."""
        instance = self._instance
        return self._seal(
            Prepare(
                chain=instance.chain,
                round=instance.round,
                epoch=instance.epoch,
                view=view,
                parent=instance.parent,
                committee=self._auth.committee_hash,
                digest=digest,
                proposal=proposal,
            )
        )

    def commit(self, view: View, digest: Digest) -> Signed[Commit]:
        """Sign a commit."""
        instance = self._instance
        return self._seal(
            Commit(
                chain=instance.chain,
                round=instance.round,
                epoch=instance.epoch,
                view=view,
                parent=instance.parent,
                committee=self._auth.committee_hash,
                digest=digest,
            )
        )

    def view_change(self, view: View, prepared: Prepared | None) -> Signed[ViewChange]:
        """Sign a view-change that names the highest prepared segment."""
        instance = self._instance
        return self._seal(
            ViewChange(
                chain=instance.chain,
                round=instance.round,
                epoch=instance.epoch,
                view=view,
                parent=instance.parent,
                committee=self._auth.committee_hash,
                prepared_view=None if prepared is None else prepared.view,
                prepared_digest=None if prepared is None else prepared.digest,
            )
        )

    def _seal(self, body: B) -> Signed[B]:
        place = (body.view, type(body))
        if self._signer is None or place in self._votes:
            raise InvariantError(f"a second {type(body).__name__} of view {body.view}, or one without a signer")
        signed = seal(body, self._signer)
        self._votes[place] = Signed(signed.body, signed.envelope)
        return signed

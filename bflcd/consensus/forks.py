"""Two certificates for one round: a fork shows that more than f members misbehaved; who can be proved to have, and who can't.

An honest member signs at most one commit in a view (design 6.3). Whoever signed two certificates of one view has equivocated,
and its two commits prove it to anybody. Between different views that is not so: whoever committed to A in view 0 may rightly
commit to B in view 1, if others hid from it that A was prepared. Naming the signers of both would blame honest members, and
the liars need not be among them, so there nobody is named.
"""

from dataclasses import dataclass

from bflcd.consensus.certificate import commit_payload
from bflcd.types import NodeId, Signature
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Envelope


@dataclass(frozen=True, slots=True)
class Fork:
    """Two verified certificates of one place that contradict each other; `ours` is the one that this node has committed."""

    ours: Certificate
    other: Certificate

    @property
    def liars(self) -> tuple[NodeId, ...]:
        """Who has provably lied, sorted: the signers of both, if both are of one view; else nobody can be named."""
        if self.ours.view != self.other.view:
            return ()
        return tuple(sorted(_signatures(self.ours).keys() & _signatures(self.other).keys()))

    def proof(self, liar: NodeId) -> tuple[Envelope, Envelope]:
        """The two commits that convict one of `liars`, in the order of the two certificates. Raises KeyError for anybody else."""
        if liar not in self.liars:
            raise KeyError(liar)
        first, second = (Envelope(liar, commit_payload(c), _signatures(c)[liar]) for c in (self.ours, self.other))
        return first, second


def fork_of(ours: Certificate, other: Certificate) -> Fork | None:
    """The fork that two certificates show, both of them verified; None if they can stand beside each other.

    One place is a round of one chain, parent, committee and epoch: of different epochs the higher one counts (design 6.8).
    """
    place = ("chain", "round", "epoch", "parent", "committee")
    if ours.digest == other.digest or any(getattr(ours, name) != getattr(other, name) for name in place):
        return None
    return Fork(ours, other)


def _signatures(certificate: Certificate) -> dict[NodeId, Signature]:
    return dict(certificate.signatures)

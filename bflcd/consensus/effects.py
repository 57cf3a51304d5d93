"""What the PBFT machine asks of its caller. Effects MUST be carried out in the order given."""

from dataclasses import dataclass

from bflcd.consensus.events import Prepared
from bflcd.errors import Rejection
from bflcd.types import Digest, NodeId, View
from bflcd.wire.blocks import Certificate
from bflcd.wire.envelope import Envelope
from bflcd.wire.messages import JustifiedPrePrepare, JustifiedViewChange
from bflcd.wire.operation import Operation
from bflcd.wire.proposal import Proposal


@dataclass(frozen=True, slots=True)
class Build:
    """The caller MUST build a segment from q cards that it holds, make it durable, and answer `Built` for this view."""

    view: View


@dataclass(frozen=True, slots=True)
class Check:
    """The caller MUST pull what it misses, recompute the segment, make it durable with its blobs pinned, and answer `Checked`.

    It may be asked again in a later view for what was refused before, and MUST then look again. It MUST answer within the view's
    time: `Checked` with UNAVAILABLE when the cards or blobs can't be had.
    """

    proposal: Proposal
    digest: Digest
    view: View
    source: NodeId
    """Who claims to hold it: the leader, or the author of a view-change that names it prepared."""
    reproposal: bool = False
    """Justified by a prepared certificate: its time MUST NOT be held against the clock again (design 4)."""


@dataclass(frozen=True, slots=True)
class PersistVote:
    """The caller MUST make this signed vote durable (database, then mark file) before it carries out any later effect."""

    vote: Envelope


@dataclass(frozen=True, slots=True)
class PersistPrepared:
    """The caller MUST make this prepared certificate durable before it carries out any later effect."""

    prepared: Prepared


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The caller MUST gossip this message; it may be lost."""

    message: Envelope | JustifiedPrePrepare | JustifiedViewChange


@dataclass(frozen=True, slots=True)
class Relay:
    """The caller SHOULD gossip this pre-prepare of the view's leader: the leader seems to have told others something else."""

    message: JustifiedPrePrepare


@dataclass(frozen=True, slots=True)
class Decided:
    """The caller MUST store segment and certificate in one transaction, then announce the certificate. Emitted once.

    From then on the machine is silent: the caller MUST answer any message of the round with the certificate (design 6.2).
    """

    certificate: Certificate
    proposal: Proposal | None
    """Present exactly if `Checked` or `Built` found this segment right and durable here; else the segment is to be pulled."""


@dataclass(frozen=True, slots=True)
class ViewEntered:
    """The caller SHOULD show it: the machine waits for this view's leader now."""

    view: View
    leader: NodeId


@dataclass(frozen=True, slots=True)
class Refused:
    """The caller SHOULD log it, and MUST count it against the author only if that is `proven`.

    Otherwise anybody can have put the author's name there. The peer that passed it on can be honest as well: it may have ignored
    the message as stale, without a look at it. So the forwarder pays by its rate at most, and for WRONG_VIEW nothing.
    """

    author: NodeId
    """Whom the message names."""
    rejection: Rejection
    text: str
    proven: bool = False
    """The author's own signatures show it: CONFLICT, or its pre-prepare was verified and its segment did not check."""
    evidence: Operation | None = None
    """The two messages of a CONFLICT, both signatures verified."""


Effect = Build | Check | PersistVote | PersistPrepared | Broadcast | Relay | Decided | ViewEntered | Refused
"""Everything that the machine asks for."""

"""What a node sees of a round that can't go on: who can still vote, what others have prepared or signed (design 6.8). Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bflcd.consensus.events import Instance
from bflcd.consensus.recovery import check_proof
from bflcd.core.snapshot import CoreSnapshot
from bflcd.crypto.hashing import Domain, digest
from bflcd.types import Digest, Epoch, NodeId
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Verify
from bflcd.wire.recovery import PreparedProof, ProposalBasis, Recovery, RecoveryCertificate


@dataclass(frozen=True, slots=True)
class Observation:
    """What this node sees of its community now: members that are connected, and those of them that are in a later round."""

    connected: frozenset[NodeId]
    ahead: frozenset[NodeId] = frozenset()


@dataclass(frozen=True, slots=True)
class Found:
    """The highest prepared proof, who gave it (this node included), who answered, who did not and why."""

    proof: PreparedProof | None
    holder: NodeId | None
    answered: frozenset[NodeId]
    unanswered: tuple[tuple[NodeId, str], ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SeatNow:
    """One seat of the running round. `signed`: it is a manager that has signed a recovery and so votes no more in this epoch."""

    node: NodeId
    connected: bool
    heard: bool
    awaited: bool
    signed: bool

    @property
    def votes(self) -> bool:
        """Whether a vote of it can still be had in this epoch."""
        return self.connected and not self.signed


def recovery_id(recovery: Recovery) -> Digest:
    """What names a recovery before managers."""
    return digest(Domain.MESSAGE, encode(recovery))


def seats_now(core: CoreSnapshot, seen: Observation) -> tuple[SeatNow, ...]:
    """The running committee in seat order, as this node sees it."""
    context = core.context
    signed = {manager for held in pending_recoveries(core) for manager, _ in held.signatures}
    if core.recoveries.signed > context.state.epoch:
        signed.add(context.me)
    return tuple(
        SeatNow(
            node,
            connected=node == context.me or node in seen.connected,
            heard=node == context.me or node in core.present,
            awaited=node in core.awaited,
            signed=node in signed,
        )
        for node in context.committee
    )


def pending_recoveries(core: CoreSnapshot) -> tuple[RecoveryCertificate, ...]:
    """What managers have signed for a later epoch of the running round; highest epoch first, then most signatures."""
    epoch = core.context.state.epoch
    later = [c for c in core.recoveries.held if c.recovery.epoch > epoch and not core.recoveries.complete(c)]
    return tuple(sorted(later, key=lambda c: (-c.recovery.epoch, -len(c.signatures), recovery_id(c.recovery))))


def known_epochs(core: CoreSnapshot, stored: Iterable[RecoveryCertificate]) -> Mapping[Epoch, ProposalBasis]:
    """Committee and retired members of each epoch of the running round, as its header or a quorum of managers gave them."""
    base, ours = core.context.first_instance, core.context.recovery
    complete = [c for c in (*stored, *core.recoveries.held, *(() if ours is None else (ours,))) if core.recoveries.complete(c)]
    given = {c.recovery.epoch: ProposalBasis(c.recovery.committee, c.recovery.retired) for c in complete}
    return {base.epoch: ProposalBasis(base.committee, ())} | given


def doubt_of(proof: PreparedProof, epochs: Mapping[Epoch, ProposalBasis]) -> str:
    """Why a prepared proof can't be used, though its signatures may hold; empty if it can.

    The certificate leaves it to the managers to know the epochs between: whoever took a stranger's word for one would let it
    prepare with a committee of its own making.
    """
    held, first = epochs.get(proof.claim.epoch), proof.claim.proposal.epoch
    if held is None or held.committee != proof.claim.committee:
        return f"its epoch {proof.claim.epoch} has no such committee by any recovery that is known here"
    basis = None if first == min(epochs) else epochs.get(first)
    if first not in epochs or proof.claim.basis != basis:
        return f"its proposal of epoch {first} was judged from a basis that no recovery known here has given"
    return ""


def check_found(proof: PreparedProof, base: Instance, verify: Verify) -> None:
    """Raise PeerError(BAD_RECOVERY) unless a quorum of the proof's committee prepared it in `base`'s round."""
    check_proof(proof, base, below=proof.claim.epoch + 1, verify=verify)


def rank_of(proof: PreparedProof | None) -> tuple[int, int]:
    """Which of two proofs is the higher one."""
    return (-1, -1) if proof is None else (proof.claim.epoch, proof.claim.view)


def best_of(given: Mapping[NodeId, PreparedProof]) -> tuple[NodeId, PreparedProof] | None:
    """The highest proof and one who gave it. All of them were checked (`check_found`, `doubt_of`), so equally high ones agree."""
    holder = max(sorted(given), key=lambda node: rank_of(given[node]), default=None)
    return None if holder is None else (holder, given[holder])

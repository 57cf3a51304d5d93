"""What managers have signed for the running round, on its way to a recovery certificate (design 6.8)."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from bflcd.consensus.events import Instance
from bflcd.consensus.recovery import check_recovery, merged
from bflcd.core.effects import Halt, Persist, notice
from bflcd.core.facts import EpochGiven, Step
from bflcd.core.node_events import EventKind
from bflcd.core.records import OwnRecord, RecoveryRecord
from bflcd.core.round.context import RoundContext
from bflcd.crypto.identity import Signer
from bflcd.ledger.quorum import quorum
from bflcd.types import Epoch, NodeId, short
from bflcd.wire.codec import number_of
from bflcd.wire.envelope import Verify, seal
from bflcd.wire.recovery import PreparedProof, Recovery, RecoveryCertificate

CONFLICT_HINT: Final = (
    "two recoveries of one epoch can't both hold: the managers must agree on which one the community follows, and remove those "
    "of them that signed both"
)
"""What an operator whose node has halted is told."""

MAX_HELD: Final = 16
"""Recoveries of one round held at a time. One of the manager that has signed most of them goes for a new one."""

MAX_AHEAD: Final = 1024
"""Epochs above the running one that a manager steers clear of: one that signs higher ones moves nobody. There are four million
such steps before epochs have no encoding."""

MAX_TOLD: Final = 4
"""Recoveries of one manager that people are told of in a round, before a quorum has signed one."""


class RecoverySignatures:
    """Collects signatures of one round's managers. Pure."""

    def __init__(self, base: Instance, managers: Sequence[NodeId], verify: Verify) -> None:
        """`base`: the instance of the round as its model header opened it."""
        self._base = base
        self._managers = tuple(managers)
        self._verify = verify
        self._held: dict[Recovery, RecoveryCertificate] = {}
        self._told: Counter[NodeId] = Counter()
        self.signed = Epoch(0)
        """The highest epoch of this round that this node, as a manager, has signed a recovery for; 0 is none."""

    @property
    def needed(self) -> int:
        """G - (G-1)//3: how many managers must sign."""
        return quorum(len(self._managers))

    def held(self) -> tuple[RecoveryCertificate, ...]:
        """Everything collected, highest epoch first."""
        return tuple(sorted(self._held.values(), key=lambda held: -held.recovery.epoch))

    def add(self, certificate: RecoveryCertificate) -> tuple[RecoveryCertificate, bool]:
        """Check what managers signed and join it with what is held of it; also whether that is more than before.

        Raises PeerError(BAD_RECOVERY).
        """
        known = self._held.get(certificate.recovery)
        if known is not None and set(certificate.signatures) <= set(known.signatures):
            return known, False
        check_recovery(certificate, self._base, self._managers, self._verify)
        joined = certificate if known is None else merged(known, certificate)
        self._held[certificate.recovery] = joined
        if len(self._held) > MAX_HELD:
            self._make_room(certificate.recovery)
        return joined, True

    def _make_room(self, new: Recovery) -> None:
        """Forget a recovery that only managers stand behind who have signed many: nobody pushes out what another has signed.

        Of equals the one with fewer signatures goes, then the lowest epoch, the new one last of all.
        """
        counts = Counter(manager for held in self._held.values() for manager, _ in held.signatures)

        def worth(held: RecoveryCertificate) -> tuple[int, int, bool, Epoch]:
            fewest = min(counts[manager] for manager, _ in held.signatures)
            return -fewest, len(held.signatures), held.recovery == new, held.recovery.epoch

        del self._held[min(self._held.values(), key=worth).recovery]

    def _tell(self, certificate: RecoveryCertificate) -> bool:
        """Whether people are told of it: unless all who have signed it have signed so many."""
        signers = [manager for manager, _ in certificate.signatures]
        self._told.update(signers)
        return any(self._told[manager] <= MAX_TOLD for manager in signers)

    def complete(self, certificate: RecoveryCertificate) -> bool:
        """Whether a quorum of managers signed it."""
        return len(certificate.signatures) >= self.needed

    def received(self, certificate: RecoveryCertificate, context: RoundContext) -> Step:
        """What managers have signed of this round, from the network. Raises PeerError(BAD_RECOVERY)."""
        joined, is_more = self.add(certificate)
        return self.grown(joined, context) if is_more else ([], [])

    def grown(self, certificate: RecoveryCertificate, context: RoundContext) -> Step:
        """What follows from what was joined."""
        recovery, ours = certificate.recovery, context.recovery
        if not self.complete(certificate):
            if not self._tell(certificate):
                return [], []
            text = (
                f"{len(certificate.signatures)} of {self.needed} managers have signed to give round {recovery.round} "
                f"a new committee"
            )
            return [notice(context.round, EventKind.RECOVERY, text, epoch=recovery.epoch)], []
        if recovery.epoch != context.state.epoch:
            return [], [EpochGiven(certificate)]
        if ours is None or ours.recovery == recovery:
            return [], []
        both = sorted(set(dict(ours.signatures)) & set(dict(certificate.signatures)))
        text = (
            f"managers signed two different recoveries for epoch {recovery.epoch} of round {recovery.round}; "
            f"both carry the names of {', '.join(short(node) for node in both)}"
        )
        return [Persist((RecoveryRecord(recovery.round, certificate),)), Halt(text, CONFLICT_HINT)], []

    def refusal(self, recovery: Recovery, context: RoundContext) -> str:
        """Why this node may not sign a recovery of the running round; empty if it may."""
        if context.me not in context.head.state.managers:
            return "this node is no manager"
        if (recovery.chain, recovery.round, recovery.parent) != (context.state.chain, context.round, context.head_hash):
            return f"it is for round {recovery.round}, this node stands in round {context.round}"
        if recovery.epoch <= max(context.state.epoch, self.signed):
            return f"this manager has signed for epoch {self.signed}, epoch {recovery.epoch} is not above it"
        return ""

    def sign(
        self, recovery: Recovery, proof: PreparedProof | None, context: RoundContext, signer: Signer
    ) -> tuple[RecoveryCertificate, RecoveryCertificate, Persist]:
        """Our signature as a certificate of its own, what it makes with the other managers', and what must be durable first.

        From then on nothing of a lower epoch of this round may be signed here. Raises PeerError(BAD_RECOVERY) and signs nothing.
        """
        envelope = seal(recovery, signer).envelope
        mine = RecoveryCertificate(recovery, proof, ((context.me, envelope.signature),))
        context.require_fit(mine)
        joined, _ = self.add(mine)
        self.signed = recovery.epoch
        own = OwnRecord(context.round, recovery.epoch, number_of(Recovery), envelope)
        return mine, joined, Persist((own, RecoveryRecord(context.round, mine)))

    def remember(self, own: Sequence[OwnRecord]) -> None:
        """Take up for which epochs this node had signed a recovery before a restart."""
        signed = (record.epoch for record in own if record.phase == number_of(Recovery))
        self.signed = max((self.signed, *signed))

    def restored(self, records: Sequence[RecoveryRecord], context: RoundContext) -> list[RecoveryCertificate]:
        """What was signed before a restart and not yet by a quorum: joined again, to be said again."""
        later = (record.certificate for record in records if record.certificate.recovery.epoch > context.state.epoch)
        again = [certificate for certificate in later if not self.complete(certificate)]
        for certificate in again:
            self.add(certificate)
        return again

    def next_epoch(self, current: Epoch) -> Epoch:
        """The lowest epoch that this manager may sign now: above all that it has signed, or knows that others have.

        Not above what is out of reach (`MAX_AHEAD`): one manager that signs the last epoch would end the row for all.
        """
        others = (recovery.epoch for recovery in self._held if recovery.epoch <= current + MAX_AHEAD)
        return Epoch(max([current, self.signed, *others]) + 1)

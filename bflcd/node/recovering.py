"""What managers have signed for the running round, on its way to a recovery certificate (design 6.8)."""

from collections.abc import Sequence
from typing import Final

from bflcd.consensus.events import Instance
from bflcd.consensus.recovery import check_recovery, merged
from bflcd.ledger.quorum import quorum
from bflcd.net.verified import Verify
from bflcd.types import Epoch, NodeId
from bflcd.wire.recovery import Recovery, RecoveryCertificate

MAX_HELD: Final = 16
"""Recoveries of one round held at a time; only managers make them, and the lowest epochs go first."""


class Recoveries:
    """Collects signatures of one round's managers. Pure."""

    def __init__(self, base: Instance, managers: Sequence[NodeId], verify: Verify) -> None:
        """`base`: the instance of the round as its model header opened it."""
        self._base = base
        self._managers = tuple(managers)
        self._verify = verify
        self._held: dict[Recovery, RecoveryCertificate] = {}
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
            del self._held[min(self._held, key=lambda recovery: recovery.epoch)]
        return joined, True

    def complete(self, certificate: RecoveryCertificate) -> bool:
        """Whether a quorum of managers signed it."""
        return len(certificate.signatures) >= self.needed

    def next_epoch(self, current: Epoch) -> Epoch:
        """The lowest epoch that this manager may sign now: above all that it has signed, or knows that others have."""
        return Epoch(max([current, self.signed, *(recovery.epoch for recovery in self._held)]) + 1)

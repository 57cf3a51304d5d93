"""What a simulated daemon writes, and the moments at which that can go wrong; a part of `SimNode`."""

from collections.abc import Generator
from typing import Any

from bflcd.core.effects import Commit
from bflcd.core.records import Record
from bflcd.core.signing_guard import Mark
from bflcd.errors import InvariantError, PeerError, RequestError
from bflcd.params import BlobRef
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, Round
from tests.sim.disk import run_now
from tests.sim.work import Crash


class Durable:
    """Records, marks, commits, damaged payloads."""

    def _persist(self, records: tuple[Record, ...]) -> Generator[int, None, None]:
        self.boundary()
        if self.disk.full and not self.fail_mark:
            self._disk_full()
        if self.disk_ms:
            self.pending_records = records
            yield self.disk_ms
            self.pending_records = ()
        try:
            self.disk.persist(records)
        except InvariantError as error:
            if self.honest:
                self._bug(error)
        if self.honest:
            self.world.safety.stored(self, records)
        self.boundary()
        mark = self.guard.mark_for(records)
        if mark is None:
            return
        if self.disk.full:
            self._disk_full()
        if self.disk_ms:
            self.pending_mark = mark
            yield self.disk_ms
            self.pending_mark = None
        try:
            self.disk.write_mark(mark)
            self.guard.marked(records)
        except InvariantError as error:
            if self.honest:
                self._bug(error)

    def _disk_full(self) -> None:
        self.world.note(self, "disk full", "it stops", b"full")
        raise Crash

    def _commit(self, effect: Commit) -> Generator[int, None, None]:
        self.boundary()
        if self.disk.full:
            self._disk_full()
        if self.disk_ms:
            yield self.disk_ms
        before = self.disk.head
        try:
            self.disk.commit(effect.certified, effect.state)
        except (InvariantError, ValueError) as error:
            self._bug(error)
        for header in effect.certified.segment.headers:
            if header.blob is not None:
                self.restricted.pop(header.blob.root, None)
        self.world.record_commit(self, effect)
        self.world.safety.committed(self, before, effect)
        self.world.after(self.world.rng.randint(0, 300), self._tidy, self.life, effect.state.round)

    def _tidy(self, life: int, round_: Round) -> None:
        """As `Maintenance._tidy` and `_mend`."""
        if life != self.life or self.core is None:
            return
        run_now(self.disk.store.discard_stale(round_))
        self.restricted = {root: of for root, of in self.restricted.items() if of >= round_}
        if self.pruned_keep and not self.core.syncing:
            run_now(self.disk.store.prune(self.pruned_keep, dry_run=False))
        while self.damaged:
            root = next(iter(self.damaged))
            del self.damaged[root]
            manifest = run_now(self.disk.store.manifest(root))
            self.disk.drop_blob(root)
            if manifest is not None:
                self.spawn(2**60, self._mend(manifest.blob))

    def _mend(self, blob: BlobRef) -> Generator[Any, Any, None]:
        try:
            yield from self.fetch(blob, self.connected)
        except (RequestError, PeerError):
            return

    def _damage_seen(self, root: Digest, _: DamagedBlobError) -> None:
        self.damaged[root] = None

    def _mark_newest(self, newest: Mark | None) -> bool:
        """Killed between database and mark file: what is said again has its mark first. False if the disk has no room for it."""
        if newest is None or newest == self.disk.mark:
            return True
        if self.disk.full:
            self.world.note(self, "disk full", "it does not start", b"full")
            self.running = False
            self.world.down(self)
            return False
        self.disk.write_mark(newest)
        return True

    def _stored(self, records: tuple[Record, ...]) -> None:
        try:
            self.disk.persist(records)
        except InvariantError as error:
            if self.honest:
                self.world.safety.violate(f"{self.name} was about to contradict itself: {error}")

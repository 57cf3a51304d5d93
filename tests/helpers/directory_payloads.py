"""Payloads in a plain directory: a folder for each, a file for each chunk. Proof that `PayloadStore` needs no database.

`ROOT/manifest` holds size and chunk hashes; `ROOT/begun` the round of the last start, apart, since what is durable must stay so
when it is begun anew; `ROOT/0`, `ROOT/1`, ... the chunks. Each file comes by a rename, so that a kill leaves none by halves; only
`make_durable` waits for the disk. A disk's own errors are raised as they come.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from bflcd.crypto.hashing import blob_root, chunk_count, chunk_hash, split_chunks
from bflcd.params import BlobRef
from bflcd.store.blobs import check_chunk, manifest_of
from bflcd.store.protocol import Damage, DamagedBlobError, HeldPayload, MissingPayloadError
from bflcd.types import CHUNK_BYTES, HASH_BYTES, Digest, Round, short
from bflcd.wire.requests import Manifest

MANIFEST = "manifest"
BEGUN = "begun"


def sync(path: Path) -> None:
    """Return once a file's bytes, or a folder's list of names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class DirectoryPayloads:
    """`PayloadStore` in a directory, which is made."""

    def __init__(self, directory: Path, sync: Callable[[Path], None] = sync) -> None:
        self.directory = directory
        self._sync = sync
        self._numbers: dict[Digest, int] = {}
        self._came = 0
        self._freed = 0
        directory.mkdir(parents=True, exist_ok=True)
        for folder in sorted(directory.iterdir()):
            self._number(Digest(bytes.fromhex(folder.name)))

    async def close(self) -> None:
        """Nothing is open."""

    async def start_blob(self, manifest: Manifest, begun: Round) -> tuple[int, ...]:
        root = manifest.blob.root
        self._folder(root).mkdir(exist_ok=True)
        if self._read(root) is None:
            self._write(self._folder(root) / MANIFEST, b"%d\n" % manifest.blob.size + b"".join(manifest.chunks))
        self._write(self._folder(root) / BEGUN, b"%d" % begun)
        self._number(root)
        return tuple(index for index in range(len(manifest.chunks)) if not self._holds(manifest, index))

    async def put_chunk(self, root: Digest, index: int, data: bytes) -> bool:
        manifest = self._read(root)
        if manifest is None:
            raise KeyError(f"no blob {root.hex()} was started")
        check_chunk(manifest.blob.size, index, data)
        if not self._holds(manifest, index):
            self._write(self._folder(root) / str(index), data)
        return await self.has_blob(root)

    async def put_blob(self, data: bytes, begun: Round) -> BlobRef:
        manifest = manifest_of(data)
        chunks = split_chunks(data)
        for index in await self.start_blob(manifest, begun):
            await self.put_chunk(manifest.blob.root, index, bytes(chunks[index]))
        return manifest.blob

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        """Every file, then the folder that names them, then the folder that names it."""
        wanted = tuple(roots)
        lacking = [root for root in wanted if not await self.has_blob(root)]
        if lacking:
            raise MissingPayloadError(lacking)
        for folder in map(self._folder, wanted):
            for file in folder.iterdir():
                self._sync(file)
            self._sync(folder)
        if wanted:
            self._sync(self.directory)

    async def has_blob(self, root: Digest) -> bool:
        return self._complete(root) is not None

    async def manifest(self, root: Digest) -> Manifest | None:
        return self._complete(root)

    async def chunk(self, root: Digest, index: int) -> bytes | None:
        manifest = self._complete(root)
        if manifest is None or not 0 <= index < len(manifest.chunks):
            return None
        data = (self._folder(root) / str(index)).read_bytes()
        if chunk_hash(data) != manifest.chunks[index]:
            raise DamagedBlobError(root, index)
        return data

    async def blob(self, root: Digest) -> bytes | None:
        manifest = self._complete(root)
        if manifest is None:
            return None
        return b"".join([await self.chunk(root, index) or b"" for index in range(len(manifest.chunks))])

    async def complete(self, roots: Sequence[Digest]) -> frozenset[Digest]:
        return frozenset(root for root in roots if self._complete(root) is not None)

    async def held(self, after: int = 0) -> tuple[HeldPayload, ...]:
        listed = [self._listed(root) for root, number in self._numbers.items() if number > after]
        return tuple(sorted((item for item in listed if item is not None), key=lambda item: item.number))

    async def entry(self, root: Digest) -> HeldPayload | None:
        return self._listed(root)

    async def drop_some(self, payload: HeldPayload) -> bool:
        """One chunk, or the rest of the folder."""
        if self._listed(payload.root) != payload:
            return True
        folder = self._folder(payload.root)
        for chunk in folder.iterdir():
            if chunk.name.isdigit():
                self._freed += chunk.stat().st_size
                chunk.unlink()
                return False
        shutil.rmtree(folder)
        del self._numbers[payload.root]
        return True

    async def return_space(self) -> int:
        freed, self._freed = self._freed, 0
        return freed

    async def totals(self) -> tuple[int, int]:
        sizes = [manifest.blob.size for root in self._numbers if (manifest := self._complete(root)) is not None]
        return len(sizes), sum(sizes)

    def size_on_disk(self) -> int:
        return sum(file.stat().st_size for file in self.directory.rglob("*") if file.is_file())

    async def check(self, *, deep: bool) -> tuple[Damage, ...]:
        return tuple(damage for root in self._numbers for damage in self._damages(root, deep=deep))

    def _damages(self, root: Digest, *, deep: bool) -> Iterator[Damage]:
        manifest = self._read(root)
        if manifest is None:
            yield Damage(f"blob {short(root)}", "its manifest does not hash to its root", root)
            return
        for index, hash_ in enumerate(manifest.chunks):
            if deep and self._holds(manifest, index) and chunk_hash((self._folder(root) / str(index)).read_bytes()) != hash_:
                yield Damage(f"blob {short(root)} chunk {index}", "it does not hash to what its manifest says", root)

    def _folder(self, root: Digest) -> Path:
        return self.directory / root.hex()

    def _number(self, root: Digest) -> None:
        if root not in self._numbers:
            self._came += 1
            self._numbers[root] = self._came

    def _write(self, path: Path, data: bytes) -> None:
        new = path.with_suffix(".new")
        new.write_bytes(data)
        new.rename(path)

    def _read(self, root: Digest) -> Manifest | None:
        """A payload's manifest, if it is there and hashes to its root."""
        path = self._folder(root) / MANIFEST
        if not path.exists():
            return None
        size, _, hashes = path.read_bytes().partition(b"\n")
        chunks = tuple(Digest(hashes[at : at + HASH_BYTES]) for at in range(0, len(hashes), HASH_BYTES))
        return Manifest(BlobRef(root, int(size)), chunks) if blob_root(int(size), chunks) == root else None

    def _holds(self, manifest: Manifest, index: int) -> bool:
        """Whether a chunk's file is there in its length: power loss leaves empty ones of what was not synced."""
        path, last = self._folder(manifest.blob.root) / str(index), chunk_count(manifest.blob.size) - 1
        size = CHUNK_BYTES if index < last else manifest.blob.size - last * CHUNK_BYTES
        return path.exists() and path.stat().st_size == size

    def _complete(self, root: Digest) -> Manifest | None:
        manifest = self._read(root)
        if manifest is None or not all(self._holds(manifest, index) for index in range(len(manifest.chunks))):
            return None
        return manifest

    def _listed(self, root: Digest) -> HeldPayload | None:
        manifest, begun = self._read(root), self._folder(root) / BEGUN
        if manifest is None:
            return None
        round_ = Round(int(begun.read_bytes())) if begun.exists() else Round(0)
        return HeldPayload(self._numbers[root], root, manifest.blob.size, round_)


class WatchedDirectory(DirectoryPayloads):
    """A directory on a disk that writes nothing of its own accord: power loss takes each file whose bytes or name nobody synced."""

    def __init__(self, directory: Path) -> None:
        self._synced: set[Path] = set()
        self._named: set[Path] = set()
        self.relied_on: frozenset[Digest] = frozenset()
        """Every payload that was ever made durable, held or dropped since."""
        super().__init__(directory, self._note)

    def _note(self, path: Path) -> None:
        sync(path)
        if path.is_dir():
            self._named.update(path.iterdir())
        else:
            self._synced.add(path)

    async def make_durable(self, roots: Iterable[Digest]) -> None:
        named = tuple(roots)
        await super().make_durable(named)
        self.relied_on |= set(named)

    def _write(self, path: Path, data: bytes) -> None:
        super()._write(path, data)
        self._synced.discard(path)
        self._named.discard(path)

    def lose_power(self) -> None:
        """The disk as it is found again."""
        for folder in list(self.directory.iterdir()):
            for file in list(folder.iterdir()):
                if folder not in self._named or file not in self._synced or file not in self._named:
                    file.unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
            if not (folder / MANIFEST).exists():
                del self._numbers[Digest(bytes.fromhex(folder.name))]

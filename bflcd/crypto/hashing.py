"""BLAKE2b-256 with a personalisation per kind of thing hashed: a hash of one kind can never pass for another's."""

from collections.abc import Iterable
from enum import Enum
from hashlib import blake2b

from bflcd.types import CHUNK_BYTES, HASH_BYTES, MAX_CHUNKS, Digest


class Domain(Enum):
    """What is hashed. The value is the 16-byte BLAKE2b personalisation; numbers are never reused."""

    CHAIN = b"bflc1.chain"
    HEADER = b"bflc1.header"
    BODY = b"bflc1.body"
    STATE = b"bflc1.state"
    COMMITTEE = b"bflc1.committee"
    MESSAGE = b"bflc1.message"
    SIGN = b"bflc1.sign"
    SEED = b"bflc1.seed"
    LOT = b"bflc1.lot"
    DRAW = b"bflc1.draw"
    LEAD = b"bflc1.lead"
    TIE = b"bflc1.tie"
    ACTIVE = b"bflc1.active"
    CHUNK = b"bflc1.chunk"
    BLOB = b"bflc1.blob"
    PRIVATE = b"bflc1.private"
    CONFIG = b"bflc1.config"
    OPERATION = b"bflc1.operation"
    PROPOSAL = b"bflc1.proposal"
    PREPARED = b"bflc1.prepared"
    MOTION = b"bflc1.motion"
    SEAL = b"bflc1.seal"
    NOISE = b"bflc1.noise"
    CANARY = b"bflc1.canary"


def digest(domain: Domain, *parts: bytes) -> Digest:
    """Hash `parts` under `domain`; each part is preceded by its length, so that no two lists of parts collide."""
    state = blake2b(digest_size=HASH_BYTES, person=domain.value)
    for part in parts:
        state.update(len(part).to_bytes(8, "big"))
        state.update(part)
    return Digest(state.digest())


def chunk_hash(chunk: bytes | memoryview) -> Digest:
    """Hash of one chunk of a blob."""
    return Digest(blake2b(chunk, digest_size=HASH_BYTES, person=Domain.CHUNK.value).digest())


def blob_root(size: int, chunk_hashes: Iterable[bytes]) -> Digest:
    """Address of a blob: hash over its size in bytes and its chunk hashes in order (design 1).

    Raises ValueError if the number of chunks is not the one that `size` needs, or above `MAX_CHUNKS`.
    """
    hashes = tuple(chunk_hashes)
    needed = chunk_count(size)
    if len(hashes) != needed:
        raise ValueError(f"a blob of {size} bytes has {needed} chunks, not {len(hashes)}")
    return digest(Domain.BLOB, size.to_bytes(8, "big"), b"".join(hashes))


def chunk_count(size: int) -> int:
    """Number of chunks of a blob of `size` bytes. Raises ValueError outside 1 .. MAX_CHUNKS * CHUNK_BYTES."""
    if not 0 < size <= MAX_CHUNKS * CHUNK_BYTES:
        raise ValueError(f"a blob holds 1 to {MAX_CHUNKS * CHUNK_BYTES} bytes, not {size}")
    return -(-size // CHUNK_BYTES)


def split_chunks(data: bytes) -> tuple[memoryview, ...]:
    """The chunks of `data`, without a copy."""
    view = memoryview(data)
    return tuple(view[i : i + CHUNK_BYTES] for i in range(0, len(data), CHUNK_BYTES))


def root_of(data: bytes) -> Digest:
    """Address of the blob with these bytes."""
    return blob_root(len(data), (chunk_hash(chunk) for chunk in split_chunks(data)))


def integer(value: int) -> bytes:
    """An integer as a part to hash: 8 bytes, big endian, two's complement."""
    return value.to_bytes(8, "big", signed=True)

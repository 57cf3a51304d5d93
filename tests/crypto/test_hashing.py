"""Hashes: no kind passes for another, no list of parts for another list."""

from hashlib import blake2b
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.crypto.hashing import Domain, blob_root, chunk_count, chunk_hash, digest, integer, root_of, split_chunks
from bflcd.types import CHUNK_BYTES, MAX_CHUNKS


def test_golden_hashes() -> None:
    assert digest(Domain.HEADER, b"a", b"b").hex() == "b5c59d7bec062e39cebc2cf2003bd0cb9491ce1bfb7c61fec570c68fa49532fa"
    assert chunk_hash(b"a").hex() == "33444c2a3054d2ec3b6725d2b1f2fbd0d3715ceacc3e3679b98cb7bd41fd1817"


def test_every_domain_hashes_differently() -> None:
    assert len({digest(domain, b"same") for domain in Domain}) == len(Domain)
    assert all(len(domain.value) <= 16 for domain in Domain)


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_other_parts_hash_differently(first: list[bytes], second: list[bytes]) -> None:
    assert (digest(Domain.BODY, *first) == digest(Domain.BODY, *second)) is (first == second)


@pytest.mark.parametrize("size", [1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_a_root_covers_size_and_every_chunk(size: int) -> None:
    data = bytes(size)
    hashes = [chunk_hash(chunk) for chunk in split_chunks(data)]
    assert chunk_count(size) == len(hashes)
    assert root_of(data) == blob_root(size, hashes)
    others = [blob_root(size, [*hashes[:at], chunk_hash(b"other"), *hashes[at + 1 :]]) for at in range(len(hashes))]
    assert all(one != other for one, other in combinations([root_of(data), *others], 2))
    with pytest.raises(ValueError, match="chunks"):
        blob_root(size, [*hashes, hashes[0]])


@pytest.mark.parametrize("size", [0, -1, MAX_CHUNKS * CHUNK_BYTES + 1])
def test_no_blob_has_such_a_size(size: int) -> None:
    with pytest.raises(ValueError, match="bytes"):
        chunk_count(size)


def test_domains_are_distinct_and_fit_the_personalisation() -> None:
    values = [domain.value for domain in Domain]
    assert len({value.ljust(16, b"\0") for value in values}) == len(Domain.__members__)
    assert all(value.startswith(b"bflc1.") and not value.endswith(b"\0") for value in values)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((b"ab", b"c"), (b"a", b"bc")),
        ((b"abc",), (b"ab", b"c")),
        ((b"", b"abc"), (b"abc", b"")),
        ((), (b"",)),
        ((b"",), (b"", b"")),
        ((b"\0" * 8,), (b"", b"")),
        ((bytes(7) + b"\1a",), (b"", b"a")),
        ((b"a", b"b"), (b"b", b"a")),
    ],
)
def test_no_two_lists_of_parts_run_together(first: tuple[bytes, ...], second: tuple[bytes, ...]) -> None:
    assert digest(Domain.SEED, *first) != digest(Domain.SEED, *second)


def test_a_hash_is_that_of_the_standard_library() -> None:
    """The definition, spelled out: BLAKE2b-256, personalised, each part behind its length in 8 bytes."""
    spelled = b"".join(len(part).to_bytes(8, "big") + part for part in (b"one", b"three"))
    assert digest(Domain.TIE, b"one", b"three") == blake2b(spelled, digest_size=32, person=b"bflc1.tie").digest()
    assert chunk_hash(memoryview(b"data")) == blake2b(b"data", digest_size=32, person=b"bflc1.chunk").digest()


def test_a_chunk_is_neither_a_root_nor_anything_else() -> None:
    """Else the chunk list of a large blob could be offered as the content of a small one."""
    data = b"x" * 100
    others = {digest(domain, data) for domain in Domain} | {root_of(data)}
    assert chunk_hash(data) not in others


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=2, max_size=6, unique=True))
def test_a_root_covers_the_order_of_chunks(hashes: list[bytes]) -> None:
    size = len(hashes) * CHUNK_BYTES
    assert blob_root(size, hashes) != blob_root(size, hashes[::-1])
    assert blob_root(size, hashes) != blob_root(size - 1, hashes)


def test_chunks_are_the_data_in_order() -> None:
    data = bytes(range(256)) * (2 * CHUNK_BYTES // 256) + b"tail"
    chunks = split_chunks(data)
    assert [len(chunk) for chunk in chunks] == [CHUNK_BYTES, CHUNK_BYTES, 4]
    assert b"".join(chunks) == data
    assert split_chunks(b"") == ()
    with pytest.raises(ValueError, match="not 0"):
        root_of(b"")


@pytest.mark.parametrize("value", [0, 1, -1, 2**63 - 1, -(2**63)])
def test_integers_are_eight_bytes(value: int) -> None:
    assert len(integer(value)) == 8
    assert int.from_bytes(integer(value), "big", signed=True) == value


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_a_larger_integer_has_no_bytes(value: int) -> None:
    with pytest.raises(OverflowError):
        integer(value)

"""Hashes: no kind passes for another, no list of parts for another list."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.crypto.hashing import Domain, blob_root, chunk_count, chunk_hash, digest, root_of, split_chunks
from bflcd.crypto.identity import Identity, node_id_of, peer_id_of, verify
from bflcd.types import CHUNK_BYTES, MAX_CHUNKS, NodeId, Signature


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


def test_only_the_author_signs_and_only_what_was_signed() -> None:
    one, other = Identity(b"1" * 32), Identity(b"2" * 32)
    signature = one.sign(b"data")
    assert verify(one.node_id, b"data", signature)
    assert not verify(other.node_id, b"data", signature)
    assert not verify(one.node_id, b"data2", signature)
    for spoiled in (signature[:-1], b"", bytes(64), signature + b"x"):
        assert not verify(one.node_id, b"data", Signature(spoiled))
    for author in (b"", bytes(32), b"\xff" * 32, b"x" * 33):
        assert not verify(NodeId(author), b"data", signature)


def test_a_peer_id_spells_the_same_key() -> None:
    node = Identity(b"1" * 32).node_id
    assert peer_id_of(node).startswith("12D3KooW")
    assert node_id_of(peer_id_of(node)) == node
    for text in ("", "0OIl", "Qm" + "a" * 44, peer_id_of(node)[:-1]):
        with pytest.raises(ValueError, match="peer id"):
            node_id_of(text)


def test_a_seed_has_32_bytes() -> None:
    assert Identity.generate().seed != Identity.generate().seed
    with pytest.raises(ValueError, match="32"):
        Identity(b"short")

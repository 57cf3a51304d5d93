"""Blocks: a hash covers every field, and a signature's bytes are no part of a block."""

from dataclasses import replace

import pytest

from bflcd.ledger.state import State, state_hash
from bflcd.params import Genesis
from bflcd.types import Epoch, Round, Signature
from bflcd.wire.blocks import (
    Header,
    ModelBody,
    Segment,
    UpdateBody,
    body_hash,
    chain_id_of,
    committee_hash,
    header_hash,
    model_height,
    segment_digest,
)
from tests.helpers.schema import FLAVOURS, changes, sample, schema_of

HASHES = [(Header, header_hash), (Genesis, chain_id_of), (State, state_hash)]
OTHER = Signature(b"s" * 64)


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize(("cls", "hash_"), HASHES, ids=[cls.__name__ for cls, _ in HASHES])
def test_every_change_changes_the_hash(cls, hash_, flavour):
    value = sample(schema_of(cls), flavour)
    seen = {hash_(value)}
    paths = list(changes(schema_of(cls), value))
    for _, changed in paths:
        seen.add(hash_(changed))
    assert len(seen) == 1 + len({changed for _, changed in paths})


@pytest.mark.parametrize("cls", [UpdateBody, ModelBody])
def test_a_body_hash_covers_all_but_signatures(cls):
    value = sample(schema_of(cls))
    signatures, others = 0, 0
    for path, changed in changes(schema_of(cls), value):
        if path.endswith(".signature"):
            assert body_hash(changed) == body_hash(value), path
            assert changed != value
            signatures += 1
        else:
            assert body_hash(changed) != body_hash(value), path
            others += 1
    assert signatures
    assert others


def test_signing_a_card_again_in_another_way_leaves_the_segment_as_it_is():
    """Given one segment, when a liar sends each member another valid-looking signature, then all have one digest of it."""
    body = sample(schema_of(ModelBody))
    again = replace(body, cards=tuple(replace(card, signature=OTHER) for card in body.cards))
    assert again != body
    assert body_hash(again) == body_hash(body)
    update = sample(schema_of(UpdateBody))
    assert body_hash(replace(update, offer=replace(update.offer, signature=OTHER))) == body_hash(update)


def test_a_vacant_update_is_no_model_body():
    assert body_hash(UpdateBody(None, None, None, None)) != body_hash(ModelBody((), "fedavg", (), ()))


def test_a_segment_is_its_model_header():
    segment = sample(schema_of(Segment))
    assert segment.model_header == segment.headers[-1]
    assert segment_digest(segment) == header_hash(segment.headers[-1])
    for path, changed in changes(schema_of(Header), segment.headers[-1]):
        assert segment_digest(replace(segment, headers=(*segment.headers[:-1], changed))) != segment_digest(segment), path


def test_a_chain_of_parent_links_reaches_every_header_and_body():
    """Given linked headers, when any update's body changes, then the segment's digest does."""

    def linked(updates):
        headers, parent = [], bytes(32)
        for place, update in enumerate(updates):
            headers.append(replace(sample(schema_of(Header)), height=place, parent=parent, body=body_hash(update)))
            parent = header_hash(headers[-1])
        return segment_digest(Segment((*headers, replace(sample(schema_of(Header)), parent=parent)), updates, body))

    body, update = sample(schema_of(ModelBody)), sample(schema_of(UpdateBody))
    digests = {linked((update,) * 3)}
    for place in range(3):
        updates = [update] * 3
        updates[place] = replace(update, score=update.score + 1)
        digests.add(linked(tuple(updates)))
    assert len(digests) == 4


@pytest.mark.parametrize(("round_", "places", "height"), [(0, 6, 0), (1, 6, 7), (2, 6, 14), (5, 1, 10), (1000, 2048, 2_049_000)])
def test_the_model_of_round_t_stands_at_t_times_k_plus_1(round_, places, height):
    assert model_height(Round(round_), places) == height


def test_a_committee_hash_covers_epoch_seats_and_their_order():
    one, other = b"1" * 32, b"2" * 32
    hashes = [
        committee_hash(Epoch(0), (one, other)),
        committee_hash(Epoch(0), (other, one)),
        committee_hash(Epoch(1), (one, other)),
        committee_hash(Epoch(0), (one,)),
        committee_hash(Epoch(0), (one, other, one)),
        committee_hash(Epoch(0), (one + other,)),
    ]
    assert len(set(hashes)) == len(hashes)

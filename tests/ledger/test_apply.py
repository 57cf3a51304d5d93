"""Every single-field change of a valid segment is refused, found by walking through all of its fields (row 51)."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.transition import apply
from bflcd.types import Digest, Millis
from bflcd.wire.blocks import Segment, body_hash, header_hash
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, verify_envelope
from tests.helpers.ledger import NEXT_MODEL, make_community, make_offer, play_gains

START = make_community(10, 4, 4, reward_share=100_000)
FULL = play_gains(START, dict(zip(START.outsiders, [500, 100, 50], strict=False))).segment
"""Three packed updates, one vacant block."""
EMPTY = play_gains(START, {}).segment
FREE = {("headers", 4, "blob", "root"), ("headers", 4, "blob", "size")}
"""What `apply` leaves to others: the aggregate's own address, where something is packed."""


def refusal_of(segment: Segment, verify: Callable[[Envelope], bool] = verify_envelope) -> PeerError:
    with pytest.raises(PeerError) as caught:
        apply(START.params, START.state, START.header, segment, verify)
    return caught.value


def mutations(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Copies of `value`, each with one leaf changed, one tuple shortened, doubled at its end or turned, one option dropped."""
    if is_dataclass(value):
        yield from _field_mutations(value, path)
    elif isinstance(value, tuple):
        yield from _tuple_mutations(value, path)
    else:
        yield from ((path, changed) for changed in _leaf_mutations(value))


def _leaf_mutations(value: Any) -> tuple[Any, ...]:
    if value is None:
        return ()
    if isinstance(value, bool):
        return (not value,)
    if isinstance(value, int):
        return (value + 1, value - 1 if value else 2)
    if isinstance(value, bytes):
        return (bytes([value[0] ^ 1]) + value[1:], value[:-1] + bytes([value[-1] ^ 1]))
    assert isinstance(value, str), f"no mutation for {value!r}"
    return (value + "x", "median")


def _field_mutations(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for field in fields(value):
        held = getattr(value, field.name)
        for deeper, changed in mutations(held, (*path, field.name)):
            yield deeper, replace(value, **{field.name: changed})
        if held is not None and "None" in str(field.type):
            yield (*path, field.name, "dropped"), replace(value, **{field.name: None})


def _tuple_mutations(value: tuple[Any, ...], path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    for index, item in enumerate(value):
        for deeper, changed in mutations(item, (*path, index)):
            yield deeper, (*value[:index], changed, *value[index + 1 :])
    if value:
        yield (*path, "shortened"), value[:-1]
        yield (*path, "lengthened"), (*value, value[-1])
    if len(value) > 1 and value[::-1] != value:
        yield (*path, "turned"), value[::-1]


def reseal(segment: Segment) -> Segment:
    """Give every header the right body hash and parent again: what a liar does who wants his change to hang together."""
    headers = []
    parent = START.head
    bodies = (*segment.updates, segment.model)
    for header, body in zip(segment.headers, bodies, strict=True):
        headers.append(replace(header, parent=parent, body=body_hash(body)))
        parent = header_hash(headers[-1])
    return replace(segment, headers=tuple(headers))


@pytest.mark.parametrize("segment", [FULL, EMPTY], ids=["full", "empty"])
def test_every_change_of_one_field_is_refused(segment: Segment) -> None:
    refused = 0
    for path, changed in mutations(segment):
        if segment is FULL and path in FREE:
            continue
        try:
            apply(START.params, START.state, START.header, changed, verify_envelope)
        except PeerError:
            refused += 1
        else:
            pytest.fail(f"accepted with another {path}")
    assert refused > 100


@pytest.mark.parametrize("segment", [FULL, EMPTY], ids=["full", "empty"])
def test_a_change_whose_hashes_are_made_right_again_is_refused_too(segment: Segment) -> None:
    refused = 0
    for path, changed in mutations(segment):
        if (segment is FULL and path in FREE) or len(changed.headers) != len(changed.updates) + 1:
            continue
        try:
            encode(changed)
        except ValueError:
            continue  # has no encoding, so it can't arrive
        resealed = reseal(changed)
        if resealed == segment:
            continue
        with pytest.raises(PeerError):
            apply(START.params, START.state, START.header, resealed, verify_envelope)
        refused += 1
    assert refused > 80


def test_the_aggregates_address_is_left_to_whoever_can_recompute_it() -> None:
    other = replace(FULL.model_header, blob=replace(NEXT_MODEL, root=Digest(b"x" * 32)))
    state = apply(START.params, START.state, START.header, replace(FULL, headers=(*FULL.headers[:-1], other)), verify_envelope)
    assert state == apply(START.params, START.state, START.header, FULL, verify_envelope)


def header_with(segment: Segment, index: int, **changes: Any) -> Segment:
    headers = list(segment.headers)
    headers[index] = replace(headers[index], **changes)
    return replace(segment, headers=tuple(headers))


def model_with(segment: Segment, **changes: Any) -> Segment:
    fields_ = segment.model_header.model
    assert fields_ is not None
    return header_with(segment, -1, model=replace(fields_, **changes))


@pytest.mark.parametrize(
    ("segment", "rejection", "text"),
    [
        (header_with(FULL, 1, height=9), Rejection.BAD_LINK, "header of update block #2, field height: is 9, must be 2"),
        (
            header_with(FULL, 0, parent=Digest(b"x" * 32)),
            Rejection.BAD_LINK,
            "header of update block #1, field parent: is 78787878",
        ),
        (header_with(FULL, 4, round=0), Rejection.BAD_LINK, "header of model block #5, field round: is 0, must be 1"),
        (header_with(FULL, 2, time=Millis(1)), Rejection.BAD_SEGMENT, "header of update block #3, field time: is 1, must be"),
        (header_with(FULL, 4, time=START.state.time), Rejection.BAD_TIME, "is not above its parent's"),
        (header_with(FULL, 4, blob=None), Rejection.BAD_SEGMENT, "block #5 closes a segment and has no model blob"),
        (header_with(FULL, 4, model=None), Rejection.BAD_SEGMENT, "block #5 closes a segment and has no model blob"),
        (header_with(EMPTY, 4, blob=NEXT_MODEL), Rejection.BAD_SEGMENT, "must be the parent's own blob"),
        (header_with(FULL, 3, blob=NEXT_MODEL), Rejection.BAD_SEGMENT, "header of update block #4, field blob: is BlobRef"),
        (
            model_with(FULL, degraded=False),
            Rejection.BAD_SEGMENT,
            "header of model block #5, field model.degraded: is False, must be",
        ),
        (model_with(FULL, epoch=1), Rejection.BAD_SEGMENT, "field model.epoch: is 1, must be 0"),
        (model_with(FULL, committee=START.state.committee), Rejection.BAD_SEGMENT, "field model.committee: is ("),
        (model_with(FULL, state=Digest(b"x" * 32)), Rejection.BAD_SEGMENT, "field model.state: is 78787878, must be"),
        (
            replace(FULL, model=replace(FULL.model, weights=(1, 1, 1))),
            Rejection.BAD_SEGMENT,
            "model block #5, field weights: is (1, 1, 1)",
        ),
        (
            replace(FULL, model=replace(FULL.model, step_limit=9)),
            Rejection.BAD_SEGMENT,
            "model block #5, field step_limit: is 9, must be -",
        ),
        (replace(FULL, model=replace(FULL.model, rule="median")), Rejection.BAD_SEGMENT, "field rule: is median, must be fedavg"),
        (replace(FULL, model=replace(FULL.model, rewards=())), Rejection.BAD_SEGMENT, "field rewards: is (), must be ("),
        (
            replace(FULL, model=replace(FULL.model, cards=FULL.model.cards[:2])),
            Rejection.BAD_SEGMENT,
            "decided by 3 cards, not by 2",
        ),
        (replace(FULL, updates=FULL.updates[::-1]), Rejection.BAD_SEGMENT, "body of update block #1, field offer"),
        (
            replace(FULL, updates=(*FULL.updates[:2], *FULL.updates[3:] * 2)),
            Rejection.BAD_SEGMENT,
            "lacks a block: unavailable: offer",
        ),
        (replace(FULL, updates=FULL.updates[:3]), Rejection.BAD_SEGMENT, "has 5 headers and 3 updates, not 5 and 4"),
    ],
)
def test_the_refusal_names_block_and_field(segment: Segment, rejection: Rejection, text: str) -> None:
    refusal = refusal_of(segment)
    assert (refusal.rejection, text in str(refusal)) == (rejection, True), refusal


def test_another_leaders_choice_of_fields_is_refused_as_a_whole() -> None:
    """Row 51: given a card set that packs three, when the leader leaves out the best, then no member accepts it."""
    vacant = FULL.updates[3]
    refusal = refusal_of(reseal(replace(FULL, updates=(*FULL.updates[1:3], vacant, vacant))))
    assert refusal.rejection is Rejection.BAD_SEGMENT


def test_signatures_are_asked_for_last_and_one_bad_one_is_enough() -> None:
    asked: list[Envelope] = []

    def refuse_third(envelope: Envelope) -> bool:
        asked.append(envelope)
        return len(asked) != 3

    assert refusal_of(FULL, refuse_third).rejection is Rejection.BAD_SIGNATURE
    assert asked == list(FULL.model.cards)
    asked.clear()
    refusal_of(header_with(FULL, 0, height=7), refuse_third)
    assert asked == []
    assert apply(START.params, START.state, START.header, FULL, lambda e: asked.append(e) is None) is not None
    assert asked == [*FULL.model.cards, *(update.offer for update in FULL.updates if update.offer is not None)]


def test_the_same_offer_in_two_blocks_is_refused() -> None:
    twice = replace(FULL, updates=(*FULL.updates[:3], FULL.updates[0]))
    assert "body of update block #4, field offer" in str(refusal_of(reseal(twice)))


def test_an_offer_that_nobody_scored_is_refused() -> None:
    spare = make_offer(START, START.outsiders[5]).envelope
    slipped = replace(FULL, updates=(*FULL.updates[:3], replace(FULL.updates[3], offer=spare)))
    assert "must be None" in str(refusal_of(reseal(slipped)))


def test_a_segment_does_not_apply_twice() -> None:
    played = play_gains(START, {})
    after = played.after
    with pytest.raises(PeerError) as caught:
        apply(after.params, after.state, after.header, played.segment, verify_envelope)
    assert caught.value.rejection in (Rejection.BAD_DRAW, Rejection.BAD_TIME, Rejection.WRONG_ROUND)

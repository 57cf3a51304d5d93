"""Field swaps and replays over every signed message: what is signed for one place counts in no other (catalogue 28 to 30, 35).

The matrices are made from the union of all signed bodies: a new kind without a row in `tests.helpers.places` fails here.
"""

from collections.abc import Iterator
from dataclasses import fields, replace

import pytest

from bflcd.crypto.identity import Identity
from bflcd.types import Digest, Epoch, Round, Signature, View
from bflcd.wire.codec import encode, number_of
from bflcd.wire.envelope import Envelope, open_envelope, seal, verify_envelope
from bflcd.wire.messages import Gossip
from tests.helpers.places import (
    KINDS,
    PLACE,
    RECEIVED,
    Door,
    Place,
    another,
    author_at,
    body_at,
    counts,
    encodes,
    genesis_place,
    in_epoch,
    in_round,
    valid,
)

ELSEWHERE = {kind for kind in KINDS if kind.__name__ == "Recovery"}
"""Signed, and never gossiped as an envelope of its own: `test_recovery_swaps.py`."""

ROWS = [kind for kind in KINDS if kind not in ELSEWHERE]

each = pytest.mark.parametrize("kind", ROWS, ids=lambda kind: kind.__name__)


@pytest.fixture(scope="module")
def place() -> Place:
    return genesis_place()


def donors(place: Place) -> list[Envelope]:
    """Valid messages of all kinds: of this round, of another author, of another chain, of another epoch."""
    places = (place, genesis_place("another chain"), in_epoch(place, 1), in_round(place, 3))
    return [make(where, kind) for where in places for kind in ROWS for make in (valid, another)]


def test_every_signed_kind_has_its_row():
    assert set(RECEIVED) | ELSEWHERE == set(KINDS)
    assert not set(RECEIVED) & ELSEWHERE


@each
def test_the_untouched_message_counts(place, kind):
    """What makes the rest of the matrix mean something."""
    assert counts(place.core(), [("valid", RECEIVED[kind](valid(place, kind)))]) == ["valid"]


def swapped(place: Place, kind: type) -> Iterator[tuple[str, Gossip]]:
    """Each field of the payload, the author, the signature, the payload as a whole: taken from each other valid message."""
    good = valid(place, kind)
    body = open_envelope(good, (kind,)).body
    wrap = RECEIVED[kind]
    for number, donor in enumerate(donors(place)):
        other = open_envelope(donor, KINDS).body
        for name in {field.name for field in fields(kind)} & {field.name for field in fields(other)}:
            payload = encodes(lambda name=name, other=other: encode(replace(body, **{name: getattr(other, name)})))
            if payload is None or payload == good.payload:
                continue
            for signature in (good.signature, donor.signature):
                yield f"{name} of {type(other).__name__} {number}", wrap(Envelope(good.author, payload, signature))
        for name in ("author", "signature", "payload"):
            changed = replace(good, **{name: getattr(donor, name)})
            if changed != good and not verify_envelope(changed):
                yield f"{name} of {type(other).__name__} {number}", wrap(changed)


@each
def test_a_swapped_field_never_counts(place, kind):
    tried = list(swapped(place, kind))
    assert {name.split()[0] for name, _ in tried} >= {*PLACE, "author", "signature", "payload"}
    core = place.core()
    assert counts(core, tried) == []
    assert counts(core, [("valid", RECEIVED[kind](valid(place, kind)))]) == ["valid"], "the flood spoiled the real one"


ELSE = {
    "chain": [Digest(bytes([1]) * 32), Digest(bytes(32))],
    "round": [Round(1), Round(2), Round(2**53)],
    "epoch": [Epoch(1), Epoch(2**32)],
    "parent": [Digest(bytes([2]) * 32), Digest(bytes(32))],
    "committee": [Digest(bytes([3]) * 32), Digest(bytes(32))],
}


@each
def test_what_is_truly_signed_for_another_place_never_counts(place, kind):
    """Given a member that signs for another chain, round, epoch, parent or committee, Then its word counts nowhere here."""
    author = author_at(place, kind)
    body, key = body_at(place, kind, author), place.keys[author]
    tried = [
        (f"{name}={value!r}", RECEIVED[kind](seal(replace(body, **{name: value}), key).envelope))
        for name in PLACE
        for value in ELSE[name]
    ]
    assert counts(place.core(), tried) == []


@each
def test_a_stranger_and_a_member_without_the_role_never_count(place, kind):
    trainer = next(node for node in place.keys if node not in place.head.state.committee)
    judge = place.head.state.committee[3]
    wrong = [Identity(bytes([77]) * 32)]
    wrong += [place.keys[judge if kind.__name__ == "Offer" else trainer]] if kind.__name__ != "Beacon" else []
    tried = [(key.node_id.hex(), RECEIVED[kind](seal(body_at(place, kind, key.node_id), key).envelope)) for key in wrong]
    assert counts(place.core(), tried) == []


@each
def test_no_kind_counts_as_another(place, kind):
    """Every signature under every other kind's number, and every kind in every other kind's wrapping."""
    door, tried = Door(place), list[tuple[str, Gossip]]()
    for signed_as in ROWS:
        if signed_as is kind:
            continue
        for envelope in (valid(place, signed_as), another(place, signed_as)):
            number = bytes([number_of(kind)])
            renumbered = replace(envelope, payload=envelope.payload[:2] + number + envelope.payload[3:])
            tried.append((f"{signed_as.__name__} renumbered", RECEIVED[kind](renumbered)))
            body = open_envelope(envelope, KINDS).body
            common = {f.name for f in fields(kind)} & {f.name for f in fields(signed_as)}
            rebuilt = replace(body_at(place, kind, envelope.author), **{name: getattr(body, name) for name in common})
            payload = encodes(lambda rebuilt=rebuilt: encode(rebuilt))
            if payload is not None:
                tried.append((f"{signed_as.__name__} rebuilt", RECEIVED[kind](replace(envelope, payload=payload))))
            wrapped = RECEIVED[kind](envelope)
            if wrapped != RECEIVED[signed_as](envelope) and door.passes(wrapped, envelope.author):
                tried.append((f"{signed_as.__name__} wrapped", wrapped))
    assert counts(place.core(), tried) == []


@each
@pytest.mark.parametrize("where", ["chain", "epoch", "round"])
def test_a_replay_elsewhere_never_counts(place, kind, where, later):
    """Every valid message, byte for byte, to a judge of another chain, epoch or round, before and after."""
    judges = {"chain": [genesis_place("another chain")], "epoch": [in_epoch(place, 1)], "round": [later]}[where]
    pairs = [(place, judge) for judge in judges] + [(judge, place) for judge in judges]
    for origin, judge in pairs:
        tried = [
            (f"{kind.__name__} {number}", RECEIVED[kind](make(origin, kind))) for number, make in enumerate((valid, another))
        ]
        assert counts(judge.core(), tried) == []


@pytest.fixture(scope="module")
def later(place):
    """The same community one round on, where the members of the first committee hold no seat unless elected again."""
    from tests.fuzz.harness_gossip import recorded
    from tests.helpers.places import at_head

    world, _ = recorded()
    round_one = world.disks[next(iter(world.disks))].head
    return replace(at_head(place, round_one), genesis=world.genesis, keys=world.identities)


@each
def test_early_messages_of_a_round_that_never_comes_like_this_never_count(place, kind):
    """Given messages for the next round with this round's parent or committee, When they are kept until it opens,
    Then what is kept is bounded, and nothing of it counts now."""
    author = author_at(place, kind)
    core = place.core()
    body = replace(body_at(place, kind, author), round=Round(1))
    names = [name for name in ("samples", "view", "present") if name in {field.name for field in fields(kind)}]
    tried = []
    for number in range(200):
        changes = {"view": View(number + 1)} if "view" in names else {"samples": number + 1} if "samples" in names else {}
        tried.append((str(number), RECEIVED[kind](seal(replace(body, **changes), place.keys[author]).envelope)))
    assert counts(core, tried) == []
    assert len(core._early) <= 16


def test_a_signature_that_is_no_point_is_refused_and_raises_nothing(place):
    for kind in ROWS:
        good = valid(place, kind)
        tried = [
            (name, RECEIVED[kind](replace(good, signature=Signature(value))))
            for name, value in {"zeros": bytes(64), "ones": b"\xff" * 64, "half": good.signature[:32] + bytes(32)}.items()
        ]
        assert counts(place.core(), tried) == []

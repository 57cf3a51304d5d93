"""What catch-up checks by itself, whoever verifies certificates: place and digest of a header, every link and hash of a segment."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bflcd.errors import PeerError, Rejection
from bflcd.ledger.state import genesis_header
from bflcd.net.sync import ChainSync, check_segment
from bflcd.types import Digest, Round
from bflcd.wire.blocks import KIND_MODEL, KIND_UPDATE, CertifiedHeader, Segment, header_hash
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

OTHER = Digest(bytes([7]) * 32)


@pytest.fixture(scope="module")
def world() -> World:
    genesis, identities = make_genesis()
    found = World(genesis, identities)
    found.start_all()
    assert found.run_until(lambda: min(found.rounds()) >= 2, 60_000)
    return found


def segments(world: World) -> dict[int, object]:
    return world.disks[next(iter(world.cores))].segments


def certified(world: World, round_: int) -> CertifiedHeader:
    found = segments(world)[round_]
    return CertifiedHeader(found.segment.model_header, found.certificate)


def prove(world: World, *headers: CertifiedHeader) -> tuple[int, Rejection | None]:
    """How many of `headers` after block 0 are taken, and why the next one is not; every certificate's signatures pass."""
    genesis = genesis_header(world.genesis)
    catch_up = ChainSync(
        SimpleNamespace(),
        chain=genesis.chain,
        verify_header=lambda _header, _previous: None,
        apply=SimpleNamespace(),
        fetch_blob=SimpleNamespace(),
        on_misbehaviour=lambda *_: None,
    )
    proven, wrong = catch_up._prove(genesis, headers)
    return len(proven), None if wrong is None else wrong.rejection


def resealed(header: CertifiedHeader, **changes: object) -> CertifiedHeader:
    """The changed header under a certificate of its own hash."""
    changed = replace(header.header, **changes)
    return CertifiedHeader(changed, replace(header.certificate, digest=header_hash(changed)))


def test_headers_that_follow_are_taken(world: World) -> None:
    assert prove(world, certified(world, 1), certified(world, 2)) == (2, None)


def test_a_header_is_refused_by_its_chain_its_round_its_kind_and_its_digest(world: World) -> None:
    """Given one good header, when the next is not its successor or not what its certificate says, then just the good one is taken."""
    first, second = certified(world, 1), certified(world, 2)
    assert prove(world, first, resealed(second, chain=OTHER)) == (1, Rejection.WRONG_CHAIN)
    assert prove(world, second) == (0, Rejection.BAD_LINK)
    assert prove(world, first, first) == (1, Rejection.BAD_LINK)
    assert prove(world, first, resealed(second, round=Round(3))) == (1, Rejection.BAD_LINK)
    assert prove(world, first, resealed(second, kind=KIND_UPDATE)) == (1, Rejection.BAD_LINK)
    assert prove(world, first, CertifiedHeader(second.header, first.certificate)) == (1, Rejection.BAD_CERTIFICATE)


def refusal(world: World, segment: Segment, header: object = None) -> Rejection | None:
    genuine = segments(world)[1].segment
    try:
        check_segment(segment, genuine.model_header if header is None else header, genesis_header(world.genesis))
    except PeerError as error:
        return error.rejection
    return None


def linked(segment: Segment, index: int, **changes: object) -> Segment:
    """The segment with one header changed and all later ones linked to it again."""
    headers = list(segment.headers)
    headers[index] = replace(headers[index], **changes)
    for later in range(index + 1, len(headers)):
        headers[later] = replace(headers[later], parent=header_hash(headers[later - 1]))
    return replace(segment, headers=tuple(headers))


def test_a_segment_is_what_its_proven_header_commits_to(world: World) -> None:
    """Each part changed alone; where the change would show in the model header, that one is taken as proven, so that the
    check under test is the only one left."""
    segment = segments(world)[1].segment
    assert refusal(world, segment) is None
    assert refusal(world, segment, segments(world)[2].segment.model_header) is Rejection.BAD_SEGMENT
    kind = linked(segment, 0, kind=KIND_MODEL)
    assert refusal(world, kind, kind.model_header) is Rejection.BAD_SEGMENT
    parent = linked(segment, 0, parent=OTHER)
    assert refusal(world, parent, parent.model_header) is Rejection.BAD_LINK
    body = replace(segment, updates=(segment.updates[1], *segment.updates[1:]))
    assert refusal(world, body) is Rejection.BAD_SEGMENT
    short = replace(segment, headers=segment.headers[1:])
    assert refusal(world, short) is Rejection.BAD_SEGMENT

"""What the follower proves before it believes: the certificate of each header, by the committee that the header before names."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.state import genesis_header
from bflcd.net.verified import VerifiedEnvelopes
from bflcd.node.following import Follower, RoundClaims
from bflcd.scheduler import ASYNCIO
from bflcd.store.memory import MemoryStore
from bflcd.types import Signature
from bflcd.wire.blocks import CertifiedHeader
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World


@pytest.fixture(scope="module")
def world() -> World:
    genesis, identities = make_genesis()
    found = World(genesis, identities)
    found.start_all()
    assert found.run_until(lambda: min(found.rounds()) >= 2, 60_000)
    return found


@pytest.fixture
def follower(world: World) -> Follower:
    core = next(iter(world.cores.values()))
    return Follower(
        core,
        RoundClaims(lambda: None),
        inbox=SimpleNamespace(),
        exchange=SimpleNamespace(),
        store=MemoryStore(),
        fetch=SimpleNamespace(),
        verify=VerifiedEnvelopes().verify_once,
        scheduler=ASYNCIO,
        on_misbehaviour=lambda *_: None,
        on_progress=lambda *_: None,
        signing=SigningGuard(),
    )


def certified(world: World, round_: int) -> CertifiedHeader:
    found = world.disks[next(iter(world.cores))].segments[round_]
    return CertifiedHeader(found.segment.model_header, found.certificate)


def test_a_header_is_proved_by_the_committee_that_the_header_before_names(world: World, follower: Follower) -> None:
    """Row 48: given true headers of rounds 1 and 2, then each is proved by the one before it, and by no other."""
    genesis, first, second = genesis_header(world.genesis), certified(world, 1), certified(world, 2)
    follower._verify_header(first, genesis)
    follower._verify_header(second, first.header)
    for header, previous in ((second, genesis), (first, first.header)):
        with pytest.raises(PeerError) as caught:
            follower._verify_header(header, previous)
        assert caught.value.rejection in (Rejection.BAD_LINK, Rejection.BAD_CERTIFICATE)


def test_a_header_under_forged_signatures_is_refused(world: World, follower: Follower) -> None:
    true = certified(world, 1)
    signatures = tuple((author, Signature(bytes(64))) for author, _ in true.certificate.signatures)
    forged = CertifiedHeader(true.header, replace(true.certificate, signatures=signatures))
    with pytest.raises(PeerError) as caught:
        follower._verify_header(forged, genesis_header(world.genesis))
    assert caught.value.rejection is Rejection.BAD_CERTIFICATE

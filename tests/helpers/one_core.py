"""One core of a community, alone: it is handed events, and what it would do is looked at."""

from dataclasses import replace

from bflcd.core.core import Core
from bflcd.core.effects import Blame, Effect
from bflcd.core.events import Instant, Started
from bflcd.core.signing_guard import SigningGuard
from bflcd.crypto.identity import Identity
from bflcd.errors import Rejection
from bflcd.types import Digest, Millis, NodeId, Round
from bflcd.wire.blocks import committee_hash
from bflcd.wire.codec import number_of, peek_number
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import Offer, ScoreCard
from tests.helpers.inside import round_of
from tests.helpers.ledger import make_genesis
from tests.helpers.world import World

T0 = 1_250


def a_world(**params: object) -> World:
    genesis, identities = make_genesis(nodes=10, committee=4, places=6, **params)
    return World(genesis, identities)


def a_judge(world: World, *, floor: Round | None = None) -> tuple[Core, list[Effect]]:
    """The first member of the committee that doesn't lead view 0, alone."""
    identity = world.identities[next(n for n in world.genesis.committee if n != world.genesis.committee[0])]
    return alone(world, identity, floor)


def alone(world: World, identity: Identity, floor: Round | None = None) -> tuple[Core, list[Effect]]:
    disk = world.disks[identity.node_id]
    core = Core(
        world.genesis, disk.head, identity, world.verified.verify_once, identity.seed, guard=SigningGuard(floor=floor), train=True
    )
    effects = core.handle(Started(disk.found(0)), world.instant())
    return core, effects


def later(world: World, millis: int) -> Instant:
    now = world.instant()
    return Instant(Millis(now.mono + millis), Millis(now.wall + millis))


def offer_of(core: Core, identity: Identity, number: int = 0) -> Envelope:
    state = core.context.state
    size = round_of(core).collection._payload_bytes
    blob = replace(core.context.head_blob, root=Digest(bytes([number, 7]) * 16), size=size)
    committee = committee_hash(state.epoch, state.committee)
    body = Offer(state.chain, state.round, state.epoch, core.context.head_hash, committee, blob, 100)
    return seal(body, identity).envelope


def kinds(effects: list[Effect]) -> list[type]:
    return [type(effect) for effect in effects]


def blamed(effects: list[Effect]) -> list[tuple[NodeId | None, Rejection]]:
    return [(effect.node, effect.rejection) for effect in effects if isinstance(effect, Blame)]


def is_card(message: object) -> bool:
    return isinstance(message, Envelope) and peek_number(message.payload) == number_of(ScoreCard)

"""Fault profiles: each draws what goes wrong, when, and to whom. Most bugs hide from faults drawn one by one (halves at M = 6)."""

from random import Random
from typing import Final

from tests.sim import gone
from tests.sim.node import SimNode
from tests.sim.scene import PROFILES, Scene, draw_profile, profile
from tests.sim.strategies import Liar, draw_strategies

PROFILE_FILES = (gone,)
"""Profiles of their own files, which register themselves."""

__all__ = ["NEEDS_TORN_LOGS", "PROFILES", "Scene", "draw_profile"]

HOUR: Final = 3_600_000


# -- the network ----------------------------------------------------------------------------------------------------------


@profile(2)
def calm(scene: Scene) -> None:
    """Nothing goes wrong."""
    scene.length = 5_000


@profile(2)
def observers(scene: Scene) -> None:
    """Members that only follow the chain, as many as leave a committee and a trainer or more; and something else goes wrong."""
    world = scene.world
    committee = set(world.genesis.committee)
    free = [node for node in world.nodes if node.id not in committee]
    count = scene.rng.randint(1, max(1, len(free) // 2))
    for node in free[1:][:count]:
        node.observes = True
        world.note(node, "only follows", "", b"")
    scene.rng.choice([calm, lossy, crash_storm, power_loss])(scene)


@profile(3)
def lossy(scene: Scene) -> None:
    """Loss, duplicates, reordering."""
    net, rng = scene.world.net, scene.rng
    net.loss = rng.choice([0.05, 0.2, 0.4])
    net.duplicates = rng.choice([0.0, 0.3, 1.0])
    net.straggler = rng.choice([0.0, 0.1, 0.5])
    net.relay = rng.random() < 0.7


@profile(2)
def slow(scene: Scene) -> None:
    """Everything takes up to ten T0, in changing phases."""
    world, rng = scene.world, scene.rng
    t0 = world.setup.view_timeout
    for moment in [0, *scene.moments(3)]:
        high = rng.choice([t0 // 2, t0, 4 * t0, 10 * t0])
        scene.at(moment, setattr, world.net, "delay", (rng.choice([1, high // 2]) or 1, high))


def _cut(scene: Scene, groups: list[list[int]]) -> None:
    scene.world.note(None, "partition", str(groups), repr(groups).encode())
    scene.world.net.divide(groups)


def _halves(scene: Scene, nodes: list[SimNode]) -> list[list[int]]:
    """The running committee in two, everybody else on either side."""
    rng = scene.rng
    core = next((node.core for node in scene.world.nodes if node.core is not None), None)
    seats = [] if core is None else [scene.world.by_id[node].index for node in core.context.committee]
    rng.shuffle(seats)
    half = len(seats) // 2 + (rng.random() < 0.5 and len(seats) % 2)
    groups = [seats[:half], seats[half:]]
    for node in nodes:
        if node.index not in seats:
            groups[rng.randint(0, 1)].append(node.index)
    return groups


@profile(6)
def halves(scene: Scene) -> None:
    """The committee is cut in two, again and again along other lines, with breaks."""
    rng, moment = scene.rng, scene.rng.randint(0, 3_000)
    while moment < scene.length:
        scene.at(moment, lambda: _cut(scene, _halves(scene, scene.world.nodes)))
        moment += rng.choice([100, 300, 1_000, 5_000, 20_000])
        if rng.random() < 0.6:
            scene.at(moment, scene.world.net.closed.clear)
            scene.at(moment, lambda: setattr(scene.world.net, "closed", set()))
            moment += rng.choice([50, 200, 1_000])


@profile(3)
def halves_at_views(scene: Scene) -> None:
    """Halves, one of which stands still for a while: they meet again in different views."""
    halves(scene)
    for moment in scene.moments(3):
        for node in scene.some():
            scene.at(moment, node.pause)
            scene.at(moment + scene.rng.choice([500, 3_000, 15_000]), node.resume)


@profile(3)
def groups(scene: Scene) -> None:
    """Random groups, or a minority cut off."""
    rng, world = scene.rng, scene.world
    for moment in scene.moments(4, scene.rng.choice([scene.busy, scene.length])):
        count = rng.randint(1, 3)
        cut: list[list[int]] = [[] for _ in range(count)]
        for node in world.nodes:
            rng.choice(cut).append(node.index)
        scene.at(moment, _cut, scene, cut)
        if rng.random() < 0.5:
            scene.at(moment + rng.choice([300, 2_000, 8_000]), lambda: setattr(world.net, "closed", set()))


@profile(3)
def laggards(scene: Scene) -> None:
    """Up to f nodes are cut off while the others close rounds, each for itself; those must catch up in the end."""
    world = scene.world
    scene.length, scene.rounds = 60_000, scene.rng.choice([2, 3, 4, 6])
    away = scene.rng.sample(range(len(world.nodes)), world.setup.f)
    rest = [index for index in range(len(world.nodes)) if index not in away]
    scene.at(scene.rng.randint(0, scene.busy // 2), _cut, scene, [rest, *([index] for index in away)])


@profile(3)
def flapping(scene: Scene) -> None:
    """Links close one way and open again."""
    rng, world = scene.rng, scene.world
    world.net.relay = rng.random() < 0.5
    pairs = [(a, b) for a in range(len(world.nodes)) for b in range(len(world.nodes)) if a != b]
    if not pairs:
        return
    for moment in sorted(rng.randint(0, 2 * scene.busy) for _ in range(rng.randint(2, 30))):
        link = rng.choice(pairs)
        scene.at(moment, lambda link=link: world.net.closed.add(link))
        scene.at(moment + rng.choice([200, 1_000, 5_000]), lambda link=link: world.net.closed.discard(link))


# -- processes and disks --------------------------------------------------------------------------------------------------


@profile(4)
def crash_storm(scene: Scene) -> None:
    """Processes die between any two effects, again and again."""
    rng, world = scene.rng, scene.world
    world.downtime = rng.choice([(10, 300), (10, 3_000), (500, 8_000)])
    for moment in [0, *scene.moments(25)]:
        node = rng.choice(world.nodes)
        scene.at(moment, lambda node=node: setattr(node, "crash_in", rng.choice([0, 1, 2, 3, 5, 8, 13, 30, 60])))


@profile(4)
def power_loss(scene: Scene) -> None:
    """Everybody at once, in mid-round; sometimes again before they have found each other."""
    rng, world = scene.rng, scene.world

    def fall() -> None:
        for node in world.nodes:
            if node.running:
                node.crash(power=True)
                world.down(node)

    def fall_in_steps() -> None:
        for node in world.nodes:
            node.crash_in = rng.choice([0, 1, 2, 4, 8, 16])

    world.downtime = rng.choice([(10, 100), (10, 3_000)])
    for moment in scene.moments(5):
        scene.at(moment, rng.choice([fall, fall_in_steps]))


@profile(3)
def slow_disk(scene: Scene) -> None:
    """Writes take long, and processes die in the middle of them."""
    for node in scene.some():
        node.disk_ms = scene.rng.choice([1, 5, 30, 200, 1_000])
    for moment in scene.moments(8):
        scene.at(moment, lambda: scene.world.crash(scene.rng.choice(scene.world.nodes), power=scene.rng.random() < 0.5))


@profile(2)
def disk_full(scene: Scene) -> None:
    """A write fails: the node stops; later there is room again."""

    def fill(node: SimNode) -> None:
        node.disk.full = True
        node.fail_mark = scene.rng.random() < 0.5

    for moment in scene.moments(6):
        scene.at(moment, fill, scene.rng.choice(scene.world.nodes))


@profile(2)
def pauses(scene: Scene) -> None:
    """Processes stand still and go on."""
    for moment in scene.moments(8):
        node = scene.rng.choice(scene.world.nodes)
        scene.at(moment, node.pause)
        scene.at(moment + scene.rng.choice([200, 2_000, 10_000]), node.resume)


@profile(4)
def torn_log(scene: Scene) -> None:
    """Up to f databases lose their last transactions in a power loss; their mark files stay."""
    world, rng = scene.world, scene.rng
    nodes = scene.take(3)

    def tear(node: SimNode) -> None:
        if not node.running:
            return
        node.crash(power=True)
        lost = node.disk.tear(rng.randint(1, 8))
        node.amnesia = node.amnesia or lost > 0
        world.note(node, "torn log", f"{lost} transactions are gone, the head is of round {node.round}", b"%d" % lost)
        world.down(node)

    for moment in scene.moments(4):
        if nodes:
            scene.at(moment, tear, rng.choice(nodes))


@profile(2)
def lost_marks(scene: Scene) -> None:
    """Up to f mark files get lost; the databases are whole. With no record beside it that looks like a lost disk: it is silent."""
    world = scene.world
    nodes = scene.take(3)

    def lose(node: SimNode) -> None:
        if node.running:
            node.crash(power=True)
            node.disk.mark = None
            node.amnesia = True
            world.note(node, "mark file lost", "", b"")
            world.down(node)

    for moment in scene.moments(6):
        if nodes:
            scene.at(moment, lose, scene.rng.choice(nodes))


@profile(3)
def wiped(scene: Scene) -> None:
    """Up to f nodes lose database and mark file, and come back with their old key."""
    world = scene.world
    nodes = scene.take(3)

    def wipe(node: SimNode) -> None:
        if not node.running or world.top == 0:
            return
        node.crash(power=True)
        node.disk.format()
        node.amnesia = True
        world.note(node, "wiped", "", b"")
        world.down(node)

    for moment in scene.moments(3):
        if nodes:
            scene.at(moment, wipe, scene.rng.choice(nodes))


@profile(2)
def funeral(scene: Scene) -> None:
    """Up to f nodes leave for ever."""

    def die(node: SimNode) -> None:
        node.crash(power=False)
        node.gone = True

    for node in scene.take(4):
        scene.at(scene.rng.randint(0, scene.busy), die, node)


@profile(2)
def clocks(scene: Scene) -> None:
    """Wall clocks are wrong by up to an hour, or jump; after the heal those of f nodes still are."""
    world, rng = scene.world, scene.rng
    for node in scene.take(3):
        node.wall_offset = rng.choice([-HOUR, HOUR, rng.randint(-HOUR, HOUR)])
    for moment in scene.moments(6):
        node = rng.choice(world.nodes)
        offset = rng.randint(-HOUR, HOUR)
        before = node.wall_offset
        scene.at(moment, setattr, node, "wall_offset", offset)
        world.after(scene.length, setattr, node, "wall_offset", before)


@profile(2)
def compute(scene: Scene) -> None:
    """Workers die, payloads are damaged on the disk."""
    world, rng = scene.world, scene.rng
    world.failing_work = rng.choice([0.0, 0.1, 0.5])

    def damage(node: SimNode) -> None:
        root = node.disk.damage(rng, [other.disk for other in world.living if other is not node])
        node.forget_payloads()
        if root is not None:
            world.note(node, "damage", root.hex()[:8], root)

    for moment in scene.moments(12):
        scene.at(moment, damage, rng.choice(world.nodes))


# -- liars ----------------------------------------------------------------------------------------------------------------


def _lie(scene: Scene, nodes: list[SimNode]) -> None:
    for node in nodes:
        names = draw_strategies(scene.rng)
        node.liar = Liar(node, names, Random(f"{scene.world.seed}/liar/{node.index}"))
        scene.world.note(node, "liar", ", ".join(names), " ".join(names).encode())


@profile(12)
def liars(scene: Scene) -> None:
    """Up to f members lie, before and after the heal; now and then one more, in communities whose committees change."""
    world = scene.world
    nodes = scene.take(4)
    if nodes and len(world.nodes) > world.setup.committee + 1 and scene.rng.random() < 0.15:
        scene.budget += 1
        nodes += scene.take(1)
    _lie(scene, nodes)


@profile(6)
def liars_and_halves(scene: Scene) -> None:
    """EquivocationHandler who talk to both sides of a partition."""
    _lie(scene, scene.take(4))
    halves(scene)


@profile(4)
def liars_and_crashes(scene: Scene) -> None:
    """EquivocationHandler while honest processes die."""
    _lie(scene, scene.take(4))
    scene.rng.choice([crash_storm, power_loss, slow_disk])(scene)


@profile(4)
def liars_and_network(scene: Scene) -> None:
    """EquivocationHandler on a bad network."""
    _lie(scene, scene.take(4))
    scene.rng.choice([lossy, slow, flapping, groups])(scene)


@profile(6)
def mixed(scene: Scene) -> None:
    """Two or three of the others at once."""
    others = sorted(set(PROFILES) - {"mixed", "calm", "gone", "observers"})
    for name in scene.rng.sample(others, scene.rng.randint(2, 3)):
        PROFILES[name](scene)


NEEDS_TORN_LOGS: Final = frozenset({"torn_log", "mixed"})

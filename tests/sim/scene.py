"""A world whose faults are being drawn, and the list of profiles that draw them."""

from collections.abc import Callable
from random import Random

from tests.sim.node import SimNode
from tests.sim.world import World

Profile = Callable[["Scene"], None]

PROFILES: dict[str, Profile] = {}
WEIGHTS: dict[str, int] = {}


class Scene:
    """A world whose faults are being drawn. At most f nodes in all lie, forget, or leave for ever: `take` hands them out."""

    def __init__(self, world: World, rng: Random) -> None:
        self.world = world
        self.rng = rng
        self.length = rng.randint(3, 30) * 1_000
        self.rounds = rng.choice([2, 3, 4, 6])
        setup = world.setup
        self.busy = min(self.length, 500 + self.rounds * (sum(setup.train_ms) // 2 + 300))
        """About when an undisturbed community has closed those rounds: what does not halt it must happen before."""
        self._free = rng.sample(world.nodes, len(world.nodes))
        self.budget = world.setup.f

    def take(self, most: int) -> list[SimNode]:
        """Up to `most` nodes within what is left of f."""
        count = min(most, self.budget, len(self._free))
        taken, self._free = self._free[:count], self._free[count:]
        self.budget -= count
        return taken

    def some(self, low: int = 1) -> list[SimNode]:
        """Any nodes, for faults that end with the heal."""
        nodes = self.world.nodes
        return self.rng.sample(nodes, self.rng.randint(min(low, len(nodes)), len(nodes)))

    def moments(self, most: int, within: int = 0) -> list[int]:
        """Times before the heal: within so many milliseconds, or while rounds go on."""
        return sorted(self.rng.randint(0, within or self.busy) for _ in range(self.rng.randint(1, most)))

    def at(self, moment: int, action: Callable[..., None], *arguments: object) -> None:
        """Do it then, unless the heal came first."""
        self.world.after(moment, self._unless_healed, action, arguments)

    def _unless_healed(self, action: Callable[..., None], arguments: tuple[object, ...]) -> None:
        if self.world.healed is None:
            action(*arguments)


def profile(weight: int) -> Callable[[Profile], Profile]:
    """Register a profile; `weight`: how often it is drawn."""

    def register(draw: Profile) -> Profile:
        PROFILES[draw.__name__] = draw
        WEIGHTS[draw.__name__] = weight
        return draw

    return register


def draw_profile(rng: Random) -> str:
    """A profile's name, by weight."""
    names = sorted(PROFILES)
    return rng.choices(names, weights=[WEIGHTS[name] for name in names])[0]

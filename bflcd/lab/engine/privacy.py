"""Devices that train under differential privacy as daemons do: the same steps, the same accountant, a budget each."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from bflcd.errors import UsageError
from bflcd.lab.config import SimulationConfig
from bflcd.lab.rng import Draw, generator
from bflcd.learn.private.descent import PrivateDescent
from bflcd.learn.private.mechanism import THOUSAND, Mechanism
from bflcd.learn.private.noise import Chance
from bflcd.learn.private.planning import Plan


@dataclass(frozen=True, slots=True)
class NoisyTraining:
    """One device's noisy steps in one round; `seed` draws them, so that a run can be repeated."""

    mechanism: Mechanism
    seed: int

    def descent(self) -> PrivateDescent:
        """The steps."""
        drawn = generator(self.seed, Draw.PRIVACY)
        return PrivateDescent(self.mechanism, Chance(drawn.bytes))


class Budgets:
    """What each device may still do: it trains in as many rounds as its budget was dealt out for, and in no other.

    A device expects to train in its share of the rounds, and its noise follows from that (`dp_epsilon`, `dp_exponent`).
    """

    def __init__(self, config: SimulationConfig) -> None:
        self._config = config
        share = (config.at_work - config.seats) / config.devices if config.framework == "bflc" else config.active
        self.rounds = max(1, min(config.rounds, ceil(config.rounds * share)))
        """In which a device can train."""
        self.trained = Counter[int]()
        """Rounds in which each device has."""

    def able(self, offering: Sequence[int]) -> list[int]:
        """Those that have something left."""
        if not self._config.dp_epsilon:
            return list(offering)
        return [device for device in offering if self.trained[device] < self.rounds]

    def spend(self, device: int, rows: int, seed: int) -> NoisyTraining | None:
        """How `device` trains on so many `rows` this time; None without privacy. Raises UsageError (`bad_setting`)."""
        config = self._config
        if not config.dp_epsilon:
            return None
        self.trained[device] += 1
        plan = Plan(
            epsilon=round(config.dp_epsilon * THOUSAND),
            exponent=config.dp_exponent,
            rounds=self.rounds,
            epochs=config.local_epochs,
            lot=config.dp_lot or config.batch_size,
            clip=config.dp_clip,
        )
        mechanism = plan.mechanism(rows)
        if mechanism is None:
            text = f"no noise makes {plan.steps(rows) * self.rounds} steps tell less than dp_epsilon = {config.dp_epsilon:g}"
            raise UsageError(text, hint="raise dp_epsilon, or simulate fewer rounds", code="bad_setting")
        return NoisyTraining(mechanism, seed)

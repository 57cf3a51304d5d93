"""What a seed draws before anything happens: how large the community is, its parameters, how it is signed."""

from dataclasses import dataclass
from random import Random
from typing import Final

from bflcd.ledger.quorum import faults
from bflcd.params import ELECTIONS, Terms

REAL_KEYS_SHARE: Final = 0.05
"""1 seed in 20 signs with Ed25519 and takes every message through the codec, nothing remembered."""

CODEC_SHARE: Final = 0.2
"""Of the others, those whose messages all pass through the codec."""

OPEN_SHARE: Final = 0.125
"""1 seed in 8 seals no cards."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Milliseconds where it is a time."""

    nodes: int
    committee: int
    places: int
    small: bool
    view_timeout: int
    collect_deadline: int
    train_ms: tuple[int, int]
    score_ms: tuple[int, int]
    retrain: bool
    """Training twice gives two updates."""
    score_rule: str
    active_fraction: int
    real_keys: bool
    codec: bool
    managers: tuple[int, ...] = ()
    """By their numbers; none: the first four members."""
    election: str = "score"
    reputation_rounds: int = 0
    strangers: int = 0
    """Of the nodes, those that the genesis does not name."""
    terms: Terms = Terms()
    sealed_cards: bool = True
    late_serving: bool = False
    canary_share: int = 0
    card_share: int = 0

    @property
    def f(self) -> int:
        return faults(min(self.committee, self.nodes - self.strangers))


def draw_setup(rng: Random, nodes: int | None) -> Setup:
    """A community; `nodes` fixes its size."""
    drawn = _size(rng)
    count = drawn if nodes is None else nodes
    small = count < 5 or (count <= 7 and rng.random() < 0.3)
    committee = count if small else min(13, rng.choice([4, 4, 4, count - 1, max(4, count * 2 // 3), max(4, count // 2)]))
    if small and count > 4 and rng.random() < 0.3:
        committee = rng.randint(4, count)
    real = rng.random() < REAL_KEYS_SHARE
    t0 = rng.choice([250, 500, 1_000, 1_250])
    return Setup(
        nodes=count,
        committee=committee,
        places=max(committee, rng.choice([4, 6, 8])),
        small=small,
        view_timeout=t0,
        collect_deadline=rng.choice([4, 8, 16]) * t0,
        train_ms=rng.choice([(50, 200), (200, 800), (100, 3 * t0)]),
        score_ms=rng.choice([(1, 20), (5, 100)]),
        retrain=rng.random() < 0.5,
        score_rule=rng.choice(["gain", "gain", "accuracy"]),
        active_fraction=rng.choice([1_000_000, 1_000_000, 1_000_000, 600_000]),
        real_keys=real,
        codec=real or rng.random() < CODEC_SHARE,
        sealed_cards=rng.random() >= OPEN_SHARE,
    )


def draw_election(rng: Random) -> str:
    """By score as often as not: the others differ in whom they seat, not in what a committee does."""
    return rng.choice([*(["score"] * (len(ELECTIONS) - 1)), *ELECTIONS[1:]])


def draw_reputation(rng: Random) -> int:
    """Over how many offers the community averages; one in four forgets what its members have offered before."""
    return rng.choice([0, 2, 8, 8])


def draw_trust(rng: Random) -> tuple[int, int]:
    """Shares of canaries and of pay for cards: none at all in a quarter of the worlds, most of the time more than a genesis gives."""
    return rng.choice([0, 62_500, 250_000, 500_000]), rng.choice([0, 100_000, 1_000_000])


def draw_serving(rng: Random) -> bool:
    """In half of the worlds updates are served once offers are closed."""
    return rng.random() < 0.5


def _size(rng: Random) -> int:
    """90 % up to 7, 9 % up to 13, 1 % up to 40; a few smaller than four."""
    draw = rng.random()
    if draw < 0.04:
        return rng.randint(1, 3)
    if draw < 0.90:
        return rng.choice([4, 4, 4, 5, 5, 6, 6, 7])
    return rng.randint(8, 13) if draw < 0.99 else rng.randint(14, 40)

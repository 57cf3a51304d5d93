"""Every random number of a simulation, each from a stream of its own: a resumed run draws what an uninterrupted one would."""

from enum import IntEnum

import numpy as np


class Draw(IntEnum):
    """What is drawn; numbers are never reused, so that a new draw moves no other."""

    ADVERSARIES = 1
    """Which devices lie."""
    FIRST_COMMITTEE = 2
    TRAINING = 3
    """The order of a device's rows in a round, and its dropout."""
    VALIDATION = 4
    """A device's rows that are never trained on."""
    SCORING = 5
    """The rows that a member scores on in a round."""
    LIES = 6
    FORGERY = 7
    """The noise of an adversary's update."""
    SHARED_FORGERY = 8
    """The noise that adversaries share."""
    CARDS = 9
    """Which cards an honest leader leaves out."""
    ROOT_ROWS = 10
    """FLTrust's rows at the server."""
    CENTRAL = 11
    """The order of rows of stand-alone training."""
    LINKS = 12
    """How fast each device's link is."""
    SERVER = 13
    """Who takes part in a round of a framework with a server."""
    QUESTIONS = 14
    """Of askers beside a community, and of what judges look at when they are asked."""
    NOISE = 15
    """What a judge adds to its gains, where a rule of disclosure says so."""
    LIKENESS = 17
    """Which weights are looked at to find copies."""
    BUCKETS = 16
    """Which updates a server averages before its rule sees them."""
    PRIVACY = 18
    """The rows and the noise of a device's private steps."""
    OWN_ROWS = 19
    """On which of their own rows adversaries try an offer."""
    CANARIES = 20
    """Which trainers of a round offer the opposite of what they trained."""
    SHADOWS = 21
    """What who attacks an update asks about, and what its shadows train on."""
    REFERENCES = 22
    """What who attacks a model compares it with."""
    DUMMIES = 23
    """Where the search for the rows of an update begins."""
    SHOWN = 24
    """Whose card a judge that copies sees first."""
    WATCHING = 25
    """The rows on which a device watches the models."""


def generator(seed: int, draw: Draw, round_: int = 0, device: int = 0) -> np.random.Generator:
    """The stream of one draw."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, draw, round_, device))))


def number(seed: int, draw: Draw, round_: int = 0, device: int = 0) -> int:
    """A seed below 2^63 for somebody else's generator."""
    return int(np.random.SeedSequence((seed, draw, round_, device)).generate_state(1, np.uint64)[0] >> np.uint64(1))

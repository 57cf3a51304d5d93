"""A community under one attack after the other."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from tests.border.attack import Attack
from tests.border.figures import Figures, Outcome, complaints_of
from tests.border.measuring import Watch
from tests.helpers.daemons import ROOT, Community, Daemon, environment

MEMBERS: Final = 8
"""Seven run; the last lends the attackers its key."""

START_SECONDS: Final = 240.0

WARM_ROUNDS: Final = 5
"""Closed before anything is measured: models, caches and connections are there."""

REST_SECONDS: Final = 3.0
"""Between two attacks."""

LONGER_SECONDS: Final = 60.0
"""After its time in which an attacker has to end."""

NICE: Final = 10
"""An attacker is another machine in earnest: here it gets what the community leaves it."""


def start(path: Path) -> tuple[Community, list[Daemon]]:
    """A community by the product's own commands, and those of its nodes that run."""
    net = Community.create(path, MEMBERS, "--committee-size", "4")
    running = net.nodes[:-1]
    net.start(running)
    net.wait_round(WARM_ROUNDS, START_SECONDS)
    return net, running


def usual(net: Community, running: list[Daemon], seconds: float) -> Figures:
    """The figures of a community that nobody attacks."""
    watch = Watch(net, running)
    with watch.watching():
        time.sleep(seconds)
    return watch.figures()


def run(net: Community, running: list[Daemon], attacks: Sequence[Attack], quiet: Figures, seconds: float) -> Iterator[Outcome]:
    """Each attack for its time."""
    for attack in attacks:
        watch = Watch(net, running)
        with watch.watching():
            complaints = carry_out(attack, net.path, seconds)
        found = watch.figures()
        complaints += complaints_of(quiet, found)
        complaints += [f"{node.name} has ended" for node in running if not node.running]
        yield Outcome(attack.name, attack.row, attack.who, attack.what, found, tuple(complaints))
        time.sleep(REST_SECONDS)


def carry_out(attack: Attack, path: Path, seconds: float) -> list[str]:
    """Run the attacker, a process of its own, to its end; returns its complaints. One that fails is a complaint: nothing was shown."""
    attacker = (sys.executable, "-m", "tests.border.attacker", attack.name, str(path), str(seconds))
    command = ("nice", "-n", str(NICE), *attacker)
    process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        answer, errors = process.communicate(timeout=seconds + LONGER_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return ["the attacker did not end: nothing was shown"]
    if process.returncode:
        return [f"the attacker failed: {errors.decode(errors='replace').strip().splitlines()[-1:]}"]
    return msgspec.json.decode(answer, type=list[str])

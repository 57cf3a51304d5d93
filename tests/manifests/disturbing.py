"""Doing to daemons what a manifest says, and undoing it."""

from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.helpers.daemons import Community, Daemon
from tests.manifests.manifest import Perturbation
from tests.manifests.relay import Cut, Link, Relay

CHOKED_BYTES = 64 * 1024
"""Where the files of a choked daemon end; its database is larger from the start."""

KEPT = ("node.key", "config.toml")
"""Files that a wiped data directory keeps: who the node is, and which part of the data is its own."""


@dataclass(slots=True)
class Disturbance:
    """One perturbation that is on: `ends` when it is to be undone."""

    step: Perturbation
    targets: tuple[int, ...]
    ends: float
    links: tuple[Link, ...] = ()
    wiped: list[int] = field(default_factory=list)


class Disturber:
    """Acts on a community. `start` starts a node with the flags that are its own; `relay` is needed for disconnecting only."""

    def __init__(self, net: Community, start: Callable[[int, bool], None], relay: Relay | None) -> None:
        self._net = net
        self._start = start
        self._relay = relay

    def begin(self, step: Perturbation, targets: tuple[int, ...], peers: tuple[int, ...], now: float) -> Disturbance:
        """Do it to all targets at once."""
        done = Disturbance(step, targets, now + step.lasts)
        nodes = [self._net[index] for index in targets]
        match step.action:
            case "kill":
                self._net.kill(*nodes)
            case "wipe":
                self._net.kill(*nodes)
                for node in nodes:
                    wipe(node)
            case "stop" | "restart":
                codes = self._net.stop(*nodes)
                assert not any(codes), f"SIGTERM ended {[node.name for node in nodes]} with {codes}"
            case "pause":
                for node in nodes:
                    node.pause()
            case "choke":
                for node in nodes:
                    self._net.expected.discard(node.name)
                    psutil.Process(node.pid).rlimit(psutil.RLIMIT_FSIZE, (CHOKED_BYTES, CHOKED_BYTES))
            case "disconnect":
                assert self._relay is not None
                done.links = links_of(step, targets, peers)
                self._relay.cut(done.links, Cut(step.mode))
        return done

    def end(self, done: Disturbance) -> None:
        """Undo it."""
        if done.step.action == "disconnect":
            assert self._relay is not None
            self._relay.heal(done.links, Cut(done.step.mode))
            return
        for index in done.targets:
            node = self._net[index]
            if done.step.action == "pause":
                node.resume()
                continue
            if done.step.action == "choke":
                code = node.wait()
                assert code == 1, f"{node.name}, which could write no more, ended with {code}, not 1\n{node.tail()}"
            self._start(index, done.step.action == "wipe")


def links_of(step: Perturbation, targets: tuple[int, ...], peers: tuple[int, ...]) -> tuple[Link, ...]:
    """The directed links that a disconnection cuts."""
    pairs = {(node, peer) for node in targets for peer in peers if node != peer}
    if step.together:
        pairs = {(node, peer) for node, peer in pairs if peer not in targets}
    out = pairs if step.direction in ("both", "out") else set()
    back = {(peer, node) for node, peer in pairs} if step.direction in ("both", "in") else set()
    return tuple(sorted(out | back))


def wipe(node: Daemon) -> None:
    """Remove every file but its key and configuration."""
    for path in node.datadir.iterdir():
        if path.is_file() and path.name not in KEPT:
            path.unlink()

"""Looks at every node of a community while something else goes on, and at how soon its network answers."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from tests.border.figures import Figures, Look, figures_of
from tests.helpers.daemons import Community, Daemon, UnreachableError

LOOK_SECONDS: Final = 1.0

PROBE_SECONDS: Final = 0.5

PROBE_HOST: Final = "127.0.0.9"
"""Another address than the attackers', so that what is kept for others is what is measured."""

PROBE_LIMIT: Final = 30.0

GREETING: Final = b"\x13/multistream/1.0.0\n"

_LOGS: Final = ("log/bflcd.log", "log/bflcd.log.1", "log/bflcd.log.2", "log/bflcd.log.3")


class Watch:
    """Two threads: one looks at the nodes, one greets the first of them as a newly come socket does."""

    def __init__(self, net: Community, nodes: list[Daemon]) -> None:
        self._net = net
        self._nodes = nodes
        self._stop = threading.Event()
        self._looks: list[Look] = []
        self._stall = 0.0
        self._began = time.monotonic()

    def figures(self) -> Figures:
        """Of all that was seen."""
        return figures_of(self._looks, self._stall)

    def look(self) -> None:
        """At each node once; one that does not answer is looked at for what its process holds, at the round it last had."""
        for node in self._nodes:
            known = next((one.round for one in reversed(self._looks) if one.node == node.name), 0)
            try:
                round_ = node.round()
            except UnreachableError:
                round_ = known
            rss = psutil.Process(node.pid).memory_info().rss
            log = sum(_size(node.datadir / part) for part in _LOGS) + _size(node.output)
            disk = sum(_size(path) for path in node.datadir.glob("*") if path.is_file())
            self._looks.append(Look(node.name, time.monotonic() - self._began, max(known, round_), rss, disk, log))

    def run_looks(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self.look()

    def run_probes(self) -> None:
        while not self._stop.wait(PROBE_SECONDS):
            self._stall = max(self._stall, probe(self._nodes[0]))

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look until the block ends, at its start and at its end in any case."""
        self.look()
        threads = [threading.Thread(target=run, daemon=True) for run in (self.run_looks, self.run_probes)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(PROBE_LIMIT + 30)
            self.look()


def probe(node: Daemon) -> float:
    """Seconds until the network says its first word to a new socket; a refused or silent one counts as the limit."""
    began = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", int(node.address.split("/")[4])), PROBE_LIMIT, (PROBE_HOST, 0)) as link:
            link.sendall(GREETING)
            if not link.recv(len(GREETING)):
                return PROBE_LIMIT
    except OSError:
        return PROBE_LIMIT
    return time.monotonic() - began


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # rotated, or closed, since it was listed

"""Operators beside the kills: a member that is no victim leaves, is put out and comes back, managers set and go back to older models."""

import threading
import time
from random import Random

from tests.helpers.daemons import Community, Daemon
from tests.manifests.changing import Changer
from tests.manifests.manifest import Change

PAUSE_SECONDS = 0.3

PATIENCE_ROUNDS = 200
"""A change waits for whoever is killed on the way."""

CHANGES = (
    Change("leave", first=3, every_rounds=6, times=1000),
    Change("join", first=6, every_rounds=6, times=1000),
    Change("kick", first=9, every_rounds=18, times=1000),
    Change("rollback", first=15, every_rounds=15, times=1000),
)


class Operators:
    """A thread that works on while daemons die. `carried`: how often each kind was done; `failures`: why it ended, if it did."""

    def __init__(self, net: Community, guest: Daemon, seed: int) -> None:
        self._net, self._guest = net, guest
        self._ended = threading.Event()
        self._changer = Changer(net, list(CHANGES), [], Random(seed), lambda _: None, patience=PATIENCE_ROUNDS)
        self._changer.known[guest.node_id] = guest
        self._changer.members = [guest.node_id]
        self._thread = threading.Thread(target=self._work, name="operators", daemon=True)
        self.failures: list[str] = []

    @property
    def carried(self) -> dict[str, int]:
        return dict(self._changer.carried)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """The member is left as it stands."""
        self._ended.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._ended.is_set():
            try:
                self._changer.look(max((node.round() for node in self._net if node.running), default=0))
            except Exception as error:  # noqa: BLE001 - the thread's end has to be seen in the report
                if not isinstance(error, OSError | ConnectionError) and "Unreachable" not in type(error).__name__:
                    self.failures.append(f"operators: {type(error).__name__}: {error}")
                    return
            time.sleep(PAUSE_SECONDS)

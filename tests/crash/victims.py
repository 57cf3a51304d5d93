"""Daemons that run with failpoints and a journal."""

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.crash.daemon import JOURNAL, ORDER
from tests.helpers.daemons import ROOT, Daemon, _die_with_us, environment


@dataclass(slots=True)
class Victim(Daemon):
    """A daemon of a testnet that is to be killed."""

    prunes: bool = False

    @property
    def order(self) -> Path:
        """Where it looks for the failpoint that kills it."""
        return self.datadir.with_suffix(".order")

    @property
    def journal(self) -> Path:
        """What it did and heard."""
        return self.datadir.with_suffix(".journal")

    def start(self, *flags: str) -> None:
        """As every daemon, but through `tests.crash.daemon`; always with the flags of its kind."""
        assert not self.running, f"{self.name} runs already"
        self.flags = (*flags, "--prune-keep", "3") if self.prunes else flags
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.crash.daemon", "start", "--datadir", str(self.datadir), *self.flags],
                cwd=ROOT,
                env=environment(**{ORDER: str(self.order), JOURNAL: str(self.journal)}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_us,  # noqa: PLW1509 - nothing but a system call
            )
        self.paused = False

    def kill(self) -> None:
        """SIGKILL to the daemon alone, unless it has ended already."""
        assert self.process is not None
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def wipe(self) -> None:
        """Lose database and mark file, as a new disk does; the key stays."""
        for path in (*self.datadir.glob("chain.sqlite3*"), *self.datadir.glob("marks*")):
            path.unlink()

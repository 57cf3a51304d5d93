"""How far simulations are, on standard error."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bflc_cli.session import Session
from bflc_cli.text import share

if TYPE_CHECKING:
    from bflcd.lab.config import SimulationConfig


class Shown:
    """An observer that moves a progress bar."""

    def __init__(self, bar: Progress, rounds: int | None) -> None:
        self._bar, self._begun, self._done = bar, time.monotonic(), 0
        self._task = bar.add_task("rounds", total=rounds, rate="", note="")

    def plan(self, rounds: int) -> None:
        """The number of rounds is known."""
        self._bar.update(self._task, total=rounds)

    def step(self, config: "SimulationConfig", round_: int, accuracy: float | None) -> None:
        """One more is done."""
        self._done += 1
        rate = self._done / max(time.monotonic() - self._begun, 1e-9)
        lying = f" {config.attack} {config.liars:.0%}" if config.attack else ""
        note = f"{config.framework}{lying} seed {config.seed}: round {round_}, {share(accuracy)}"
        self._bar.update(self._task, advance=1, rate=f"{rate:.2f} rounds/s", note=note)


@contextmanager
def progress_bar(session: Session) -> Iterator[Progress]:
    """A bar on standard error for as long as the block runs."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=session.err, transient=True) as bar:
        yield bar

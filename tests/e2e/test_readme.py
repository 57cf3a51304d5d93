"""The README's commands, taken from its text and run as typed in an empty directory."""

import re
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from tests.helpers.daemons import ROOT
from tests.helpers.documents import steps_of, typed_environment

START_SECONDS = 240.0
"""Until the last daemon has closed some rounds, where other communities run beside it; an idle machine needs 20."""

COMMAND_SECONDS = 300.0
"""What a command may take where another community runs beside it: ten daemons learn with two cores, half of which they have."""
ADDRESS = "/ip4/127.0.0.1/tcp/PORT/p2p/PEERID"


def commands(section: str) -> list[str]:
    """The command lines of a section's code blocks, without comments."""
    text = (ROOT / "README.md").read_text().split(f"## {section}\n")[1].split("\n## ")[0]
    return [line for step in steps_of(text) for line in step.typed.splitlines()]


class Shell:
    """An empty directory, the installed commands on the path, and whatever was started in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        self.environment = typed_environment()

    def run(self, line: str) -> str:
        """Run a command to its end; it must succeed."""
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self, line: str) -> Path:
        """Start a command as if in a terminal of its own; returns the file with its output."""
        path = self.directory / f"terminal{len(self.running)}"
        out = path.open("wb")
        words = line.split()
        process = subprocess.Popen(
            words, cwd=self.directory, env=self.environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
        self.running.append((process, out))
        return path

    def close(self, some: Sequence[tuple[subprocess.Popen[bytes], IO[bytes]]] | None = None) -> None:
        """End some of what was started, by default all."""
        ending = self.running if some is None else some
        for process, _ in ending:
            process.send_signal(signal.SIGTERM)
        for process, out in ending:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            out.close()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    made = Shell(tmp_path)
    yield made
    made.close()


def await_text(path: Path, pattern: str) -> str:
    """The first group of `pattern` once it stands in the file."""
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        found = re.search(pattern, path.read_text(errors="replace"))
        if found:
            return found.group(1)
        time.sleep(0.2)
    raise AssertionError(f"{pattern!r} did not come:\n{path.read_text(errors='replace')[-2000:]}")


@pytest.mark.timeout(400)
def test_the_walk_through_by_hand(shell: Shell) -> None:
    """Given the commands under "By hand", when they are typed one after the other, then a community trains and answers all of them."""
    made, first, other, *steered = commands("By hand")
    assert made.startswith("bflcd testnet")
    nodes = int(re.search(r"--nodes (\d+)", made).group(1))  # type: ignore[union-attr]
    shell.run(made)
    address = await_text(shell.start(first), r"listening at (\S+)")
    assert ADDRESS in other
    for number in range(1, nodes):
        last = shell.start(other.replace(ADDRESS, address).replace("node1", f"node{number}"))
    await_text(last, r"round (5) closed")  # so that there is something to prune
    shell.close(shell.running[1:])  # the commands ask the first node alone: the others would train on beside them
    assert [line.split()[3] for line in steered] == ["status", "top", "history", "verify", "prune", "stop"]
    for line in steered:
        assert shell.run(line).strip(), line
    assert shell.running[0][0].wait(20) == 0, "the first daemon has stopped in order"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_data_file_of_ones_own(shell: Shell) -> None:
    """Given a small file in the layout that the README names, when its two commands are typed, then the community runs to its end."""
    rng = np.random.default_rng(0)
    rows, writers = 2_000, 40
    labels = rng.integers(0, 4, rows).astype(np.uint8)
    images = (rng.random((rows, 28, 28)) * 40).astype(np.uint8)
    for label in range(4):  # four bright squares: a task that can be learned
        images[labels == label, 7 * label : 7 * label + 7, :14] = 255
    np.savez(
        shell.directory / "FILE.npz",
        images=images,
        labels=labels,
        writer=np.sort(rng.integers(0, writers, rows)).astype(np.int16),
        split=(np.arange(rows) >= rows - 300).astype(np.uint8),
    )
    for line in commands("Real handwriting, real writers"):
        out = shell.run(line)
    assert "nodes agree, every chain verified" in out


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_laboratory(shell: Shell) -> None:
    """Given no data, when the commands under "Before you write a genesis" are typed, then each answers, and figures lie in `lab`."""
    lines = commands("Before you write a genesis")
    assert [line.split()[2] for line in lines] == ["fig3", "fig4", "run"]
    answers = [shell.run(line) for line in lines]
    assert "more than half" in answers[0]
    assert "Multi-Krum" in answers[1]
    assert "accuracy" in answers[2]
    assert (shell.directory / "lab" / "fig4" / "fig4.png").stat().st_size > 10_000


def test_a_testnet_for_containers(shell: Shell) -> None:
    text = (ROOT / "README.md").read_text()
    line = re.search(r"`(bflcd testnet [^`]*--compose)`", text)
    assert line is not None
    shell.run(line.group(1))
    assert (shell.directory / "testnet" / "compose.yaml").exists()

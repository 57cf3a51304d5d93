"""A disk that fills up under a running daemon (catalogue 16)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import START_SECONDS
from tests.e2e.test_crashes import GO_ON_SECONDS, agree_on_state, takes_part
from tests.helpers.daemons import Community

SPARE_BYTES = 48 * 2**20
"""What the small disk holds besides what the node has by then."""

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


@contextmanager
def small_disk(place: Path) -> Iterator[None]:
    """A file system with `SPARE_BYTES` to spare over the directory `place`, with its content; skips where that is not allowed."""
    if os.getuid() != 0:
        pytest.skip("mounting a small file system needs root")
    size = SPARE_BYTES + sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    kept = place.with_suffix(".kept")
    shutil.copytree(place, kept)
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        pytest.skip(f"no small file system can be mounted here: {mounted.stderr.strip()}")
    try:
        shutil.copytree(kept, place, dirs_exist_ok=True)
        yield
        shutil.rmtree(kept)
        shutil.copytree(place, kept)
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)
    shutil.copytree(kept, place, dirs_exist_ok=True)
    shutil.rmtree(kept)


def test_a_full_disk_ends_the_node_and_costs_nothing(living: Community):
    """Given a member whose disk fills up in mid-round, When it can't write any more,
    Then it says so and ends with exit code 1, the others go on; with space again it restarts with its chain and takes part.
    """
    node = living[5]
    stopped_at = node.round()
    assert living.stop(node) == [0]
    with small_disk(node.datadir):
        living.start([node])
        living.wait_for(lambda: takes_part(node, stopped_at), START_SECONDS, f"{node.name} back")
        shown = node.history()

        living.expected.discard(node.name)
        ballast = node.datadir / "ballast"
        with ballast.open("wb") as file:
            fill(file.fileno())
        assert node.wait(GO_ON_SECONDS) == 1
        written = node.text()
        assert "bflcd: " in written.splitlines()[-2] + written.splitlines()[-1]
        assert "disk" in written.splitlines()[-2], written.splitlines()[-2:]
        assert "Traceback" not in written
        living.wait_rounds(2, GO_ON_SECONDS)

        ballast.unlink()
        ended_at = max(shown)
        living.start([node])
        living.wait_for(lambda: takes_part(node, ended_at), START_SECONDS, f"{node.name} packed or seated after {ended_at}")
        assert {round_: node.history()[round_]["hash"] for round_ in shown} == {r: row["hash"] for r, row in shown.items()}
        agree_on_state(living)
        assert living.stop(node) == [0]


def fill(descriptor: int) -> None:
    """Write until nothing more fits."""
    for size in (2**20, 4096, 1):
        try:
            while True:
                os.write(descriptor, bytes(size))
        except OSError:
            continue

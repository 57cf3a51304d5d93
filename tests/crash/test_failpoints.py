"""A writer killed before, inside and after every durable write of a store (row 17); whole daemons: `make crash`."""

import json
import subprocess
import sys

import pytest

from tests.crash.failpoints import POINTS
from tests.helpers.daemons import ROOT
from tests.helpers.store_damage import quick_place


@pytest.mark.parametrize("passings", ["1", pytest.param("1,2,3,4,5,6", marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_a_writer_killed_at_every_failpoint_loses_nothing(passings: str) -> None:
    """Given a writer of rounds, when it is killed at any failpoint and started again, then each time all that it had acknowledged
    is there, the store is sound, its marks agree with it, and it goes on."""
    with quick_place() as place:
        done = subprocess.run(
            [sys.executable, "-m", "tests.crash.sweep", str(place), passings],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)) == set(POINTS)

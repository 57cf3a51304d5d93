"""The simulated world over a payload store of another make: a directory of files, on a disk that writes only what it must."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.helpers.directory_payloads import WatchedDirectory
from tests.helpers.store_damage import quick_place
from tests.sim.run import run_seed


@pytest.fixture
def place() -> Iterator[Path]:
    with quick_place() as folder:
        yield folder


@pytest.mark.parametrize(("seed", "profile"), [(3, "power_loss"), (4, "crash_storm"), (7, "slow_disk")])
def test_rounds_go_on_with_payloads_in_a_directory(seed: int, profile: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given nodes whose payloads lie in files, when they lose power again and again, then all holds that holds with any store."""
    numbers = count()
    monkeypatch.setattr("tests.sim.disk.ForgetfulPayloads", lambda: WatchedDirectory(place / str(next(numbers))))
    result = run_seed(seed, profile=profile, nodes=4)
    assert result.violations == ()
    assert next(numbers) >= 4


def test_a_prepare_without_durable_payloads_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a store that makes nothing durable, when a node signs what relies on payloads, then it is caught."""

    async def nothing(self: object, records: object, relies_on: object) -> None:
        await self.chain_side.persist(records)  # type: ignore[attr-defined]

    monkeypatch.setattr("bflcd.store.block_store.BlockStore._persist", nothing)
    assert any("relies on payloads" in text for text in run_seed(1, profile="calm", nodes=4).violations)

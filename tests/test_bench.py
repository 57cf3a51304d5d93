"""How benchmarks take turns, what they say of a machine that others use, and what the document shows of it. Nothing here is timed."""

import os
from statistics import median
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.bench import __main__ as bench
from tests.bench import turns
from tests.bench.turns import BUSY, Others, in_turn, is_busy, marked, paired, side_by_side

SECONDS = st.lists(st.tuples(st.floats(0.001, 1000), st.floats(0.001, 1000)), min_size=1, max_size=20)


def test_works_take_turns_and_the_first_turns_do_not_count() -> None:
    done: list[str] = []
    found = in_turn(lambda: done.append("value"), lambda: done.append("floor"), turns=3, warm=2)
    assert done == ["value", "floor"] * 5
    assert [len(seconds) for seconds in found] == [3, 3]


@given(SECONDS)
def test_a_ratio_is_the_median_of_the_turns(seconds: list[tuple[float, float]]) -> None:
    """Given turns of which each was disturbed as a whole, Then the disturbance is in no ratio; one turn alone moves it little."""
    values, floors = [value for value, _ in seconds], [floor for _, floor in seconds]
    ratios = [value / floor for value, floor in seconds]
    assert paired(values, floors) == {
        "ratio": pytest.approx(median(ratios), abs=0.005),
        "low": pytest.approx(min(ratios), abs=0.005),
        "high": pytest.approx(max(ratios), abs=0.005),
    }
    slowed = [2.0**number for number in range(len(values))]
    pairs = zip(values, floors, slowed, strict=True)
    assert paired(*zip(*((value * by, floor * by) for value, floor, by in pairs), strict=True)) == paired(values, floors)


def test_a_value_without_its_floor_is_no_pair() -> None:
    with pytest.raises(ValueError, match="shorter"):
        paired([1.0, 2.0], [1.0])


def test_a_floor_has_as_many_processes_as_it_asks_for() -> None:
    found = side_by_side(_process, 2)
    assert len(set(found) | {float(os.getpid())}) == 3


def _process() -> float:
    return float(os.getpid())


def test_what_others_had_is_what_the_machine_did_less_what_we_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given ten seconds in which the machine was busy for twelve and we for nine, Then others had 0.3 cores."""
    clock = SimpleNamespace(machine=100.0, own=40.0, time=7.0)
    monkeypatch.setattr(turns.time, "monotonic", lambda: clock.time)
    others = Others(lambda: clock.machine, lambda: clock.own)
    clock.machine, clock.own, clock.time = 112.0, 49.0, 17.0
    assert others.cores() == pytest.approx(0.3)
    clock.own = 53.0  # a child's seconds are ours when it has ended, all at once
    assert others.cores() == 0.0


@pytest.mark.parametrize("cores", [0.0, 8.0])
def test_every_row_says_whether_the_machine_was_busy(monkeypatch: pytest.MonkeyPatch, cores: float) -> None:
    monkeypatch.setattr(Others, "cores", lambda _self: cores * BUSY * (os.cpu_count() or 1))
    row = {"row": "a row", "value": 1.0}
    mark = {"others_cores": round(cores * BUSY * (os.cpu_count() or 1), 2), "busy_machine": cores > 1}
    assert marked(lambda: row) == [{**row, **mark}]
    assert marked(lambda: [row, row]) == [{**row, **mark}] * 2
    assert is_busy(mark["others_cores"]) is mark["busy_machine"]


def test_the_document_tells_spread_and_busy_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Given one part on a busy machine and one that could not be measured, Then both are said below the table."""
    row = {"row": "a row", "value": 1.5, "floor": 1.0, "floor_is": "its floor", "ratio": 1.5, "low": 1.2, "high": 2.0}
    parts = {"chain": lambda: [row], "gpu": list}
    monkeypatch.setattr(bench, "PARTS", tuple(parts))
    monkeypatch.setattr(bench, "DOCUMENT", tmp_path / "benchmarks.md")
    monkeypatch.setattr(bench.importlib, "import_module", lambda name: SimpleNamespace(run=parts[name.rpartition(".")[2]]))
    monkeypatch.setattr(Others, "cores", lambda _self: 64.0 * (os.cpu_count() or 1))
    assert bench.main([]) == 0
    written = (tmp_path / "benchmarks.md").read_text()
    assert "| a row | 1.5 | 1 its floor | 1.50 (1.20 to 2.00) |  |" in written
    assert f"- chain: on a busy machine, others had {64.0 * (os.cpu_count() or 1):.1f} cores; only ratios count" in written
    assert f"- {bench.MISSING['gpu']}" in written

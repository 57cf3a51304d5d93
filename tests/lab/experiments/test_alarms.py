"""What is counted of watchers: made-up trails by hand, and one small community from its seed to its table."""

import pytest

from bflcd.lab.experiments import alarms
from bflcd.lab.experiments.alarms import HARMED, HONEST, LIED, ONSET, PLANTED, SCENARIOS, Watched, alarms_report, watched
from bflcd.lab.grid import Change
from bflcd.lab.simulation import Machine
from bflcd.lab.watching.trail import Trail, follow
from bflcd.learn.watching.errors import ClassErrors
from bflcd.learn.watching.verdict import LOOKED_BACK
from tests.helpers.lab import tiny

MODELS = 30


def errors(wrong: int) -> ClassErrors:
    return ClassErrors((0,), (100,), (wrong,), (0,))


def trail(**changes) -> Trail:
    """Three devices; liars lie from model 25 on, model 27 harms, and two devices see it."""
    rows = tuple((errors(50 if model >= 27 else 5), errors(40 if model >= 27 else 5), errors(5)) for model in range(MODELS + 1))
    accuracy = tuple(0.5 if model >= 27 else 0.9 for model in range(MODELS + 1))
    fields = {"errors": rows, "accuracy": accuracy, "success": (), "lying": tuple(model >= 25 for model in range(MODELS + 1))}
    return Trail(**{**fields, **changes})


def test_rounds_are_told_apart_by_what_liars_did():
    found = watched(trail())
    kinds = [one.kind for one in found.rounds]
    assert [one.model for one in found.rounds] == list(range(LOOKED_BACK + 1, MODELS + 1))
    assert kinds == [HONEST] * 4 + [LIED] * 2 + [HARMED] + [LIED] * 3
    assert found.rounds[6] == Watched(27, HARMED, 3, ("rows", "rows"))
    assert found.rounds[6].by_most
    assert (found.honest, found.named) == (0.9, 0.9)
    assert [one.signs for one in found.rounds if one.kind != HARMED] == [()] * 9


def test_a_round_that_plants_a_backdoor_is_told_apart():
    success = tuple(0.9 if model >= 26 else 0.1 for model in range(MODELS + 1))
    found = watched(trail(success=success, accuracy=(0.9,) * (MODELS + 1)))
    assert [one.model for one in found.rounds if one.kind == PLANTED] == [26]
    assert found.honest is None, "nothing was lost"


def test_without_liars_nothing_is_lost_and_alarms_are_false():
    found = watched(trail(lying=(False,) * (MODELS + 1)))
    assert {one.kind for one in found.rounds} == {HONEST}
    assert (found.honest, found.named) == (None, None)


def test_scenarios_have_names_of_their_own_and_late_liars():
    labels = [one.label for one in SCENARIOS]
    assert len(set(labels)) == len(labels)
    assert {one.config.get("onset") for one in SCENARIOS} == {None, ONSET}


def test_watchers_are_the_honest_and_see_every_model():
    """Given a tiny community of which a fifth lies from round 1 on / Then each honest device's errors of each model are there."""
    config = tiny(attack="sign-flip", liars=0.2, onset=1, rounds=3)
    found = follow(config, Machine("cpu", threads=1), lambda: None)
    honest = config.devices - config.adversary_count
    assert [len(model) for model in found.errors] == [honest] * 4
    assert found.lying == (False, False, True, True)
    assert len(found.accuracy) == 4
    assert all(0 < one.total <= 256 for one in found.errors[0])
    assert len({tuple(one.rows for one in model) for model in found.errors}) == 1, "the same rows each time"
    assert found == follow(config, Machine("cpu", threads=1), lambda: None)


def test_a_report_has_both_tables(monkeypatch):
    monkeypatch.setattr(alarms, "BASE", tiny(rounds=LOOKED_BACK + 3))
    monkeypatch.setattr(alarms, "SCENARIOS", (Change("no liars"), Change("noise", {"attack": "noise", "liars": 0.2})))
    ticks = []
    report = alarms_report((0,), None, Machine("cpu", threads=1), lambda: ticks.append(1))
    assert len(ticks) == 2 * (LOOKED_BACK + 3)
    false, seen = report.tables
    assert next(row[0] for row in false.rows) == "no liars: nobody lied"
    assert [row[0] for row in seen.rows] == ["noise"]
    assert set(report.data) == {"no liars", "noise"}
    assert all(len(run[0]["rounds"]) == 3 for run in report.data.values())
    assert "nan" not in report.markdown()


@pytest.mark.parametrize("rounds", [LOOKED_BACK, 1])
def test_communities_too_young_to_alarm_are_reported_too(monkeypatch, rounds):
    monkeypatch.setattr(alarms, "BASE", tiny())
    monkeypatch.setattr(alarms, "SCENARIOS", (Change("no liars"),))
    report = alarms_report((0,), rounds, Machine("cpu", threads=1), lambda: None)
    assert [table.rows for table in report.tables] == [(), ()]

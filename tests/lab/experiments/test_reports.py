"""Every experiment: what it asks for makes sense, and what it tells of finished runs is right."""

import json
import re
from pathlib import Path
from statistics import fmean, stdev

import pytest

from bflcd.errors import UsageError
from bflcd.lab import report as report_module
from bflcd.lab.config import PAPER, Rules, check_config
from bflcd.lab.engine.sites import MIXES
from bflcd.lab.experiments import fig4, sweep, table1, trials, validation
from bflcd.lab.experiments.cost import AGREEMENT, Counted, cost_report
from bflcd.lab.grid import Grid, Results
from bflcd.lab.report import Report, write_report
from bflcd.lab.scale import BASES, Plan, ScaleName, make_plan
from bflcd.learn.attacks import ATTACKS
from bflcd.params import TensorSpec
from tests.helpers.lab import tiny
from tests.helpers.lab_runs import pretended, results_of

SEEDS = (0, 1)
PLAN = Plan(ScaleName.medium, tiny(rate_decay=0.9, rounds=10), SEEDS)


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Few dots are drawn sooner."""
    monkeypatch.setattr(report_module, "DOTS", 50)


def cells(report: Report, title: str) -> dict[str, tuple[str, ...]]:
    """Rows of the table whose title has these words, by their first column."""
    (table,) = [table for table in report.tables if title in table.title]
    assert all(len(row) == len(table.header) for row in table.rows)
    return {row[0]: row[1:] for row in table.rows}


def mean(grid: Grid, variant: str, scenario: str, digits: int) -> str:
    values = [100 * pretended(grid.config(variant, scenario, seed)).last() for seed in SEEDS]
    return f"{fmean(values):.{digits}f} ± {stdev(values):.{digits}f}"


def by_site(grid: Grid, variant: str, scenario: str) -> str:
    """The worst, the worst tenth, the mean, as `pretended` has them."""
    runs = [pretended(grid.config(variant, scenario, seed)) for seed in SEEDS]
    return " / ".join(f"{fmean(100 * run.last(name) for run in runs):.1f}" for name in ("site_worst", "site_tenth", "site_mean"))


def both(grid: Grid, variant: str, scenario: str) -> str:
    """What Fig. 4 tells of a cell: runs end 5 points above the mean of their two measurements."""
    ends = [100 * pretended(grid.config(variant, scenario, seed)).rounds[-1]["accuracy"] for seed in SEEDS]
    assert fmean(ends) == pytest.approx(float(mean(grid, variant, scenario, 6).split()[0]) + 5)
    return f"{mean(grid, variant, scenario, 1)} / {fmean(ends):.1f} ± {stdev(ends):.1f}"


def paired(grid: Grid, variant: str, against: str, scenario: str) -> str:
    both = [[pretended(grid.config(name, scenario, seed)).last() for name in (variant, against)] for seed in SEEDS]
    values = [100 * (ours - theirs) for ours, theirs in both]
    return f"{fmean(values):+.2f} ± {stdev(values) / 2**0.5:.2f}"


def check_written(report: Report, folder, drawings: list[str]) -> None:
    """All files are there, the figures show something, nothing in the JSON is no JSON."""
    from matplotlib.image import imread

    written = write_report(report, folder)
    figures = [f"{name}.{form}" for name in drawings for form in ("png", "svg")]
    assert [path.name for path in written] == [f"{report.name}.md", f"{report.name}.json", *figures]
    data = json.loads(written[1].read_text(), parse_constant=pytest.fail)
    assert data == json.loads(json.dumps(report.data))
    text = written[0].read_text()
    assert "nan" not in text
    assert report.rules_version == report.data.get("rules_version", "")
    assert (f"version {report.rules_version} of the rules" in text) is bool(report.rules_version)
    for path in written[2::2]:
        assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
        pixels = imread(path)
        assert len({tuple(pixel) for pixel in pixels[::3, ::3].reshape(-1, pixels.shape[2]).tolist()}) > 4


def check_asked(grid: Grid) -> None:
    """Labels are told apart, every simulation could be run."""
    for changes in (grid.variants, grid.scenarios):
        assert len({change.label for change in changes}) == len(changes)
    for config in grid.configs():
        check_config(config)


@pytest.fixture(params=ScaleName)
def shipped(request) -> Plan:
    """A plan as a command makes it."""
    return make_plan(request.param, (0,))


# -- Table I ------------------------------------------------------------------------------------------------------------------


def test_table_1(tmp_path):
    grid = table1.table1_grid(PLAN, (0.5, 1.0))
    report = table1.table1_report(results_of(grid))
    found = cells(report, "Accuracy")
    assert list(found) == ["Basic FL", "BFLC", "BFLC, the paper's rules", "Stand-alone"]
    for name, row in found.items():
        assert row == tuple(mean(grid, name, scenario, 2) for scenario in ("50 %", "100 %"))
    assert found["Stand-alone"][0] == found["Stand-alone"][1]
    assert cells(report, "Difference") == {
        f"{name} less Basic FL": tuple(paired(grid, name, "Basic FL", scenario) for scenario in ("50 %", "100 %"))
        for name in ("BFLC", "BFLC, the paper's rules")
    }
    assert len(report.tables) == 3, "the paper's figures stand beside the paper's shares only"
    assert report.rules_version == PLAN.base.rules_version
    assert cells(report, "by site") == {
        name: tuple(by_site(grid, name, scenario) for scenario in ("50 %", "100 %"))
        for name in ("Basic FL", "BFLC", "BFLC, the paper's rules", "Stand-alone")
    }
    check_written(report, tmp_path, ["table1", "table1_sites", "table1_curves"])


def test_runs_that_know_no_sites_have_no_table_of_them(tmp_path):
    plan = Plan(ScaleName.medium, tiny(task="femnist", rate_decay=0.9, rounds=10), SEEDS)
    report = table1.table1_report(results_of(table1.table1_grid(plan, (0.5,))))
    assert [table for table in report.tables if "by site" in table.title] == []
    check_written(report, tmp_path, ["table1", "table1_curves"])
    write_report(validation.validation_report(results_of(validation.validation_grid(plan))), tmp_path)


def test_table_1_beside_the_papers():
    report = table1.table1_report(results_of(table1.table1_grid(PLAN)))
    assert cells(report, "paper's Table I")["BFLC (paper)"] == ("89.33", "89.89", "90.02", "89.87", "89.78")
    assert set(report.data["accuracy"]) == set(cells(report, "Accuracy"))
    assert report.data["site_worst"]["BFLC"]["10 %"] == [
        round(100 * pretended(config).last("site_worst"), 4)
        for config in (table1.table1_grid(PLAN).config("BFLC", "10 %", seed) for seed in SEEDS)
    ]


def test_stand_alone_training_is_run_once_a_seed_and_ends_at_the_same_rate():
    grid = table1.table1_grid(PLAN)
    alone = [config for config in grid.configs() if config.framework == "stand-alone"]
    assert len(alone) == len(SEEDS)
    assert alone[0].rate_decay ** alone[0].rounds == pytest.approx(PLAN.base.rate_decay**PLAN.base.rounds)
    assert len(grid.configs()) == len(SEEDS) * (3 * 5 + 1)


def test_table_1_asks_for_what_can_be_run(shipped):
    check_asked(table1.table1_grid(shipped))


def test_a_table_of_runs_that_have_not_ended():
    grid = table1.table1_grid(PLAN, (0.5, 1.0))
    some = results_of(grid).runs("BFLC", "50 %")
    report = table1.table1_report(Results(grid, some))
    assert cells(report, "Accuracy")["Basic FL"] == ("-", "-")
    assert cells(report, "Accuracy")["BFLC"][1] == "-"
    assert cells(report, "Difference")["BFLC less Basic FL"] == ("-", "-")


# -- Fig. 4 -------------------------------------------------------------------------------------------------------------------


def test_fig_4(tmp_path):
    """Given a backdoor, noise and two shares, then each attack has its table, the backdoor one of triggered rows too, and what
    adversaries got under both of BFLC's rules is told in parts of seats, places and pay.
    """
    grid = fig4.fig4_grid(PLAN, ("backdoor", "noise"), (0.0, 0.2, 0.4))
    report = fig4.fig4_report(results_of(grid))
    for attack in ("backdoor", "noise"):
        found = cells(report, f"{attack}: accuracy")
        assert len(found) == len(fig4.FRAMEWORKS)
        for name, row in found.items():
            columns = ("no liars", f"{attack} 20 %", f"{attack} 40 %")
            assert row == tuple(both(grid, name, column) for column in columns)
    success = cells(report, "triggered rows")
    assert set(success.values()) == {("-", "37.5 ± 0.0", "37.5 ± 0.0")}
    assert len(report.tables) == 7
    for attack in ("backdoor", "noise"):
        shown = cells(report, f"{attack}: by site ({MIXES})")
        columns = ("no liars", f"{attack} 20 %", f"{attack} 40 %")
        assert shown == {name: tuple(by_site(grid, name, column) for column in columns) for name in found}
    worst = cells(report, "40 % of liars: accuracy")
    for name, row in worst.items():
        told = [both(grid, name, f"{attack} 40 %").split() for attack in ("backdoor", "noise")]
        means, ends = ([float(words[place]) for words in told] for place in (0, 4))
        assert row == tuple(f"{a:.1f} / {b:.1f}" for a, b in zip([*means, min(means)], [*ends, min(ends)], strict=True))
    assert report.data["end"]["BFLC"]["noise 40 %"] == [
        pytest.approx(accuracy + 5) for accuracy in report.data["accuracy"]["BFLC"]["noise 40 %"]
    ]
    parts = "58.3 / 25.0 / 25.0"  # 14 of 24 seats, 16 of 64 places, a quarter of the pay
    captured = cells(report, "What the attack brought")
    assert captured == {
        f"{variant}, {attack}": (parts, parts)
        for variant in ("BFLC", "BFLC, the paper's rules")
        for attack in ("backdoor", "noise")
    }
    assert report.rules_version == PLAN.base.rules_version
    said = "mean of the last 3 measurements / end of training"
    assert all(said in table.title for table in report.tables if "accuracy" in table.title)
    check_written(report, tmp_path, ["fig4", "fig4_sites", "fig4_attacks"])
    for name in ("fig4", "fig4_attacks"):
        drawn = "".join(re.findall(r"<!-- (.*?) -->", (tmp_path / f"{name}.svg").read_text()))
        assert all(words in drawn for words in said.split(" / ")), "the figure says what it shows"


def test_what_has_not_ended_has_no_worst_attack(tmp_path):
    """Given runs of one attack alone, then the other's cells are empty, the worst is not told, and it can be drawn all the same."""
    grid = fig4.fig4_grid(PLAN, ("noise", "zero"), (0.2,))
    report = fig4.fig4_report(Results(grid, results_of(grid).runs("BFLC", "noise 20 %")))
    found = cells(report, "20 % of liars: accuracy")
    words = both(grid, "BFLC", "noise 20 %").split()
    assert found["BFLC"] == (f"{words[0]} / {words[4]}", "-", "-")
    assert cells(report, "noise: accuracy")["CwMed"] == ("-",)
    assert found["CwMed"] == ("-", "-", "-")
    write_report(report, tmp_path)


def test_fig_4_without_the_column_of_no_adversaries():
    report = fig4.fig4_report(results_of(fig4.fig4_grid(PLAN, ("noise",), (0.2,))))
    assert len(report.tables) == 3
    assert all(len(row) == 1 for title in ("noise: accuracy", "noise: by site") for row in cells(report, title).values())


@pytest.mark.parametrize("shares", [(0.0,), ()])
def test_fig_4_without_adversaries_shows_nothing_and_is_refused(shares):
    with pytest.raises(UsageError) as caught:
        fig4.fig4_grid(PLAN, ("noise",), shares)
    assert caught.value.hint


def test_without_adversaries_all_attacks_are_one_scenario():
    grid = fig4.fig4_grid(PLAN, ("noise", "zero", "ipm"), (0.0, 0.3))
    assert [change.label for change in grid.scenarios] == ["no liars", "noise 30 %", "zero 30 %", "ipm 30 %"]
    assert len(grid.configs()) == len(SEEDS) * len(fig4.FRAMEWORKS) * 4


def test_fig_4_asks_for_what_can_be_run(shipped):
    played = (name for name, named in ATTACKS.items() if not named.attack.asks)
    check_asked(fig4.fig4_grid(shipped, tuple(played)))


# -- trials -------------------------------------------------------------------------------------------------------------------

TRIALS = {
    "validation": (validation.validation_grid, validation.validation_report, validation.REFERENCE),
    "sweep": (sweep.sweep_grid, sweep.sweep_report, sweep.REFERENCE),
}


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_of_rules(tmp_path, name):
    grid_of, report_of, reference = TRIALS[name]
    grid = grid_of(PLAN)
    report = report_of(results_of(grid))
    variants, scenarios = [v.label for v in grid.variants], [s.label for s in grid.scenarios]

    def row(variant, cell):
        return tuple(cell(variant, scenario) if grid.wanted(variant, scenario) else "-" for scenario in scenarios)

    accuracy, seats, honest = (
        cells(report, "Accuracy"),
        cells(report, "more than f seats"),
        cells(report, "Honest updates refused"),
    )
    assert list(accuracy) == list(seats) == list(honest) == variants
    assert cells(report, "by site") == {v: row(v, lambda v, scenario: by_site(grid, v, scenario)) for v in variants}
    for variant in variants:
        assert accuracy[variant] == row(variant, lambda v, scenario: mean(grid, v, scenario, 1))
        assert honest[variant] == row(variant, lambda _v, _scenario: "15.0")
        # of committees of six, adversaries hold 2, 3, 4 and 5 seats: more than f = 1 in every round, more than half in two of four
        assert seats[variant] == row(variant, lambda _v, scenario: "0 / 0" if scenario == "no liars" else "100 / 50")
    assert cells(report, "Difference") == {
        variant: row(variant, lambda v, scenario: paired(grid, v, reference, scenario))
        for variant in variants
        if variant != reference
    }
    assert report.rules_version == PLAN.base.rules_version
    check_written(report, tmp_path, [name])


@pytest.mark.parametrize("name", TRIALS)
def test_every_variant_of_a_trial_changes_something(name, shipped):
    """A variant that is the reference by another name would show that a rule does not matter."""
    grid_of, _, reference = TRIALS[name]
    check_asked(grid_of(shipped))
    grid = grid_of(Plan(shipped.scale, BASES[shipped.scale], SEEDS))
    assert reference in [variant.label for variant in grid.variants]
    configs = [grid.config(variant.label, "no liars", 0) for variant in grid.variants]
    found = {
        (one.params(), one.rules.norm_band, one.rules.disclosure, one.task_spec((TensorSpec("w", (1,), "F32"),)))
        for one in configs
    }
    assert len(found) == len({config.id for config in configs}) == len(grid.variants)


def test_every_rule_that_is_a_parameter_is_tried():
    """What no trial changes: sizes, which `sweep` has, and what only pay or judges that copy depend on."""
    changed = {name for change in validation.VARIANTS for name in change.rules}
    others = {"committee", "places", "small_community", "score_rows", "aggregation", "card_share", "sealed_cards"}
    assert changed - {"committee"} == {*Rules.__struct_fields__} - others


def test_every_trial_stands_in_the_document_in_their_order():
    text = (Path(__file__).parents[3] / "docs" / "lab.md").read_text()
    rows = text.partition("| trial | what is changed | tried under |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `([^`]+)` \|", rows, re.MULTILINE)) == validation.TRIALS


def test_a_rule_against_one_attack_is_tried_under_that():
    """Given each trial / Then its cells are those without liars, under flipped updates and under what it is there for."""
    grid = validation.validation_grid(PLAN)
    tried = {v.label: [s.label for s in grid.scenarios if grid.wanted(v.label, s.label)] for v in grid.variants}
    usual = [change.label for change in trials.SCENARIOS]
    assert tried["margin 0"] == tried["no reputations"] == usual
    assert tried["copies allowed"] == ["no liars", "sign flip 30 %", "copycats 30 %"]
    assert tried["repeated steps count"] == ["no liars", "sign flip 30 %", "noisy replay 30 %"]
    assert tried["canaries and doubts"] == ["no liars", "sign flip 30 %", "lazy judges 30 %"]
    assert tried[validation.REFERENCE] == [scenario.label for scenario in grid.scenarios]
    assert sum(map(len, tried.values())) == 103, "docs/lab.md says how long that takes"


@pytest.mark.parametrize("name", validation.TRIALS)
def test_a_trial_alone_is_its_variant_beside_the_reference(name):
    grid, whole = validation.validation_grid(PLAN, (name,)), validation.validation_grid(PLAN)
    assert [variant.label for variant in grid.variants] == [validation.REFERENCE, name]
    assert [s.label for s in grid.scenarios] == [s.label for s in whole.scenarios if whole.wanted(name, s.label)]
    assert set(grid.configs()) < set(whole.configs()), "what is run for all serves for one"


def test_two_trials_are_put_through_what_either_needs():
    grid = validation.validation_grid(PLAN, ("copies allowed", "odd offers refused from 2 on", "copies allowed"))
    assert [variant.label for variant in grid.variants] == [
        validation.REFERENCE,
        "copies allowed",
        "odd offers refused from 2 on",
    ]
    assert [s.label for s in grid.scenarios] == ["no liars", "sign flip 30 %", "label flip 30 %", "copycats 30 %"]


def test_the_reference_of_the_trials_are_the_defaults():
    grid = validation.validation_grid(PLAN)
    assert grid.config(validation.REFERENCE, "no liars", 0).rules == PLAN.base.rules
    swept = sweep.sweep_grid(PLAN).config(sweep.REFERENCE, "no liars", 0)
    assert swept.rules == PLAN.base.rules


def test_every_trial_is_put_through_the_same():
    assert validation.validation_grid(PLAN).scenarios == (*trials.SCENARIOS, *validation.MORE)
    assert {change.label for change in sweep.sweep_grid(PLAN).scenarios} < {change.label for change in trials.SCENARIOS}
    assert PAPER.committee != 0.2
    assert validation.validation_grid(PLAN).config("the paper's rules", "no liars", 0).rules.committee == 0.2


# -- the cost of consensus ----------------------------------------------------------------------------------------------------


def counted(trainers: int, rounds: int = 4) -> Counted:
    messages = {kind: 10.0 * rounds * (place + 1) for place, kind in enumerate(AGREEMENT)}
    return Counted(
        trainers,
        4,
        rounds,
        4.0 * trainers * rounds,
        messages | {"Offer": 3.0 * rounds, "Beacon": 7.0 * rounds},
        rounds * 3.0 * 2**20,
    )


def test_the_cost_of_consensus(tmp_path):
    report = cost_report([counted(2), counted(8, rounds=2)])
    assert cells(report, "A round of real daemons") == {
        "2 + 4": ("8", "8.0", "36", "150", "3", "7", "3.0"),
        "8 + 4": ("32", "32.0", "144", "150", "3", "7", "3.0"),
    }
    assert cells(report, "Computed")["100"] == ("1600", "384", "10000")
    assert report.data["counted"][1] == {
        "trainers": 8,
        "seats": 4,
        "rounds": 2,
        "validations": 32.0,
        "messages": {kind: 10.0 * (place + 1) for place, kind in enumerate(AGREEMENT)} | {"Offer": 3.0, "Beacon": 7.0},
        "payload_bytes": 3.0 * 2**20,
    }
    check_written(report, tmp_path, ["cost"])

"""The laboratory's commands about what is told of rows, and about watches: `bflc_cli.laboratory`."""

from pathlib import Path

import numpy as np
import pytest

from bflcd.lab.disclosures import HERE
from bflcd.lab.questions import listening as listening_module
from bflcd.lab.questions.interrogation import Learned
from bflcd.lab.questions.listening import Listened
from bflcd.setup.testnet import write_testnet
from tests.helpers.command_line import data_of, envelope, runner
from tests.helpers.testnets import DESCRIPTION, make_plan

TINY = ("--devices", "20", "--rounds", "2", "--seeds", "1", "--threads", "1")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runner(capsys)


@pytest.mark.slow
def test_questions_says_what_cards_tell(run):
    """Given six devices of which four judge, when askers ask one round, then nobody is known well; in eight exact cards
    tell all class counts.
    """
    ask = ("lab", "questions", "--devices", "6", "--seeds", "1", "--rule", "exact, unclipped", "--json")
    code, out, _ = run(*ask, "--rounds", "1")
    assert (code, envelope(out)["code"]) == (2, "bad_setting")
    found = data_of(run(*ask, "--rounds", "8"))["results"]
    assert found["rules"]["exact, unclipped"]["exact"] == 1.0
    assert found["public"]["exact"] < 0.5


def test_askers_are_read_from_testnets(run, tmp_path, monkeypatch):
    """Given two testnets, when the command is given both, then each one's nodes are listened to, and one report is written."""
    listened = []

    async def listen(nodes):
        listened.append(nodes)
        return Listened(7, 9, 0, (Learned(0, 10, np.array([0.5, 0.5]), np.array([1.0, 0.0]), {HERE: np.array([0.5, 0.5])}),), ())

    monkeypatch.setattr(listening_module, "listen", listen)
    plans = [make_plan(tmp_path / name, attack="asker", attackers=1) for name in ("one", "two")]
    for plan in plans:
        plan.output.mkdir()
        write_testnet(plan, DESCRIPTION)
    data = data_of(run("lab", "askers", *(str(plan.output) for plan in plans), "--json"))
    assert [sorted(path.parent.name for path in nodes.values()) for nodes in listened] == [["one"] * 6, ["two"] * 6]
    assert [one["rounds"] for one in data["results"]["testnets"]] == [7, 7]
    assert data["files"] == ["lab/askers/askers.md", "lab/askers/askers.json"]


def test_alarms_are_asked_of_every_scenario_and_seed(run, monkeypatch):
    """Given what is simulated replaced by nothing / Then the command asks for its seeds and rounds, and writes the report."""
    from bflcd.lab.experiments import alarms
    from bflcd.lab.watching.trail import Trail

    asked = []

    def follow(config, machine, progress):
        asked.append((config.attack, config.seed, config.rounds, machine.threads))
        return Trail(((),) * 31, (0.9,) * 31, (), (False,) * 31)

    monkeypatch.setattr(alarms, "follow", follow)
    monkeypatch.setattr(alarms, "watched", lambda trail: alarms.Found((), None, None))
    data = data_of(run("lab", "alarms", "--seeds", "2", "--first-seed", "5", "--rounds", "7", "--threads", "1", "--json"))
    assert len(asked) == data["runs"] == 2 * len(alarms.SCENARIOS)
    assert {(seed, rounds, threads) for _, seed, rounds, threads in asked} == {(5, 7, 1), (6, 7, 1)}
    assert data["files"] == ["lab/alarms/alarms.md", "lab/alarms/alarms.json"]


def test_updates_are_attacked_in_simulated_communities(run, monkeypatch):
    """Given a tiny community, plain and with a budget, when its updates are attacked, then the report has every attack of both."""
    monkeypatch.setattr("bflcd.lab.updates.inversion.TURNS", 3)
    monkeypatch.setattr("bflcd.lab.updates.references.REFERENCES", 2)
    words = ("--devices", "6", "--rounds", "2", "--seeds", "1", "--threads", "1", "--shadows", "16", "--records", "2")
    data = data_of(run("lab", "updates", *words, "--watched", "2", "--epsilon", "8", "--json"))
    names = {f"updates.{end}" for end in ("md", "json", "png", "svg")} | {"updates_rows.png", "updates_rows.svg"}
    assert {Path(path).name for path in data["files"]} == names
    assert list(data["results"]) == ["plain", "epsilon 8"]
    for found in data["results"].values():
        seen = ["an update, round 1", "an update, round 2", "updates of 2 rounds", "the last model"]
        assert list(found["membership"]) == seen
        assert all(0 <= one["auc"]["value"] <= 1 for one in found["membership"].values())
        assert set(found["labels"]) == {"round 1", "round 2"}
        assert [one["rows"] for one in found["rows"]][:4] == [1, 4, 8, 16]
    text = Path("lab/updates/updates.md").read_text()
    assert "Membership of records" in text
    assert "round 1, 1 row |" in text
    assert "nan" not in text


def test_updates_of_testnets_are_attacked_as_they_trained(run, tmp_path, monkeypatch):
    """Given two testnets, when the command is given both, then each one's scenes are attacked, and one report is written."""
    from tests.helpers.updates import ONE_STEP, published_scene

    read = []

    async def read_testnet(nodes, count, *, threads, seed):
        read.append((sorted({path.parent.name for path in nodes.values()}), count))
        return {"plain": published_scene(ONE_STEP, rounds=(0, 1))}

    monkeypatch.setattr("bflcd.lab.updates.chains.read_testnet", read_testnet)
    monkeypatch.setattr("bflcd.lab.updates.inversion.TURNS", 3)
    monkeypatch.setattr("bflcd.lab.report.FORMATS", ())
    plans = [make_plan(tmp_path / name) for name in ("one", "two")]
    for plan in plans:
        plan.output.mkdir()
        write_testnet(plan, DESCRIPTION)
    words = ("--shadows", "16", "--records", "3", "--watched", "2", "--json")
    data = data_of(run("lab", "updates", *(str(plan.output) for plan in plans), *words))
    assert read == [(["one"], 2), (["two"], 2)]
    found = data["results"]["plain"]
    assert found["communities"] == 2
    assert found["membership"]["updates of 2 rounds"]["held"] == 2 * 2 * 3
    assert [(one["round"], one["published"]) for one in found["rows"]] == [(1, True), (2, True)]


@pytest.mark.parametrize(
    ("words", "code", "name"),
    [
        (("--epsilon", "0"), 2, "usage"),
        (("--epsilon", "nan"), 2, "usage"),
        (("--epsilon", "5000"), 2, "bad_setting"),
        (("--shadows", "3"), 2, "usage"),
        (("--records", "0"), 2, "usage"),
        (("--watched", "0"), 2, "usage"),
        (("--devices", "4"), 2, "bad_setting"),
        (("nowhere",), 1, "no_testnet"),
        (("nowhere", "--epsilon", "1"), 2, "usage"),
    ],
)
def test_updates_refuses_what_makes_no_sense(run, words, code, name):
    found, out, _ = run("lab", "updates", "--seeds", "1", *words, "--json")
    answer = envelope(out)
    assert (found, answer["code"]) == (code, name)
    assert answer["hint"] or name == "usage"

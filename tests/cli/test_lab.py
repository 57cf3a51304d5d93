"""`bflc-cli lab`: every command in both forms, options on both sides of it, and how each of them fails."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bflc_cli.lab import SHARED, hoist_shared
from bflc_cli.main import app, hoist
from bflcd import pictures
from bflcd.lab import replay as replay_module
from bflcd.lab.replay import Replay
from bflcd.learn.attacks import ATTACKS
from tests.helpers.command_line import data_of, envelope, runner
from tests.helpers.learning import write_npz

TINY = ("--devices", "20", "--rounds", "2", "--seeds", "1", "--threads", "1")


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return runner(capsys)


# -- commands -----------------------------------------------------------------------------------------------------------------


def test_a_point_of_fig_3(run):
    data = data_of(run("lab", "fig3", "--p", "0.1", "--q", "0.4", "--json"))
    assert data == {
        "devices": 1000,
        "p": 0.1,
        "q": 0.4,
        "seats": 100,
        "liars": 400,
        "probability": pytest.approx(0.0124669, rel=1e-5),
        "beyond_faults": pytest.approx(0.92002, rel=1e-5),
    }
    code, out, err = run("lab", "fig3", "--p", "0.1", "--q", "0.4", "--of", "50")
    assert (code, err) == (0, "")
    assert "5 of 50 devices, 20 of them lie" in out
    assert "more than half" in out
    assert "\x1b" not in out
    assert list(Path().iterdir()) == [], "a point leaves nothing behind"


def test_the_whole_of_fig_3(run):
    data = data_of(run("--json", "lab", "fig3", "--of", "40", "--elections", "5", "--output", "out"))
    assert set(data) == {"name", "results", "files", "runs", "seconds"}
    assert (data["name"], data["runs"], len(data["results"]["points"])) == ("fig3", 0, 20)
    assert all(Path(path).exists() for path in data["files"])
    assert [Path(path).parent for path in data["files"]] == [Path("out/fig3")] * 4


def test_the_attacks(run):
    data = data_of(run("lab", "attacks", "--json"))
    assert data == {name: {"text": named.text, "strength": named.attack.strength} for name, named in ATTACKS.items()}
    code, out, _ = run("lab", "attacks")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == list(ATTACKS)


def test_a_simulation_of_ones_own(run):
    """Given settings on the command line, when it is run, then its file is where it says; and run again, it is only told again."""
    words = ("lab", "run", "--framework", "cwmed", "--set", "every=1", "--set", "attack=sign-flip", "--set", "liars=0.2", *TINY)
    data = data_of(run(*words, "--first-seed", "3", "--json"))
    assert set(data) == {"id", "file", "accuracy", "site_worst", "seconds"}
    assert Path(data["file"]) == Path("lab/run") / f"{data['id']}.jsonl"
    head, *rounds, end = [json.loads(line) for line in Path(data["file"]).read_text().splitlines()]
    named = {"framework": "cwmed", "devices": 20, "rounds": 2, "seed": 3, "every": 1, "attack": "sign-flip", "liars": 0.2}
    assert named.items() <= head["setting"].items()
    assert [record["round"] for record in rounds] == [1, 2]
    assert "end" in end
    before = Path(data["file"]).read_bytes()
    code, out, _ = run(*words, "--first-seed", "3")
    assert code == 0
    assert Path(data["file"]).read_bytes() == before
    lines = out.splitlines()
    assert lines[0].split() == ["round", "accuracy", "worst", "site", "loss"]
    assert [line.split()[0] for line in lines[1:3]] == ["1", "2"]
    assert data["file"] in lines[-1]


def test_table_1_and_what_it_leaves(run):
    """Given one seed and one share, when Table I is asked for, then the folder holds tables, figures and a file a simulation."""
    data = data_of(run("lab", "table1", "--active", "0.5", *TINY, "--output", "here", "--json"))
    drawn = ("table1", "table1_sites", "table1_curves")
    files = {"table1.md", "table1.json"} | {f"{name}.{form}" for name in drawn for form in ("png", "svg")}
    assert {Path(path).name for path in data["files"]} == files
    assert {path.name for path in Path("here/table1").iterdir()} == files | {"runs"}
    assert len(list(Path("here/table1/runs").iterdir())) == data["runs"] == 4
    assert set(data["results"]["accuracy"]) == {"Basic FL", "BFLC", "BFLC, the paper's rules", "Stand-alone"}
    assert all(0 <= accuracy <= 100 for row in data["results"]["accuracy"].values() for accuracy in row["50 %"])
    code, out, err = run("lab", "--output", "here", *TINY, "table1", "--active", "0.5")
    assert code == 0
    assert "Accuracy on test rows" in out
    assert "Stand-alone" in out
    assert "here/table1/table1.svg" in out
    assert "4 simulations in" in err


def test_fig_4_under_two_attacks(run):
    words = ("lab", "fig4", "--attack", "noise", "--attack", "backdoor", "--liars", "0.3", *TINY, "--json")
    data = data_of(run(*words))
    columns = {"no liars", "noise 30 %", "backdoor 30 %"}
    assert all(set(row) == columns for row in data["results"]["accuracy"].values())
    assert data["runs"] == 3 * 8
    text = Path("lab/fig4/fig4.md").read_text()
    assert "backdoor: triggered rows that the model turns" in text
    assert "nan" not in text


@pytest.mark.parametrize("name", ["validation", "sweep"])
def test_trials_ask_for_their_grid(run, monkeypatch, name):
    """What they report is shown by the experiments' own tests; here nobody simulates a hundred times."""
    from tests.helpers.lab_runs import pretended

    asked = []

    def run_all(settings, machine, folder, observer, *, jobs, cluster):
        asked.extend(settings)
        assert folder == Path("lab") / name / "runs"
        return [pretended(setting) for setting in settings]

    monkeypatch.setattr("bflcd.lab.runs.batch.run_all", run_all)
    monkeypatch.setattr("bflcd.lab.report.FORMATS", ())
    data = data_of(run("lab", name, "--seeds", "2", "--first-seed", "5", "--json"))
    assert data["runs"] == len(asked)
    assert {setting.seed for setting in asked} == {5, 6}
    assert Path(f"lab/{name}/{name}.md").exists()
    if name == "validation":
        asked.clear()
        alone = data_of(run("lab", name, "--seeds", "2", "--trial", "copies allowed", "--trial", "copies allowed", "--json"))
        assert (alone["runs"], len(asked)) == (12, 12), "two variants, three scenarios, two seeds"
        assert {setting.rules.copy_likeness for setting in asked} == {0.99, 0.0}


@pytest.mark.parametrize("name", ["", "defaults", "copies", "x" * 5000])
def test_a_trial_that_there_is_not_is_refused_with_those_that_there_are(run, name):
    code, out, _ = run("lab", "validation", "--trial", name, "--json")
    answer = envelope(out)
    assert (code, answer["code"]) == (2, "usage")
    assert "copies allowed" in answer["hint"]
    assert "no reputations" in answer["hint"]
    assert len(answer["message"]) < 300
    assert list(Path().iterdir()) == []


@pytest.fixture
def replayed(monkeypatch):
    """What a replay finds, and the directories that it was asked for."""

    class Replayed:
        found = Replay(6, 6, ())
        asked: tuple[list[Path], ...] = ()

        async def __call__(self, datadirs):
            self.asked += (list(datadirs),)
            return self.found

    made = Replayed()
    monkeypatch.setattr(replay_module, "replay", made)
    return made


def test_a_replay_that_agrees(run, replayed, tmp_path):
    """A testnet's directory stands for those of all its nodes."""
    nodes = [{"name": f"node{n}", "datadir": f"node{n}", "node_id": "ab" * 32} for n in range(2)]
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "testnet.json").write_text(
        json.dumps({"name": "t", "mode": "loopback", "chain_id": "ab" * 32, "task": "digits", "last_round": 6, "nodes": nodes})
    )
    assert data_of(run("lab", "replay", "net", "alone", "--json")) == {"rounds": 6, "models": 6, "differences": []}
    (tmp_path / "own").mkdir()
    code, out, _ = run("--datadir", "own", "lab", "replay")
    assert code == 0
    assert "6 decided again, all the same" in out
    assert replayed.asked == ([Path("net/node0"), Path("net/node1"), Path("alone")], [Path("own")])


def test_a_replay_that_differs_fails(run, replayed):
    replayed.found = Replay(6, 5, ("round 2: the weights: (1) here, (2) on the chain",))
    code, out, _ = run("lab", "replay", "net", "--json")
    answer = envelope(out)
    assert (code, answer["code"]) == (1, "differs")
    assert "round 2: the weights" in answer["message"]
    assert answer["data"] == {"rounds": 6, "models": 5, "differences": list(replayed.found.differences)}


# -- options on both sides ----------------------------------------------------------------------------------------------------


def test_the_shared_options_are_those_of_the_group():
    group = typer.main.get_command(app).commands["lab"]
    options = [name for parameter in group.params for name in parameter.opts if name != "--help"]
    assert sorted(SHARED) == sorted(options)
    for command in group.commands.values():
        own = {name for parameter in command.params for name in parameter.opts}
        assert not own & set(SHARED), "an option of a command would be taken from it"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lab", "table1", "--data", "f", "--active", "0.1"], ["lab", "--data", "f", "table1", "--active", "0.1"]),
        (["lab", "--data", "f", "table1"], ["lab", "--data", "f", "table1"]),
        (
            ["lab", "run", "--set", "a=b", "--seeds=2", "--set", "c=d"],
            ["lab", "--seeds=2", "run", "--set", "a=b", "--set", "c=d"],
        ),
        (["--timeout", "3", "lab", "fig3", "--output", "o"], ["--timeout", "3", "lab", "--output", "o", "fig3"]),
        (["--json", "lab", "fig3", "--rounds"], ["--json", "lab", "--rounds", "fig3"]),
        (["lab"], ["lab"]),
        (["status"], ["status"]),
        ([], []),
        (["export", "--output", "lab"], ["export", "--output", "lab"]),
        (["--datadir", "lab", "export", "--output", "m"], ["--datadir", "lab", "export", "--output", "m"]),
        (["testnet", "up", "lab", "--rounds", "3"], ["testnet", "up", "lab", "--rounds", "3"]),
        (["--datadir", "lab", "lab", "replay", "--output", "o"], ["--datadir", "lab", "lab", "--output", "o", "replay"]),
        (["--datadir=lab", "lab", "replay", "--output", "o"], ["--datadir=lab", "lab", "--output", "o", "replay"]),
    ],
)
def test_shared_options_may_stand_behind_the_command(words, expected):
    """And nothing happens to another command, whatever it is called with: a data directory may be named `lab`."""
    assert hoist_shared(words) == expected
    assert hoist_shared(hoist_shared(words)) == expected


@pytest.mark.parametrize("words", [("--rounds", "1", "--devices", "12"), ("--rounds=1", "--devices=12")])
def test_on_both_sides_they_mean_the_same(run, words):
    settings = ("--set", "framework=fedavg", "--set", "active=0.5", "--threads", "1")
    before = data_of(run("lab", *words, "run", *settings, "--json"))
    behind = data_of(run("lab", "run", *settings, *words, "--json"))
    assert before["id"] == behind["id"]
    assert hoist(["lab", "run", "--json"]) == ["--json", "lab", "run"]


# -- refusals -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["table1", "--scale", "huge"],
        ["table1", "--device", "tpu"],
        ["table1", "--precision", "float64"],
        ["table1", "--active", "7"],
        ["table1", "--active", "0"],
        ["table1", "--seeds", "0"],
        ["table1", "--stack", "0"],
        ["table1", "--rounds", "0"],
        ["table1", "--devices", "1"],
        ["table1", "--devices", "100000"],
        ["fig4", "--attack", "nonsense"],
        ["fig4", "--liars", "2"],
        ["fig4", "--liars", "0"],
        ["fig3", "--p", "0.1"],
        ["fig3", "--q", "0.1"],
        ["fig3", "--p", "0", "--q", "0.1"],
        ["fig3", "--p", "0.1", "--q", "1.5"],
        ["run", "--set", "rounds"],
        ["run", "--set", "nonsense=1"],
        ["run", "--set", "rounds=many"],
        ["run", "--set", "attack=nonsense"],
        ["run", "--set", "liars=0.3"],
        ["run", "--framework", "?"],
        ["run", "--nonsense"],
        ["consensus-cost", "--nodes", "4"],
        ["replay"],
        ["nonsense"],
    ],
    ids=" ".join,
)
def test_words_that_make_no_sense_end_with_2_and_a_hint(run, monkeypatch, words):
    monkeypatch.delenv("BFLCD_DATADIR", raising=False)
    code, out, _ = run("lab", *words, "--json")
    answer = envelope(out)
    assert (code, answer["status"]) == (2, "error")
    assert answer["message"]
    assert answer["hint"]
    code, out, err = run("lab", *words)
    assert (code, out) == (2, "")
    assert "hint:" in err
    assert "Traceback" not in err
    assert list(Path().iterdir()) == [], "nothing was begun"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["table1", "--data", "absent.npz"], "missing_data"),
        (["run", "--data", "broken.npz"], "bad_data"),
        (["run", "--device", "cuda"], "bad_device"),
        (["run", "--precision", "tf32"], "bad_device"),
        (["table1", "--device", "cuda"], "bad_device"),
        (["run", "--devices", "1700", "--set", "active=0.5"], "bad_data"),
        (["run", "--output", "file", *TINY, "--set", "active=0.5"], "machine_error"),
        (["table1", "--output", "file", *TINY, "--active", "0.5"], "machine_error"),
        (["fig3", "--output", "file", "--of", "10", "--elections", "1"], "bad_path"),
        (["replay", "absent"], "no_store"),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, list) else value,
)
def test_what_fails_ends_with_1_and_a_hint(run, monkeypatch, tmp_path, words, code):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "broken.npz").write_bytes(b"no archive")
    (tmp_path / "file").write_text("here")
    ended, out, _ = run("lab", *words, "--json")
    answer = envelope(out)
    assert (ended, answer["code"]) == (1, code)
    assert answer["hint"]


def test_a_network_that_there_is_not(run, tmp_path):
    write_npz(tmp_path / "d.npz", rows=120, writers=12)
    code, out, _ = run("lab", "run", "--data", "d.npz", "--model", "resnet", "--set", "active=0.9", "--json")
    answer = envelope(out)
    assert (code, answer["code"]) == (1, "bad_option")
    assert "alexnet" in answer["hint"]


@pytest.mark.parametrize(
    "words",
    [["table1", *TINY], ["fig3"], ["fig4", *TINY], ["validation", *TINY], ["sweep", *TINY], ["consensus-cost", "--nodes", "5"]],
    ids=lambda words: words[0],
)
def test_a_missing_matplotlib_is_told_before_the_work_begins(run, monkeypatch, words):
    """Hours of simulation whose figures can't be drawn would be lost time: nothing is simulated, elected or started."""
    genuine = importlib.util.find_spec
    monkeypatch.setattr(pictures, "find_spec", lambda name, *rest: None if name == "matplotlib" else genuine(name, *rest))

    def begun(*_, **__):
        raise AssertionError("the work began")

    for place in ("bflcd.lab.runs.batch.run_all", "bflcd.lab.experiments.fig3.fig3_report", "bflc_cli.lab_cost.count_daemons"):
        monkeypatch.setattr(place, begun)
    code, out, _ = run("lab", *words, "--json")
    answer = envelope(out)
    assert (code, answer["code"]) == (1, "no_matplotlib")
    assert "pip install" in answer["hint"]
    assert list(Path().iterdir()) == []


def test_without_matplotlib_a_point_and_a_run_are_still_to_be_had(run, monkeypatch):
    genuine = importlib.util.find_spec
    monkeypatch.setattr(pictures, "find_spec", lambda name, *rest: None if name == "matplotlib" else genuine(name, *rest))
    data_of(run("lab", "fig3", "--p", "0.1", "--q", "0.2", "--json"))
    data_of(run("lab", "run", "--set", "active=0.5", *TINY, "--json"))


@pytest.mark.parametrize("module", ["bflc_cli.main", "bflc_cli.lab", "bflcd.learn.attacks"])
def test_the_command_is_imported_without_torch(module):
    """Every other command of bflc-cli would wait for it."""
    code = f"import sys, {module}; print(sorted({{'torch', 'matplotlib', 'scipy', 'sklearn', 'bflcd.lab'}} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONPATH": f"{Path(__file__).parents[2]}:{Path(__file__).parents[2] / 'cli'}"},
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr


def test_help_names_every_command(run):
    code, out, _ = run("lab", "--help")
    assert code == 0
    for name in (
        "table1",
        "fig3",
        "fig4",
        "consensus-cost",
        "validation",
        "sweep",
        "alarms",
        "questions",
        "askers",
        "updates",
        "replay",
        "attacks",
        "run",
    ):
        assert name in out

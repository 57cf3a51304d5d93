"""Results on disk: lines of JSON, a checkpoint beside them, and files that are none of ours."""

import io
import json

import numpy as np
import pytest

from bflcd.errors import MachineError, OperatorError
from bflcd.lab.runs.records import Run, RunFiles, describe
from bflcd.lab.runs.runner import run
from bflcd.lab.simulation import Machine, Simulation
from bflcd.version import __version__
from tests.helpers.lab import tiny

MACHINE = Machine("cpu", threads=1)
SETTING = tiny(rounds=3, every=2)
LINES, CHECKPOINT = f"{SETTING.id}.jsonl", f"{SETTING.id}.npz"


def strict(text):
    """Lines of JSON as everybody reads it: NaN is none."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


@pytest.fixture
def begun(tmp_path):
    """A run that was kept after its first round and killed after its second."""
    simulation, files = Simulation(SETTING, MACHINE), RunFiles(tmp_path, SETTING)
    files.begin(simulation, MACHINE)
    files.append(simulation.advance())
    files.checkpoint(simulation)
    files.append(simulation.advance())
    return tmp_path


def facts(found: Run):
    return [{key: value for key, value in record.items() if key != "seconds"} for record in found.rounds]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return facts(run(SETTING, MACHINE, folder))


def test_a_finished_run_is_lines_of_json_and_no_checkpoint(tmp_path):
    found = run(SETTING, MACHINE, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [LINES]
    head, *rounds, end = strict((tmp_path / LINES).read_text())
    assert head["setting"]["rounds"] == 3
    assert head["setting"]["rules"]["score_damping"] == 4
    assert head["machine"] == describe(MACHINE) == found.machine
    assert head["version"] == __version__
    assert head["rules_version"] == SETTING.rules_version
    assert tuple(rounds) == found.rounds
    assert set(end) == {"end"}
    assert end["end"]["seconds"] >= 0
    assert found.config == SETTING
    assert RunFiles(tmp_path, SETTING).finished() == found


def test_the_machine_is_described():
    described = describe(MACHINE)
    assert (described["device"], described["precision"]) == ("cpu", "float32")
    assert described["name"]
    assert described["torch"]
    assert described["cores"] >= 1


def test_nothing_there_is_not_finished(tmp_path):
    assert RunFiles(tmp_path, SETTING).finished() is None


def test_lines_after_the_checkpoint_are_cut_off(begun, whole):
    assert RunFiles(begun, SETTING).finished() is None
    assert len(strict((begun / LINES).read_text())) == 3
    simulation = Simulation(SETTING, MACHINE)
    done = RunFiles(begun, SETTING).begin(simulation, MACHINE)
    assert [record["round"] for record in done] == [1]
    assert simulation.round == 1
    assert len(strict((begun / LINES).read_text())) == 2
    assert facts(run(SETTING, MACHINE, begun)) == whole
    assert not (begun / CHECKPOINT).exists()


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_last_line_that_a_kill_cut_off_is_left_out(begun, whole, cut):
    path = begun / LINES
    path.write_bytes(path.read_bytes()[:-cut])
    assert RunFiles(begun, SETTING).finished() is None
    assert facts(run(SETTING, MACHINE, begun)) == whole
    strict(path.read_text())


def test_an_end_that_was_cut_off_is_no_end(tmp_path, whole):
    run(SETTING, MACHINE, tmp_path)
    path = tmp_path / LINES
    path.write_bytes(path.read_bytes()[:-3])
    assert RunFiles(tmp_path, SETTING).finished() is None
    assert facts(run(SETTING, MACHINE, tmp_path)) == whole


@pytest.mark.parametrize("lost", [LINES, CHECKPOINT])
def test_with_one_of_the_two_files_gone_it_begins_anew(begun, whole, lost):
    (begun / lost).unlink()
    assert facts(run(SETTING, MACHINE, begun)) == whole


def test_a_checkpoint_that_was_being_written_is_no_checkpoint(begun, whole):
    """Given a half of the next checkpoint beside the last, when it goes on, then from the last."""
    (begun / f"{SETTING.id}.npz.new").write_bytes(b"PK\x03\x04 half")
    assert facts(run(SETTING, MACHINE, begun)) == whole


@pytest.mark.parametrize(
    "content",
    [
        b"no json\n",
        b'{"setting": 1}\nhalf a {\n',
        b"\xff\xfe\x00\n",
        b"7\n",
        b"[1]\n",
        b"null\n",
        b'{"foo": 1}\n',
        b'{"foo": 1}\n{"end": {}}\n',
    ],
)
def test_a_file_that_is_none_of_ours_is_left_alone(tmp_path, content):
    path = tmp_path / LINES
    path.write_bytes(content)
    with pytest.raises(OperatorError, match="no record of a simulation") as caught:
        run(SETTING, MACHINE, tmp_path)
    assert caught.value.code == "bad_results"
    assert "--output" in caught.value.hint
    assert path.read_bytes() == content


def foreign(path, **arrays):
    np.savez(path, **arrays)


def array_file():
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    return stream.getvalue()


@pytest.mark.parametrize(
    "write",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"garbage"),
        lambda path: path.write_bytes(path.read_bytes()[:-200]),
        lambda path: path.write_bytes(path.read_bytes()[:4000].ljust(len(path.read_bytes()), b"\0")),
        lambda path: foreign(path, images=np.zeros(3)),
        lambda path: foreign(path, model=np.zeros(3), moved=np.zeros(3)),
        lambda path: foreign(path, model=np.zeros(3), moved=np.zeros(3), memory=np.zeros(3, np.uint8)),
        lambda path: foreign(path, model=np.array([{}]), moved=np.zeros(3), memory=np.zeros(3, np.uint8)),
        lambda path: foreign(
            path, model=np.zeros(3, np.float32), moved=np.zeros(3, np.float32), memory=np.frombuffer(b'{"round":1,"awake":true,"chain":null}', np.uint8)
        ),
        lambda path: path.write_bytes(array_file()),
    ],
    ids=["empty", "garbage", "cut off", "half zeros", "of a data set", "no memory", "no words", "objects", "another model", "an array"],
)  # fmt: skip
def test_a_checkpoint_that_is_none_is_named(begun, write):
    write(begun / CHECKPOINT)
    lines = (begun / LINES).read_bytes()
    with pytest.raises(OperatorError, match="no checkpoint of this simulation") as caught:
        run(SETTING, MACHINE, begun)
    assert caught.value.code == "bad_results"
    assert "remove it" in caught.value.hint
    assert (begun / LINES).read_bytes() == lines


def test_a_disk_that_does_not_take_it_is_the_machines_fault(tmp_path, monkeypatch):
    simulation, files = Simulation(SETTING, MACHINE), RunFiles(tmp_path / "absent", SETTING)
    for write in (
        lambda: files.append({}),
        lambda: files.begin(simulation, MACHINE),
        lambda: files.checkpoint(simulation),
        lambda: files.end({}),
    ):
        with pytest.raises(MachineError, match="cannot be written") as caught:
            write()
        assert caught.value.hint

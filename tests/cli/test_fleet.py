"""Daemons as children of `testnet up`: real processes, none of which may be left."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
import pytest

from bflc_cli import fleet, testnet
from bflc_cli.fleet import Daemon, Fleet, Stopped, signals_stop
from bflc_cli.main import main
from bflc_cli.session import CommandError
from bflcd.errors import MachineError
from bflcd.setup.overview import NodeEntry, Overview
from bflcd.store.lock import DirectoryLock
from tests.helpers.daemons import community

ROOT = Path(__file__).parents[2]

TASK_SECONDS = 150.0
"""What a real run may take on a machine that has much else to do."""


def overview_of(*names: str, last_round: int = 2) -> Overview:
    entries = [NodeEntry(name=name, datadir=name, node_id="ab" * 32) for name in names]
    return Overview(name="testnet", mode="loopback", chain_id="ab" * 32, task="digits", last_round=last_round, nodes=entries)


def cli(*words: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}"}
    return subprocess.Popen(
        [sys.executable, "-m", "bflc_cli.main", *words],
        cwd=ROOT,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def processes_of(directory: Path) -> list[psutil.Process]:
    """Daemons whose command line names the directory, and their children."""
    found = []
    for process in psutil.process_iter():
        try:
            if any(str(directory) in word for word in process.cmdline()) and "bflcd" in process.cmdline():
                found += [process, *process.children()]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            continue
    return found


def child(script: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", script], process_group=0, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.stdout.close()
    return process


OBEYS = "import time; print('ready', flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {OBEYS}"
WITH_CHILD = (
    f"import signal, subprocess, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    f"c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    f"open('{{path}}', 'w').write(str(c.pid)); {OBEYS}"
)


def test_stopping_kills_whoever_does_not_obey_and_their_children(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "STOP_SECONDS", 0.5)
    made = Fleet(tmp_path, overview_of("good", "deaf", "parent"))
    scripts = (OBEYS, DEAF, WITH_CHILD.format(path=tmp_path / "pid"))
    for daemon, script in zip(made.daemons, scripts, strict=True):
        daemon.process = child(script)
    grandchild = psutil.Process(int((tmp_path / "pid").read_text()))
    begun = time.monotonic()
    made.stop()
    assert time.monotonic() - begun < 3
    assert made.killed == ["deaf", "parent"]
    assert [daemon.code for daemon in made.daemons] == [-signal.SIGTERM, -signal.SIGKILL, -signal.SIGKILL]
    psutil.wait_procs([grandchild], timeout=5)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE
    made.stop()


def test_a_second_signal_does_not_cut_the_stop_short(tmp_path, monkeypatch):
    monkeypatch.setattr(fleet, "STOP_SECONDS", 0.6)
    made = Fleet(tmp_path, overview_of("deaf"))
    made.daemons[0].process = child(DEAF)
    nudge = subprocess.Popen([sys.executable, "-c", f"import os, time; time.sleep(0.2); os.kill({os.getpid()}, 2)"])
    with signals_stop():
        made.stop()
    nudge.wait()
    assert made.daemons[0].code == -signal.SIGKILL


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_raise_inside_and_are_as_before_outside(number):
    before = signal.getsignal(number)
    with pytest.raises(Stopped, match=number.name), signals_stop():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


@pytest.mark.parametrize(("code", "text"), [(None, "runs"), (5, "exit code 5"), (-9, "killed by SIGKILL")])
def test_an_ending_in_words(tmp_path, code, text):
    daemon = Daemon(NodeEntry(name="n", datadir="n", node_id=""), tmp_path)
    daemon.code = code
    assert daemon.ending == text
    assert daemon.last_lines() == []


def test_daemons_that_cannot_start_are_reported_with_their_last_lines(tmp_path, capsys):
    """Given data directories that join nothing / When up / Then each daemon's exit code and message are told, and the run fails."""
    (tmp_path / "testnet.json").write_bytes(msgspec.json.encode(overview_of("a", "b")))
    for name in ("a", "b"):
        (tmp_path / name).mkdir(mode=0o700)
    assert main(["--json", "testnet", "up", str(tmp_path), "--timeout", str(TASK_SECONDS)]) == 1
    captured = capsys.readouterr()
    answer = json.loads(captured.out)
    assert answer["code"] == "daemon_died"
    assert "a ended: exit code 1" in answer["message"]
    assert [node["exit_code"] for node in answer["data"]["nodes"]] == [1, 1]
    assert "nothing to join" in captured.err


def test_a_picture_that_cannot_be_written_costs_no_other_result(tmp_path, monkeypatch, capsys):
    """Given a disk that is full at the end of a run / Then all else that it came to is told, and that the picture is not there."""
    pytest.importorskip("matplotlib")

    def full(*_):
        raise MachineError("curve.png: cannot be written: No space left on device", code="disk_full")

    monkeypatch.setattr(testnet, "write_picture", full)
    (tmp_path / "testnet.json").write_bytes(msgspec.json.encode(overview_of("a")))
    (tmp_path / "a").mkdir(mode=0o700)
    assert main(["--json", "testnet", "up", str(tmp_path), "--timeout", str(TASK_SECONDS), "--plot", str(tmp_path / "x")]) == 1
    captured = capsys.readouterr()
    assert "curve.png: cannot be written" in captured.err
    assert [node["exit_code"] for node in json.loads(captured.out)["data"]["nodes"]] == [1]


def test_a_picture_that_will_have_no_place_is_refused_before_a_daemon_starts(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    (tmp_path / "testnet.json").write_bytes(msgspec.json.encode(overview_of("a")))
    (tmp_path / "a").mkdir(mode=0o700)
    assert main(["testnet", "up", str(tmp_path), "--plot", str(tmp_path / "nowhere" / "x.png")]) == 1
    assert "x.png: cannot be written" in capsys.readouterr().err
    assert list((tmp_path / "a").iterdir()) == []


def test_a_missing_data_directory(tmp_path, capsys):
    (tmp_path / "testnet.json").write_bytes(msgspec.json.encode(overview_of("a")))
    assert main(["--json", "testnet", "up", str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "bad_path"


@pytest.mark.slow
def test_a_real_community_to_its_last_round(tmp_path):
    """Given a testnet of five / When up / Then all agree, every chain verifies, and nothing is left running."""
    with community(tmp_path / "net", 5, "--rounds", "2", task="digits"):
        plot = tmp_path / "curve.png"
        process = cli("testnet", "up", str(tmp_path / "net"), "--json", "--timeout", str(TASK_SECONDS), "--plot", str(plot))
        out, err = process.communicate(timeout=2 * TASK_SECONDS)
        assert process.returncode == 0, err
        data = json.loads(out)["data"]
        assert (data["agree"], data["verified"], data["rounds"]) == (True, True, 2)
        assert 0 <= data["test_accuracy"] <= 1
        assert [node["exit_code"] for node in data["nodes"]] == [0] * 5
        assert plot.read_bytes().startswith(b"\x89PNG")
        assert err.count("model ") == 2
        assert processes_of(tmp_path) == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_process_survives_the_command(tmp_path, number):
    with community(tmp_path / "net", 5, "--rounds", "100000", task="digits"):
        process = cli("testnet", "up", str(tmp_path / "net"))
        deadline = time.monotonic() + TASK_SECONDS
        while not (tmp_path / "net" / "node4" / "api.json").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.1)
        process.send_signal(number)
        process.communicate(timeout=30)
        assert process.returncode == (-9 if number == signal.SIGKILL else 1)
        psutil.wait_procs(processes_of(tmp_path), timeout=30)
        assert processes_of(tmp_path) == []


def prepared(directory: Path, *names: str) -> Fleet:
    """A testnet whose nodes have what a running daemon relies on."""
    for name in names:
        (directory / name).mkdir()
        (directory / name / "api.json").write_text("{}")
        (directory / name / fleet.CONSOLE_FILE).write_text("what it said")
    return Fleet(directory, overview_of(*names))


def assert_untouched(made: Fleet) -> None:
    assert [daemon.process for daemon in made.daemons] == [None] * len(made.daemons)
    for daemon in made.daemons:
        assert (daemon.datadir / "api.json").exists()
        assert (daemon.datadir / fleet.CONSOLE_FILE).read_text() == "what it said"


def test_a_testnet_that_runs_is_not_touched_by_a_second_command(tmp_path):
    made = prepared(tmp_path, "node0")
    with DirectoryLock(tmp_path), pytest.raises(CommandError, match="run by another command") as refused:
        made.__enter__()
    assert (refused.value.code, made.lock) == ("locked", None)
    assert_untouched(made)


def test_a_node_that_runs_by_itself_keeps_the_others_from_being_started(tmp_path):
    made = prepared(tmp_path, "node0", "node1")
    with DirectoryLock(tmp_path / "node1"):
        with pytest.raises(CommandError, match=f"node1 runs already: .* in use by process {os.getpid()}"):
            made.__enter__()
        with pytest.raises(CommandError, match="node1 runs already"):
            made.start(made.daemons[1])
    assert_untouched(made)
    DirectoryLock(tmp_path).release()


def test_a_daemon_imports_nothing_from_the_working_directory(tmp_path, monkeypatch):
    """Given files there that are named like modules / When a daemon is started / Then it ends by what is wrong with its directory."""
    made = prepared(tmp_path, "node0")
    for name in ("secrets", "random", "bflcd"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(77)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    made.start(made.daemons[0])
    assert made.daemons[0].process is not None
    made.daemons[0].process.wait(TASK_SECONDS)
    made.stop()
    assert made.daemons[0].code == 1
    assert "nothing to join" in "".join(made.daemons[0].last_lines())

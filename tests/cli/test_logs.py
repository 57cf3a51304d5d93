"""`logs`: of a daemon that runs or not, whatever stands there, over rotations."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bflc_cli.main import main
from tests.helpers.command_line import envelope, write_log


def test_logs(run, tmp_path, capsys):
    write_log(tmp_path, "one", "two", "three")
    assert main(["--datadir", str(tmp_path), "logs", "-n", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("node.app: ")[1] for line in lines] == ["two", "three"]
    assert "warning 01010101 r5 v0" in lines[0]
    assert main(["--datadir", str(tmp_path), "logs", "--json"]) == 0
    assert [line["message"] for line in envelope(capsys.readouterr().out)["data"]["lines"]] == ["one", "two", "three"]
    code, out, _ = run("logs", "--json")
    assert (code, envelope(out)["code"]) == (1, "no_log")


@pytest.mark.parametrize(
    "line",
    [
        '{"message": NaN}',
        '{"time": "0001-01-01T00:00:00+14:00", "message": "early"}',
        '{"time": "9999-12-31T23:59:59-14:00", "message": "late"}',
        "[" * 100_000,
        '{"message": ' + "9" * 5000 + "}",
        '["no", "object"]',
        '{"round": {"a": 1}, "level": [], "logger": null, "exception": 7}',
    ],
)
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_logs_show_whatever_stands_there(tmp_path, capsys, monkeypatch, line, flags):
    monkeypatch.setenv("TZ", "America/New_York")
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "bflcd.log").write_text(line + "\n")
    assert main(["--datadir", str(tmp_path), *flags, "logs"]) == 0
    assert capsys.readouterr().out.strip()


def test_logs_go_on_where_the_rotated_file_ends(tmp_path, capsys):
    path = write_log(tmp_path, "old")
    path.rename(path.with_name("bflcd.log.1"))
    write_log(tmp_path, "new")
    main(["--datadir", str(tmp_path), "--json", "logs"])
    assert [line["message"] for line in envelope(capsys.readouterr().out)["data"]["lines"]] == ["old", "new"]


def test_logs_of_an_emptied_file_say_so(tmp_path, capsys):
    path = write_log(tmp_path)
    assert main(["--datadir", str(tmp_path), "logs"]) == 0
    assert capsys.readouterr().err.startswith(f"{path} is empty: it was rotated or emptied from outside")


def test_logs_follow_a_file_that_is_moved_emptied_or_removed_until_interrupted(tmp_path):
    path = write_log(tmp_path, "first")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it, as would its child
    command = [sys.executable, "-m", "bflc_cli.main", "--datadir", str(tmp_path), "logs", "-f", "--json"]
    process = subprocess.Popen(command, **pipes())
    signal.signal(signal.SIGINT, before)
    try:
        assert json.loads(process.stdout.readline())["data"]["message"] == "first"
        path.rename(path.with_name("bflcd.log.1"))
        write_log(tmp_path, "second")
        assert json.loads(process.stdout.readline())["data"]["message"] == "second"
        os.truncate(path, 0)
        write_log(tmp_path, "x")
        assert json.loads(process.stdout.readline())["data"]["message"] == "x"
        shutil.rmtree(path.parent)
        write_log(tmp_path, "after a removal")
        assert json.loads(process.stdout.readline())["data"]["message"] == "after a removal"
        process.send_signal(2)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def pipes() -> dict[str, object]:
    root = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / 'cli'}"}
    return {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env}

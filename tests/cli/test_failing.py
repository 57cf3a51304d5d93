"""How commands fail: bugs, words that make no sense, no daemon, one that others may not ask, and one that is waited for."""

import logging
import os
import threading
import time

import pytest

from bflc_cli import client
from bflc_cli.main import main
from bflcd.api.place import listen_at
from bflcd.api.token import ApiFile, write_api_file
from bflcd.errors import InvariantError, OperatorError
from tests.helpers.command_line import envelope
from tests.helpers.fake_node import IDS, ServedNode


@pytest.mark.parametrize(
    ("broken", "code", "name"),
    [(ZeroDivisionError("x"), 5, "bug"), (InvariantError("x"), 5, "bug")],
)
def test_the_daemons_own_bugs(run, served, broken, code, name):
    logging.getLogger("bflcd.api.envelope").disabled = True
    served.node.broken = broken
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client, "_open", lambda session: client.Api(served.datadir, 5))
            found, out, _ = run("--json", "status")
    finally:
        logging.getLogger("bflcd.api.envelope").disabled = False
    assert (found, envelope(out)["code"]) == (code, name)


def test_our_own_bug_ends_with_5_and_a_traceback(run, monkeypatch):
    monkeypatch.setattr("bflc_cli.queries.status_view", lambda _: 1 / 0)
    code, _, err = run("status")
    assert code == 5
    assert "Traceback" in err
    assert "please report it" in err


USAGE = [
    ["--json", "nonsense"],
    ["--json", "status", "--nonsense"],
    ["--json", "status", "extra"],
    ["--json", "prune", "--keep", "x"],
    ["--json", "prune", "--keep"],
    ["--json", "--wait", "x", "status"],
    ["--json", "history", "--count", "0"],
    ["--json", "top"],
    ["--json", "status"],
    ["--json"],
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_wrong_usage_is_json_too(words, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("BFLCD_DATADIR", raising=False)
    assert main(words) == 2
    answer = envelope(capsys.readouterr().out)
    assert (answer["schema"], answer["status"], answer["code"]) == (1, "error", "usage")
    assert set(answer) == {"schema", "status", "code", "message", "hint"}


def test_wrong_usage_for_people(capsys):
    assert main(["nonsense"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "nonsense" in captured.err


def test_no_daemon(tmp_path, capsys):
    assert main(["--datadir", str(tmp_path), "--json", "status"]) == 3
    answer = envelope(capsys.readouterr().out)
    assert answer["code"] == "no_daemon"
    assert "bflcd start" in answer["hint"]
    assert main(["--datadir", str(tmp_path / "absent"), "--json", "status"]) == 3
    assert envelope(capsys.readouterr().out)["code"] == "no_datadir"


def test_what_a_killed_daemon_left(tmp_path, capsys):
    listen_at(tmp_path / "api.sock").close()
    write_api_file(tmp_path, ApiFile(url="", token="t", pid=4_000_000))
    assert main(["--datadir", str(tmp_path), "--json", "status"]) == 3
    answer = envelope(capsys.readouterr().out)
    assert answer["code"] == "no_daemon"
    assert str(tmp_path / "api.sock") in answer["message"]


def test_a_file_that_is_none_of_ours(tmp_path, capsys):
    (tmp_path / "api.json").write_text("{}")
    assert main(["--datadir", str(tmp_path), "--json", "status"]) == 3
    assert envelope(capsys.readouterr().out)["code"] == "no_daemon"


def test_a_data_directory_with_a_long_path(tmp_path, capsys):
    datadir = tmp_path / ("d" * 120)
    datadir.mkdir()
    with ServedNode(datadir):
        assert main(["--datadir", str(datadir), "--json", "status"]) == 0
    assert envelope(capsys.readouterr().out)["data"]["node_id"] == IDS[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(tmp_path, capsys):
    write_api_file(tmp_path, ApiFile(url="http://127.0.0.1:1", token="t", pid=1)).chmod(0)
    assert main(["--datadir", str(tmp_path), "--json", "status"]) == 3
    assert envelope(capsys.readouterr().out)["code"] == "no_permission"


def test_no_permission_as_the_system_tells_it(tmp_path, capsys, monkeypatch):
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("bflcd.files.open_regular", refuse)
    assert main(["--datadir", str(tmp_path), "--json", "status"]) == 3
    assert envelope(capsys.readouterr().out)["code"] == "no_permission"


def test_wait_for_a_daemon_that_starts(tmp_path, capsys):
    datadir = tmp_path / "later"
    release = threading.Event()

    def serve() -> None:
        time.sleep(0.3)
        datadir.mkdir()
        with ServedNode(datadir):
            release.wait(20)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert main(["--datadir", str(datadir), "--wait", "15", "--json", "status"]) == 0
        assert envelope(capsys.readouterr().out)["data"]["round"] == 5
    finally:
        release.set()
        thread.join()


def test_wait_for_a_daemon_without_a_ledger_yet(served, capsys, monkeypatch):
    """Given a daemon whose API answers before its ledger is read, when told to wait, then the command waits; else it says so."""
    asked = []

    def members() -> list[object]:
        asked.append(1)
        if len(asked) < 4:
            raise OperatorError("this node is still starting: it has no ledger yet", hint="ask again", code="starting")
        return []

    monkeypatch.setattr(served.node, "members", members)
    assert main(["--datadir", str(served.datadir), "--json", "members"]) == 1
    assert envelope(capsys.readouterr().out)["code"] == "starting"
    assert main(["--datadir", str(served.datadir), "--wait", "15", "--json", "members"]) == 0
    assert len(asked) == 4


def test_wait_in_vain(tmp_path, capsys):
    assert main(["--datadir", str(tmp_path), "status", "--wait", "0.3", "--json"]) == 4
    assert envelope(capsys.readouterr().out)["code"] == "timeout"


def test_a_store_is_needed_where_no_daemon_runs(tmp_path, capsys):
    for words in (["prune", "--keep", "1"], ["export", "-o", str(tmp_path / "m")], ["verify"]):
        assert main(["--datadir", str(tmp_path), "--json", *words]) == 1
        assert envelope(capsys.readouterr().out)["code"] == "no_store"

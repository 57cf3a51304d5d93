"""Every command in both forms against a served node."""

import asyncio
import csv
import io
import json
import re
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest

from bflc_cli import client
from bflc_cli.main import hoist, main
from bflc_cli.offline import read_history
from bflc_cli.tables import CSV_COLUMNS
from bflc_cli.text import duration, size
from bflcd.api.routes import ROUTES
from bflcd.api.token import ApiFile, write_api_file
from bflcd.core.node_events import EventKind
from bflcd.crypto.hashing import root_of
from bflcd.limits import is_printable
from bflcd.store.sqlite import SqliteStore
from tests.helpers.chains import begin_chain, fill
from tests.helpers.command_line import envelope, write_log
from tests.helpers.fake_node import IDS, MODEL, ServedNode, status_of


def test_the_status_of_a_node_without_a_genesis_shows_nothing_of_a_chain(run, served) -> None:
    nothing = {"name": "", "chain_id": "", "task": "", "members": 0, "head_hash": "", "state_hash": "", "trusted_head": ""}
    served.node.current = status_of(**nothing, committee=[], leader="", phase="waiting for the genesis")
    code, out, _ = run("status")
    lines = [line.split(maxsplit=1) for line in out.splitlines() if not line.startswith(" ")]
    shown = {words[0]: words[1].strip() for words in lines}
    assert code == 0
    assert shown["community"] == "none yet"
    assert shown["node"].endswith("waiting for the genesis")
    assert not {"round", "height", "chain", "trusted", "committee", "accuracy", "last"} & shown.keys()


READING = {
    "status": (
        [
            "testnet, chain abababab",
            "trainer",
            "5 of 20",
            "87.50 % (model 4, on rows that the members train on), worst 25.00 % at 04040404",
        ],
        lambda d: d["node_id"] == IDS[0],
    ),
    "peers": (
        ["02020202", "0.4 ms", "/ip4/127.0.0.1/tcp/4001", "yes", "no: device"],
        lambda d: [p["node_id"] for p in d] == IDS[1:3],
    ),
    "round": (["collecting", "cards of 02020202", "+0.0120", "packed", "score"], lambda d: d["missing"] == [IDS[5]]),
    "committee": (["quorum 3, survives 1", "03030303  leader", "absent"], lambda d: len(d["members"]) == 4),
    "members": (
        [
            "01010101",
            "manager me",
            "punished",
            "retired",
            "87.5",
            "+3.25",
            "doubt 35 %, 2 harmful, low",
            "-0.12",
            "doubted until 39",
            "rests until 8, in debt",
            "from +1.50 on",
        ],
        lambda d: (
            [m["availability"] for m in d] == [0.875] * 8
            and [m["reputation"] for m in d[:3]] == [3_250, 1_000, -125]
            and [(m["rest_until"], m["sits_out_until"], m["doubt"]) for m in d[4:6]] == [(8, -1, 0.0), (-1, 39, 2.6)]
        ),
    ),
    "history": (
        ["50.00 %", "6/6", "25.00 % at 03030303"],
        lambda d: [(row["round"], row["worst_at"]) for row in d] == [(round_, [IDS[2]]) for round_ in range(1, 6)],
    ),
}


@pytest.mark.parametrize("command", READING)
def test_reading_commands_for_people(run, command):
    code, out, err = run(command)
    assert (code, err) == (0, "")
    for text in READING[command][0]:
        assert text in out
    assert "\x1b" not in out
    assert IDS[0] not in out


@pytest.mark.parametrize("command", READING)
def test_reading_commands_as_json(run, command):
    code, out, err = run(command, "--json")
    answer = envelope(out)
    assert (code, err) == (0, "")
    assert (answer["schema"], answer["status"]) == (1, "ok")
    assert READING[command][1](answer["data"])


def test_history_from_a_round(run):
    _, out, _ = run("--json", "history", "--from", "2", "--count", "2")
    assert [row["round"] for row in envelope(out)["data"]] == [2, 3]


def test_warnings_and_who_is_missing_are_shown(run, served):
    served.node.current = status_of(warnings=["alone"], waiting_for="a vote of 02020202", last_commit_age=None, accuracy=None)
    _, out, _ = run("status")
    assert "warning: alone" in out
    assert "a vote of 02020202" in out
    assert "none yet" in out


EVIL = "ward\x1b]0;owned\x07\x9b2J\u202etxt\n[red]all is well"
"""Steers a terminal, turns its words round, and forges a line of its own."""


@pytest.mark.parametrize("command", ["status", "top", "events", "logs"])
def test_words_of_others_steer_no_terminal(command, tmp_path, monkeypatch):
    """Given texts of others, in a status, an event, the log / When they are shown on a terminal / Then only rich's own codes are in it."""
    monkeypatch.setattr(sys, "stdout", out := Terminal())
    write_log(tmp_path, EVIL)
    with ServedNode(tmp_path) as served:
        served.node.current = status_of(name=EVIL, task=EVIL, warnings=[EVIL], waiting_for=EVIL)
        served.call(lambda: served.node.bus.publish(EventKind.PEER_UP, 1, EVIL))
        options = {"top": ["--once"], "events": ["--after", "0", "--count", "1"]}.get(command, [])
        assert main(["--datadir", str(tmp_path), command, *options]) == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())
    assert r"ward\x1b]0;owned\x07" in text
    assert [c for c in text if not is_printable(c) and c != "\n"] == []
    assert not any(line.startswith("[red]") for line in text.splitlines())


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_prune(run, served):
    code, out, _ = run("prune", "--keep", "2")
    assert code == 0
    assert "98304 bytes returned" in out
    assert "height 13" in out
    code, out, _ = run("prune", "--to", "13", "--dry-run", "--json")
    assert envelope(out)["data"]["freed"] == 0
    assert served.node.pruned == [(2, False), (4, True)]


@pytest.mark.parametrize(
    "words", [["prune"], ["prune", "--keep", "1", "--to", "2"], ["prune", "--to", "99999"], ["prune", "--keep", "0"]]
)
def test_prune_refuses_nonsense(run, served, words):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert "hint: " in err
    assert served.node.pruned == []


def test_prune_beyond_the_head_names_what_may_go(run, served):
    code, out, err = run("prune", "--to", "36")
    assert (code, out) == (2, "")
    assert "to must be a height of this chain, 0 to 35, not 36" in err
    assert served.node.pruned == []


def test_a_request_that_takes_too_long(run, monkeypatch):
    monkeypatch.setattr("bflc_cli.manage.PRUNE_SECONDS", 0.2)
    code, out, _ = run("--timeout", "0.2", "--json", "prune", "--keep", "13")
    assert code == 4
    assert envelope(out)["code"] == "timeout"


def test_export(run, tmp_path):
    path = tmp_path / "m.safetensors"
    code, out, _ = run("export", "--output", str(path), "--raw", "--json")
    data = envelope(out)["data"]
    assert code == 0
    assert path.read_bytes() == MODEL
    assert data["sha256"] == sha256(MODEL).hexdigest()
    assert data["round"] == 5
    code, _, err = run("export", "--output", str(path))
    assert code == 1
    assert "exists" in err
    assert run("export", "--output", str(path), "--force")[0] == 0
    assert [p.name for p in tmp_path.iterdir()] == ["m.safetensors"]
    code, out, _ = run("export", "--round", "1", "--output", str(tmp_path / "other"), "--json")
    assert (code, envelope(out)["code"]) == (1, "pruned")
    assert run("export", "--output", str(tmp_path))[0] == 1
    assert run("export", "--output", str(tmp_path / "no" / "folder"))[0] == 1


def test_export_names_the_file_after_the_round(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("export")[0] == 0
    assert (tmp_path / "model-5.safetensors").exists()


def test_an_exported_model_says_what_it_is(run, tmp_path):
    """Given an exported file / When it is opened with safetensors / Then it says chain, task, round and hash beside the same tensors."""
    safetensors = pytest.importorskip("safetensors")
    assert run("export", "--output", str(tmp_path / "m"))[0] == 0
    with safetensors.safe_open(tmp_path / "m", "numpy") as opened:
        assert opened.metadata() == {
            "format": "pt",
            "chain_id": "ab" * 32,
            "task": "digits",
            "round": "5",
            "height": "35",
            "root": root_of(MODEL).hex(),
            "block_hash": "cd" * 32,
        }
        assert opened.get_tensor("bias").tolist() == [1.0, 2.0, 3.0]


def test_history_as_csv(run):
    code, out, _ = run("history", "--csv", "-n", "2")
    names, *rows = csv.reader(out.splitlines())
    assert (code, names, len(rows)) == (0, list(CSV_COLUMNS), 2)
    last = dict(zip(names, rows[-1], strict=True))
    assert (last["accuracy"], last["worst"], last["worst_proven"]) == ("0.5", "0.25", "0.3125")
    assert run("--json", "history", "--csv")[0] == 2


async def test_history_of_a_stopped_node(tmp_path):
    """Given the directory of a node that has ended, or runs without its API file / Then rows are as a daemon gives them."""
    store, chain = await SqliteStore.open(tmp_path), begin_chain()
    await fill(store, chain, 4)
    rows = await read_history(tmp_path, None, 3)
    await store.close()
    assert [(row.round, row.packed, row.accuracy) for row in rows] == [(2, 2, 0.4), (3, 2, 0.4), (4, 2, 0.4)]
    assert await read_history(tmp_path, None, 3) == rows
    assert [row.round for row in await read_history(tmp_path, 1, 1)] == [1]
    assert await asyncio.to_thread(main, ["--datadir", str(tmp_path), "history", "--csv"]) == 0


def test_export_refuses_bytes_that_do_not_hash_to_the_root(run, tmp_path, monkeypatch):
    monkeypatch.setattr(client.Api, "model", lambda *_: (MODEL + b"x", {"round": 5, "height": 35, "root": root_of(MODEL).hex()}))
    code, out, _ = run("--json", "export", "-o", str(tmp_path / "m"))
    assert (code, envelope(out)["code"]) == (1, "damaged_blob")
    assert list(tmp_path.iterdir()) == []


def test_events(run, served):
    for round_ in (1, 2, 3):
        served.call(lambda r=round_: served.node.bus.publish(EventKind.COMMITTED, r, f"round {r} closed"))
    code, out, _ = run("events", "--after", "0", "-n", "3")
    assert code == 0
    assert [line.split()[3] for line in out.splitlines()] == ["committed"] * 3
    _, out, _ = run("events", "--after", "0", "-n", "2", "--json")
    assert [json.loads(line)["data"]["round"] for line in out.splitlines()] == [1, 2]


def test_certificates_of_the_environment_are_no_matter_of_a_socket(run, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/at/all")
    assert run("status")[0] == 0


def test_config_show(tmp_path, capsys, monkeypatch):
    (tmp_path / "config.toml").write_text('[store]\nmode = "pruned"\n')
    monkeypatch.setenv("BFLCD_STORE_KEEP", "7")
    assert main(["--datadir", str(tmp_path), "config", "show", "--json"]) == 0
    data = envelope(capsys.readouterr().out)["data"]
    assert data["store.mode"] == {"value": "pruned", "origin": str(tmp_path / "config.toml")}
    assert data["store.keep"] == {"value": 7, "origin": "environment variable BFLCD_STORE_KEEP"}
    assert data["api.listen"] == {"value": "", "origin": "default"}
    assert main(["--datadir", str(tmp_path), "config", "show"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("store.keep"))
    assert row.split(maxsplit=2)[1:] == ["7", "environment variable BFLCD_STORE_KEEP"]


def test_config_show_refuses_a_wrong_file(tmp_path, capsys):
    (tmp_path / "config.toml").write_text("[store]\nmode = 3\n")
    assert main(["--datadir", str(tmp_path), "--json", "config", "show"]) == 2
    assert envelope(capsys.readouterr().out)["code"] == "bad_config"


def test_stop_waits_for_the_process(tmp_path, capsys):
    """Given a daemon whose process ends after a while / When stop is called / Then it returns once the process is gone."""
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    told, over = process.stdin, threading.Event()

    def end() -> None:
        over.set()
        told.close()

    reaper, ending = threading.Thread(target=process.wait, daemon=True), threading.Timer(0.4, end)
    reaper.start()
    with ServedNode(tmp_path) as served:
        entry = client.read_api_file(tmp_path)
        write_api_file(tmp_path, ApiFile(url=entry.url, token=entry.token, pid=process.pid))
        ending.start()
        assert main(["--datadir", str(tmp_path), "stop"]) == 0
        assert over.is_set(), "it came back while the process still ran"
        assert served.node.stopped
    reaper.join()
    assert "has stopped" in capsys.readouterr().out


def test_stop_gives_up_at_the_timeout(run, served):
    code, out, _ = run("--timeout", "0.3", "--json", "stop")
    assert (code, envelope(out)["code"]) == (4, "timeout")
    assert served.node.stopped


def test_nothing_but_loopback_is_asked_through_a_proxy(run, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://192.0.2.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://192.0.2.1:9")
    assert run("status")[0] == 0


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["status", "--json"], ["--json", "status"]),
        (["prune", "--keep", "2", "--datadir", "d"], ["--datadir", "d", "prune", "--keep", "2"]),
        (["status", "--datadir=d", "--wait=3"], ["--datadir=d", "--wait=3", "status"]),
        (["testnet", "up", "--timeout", "3", "d"], ["testnet", "up", "--timeout", "3", "d"]),
        (["x", "--", "--json"], ["x", "--", "--json"]),
        (["status", "--wait"], ["--wait", "status"]),
    ],
)
def test_global_options_may_stand_anywhere(given, expected):
    assert hoist(given) == expected


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("bflc-cli ")
    assert main(["--help"]) == 0
    assert "testnet" in capsys.readouterr().out


def test_colour_only_on_a_terminal_and_never_with_no_color(monkeypatch):
    from bflc_cli.session import console_for

    class Terminal:
        encoding = "utf-8"

        def __init__(self) -> None:
            self.text = ""

        def isatty(self) -> bool:
            return True

        def write(self, text: str) -> int:
            self.text += text
            return len(text)

        def flush(self) -> None: ...

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    console_for(coloured).print("x", style="red")
    monkeypatch.setenv("NO_COLOR", "1")
    console_for(plain).print("x", style="red")
    assert "\x1b[31m" in coloured.text
    assert "\x1b[3" not in plain.text


def test_tables_are_not_cut_where_the_output_is_a_pipe(run):
    _, out, _ = run("peers")
    assert "…" not in out


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.44, "0.4 s"), (12.9, "12 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h"), (None, "-")],
)
def test_durations(value, text):
    assert duration(value) == text


def test_sizes():
    assert [size(v) for v in (0, 1023, 1024, 2**30 * 3)] == ["0 B", "1023 B", "1.0 KiB", "3.0 GiB"]


def test_the_control_command_asks_only_for_paths_that_are_served():
    sources = Path(client.__file__).parent.glob("*.py")
    asked = {path for source in sources for path in re.findall(r'"(/(?:v1/\w+|healthz|metrics))"', source.read_text())}
    assert len(asked) > 8
    assert asked <= {route.path for route in ROUTES}

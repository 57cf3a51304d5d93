"""Curves, `top` and the picture of a testnet, drawn to recorded consoles."""

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from bflc_cli.community import Community, live_view, plain_line, status_table
from bflc_cli.curve import curve
from bflc_cli.main import main
from bflc_cli.top import Frame, render
from bflcd.api.schema.chain import HistoryRow
from bflcd.setup.overview import NodeEntry, Overview
from tests.helpers.fake_node import IDS, FakeNode, ServedNode, history_row, status_of

ROOT = Path(__file__).parents[2]


def drawn(renderable: object, width: int = 100, height: int = 40) -> str:
    console = Console(record=True, width=width, height=height, file=io.StringIO(), force_terminal=True, color_system=None)
    console.print(renderable)
    return console.export_text()


def frame_of(history: list[HistoryRow] | None = None, **changes: object) -> Frame:
    node = FakeNode()
    rows = [history_row(r) for r in range(1, 6)] if history is None else history
    return Frame(status_of(**changes), node.round(), node.committee(), node.peers(), rows)


def test_top_shows_round_committee_offers_cards_scores_and_accuracy():
    text = drawn(render(frame_of(waiting_for="x"), Console(width=100)))
    for part in ("round 5 of 20", "collecting", "leader 03030303", "waiting for cards of 02020202", "2 peers"):
        assert part in text
    seat = next(line for line in text.splitlines() if line.startswith("02020202"))
    assert "card" in seat
    assert "P.." in seat
    assert "+0.0120 packed" in text
    assert "held" in text
    assert "accuracy on the members' rows: 50.00 % (model 4)" in text
    assert any(0x2800 < ord(c) <= 0x28FF for c in text)


def test_top_before_the_first_round_and_without_end():
    node = FakeNode()
    empty = msgspec.structs.replace(node.round(), offers=[], cards=[], last_decision=[])
    frame = Frame(status_of(last_round=0), empty, node.committee(), [], [])
    text = drawn(render(frame, Console(width=100)))
    assert "no offer yet" in text
    assert "accuracy on the members' rows" not in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_top_fits_any_width(width):
    text = drawn(render(frame_of(), Console(width=width)), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= max(width, 24)


def test_top_counts_the_nodes_that_do_not_fit():
    view = FakeNode().round()
    rows = [msgspec.structs.replace(view.last_decision[0], uploader=f"{i:064x}") for i in range(40)]
    frame = frame_of()
    frame.round = msgspec.structs.replace(view, last_decision=rows)
    assert "25 more" in drawn(render(frame, Console(width=100)))


def test_top_once(tmp_path, capsys):
    with ServedNode(tmp_path):
        assert main(["--datadir", str(tmp_path), "top", "--once"]) == 0
        assert "round 5 of 20" in capsys.readouterr().out
        assert main(["--datadir", str(tmp_path), "top"]) == 0
        assert "round 5 of 20" in capsys.readouterr().out


def read_screen(descriptor: int, until: str, seconds: float = 20.0) -> str:
    text, deadline = "", time.monotonic() + seconds
    while until not in text:
        assert time.monotonic() < deadline, text[-500:]
        if select.select([descriptor], [], [], 0.1)[0]:
            text += os.read(descriptor, 65536).decode(errors="replace")
    return text


def test_top_on_a_terminal_quits_on_q_and_restores_it(tmp_path):
    """Given a pseudo-terminal / When q is typed / Then top ends with 0, leaves the other screen and gives echo back."""
    import termios

    with ServedNode(tmp_path):
        ours, theirs = pty.openpty()
        before = termios.tcgetattr(theirs)
        env = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}", "TERM": "xterm", "COLUMNS": "90", "LINES": "30"}
        process = subprocess.Popen(
            [sys.executable, "-m", "bflc_cli.main", "--datadir", str(tmp_path), "top"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=env,
        )
        try:
            read_screen(ours, "collecting")
            os.write(ours, b"xq")
            read_screen(ours, "\x1b[?1049l")
            assert process.wait(10) == 0
            assert termios.tcgetattr(theirs) == before
        finally:
            process.kill()
            process.wait()
            os.close(ours)
            os.close(theirs)


@pytest.mark.parametrize(("width", "height"), [(24, 3), (60, 8), (100, 12), (5, 1)])
def test_a_curve_fits(width, height):
    lines = curve([(float(i), i / 10) for i in range(10)], width=width, height=height).splitlines()
    assert len(lines) == max(height, 3) + 1
    assert max(map(len, lines)) <= max(width, 24)
    assert lines[-1].split() == ["0", "9"]


def test_a_rising_curve_goes_from_bottom_left_to_top_right():
    lines = curve([(0.0, 0.0), (10.0, 1.0)], width=48, height=5, unicode=False).splitlines()
    assert lines[0].startswith("100.0")
    assert lines[4].startswith("  0.0")
    columns = [line.index("*") for line in lines[:5]]
    assert columns == sorted(columns, reverse=True)


def test_a_flat_curve_and_too_few_points():
    assert curve([], width=60, height=5) == ""
    assert curve([(0.0, 0.5)], width=60, height=5) == ""
    flat = curve([(0.0, 0.5), (1.0, 0.5)], width=60, height=5, unicode=False)
    assert sum("*" in line for line in flat.splitlines()) == 1


def overview_of(nodes: int, last_round: int = 20) -> Overview:
    entries = [NodeEntry(name=f"node{i}", datadir=f"node{i}", node_id=IDS[i % 8]) for i in range(nodes)]
    return Overview(name="testnet", mode="loopback", chain_id="ab" * 32, task="digits", last_round=last_round, nodes=entries)


def test_the_picture_of_a_testnet(tmp_path):
    community = Community(overview_of(3), tmp_path)
    text = drawn(live_view(community, Console(width=100)))
    assert "0 of 3 nodes" in text
    assert text.count("starting") == 3
    community.nodes[0].status, community.nodes[0].note = status_of(waiting_for=f"an offer of {IDS[1][:8]}"), ""
    community.nodes[1].status, community.nodes[1].note = status_of(round=4), "no answer"
    community.rows = [history_row(r) for r in range(1, 6)]
    text = drawn(live_view(community, Console(width=100)))
    assert "round 5 of 20 (the last node is at 0)" in text
    assert "an offer of node1" in text
    assert "no answer" in text
    assert "model 5: 6/6 packed" in text
    assert "accuracy on the members' rows, 50.00 % at model 4, 25.00 % where it is worst" in text
    assert "node0" in drawn(status_table(community.nodes))


def test_a_plain_line_a_round(tmp_path):
    line = plain_line(Community(overview_of(8), tmp_path), history_row(3))
    assert line == "model 3/20  accuracy before 30.00 %  packed 6/6  1.0 s  view 0  decided by node1 node2 node3 node4"


def test_many_nodes_show_the_slowest(tmp_path):
    community = Community(overview_of(30), tmp_path)
    for i, node in enumerate(community.nodes):
        node.status, node.note = status_of(round=30 - i), ""
    text = drawn(live_view(community, Console(width=100)))
    assert "node29" in text
    assert "node0 " not in text


def test_testnet_status(tmp_path, capsys):
    write_overview(tmp_path, overview_of(2))
    (tmp_path / "node0").mkdir()
    with ServedNode(tmp_path / "node0"):
        assert main(["testnet", "status", str(tmp_path), "--json"]) == 0
        data = json.loads(capsys.readouterr().out)["data"]
        assert data["running"] == 1
        assert data["nodes"]["node1"] is None
        assert data["nodes"]["node0"]["round"] == 5
        assert main(["testnet", "status", str(tmp_path)]) == 0
        assert "down" in capsys.readouterr().out


def write_overview(directory: Path, overview: Overview) -> None:
    (directory / "testnet.json").write_bytes(msgspec.json.encode(overview))


@pytest.mark.parametrize("words", [["up"], ["status"]])
def test_no_testnet_directory(tmp_path, capsys, words):
    assert main(["--json", "testnet", *words, str(tmp_path)]) == 1
    assert json.loads(capsys.readouterr().out)["code"] == "no_testnet"


def test_a_testnet_for_containers_is_refused(tmp_path, capsys):
    write_overview(tmp_path, msgspec.structs.replace(overview_of(2), mode="compose"))
    assert main(["--json", "testnet", "up", str(tmp_path)]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert answer["code"] == "wrong_mode"
    assert "compose" in answer["hint"]

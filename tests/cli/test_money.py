"""The commands for money against a served node: what they show, what they sign, what they write."""

import asyncio
import csv
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bflc_cli.governance import money
from bflc_cli.main import main
from bflc_cli.offline import read_earnings
from bflcd import pictures
from bflcd.api.schema.alliance import OperationRequest
from bflcd.errors import UsageError
from bflcd.store.sqlite import SqliteStore
from tests.helpers.chains import begin_chain, fill
from tests.helpers.fake_node import IDS, ServedNode, alliance_of, earnings_in, ledger_of


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    with ServedNode(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def run(served, capsys):
    """Run a command; (exit code, stdout, stderr)."""
    served.node.community = alliance_of(my_operations=1)
    served.node.money = ledger_of()
    served.node.signs.clear()
    served.node.refusal = None

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--datadir", str(served.datadir), *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_the_ledger_says_where_every_unit_is(run):
    code, out, err = run("ledger")
    assert (code, err) == (0, "")
    for text in (
        "1008471 units in round 5",
        "pool 1000000, burnt 49",
        "entry 100, 10 for each 20 rounds",
        "50, free 100 rounds after who leaves",
        "0.1% of the pool",
        "left out",
        "left",
    ):
        assert text in out
    view = json.loads(run("ledger", "--json")[1])["data"]
    assert view == msgspec.to_builtins(ledger_of())
    assert view["balances"] + view["deposits"] + view["pool"] + view["burnt"] == view["supply"]


def test_a_balance_is_ones_own_or_a_named_members(run, served):
    own = run("balance")[1]
    assert all(text in own for text in (IDS[0], "1000 units in round 5", "through round 19; its next period costs 10"))
    late = run("balance", IDS[7][:6])[1]
    assert all(text in late for text in (IDS[7], "never", "160 units (entry fee 110, deposit 50)", "left out until that is paid"))
    served.node.money = ledger_of(members=[msgspec.structs.replace(ledger_of().members[0], price=0)])
    assert "nothing is asked for" in run("balance")[1]
    served.node.money = ledger_of()
    assert json.loads(run("balance", IDS[7][:6], "--json")[1])["data"]["owes"] == 160
    served.node.money = ledger_of(members=[msgspec.structs.replace(one, me=False) for one in ledger_of().members])
    code, _, err = run("balance")
    assert (code, "this node has no account yet" in err) == (1, True)
    assert run("balance", "ffffffff")[0] == 2


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("pay",), OperationRequest(kind="pay")),
        (("pay", "--most", "120"), OperationRequest(kind="pay", amount=120)),
        (("pay", "--for", "07070707", "--most", "7"), OperationRequest(kind="pay", node="07070707", amount=7)),
    ],
)
def test_a_payment_is_signed_for_whom_and_up_to_what_it_says(run, served, words, sent):
    code, out, _ = run(*words)
    assert (code, served.node.signs) == (0, [sent])
    assert "a block has carried it" in out


def test_what_costs_more_than_was_agreed_to_says_so(run, served):
    served.node.refusal = UsageError("pay: it costs 160 units, more than 7", hint="raise --most", code="too_dear")
    code, out, _ = run("pay", "--most", "7", "--json")
    error = json.loads(out)
    assert (code, error["code"], error["message"]) == (1, "too_dear", "pay: it costs 160 units, more than 7")


def test_rewards_add_up_who_earned_what_from_what(run):
    code, out, _ = run("rewards", "--json")
    first, second, newcomer = json.loads(out)["data"]
    assert code == 0
    assert first == {
        "node_id": IDS[5],
        "packed": 5,
        "pay": 3000,
        "taken": 0,
        "given": 0,
        "fees": 110,
        "deposits": 50,
        "net": 2840,
    }
    assert (second["pay"], second["given"], second["net"]) == (2000, 30, 1970)
    assert (newcomer["packed"], newcomer["taken"], newcomer["net"]) == (0, 30, 30)
    shown = run("rewards")[1]
    assert all(word in shown for word in ("packed", "fees paid", "2840"))
    assert json.loads(run("rewards", "--from", "3", "--count", "2", "--json")[1])["data"][0]["pay"] == 1200
    assert "nobody was packed" in run("rewards", "--from", "6")[1]


def test_long_ranges_are_read_in_parts(run, monkeypatch):
    monkeypatch.setattr(money, "MAX_HISTORY", 2)
    assert [one["pay"] for one in json.loads(run("rewards", "--json")[1])["data"]] == [3000, 2000, 0]


def test_a_line_for_each_member_and_model_goes_into_a_file(run, tmp_path):
    path = tmp_path / "rewards.csv"
    assert run("rewards", "--csv", str(path))[0] == 0
    rows = list(csv.DictReader(io.StringIO(path.read_text())))
    assert len(rows) == 11
    assert rows[2] == {
        "round": "2",
        "time": "1700000000002",
        "node_id": IDS[5],
        "packed": "1",
        "pay": "600",
        "taken": "0",
        "given": "0",
        "fees": "110",
        "deposits": "50",
    }
    assert run("rewards", "--csv", str(tmp_path / "nowhere" / "x.csv"))[0] == 1


def test_a_plot_shows_how_pay_grew_and_from_what_it_came(run, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "rewards.png"
    assert run("rewards", "--plot", str(path))[0] == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert run("rewards", "--plot", str(tmp_path / "nowhere" / "x.png"))[0] == 1


@pytest.mark.parametrize("name", ["earned", "earned.jpg", "earned.foo", "earned.", ".foo"])
def test_a_plot_is_a_png_of_the_name_that_was_given(run, tmp_path, name):
    pytest.importorskip("matplotlib")
    assert run("rewards", "--plot", str(tmp_path / name))[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("flag", ["--csv", "--plot"])
@pytest.mark.parametrize("place", ["/dev/null", "pipe", ".", "/"])
def test_what_takes_no_file_is_refused_before_anything_is_read(run, tmp_path, monkeypatch, flag, place):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    monkeypatch.setattr(money, "_read_rows", None)
    code, out, err = run("rewards", flag, place)
    assert (code, out, "cannot be written" in err) == (1, "", True)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


def test_lines_of_a_plot_grow_and_put_the_least_paid_together(monkeypatch):
    rows = [row for round_ in (1, 2, 3) for row in earnings_in(round_)]
    assert money.earned_lines(rows) == [
        (IDS[5][:8], [(1, 600), (2, 1200), (3, 1800)]),
        (IDS[6][:8], [(1, 400), (2, 800), (3, 1200)]),
    ]
    monkeypatch.setattr(money, "MOST_LINES", 1)
    assert money.earned_lines(rows)[1] == ("all others", [(1, 400), (2, 800), (3, 1200)])


def test_without_matplotlib_a_plot_is_refused_before_anything_is_read(run, monkeypatch):
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    code, _, err = run("rewards", "--plot", "x.png")
    assert (code, "--plot needs matplotlib" in err, Path("x.png").exists()) == (1, True, False)


async def test_rewards_of_a_stopped_node(tmp_path, capsys):
    """Given the directory of a node that has ended / Then what its blocks paid is added up as a daemon's rows are."""
    store, chain = await SqliteStore.open(tmp_path), begin_chain()
    await fill(store, chain, 3)
    await store.close()
    assert await asyncio.to_thread(main, ["--datadir", str(tmp_path), "--json", "rewards", "--from", "2"]) == 0
    found = json.loads(capsys.readouterr().out)["data"]
    rows = await read_earnings(tmp_path, 2, 10)
    assert {row.round for row in rows} == {2, 3}
    assert sum(one["packed"] for one in found) == sum(row.packed for row in rows) == 4
    assert sum(one["pay"] for one in found) == sum(row.pay for row in rows) > 0
    assert await read_earnings(tmp_path, None, 1) == [row for row in rows if row.round == 3]

"""`recover` against a served node: what it shows, what it asks, what it sends, how it is refused."""

import io
import json
import sys
from collections.abc import Iterator

import msgspec
import pytest

from bflc_cli.main import main
from bflcd.api.schema.recovery import RecoveryRequest, RecoveryRow
from tests.helpers.fake_node import IDS, ServedNode, recovery_of

PROPOSED = "77" * 32


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    with ServedNode(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def run(served, capsys):
    """Run `recover`; (exit code, stdout, stderr)."""
    served.node.recovery = recovery_of()
    served.node.recoveries.clear()

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--datadir", str(served.datadir), "recover", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


class Terminal(io.StringIO):
    """Somebody who types."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def typed(monkeypatch):
    return lambda text: monkeypatch.setattr(sys, "stdin", Terminal(text))


def test_a_dry_run_shows_the_case_and_signs_nothing(run, served):
    code, out, err = run("--dry-run")
    assert (code, err) == (0, "")
    for text in ("02020202", "gone", "not connected", "open for 42 s", "Signed by 0 of 3", "warning: 2 of the 4 old seats"):
        assert text in out
    assert served.node.recoveries == [RecoveryRequest(dry_run=True)]


def test_a_dry_run_as_json_has_everything(run):
    code, out, _ = run("--dry-run", "--json")
    answer = json.loads(out)
    assert (code, answer["status"]) == (0, "ok")
    assert answer["data"] == msgspec.to_builtins(recovery_of())


def test_with_yes_it_signs_without_asking(run, served):
    code, out, _ = run("--yes")
    assert (code, out.splitlines()[0]) == (0, "signed")
    assert "Signed by 0 of 3 managers." in out
    assert served.node.recoveries == [RecoveryRequest()]
    code, out, _ = run("-y", "--json", "--force", "--new")
    assert json.loads(out)["data"]["signed"] is True
    assert served.node.recoveries[1] == RecoveryRequest(force=True, new=True)


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_where_nobody_can_be_asked_nothing_is_sent(run, served, words):
    code, out, err = run(*words)
    assert code == 1
    told = out if words else err
    assert "--dry-run" in told
    assert "--yes" in told
    assert served.node.recoveries == []


def test_json_is_refused_without_yes_on_a_terminal_too(run, served, typed):
    typed("y\n")
    assert run("--json")[0] == 1
    assert served.node.recoveries == []


def test_on_a_terminal_it_shows_asks_and_signs_what_it_showed(run, served, typed):
    typed("y\n")
    code, out, err = run("--force")
    assert code == 0
    assert "open for 42 s" in out
    assert "epoch 1" in err
    assert served.node.recoveries == [RecoveryRequest(force=True, dry_run=True), RecoveryRequest(force=True, expect=PROPOSED)]


@pytest.mark.parametrize("answer", ["n\n", "\n", ""])
def test_a_no_signs_nothing(run, served, typed, answer):
    typed(answer)
    code, _, err = run()
    assert code == 1
    assert "nothing was signed" in err or "interrupted" in err
    assert served.node.recoveries == [RecoveryRequest(dry_run=True)]


def test_a_refusal_is_told_with_its_hint_and_nobody_is_asked(run, served, typed):
    served.node.recovery = recovery_of(refusal="3 of 4 seats are there", hint="wait", code="not_needed")
    typed("y\n")
    code, out, err = run()
    assert code == 1
    assert "not signed: 3 of 4 seats are there" in out
    assert "hint: wait" in err
    assert served.node.recoveries == [RecoveryRequest(dry_run=True)]
    code, out, _ = run("--yes", "--json")
    assert (code, json.loads(out)["code"]) == (1, "not_needed")


def test_who_has_signed_is_not_asked_again(run, served, typed):
    served.node.recovery = recovery_of(action="wait")
    typed("y\n")
    code, out, _ = run()
    assert code == 0
    assert "nothing is left to do here" in out
    assert served.node.recoveries == [RecoveryRequest(dry_run=True)]


def test_the_last_signature_says_that_the_round_goes_on(run, served):
    served.node.recovery = recovery_of(adopted=True, lines=["3 managers have signed: round 5 goes on in epoch 1.", "dead"])
    assert run("--yes")[1] == "3 managers have signed: round 5 goes on in epoch 1.\n"


def test_short_ids_are_made_whole(run, served):
    code, _, err = run("--dry-run", "--committee", "0101, 020202,03030303,06060606", "--retire", IDS[3])
    assert (code, err) == (0, "")
    assert served.node.recoveries == [RecoveryRequest(committee=[*IDS[:3], IDS[5]], retired=[IDS[3]], dry_run=True)]


def test_others_recoveries_are_listed_and_joined_by_a_short_id(run, served):
    row = RecoveryRow(
        id="abcd" * 16, epoch=4, committee=IDS[:4], retired=[], prepared=None, signed_by=[IDS[1]], objection="it retires 03030303"
    )
    served.node.recovery = recovery_of(pending=[row])
    _, out, _ = run("--dry-run")
    assert "abcdabcd" in out
    assert "1/3" in out
    assert "it retires 03030303" in out
    served.node.recoveries.clear()
    assert run("--yes", "--join", "abcd")[0] == 0
    assert served.node.recoveries[-1] == RecoveryRequest(join="abcd" * 16)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--committee", "ffff"], "no id"),
        (["--committee", "010"], "fewer than 4"),
        (["--retire", "0101,xyz!"], "'xyz!'"),
        (["--join", "abcd"], "no id"),
    ],
)
def test_ids_that_mean_nothing_are_wrong_usage(run, served, words, text):
    code, _, err = run("--yes", *words)
    assert code == 2
    assert text in err
    assert "hint: " in err
    assert all(request.dry_run for request in served.node.recoveries)


def test_an_ambiguous_id_is_named(run, served, monkeypatch):
    monkeypatch.setattr("bflc_cli.governance.recover.LEAST_DIGITS", 1)
    code, _, err = run("--yes", "--retire", "0")
    assert code == 2
    assert "8 ids" in err
    assert served.node.recoveries == []

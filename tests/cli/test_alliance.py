"""The commands of membership against a served node: what they show, what they ask, what they send, and how it ended."""

import json
from collections.abc import Iterator

import msgspec
import pytest

from bflc_cli.main import main
from bflcd.__main__ import main as bflcd_main
from bflcd.api.schema.alliance import OperationRequest, OperationView, RollbackView
from bflcd.crypto.keystore import read_key
from bflcd.errors import OperatorError
from bflcd.setup.datadir import DataDir
from tests.helpers.fake_node import IDS, ServedNode, alliance_of, status_of

ADDRESS = "/ip4/192.0.2.7/tcp/4001/p2p/12D3KooWQx94YDb67eU5WtNmdcsTGMSfcJw5HpnYuGSxsUwDGen8"

WAITING = OperationView(id="d1" * 32, kind="admit", author=IDS[0], number=1, expires=105, text="it does admit", mine=True)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedNode]:
    with ServedNode(tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture
def run(served, capsys):
    """Run a command; (exit code, stdout, stderr)."""
    served.node.community = alliance_of(my_operations=1)
    served.node.signs.clear()
    served.node.refusal = None

    def run(*words: str) -> tuple[int, str, str]:
        code = main(["--datadir", str(served.datadir), *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def unwrapped(out: str) -> str:
    return " ".join(out.split())


def test_the_alliance_is_shown_with_all_that_is_about_to_change(run):
    code, out, err = run("alliance")
    assert (code, err) == (0, "")
    for text in (
        "8, 5 are needed",
        "a1" * 32,
        "a ward's machine",
        "refused: unknown to us",
        "kick",
        "1 of 3",
        "it copies",
        "left",
        "reward_share = 2000",
        "replaced e1e1e1e1",
        "f1f1f1f1",
    ):
        assert text in out
    assert "warning" not in out


def test_a_rollback_is_about_no_node_and_the_last_one_is_shown(run, served):
    """Given an open motion to go back, and a rollback that is done, then both are readable without a node's id."""
    (kick,) = alliance_of().motions
    motion = msgspec.structs.replace(kick, kind="rollback", node_id="", text="to the model of round 3, abababab: poisoned")
    served.node.community = alliance_of(motions=[motion], rollback=RollbackView(round=4, target=2, model="ab" * 32))
    out = run("alliance")[1]
    assert "in round 4 to the model of round 2" in out
    assert "to the model of round 3" in " ".join(out.split())
    assert "rollback" in run("motions")[1]


def test_too_few_members_are_a_warning(run, served):
    served.node.community = alliance_of(members=4)
    assert "4 members are too few: 5 are needed" in run("alliance")[1]


@pytest.mark.parametrize(("command", "field"), [("applications", "applicants"), ("motions", "motions")])
def test_lists_are_whole_as_json(run, command, field):
    code, out, _ = run(command, "--json")
    answer = json.loads(out)
    assert (code, answer["data"]) == (0, msgspec.to_builtins(getattr(alliance_of(), field)))


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        (("admit", "a1a1a1a1"), OperationRequest(kind="admit", node="a1a1a1a1")),
        (("refuse", "a1a1a1a1", "--reason", "no"), OperationRequest(kind="refuse", node="a1a1a1a1", reason="no")),
        (("kick", "07070707", "--reason", "it lies", "-y"), OperationRequest(kind="kick", node="07070707", reason="it lies")),
        (("take-back", "07070707"), OperationRequest(kind="return", node="07070707")),
        (("appoint", "07070707", "-y"), OperationRequest(kind="appoint", node="07070707")),
        (("dismiss", "07", "--reason", "it sleeps", "-y"), OperationRequest(kind="dismiss", node="07", reason="it sleeps")),
        (("set", "score_rows", "64", "-y"), OperationRequest(kind="set", name="score_rows", value=64)),
        (("approve", "b1b1"), OperationRequest(kind="approve", motion="b1b1")),
        (
            ("rollback", "3", "--reason", "poisoned", "-y"),
            OperationRequest(kind="rollback", round=3, reason="poisoned"),
        ),
        (("replace", "07070707", "a1a1a1a1", "-y"), OperationRequest(kind="replace", node="07070707", by="a1a1a1a1")),
        (("leave", "--yes"), OperationRequest(kind="leave")),
        (("leave", "--heir", "07070707", "--yes"), OperationRequest(kind="leave", node="07070707")),
        (("transfer", "07070707", "12"), OperationRequest(kind="transfer", node="07070707", amount=12)),
    ],
)
def test_each_command_signs_one_operation_and_says_how_it_ended(run, served, words, sent):
    code, out, _ = run(*words)
    assert (code, served.node.signs) == (0, [sent])
    assert f"it does {sent.kind}" in out
    assert "a block has carried it" in out


def test_what_still_waits_or_was_dropped_is_said(run, served):
    served.node.community = alliance_of(waiting=[WAITING])
    assert "it waits for its block" in run("admit", "a1a1a1a1", "--for", "0")[1]
    served.node.community = alliance_of()
    assert "whoever has kept it can bring it until round 105" in unwrapped(run("admit", "a1a1a1a1")[1])
    served.node.community = alliance_of(round=106)
    assert "no block has carried it by round 105, and none ever will" in unwrapped(run("admit", "a1a1a1a1")[1])


@pytest.mark.parametrize(
    "words",
    [
        ("kick", "07070707"),
        ("appoint", "07"),
        ("dismiss", "07"),
        ("set", "score_rows", "64"),
        ("rollback", "3"),
        ("replace", "07070707", "a1a1a1a1"),
        ("leave",),
        ("leave", "--json"),
    ],
)
def test_where_nobody_can_be_asked_nothing_is_signed(run, served, words):
    code, out, err = run(*words)
    assert code == 1
    assert "--yes" in (out if "--json" in words else err)
    assert served.node.signs == []


def test_a_refusal_is_shown_with_its_hint(run, served):
    served.node.refusal = OperatorError("it is not signed: admit: no manager", hint="look", code="refused")
    code, _, err = run("admit", "a1a1a1a1")
    assert code == 1
    assert "no manager" in err
    assert "look" in err


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", True), ("192.0.2.7", False)])
def test_an_invitation_that_no_other_machine_can_use_says_so(run, served, host, warned):
    served.node.current = status_of(listen=[ADDRESS.replace("192.0.2.7", host)])
    code, out, err = run("invite")
    assert (code, out.startswith("bflc1-"), "reached from its own machine alone" in err) == (0, True, warned)


def test_an_invitation_is_one_line_that_init_takes(run, served, tmp_path, capsys):
    """Given a member's invitation, when a new machine is set up with it, then its configuration has chain, head and first peers; with
    a chain of its own beside it, it is refused."""
    served.node.current = status_of(listen=[ADDRESS])
    code, out, _ = run("invite", "--hours", "1")
    (text,) = out.split()
    assert code == 0
    made = tmp_path / "new"
    assert bflcd_main(["init", "--datadir", str(made), "--invite", text]) == 0
    config = (made / "config.toml").read_text()
    for expected in ("ab" * 32, "5:" + "cd" * 32, ADDRESS):
        assert expected in config
    assert "bflc-cli admit" in capsys.readouterr().out
    assert bflcd_main(["init", "--datadir", str(tmp_path / "other"), "--invite", text, "--chain-id", "ab" * 32]) == 2
    assert bflcd_main(["init", "--datadir", str(tmp_path / "third"), "--invite", text[:-4]]) == 2
    assert not (tmp_path / "third").exists()


def test_an_invitation_of_a_manager_admits_by_a_voucher(run, served, tmp_path, capsys):
    """Given a manager's invitation that admits, then its node has vouched for a key, whose secret the new machine gets in a file of its
    own; the string alone is on stdout, so that a script can take it."""
    served.node.current = status_of(listen=[ADDRESS])
    code, out, err = run("invite", "--admit", "--rounds", "50")
    (text,) = out.split()
    (asked,) = served.node.signs
    assert (code, asked.kind, asked.round, "a block has carried it" in unwrapped(err)) == (
        0,
        "vouch",
        status_of().round + 50,
        True,
    )
    made = tmp_path / "new"
    assert bflcd_main(["init", "--datadir", str(made), "--invite", text]) == 0
    assert "lets it in, once" in capsys.readouterr().out
    voucher = read_key(DataDir(made).voucher)
    assert voucher.node_id.hex() == asked.node
    assert read_key(DataDir(made).key).node_id != voucher.node_id
    data = json.loads(run("--json", "invite", "--admit")[1])["data"]
    assert (data["voucher"], data["outcome"], data["needed"], data["approvals"]) == (served.node.signs[1].node, "carried", 1, 1)


def test_where_more_managers_admit_the_invitation_says_so(run, served):
    terms = msgspec.structs.replace(alliance_of().terms, admission=2)
    served.node.community = alliance_of(my_operations=1, terms=terms)
    err = unwrapped(run("invite", "--admit")[2])
    assert f"it admits once 1 more of the managers have said so: bflc-cli approve {served.node.signs[0].node[:8]}" in err


def test_an_invitation_that_no_block_carries_is_none(run, served):
    served.node.community = alliance_of(round=106)
    code, out, err = run("invite", "--admit")
    assert (code, out) == (1, "")
    assert "it admits nobody: it has run out" in unwrapped(err)

"""The daemon's command: what it prints, and one clear message with the right exit code for every mistake."""

import json
import re
import shlex
import stat
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
import typer

from bflcd.__main__ import main
from bflcd.commands import node as node_commands
from bflcd.commands.app import app
from bflcd.commands.community import Partition
from bflcd.commands.node import Device, Format, Level
from bflcd.config import ComputeSection, DataSection, LogSection, load_config
from bflcd.crypto.identity import peer_id_of
from bflcd.crypto.keystore import read_key
from bflcd.errors import InvariantError, MachineError, OperatorError, PeerError, Rejection, UsageError
from bflcd.exit_codes import run_command
from bflcd.learn.data import PARTITIONS
from bflcd.learn.device import DEVICES
from bflcd.learn.protocol import WorkerError
from bflcd.setup.genesis_file import read_genesis
from bflcd.setup.invitation import Invitation, invitation_text
from bflcd.setup.options import CommunityOptions
from bflcd.types import Digest, Millis, Round
from bflcd.version import __version__
from bflcd.wire.blocks import chain_id_of
from tests.helpers.ledger import make_identities

PEER = "/ip4/10.0.0.1/tcp/4001/p2p/12D3KooWKmMwrpTCA3Jm7rVbRdCqsres6owF3oybF1dCgHuHTYMm"
IDS = [identity.node_id for identity in make_identities(5)]
MEMBERS = [part for node in IDS for part in ("--member", node.hex())]
TESTNET = ["testnet", "--nodes", "5", "--output", "{}/net"]


def test_init_makes_key_and_configuration_and_says_what_is_next(tmp_path, capsys):
    datadir = tmp_path / "node"
    assert main(["init", "--datadir", str(datadir), "--listen", "/ip4/0.0.0.0/tcp/4001", "--name", "ours"]) == 0
    node_id = read_key(datadir / "node.key").node_id
    said = capsys.readouterr().out
    assert node_id.hex() in said
    assert peer_id_of(node_id) in said
    assert f"bflcd start --datadir {datadir}" in said
    config = load_config(datadir, {}, {}).config
    assert (config.node.listen, config.node.name) == (("/ip4/0.0.0.0/tcp/4001",), "ours")
    assert stat.S_IMODE((datadir / "node.key").stat().st_mode) == 0o600


def test_what_is_to_be_typed_next_is_quoted_for_the_shell(tmp_path, capsys):
    datadir = tmp_path / "ward 7; $HOME"
    assert main(["init", "--datadir", str(datadir), "--bootstrap", PEER]) == 0
    (following,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("next")]
    assert shlex.split(following)[1:] == ["bflcd", "start", "--datadir", str(datadir)]
    datadir.chmod(0o777)
    assert main(["start", "--datadir", str(datadir)]) == 1
    (hint,) = [line for line in capsys.readouterr().err.splitlines() if "hint: " in line]
    assert shlex.split(hint)[1:5] == ["chmod", "-R", "go-rwx", str(datadir)]


def test_init_never_overwrites_a_key(tmp_path, capsys):
    arguments = ["init", "--datadir", str(tmp_path / "node")]
    assert main(arguments) == 0
    key = (tmp_path / "node" / "node.key").read_bytes()
    assert main(arguments) == 1
    assert (tmp_path / "node" / "node.key").read_bytes() == key
    assert "never overwritten" in capsys.readouterr().err


def test_init_loses_nothing_that_it_was_told(tmp_path, capsys):
    """Given a configuration that is there / When `init` is told something else / Then it names that, and makes no key."""
    datadir = tmp_path / "node"
    datadir.mkdir(mode=0o700)
    (datadir / "config.toml").write_text('[node]\nname = "ours"\n')
    (datadir / "config.toml").chmod(0o600)
    command = ["init", "--datadir", str(datadir), "--name", "ours"]
    assert main([*command, "--bootstrap", PEER]) == 1
    said = capsys.readouterr().err
    assert f"{datadir / 'config.toml'} is there, and says otherwise of node.bootstrap (--bootstrap)" in said
    assert [path.name for path in datadir.iterdir()] == ["config.toml"]
    assert main(command) == 0
    assert (datadir / "config.toml").read_text() == '[node]\nname = "ours"\n'


def test_an_invitation_is_not_lost_where_a_configuration_is(tmp_path, capsys):
    datadir = tmp_path / "node"
    datadir.mkdir(mode=0o700)
    (datadir / "config.toml").touch(mode=0o600)
    text = invitation_text(Invitation(Digest(b"c" * 32), Round(7), Digest(b"h" * 32), (PEER,)))
    assert main(["init", "--datadir", str(datadir), "--invite", text]) == 1
    said = capsys.readouterr().err
    assert all(key in said for key in ("node.bootstrap", "node.chain_id", "node.trusted_head"))
    assert not (datadir / "node.key").exists()


@pytest.mark.parametrize("words", [[], ["--listen", "/ip4/0.0.0.0/tcp/4001", "--data", "rows.npz"]])
def test_an_init_that_was_killed_is_ended_by_the_same_command(tmp_path, monkeypatch, words):
    """Given a kill before the key was written / When the same is typed again / Then the node is made."""

    class Killed(BaseException):
        pass

    def killed(*_):
        raise Killed

    monkeypatch.chdir(tmp_path)
    command, datadir = ["init", "--datadir", "node", *words], tmp_path / "node"
    with monkeypatch.context() as patched:
        patched.setattr(node_commands, "write_key", killed)
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # nobody tidies up after a kill
        with pytest.raises(Killed):
            main(command)
    assert [path.name for path in datadir.iterdir()] == ["config.toml"]
    assert main(command) == 0
    assert read_key(datadir / "node.key").node_id


def test_init_seals_the_key_with_a_passphrase(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("open sesame\n")
    secret.chmod(0o600)
    datadir = tmp_path / "node"
    assert main(["init", "--datadir", str(datadir), "--passphrase-file", str(secret)]) == 0
    with pytest.raises(OperatorError):
        read_key(datadir / "node.key")
    assert read_key(datadir / "node.key", b"open sesame").node_id
    assert load_config(datadir, {}, {}).config.node.passphrase_file == str(secret)


def test_genesis_is_composed_from_the_ids_that_init_printed(tmp_path, capsys):
    output = tmp_path / "genesis.json"
    arguments = ["genesis", *MEMBERS[2:], "--member", peer_id_of(IDS[0]), "--output", str(output), "--name", "hospitals"]
    seats = [part for node in IDS[1:] for part in ("--seat", node.hex())]
    assert main([*arguments, *seats, "--manager", IDS[2].hex(), "--pool", "500", "--rounds", "9", "--election", "top-half"]) == 0
    genesis = read_genesis(output)
    assert genesis.name == "hospitals"
    assert [member.node for member in genesis.members] == IDS
    assert (genesis.committee, genesis.managers, genesis.pool) == (tuple(IDS[1:]), (IDS[2],), 500)
    assert (genesis.params.last_round, genesis.params.election, genesis.testnet) == (9, "top-half", False)
    assert (tmp_path / "model0.safetensors").stat().st_size == genesis.model.size
    assert f"--chain-id {chain_id_of(genesis).hex()}" in capsys.readouterr().out
    assert main([*arguments, *seats]) == 1
    assert "a genesis is never overwritten" in capsys.readouterr().err


def test_a_genesis_is_a_testnets_only_if_that_is_asked_for(tmp_path):
    assert main(["genesis", *MEMBERS, "--small-community", "--testnet", "--output", str(tmp_path / "genesis.json")]) == 0
    assert read_genesis(tmp_path / "genesis.json").testnet


def test_both_commands_that_make_a_community_take_every_flag_of_one():
    known = typer.main.get_command(app).commands
    found = [{flag for parameter in known[name].params for flag in parameter.opts} for name in ("genesis", "testnet")]
    flags = {hint.__metadata__[0].default for hint in get_type_hints(CommunityOptions, include_extras=True).values()}
    assert len(flags) == 10
    assert [flags - one for one in found] == [set(), set()]


def test_flags_and_configuration_name_what_the_rest_of_the_program_knows():
    data, compute, log = (get_type_hints(section) for section in (DataSection, ComputeSection, LogSection))
    assert tuple(Partition) == get_args(data["partition"]) == PARTITIONS
    assert tuple(Device) == get_args(compute["device"]) == DEVICES
    assert (tuple(Level), tuple(Format)) == (get_args(log["level"]), get_args(log["format"]))


def test_version(capsys):
    assert main(["version"]) == 0
    assert capsys.readouterr().out.startswith(f"bflcd {__version__}, protocol 1, Python 3.")
    assert main(["version", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["schema"], answer["status"], answer["data"]["version"]) == (1, "ok", __version__)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "Usage: bflcd"),
        (["fly"], 2, "No such command"),
        (["start"], 2, "Missing option '--datadir'"),
        (["start", "--datadir", "{}/none"], 1, "no key, no genesis and no first peer"),
        (["start", "--datadir", "{}/none", "--archive", "--prune-keep", "3"], 2, "contradict each other"),
        (["start", "--datadir", "{}/none", "--prune-keep", "0"], 2, "flag --prune-keep: store.keep = 0"),
        (["start", "--datadir", "{}/none", "--bootstrap", "nowhere"], 2, "flag --bootstrap: node.bootstrap: 'nowhere'"),
        (["start", "--datadir", "{}/none", "--chain-id", "12"], 2, "flag --chain-id: node.chain_id = '12'"),
        (["start", "--datadir", "{}/none", "--api-listen", "127.0.0.1:70000"], 2, "flag --api-listen"),
        (["start", "--datadir", "{}/none", "--device", "tpu"], 2, "'tpu' is not one of"),
        (["start", "--datadir", "{}/file"], 1, "not a directory"),
        (["start", "--datadir", "{}/file", "--bootstrap", PEER], 1, "not a directory"),
        (["init", "--datadir", "{}/file"], 1, "not a directory"),
        (["init", "--datadir", "{}/none", "--passphrase-file", "{}/absent"], 1, "passphrase cannot be read"),
        (["genesis", "--member", "zz", "--output", "{}/g.json"], 2, "--member zz: no node id"),
        (["genesis", *MEMBERS, *MEMBERS[:2], "--output", "{}/g.json"], 2, "is given twice"),
        (["genesis", *MEMBERS, "--param", "plces=3", "--output", "{}/g.json"], 2, "--param plces: there is no such parameter"),
        (["genesis", *MEMBERS, "--param", "election=random", "--output", "{}/g.json"], 2, "election: there is no such parameter"),
        (
            ["genesis", *MEMBERS, "--election", "dice", "--output", "{}/g.json"],
            2,
            "election must be one of score, random, top-half",
        ),
        (["genesis", *MEMBERS, "--param", "score_rows=few", "--output", "{}/g.json"], 2, "score_rows=few: not a whole number"),
        (["genesis", *MEMBERS, "--option", "model", "--output", "{}/g.json"], 2, "--option model: not of the form KEY=VALUE"),
        (["testnet", "--nodes", "x", "--output", "{}/net"], 2, "Invalid value for '--nodes'"),
        (["testnet", "--nodes", "0", "--output", "{}/net"], 2, "--nodes 0"),
        (["testnet", "--nodes", "5", "--output", "{}"], 1, "not empty"),
        (["testnet", "--nodes", "5", "--output", "{}/net", "--task", "femnist"], 1, "femnist needs a data file"),
        (["testnet", "--nodes", "5", "--output", "{}/net", "--base-port", "65534"], 2, "leaves no room"),
        (["testnet", "--nodes", "5", "--output", "{}/net", "--data", "{}/absent"], 1, "there is no such file"),
        ([*TESTNET, "--data", "{}/data-\udcff"], 2, "has bytes that are no UTF-8"),
        (["genesis", *MEMBERS, "--output", "{}/g.json", "--data", "{}/data-\udcff"], 2, "has bytes that are no UTF-8"),
        (["start", "--datadir", "{}/none", "--attack", "nois"], 2, "flag --attack: attack.name: there is no attack 'nois'"),
        (["start", "--datadir", "{}/none", "--attack", "copycat"], 2, "needs to see the updates of others"),
        ([*TESTNET, "--attack", "nois", "--attackers", "1"], 2, "there is no attack 'nois'"),
        ([*TESTNET, "--attack", "copycat", "--attackers", "1"], 2, "attack 'copycat' needs to see the updates of others"),
        ([*TESTNET, "--attack", "noise"], 2, "--attack and --attackers go together"),
        ([*TESTNET, "--attackers", "1"], 2, "--attack and --attackers go together"),
        ([*TESTNET, "--attack", "noise", "--attackers", "5"], 2, "--attackers 5 of 5 nodes"),
        ([*TESTNET, "--attack", "noise", "--attackers", "-1"], 2, "Invalid value for '--attackers'"),
    ],
)
def test_mistakes_get_a_message_and_their_exit_code(tmp_path, capfd, arguments, code, words):
    (tmp_path / "file").touch()
    found = main([argument.replace("{}", str(tmp_path)) for argument in arguments])
    said = capfd.readouterr()
    assert words in re.sub(r"\s+", " ", said.err + said.out)
    assert found == code
    assert "Traceback" not in said.err


def test_a_broken_configuration_names_file_and_line(tmp_path, capsys):
    (tmp_path / "config.toml").write_text("[node]\nname = \n")
    assert main(["start", "--datadir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"{tmp_path}/config.toml: no valid TOML" in said
    assert "line 2" in said


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("wrong", hint="do this"), 2, ["bflcd: wrong", "hint: do this"]),
        (OperatorError("refused", hint="do this"), 1, ["bflcd: refused", "hint: do this"]),
        (OperatorError("closed", code="no_permission"), 3, ["bflcd: closed"]),
        (OperatorError("silent", code="no_daemon"), 3, ["bflcd: silent"]),
        (MachineError("disk full", hint="free some"), 1, ["bflcd: disk full", "hint: free some"]),
        (WorkerError("worker died"), 1, ["bflcd: worker died"]),
        (PeerError(Rejection.MALFORMED, "odd"), 1, ["bflcd: malformed: odd"]),
        (TimeoutError(), 4, ["bflcd: timed out"]),
        (KeyboardInterrupt(), 1, ["bflcd: interrupted"]),
        (InvariantError("impossible"), 5, ["Traceback", "this is a bug", "please report it"]),
        (KeyError("x"), 5, ["Traceback", "this is a bug", "KeyError", "CONTRIBUTING.md"]),
    ],
)
def test_every_kind_of_error_has_its_exit_code(capsys, error, code, words):
    def command():
        raise error

    assert run_command("bflcd", command) == code
    said = capsys.readouterr().err
    assert [word for word in words if word not in said] == []
    assert ("Traceback" in said) == (code == 5)


def test_the_module_runs_as_a_program_and_never_imports_torch():
    code = "import sys, bflcd.__main__, bflcd.setup.testnet; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    done = subprocess.run([sys.executable, "-m", "bflcd", "version"], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.split(",")[0]) == (0, f"bflcd {__version__}")


def test_an_init_by_an_invitation_with_a_voucher_that_was_killed_is_ended_by_the_same_command(tmp_path, monkeypatch):
    """Given a kill after the voucher was written and before the key was / When the same is typed again / Then the node is made."""

    class Killed(BaseException):
        pass

    write_key = node_commands.write_key

    def killed(path, *rest):
        if path.name == "node.key":
            raise Killed
        write_key(path, *rest)

    text = invitation_text(Invitation(Digest(b"c" * 32), Round(7), Digest(b"h" * 32), (PEER,), Millis(0), bytes([9]) * 32))
    datadir = tmp_path / "node"
    command = ["init", "--datadir", str(datadir), "--invite", text]
    with monkeypatch.context() as patched:
        patched.setattr(node_commands, "write_key", killed)
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # nobody tidies up after a kill
        with pytest.raises(Killed):
            main(command)
    assert (datadir / "node.voucher").exists()
    assert not (datadir / "node.key").exists()
    assert main(command) == 0
    assert (datadir / "node.key").exists()

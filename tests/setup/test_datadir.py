"""Data directories: made for their owner alone, refused with a reason."""

import os
import re
import shlex
import stat
import subprocess
from pathlib import Path

import pytest

from bflcd.config import Config, set_values
from bflcd.crypto.keystore import Cost, write_key
from bflcd.errors import OperatorError, UsageError
from bflcd.setup.access import check_closed
from bflcd.setup.datadir import DataDir, local_genesis, make_empty
from bflcd.setup.keyring import KeyRing
from bflcd.setup.testnet import write_testnet
from bflcd.wire.tensors import blob_ref
from tests.helpers.ledger import make_identities
from tests.helpers.testnets import DESCRIPTION, make_plan

not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="the superuser is refused nothing")


def test_a_new_directory_is_its_owners_alone(tmp_path):
    datadir = DataDir(tmp_path / "a" / "b")
    datadir.make()
    assert stat.S_IMODE(datadir.path.stat().st_mode) == 0o700
    datadir.make()


def test_an_empty_directory_is_closed_to_others(tmp_path):
    path = tmp_path / "lax"
    path.mkdir()
    path.chmod(0o777)
    DataDir(path).make()
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o750, 0o704, 0o711])
def test_a_directory_that_others_may_touch_is_refused_with_the_remedy(tmp_path, mode):
    path = tmp_path / "it's lax"
    path.mkdir()
    (path / "file").touch()
    path.chmod(mode)
    with pytest.raises(OperatorError, match="others may read or write this") as caught:
        DataDir(path).make()
    command = caught.value.hint.split(" (")[0]
    assert command == f"chmod -R go-rwx {shlex.quote(str(path))}"
    subprocess.run(shlex.split(command), check=True)
    DataDir(path).make()


@pytest.mark.parametrize(
    ("name", "mode", "fine"),
    [
        ("node.key", 0o640, False),
        ("config.toml", 0o644, False),
        ("api.json", 0o604, False),
        ("chain.sqlite3-wal", 0o660, False),
        ("marks", 0o644, False),
        ("log/bflcd.log", 0o640, False),
        ("genesis.json", 0o644, True),
        ("genesis.json", 0o664, False),
        ("model0.safetensors", 0o646, False),
        ("node.key", 0o600, True),
        ("node.key", 0o400, True),
    ],
)
def test_so_is_a_file_in_it_but_what_the_whole_community_has_may_be_read(tmp_path, name, mode, fine):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    path.chmod(mode)
    if fine:
        DataDir(tmp_path).check()
        return
    with pytest.raises(OperatorError, match=re.escape(f"{path}: others may")) as caught:
        DataDir(tmp_path).check()
    assert caught.value.code == "bad_datadir"


def test_another_users_directory_is_refused(tmp_path):
    with pytest.raises(OperatorError, match=f"belongs to user {os.geteuid()}") as caught:
        check_closed(tmp_path, me=os.geteuid() + 1)
    assert f"chown -R {os.geteuid() + 1} {tmp_path}" in caught.value.hint


def test_a_file_system_without_modes_is_named(tmp_path, monkeypatch):
    """Given a file system that takes a mode and keeps another, When a directory is made there, Then the operator learns why it can't be."""
    path = tmp_path / "lax"
    path.mkdir()
    path.chmod(0o755)
    monkeypatch.setattr(Path, "chmod", lambda *_: None)
    with pytest.raises(OperatorError, match="keeps no modes"):
        DataDir(path).make()


def test_a_link_that_leads_nowhere_is_nobodys_to_read(tmp_path):
    (tmp_path / "data.npz").symlink_to(tmp_path / "absent")
    DataDir(tmp_path).check()


def test_a_file_in_the_way_is_named(tmp_path):
    path = tmp_path / "file"
    path.touch()
    for bad in (path, path / "below"):
        with pytest.raises(OperatorError) as caught:
            DataDir(bad).make()
        assert (caught.value.code, str(bad) in str(caught.value)) == ("bad_datadir", True)


def test_an_absent_directory_is_refused_by_check(tmp_path):
    with pytest.raises(OperatorError, match="no such data directory") as caught:
        DataDir(tmp_path / "absent").check()
    assert "bflcd init" in caught.value.hint


@not_as_root
def test_a_directory_without_permission_is_refused(tmp_path):
    path = tmp_path / "closed"
    path.mkdir(mode=0o500)
    for bad in (path, path / "below"):
        with pytest.raises(OperatorError) as caught:
            DataDir(bad).make()
        assert caught.value.code == "no_permission"


def test_make_empty_refuses_what_holds_something(tmp_path):
    make_empty(tmp_path / "new")
    (tmp_path / "new" / "file").touch()
    with pytest.raises(OperatorError, match="not empty") as caught:
        make_empty(tmp_path / "new")
    assert caught.value.code == "not_empty"


def test_the_identity_is_opened_with_the_configured_passphrase(tmp_path):
    [identity] = make_identities(1)
    secret = tmp_path / "secret"
    secret.write_bytes(b"open sesame\n")
    secret.chmod(0o600)
    write_key(DataDir(tmp_path).key, identity, b"open sesame", cost=Cost(1, 8192))
    config = set_values(Config(), {"node.passphrase_file": str(secret)})
    opened = KeyRing.open(set_datadir(config, tmp_path))
    assert opened.identity.node_id == identity.node_id
    with pytest.raises(OperatorError, match="passphrase"):
        KeyRing.open(set_datadir(Config(), tmp_path))


def set_datadir(config, path):
    node = type(config.node)(datadir=path, passphrase_file=config.node.passphrase_file)
    return Config(node=node)


def test_genesis_and_first_model_must_belong_together(tmp_path):
    genesis = write_testnet(make_plan(tmp_path), DESCRIPTION)
    datadir = DataDir(tmp_path / "node0")
    assert local_genesis(datadir) == (genesis, DESCRIPTION.model)
    datadir.model.write_bytes(DESCRIPTION.model[:-1] + b"x")
    with pytest.raises(UsageError, match="not the first model"):
        local_genesis(datadir)
    datadir.model.unlink()
    assert local_genesis(datadir) == (genesis, None)
    datadir.genesis.unlink()
    assert local_genesis(datadir) is None


def test_an_address_of_a_payload_is_its_root_and_size():
    ref = blob_ref(b"payload")
    assert ref.size == 7
    assert ref == blob_ref(b"payload") != blob_ref(b"Payload")

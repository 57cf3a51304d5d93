"""Data directories: made for their owner alone, refused with a reason."""

import os
import stat

import pytest

from bflcd.config import Config, set_values
from bflcd.crypto.keystore import Cost, write_key
from bflcd.errors import OperatorError, UsageError
from bflcd.setup.datadir import DataDir, local_genesis, make_empty, open_identity
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


def test_a_directory_that_others_may_write_to_is_refused(tmp_path):
    path = tmp_path / "lax"
    path.mkdir()
    (path / "file").touch()
    path.chmod(0o770)
    with pytest.raises(OperatorError, match="others may write here") as caught:
        DataDir(path).make()
    assert caught.value.hint == f"chmod 700 {path}"


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
    write_key(DataDir(tmp_path).key, identity, b"open sesame", cost=Cost(1, 8192))
    config = set_values(Config(), {"node.passphrase_file": str(secret)})
    opened = open_identity(set_datadir(config, tmp_path))
    assert opened.node_id == identity.node_id
    with pytest.raises(OperatorError, match="passphrase"):
        open_identity(set_datadir(Config(), tmp_path))


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

"""The daemon's process before it has a node: what it may touch, and which signals end it in order."""

import signal

import pytest

from bflcd.config import Config, set_values
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import write_key
from bflcd.errors import MachineError
from bflcd.node import app, bootstrap
from bflcd.setup.datadir import DataDir
from bflcd.store.lock import DirectoryLock


def test_a_second_daemon_leaves_the_log_of_the_first_alone(tmp_path):
    tmp_path.chmod(0o700)
    place = DataDir(tmp_path)
    write_key(place.key, Identity(bytes(32)))
    with DirectoryLock(tmp_path), pytest.raises(MachineError, match="in use by process") as refused:
        app.run(set_values(Config(), {"node.datadir": tmp_path}))
    assert refused.value.code == "locked"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LOCK", "node.key"]


@pytest.mark.parametrize("ignored", [False, True])
def test_a_closed_terminal_ends_the_node_in_order_unless_it_is_to_go_on(ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        assert (signal.SIGHUP in bootstrap.orders()) is not ignored
        assert {signal.SIGTERM, signal.SIGINT} <= set(bootstrap.orders())
    finally:
        signal.signal(signal.SIGHUP, before)

"""What a terminal, a pipe and an impatient operator do to a running node: it goes on until it is told to stop, and ends in order."""

import os
import signal
import subprocess
import sys

import pytest

from bflcd.log import LOG_DIR, LOG_FILE
from tests.helpers.daemons import ROOT, Community, Daemon, environment, wait_for

pytestmark = pytest.mark.slow

START_SECONDS = 120.0


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    made = Community.create(tmp_path_factory.mktemp("signals") / "net", 1, "--small-community", "--rounds", "1", task="digits")
    return made[0]


def started(node: Daemon) -> int:
    """The daemon with its output in a pipe; returns our end."""
    ours, theirs = os.pipe()
    command = [sys.executable, "-m", "bflcd", "start", "--datadir", str(node.datadir)]
    node.process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    return ours


def log_of(node: Daemon) -> str:
    return (node.datadir / LOG_DIR / LOG_FILE).read_text()


def test_a_node_whose_output_nobody_reads_any_more_goes_on(node):
    """Given a node whose lines go into a pipe, When the reader ends, Then the node decides its round, logs it, and stops in order."""
    ours = started(node)
    try:
        os.read(ours, 1)
        os.close(ours)
        wait_for(lambda: node.round() == 1, START_SECONDS, "the last round", report=lambda: log_of(node)[-2000:])
        node.process.terminate()
        assert node.wait() == 0
    finally:
        node.process.kill()
        node.process.wait()
    assert log_of(node).splitlines()[-1].count('"message": "stopped"') == 1
    assert "Traceback" not in log_of(node)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_however_often_it_is_told_to_stop_it_ends_in_order(node, number):
    """Given a node, When it gets the same order over and over until it is gone, Then it has closed all, and ends with 0."""
    ours = started(node)
    try:
        wait_for(lambda: node.status()["phase"] == "idle", START_SECONDS, "an answer", report=lambda: log_of(node)[-2000:])
        while node.process.poll() is None:
            node.process.send_signal(number)
        assert node.process.returncode == 0
    finally:
        node.process.kill()
        node.process.wait()
        os.close(ours)
    assert '"message": "stopped"' in log_of(node).splitlines()[-1]
    assert not (node.datadir / "api.json").exists()

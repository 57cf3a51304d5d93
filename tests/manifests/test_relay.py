"""The relay between daemons: it tells who dials, and cuts what it is told to, and nothing else."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.manifests.relay import NO_LAG, Cut, Lag, Relay

SECONDS = 10.0
SILENCE = 0.3

DIALLER = """
import socket, sys
there = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while word := sys.stdin.readline():
    there.sendall(word.encode())
"""
"""Another process: node 1. This process is node 0, so that a relay can tell them apart."""


@contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(SECONDS)
        yield server


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with listening() as made:
        yield made


@pytest.fixture
def relay(server: socket.socket) -> Iterator[Relay]:
    """Node 2 listens; node 0 is this process."""
    with Relay({2: server.getsockname()[1]}, lambda: {0: os.getpid()}) as made:
        yield made


def connect(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.ports[2]), SECONDS)


def silent(end: socket.socket) -> bool:
    """Whether nothing arrives for a while."""
    end.settimeout(SILENCE)
    try:
        return end.recv(100) is None
    except TimeoutError:
        return True
    finally:
        end.settimeout(SECONDS)


def gone(end: socket.socket) -> bool:
    try:
        return end.recv(100) == b""
    except ConnectionError:
        return True


def test_bytes_pass_both_ways_and_the_end_is_passed_on(relay: Relay, server: socket.socket) -> None:
    with connect(relay) as near:
        far = server.accept()[0]
        with far:
            near.sendall(b"x" * 1_000_000 + b"!")
            got = b""
            while not got.endswith(b"!"):
                got += far.recv(100_000)
            assert len(got) == 1_000_001
            far.sendall(b"back")
            assert near.recv(100) == b"back"
            near.close()
            assert gone(far)


def test_a_held_link_passes_nothing_in_one_direction_and_loses_nothing(relay: Relay, server: socket.socket) -> None:
    with connect(relay) as near:
        near.sendall(b"hello")
        far = server.accept()[0]
        with far:
            assert far.recv(100) == b"hello"
            relay.cut([(0, 2)], Cut.HOLD)
            near.sendall(b"held")
            assert silent(far)
            far.sendall(b"the other way")
            assert near.recv(100) == b"the other way"
            relay.heal([(0, 2)], Cut.HOLD)
            assert far.recv(100) == b"held"


def test_a_new_connection_over_a_held_link_waits(relay: Relay, server: socket.socket) -> None:
    relay.cut([(2, 0)], Cut.HOLD)
    with connect(relay) as near:
        near.sendall(b"waiting")
        server.settimeout(SILENCE)
        with pytest.raises(TimeoutError):
            server.accept()
        server.settimeout(SECONDS)
        relay.heal([(2, 0)], Cut.HOLD)
        with server.accept()[0] as far:
            assert far.recv(100) == b"waiting"


def test_a_reset_link_ends_connections_and_refuses_new_ones(relay: Relay, server: socket.socket) -> None:
    with connect(relay) as near:
        near.sendall(b"hello")
        with server.accept()[0] as far:
            assert far.recv(100) == b"hello"
            relay.cut([(0, 2), (2, 0)], Cut.RESET)
            assert gone(near)
            assert gone(far)
    with connect(relay) as again:
        assert gone(again)
    relay.heal([(0, 2), (2, 0)], Cut.RESET)
    with connect(relay) as healed:
        healed.sendall(b"hello")
        with server.accept()[0] as far:
            assert far.recv(100) == b"hello"


def test_cuts_add_up(relay: Relay, server: socket.socket) -> None:
    with connect(relay) as near:
        near.sendall(b"1")
        with server.accept()[0] as far:
            assert far.recv(100) == b"1"
            relay.cut([(0, 2)], Cut.HOLD)
            relay.cut([(0, 2)], Cut.HOLD)
            relay.heal([(0, 2)], Cut.HOLD)
            near.sendall(b"2")
            assert silent(far)
            relay.heal([(0, 2)], Cut.HOLD)
            assert far.recv(100) == b"2"


def test_the_other_processes_links_stay(server: socket.socket) -> None:
    """Given two processes that dial the same node, When one's link is cut, Then the other's passes on."""
    pids = {0: os.getpid()}
    with Relay({2: server.getsockname()[1]}, lambda: pids) as relay:
        command = [sys.executable, "-c", DIALLER, str(relay.ports[2])]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, bufsize=1) as other:
            assert other.stdin is not None
            pids[1] = other.pid
            other.stdin.write("one\n")
            with server.accept()[0] as theirs, connect(relay) as near:
                assert theirs.recv(100) == b"one\n"
                near.sendall(b"mine")
                with server.accept()[0] as ours:
                    assert ours.recv(100) == b"mine"
                    relay.cut([(1, 2), (2, 1)], Cut.HOLD)
                    other.stdin.write("two\n")
                    near.sendall(b"goes on")
                    assert ours.recv(100) == b"goes on"
                    assert silent(theirs)
                    relay.heal([(1, 2), (2, 1)], Cut.HOLD)
                    assert theirs.recv(100) == b"two\n"
                    other.stdin.close()


def test_an_unknown_dialler_is_turned_away(server: socket.socket) -> None:
    with Relay({2: server.getsockname()[1]}, dict) as relay, connect(relay) as near:
        assert gone(near)


def test_it_ends_with_its_block(server: socket.socket) -> None:
    with Relay({2: server.getsockname()[1]}, lambda: {0: os.getpid()}) as relay:
        near = connect(relay)
        far = server.accept()[0]
    with near, far:
        assert gone(near)
        deadline = time.monotonic() + SECONDS
        while relay._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not relay._thread.is_alive()


@pytest.mark.parametrize(
    ("lag", "before", "drawn", "due"),
    [
        (NO_LAG, 0.0, 0.0, 100.0),
        (Lag(0.15), 0.0, 0.0, 100.15),
        (Lag(0.15, 0.05, 0.5), 0.0, 0.05, 100.15),
        (Lag(0.15, 0.05, 0.5), 0.0, 0.049, 100.65),
        (Lag(0.15, 0.05, 0.5), 100.65, 0.9, 100.65),
    ],
    ids=["no way", "a long way", "nothing is lost", "it is lost and sent again", "what was sent after it waits for it"],
)
def test_a_chunk_is_late_by_its_way_and_by_what_is_lost(lag: Lag, before: float, drawn: float, due: float) -> None:
    assert lag.due(100.0, before, drawn) == pytest.approx(due)


def test_what_goes_a_long_way_arrives_whole_and_in_order(relay: Relay, server: socket.socket) -> None:
    """Given a long way on which half of all is lost / When much is sent at once, and the connection ends / Then all of it comes, in
    order, and then the end; the way back is no longer than before."""
    sent = os.urandom(300_000)
    with connect(relay) as near, server.accept()[0] as far:
        relay.slow([(0, 2)], Lag(0.01, 0.5, 0.02))
        near.sendall(sent)
        near.shutdown(socket.SHUT_WR)
        found = b""
        while data := far.recv(65_536):
            found += data
        far.sendall(b"all")
        assert near.recv(10) == b"all"
    assert found == sent

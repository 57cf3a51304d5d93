"""When something fails and its clean-up fails too: the first error is the one that people see, the other one is in the log."""

import asyncio
import logging

import pytest

from bflcd.api.event_bus import LogRing
from bflcd.api.metrics import Metrics
from bflcd.api.server import ApiServer
from bflcd.closing import aftermath, closing
from bflcd.config import load_config
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import write_key
from bflcd.errors import BflcError, MachineError, OperatorError, first_of
from bflcd.exit_codes import run_command
from bflcd.node import app
from bflcd.node.bootstrap import Bootstrap
from bflcd.setup.datadir import DataDir
from bflcd.store.block_store import BlockStore
from tests.helpers.fake_node import FakeNode

FIRST = OperatorError("the first", hint="mend this")
SECOND = MachineError("the second")


class Closable:
    """Something to be closed, which may fail at that."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.failure, self.closed = failure, False

    async def close(self) -> None:
        self.closed = True
        if self.failure is not None:
            raise self.failure


class EmptyStore(Closable):
    """A store of a node that has no chain yet."""

    async def genesis(self) -> None:
        return


async def run(body: BaseException | None, part: Closable) -> None:
    async with closing("the part", part.close):
        if body is not None:
            raise body


@pytest.mark.parametrize(
    ("body", "at_close", "raised", "logged"),
    [
        (None, None, None, False),
        (FIRST, None, FIRST, False),
        (None, SECOND, SECOND, False),
        (FIRST, SECOND, FIRST, True),
        (KeyError("a bug"), SECOND, KeyError, True),
        (asyncio.CancelledError(), SECOND, SECOND, False),
    ],
)
async def test_the_first_error_is_raised(caplog, body, at_close, raised, logged):
    part = Closable(at_close)
    kind = type(raised) if isinstance(raised, BaseException) else raised
    if kind is None:
        await run(body, part)
    else:
        with pytest.raises(kind, match=str(raised) if isinstance(raised, BflcError) else None):
            await run(body, part)
    assert part.closed
    assert ("the part could not be closed" in caplog.text) is logged


def test_what_fails_in_an_aftermath_is_logged_and_no_more(caplog):
    with aftermath("a transaction"):
        raise SECOND
    assert "a transaction could not be closed" in caplog.text


def test_of_a_group_the_first_is_reported_whoever_it_is_for():
    bug = KeyError("x")
    nested = BaseExceptionGroup("outer", [BaseExceptionGroup("inner", [bug, SECOND]), FIRST])
    assert first_of(nested) is bug


async def test_a_task_that_fails_comes_before_what_its_end_makes_fail():
    async def fail() -> None:
        raise FIRST

    async def together() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_until_cancelled(Closable(SECOND)))
            group.create_task(fail())

    with pytest.raises(BaseExceptionGroup) as caught:
        await together()
    assert first_of(caught.value) is FIRST


async def run_until_cancelled(part: Closable) -> None:
    async with closing("the part", part.close):
        await asyncio.Event().wait()


@pytest.mark.parametrize("at_store", [SECOND, None])
def test_a_start_that_fails_ends_with_its_own_words_whatever_closing_does(tmp_path, monkeypatch, capsys, at_store):
    """Given a node that can't start, and a mark file and a store that can't be closed, When it ends, Then people read why it did not
    start, and the exit code is that of the reason.
    """
    write_key(DataDir(tmp_path).key, Identity(b"k" * 32))
    store = EmptyStore(at_store)

    class Failing:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        async def run(self) -> str:
            raise FIRST

        def close(self) -> None:
            raise SECOND

    async def opened(_: object, *, lock: object) -> Closable:
        return store

    monkeypatch.setattr(app, "harden_daemon", lambda: "")
    monkeypatch.setattr(app, "Bootstrap", Failing)
    monkeypatch.setattr(app, "MarkFile", Failing)
    monkeypatch.setattr(app.SqliteStore, "open", opened)
    config = load_config(tmp_path, {}, {}).config
    assert run_command("bflcd", lambda: app.run(config)) == 1
    assert "bflcd: the first\n  hint: mend this" in capsys.readouterr().err
    assert store.closed
    assert "the mark file could not be closed" in (tmp_path / "log" / "bflcd.log").read_text()


async def test_the_network_is_closed_though_the_api_can_t_be(caplog):
    node = object.__new__(Bootstrap)
    node._bus, node._ring = type("Bus", (), {"close": lambda _: None})(), LogRing()
    node._api, node._side = Closable(FIRST), Closable(SECOND)
    with caplog.at_level(logging.ERROR), pytest.raises(OperatorError, match="the first"):
        await node._close()
    assert node._side.closed
    assert "the second" in caplog.text


async def test_both_sides_of_a_store_are_closed(caplog):
    chain, payloads = Closable(SECOND), Closable(FIRST)
    with pytest.raises(OperatorError, match="the first"):
        await BlockStore(chain, payloads).close()
    assert chain.closed
    assert "the second" in caplog.text


async def test_an_api_that_can_t_start_says_why_though_its_end_fails_too(tmp_path, monkeypatch, caplog):
    def refuse(*_: object) -> None:
        raise FIRST

    def fail(*_: object) -> None:
        raise SECOND

    monkeypatch.setattr("bflcd.api.server.write_api_file", refuse)
    monkeypatch.setattr("bflcd.api.server.remove_socket", fail)
    with pytest.raises(OperatorError, match="the first"):
        await ApiServer(FakeNode(), Metrics(), tmp_path).start()
    assert "the API could not be closed" in caplog.text

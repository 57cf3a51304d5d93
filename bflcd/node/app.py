"""The daemon's process: identity, log, store and mark file are opened, a node runs on them, all of it is closed again."""

import asyncio
import logging
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import msgspec
import uvloop

from bflcd.closing import closing
from bflcd.config import Config
from bflcd.errors import first_of
from bflcd.log import LogContext, set_up_logging, shut_down_logging
from bflcd.node.anew import ExcludedError, KeyReplacedError, StartAnewError
from bflcd.node.attack import attack_warnings
from bflcd.node.bootstrap import Bootstrap, ignore_orders
from bflcd.node.first_peers import with_last_keys
from bflcd.node.joining import Consent
from bflcd.process import harden_daemon
from bflcd.setup.datadir import DataDir
from bflcd.setup.keyring import KeyRing
from bflcd.store.lock import DirectoryLock
from bflcd.store.marks import MarkFile
from bflcd.store.protocol import ChainStore
from bflcd.store.sqlite import SqliteStore
from bflcd.types import short
from bflcd.version import __version__

logger = logging.getLogger(__name__)

SWITCH_SECONDS: Final = 0.0005
"""How long one thread may keep the interpreter from another: the loop and the network's thread keep waiting for each other."""

THREADS: Final = 4
"""Threads that work for the event loop; none of their jobs lasts long, and the disk takes one write at a time."""


def run(config: Config, consent: Consent | None = None, *, warnings: tuple[str, ...] = ()) -> int:
    """Run one node until it is told to stop; returns the exit code 0. Raises BflcError for what the operator should read.

    `consent`: as `find_genesis` takes it. `warnings`: of the configuration, for the log.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    lack = harden_daemon()
    try:
        uvloop.run(_main(config, consent, (*warnings, *([lack] if lack else []))))
    except BaseExceptionGroup as failures:
        raise first_of(failures) from failures
    finally:
        shut_down_logging()
    return 0


def _threads() -> ThreadPoolExecutor:
    """Threads for hashing, decoding and the disk, all started at once: one that comes late brings a memory arena of its own."""
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="bflcd")
    together = threading.Barrier(THREADS)
    try:
        for _ in range(THREADS):
            pool.submit(together.wait)
    except RuntimeError:  # no thread is to be had: those that came wait for nobody
        together.abort()
        raise
    return pool


async def _main(config: Config, consent: Consent | None, warnings: tuple[str, ...]) -> None:
    asyncio.get_running_loop().set_default_executor(_threads())
    datadir = DataDir(config.node.datadir)
    datadir.check()
    keys = KeyRing.open(config)
    log = LogContext(short(keys.identity.node_id))
    with DirectoryLock(datadir.path) as lock:  # before the log: what runs here already writes to it
        set_up_logging(config.log.level, config.log.format, datadir.path, log)
        logger.info("bflcd %s, node %s, pid %d", __version__, short(keys.identity.node_id), os.getpid())
        for text in (*warnings, *attack_warnings(config.attack)):
            logger.warning("%s", text)
        await _open_and_run(config, consent, keys, log, lock)
    logger.info("stopped")


async def _open_and_run(config: Config, consent: Consent | None, keys: KeyRing, log: LogContext, lock: DirectoryLock) -> None:
    datadir = config.node.datadir
    store = await SqliteStore.open(datadir, lock=lock)
    async with closing("the store", store.close):
        marks = MarkFile(DataDir(datadir).marks)
        async with closing("the mark file", marks.close):
            why: StartAnewError | None = None
            try:
                while True:
                    known, why = await _take_key(config, keys, store, why)
                    log.node = short(keys.identity.node_id)
                    node = Bootstrap(known, keys, store, marks, log, consent=consent, because=why)
                    if (why := await node.run()) is None:
                        return
                    logger.warning("starting anew")
            finally:
                ignore_orders()


async def _take_key(
    config: Config, keys: KeyRing, store: ChainStore, why: StartAnewError | None
) -> tuple[Config, StartAnewError | None]:
    """Have the node run under the key that is the member by its ledger, and call its first peers by theirs.

    `why`: for what it starts anew. Gives the configuration with those peers, and for what it starts anew now.
    """
    if await store.genesis() is None:
        return config, why
    state = (await store.head()).state
    denied, tried = isinstance(why, KeyReplacedError), keys.tried
    changed = await asyncio.to_thread(keys.settle, state, denied=denied)
    if changed:
        logger.warning("from now on this node is %s", keys.identity.node_id.hex())
        why = KeyReplacedError(f"this node goes on as {keys.identity.node_id.hex()}")
    if denied and (not changed or (tried and not keys.tried)):
        why = ExcludedError(str(why))  # there is no other key, or all have been tried: members are asked first
    first = with_last_keys(config.node.bootstrap, state)
    return msgspec.structs.replace(config, node=msgspec.structs.replace(config.node, bootstrap=first)), why

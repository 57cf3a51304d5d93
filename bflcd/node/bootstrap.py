"""From a key to a chain: the network and the API are up from the start, the rest is made once the genesis is known."""

import asyncio
import logging
import signal
from typing import Final

from bflcd.api.event_bus import EventBus, LogRing
from bflcd.api.metrics import Metrics
from bflcd.api.server import ApiServer
from bflcd.closing import closing
from bflcd.config import Config
from bflcd.config.port import Port
from bflcd.core.node_events import Severity
from bflcd.errors import first_of
from bflcd.ledger.state import genesis_header, genesis_state
from bflcd.log import LogContext, PeersLines
from bflcd.node.anew import ExcludedError, StartAnewError
from bflcd.node.attack import check_attack
from bflcd.node.engine import MarkFile
from bflcd.node.joining import Consent, find_genesis
from bflcd.node.peer_side import PeerSide
from bflcd.node.privacy.judging import JudgingFile
from bflcd.node.reporter import EventReporter
from bflcd.node.running import join_chain
from bflcd.node.runtime.clock import wall_clock
from bflcd.node.surroundings import Surroundings
from bflcd.node.views.facts import Measures, NodeFacts
from bflcd.node.views.presenter import Presenter
from bflcd.params import Genesis
from bflcd.setup.datadir import DataDir
from bflcd.setup.keyring import KeyRing
from bflcd.setup.own_files import watch_own_files
from bflcd.store.block_store import BlockStore

CLOSE_SECONDS: Final = 4.0
"""What an orderly stop may take; systemd and Docker wait longer."""

logger = logging.getLogger(__name__)


class Bootstrap:
    """One node from its start to its end."""

    def __init__(
        self,
        config: Config,
        keys: KeyRing,
        store: BlockStore,
        marks: MarkFile,
        log: LogContext,
        *,
        consent: Consent | None = None,
        because: StartAnewError | None = None,
    ) -> None:
        """`consent`: as `find_genesis` takes it. `because`: why it starts anew, if it does."""
        self._config = config
        identity = keys.identity
        self._me = identity.node_id
        self._consent = consent
        self._store = store
        self._stop = asyncio.Event()
        self._ring = LogRing()
        self._ring.addFilter(PeersLines())
        metrics = Metrics()
        self._bus = EventBus(wall_clock, metrics.event)
        reporter = EventReporter(self._bus)
        if because is not None:
            reporter.tell(because.kind, 0, str(because))
        self._side = side = PeerSide(config, identity, store, metrics, reporter.tell)
        addresses = side.transport.addresses
        self._facts = NodeFacts(
            config, identity.node_id, side.peers, Measures(store), addresses=addresses, alarms=reporter.alarms
        )
        self._presenter = Presenter(self._facts, store, self._bus, ring=self._ring, tell=reporter.tell, stop=self._stop.set)
        port = Port.parse(config.api.listen) if config.api.listen else None
        self._api = ApiServer(self._presenter, metrics, config.node.datadir, port=port)
        self._around = Surroundings(
            config,
            identity,
            store,
            marks,
            log,
            side,
            metrics=metrics,
            tell=reporter.tell,
            facts=self._facts,
            keys=keys,
            judging=JudgingFile.open(
                DataDir(config.node.datadir).judging, config.privacy, has_signed=marks.highest() is not None
            ),
            excluded=isinstance(because, ExcludedError),
        )

    async def run(self) -> StartAnewError | None:
        """Run until SIGTERM, SIGINT, SIGHUP or a request to stop, or until the node has to start anew: then why."""
        why: StartAnewError | None = None
        loop = asyncio.get_running_loop()
        for number in orders():
            loop.add_signal_handler(number, self._stop.set)
        logging.getLogger("bflcd").addHandler(self._ring)
        async with closing("the network and the API", self._close):
            await self._side.start(self._config.node.bootstrap)
            self._facts.api_place = await self._api.start()
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._until_stopped())
                    group.create_task(self._side.transport.wait_closed())
                    group.create_task(self._api.wait_closed())
                    group.create_task(self._side.peers.run())
                    group.create_task(watch_own_files(DataDir(self._config.node.datadir)))
                    group.create_task(self._live())
            except* _Stopping:
                logger.info("stopping")
            except* StartAnewError as failures:
                first = first_of(failures)
                assert isinstance(first, StartAnewError)
                why = first
                logger.log(logging.CRITICAL if why.kind.severity is Severity.ALARM else logging.WARNING, "%s", why)
        return why

    async def _live(self) -> None:
        """From the genesis to the end."""
        genesis, first_model = await find_genesis(
            self._config, self._store, self._side.exchange, self._side.peers, me=self._me, consent=self._consent
        )
        check_attack(self._config.attack, genesis)
        await self._take_up(genesis, first_model)
        node = await join_chain(genesis, self._around)
        self._side.standing = node.standing
        self._presenter.show(node.view)
        await node.run()

    async def _take_up(self, genesis: Genesis, first_model: bytes | None) -> None:
        await self._store.initialise(genesis, genesis_header(genesis), genesis_state(genesis))
        if first_model is not None and not await self._store.has_blob(genesis.model.root):
            await self._store.put_blob(first_model)

    async def _until_stopped(self) -> None:
        await self._stop.wait()
        raise _Stopping

    async def _close(self) -> None:
        """Close in the reverse order of starting, within `CLOSE_SECONDS`; the chain's parts have closed by themselves."""
        self._bus.close()
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                ends = await asyncio.gather(self._api.close(), self._side.close(), return_exceptions=True)
        except TimeoutError:
            logger.warning("closing took more than %.0f s; what was left is cut off", CLOSE_SECONDS)
            ends = (None, None)
        finally:
            logging.getLogger("bflcd").removeHandler(self._ring)
        failures = [end for end in ends if end is not None]
        for later in failures[1:]:
            logger.error("another part could not be closed", exc_info=later)
        if failures:
            raise failures[0]


def orders() -> tuple[signal.Signals, ...]:
    """Signals that end the node in order; SIGHUP, of a terminal that was closed, unless `nohup` has it ignored."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return (signal.SIGTERM, signal.SIGINT) if ignored else (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def ignore_orders() -> None:
    """The end is under way: a further signal, even after the loop, must neither cut it short nor change its exit code."""
    loop, numbers = asyncio.get_running_loop(), orders()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        for number in numbers:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Stopping(Exception):  # noqa: N818 - no error: the ordinary end
    """Ends the TaskGroup."""

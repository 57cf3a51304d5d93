"""The interpreter: carries out the core's effects in order, and brings their answers back.

One task owns the core; everything else talks to it through one bounded inbox. Effects that must come before what follows them
(`Persist`, `Commit`, `Send`) are awaited; slow ones run as jobs and answer with an event. An error that nobody answers for ends
the runtime, and with it the daemon: nothing fails silently. All waiting goes through the ports, so the simulated world runs this
very code in virtual time.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bflcd.core.effects import (
    Aggregate,
    Blame,
    CancelWork,
    CatchUp,
    Commit,
    Effect,
    FetchBlob,
    FetchEnvelopes,
    FetchOperations,
    FetchSegment,
    FindModel,
    Halt,
    Notice,
    Persist,
    Score,
    Send,
    Train,
)
from bflcd.core.events import Event
from bflcd.core.signing_guard import SigningGuard
from bflcd.errors import MachineError
from bflcd.net.exchange import Exchange
from bflcd.node.runtime.compute import ComputeJobs
from bflcd.node.runtime.delivery import Delivery
from bflcd.node.runtime.fetch import FetchJobs
from bflcd.node.runtime.jobs import Jobs
from bflcd.node.runtime.payloads import CachedPayloads
from bflcd.node.runtime.ports import (
    Clock,
    Delivered,
    Fetcher,
    Inbox,
    Machine,
    Marks,
    Network,
    Numbers,
    Observer,
    RoundStore,
    Spending,
)
from bflcd.node.runtime.reliance import Reliance
from bflcd.node.runtime.unpublished import Unpublished
from bflcd.params import Params
from bflcd.scheduler import Scheduler
from bflcd.types import Digest, Millis, NodeId

LEAST_PAUSE: Final = Millis(10)
"""Between two ticks of the core: a deadline that is due again and again must not spin."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The world that a runtime works in."""

    clock: Clock
    scheduler: Scheduler
    inbox: Inbox
    store: RoundStore
    marks: Marks
    network: Network
    asker: Exchange
    fetcher: Fetcher
    numbers: Numbers
    observer: Observer
    spending: Spending


class Runtime:
    """Runs one core. `run` until cancelled."""

    def __init__(
        self,
        core: Machine,
        ports: Ports,
        *,
        chain: Digest,
        me: NodeId,
        params: Callable[[], Params],
        guard: SigningGuard,
        unpublished: Unpublished,
    ) -> None:
        """`params`: those of the running round."""
        self._core = core
        self._guard = guard
        self._unpublished = unpublished
        self._clock = ports.clock
        self._inbox = ports.inbox
        self._store = ports.store
        self._marks = ports.marks
        self._observer = ports.observer
        self._spending = ports.spending
        self._reliance = Reliance(ports.store, ports.fetcher, ports.network, ports.scheduler)
        self._jobs = Jobs(ports.scheduler)
        self._delivery = Delivery(ports.network, self._jobs, ports.clock, lambda: params().view_timeout)
        self._payloads = payloads = CachedPayloads(ports.store)
        self._compute = ComputeJobs(
            chain=chain,
            me=me,
            params=params,
            scheduler=ports.scheduler,
            inbox=ports.inbox,
            store=ports.store,
            payloads=payloads,
            unpublished=unpublished,
            numbers=ports.numbers,
            network=ports.network,
            fetcher=ports.fetcher,
        )
        self._fetch = FetchJobs(
            chain=chain,
            me=me,
            scheduler=ports.scheduler,
            jobs=self._jobs,
            inbox=ports.inbox,
            store=ports.store,
            payloads=payloads,
            unpublished=unpublished,
            numbers=ports.numbers,
            network=ports.network,
            asker=ports.asker,
            fetcher=ports.fetcher,
            observer=ports.observer,
        )
        self._ticked = Millis(0)

    async def run(self, first: Event) -> None:
        """Own the core until cancelled."""
        async with self._jobs.opened():
            await self._carry_out(self._core.handle(first, self._clock()))
            while True:
                delivered = await self._next()
                now = self._clock()
                effects = self._core.tick(now) if delivered is None else self._core.handle(delivered.event, now)
                await self._carry_out(effects)
                if delivered is not None and delivered.settled is not None:
                    delivered.settled()

    async def _next(self) -> Delivered | None:
        """The next event, or None when the core's deadline has come: timers run also while events never cease."""
        while True:
            now = self._clock()
            deadline = self._core.deadline(now)
            wake = None if deadline is None else max(deadline, Millis(self._ticked + LEAST_PAUSE))
            if wake is not None and wake <= now.mono:
                self._ticked = now.mono
                return None
            delivered = self._inbox.take()
            if delivered is not None:
                return delivered
            await self._inbox.wait(wake)

    async def _carry_out(self, effects: list[Effect]) -> None:
        for effect in _joined(effects):
            await self._one(effect)

    async def _one(self, effect: Effect) -> None:
        match effect:
            case Persist():
                await self._persist(effect)
            case Send():
                await self._delivery.send(effect)
            case Commit():
                await self._commit(effect)
            case Train(round_):
                self._jobs.start(round_, self._compute.train, effect)
            case Score(round_):
                self._jobs.start(round_, self._compute.score, effect)
            case Aggregate(_, round_):
                self._jobs.start(round_, self._compute.aggregate, effect)
            case CancelWork(round_):
                self._jobs.cancel_before(round_)
            case FetchBlob():
                self._fetch.start_blob(effect)
            case FetchEnvelopes(round_):
                self._jobs.start(round_, self._fetch.envelopes, effect)
            case FetchOperations(round_):
                self._jobs.start(round_, self._fetch.operations, effect)
            case FindModel(round_):
                self._jobs.start(round_, self._fetch.old_model, effect)
            case FetchSegment(round_):
                self._jobs.start(round_, self._fetch.segment, effect)
            case CatchUp(round_, peer):
                self._observer.behind(round_, peer)
            case Blame():
                self._observer.blame(effect)
            case Notice():
                self._observer.notice(effect)
            case Halt(text, hint):
                raise MachineError(text, hint=hint, code="halted")

    async def _persist(self, effect: Persist) -> None:
        """What is told of our rows is counted, then payloads, database, mark file, then whatever follows (design 6.3)."""
        if effect.tells is not None:
            await self._spending.count(effect.tells)
        await self._reliance.persist(effect)
        mark = self._guard.mark_for(effect.records)
        if mark is not None:
            await self._marks.write(mark)
            self._guard.marked(effect.records)

    async def _commit(self, effect: Commit) -> None:
        await self._store.commit(effect.certified, effect.state)
        self._guard.closed(effect.state.round)
        self._delivery.round_closed()
        self._unpublished.published(effect.certified.segment)
        self._observer.committed(effect)


def _joined(effects: list[Effect]) -> list[Effect]:
    """The effects with every `Persist` up to the next `Commit` made one, at the first one's place: one transaction, one sync.

    Being durable earlier than asked for breaks no promise; a record must only not move across the end of its round.
    """
    joined: list[Effect] = []
    place: int | None = None
    for effect in effects:
        first = joined[place] if place is not None else None
        if isinstance(effect, Persist) and isinstance(first, Persist) and place is not None:
            relies_on = tuple(dict.fromkeys(first.relies_on + effect.relies_on))
            joined[place] = Persist(first.records + effect.records, relies_on, effect.tells or first.tells)
            continue
        if isinstance(effect, Persist):
            place = len(joined)
        elif isinstance(effect, Commit):
            place = None
        joined.append(effect)
    return joined

"""The watch: each model that the chain brings is looked at once on this node's own rows, and the operator told if one got worse.

Nothing of it leaves the node: it decides no vote, and no message, block or card says anything of it.
"""

import logging
from collections import deque
from dataclasses import dataclass
from typing import Final, Protocol

from bflcd.core.node_events import EventKind
from bflcd.errors import MachineError
from bflcd.learn.protocol import WatchJob, WatchResult, WorkerError
from bflcd.learn.watching.verdict import LOOKED_BACK, Memory, take
from bflcd.node.reporter import Tell
from bflcd.node.runtime.bell import Bell
from bflcd.node.watching.standing import Standing, after, alarm_text, command, faded_by, warning
from bflcd.params import BlobRef
from bflcd.scheduler import Scheduler
from bflcd.types import Digest, Round, short
from bflcd.wire.blocks import CertifiedSegment
from bflcd.wire.rollback import RULE

logger = logging.getLogger(__name__)

MOST_WAITING: Final = LOOKED_BACK + 1
"""Models that wait to be looked at: as many as fill a memory; older ones are left out."""

PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 5.0
"""Seconds between two looks whether the payload of the newest model has come: at first, and once that takes long."""


class WatchedStore(Protocol):
    """Where models are found."""

    async def segment(self, round_: Round) -> CertifiedSegment | None:
        """As `ChainStore.segment`."""
        ...

    async def blob(self, root: Digest) -> bytes | None:
        """As `PayloadReader.blob`."""
        ...


class Looking(Protocol):
    """Who counts errors."""

    async def watch(self, job: WatchJob) -> WatchResult:
        """As `WorkerClient.watch`. Raises WorkerError."""
        ...


@dataclass(frozen=True, slots=True)
class NewModel:
    """A committed model. `went_back`: managers have put an older one in the place of the round's."""

    round: Round
    blob: BlobRef
    went_back: bool = False


class ModelWatch:
    """One task. It takes models in the order of their rounds, never stops a round, and forgets all but the last steps."""

    def __init__(self, store: WatchedStore, worker: Looking, scheduler: Scheduler, tell: Tell) -> None:
        self._store, self._worker, self._scheduler, self._tell = store, worker, scheduler, tell
        self._waiting: deque[NewModel] = deque(maxlen=MOST_WAITING)
        self._news = Bell()
        self._rows = 0
        self._memory = Memory()
        self._looked_at: Round | None = None
        self._standing: Standing | None = None
        self._failed = False

    def warnings(self) -> list[str]:
        """What `status` says while it stands."""
        return [] if self._standing is None else [warning(self._standing)]

    async def recall(self, round_: Round, rows: int) -> None:
        """Queue the last models up to that of `round_`, so that a restart forgets little: those whose payloads are here.

        `rows`: how many of its own a node looks at, at most.
        """
        self._rows = rows
        for number in range(max(1, round_ - LOOKED_BACK), round_ + 1):
            try:
                certified = await self._store.segment(Round(number))
            except MachineError as error:  # what needs the segment says so itself; a node joins without a watch's memory
                logger.warning("the model of round %d is not looked at: %s", number, error)
                continue
            if certified is not None:
                self.committed(certified, rows)

    def committed(self, certified: CertifiedSegment, rows: int) -> None:
        """A round is closed: its model is to be looked at on at most `rows` own rows."""
        header, self._rows = certified.segment.model_header, rows
        if header.blob is not None:
            self._waiting.append(NewModel(header.round, header.blob, certified.segment.model.rule == RULE))
            self._news.ring()

    async def run(self) -> None:
        """Look at models until cancelled."""
        while True:
            heard = self._news.rings
            while self._waiting:
                await self._look(self._waiting.popleft())
            await self._news.after(heard)

    async def _look(self, model: NewModel) -> None:
        self._standing = None if model.went_back else faded_by(self._standing, model.round)
        try:
            payload = await self._payload(model)
            if payload is None:
                logger.info("model %d is not here, and not looked at: the step from it to the next alarms nobody", model.round)
                return
            result = await self._worker.watch(WatchJob(payload, self._rows))
        except (WorkerError, MachineError) as error:
            self._tell_failure(model, error)
            return
        self._failed = False
        self._take(model, result)

    async def _payload(self, model: NewModel) -> bytes | None:
        """The model's, once it has come; None if a newer one comes first."""
        pause = PAUSE
        while (payload := await self._store.blob(model.blob.root)) is None and not self._waiting:
            await self._scheduler.sleep(pause)
            pause = min(LONGEST_PAUSE, 2 * pause)
        return payload

    def _take(self, model: NewModel, result: WatchResult) -> None:
        follows = self._looked_at is not None and model.round == self._looked_at + 1 and not model.went_back
        self._looked_at = model.round
        self._memory, alarm = take(self._memory, result.errors, follows=follows)
        logger.debug("model %d: %d of %d own rows are wrong", model.round, result.errors.wrong, result.errors.total)
        self._standing = None if model.went_back else after(self._standing, model.round, result.errors, alarm)
        if alarm is None or self._standing is None:
            return
        worst = alarm.of_all if alarm.worst is None else alarm.worst
        self._tell(
            EventKind.MODEL_WORSE,
            model.round,
            alarm_text(self._standing),
            sign=alarm.sign.value,
            label=worst.label,
            before=worst.before,
            after=worst.after,
            before_all=alarm.of_all.before,
            after_all=alarm.of_all.after,
            factor=round(alarm.factor, 2),
            back_to=self._standing.back_to,
            command=command(self._standing),
        )

    def _tell_failure(self, model: NewModel, error: WorkerError | MachineError) -> None:
        """Once in a row: what goes on failing is in `status` (`learn.health`)."""
        text = f"model {model.round} ({short(model.blob.root)}) was not looked at: {error}"
        if self._failed:
            logger.debug("%s", text)
        else:
            self._tell(EventKind.WORK_FAILED, model.round, text)
        self._failed = True

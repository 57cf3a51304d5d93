"""The watch beside a store and a worker that are scripted: which models it looks at, what it tells, and what it survives."""

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest

from bflcd.core.node_events import EventKind
from bflcd.learn.protocol import WatchResult, WorkerError
from bflcd.learn.watching.errors import ClassErrors
from bflcd.learn.watching.verdict import LOOKED_BACK
from bflcd.node.watching.models import MOST_WAITING, ModelWatch
from bflcd.node.watching.standing import LASTS
from bflcd.params import BlobRef
from bflcd.scheduler import ASYNCIO
from bflcd.store.protocol import DamagedBlobError
from bflcd.types import Digest, Round
from bflcd.wire.rollback import RULE

ROWS = 256
STILL, WORSE = 5, 60
"""Wrong rows of a hundred."""


def root_of(round_: int) -> Digest:
    return Digest(round_.to_bytes(32, "big"))


def certified(round_: int, rule: str = "fedavg", model: int | None = None):
    header = SimpleNamespace(round=Round(round_), blob=BlobRef(root_of(round_ if model is None else model), 1))
    return SimpleNamespace(segment=SimpleNamespace(model_header=header, model=SimpleNamespace(rule=rule)))


class Scripted:
    """A store that has the payloads of `here`, and a worker that finds `wrong` rows of a hundred in each."""

    def __init__(self, wrong, *, rounds: int = 0) -> None:
        self.wrong, self.rounds = wrong, rounds
        self.here = set(range(1_000))
        self.looked_at: list[int] = []
        self.told: list[tuple[EventKind, int, str, dict]] = []
        self.fails: Exception | None = None

    async def segment(self, round_: Round):
        return certified(round_) if 0 < round_ <= self.rounds else None

    async def blob(self, root: Digest) -> bytes | None:
        return bytes(root) if int.from_bytes(root, "big") in self.here else None

    async def watch(self, job) -> WatchResult:
        model = int.from_bytes(job.model, "big")
        assert job.rows == ROWS
        self.looked_at.append(model)
        if self.fails is not None:
            raise self.fails
        return WatchResult(ClassErrors((3,), (100,), (self.wrong(model),), (0,)), 0.01)

    def tell(self, kind: EventKind, round_: int, text: str, **fields) -> None:
        self.told.append((kind, round_, text, fields))


@asynccontextmanager
async def watching(script: Scripted):
    watch = ModelWatch(script, script, ASYNCIO, script.tell)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        yield watch
        task.cancel()


async def until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


async def close(watch, script, rounds, **kwargs) -> None:
    """Commit one round after the other, each once the model before it was looked at."""
    for number in rounds:
        seen = len(script.looked_at)
        watch.committed(certified(number, **kwargs), ROWS)
        await until(lambda seen=seen: len(script.looked_at) > seen)
    await asyncio.sleep(0)


FALL = 30


def falling(model: int) -> int:
    return STILL if model < FALL else WORSE


async def test_a_model_that_got_worse_is_told_with_the_way_back():
    """Given a steady model / When model 30 is wrong on half of the rows / Then an event, and a warning, say so and name model 29."""
    script = Scripted(falling)
    async with watching(script) as watch:
        await close(watch, script, range(1, FALL))
        assert (script.told, watch.warnings()) == ([], [])
        await close(watch, script, [FALL])
        await until(lambda: script.told)
        ((kind, round_, text, fields),) = script.told
        assert (kind, round_) == (EventKind.MODEL_WORSE, FALL)
        assert fields == {
            "sign": "rows",
            "label": 3,
            "before": 50_000,
            "after": 600_000,
            "before_all": 50_000,
            "after_all": 600_000,
            "factor": 55.0,
            "back_to": FALL - 1,
            "command": 'bflc-cli rollback 29 --reason "worse from model 30 on"',
        }
        assert fields["command"] in text
        assert watch.warnings() == [f"{text}; when it was last looked, 60.0 % were wrong"]


async def test_once_managers_went_back_nothing_stands():
    """Given an alarm / When the model of round 29 takes the place of round 32's / Then the warning is gone, and that step is no alarm."""
    script = Scripted(falling)
    async with watching(script) as watch:
        await close(watch, script, range(1, FALL + 2))
        assert watch.warnings()
        script.wrong = lambda model: STILL if model in (FALL - 1, FALL + 3) else WORSE
        await close(watch, script, [FALL + 2], rule=RULE, model=FALL - 1)
        await until(lambda: not watch.warnings())
        await close(watch, script, [FALL + 3])
    assert len(script.told) == 1


async def test_once_managers_went_back_nothing_stands_though_no_look_succeeds():
    """Given an alarm / When the look at the model of a rollback fails / Then the warning is gone all the same."""
    script = Scripted(falling)
    async with watching(script) as watch:
        await close(watch, script, range(1, FALL + 1))
        await until(watch.warnings)
        script.fails = WorkerError("torch failed")
        await close(watch, script, [FALL + 1], rule=RULE, model=FALL - 1)
        await until(lambda: not watch.warnings())


async def test_a_warning_ends_though_the_looks_after_it_fail():
    script = Scripted(falling)
    async with watching(script) as watch:
        await close(watch, script, range(1, FALL + 1))
        await until(watch.warnings)
        script.fails = WorkerError("torch failed")
        await close(watch, script, range(FALL + 1, FALL + LASTS))
        assert watch.warnings()
        await close(watch, script, [FALL + LASTS])
        await until(lambda: not watch.warnings())


async def test_a_damaged_block_keeps_no_node_from_its_watch(caplog):
    """Given a block that can't be read / When the node starts / Then the others' models are looked at, and the log names it."""
    script = Scripted(lambda model: STILL, rounds=40)
    read = script.segment

    async def segment(round_):
        if round_ == 30:
            raise DamagedBlobError(root_of(30), 0)
        return await read(round_)

    script.segment = segment
    async with watching(script) as watch:
        await watch.recall(Round(40), ROWS)
        await until(lambda: len(script.looked_at) == LOOKED_BACK)
    assert 30 not in script.looked_at
    assert "the model of round 30 is not looked at" in caplog.text


async def test_going_back_is_no_step_that_says_what_is_usual():
    """Given managers who go back to a model that is worse here / Then nobody is told, and a fall as deep alarms two rounds later."""
    script = Scripted(lambda model: WORSE if model in (3, FALL + 2) else STILL)
    async with watching(script) as watch:
        await close(watch, script, range(5, FALL))
        await close(watch, script, [FALL], rule=RULE, model=3)
        assert (script.told, watch.warnings()) == ([], [])
        await close(watch, script, [FALL + 1, FALL + 2])
        await until(lambda: script.told)
    assert [(round_, fields["sign"]) for _, round_, _, fields in script.told] == [(FALL + 2, "rows")]


async def test_a_round_whose_model_never_came_is_no_step():
    """Given a model that is not here when the next one comes / Then it is left out, and the step over it alarms nobody."""
    script = Scripted(falling)
    script.here.remove(FALL)
    async with watching(script) as watch:
        await close(watch, script, range(1, FALL))
        watch.committed(certified(FALL), ROWS)
        await close(watch, script, [FALL + 1])
    assert script.looked_at[-2:] == [FALL - 1, FALL + 1]
    assert script.told == []


async def test_the_newest_model_is_waited_for(monkeypatch):
    monkeypatch.setattr("bflcd.node.watching.models.PAUSE", 0.001)
    script = Scripted(falling)
    script.here.remove(1)
    async with watching(script) as watch:
        watch.committed(certified(1), ROWS)
        await asyncio.sleep(0.01)
        assert script.looked_at == []
        script.here.add(1)
        await until(lambda: script.looked_at == [1])


async def test_a_restart_looks_at_the_last_models_again_and_goes_on():
    """Given a chain of 40 rounds / When the node starts / Then it looks at the last 21 models, and the next one can alarm."""
    script = Scripted(lambda model: STILL if model <= 40 else WORSE, rounds=40)
    async with watching(script) as watch:
        await watch.recall(Round(40), ROWS)
        await until(lambda: len(script.looked_at) == LOOKED_BACK + 1)
        assert script.looked_at == list(range(40 - LOOKED_BACK, 41))
        await close(watch, script, [41])
        await until(lambda: script.told)
    assert script.told[0][3]["back_to"] == 40


async def test_what_waits_is_bounded():
    script = Scripted(falling)
    watch = ModelWatch(script, script, ASYNCIO, script.tell)
    for number in range(1, 500):
        watch.committed(certified(number), ROWS)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.run())
        await until(lambda: len(script.looked_at) == MOST_WAITING)
        task.cancel()
    assert script.looked_at == list(range(500 - MOST_WAITING, 500))


@pytest.mark.parametrize("error", [WorkerError("torch failed"), DamagedBlobError(root_of(2), 0)])
async def test_what_fails_is_told_once_and_the_watch_goes_on(error):
    """Given a worker that fails / Then that is told once in a row, the step over it is no alarm, and the next model is looked at."""
    script = Scripted(falling)
    async with watching(script) as watch:
        await close(watch, script, range(1, FALL))
        script.fails = error
        await close(watch, script, [FALL, FALL + 1])
        await until(lambda: script.told)
        script.fails = None
        await close(watch, script, [FALL + 2])
        assert watch.warnings() == []
    assert [(kind, round_) for kind, round_, _, _ in script.told] == [(EventKind.WORK_FAILED, FALL)]
    assert "was not looked at" in script.told[0][2]

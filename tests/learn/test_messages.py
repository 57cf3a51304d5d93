"""Messages between daemon and worker: each comes back whole, and a frame that says anything else is refused."""

import io
from dataclasses import replace
from typing import get_args

import pytest

from bflcd.errors import OperatorError, UsageError
from bflcd.learn.frames import Frame, FrameError, frame_parts, read_frame
from bflcd.learn.messages import (
    MAX_SAID_CHARS,
    Job,
    JobFailed,
    Message,
    OperatorFault,
    Ready,
    error_frame,
    frame_of,
    job_of,
    read_as,
)
from bflcd.learn.protocol import TrainResult, WorkerError
from bflcd.wire.training import Training
from tests.helpers.worker_messages import MESSAGES

SAID = [message for message in MESSAGES if not isinstance(message, OperatorFault | JobFailed)]
IDS = [frame_of(message).kind for message in SAID]


def through_a_pipe(frame):
    return read_frame(io.BytesIO(b"".join(frame_parts(frame))).read)


def test_there_is_one_message_of_every_kind():
    assert {type(message) for message in MESSAGES} == set(get_args(Message))


@pytest.mark.parametrize("message", SAID, ids=IDS)
def test_a_message_comes_back_whole(message):
    found = through_a_pipe(frame_of(message))
    assert read_as(found, type(message)) == message
    if isinstance(message, Job):
        assert job_of(found) == message


def test_models_and_updates_are_never_packed_into_a_head():
    said = {frame_of(message).kind: (frame_of(message).payloads, str(frame_of(message).fields)) for message in SAID}
    assert {kind: payloads for kind, (payloads, _) in said.items() if payloads} == {
        "description": (b"model",),
        "train": (b"model",),
        "score": (b"model", b"past", b"update", b"other"),
        "evaluate": (b"model",),
        "watch": (b"model",),
        "trained": (b"update",),
    }
    assert [kind for kind, (payloads, fields) in said.items() if any(repr(payload) in fields for payload in payloads)] == []


CHANGES = {
    "a field more": lambda frame: replace(frame, fields={**frame.fields, "more": 1}),
    "a field less": lambda frame: replace(frame, fields=dict(list(frame.fields.items())[1:])),
    "fields of other types": lambda frame: replace(frame, fields={key: {"x": []} for key in frame.fields}),
    "a payload more": lambda frame: replace(frame, payloads=(*frame.payloads, b"another")),
    "a payload less": lambda frame: replace(frame, payloads=frame.payloads[1:]),
}

CHANGED = [
    pytest.param(type(message), change(frame_of(message)), id=f"{frame_of(message).kind}: {what}")
    for message in SAID
    for what, change in CHANGES.items()
    if change(frame_of(message)) != frame_of(message)
]


@pytest.mark.parametrize(("expected", "changed"), CHANGED)
def test_a_frame_that_says_more_or_less_or_other_is_refused(expected, changed):
    with pytest.raises(FrameError, match=repr(changed.kind)):
        read_as(through_a_pipe(changed), expected)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"device": "cpu", "training_rows": "9", "validation_rows": 2, "test_rows": 3}, r"Expected `int`, got `str` - at `\$.training_rows`"),
        ({"device": "cpu", "training_rows": 1}, "missing required field `validation_rows`"),
        ({"device": "cpu", "training_rows": 1, "validation_rows": 2, "test_rows": 3, "more": []}, "others stand among them"),
    ],
)  # fmt: skip
def test_a_refusal_names_the_field(fields, words):
    with pytest.raises(FrameError, match=f"a frame 'ready' whose fields are not those of its kind: .*{words}"):
        read_as(Frame("ready", fields), Ready)


def test_an_unknown_key_deep_inside_is_refused():
    frame = through_a_pipe(frame_of(MESSAGES[0]))
    frame.fields["task"]["tensors"][0]["colour"] = "red"
    with pytest.raises(FrameError, match="others stand among them"):
        read_as(frame, type(MESSAGES[0]))


@pytest.mark.parametrize("frame", [Frame("cancelled"), Frame("x" * 10_000)], ids=["none that is read", "a long one"])
def test_a_kind_that_is_not_known_is_refused_in_few_words(frame):
    with pytest.raises(FrameError, match="no known kind") as caught:
        read_as(frame, Ready)
    assert len(str(caught.value)) < 100


def test_a_message_in_the_place_of_another_is_refused():
    with pytest.raises(FrameError, match="'ready' is out of place"):
        read_as(frame_of(Ready("cpu", 1, 2, 3)), TrainResult)
    with pytest.raises(FrameError, match="'ready' is out of place"):
        job_of(frame_of(Ready("cpu", 1, 2, 3)))


def test_the_workers_errors_are_raised_where_its_answer_was_expected():
    with pytest.raises(OperatorError, match="no such file") as caught:
        read_as(through_a_pipe(error_frame(UsageError("no such file", hint="correct data.path", code="missing_data"))), Ready)
    assert (caught.value.hint, caught.value.code) == ("correct data.path", "missing_data")
    with pytest.raises(WorkerError, match="memory ran out") as failed:
        read_as(through_a_pipe(error_frame(WorkerError("memory ran out", Training.MEMORY))), TrainResult)
    assert failed.value.fault is Training.MEMORY
    with pytest.raises(WorkerError, match="ZeroDivisionError"):
        read_as(error_frame(ZeroDivisionError()), TrainResult)


@pytest.mark.parametrize("error", [OperatorError("no \udcff", hint="mend \ud800"), WorkerError("\udc80")])
def test_what_is_no_utf_8_is_spelled_out(error):
    """Given a file's name, or a task's words, that no frame can hold, then what failed is told all the same."""
    with pytest.raises(type(error), match=r"\\ud") as caught:
        read_as(through_a_pipe(error_frame(error)), Ready)
    assert caught.value.args[0].isascii()


def test_an_error_is_no_longer_than_anybody_reads():
    with pytest.raises(WorkerError) as caught:
        read_as(through_a_pipe(error_frame(WorkerError("x" * 10**7))), Ready)
    assert len(str(caught.value)) == MAX_SAID_CHARS

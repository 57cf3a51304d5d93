"""What an asker offers: questions that follow from the model and its turn, as long as judges measure, and that divide judges."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bflcd.learn.data import DataConfig
from bflcd.learn.labels.balance import row_weights
from bflcd.learn.protocol import NORM_SCALE_BITS, Judging
from bflcd.learn.questions.asker import RECORDS, UNBOUND, Asker, Turn, suspected
from bflcd.learn.questions.prediction import CAUTION, Prediction, class_weights, expected
from bflcd.learn.task import Rows, find_task
from bflcd.learn.training import DeviceRows, initial_model
from bflcd.types import MicroNats
from bflcd.wire.tensors import split_payload

CPU = torch.device("cpu")
DEAL = DataConfig(partition="dirichlet", index=3, count=12, seed=5)
JUDGING = Judging(4, 2 << NORM_SCALE_BITS, MicroNats(2_000_000), tuple(MicroNats(edge) for edge in (-9, 1_000, 4_000)), 3)
TASK = find_task("digits", {})
SPEC, PAYLOAD = initial_model(TASK, 1)
MODEL = torch.from_numpy(split_payload(PAYLOAD, SPEC, label=None)[1].copy())
EVERYBODY = TASK.load_all(DEAL)


def asker(own: Rows) -> Asker:
    records = list(suspected(EVERYBODY, DEAL.seed))
    known = Rows(EVERYBODY.rows.inputs[records], EVERYBODY.rows.targets[records])
    return Asker(TASK, DeviceRows.of(own, CPU), DeviceRows.of(known, CPU), 10)


@pytest.fixture(scope="module")
def one() -> Asker:
    return asker(TASK.load(DEAL).own)


@given(st.lists(st.integers(0, 30), min_size=2, max_size=6).filter(any))
def test_it_knows_how_much_a_judges_classes_count(counts):
    """Given judges whose classes count alike, then an asker weighs each class of a judge with such counts as the judge does."""
    targets = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    rows, shares = len(targets), np.array(counts) / sum(counts)
    found = class_weights(shares[None], rows)[0]
    assert found[targets.numpy()] == pytest.approx(row_weights(targets).numpy())
    gains, labels = np.linspace(-1, 1, len(counts)), targets.numpy()
    means, variances = expected(shares[None], [Prediction(gains, np.ones(len(counts)))], rows, balanced=True)
    weighings = [np.ones(rows), row_weights(targets).numpy()]
    by_row, by_class = [(weights * gains[labels]).mean() for weights in weighings]
    assert means[0, 0] == pytest.approx(min(by_row, by_class), abs=1e-9)
    if abs(by_row - by_class) > 1e-6:
        less = weighings[int(by_class < by_row)]
        assert variances[0, 0] == pytest.approx(CAUTION * np.square(less).mean() / rows)
    plain, _ = expected(shares[None], [Prediction(gains, np.ones(len(counts)))], rows)
    assert plain[0, 0] == pytest.approx(by_row, abs=1e-9)


def turns(rounds: int, askers: int) -> list[Turn]:
    return [Turn(round_, place, askers) for round_ in range(rounds) for place in range(askers)]


def test_turns_number_all_questions_of_all_askers():
    assert [turn.number for turn in turns(4, 3)] == list(range(12))


def test_a_question_follows_from_the_model_and_the_turn(one: Asker):
    """Given two askers with the same rows, whatever they were asked for before, then they ask the same."""
    first = one.question(MODEL, Turn(4, 0, 3), JUDGING, 1.0)
    again = asker(TASK.load(DEAL).own).question(MODEL, Turn(4, 0, 3), JUDGING, 1.0)
    assert torch.equal(first.update, again.update)
    assert (first.label, first.record) == (again.label, again.record)
    assert not torch.equal(first.update, one.question(MODEL * 0.9, Turn(4, 0, 3), JUDGING, 1.0).update)


def test_classes_and_records_are_dealt_out_over_rounds_and_askers(one: Asker):
    """Given three askers, each of whom has rows of seven classes or more, then in a few rounds all classes and records are asked about."""
    asked = [one.question(MODEL, turn, JUDGING, 1.0) for turn in turns(9, 3)]
    assert [question.label is None for question in asked] == [bool(turn.number % 2) for turn in turns(9, 3)]
    assert {question.label for question in asked} - {None} == set(TASK.load(DEAL).own.targets.tolist())
    assert {question.record for question in asked} - {None} == set(range(RECORDS))


@pytest.mark.parametrize(("limit", "longest"), [(2 << NORM_SCALE_BITS, 8.0), (None, UNBOUND)])
def test_a_question_is_no_longer_than_what_is_measured_whole(one: Asker, limit: int | None, longest: float):
    judging = replace(JUDGING, limit=limit)
    norms = [float(one.question(MODEL, turn, judging, 1.0).update.norm()) for turn in turns(3, 3)]
    shares = {round(norm / longest, 3) for norm in norms}
    assert shares <= {1.0, 0.3}
    assert shares
    double = one.question(MODEL, Turn(0, 0, 3), judging, 2.0).update
    assert float(double.norm()) == pytest.approx(2 * norms[0], rel=1e-4)


def test_a_question_about_a_class_divides_it_from_the_others(one: Asker):
    """Given questions about classes, then what they do to the class's rows differs from what they do to all others, as is predicted."""
    own = TASK.load(DEAL).own
    for turn in turns(8, 1)[::2]:
        question = one.question(MODEL, turn, JUDGING, 1.0)
        gains = one.gains(MODEL, question.update[None], DeviceRows.of(own, CPU), JUDGING)[0]
        (prediction,) = one.predict(MODEL, question.update[None], JUDGING)
        about = own.targets == question.label
        assert abs(gains[about].mean() - gains[~about].mean()) > 0.01
        assert prediction.means[question.label] == pytest.approx(gains[about].mean())


def test_of_a_class_that_it_lacks_an_asker_expects_what_all_rows_do(one: Asker):
    """Given an asker without rows of class 4, then it asks about others, and predicts the missing one by all rows that it has."""
    own = TASK.load(DEAL).own
    kept = own.targets != 4
    lacking = asker(Rows(own.inputs[kept], own.targets[kept]))
    asked = [lacking.question(MODEL, turn, JUDGING, 1.0) for turn in turns(20, 1)[::2]]
    assert 4 not in {question.label for question in asked}
    (prediction,) = lacking.predict(MODEL, asked[0].update[None], JUDGING)
    gains = lacking.gains(MODEL, asked[0].update[None], DeviceRows.of(Rows(own.inputs[kept], own.targets[kept]), CPU), JUDGING)
    assert prediction.means[4] == pytest.approx(gains.mean())


def test_a_row_gains_and_loses_no_more_than_judges_count(one: Asker):
    judging = replace(JUDGING, row_limit=MicroNats(1_000))
    update = one.question(MODEL, Turn(0, 0, 1), JUDGING, 1.0).update
    assert np.abs(one.gains(MODEL, update[None], one.records, judging)).max() <= 0.001


def test_all_askers_suspect_the_same_records():
    found = suspected(EVERYBODY, DEAL.seed)
    assert found == suspected(TASK.load_all(replace(DEAL, index=7)), DEAL.seed)
    assert found != suspected(EVERYBODY, DEAL.seed + 1)
    assert len(set(found)) == RECORDS
    assert set(found) <= set(np.concatenate(EVERYBODY.parts).tolist())

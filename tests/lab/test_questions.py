"""Askers beside a community: exact cards tell them everything, and what they are told is what the rule of disclosure says."""

import numpy as np
import pytest
import torch

from bflcd.lab.config import SimulationConfig
from bflcd.lab.disclosures import BEFORE, DISCLOSURES, HERE, Disclosure
from bflcd.lab.experiments.questions import advantage, distance, exact_counts
from bflcd.lab.questions.answers import Answer, Measured, answers
from bflcd.lab.questions.inference import Belief
from bflcd.lab.questions.interrogation import Interrogation, Record
from bflcd.lab.simulation import Machine, Simulation
from bflcd.learn.questions.prediction import Prediction
from bflcd.ledger.disclosure import GAIN_LEVELS, REFUSED, said_accuracy, said_gain
from bflcd.params import Params
from bflcd.types import MicroNats, PartsPerMillion

SIX = SimulationConfig(task="digits", devices=6, active=1.0, rounds=8, learning_rate=0.1, rate_decay=0.98, every=8, seed=3)
PARAMS = Params()


def test_exact_cards_tell_every_class_count_and_most_records():
    """Given cards as they were, when three askers ask for eight rounds, then they know all counts, and of most records who holds them."""
    asked = Interrogation(Simulation(SIX, Machine(threads=1)), (BEFORE,))
    while asked.ask():
        pass
    known = asked.learned()
    assert known
    assert all(exact_counts(one.guessed[BEFORE], one) == 1.0 for one in known)
    assert all(distance(one.public, one.true) > 0.05 for one in known)
    gained, _ = advantage(asked.asked_enough(), BEFORE)
    assert gained >= 0.7


@pytest.mark.parametrize("gain", [-400_000, -240_000, -1, 0, 999, 1_000, 70_000, 900_000])
def test_what_daemons_do_is_one_of_the_rules(gain):
    least, accuracy, ranked = MicroNats(-240_000), PartsPerMillion(800_000), Params(score_rule="accuracy")
    said = DISCLOSURES[HERE].gain(MicroNats(gain), least)
    assert said == said_gain(MicroNats(gain), least)
    assert DISCLOSURES[HERE].accuracy(ranked, said, accuracy) == said_accuracy(ranked, said, accuracy)
    assert DISCLOSURES[HERE].accuracy(PARAMS, said, accuracy) == said_accuracy(PARAMS, said, accuracy) == 0


def test_exact_rules_say_the_gain_of_what_qualifies_and_the_accuracy():
    exact, least = Disclosure(None), MicroNats(-10)
    assert [exact.gain(MicroNats(gain), least) for gain in (-11, -10, 5)] == [REFUSED, 0, 5]
    assert exact.accuracy(PARAMS, REFUSED, PartsPerMillion(7)) == 7


def rows_of(*gains: float) -> Measured:
    """Three rows of a model that is always right, and updates each of which gains as much on every row."""
    losses = np.array([[1.0] * 3] + [[1.0 - gain] * 3 for gain in gains])
    return Measured(losses, np.ones(losses.shape, dtype=np.bool_))


def test_an_answer_is_the_interval_of_its_word():
    found = answers(
        Disclosure(), MicroNats(-300_000), rows_of(-0.31, -0.2, 0.00001, 0.005, 3.0), range(5), np.random.default_rng(1)
    )
    assert [(one.low, one.high) for one in found] == [
        (-np.inf, -0.3),
        (-0.3, 0.000016),
        (-0.3, 0.000016),
        (0.004, 0.016),
        (0.256, np.inf),
    ]
    assert {one.accuracy for one in found} == {None}


def test_noise_and_a_draw_of_the_rows_change_answers():
    measured = Measured(np.array([[1.0] * 40, [1.0 - 0.01 * (row % 2) for row in range(40)]]), np.ones((2, 40), dtype=np.bool_))
    for rule in (Disclosure(None, share=0.25), Disclosure(None, noise=0.1)):
        told = {answers(rule, MicroNats(-300_000), measured, [0], np.random.default_rng(seed))[0].low for seed in range(9)}
        assert len(told) > 1


def test_an_asker_learns_from_what_it_is_told():
    """Given answers that only one class's share explains, then the guess comes to it; exact answers more than words do."""
    public, true = np.full(4, 0.25), np.array([0.7, 0.1, 0.1, 0.1])
    prediction = Prediction(np.array([0.1, -0.02, -0.02, -0.02]), np.full(4, 1e-4))
    gain = float(true @ prediction.means)
    far = {}
    for name, answer in (("word", Answer(0.016, 0.064, None)), ("number", Answer(gain - 5e-7, gain + 5e-7, 1.0))):
        belief = Belief(public, 4.0, 100, np.random.default_rng(2))
        for _ in range(3):
            belief.hear(prediction, answer, 0.0)
        far[name] = abs(belief.mean()[0] - true[0])
    assert far["number"] < 0.05 < far["word"] < 0.45


def test_the_advantage_is_true_less_false_positives():
    records = [Record(0, 0, held, {"r": odds}) for held, odds in [(True, 1.0), (True, -1.0), (False, -1.0), (False, -2.0)]]
    assert advantage(records, "r")[0] == 0.5


def test_the_levels_of_daemons_are_those_that_are_measured():
    assert DISCLOSURES[HERE] == Disclosure(GAIN_LEVELS, multiplier=None)
    assert torch.tensor(GAIN_LEVELS).diff().min() > 0

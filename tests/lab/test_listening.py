"""What is concluded from cards by those who asked: class shares and membership, held against what is true."""

import numpy as np
import pytest

from bflcd.config import AttackSection, Config
from bflcd.errors import UsageError
from bflcd.lab.disclosures import HERE
from bflcd.lab.experiments.askers import askers_report
from bflcd.lab.experiments.questions import distance
from bflcd.lab.questions import listening as module
from bflcd.lab.questions.interrogation import Learned, Record
from bflcd.lab.questions.listening import Askers, Heard, Listened, conclude, membership
from bflcd.learn.attacks import find_attack
from bflcd.learn.data import DataConfig
from bflcd.learn.lies.cards import Lies
from bflcd.learn.questions.prediction import Prediction
from bflcd.learn.task import Community, Rows, find_task
from bflcd.ledger.disclosure import said_gain
from bflcd.types import MicroNats, NodeId

JUDGE, OTHER = (NodeId(bytes([number]) * 32) for number in (1, 2))
LEAST = MicroNats(-300_000)
PUBLIC = np.full(4, 0.25)


def asked_about(label: int, gain: float, lost: float, shares: np.ndarray, record: int | None = None, own: float = 0.0) -> Heard:
    """A question that helps one class by `gain` nats a row and costs the others `lost`, answered by a judge with these shares."""
    means = np.full(4, -lost)
    means[label] = gain
    word = said_gain(MicroNats(round(float(shares @ means) * 1e6)), LEAST)
    return Heard(Prediction(means, np.full(4, 1e-3)), LEAST, ((JUDGE, word),), record, own)


def test_what_is_concluded_comes_near_to_a_judges_shares_and_leaves_others_unknown():
    """Given questions about four classes at several thresholds, then the one judge who answered is known, the other as everybody."""
    true = np.array([0.6, 0.3, 0.1, 0.0])
    heard = [asked_about(label, 0.2, lost, true) for label in range(4) for lost in (0.02, 0.05, 0.1, 0.2, 0.4)]
    beliefs = conclude(heard, {JUDGE: 120, OTHER: 120}, PUBLIC, 0.5)
    assert distance(beliefs[JUDGE].mean(), true) < 0.1 < distance(PUBLIC, true)
    assert distance(beliefs[OTHER].mean(), PUBLIC) < 0.1


def test_a_word_of_who_is_not_asked_about_is_no_answer():
    assert conclude([asked_about(0, 0.2, 0.1, PUBLIC)], {}, PUBLIC, 0.5) == {}
    assert membership([asked_about(0, 0.2, 0.1, PUBLIC, 3)], {}) == {}


def test_a_word_that_the_record_explains_speaks_for_it():
    """Given a judge of ten rows whose class shares are known, and an offer that costs all rows a little and gains one record two nats:
    if a card says more than the others' rows explain, then it is likelier held, if it says no more, then less.
    """
    held = {}
    for own_share, name in ((2.0 / 10, "held"), (0.0, "not held")):
        means = np.full(4, -0.01)
        word = said_gain(MicroNats(round((-0.01 + own_share) * 1e6)), LEAST)
        question = Heard(Prediction(means, np.full(4, 1e-6)), LEAST, ((JUDGE, word),), 5, 2.0)
        held[name] = membership([question], conclude([], {JUDGE: 10}, PUBLIC, 0.5))[JUDGE]
    assert set(held["held"]) == {5}
    assert held["held"][5] > 1 > -1 > held["not held"][5]


def test_each_record_that_is_held_stands_beside_one_of_its_class_that_is_not():
    """Given six records of two classes, of which a judge holds two of one class and one of the other, then each has a partner of its
    own, as long as there are any.
    """
    labels = np.array([0, 0, 0, 0, 1, 1])
    community = Community(Rows(np.zeros(6), labels), (np.array([0, 1, 4]), np.array([2, 3, 5])), None)
    odds = {number: float(number) for number in range(6)}
    found = module._matched(community, 0, range(6), odds)
    expected = [(0, True), (2, False), (1, True), (3, False), (4, True), (5, False)]
    assert found == [Record(0, number, held, {HERE: float(number)}) for number, held in expected]
    assert module._matched(community, 0, range(6), {0: 1.0, 1: 1.0, 2: 1.0}) == [
        Record(0, 0, True, {HERE: 1.0}),
        Record(0, 2, False, {HERE: 1.0}),
    ]


def test_askers_are_found_by_what_they_play():
    asker = Config(attack=AttackSection(name="asker", accomplices=(OTHER.hex(),)))
    assert module._asking({JUDGE: asker, OTHER: Config()}) == {JUDGE: find_attack("asker", lies=Lies.NONE)}
    with pytest.raises(UsageError, match="nobody asks") as caught:
        module._asking({JUDGE: Config(attack=AttackSection(name="noise")), OTHER: Config()})
    assert caught.value.code == "no_askers"


def test_an_askers_own_rows_do_not_tell_what_to_expect_unless_it_asks_alone():
    task, attack = find_task("digits", {}), find_attack("asker")
    parts = {node: DataConfig(partition="equal", index=index, count=12) for index, node in enumerate((JUDGE, OTHER))}
    own = [task.load(config).own.targets.tolist() for config in parts.values()]
    both = Askers(task, attack, parts).expecting
    assert [both[node].reference.targets.tolist() for node in (JUDGE, OTHER)] == own[::-1]
    alone = Askers(task, attack, {JUDGE: parts[JUDGE]}).expecting
    assert alone[JUDGE].reference.targets.tolist() == own[0]


def learned(guess: list[float]) -> Learned:
    return Learned(0, 10, np.array([0.5, 0.5]), np.array([0.9, 0.1]), {HERE: np.array(guess)})


def test_the_report_is_of_all_testnets_together():
    one = Listened(20, 30, 2, (learned([0.6, 0.4]),), ())
    two = Listened(40, 50, 0, (learned([0.5, 0.5]),), (Record(0, 1, True, {HERE: 1.0}), Record(0, 2, False, {HERE: -1.0})))
    report = askers_report((one, two))
    assert report.data["rules"][HERE] == {"distance": pytest.approx(0.05), "exact": 0.5, "advantage": 1.0, "error": 0.0}
    assert report.data["public"] == {"distance": pytest.approx(0.4), "exact": 0.0}
    assert report.data["testnets"] == [
        {"rounds": 20, "questions": 30, "others": 2},
        {"rounds": 40, "questions": 50, "others": 0},
    ]
    assert report.notes[0] == "20 rounds: 30 questions were heard, 2 offers of the askers were none"
    assert [row[-1] for row in askers_report((one,)).tables[0].rows] == ["-", "0"], "of records nothing was heard"
    with pytest.raises(UsageError, match="nobody knows it well"):
        askers_report((Listened(1, 1, 0, (), ()),))

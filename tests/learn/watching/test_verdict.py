"""Which steps alarm: by tables, and by properties over any history."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bflcd.learn.watching.errors import ClassErrors, share_of
from bflcd.learn.watching.verdict import LOOKED_BACK, Alarm, Memory, Rise, Sign, take

ROWS = (40, 40, 40, 5)
"""Of four classes; of the last there are too few to be looked at by themselves."""


def errors(*missed: int, rows: tuple[int, ...] = ROWS, taken: tuple[int, ...] | None = None) -> ClassErrors:
    return ClassErrors(tuple(range(len(rows))), rows, missed, (0,) * len(rows) if taken is None else taken)


def followed(models) -> tuple[Memory, list[Alarm | None]]:
    memory, alarms = Memory(), []
    for model in models:
        memory, alarm = take(memory, model)
        alarms.append(alarm)
    return memory, alarms


STEADY = [errors(4, 4 + number % 2, 4, 1) for number in range(LOOKED_BACK + 1)]
"""One row of one class goes to and fro."""


@pytest.mark.parametrize(
    ("after", "sign", "worst"),
    [
        (errors(4, 4, 4, 1), None, None),
        (errors(5, 5, 4, 1), None, None),
        (errors(8, 4, 4, 1), Sign.ROWS, Rise(0, 40, share_of(4, 40), share_of(8, 40))),
        (errors(4, 4, 20, 1), Sign.ROWS, Rise(2, 40, share_of(4, 40), share_of(20, 40))),
        (errors(0, 0, 9, 1), Sign.CLASS, Rise(2, 40, share_of(4, 40), share_of(9, 40))),
        (errors(0, 0, 8, 1), Sign.CLASS, Rise(2, 40, share_of(4, 40), share_of(8, 40))),
        (errors(0, 0, 7, 1), None, None),
        (errors(3, 4, 3, 5), None, None),
        (errors(0, 0, 0, 0), None, None),
    ],
)
def test_which_step_alarms(after, sign, worst):
    """Given a model of which one row goes to and fro / When the next one is so much worse / Then that is the alarm."""
    memory, alarms = followed(STEADY)
    assert memory.ripe
    assert alarms == [None] * len(STEADY)
    _, alarm = take(memory, after)
    assert (None if alarm is None else (alarm.sign, alarm.worst)) == (None if sign is None else (sign, worst))


def test_an_alarm_says_how_it_stands_with_all_rows():
    memory, _ = followed(STEADY)
    _, alarm = take(memory, errors(4, 4, 20, 1))
    assert alarm is not None
    assert alarm.of_all == Rise(None, 125, share_of(13, 125), share_of(29, 125))
    assert alarm.factor > 5


def test_a_fall_no_deeper_than_one_before_it_may_be_an_outlier():
    """Given steps of which one took six rows of one class / When six rows of six classes fall / Then that alarms as an outlier."""
    rows = (9,) * 14
    quiet = errors(*[2] * 14, rows=rows)
    once = replace(quiet, missed=(8, *[2] * 13))
    memory, _ = followed([*[quiet] * 10, once, *[quiet] * 10])
    spread = replace(quiet, missed=(*[3] * 6, *[2] * 8), taken=(*[0] * 8, *[1] * 6))
    _, alarm = take(memory, spread)
    assert alarm is not None
    assert alarm.sign is Sign.OUTLIER
    assert alarm.worst is None, "no class has enough rows"


def test_young_models_alarm_nobody():
    memory, _ = followed(STEADY[:-1])
    assert not memory.ripe
    assert take(memory, errors(40, 40, 40, 5))[1] is None


def test_a_step_over_missing_rounds_alarms_nobody_and_is_not_remembered():
    memory, _ = followed(STEADY)
    taken, alarm = take(memory, errors(40, 40, 40, 5), follows=False)
    assert (alarm, taken.steps) == (None, memory.steps)
    assert take(taken, errors(40, 40, 40, 5))[1] is None


def test_other_rows_begin_anew():
    memory, _ = followed(STEADY)
    other = errors(41, 40, 40, 4, rows=(41, 40, 40, 4))
    assert take(memory, other) == (Memory(other), None)


def test_without_rows_nothing_alarms():
    nothing = ClassErrors((), (), (), ())
    memory, alarms = followed([nothing] * (LOOKED_BACK + 5))
    assert alarms == [None] * (LOOKED_BACK + 5)
    assert memory.ripe


def test_what_lasts_alarms_once():
    """Given an alarm / When the model stays as bad as it is / Then nothing alarms again."""
    memory, _ = followed(STEADY)
    memory, first = take(memory, errors(4, 4, 30, 1))
    assert first is not None
    for _ in range(5):
        memory, again = take(memory, errors(4, 4, 30, 1))
        assert again is None


def test_who_harms_and_mends_in_turn_makes_no_swing_usual():
    """Given harm and mending by turns, five times the memory long / Then every harm alarms, and so does one that stays after them."""
    memory, _ = followed(STEADY)
    for number in range(5 * LOOKED_BACK):
        memory, alarm = take(memory, errors(4, 4, 30 if number % 2 == 0 else 4, 1))
        assert (alarm is not None) is (number % 2 == 0), number


COUNTS = st.tuples(*(st.integers(0, rows) for rows in ROWS))


@given(st.lists(COUNTS, min_size=1, max_size=3 * LOOKED_BACK))
def test_the_memory_is_bounded_and_only_counts(models):
    memory, alarms = followed([errors(*one) for one in models])
    assert len(memory.steps) == min(LOOKED_BACK, len(models) - 1 - sum(alarm is not None for alarm in alarms))
    assert memory.newest == errors(*models[-1])


@given(st.lists(COUNTS, min_size=LOOKED_BACK + 2, max_size=LOOKED_BACK + 12))
def test_models_that_only_get_better_alarm_nobody(models):
    falling = [tuple(sorted((one[number] for one in models), reverse=True)) for number in range(len(ROWS))]
    _, alarms = followed([errors(*one) for one in zip(*falling, strict=True)])
    assert set(alarms) == {None}


@given(COUNTS, st.integers(1, 3))
def test_a_model_that_stays_alarms_nobody_and_a_class_that_falls_always(counts, number):
    """Given the same model over and over / When half of a class that was right is wrong / Then that alarms, and names the class."""
    place, still = number - 1, [0, 0, 0, counts[3]]
    memory, alarms = followed([errors(*still)] * (LOOKED_BACK + 1))
    assert set(alarms) == {None}
    fallen = list(still)
    fallen[place] = 20
    _, alarm = take(memory, errors(*fallen))
    assert alarm is not None
    assert alarm.worst == Rise(place, 40, share_of(0, 40), share_of(20, 40))


@given(st.lists(COUNTS, min_size=LOOKED_BACK + 2, max_size=LOOKED_BACK + 2))
def test_an_alarm_is_always_of_a_model_that_got_worse(models):
    found = [errors(*one) for one in models]
    _, alarms = followed(found)
    alarm = alarms[-1]
    if alarm is not None and alarm.sign is not Sign.CLASS:
        assert alarm.of_all.after > alarm.of_all.before
    if alarm is not None and alarm.sign is Sign.CLASS:
        assert alarm.worst is not None
        assert alarm.worst.after > alarm.worst.before

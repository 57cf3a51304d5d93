"""How long an alarm is told of, which model it names, and in which words."""

import shlex
from dataclasses import replace

import pytest

from bflcd.learn.watching.errors import ClassErrors
from bflcd.learn.watching.verdict import Alarm, Rise, Sign
from bflcd.node.watching.standing import LASTS, Standing, after, alarm_text, command, faded_by, warning
from bflcd.types import PartsPerMillion, Round

ALARM = Alarm(
    Sign.CLASS,
    Rise(None, 125, PartsPerMillion(80_000), PartsPerMillion(232_000)),
    Rise(7, 40, PartsPerMillion(25_000), PartsPerMillion(500_000)),
    6.25,
)
BASE = PartsPerMillion(80_000)
ERRORS = ClassErrors((0, 7), (85, 40), (9, 16), (0, 0))


def alarm_from(before: int) -> Alarm:
    """One of a model before which so many millionths of all rows were wrong."""
    return replace(ALARM, of_all=replace(ALARM.of_all, before=PartsPerMillion(before)))


def test_the_first_alarm_names_the_model_to_go_back_to_and_later_ones_name_the_same():
    """Given an alarm in model 41 / When models 42 and 45 alarm too, from worse ones / Then all say to go back to model 40."""
    standing = after(None, Round(41), ERRORS, ALARM)
    for model in (42, 43, 44, 45):
        standing = after(standing, Round(model), ERRORS, alarm_from(BASE + 1) if model in (42, 45) else None)
    assert standing is not None
    standing = replace(standing, alarm=ALARM)
    assert standing == Standing(Round(41), Round(45), ALARM, ERRORS, BASE)
    assert standing.back_to == 40


@pytest.mark.parametrize(("quiet", "stands"), [(0, True), (LASTS - 1, True), (LASTS, False)])
def test_it_stands_until_so_many_rounds_brought_no_alarm(quiet, stands):
    standing = after(None, Round(41), ERRORS, ALARM)
    for model in range(42, 42 + quiet):
        standing = after(standing, Round(model), ERRORS, None)
    assert (standing is not None) is stands
    if not stands:
        assert after(standing, Round(100), ERRORS, ALARM) == Standing(Round(100), Round(100), ALARM, ERRORS, BASE)


@pytest.mark.parametrize(("before", "back_to"), [(BASE - 1, 49), (BASE, 49), (BASE + 1, 40)])
def test_nobody_goes_back_further_than_to_a_model_that_was_as_good(before, back_to):
    """Given an alarm in model 41 / When model 50 alarms and 49 was as good as 40, or better / Then 49 is the one to go back to."""
    standing = after(after(None, Round(41), ERRORS, ALARM), Round(50), ERRORS, alarm_from(before))
    assert (standing.back_to, standing.last) == (back_to, 50)


def test_an_alarm_of_an_older_round_begins_anew():
    """Given an alarm in model 60 / When rounds have gone back and 45 alarms / Then no later round than it is named."""
    standing = after(after(None, Round(60), ERRORS, ALARM), Round(45), ERRORS, alarm_from(BASE + 1))
    assert (standing.first, standing.back_to) == (45, 44)


def test_it_fades_where_no_look_succeeds():
    standing = after(None, Round(41), ERRORS, ALARM)
    assert faded_by(standing, Round(41 + LASTS - 1)) == standing
    assert faded_by(standing, Round(41 + LASTS)) is None
    assert faded_by(None, Round(1)) is None


def test_without_an_alarm_nothing_stands():
    assert after(None, Round(41), ERRORS, None) is None


def test_an_alarm_says_what_got_worse_and_what_managers_can_do():
    standing = Standing(Round(41), Round(43), ALARM, ERRORS, BASE)
    assert alarm_text(standing) == (
        "model 43 is worse on this node's own rows than its steps so far explain: 23.2 % of 125 rows are wrong, 8.0 % before, "
        "most of class 7: 50.0 % of 40 rows are wrong, 2.5 % before (sign: class, outlier factor 6.2); if other members see it "
        'too, a quorum of managers goes back to model 40, of which 8.0 % were wrong, with `bflc-cli rollback 40 --reason "worse from '
        'model 41 on"`'
    )
    assert warning(standing) == f"{alarm_text(standing)}; when it was last looked, 20.0 % were wrong"


def test_the_command_is_one_that_there_is():
    """Given the words of an alarm / Then the control command takes them as they stand."""
    import typer

    from bflc_cli.main import app

    program, *words = shlex.split(command(Standing(Round(41), Round(43), ALARM, ERRORS, BASE)))
    group = typer.main.get_command(app)
    found = group.commands[words[0]].make_context(words[0], words[1:], resilient_parsing=False)
    assert (program, found.params["round_"], found.params["reason"]) == ("bflc-cli", 40, "worse from model 41 on")

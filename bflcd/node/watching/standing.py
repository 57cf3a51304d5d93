"""What is said of models that got worse, and for how long; pure."""

from dataclasses import dataclass, replace
from typing import Final

from bflcd.learn.watching.errors import ClassErrors, share_of
from bflcd.learn.watching.verdict import LOOKED_BACK, Alarm, Rise
from bflcd.params import MILLION
from bflcd.types import PartsPerMillion, Round

LASTS: Final = LOOKED_BACK
"""Rounds after the last alarm in which `status` goes on saying it: by then what was unusual is what is remembered."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Alarms without LASTS quiet rounds between them: the first one, whose predecessor is the model to go back to, and the last.

    `errors`: of the newest model that was looked at; `base`: what share of all rows the model to go back to had wrong.
    """

    first: Round
    last: Round
    alarm: Alarm
    errors: ClassErrors
    base: PartsPerMillion

    @property
    def back_to(self) -> Round:
        """Of which round's model the first alarm says nothing: the one before it."""
        return Round(self.first - 1)


def after(standing: Standing | None, model: Round, errors: ClassErrors, alarm: Alarm | None) -> Standing | None:
    """What stands once the model of round `model` was looked at; nothing more once LASTS rounds have brought no alarm.

    An alarm of a model whose predecessor was as good as the one to go back to, or better, begins anew: nobody goes further back
    than that.
    """
    if alarm is None:
        faded = faded_by(standing, model)
        return None if faded is None else replace(faded, errors=errors)
    before = alarm.of_all.before
    if standing is None or before <= standing.base or model <= standing.first:
        return Standing(model, model, alarm, errors, before)
    return replace(standing, last=model, alarm=alarm, errors=errors)


def faded_by(standing: Standing | None, model: Round) -> Standing | None:
    """What is left once the model of round `model` came, looked at or not."""
    return None if standing is None or model >= standing.last + LASTS else standing


def alarm_text(standing: Standing) -> str:
    """The last alarm for an event, the log and `status`: what got worse, and what people can do."""
    alarm = standing.alarm
    worst = "" if alarm.worst is None else f", most of class {alarm.worst.label}: {_rise(alarm.worst)}"
    return (
        f"model {standing.last} is worse on this node's own rows than its steps so far explain: {_rise(alarm.of_all)}{worst} "
        f"(sign: {alarm.sign}, outlier factor {alarm.factor:.1f}); if other members see it too, a quorum of managers goes back "
        f"to model {standing.back_to}, of which {_percent(standing.base)} were wrong, with `{command(standing)}`"
    )


def warning(standing: Standing) -> str:
    """The same with how things stand now."""
    errors = standing.errors
    return f"{alarm_text(standing)}; when it was last looked, {_percent(share_of(errors.wrong, errors.total))} were wrong"


def command(standing: Standing) -> str:
    """What each manager says on its own node; the first opens the motion, the others may approve it as well."""
    return f'bflc-cli rollback {standing.back_to} --reason "worse from model {standing.first} on"'


def _rise(rise: Rise) -> str:
    return f"{_percent(rise.after)} of {rise.rows} rows are wrong, {_percent(rise.before)} before"


def _percent(share: int) -> str:
    return f"{100 * share / MILLION:.1f} %"

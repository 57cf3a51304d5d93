"""How long a member waits for offers before it signs its card (design 5.3).

Whoever is present and gives no offer costs time, so each wait is a share of what the round has taken anyway. The few that are
late among those whose offers usually come get T0 at least: who offers at once closes no round before others have trained; where
updates are served late, three quarters of those expected can (`core.round.closing`). For those of whom nobody expects anything a
short round waits half as long again, in every eighth round T0, so that whoever has lost its name by a fault is heard of again and
again. Only when more than a quarter of those expected are late does the collect deadline decide. Where that is too short for most
of them it grows (`ledger.pace`); but for as long as that only until half of them have offered: then it is known what training
takes.
"""

from dataclasses import dataclass
from typing import Final

from bflcd.params import Params
from bflcd.types import Millis, NodeId, Round

HALF_AGAIN: Final = 2
"""The grace of a short round for who has no name for offering: half as long again."""

PATIENT_EVERY: Final = 8
"""Every so many rounds a short one waits T0 for whoever is here: a sixth of T0 a round on average, if somebody never offers."""

HALF_TIMES: Final = 4
"""Times that half of the offers took, in which all others have to come, where that is longer than the deadline that was set."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """How far the offers of a round have come.

    `expected`: trainers that are waited for; `others`: those that are present besides; `scored`, `settled`: whose offers are
    (settled: scored or given up); `pending`: whether some offer is neither; `offered`: whose offers are known, settled or not;
    `closed`: no further ones are taken, so once none is pending there is nothing left to wait for.
    """

    expected: frozenset[NodeId]
    others: frozenset[NodeId]
    scored: frozenset[NodeId]
    settled: frozenset[NodeId]
    pending: bool
    offered: frozenset[NodeId] = frozenset()
    closed: bool = False

    @property
    def complete(self) -> bool:
        """Whether nothing is left to wait for."""
        settled = self.closed or (self.all_expected and self.others <= self.settled)
        return settled and not self.pending

    @property
    def all_expected(self) -> bool:
        """Whether all that are waited for have come, and there is something to say of anybody."""
        return bool(self.scored) and self.expected <= self.settled

    @property
    def half(self) -> bool:
        """Whether half of those that are waited for have offered; true where nobody is."""
        return 2 * len(self.offered & self.expected) >= len(self.expected)

    def most(self, places: int) -> bool:
        """Whether so many of the expected are scored that the rest gets no more than the grace: all but one, or but a quarter.

        Something has to be scored, be it of somebody else: a lone one that is expected and died would hold the round to the end.
        """
        count = len(self.expected)
        return bool(self.scored) and len(self.scored & self.expected) >= min(places, count - max(1, count // 4))


class CardTimer:
    """When the own card is due. A grace runs from the first look at which its condition holds, for as long as it holds."""

    def __init__(self, params: Params, round_: Round, opened: Millis, longest: Millis, *, places: int | None = None) -> None:
        """`longest`: the collect deadline as it has grown, at least that of `params`; `places`: so many scored
        offers are enough; None: those of `params`."""
        self._params = params
        self._places = params.places if places is None else places
        self._longest = longest
        self._patient = round_ % PATIENT_EVERY == 0
        self._opened = opened
        self._half_from: Millis | None = None
        self._most_from: Millis | None = None
        self._all_from: Millis | None = None

    def look(self, now: Millis, seen: Expectations) -> None:
        """Note what holds now."""
        if self._half_from is None and seen.half and seen.expected:
            self._half_from = now
        self._most_from = self._since(self._most_from, now) if seen.most(self._places) else None
        self._all_from = self._since(self._all_from, now) if seen.all_expected else None

    @staticmethod
    def _since(begun: Millis | None, now: Millis) -> Millis:
        return now if begun is None else begun

    def due_at(self, now: Millis, seen: Expectations) -> Millis:
        """When, as far as is known now, the card is due."""
        if seen.complete:
            return now
        due = Millis(self._opened + self._most_wait(now, seen))
        if seen.most(self._places):
            due = min(due, self._grace_from(self._since(self._most_from, now), patient=True))
        if seen.all_expected:
            due = min(due, self._grace_from(self._since(self._all_from, now), patient=self._patient))
        return due

    def _most_wait(self, now: Millis, seen: Expectations) -> Millis:
        """From the opening to the deadline: as it has grown, where fewer than half have offered; else as it was set."""
        if not seen.half:
            return self._longest
        taken = self._since(self._half_from, now) - self._opened if seen.expected else 0
        return min(max(self._params.collect_deadline, Millis(HALF_TIMES * taken)), self._longest)

    def _grace_from(self, begun: Millis, *, patient: bool) -> Millis:
        """A quarter of the time that the round has taken; of a short one T0 if `patient`, else half as long, and at most T0."""
        taken, most = begun - self._opened, self._params.view_timeout
        return Millis(begun + max(taken // 4, most if patient else min(taken // HALF_AGAIN, most)))

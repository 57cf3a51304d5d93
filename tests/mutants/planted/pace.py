"""Defects of the pace: waits that one liar moves, that grow for ever, or that never grow."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

PACE = "bflcd/ledger/pace.py"
WAITING = "bflcd/core/round/waiting.py"

PACED: Final = selection("ledger/test_pace.py")
WAITED: Final = selection("core/test_waiting.py")
ROUNDS: Final = selection("core/test_pace.py")
LIARS: Final = selection("core/test_pace_liars.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "pace-by-one-late-round",
        "one bad leader makes all later views longer (section 6.7)",
        PACE,
        "if len(late) >= LATE:",
        "if late:",
        PACED,
    ),
    mutant(
        "pace-never-shrinks",
        "what once was slow waits long for dead leaders for ever (section 6.7)",
        PACE,
        "((), max(doublings - 1, 0), 0) if calm >= CALM",
        "((), doublings, 0) if calm >= CALM",
        PACED,
    ),
    mutant(
        "pace-without-bound",
        "T0 grows beyond sixteen times what was set (section 6.7)",
        PACE,
        "min(doublings + lower_median(late), MOST_DOUBLINGS)",
        "doublings + lower_median(late)",
        PACED,
    ),
    mutant(
        "pace-of-the-genesis",
        "views last as long as was set, whatever rounds have needed (section 6.7)",
        "bflcd/core/round/context.py",
        "self.head.hash, state.committee, self.view_timeout)",
        "self.head.hash, state.committee, self.params.view_timeout)",
        ROUNDS,
    ),
    mutant(
        "pace-by-the-best-card",
        "a judge that says a high view makes all of them longer (section 6.7)",
        "bflcd/ledger/transition.py",
        "lower_median([card.body.decided for card in cards])",
        "max(card.body.decided for card in cards)",
        selection("ledger/test_transition.py"),
    ),
    mutant(
        "no-word-of-the-view",
        "cards don't say in which view the parent was decided (section 5.3)",
        "bflcd/core/round/collection.py",
        "decided=self._before.view,",
        "decided=View(0),",
        ROUNDS,
    ),
    mutant(
        "deadline-never-stretched",
        "who needs longer than the collect deadline trains for nothing for ever (section 6.7)",
        PACE,
        "return min(stretches + 1, MOST_DOUBLINGS), 0",
        "return stretches, 0",
        PACED,
        ROUNDS,
    ),
    mutant(
        "stretched-for-the-mute",
        "who never offers holds each round for sixteen deadlines (section 6.7)",
        WAITING,
        "        if not seen.half:\n",
        "        if seen.expected:\n",
        WAITED,
        ROUNDS,
    ),
    mutant(
        "first-offer-ends-the-wait",
        "one hasty trainer, or one that lies, ends the wait for all others (section 6.7)",
        WAITING,
        "return 2 * len(self.offered & self.expected) >= len(self.expected)",
        "return bool(self.offered) or not self.expected",
        WAITED,
        LIARS,
    ),
    mutant(
        "cards-are-kept",
        "a liar that shows its card to some alone makes an honest leader's view fail (section 6.7)",
        "bflcd/core/round/agreement.py",
        "        if leader != self._context.me:\n",
        "        if False:\n",
        LIARS,
    ),
    mutant(
        "stretched-without-trainers",
        "rounds in which nobody may train count as ones of slow training (section 6.7)",
        "bflcd/ledger/transition.py",
        "& expected) if expected else None",
        "& expected)",
        LIARS,
    ),
    mutant(
        "stale-view-counts",
        "the first view after a step, timed by the T0 before, counts for the new one (section 6.7)",
        PACE,
        "[-WINDOW:] if pace.calm else pace.views",
        "[-WINDOW:]",
        PACED,
    ),
)

"""Defects of the signing guard: what a restarted, wiped or doubtful node signs (design 6.3)."""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Mutant, mutant

GUARD = "bflcd/core/signing_guard.py"

RULES: Final = selection("core/test_signing_guard.py")
WIPED: Final = Simulated("wiped")
TORN: Final = Simulated("torn_log")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "signs-below-the-floor",
        "a node whose database is behind its mark file signs (rule 3; row 18)",
        GUARD,
        "self._floor is not None and round_ <= self._floor",
        "False",
        RULES,
        Simulated(),
        TORN,
    ),
    mutant(
        "floor-a-round-too-low",
        "a node signs in the very round that its mark names and its database has forgotten (rule 3; row 18)",
        GUARD,
        "round_ <= self._floor",
        "round_ < self._floor",
        RULES,
        TORN,
    ),
    mutant(
        "mark-file-ignored",
        "a database behind the mark file signs again (rule 3; row 18)",
        GUARD,
        "    return mark.round\n",
        "    return None\n",
        RULES,
        TORN,
    ),
    mutant(
        "any-record-is-the-marks",
        "a database that lost its end passes for whole, since it holds some other record of the round (rule 3; row 18)",
        GUARD,
        "    return mark in _marks_of((*records.votes, *records.own))\n",
        "    return bool(_marks_of((*records.votes, *records.own)))\n",
        RULES,
        TORN,
    ),
    mutant(
        "fresh-node-signs-at-once",
        "a node that lost database and mark file signs after catching up (rule 3)",
        GUARD,
        "        self._floor = Round(max(self._floor or 0, stands + 1))\n",
        "",
        RULES,
        Simulated(),
        WIPED,
    ),
    mutant(
        "doubt-ignored",
        "a node without memory signs before anybody has said where the others stand (rule 3)",
        GUARD,
        "        self._in_doubt = in_doubt\n",
        "        self._in_doubt = False\n",
        RULES,
        Simulated(),
        WIPED,
    ),
    mutant(
        "one-word-settles",
        "one liar's word tells a wiped node that nobody has begun (rule 3)",
        GUARD,
        "min(faults(seats) + 1, members - 1)",
        "min(1, members - 1)",
        RULES,
        WIPED,
    ),
    mutant(
        "a-chain-without-a-mark-is-trusted",
        "a node killed while it caught up from nothing signs at its next start (rule 3)",
        GUARD,
        "floor=Round(head + 1) if in_doubt and head > 0 else floor",
        "floor=floor",
        RULES,
        selection("crash/test_wiped.py"),
    ),
    mutant(
        "overdue-mark-forgotten",
        "a record whose mark was never written is said again without it (rule 3; row 18)",
        GUARD,
        "newest if floor is None and newest != mark else None",
        "None",
        RULES,
        Simulated("crash_storm"),
    ),
    mutant(
        "highest-place-is-overdue",
        "after a restart the mark names the highest place, and the log loses the newest record (rule 3; row 18)",
        GUARD,
        "        newest = newest_of(records)\n",
        "        newest = max(_marks_of(signed), key=lambda mark: (mark.epoch, mark.view, mark.phase), default=None)\n",
        RULES,
        Simulated("power_loss"),
    ),
    mutant(
        "journal-takes-the-mark-back",
        "what the journal stores again moves the mark back from a later signature (rule 3; row 18)",
        GUARD,
        "        marks = _marks_of(records) - self._marked\n",
        "        marks = _marks_of(records)\n",
        RULES,
        Simulated("power_loss"),
    ),
)

"""Defects of what follows from labels: how common classes are is learned from one device, or decides for all of a judge's rows."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

CALIBRATION = "bflcd/learn/labels/calibration.py"
BALANCE = "bflcd/learn/labels/balance.py"

TRAINED: Final = selection("learn/labels")
JUDGED: Final = selection("learn/test_scoring.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "calibration-never-fades",
        "what classes are worth beside each other is never learned (section 5.1)",
        CALIBRATION,
        "(1.0 - (known / MILLION) ** 2)",
        "(1.0 - (0 / MILLION) ** 2)",
        TRAINED,
    ),
    mutant(
        "a-shared-prior-is-never-learned",
        "a community whose task is hard leaves out for ever what all its labels say (section 5.1)",
        CALIBRATION,
        "age = round_ / HALVING",
        "age = 0 / HALVING",
        TRAINED,
    ),
    mutant(
        "a-shared-prior-is-learned-too-late",
        "a long training ends before what all labels say has been learned (ADR 40)",
        CALIBRATION,
        "max(age, age**2)",
        "age",
        TRAINED,
    ),
    mutant(
        "one-class-teaches-nothing",
        "who alone has a class teaches nobody what it looks like (section 5.1)",
        CALIBRATION,
        "    enough = min(1.0, max(0.0, (perplexity - 1.0) / (ENOUGH - 1.0)))",
        "    enough = min(1.0, max(1.0, (perplexity - 1.0) / (ENOUGH - 1.0)))",
        TRAINED,
    ),
    mutant(
        "numbers-taken-for-classes",
        "a task whose targets are ages, or marked as ignored, trains no more (section 5.1)",
        CALIBRATION,
        "if any(int(each.min()) < 0 or int(each.max()) >= classes for each in self._targets):",
        "if any(int(each.min()) < -1000 for each in self._targets):",
        TRAINED,
    ),
    mutant(
        "calibrated-to-another-device",
        "in a stack all train by the labels of the first (section 5.1)",
        CALIBRATION,
        "[log_shares(each, classes) for each in self._targets]",
        "[log_shares(each, classes) for each in self._targets[:1] * len(self._targets)]",
        TRAINED,
    ),
    mutant(
        "classes-that-are-not-there",
        "the logarithm of a class that a device lacks is infinite, and its update not a number (section 5.1)",
        CALIBRATION,
        "    counts += UNSEEN\n",
        "    counts += 0.0\n",
        TRAINED,
    ),
    mutant(
        "trainers-know-nothing",
        "nodes calibrate as if the model were new, whatever the ledger says (section 5.1)",
        "bflcd/core/round/local_work.py",
        "canary, state.known)]",
        "canary)]",
        selection("core/test_fresh_gains.py"),
    ),
    mutant(
        "a-rare-row-speaks",
        "one row of a class that a judge has once decides as much as all of another (section 5.2)",
        BALANCE,
        "np.minimum(HEAVIEST, alike / np.where(there, counts, 1.0))",
        "np.minimum(1e9, alike / np.where(there, counts, 1.0))",
        JUDGED,
    ),
    mutant(
        "rows-count-alike",
        "a judge of mostly two classes speaks for these (section 5.2)",
        "bflcd/learn/scoring.py",
        "weights = row_weights(targets) if job.balanced and self._task.classifies else None",
        "weights = row_weights(targets * 0) if job.balanced and self._task.classifies else None",
        JUDGED,
    ),
    mutant(
        "rare-classes-pay-for-a-common-one",
        "who takes from a common class and gives to rare ones is paid, having trained nothing (section 5.2)",
        "bflcd/learn/scoring.py",
        "by_row if weights is None else min(by_row, ",
        "by_row if weights is None else max(-ROW_LOSS_LIMIT, ",
        JUDGED,
    ),
    mutant(
        "noise-for-one-of-many",
        "a row of a rare class moves a card further than its noise covers (section 5.3)",
        "bflcd/ledger/disclosure.py",
        "return params.balanced_gains and not params.score_noise",
        "return params.balanced_gains",
        selection("core/test_fresh_gains.py"),
    ),
)

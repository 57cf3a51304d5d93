"""Defects of training with privacy: a row that is told of more than is counted, or counted and then forgotten."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

GRADIENTS = "bflcd/learn/private/gradients.py"
DESCENT = "bflcd/learn/private/descent.py"
BUDGET = "bflcd/node/privacy/budget.py"
FILE = "bflcd/node/privacy/file.py"
PLANNING = "bflcd/learn/private/planning.py"
JUDGING = "bflcd/node/privacy/judging.py"

DESCENDED: Final = selection("learn/private/test_descent.py")
ACCOUNTED: Final = selection("learn/private/test_accountant.py")
DRAWN: Final = selection("learn/private/test_noise.py")
BUDGETED: Final = selection("node/privacy/test_budget.py")
PLANNED: Final = selection("learn/private/test_planning.py")
JUDGED: Final = selection("node/privacy/test_judging.py")
FILED: Final = selection("node/privacy/test_file.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "budget-for-one-update",
        "each update is made as if it were the only one: all together tell of rows far more than the budget (section 5.1)",
        PLANNING,
        "steps=steps * self.rounds)",
        "steps=steps)",
        PLANNED,
    ),
    mutant(
        "noise-hides-harm-unsaid",
        "a judge of fifty rows whose noise lets liars pass is told nothing",
        JUDGING,
        "if min(rows, params.score_rows) >= least:",
        "if rows >= 1:",
        JUDGED,
    ),
    mutant(
        "rows-unclipped",
        "one row moves the sum as far as it likes (section 5.1)",
        GRADIENTS,
        "clip / norm.clamp(min=clip)",
        "torch.ones_like(norm)",
        DESCENDED,
    ),
    mutant(
        "clip-by-tensor",
        "each tensor of a row's gradient is cut by its own norm: together they are longer (section 5.1)",
        GRADIENTS,
        "torch.linalg.vector_norm(torch.stack(norms), dim=0)",
        "torch.stack(norms).amax(0)",
        DESCENDED,
    ),
    mutant(
        "noise-by-the-mean",
        "the noise is as large as if one row had been the whole lot (section 5.1)",
        DESCENT,
        "self._covered(total).div_(len(rows) / mechanism.lots).float()",
        "self._covered(total.div_(len(rows) / mechanism.lots)).div_(len(rows)).float()",
        DESCENDED,
    ),
    mutant(
        "noise-without-the-clip",
        "noise does not grow with what a row may add (section 5.1)",
        DESCENT,
        "self.mechanism.noise / THOUSAND * self.mechanism.clip",
        "self.mechanism.noise / THOUSAND",
        DESCENDED,
    ),
    mutant(
        "no-row-no-noise",
        "an update without noise says that no row was drawn (section 5.1)",
        DESCENT,
        "            total, losses = gradients",
        "            if not len(index):\n                continue\n            total, losses = gradients",
        DESCENDED,
    ),
    mutant(
        "lots-of-fixed-size",
        "rows are dealt and not drawn, which the accountant's bound is not for (section 5.1)",
        "bflcd/learn/private/noise.py",
        "return np.flatnonzero(self._words(rows) < np.uint64(2**64 // lots))",
        "return np.sort(np.argsort(self._words(rows))[: rows // lots])",
        DRAWN,
    ),
    mutant(
        "sampling-for-nothing",
        "steps on all rows count as steps on a few (section 5.1)",
        "bflcd/learn/private/accountant.py",
        "    if lots == 1:\n        return order / twice",
        "    if lots == 1:\n        return order / twice / 4",
        ACCOUNTED,
    ),
    mutant(
        "spent-after-a-look",
        "the update that passes the budget is made (section 5.1)",
        BUDGET,
        "self._told(self.account.after(mechanism)) > self.allowed",
        "self._told(self.account) > self.allowed",
        BUDGETED,
    ),
    mutant(
        "offered-and-not-noted",
        "a restart forgets what was told (section 5.1)",
        BUDGET,
        "        self._file.write(self.account.after(mechanism))\n",
        "        self._file.account = self.account.after(mechanism)\n",
        BUDGETED,
    ),
    mutant(
        "a-lost-account-is-empty",
        "who loses the file has its whole budget again (section 5.1)",
        FILE,
        "        elif has_signed:",
        "        elif has_signed and False:",
        FILED,
    ),
    mutant(
        "a-damaged-account-counts",
        "a bit that flips makes the budget larger (section 5.1)",
        FILE,
        "            if found != _contents(account):",
        "            if found.format != _FORMAT:",
        FILED,
    ),
    mutant(
        "a-worker-without-noise",
        "a job that lacks its noise is trained as it is (section 5.1)",
        "bflcd/learn/worker.py",
        "        if self._private and descent is None:",
        "        if self._private and descent is not None and False:",
        selection("learn/test_client.py"),
    ),
)

"""Defects of how far an update moves the model: what is usual among norms, first steps, and who helps nobody."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

NORMS = "bflcd/ledger/influence/norms.py"
WEIGHTS = "bflcd/ledger/influence/weights.py"
STEP_LIMIT = "bflcd/ledger/influence/step_limit.py"
AGGREGATE = "bflcd/learn/aggregate.py"

USUAL: Final = selection("ledger/influence/test_norms.py")
WEIGHED: Final = selection("ledger/influence/test_weights.py", "ledger/test_transition.py")
STEPS: Final = selection("ledger/influence/test_step_limit.py")
AGGREGATED: Final = selection("learn/test_aggregate.py")
JUDGED: Final = selection("ledger/test_judgement.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "short-crowd-is-usual",
        "where half of a round's offers are a hundredth of an update, honest ones are too long (section 5)",
        NORMS,
        "if sum(gain > 0 for _, gain in offers) < MIN_RATED:",
        "if sum(gain > 0 for _, gain in offers) < 1000:",
        USUAL,
    ),
    mutant(
        "one-long-is-usual",
        "an offer of fifteen norms that gains much makes honest ones too short (section 5)",
        NORMS,
        "GAIN_CAP: Final = 2\n",
        "GAIN_CAP: Final = 1000\n",
        USUAL,
    ),
    mutant(
        "half-is-reached-late",
        "of two alike the longer is usual, so that half of those that gain lift it (section 5)",
        NORMS,
        "if 2 * reached >= total:",
        "if 2 * reached > total:",
        USUAL,
    ),
    mutant(
        "young-held-to-a-wrong-usual",
        "a first round that packed nothing but short offers stops the learning (section 5)",
        "bflcd/ledger/judgement.py",
        "if state.known < HALF_RIGHT and 2 *",
        "if state.known < 0 and 2 *",
        JUDGED,
    ),
    mutant(
        "grown-leave-the-usual",
        "whoever gains most by long offers is held to nothing that was usual before (section 5)",
        "bflcd/ledger/judgement.py",
        "if state.known < HALF_RIGHT and 2 *",
        "if 2 *",
        JUDGED,
    ),
    mutant(
        "young-drift-a-quarter",
        "a first round that was wrong holds the next twenty (section 5)",
        STEP_LIMIT,
        "    if young:\n",
        "    if young is None:\n",
        STEPS,
    ),
    mutant(
        "first-step-without-limit",
        "a first committee of liars makes of the model what it likes (section 5)",
        STEP_LIMIT,
        "return OWN_NORM if clip and not usual else step_limit(clip, usual)",
        "return step_limit(clip, usual)",
        STEPS,
    ),
    mutant(
        "zero-model-never-moves",
        "a model that begins at zero learns nothing (section 5)",
        AGGREGATE,
        "isqrt(model_squares) or None",
        "isqrt(model_squares)",
        AGGREGATED,
    ),
    mutant(
        "idle-weigh-all",
        "what costs a little less than the margin moves the model as far as what helps (section 5)",
        WEIGHTS,
        "    return lighten_idle(shares, [offer.helps > faults(m) for offer in packed], params.idle_weight)\n",
        "    return shares\n",
        WEIGHED,
    ),
    mutant(
        "f-cards-help",
        "f liars make each other's offers weigh as if they helped (section 5)",
        WEIGHTS,
        "offer.helps > faults(m)",
        "offer.helps >= faults(m)",
        WEIGHED,
    ),
    mutant(
        "many-are-lightened",
        "large communities learn slower, since few of their updates help by themselves (section 5)",
        WEIGHTS,
        "or len(shares) > FEW_UPDATES or",
        "or",
        WEIGHED,
    ),
    mutant(
        "coarse-ratio",
        "idle updates of few rows weigh as much as what helps (section 5)",
        WEIGHTS,
        "scale = MAX_WEIGHT // max(shares)\n",
        "scale = 1\n",
        WEIGHED,
    ),
)

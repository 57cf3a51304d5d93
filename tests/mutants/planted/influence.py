"""Defects of how far an update moves the model: what is usual among norms, first steps, and who helps nobody."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

NORMS = "bflcd/ledger/influence/norms.py"
WEIGHTS = "bflcd/ledger/influence/weights.py"
STEP_LIMIT = "bflcd/ledger/influence/step_limit.py"
AGGREGATE = "bflcd/learn/aggregate.py"

USUAL: Final = selection("ledger/influence/test_norms.py")
WEIGHED: Final = selection("ledger/influence/test_weights.py", "ledger/influence/test_rounds.py")
STEPS: Final = selection("ledger/influence/test_step_limit.py")
AGGREGATED: Final = selection("learn/test_aggregate.py")
JUDGED: Final = selection("ledger/test_judgement.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "short-crowd-is-usual",
        "where half of a round's offers are a hundredth of an update, honest ones are too long (section 5)",
        NORMS,
        "    if len(above) < MIN_RATED:\n",
        "    if len(above) < 1000:\n",
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
        "if 2 * sum_ >= reached[-1])",
        "if 2 * sum_ > reached[-1])",
        USUAL,
    ),
    mutant(
        "half-of-the-round-moves-the-usual",
        "half of a round's trainers, long or short, say what is usual whatever was before (section 5)",
        NORMS,
        "return min(max(before, self.low), self.high)",
        "return self.high",
        USUAL,
    ),
    mutant(
        "first-round-is-one-half",
        "half of the first round's trainers say what is usual (section 5)",
        NORMS,
        "return self.low if self.high <= NEAR * self.low else isqrt(self.low * self.high)",
        "return self.low",
        USUAL,
    ),
    mutant(
        "apart-refuses-all",
        "where half of a round is a four-hundredth, everybody is refused (section 5)",
        NORMS,
        "return self.high > NEAR**2 * self.low",
        "return self.high < 0",
        JUDGED,
    ),
    mutant(
        "clip-forgets-the-ledger",
        "three long offers that gain outweigh all others (section 5)",
        WEIGHTS,
        "usual = found.nearest(state.usual_norm)\n",
        "usual = found.high\n",
        WEIGHED,
    ),
    mutant(
        "band-forgets-the-ledger",
        "half of those that gain refuse the other half for its norm (section 5)",
        "bflcd/ledger/judgement.py",
        "if usual and not found.apart else (found.low, found.high)",
        "if usual < 0 else (found.high, found.high)",
        JUDGED,
    ),
    mutant(
        "never-moves-freely",
        "a first round that was wrong holds the next twenty (section 5)",
        STEP_LIMIT,
        "    if free and found.agree:\n",
        "    if free is None:\n",
        STEPS,
    ),
    mutant(
        "half-refused-moves-freely",
        "a round of a young model in which the honest are refused says what is usual (section 5)",
        "bflcd/ledger/influence/rounds.py",
        "and 2 * len(judgement.packed) > len(judgement.gains)",
        "and 2 * len(judgement.packed) >= 0",
        WEIGHED,
    ),
    mutant(
        "lightened-to-nothing",
        "one offer that few claim to help is the mean (section 5)",
        WEIGHTS,
        "MOST_LIGHTENED: Final = 8\n",
        "MOST_LIGHTENED: Final = 2**20\n",
        WEIGHED,
    ),
    mutant(
        "first-step-without-limit",
        "a first committee of liars makes of the model what it likes (section 5)",
        STEP_LIMIT,
        "    if clip and (young or not usual):\n",
        "    if clip and young and usual:\n",
        STEPS,
    ),
    mutant(
        "first-step-forgets-that-it-is",
        "a first committee of liars takes the model back to zero (section 5)",
        STEP_LIMIT,
        "return -max(usual or usual_norm_after",
        "return max(usual or usual_norm_after",
        STEPS,
    ),
    mutant(
        "old-steps-by-updates",
        "updates of a model that knows its task are cut to what is usual, each (section 5)",
        STEP_LIMIT,
        "    if clip and (young or not usual):\n",
        "    if clip:\n",
        STEPS,
    ),
    mutant(
        "young-norms-by-the-round-before",
        "where honest norms double in a round, half of it is lost (section 5)",
        "bflcd/ledger/influence/rounds.py",
        "usual = usual_after(state, judgement) if young else state.usual_norm",
        "usual = state.usual_norm",
        selection("ledger/influence/test_rounds.py"),
    ),
    mutant(
        "long-updates-of-a-young-model",
        "liars whose cards say that their updates are short count for many (section 5)",
        AGGREGATE,
        "None if limit is None or limit >= 0 else bound_of(limit, 0)",
        "None if limit is None or limit <= 0 else bound_of(limit, 0)",
        AGGREGATED,
    ),
    mutant(
        "long-updates-of-a-median",
        "under the median too (section 5)",
        AGGREGATE,
        "scales = [_scale_of(_to_fixed(column), bound) if bound is not None else None for column in columns]",
        "scales = [None for column in columns]",
        AGGREGATED,
    ),
    mutant(
        "one-committees-usual-for-good",
        "of a young model honest offers stay too short for as long as one long offer qualifies (section 5)",
        "bflcd/ledger/judgement.py",
        "if state.known >= HALF_RIGHT or len(rated) < MIN_RATED:",
        "if state.known >= 0 or len(rated) < MIN_RATED:",
        JUDGED,
    ),
    mutant(
        "chance-says-what-is-usual",
        "noise of a large norm gains a little by chance on a young model, is usual then, and ends the community (section 5)",
        "bflcd/ledger/judgement.py",
        "return self.gain if self.gain is not None and self.gain >= APART else 0",
        "return self.gain if self.gain is not None and self.gain > 0 else 0",
        JUDGED,
    ),
    mutant(
        "next-to-nothing-stays",
        "one tiny first step keeps a model that begins at zero from ever moving (section 5)",
        AGGREGATE,
        "// 2, bound // LEAST_OF_LIMIT, 1)",
        "// 2, 1)",
        AGGREGATED,
    ),
    mutant(
        "one-model-for-two-limits",
        "whoever has seen other cards refuses the round's model, and a community stands still (section 5)",
        "bflcd/core/round/segments.py",
        "digest(Domain.MESSAGE, integer(limit or 0), *entries)",
        "digest(Domain.MESSAGE, integer(0), *entries)",
        selection("core/test_late_model.py"),
    ),
    mutant(
        "first-step-by-the-model-alone",
        "the step of a first round is many times what its updates are (section 5)",
        AGGREGATE,
        "return min(bound, max(isqrt(model_squares) // 2, bound // LEAST_OF_LIMIT, 1)) if limit < 0",
        "return max(isqrt(model_squares) // 2, bound // LEAST_OF_LIMIT, 1) if limit < 0",
        AGGREGATED,
    ),
    mutant(
        "zero-model-never-moves",
        "a model that begins at zero learns nothing (section 5)",
        AGGREGATE,
        "if limit < 0 and model_squares else bound",
        "if limit < 0 else bound",
        AGGREGATED,
    ),
    mutant(
        "idle-weigh-all",
        "what costs a little less than the margin moves the model as far as what helps (section 5)",
        WEIGHTS,
        "    return lighten_idle(shares, [offer.helps > f for offer in packed], params.idle_weight)\n",
        "    return shares\n",
        WEIGHED,
    ),
    mutant(
        "f-cards-help",
        "f liars make each other's offers weigh as if they helped (section 5)",
        WEIGHTS,
        "offer.helps > f",
        "offer.helps >= f",
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

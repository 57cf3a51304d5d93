"""Defects of looking near: when judges do it, how often what they find there counts, and what clearly helping pays."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

NEARNESS: Final = "bflcd/ledger/trust/nearness.py"
REPUTATION: Final = "bflcd/ledger/trust/reputation.py"
SCORING: Final = "bflcd/learn/scoring.py"

DECIDED: Final = selection("ledger/test_near.py")
MEASURED: Final = selection("learn/test_scoring.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "near-while-young",
        "long lies cost a young model's judges nothing, and liars end communities (ADR 40)",
        NEARNESS,
        'params.score_rule != "gain" or state.known < HALF_RIGHT',
        'params.score_rule != "gain"',
        DECIDED,
    ),
    mutant(
        "near-among-few",
        "of ten daemons' flippers some are packed, whom the whole way keeps out (ADR 40)",
        NEARNESS,
        "1 if training <= MANY else",
        "1 if training <= 1 else",
        DECIDED,
    ),
    mutant(
        "near-counts-once",
        "what honest updates gain near is no word of a card, and no debt is ever paid",
        SCORING,
        "gains = (near * gained)",
        "gains = (1.0 * gained)",
        MEASURED,
    ),
    mutant(
        "near-costs-count-once",
        "an offer that teaches wrong labels stands out no more where judges look near",
        "bflcd/learn/labels/balance.py",
        "found = (means.max(1).values - given) * near",
        "found = means.max(1).values - given",
        MEASURED,
    ),
    mutant(
        "near-the-less-counts",
        "of many classes with few rows each the less of two means is below nothing, and honest debts stay",
        "bflcd/learn/labels/balance.py",
        "return [1.0, weights] if near == 1 else",
        "return [1.0, weights] if near else",
        MEASURED,
    ),
    mutant(
        "near-in-daemons-alone",
        "the laboratory says what no daemon does",
        "bflcd/lab/engine/base.py",
        "np.clip(often[:, None].numpy() * one, least, most)",
        "np.clip(one, least, most)",
        selection("lab/engine/test_engines.py"),
    ),
    mutant(
        "near-in-nobodys-job",
        "the ledger believes that judges look near, and they don't",
        "bflcd/core/round/local_work.py",
        "near = near_of(context.params, context.state)",
        "near = min(1, near_of(context.params, context.state))",
        selection("core/test_fresh_gains.py"),
    ),
    mutant(
        "near-kills-the-worker",
        "one offer that takes a class's confidence ends every judge's worker: its cost can't be, says the check of results (ADR 40)",
        "bflcd/learn/labels/balance.py",
        "found.clamp(-2.0, 1.0)",
        "found",
        MEASURED,
    ),
    mutant(
        "near-boosts-are-paid",
        "who offers eight times an honest update near has half of the pay, and the community loses a tenth of what it learns (ADR 40)",
        "bflcd/learn/checks/moves.py",
        "nearer = float(near) if norm <= most else max(1.0, near * most / norm)",
        "nearer = float(near)",
        MEASURED,
    ),
    mutant(
        "near-by-idle-keys",
        "keys that never offer bring judges so near that nothing costs anything",
        NEARNESS,
        "trainers(params, state) & offering(state)",
        "trainers(params, state)",
        DECIDED,
    ),
    mutant(
        "help-by-chance",
        "one judge more than half, which coins say half of the time, forgives a flip",
        REPUTATION,
        "over * over >= CLEARLY * CLEARLY * q",
        "over * over >= CLEARLY * CLEARLY",
        DECIDED,
    ),
    mutant(
        "help-that-noise-says",
        "where judges add noise, chance forgives flips (ADR 40)",
        REPUTATION,
        "if clearly and gain >= max(measure.least, LEAST_GAIN):",
        "if clearly and gain >= LEAST_GAIN:",
        DECIDED,
    ),
    mutant(
        "help-pays-among-few",
        "three judges' toss forgives a flipper among ten daemons",
        REPUTATION,
        "helped=MicroNats(bears // HARM_PART if near > 1 else 0)",
        "helped=MicroNats(bears // HARM_PART)",
        DECIDED,
    ),
)

"""Defects of what a judge measures and says: what a card tells of its author's rows, and what asking costs."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

DISCLOSURE = "bflcd/ledger/disclosure.py"
STANDING = "bflcd/ledger/standing.py"
CARDS = "bflcd/ledger/cards.py"
SCORING = "bflcd/learn/scoring.py"
COLLECTION = "bflcd/core/round/collection.py"
LOCAL_WORK = "bflcd/core/round/local_work.py"
ENGINE = "bflcd/lab/engine/base.py"

SAID: Final = selection("ledger/test_disclosure.py")
STOOD: Final = selection("ledger/test_standing.py")
MEASURED: Final = selection("learn/test_scoring.py")
WRITTEN: Final = selection("core/test_judged_offers.py::test_a_card_says_no_more_than_the_decision_needs")
SIMULATED: Final = selection("lab/engine/test_engines.py::test_scores_are_held_as_the_daemons_hold_them")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "harm-told-exactly",
        "a card says how much an offer harms on its author's rows",
        DISCLOSURE,
        "        return REFUSED\n    return max(",
        "        return gain\n    return max(",
        SAID,
    ),
    mutant(
        "gain-told-exactly",
        "a card says what an offer gains on its author's rows, to the last digit",
        DISCLOSURE,
        "max((level for level in levels if level <= gain), default=levels[0])",
        "MicroNats(max(gain, 0))",
        SAID,
    ),
    mutant(
        "accuracy-told-unasked",
        "a card says an accuracy that decides nothing",
        DISCLOSURE,
        'if params.score_rule != "accuracy" or gain == REFUSED:',
        "if gain == REFUSED:",
        SAID,
    ),
    mutant(
        "margin-constant",
        "a model that knows nothing yet is poisoned (row 40)",
        DISCLOSURE,
        "max(share, LEAST_SHARE)",
        "MILLION",
        SAID,
    ),
    mutant(
        "margin-by-the-accuracy-alone",
        "with few classes a model that knows nothing yet is poisoned (row 40)",
        DISCLOSURE,
        "    if share < HALF_RIGHT:\n        share = share**2 // HALF_RIGHT\n",
        "",
        SAID,
    ),
    mutant(
        "margin-of-an-empty-round",
        "a round that judged nothing forgets what the model knows: the next refuses half of what is honest",
        "bflcd/ledger/trust/margin.py",
        "return known if told is None else",
        "return PartsPerMillion(0) if told is None else",
        selection("ledger/test_transition.py::test_what_the_last_judged_model_knew_stays_in_the_ledger"),
    ),
    mutant(
        "noise-is-usual",
        "noise that seems to help a damaged model says which norms are usual, and honest offers are too small",
        "bflcd/ledger/judgement.py",
        "told = _hold_to_ledger(offers, 0 if _is_told_wrong(state, offers) else state.usual_norm)",
        "told = _hold_to_ledger(offers, 0)",
        selection("ledger/test_judgement.py::test_what_was_usual_before_bounds_norms_where_one_offer_keeps_to_it"),
    ),
    mutant(
        "grown-norms-refused",
        "honest norms that grow at once are refused for ever",
        "bflcd/ledger/judgement.py",
        "if usual and any(within) else offers",
        "if usual and within else offers",
        selection("ledger/test_judgement.py::test_what_was_usual_before_bounds_norms_where_one_offer_keeps_to_it"),
    ),
    mutant(
        "numbers-below-the-sentinel",
        "a card that tells how much offers harm is taken",
        CARDS,
        "        if entry.gain < REFUSED:\n",
        "        if entry.gain is None:\n",
        SAID,
    ),
    mutant(
        "base-told-exactly",
        "a card says how many of its author's rows the round's model gets right",
        COLLECTION,
        "base_accuracy=coarse_accuracy(noise.accuracy(accuracy, context.head_hash)) if entries else None",
        "base_accuracy=accuracy if entries else None",
        WRITTEN,
    ),
    mutant(
        "long-offer-measured-whole",
        "an offer far beyond what is usual is measured as it is",
        "bflcd/learn/checks/moves.py",
        "    if limit is None or norm * share <= limit / 2**NORM_SCALE_BITS:\n",
        "    if limit is None or norm * share >= 0:\n",
        MEASURED,
    ),
    mutant(
        "small-gains-not-said",
        "what gains less than 0.001 nat has the same word as what does nothing",
        DISCLOSURE,
        "for level in (0, 16, 63, 250, 1_000,",
        "for level in (0, 1_000,",
        SAID,
        WRITTEN,
    ),
    mutant(
        "small-gains-far-apart",
        "judges whose words differ by what rows differ by are doubted",
        "bflcd/ledger/trust/words.py",
        "sum(level <= gain for level in _LEVELS)",
        "sum(level <= gain for level in GAIN_LEVELS)",
        selection("ledger/test_doubts.py"),
    ),
    mutant(
        "limit-not-passed",
        "a node's worker never hears of the step limit",
        LOCAL_WORK,
        "offers, seed, limit, known))",
        "offers, seed, None if limit else limit, known))",
        selection("core/test_judged_offers.py::test_offers_are_measured_within_the_step_limit"),
    ),
    mutant(
        "row-counts-whole",
        "an offer that moves one row's loss far moves its judge's mean far",
        SCORING,
        "clamp(-row_limit / MILLION, min(row_limit, gain_limit) / MILLION)",
        "clamp(-1000.0 * row_limit / MILLION, 1000.0 * row_limit / MILLION)",
        MEASURED,
    ),
    mutant(
        "laboratory-measures-long-offers-whole",
        "simulated judges measure what daemons do not",
        ENGINE,
        "torch.tensor([held_share(norm, damping, limit) for norm in norms.tolist()])",
        "torch.tensor([held_share(norm, damping, None if limit else limit) for norm in norms.tolist()])",
        SIMULATED,
    ),
    mutant(
        "f-liars-frame",
        "f lying judges and one honest one bring an honest trainer to rest",
        STANDING,
        "return 2 * (refusals - f) > q - f",
        "return 2 * (refusals - f) > 0 * q",
        STOOD,
    ),
    mutant(
        "harm-is-free",
        "who harms all judges in every round is heard in every round",
        STANDING,
        "    if not harmed:\n",
        "    if not harmed or account.refusals >= PATIENCE:\n",
        STOOD,
    ),
    mutant(
        "harm-is-never-made-up-for",
        "an honest trainer that harmed a few times in a year rests",
        STANDING,
        "refusals=max(0, account.refusals - 1)",
        "refusals=max(0, account.refusals)",
        STOOD,
    ),
    mutant(
        "who-rests-offers",
        "a trainer that has to rest is a trainer all the same",
        "bflcd/ledger/roles.py",
        "        and account.rest_round <= state.round\n",
        "",
        STOOD,
    ),
    mutant(
        "start-given-up-with-its-job",
        "where rounds are shorter than a worker's start, a node whose worker died never trains again",
        "bflcd/learn/client.py",
        "            return await asyncio.shield(starting)\n",
        "            return await starting\n",
        selection("learn/test_client.py::test_a_start_outlives_the_jobs_that_it_was_begun_for"),
    ),
)

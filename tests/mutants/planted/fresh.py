"""Defects of what is measured of an update: repetitions that gain, harm that hides in them, young models judged too hard."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

MOVES = "bflcd/learn/checks/moves.py"
SCORING = "bflcd/learn/scoring.py"
JUDGEMENT = "bflcd/ledger/judgement.py"
ROUNDS = "bflcd/ledger/influence/rounds.py"

MEASURED: Final = selection("learn/test_scoring.py")
YOUNG: Final = selection("ledger/test_margin.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "repetition-gains",
        "who offers the last step again with noise is paid best (section 5.2)",
        SCORING,
        "        step = last if job.fresh else None\n",
        "        step = last if job is None else None\n",
        MEASURED,
    ),
    mutant(
        "harm-hides-in-a-repetition",
        "who repeats a step that harmed is judged by the rest alone (section 5.2)",
        SCORING,
        "return min(gain, mean_gain(base + repeated",
        "return max(gain, mean_gain(base + repeated",
        MEASURED,
    ),
    mutant(
        "undoing-is-a-repetition",
        "an update that takes a bad step back gains nothing by it (section 5.2)",
        MOVES,
        "along = max(0.0, float(",
        "along = max(-1e9, float(",
        MEASURED,
    ),
    mutant(
        "step-of-another-round",
        "updates are held against the step of an earlier round (section 5.2)",
        SCORING,
        "if self._step is not None and self._step[0] == job.round else None",
        "if self._step is not None and self._step[0] <= job.round else None",
        MEASURED,
    ),
    mutant(
        "one-committee-blames-all",
        "adversaries who decide one round bring all honest trainers into debt and to rest (section 5)",
        JUDGEMENT,
        "return 2 * harmful > len(measured)",
        "return harmful > len(measured)",
        YOUNG,
    ),
    mutant(
        "one-word-makes-old",
        "one captured committee says that all is right, and nothing holds flipped updates in the next round (section 5)",
        "bflcd/ledger/trust/margin.py",
        "min(told, known + MOST_LEARNED)",
        "told",
        selection("ledger/test_transition.py"),
    ),
    mutant(
        "captured-rounds-say-what-is-usual",
        "the noise of a captured first round is usual, and honest offers are too short for good (section 5)",
        ROUNDS,
        "    if judgement.proves_nothing:\n",
        "    if judgement is None:\n",
        YOUNG,
    ),
    mutant(
        "half-of-a-round-absolved",
        "half of a round's trainers harm again and again, and are blamed for none of it (section 5)",
        JUDGEMENT,
        "return 2 * harmful > len(measured)",
        "return 2 * harmful >= len(measured)",
        YOUNG,
    ),
    mutant(
        "captured-rounds-pay",
        "adversaries who decide one round and refuse all others share its pay, and sit (section 5)",
        "bflcd/ledger/transition.py",
        "    credited = () if judgement.proves_nothing else packed\n",
        "    credited = packed\n",
        YOUNG,
    ),
    mutant(
        "a-third-acquits-itself",
        "two liars of seven are most of the three who train, and are never blamed (section 5)",
        JUDGEMENT,
        " and harmful > least\n",
        "\n",
        YOUNG,
    ),
    mutant(
        "empty-rounds-blame",
        "a community of few trainers comes to rest before it has learnt anything (section 5)",
        "bflcd/ledger/accounts.py",
        "    if state.known < HALF_RIGHT and not judgement.packed:\n",
        "    if judgement is None:\n",
        YOUNG,
    ),
    mutant(
        "margin-never-widens",
        "where each first update costs all others more than the margin nothing is ever packed (section 5)",
        "bflcd/ledger/disclosure.py",
        "if known >= HALF_RIGHT or empty <= 0:",
        "if known >= HALF_RIGHT or empty <= 10**9:",
        YOUNG,
    ),
    mutant(
        "grown-models-bear-more",
        "liars that bring about empty rounds are let in by a model that knows its task (section 5)",
        "bflcd/ledger/disclosure.py",
        "if known >= HALF_RIGHT or empty <= 0:",
        "if empty <= 0:",
        YOUNG,
    ),
    mutant(
        "no-row-gains-under-noise",
        "with noise no first update of few classes can help anybody (section 5.3)",
        "bflcd/ledger/disclosure.py",
        "lost = gained = MicroNats((lost + gained) // 2)",
        "lost = MicroNats(lost)",
        YOUNG,
    ),
    mutant(
        "everything-qualifies",
        "after some empty rounds a young model takes what costs every row the most that it may lose (section 5)",
        "bflcd/ledger/disclosure.py",
        "(min(empty, MOST_WIDENINGS) - 1), lost - 1)",
        "(min(empty, MOST_WIDENINGS) - 1), lost * 99)",
        YOUNG,
    ),
)

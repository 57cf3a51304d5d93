"""Defects of a node's watch over its models: what alarms, which model is named, and what a failure costs."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

VERDICT = "bflcd/learn/watching/verdict.py"
OUTLIERS = "bflcd/learn/watching/outliers.py"
STANDING = "bflcd/node/watching/standing.py"
MODELS = "bflcd/node/watching/models.py"

JUDGED: Final = selection("learn/watching/test_verdict.py")
FACTORS: Final = selection("learn/watching/test_outliers.py")
SAID: Final = selection("node/watching/test_standing.py")
WATCHED: Final = selection("node/watching/test_models.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "young-models-alarm",
        "a node that has seen two models alarms at the third",
        VERDICT,
        "return len(self.steps) >= LOOKED_BACK",
        "return len(self.steps) > NEIGHBOURS",
        JUDGED,
    ),
    mutant(
        "few-rows-of-a-class-alarm",
        "three rows of a class that has five alarm",
        VERDICT,
        "rows >= MIN_CLASS_ROWS and _reaches(",
        "_reaches(",
        JUDGED,
    ),
    mutant(
        "better-models-alarm",
        "a model that gets better at once is odd, and alarms",
        VERDICT,
        "elif factor >= ODD and _reaches(rise, found.total, LEAST_RISE):",
        "elif factor >= ODD:",
        JUDGED,
    ),
    mutant(
        "endless-memory",
        "every step of a long life is kept",
        VERDICT,
        "(*memory.steps, step)[-LOOKED_BACK:]",
        "(*memory.steps, step)",
        JUDGED,
    ),
    mutant(
        "gaps-alarm",
        "what several rounds changed is held against what one does",
        VERDICT,
        "    if not follows:\n        return replace(memory, newest=found), None\n",
        "",
        JUDGED,
    ),
    mutant(
        "same-points-are-infinitely-odd",
        "after twenty steps without a change one row alarms",
        OUTLIERS,
        "own = 1.0 / np.maximum(np.maximum(away[near], far[near]), least).mean()",
        "own = 1.0 / np.maximum(np.maximum(away[near], far[near]), 1e-9).mean()",
        FACTORS,
    ),
    mutant(
        "back-to-the-poisoned",
        "the command goes back to the model that got worse",
        STANDING,
        "return Round(self.first - 1)",
        "return self.first",
        SAID,
    ),
    mutant(
        "back-to-the-last",
        "while a model gets worse in several rounds, the last of them are gone back to",
        STANDING,
        "if standing is None or before <= standing.base or model <= standing.first:",
        "if True:",
        SAID,
    ),
    mutant(
        "alarm-for-ever",
        "status goes on warning of what was long ago",
        STANDING,
        "None if standing is None or model >= standing.last + LASTS else standing",
        "None if standing is None else standing",
        SAID,
    ),
    mutant(
        "back-to-a-worse-one",
        "a node that learned much since its first alarm names a model far worse than the one complained of",
        STANDING,
        "or before <= standing.base or",
        "or",
        SAID,
    ),
    mutant(
        "swings-become-usual",
        "who harms and mends in turn is not seen after five alarms, however much it harms",
        VERDICT,
        "steps = memory.steps if alarm is not None else (*memory.steps, step)[-LOOKED_BACK:]",
        "steps = (*memory.steps, step)[-LOOKED_BACK:]",
        JUDGED,
    ),
    mutant(
        "failed-look-keeps-the-warning",
        "after a rollback whose look fails status goes on naming a command",
        MODELS,
        "self._standing = None if model.went_back else faded_by(self._standing, model.round)",
        "self._standing = self._standing",
        WATCHED,
    ),
    mutant(
        "damaged-block-ends-joining",
        "a node with one damaged block among its last does not join",
        MODELS,
        "except MachineError as error:  # what needs",
        "except WorkerError as error:  # what needs",
        WATCHED,
    ),
    mutant(
        "failure-ends-the-watch",
        "a task that raises once ends the node's watch, and the node",
        MODELS,
        "except (WorkerError, MachineError) as error:",
        "except MachineError as error:",
        WATCHED,
    ),
    mutant(
        "rollback-alarms",
        "going back is one more step, and may alarm",
        MODELS,
        " and not model.went_back\n",
        "\n",
        WATCHED,
    ),
)

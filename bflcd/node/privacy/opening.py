"""Where a node's budget comes from: its operator's word, and the account in its data directory."""

from bflcd.config import Config
from bflcd.errors import OperatorError
from bflcd.faults import is_there
from bflcd.node.engine import MarkFile
from bflcd.node.privacy.budget import Budget
from bflcd.node.privacy.file import AccountFile
from bflcd.params import TaskSpec
from bflcd.setup.datadir import DataDir


def open_budget(config: Config, task: TaskSpec, marks: MarkFile) -> Budget | None:
    """The budget of a node that trains with privacy; None of another.

    Raises OperatorError, MachineError where the account is missing or damaged: nothing is trained on a guess.
    """
    if not config.compute.train:
        return None
    path = DataDir(config.node.datadir).privacy
    plan = config.privacy.plan(task)
    if plan is None:
        if is_there(path):
            raise OperatorError(
                f"{path} keeps a budget, and privacy.epsilon is 0: updates would tell without bound of rows that have one",
                hint="set privacy.epsilon as it was, or remove the file: its account then ends for good",
                code="privacy_off",
            )
        return None
    return Budget(plan, AccountFile(path, has_signed=marks.highest() is not None))

"""Whether a task can be trained on under differential privacy: refused before the first job, never trained without noise."""

from typing import Final

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from bflcd.errors import OperatorError
from bflcd.learn.checks.place import said_of
from bflcd.learn.flat import FlatModel
from bflcd.learn.private.gradients import RowGradients
from bflcd.learn.protocol import WorkerError
from bflcd.learn.task import Rows, Task
from bflcd.learn.training import DeviceRows

_TRIED: Final = 2
"""Rows whose gradients are taken: one alone does not show what can't be done beside each other."""


def check_private(task: Task, model: FlatModel, rows: Rows) -> None:
    """Take the clipped gradients of the first rows. Raises OperatorError (`bad_privacy`) naming what can't be done by row.

    Normalisation over a batch is refused by name, since each row's output would depend on the others, and so is what keeps
    running statistics of rows, since they would travel without noise.
    """
    for name, layer in model.module.named_modules():
        _check_layer(name or "the model", layer)
    if not model.trained:
        raise _refused("the model has no weight that is trained", "leave out privacy.epsilon: there is nothing to protect")
    try:
        model.module.train()
        total, _ = RowGradients(model, task).clipped_sum(DeviceRows.of(rows.first(_TRIED), model.device), 1.0)
    except WorkerError as error:
        raise _refused(str(error), "mend the task") from error
    except Exception as error:
        raise _refused(
            f"no gradient of a single row can be taken: {said_of(error)}",
            "recurrent layers, decisions by a row's values (if, item()) and writes into tensors can't be done row by row "
            "(torch.func.vmap); use others, or leave out privacy.epsilon and know that no bound holds",
        ) from error
    if not total.isfinite().all():
        raise _refused("the first rows' gradients are not finite", "scale the inputs, or mend the task's row_loss")


def _check_layer(name: str, layer: nn.Module) -> None:
    kind = type(layer).__name__
    if isinstance(layer, _BatchNorm):
        raise _refused(f"{name} ({kind}) mixes the rows of a batch", "use nn.GroupNorm or nn.LayerNorm in its place")
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        raise _refused(
            f"{name} ({kind}) keeps statistics of rows, which would travel without noise", "set track_running_stats=False"
        )


def _refused(message: str, hint: str) -> OperatorError:
    return OperatorError(f"this task can't be trained on with privacy: {message}", hint=hint, code="bad_privacy")

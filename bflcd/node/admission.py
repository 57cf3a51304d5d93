"""What a genesis may make this machine do, decided before anything of it is imported, fetched or allocated (design 8)."""

from shlex import quote
from typing import Final

from bflcd.config import TasksSection
from bflcd.errors import OperatorError
from bflcd.learn.shipped import SHIPPED
from bflcd.params import Genesis
from bflcd.wire.tensors import payload_size

MEBIBYTE: Final = 2**20


def check_admissible(genesis: Genesis, tasks: TasksSection) -> None:
    """Refuse a genesis whose task this node's operator has not allowed, or whose model is not what its tensors say, or too large.

    Raises OperatorError: `task_not_allowed`, `bad_genesis`, `model_too_large`; each names the setting or says what to do.
    """
    factory = genesis.task.factory
    if factory not in SHIPPED and factory not in tasks.allow:
        raise OperatorError(
            f"the genesis names the task {factory!r}, which is not shipped: its code would run on this machine",
            hint=f"if you know that code, set tasks.allow = [{_quoted(factory)}] in config.toml, "
            f"or give --allow-task {quote(factory)}",
            code="task_not_allowed",
        )
    expected = payload_size(genesis.task.tensors, None)
    if genesis.model.size != expected:
        raise OperatorError(
            f"the genesis names a model of {genesis.model.size} bytes, its tensors take {expected}: it was made by hand",
            hint="ask the other members which genesis is right, and pin it with --chain-id",
            code="bad_genesis",
        )
    if expected > tasks.max_model_mib * MEBIBYTE:
        raise OperatorError(
            f"the genesis names a model of {expected / MEBIBYTE:.0f} MiB, this node takes {tasks.max_model_mib} MiB at most",
            hint=f"if the machine is large enough, set tasks.max_model_mib = {-(-expected // MEBIBYTE)} in config.toml",
            code="model_too_large",
        )


def _quoted(text: str) -> str:
    """As a string of TOML: the codec lets no control character through."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

"""Why a node starts anew within its process: what it is to the chain has changed too much to go on."""

from typing import ClassVar

from bflcd.core.node_events import EventKind
from bflcd.errors import BflcError


class StartAnewError(BflcError):
    """The node has to begin again from its store; `kind`: what its operator is told then, with this error's text."""

    kind: ClassVar[EventKind]


class ExcludedError(StartAnewError):
    """This node is no member any more: it takes part in nothing until it is admitted again."""

    kind = EventKind.NOT_MEMBER


class KeyReplacedError(StartAnewError):
    """Another key has taken the place of this node's: it goes on under that one, if it has it."""

    kind = EventKind.KEY_REPLACED

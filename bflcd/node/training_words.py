"""Who says that it does not train, this node itself among them, and whether it could by now."""

from collections.abc import Callable

from bflcd.core.core import Core
from bflcd.core.signing_guard import SigningGuard
from bflcd.node.following import RoundClaims
from bflcd.types import NodeId
from bflcd.wire.training import Training


class TrainingWords:
    """The last word of every connected member, and our own. Each counts for its author, and is forgotten with its connection.

    A word makes its author not waited for, and nothing else: whoever lies with it is packed less often and harms nobody.
    """

    def __init__(self, me: NodeId, own: Training, on_change: Callable[[], None]) -> None:
        """`on_change` is told when somebody says another word, or is gone."""
        self._me = me
        self._words = {me: own}
        self._on_change = on_change

    @property
    def own(self) -> Training:
        """What we say of ourselves."""
        return self._words[self._me]

    def say(self, own: Training) -> None:
        """What we say of ourselves from now on."""
        self._put(self._me, own)

    def note(self, node: NodeId, word: Training) -> None:
        """A member's own word."""
        if node != self._me:
            self._put(node, word)

    def forget(self, node: NodeId) -> None:
        """A member is gone: what it will say when it is back is not known."""
        if self._words.pop(node, None) is not None:
            self._on_change()

    def idle(self) -> frozenset[NodeId]:
        """Those that say that they do not train."""
        return frozenset(node for node, word in self._words.items() if not word.trains)

    def training(self) -> frozenset[NodeId]:
        """Those that say that they train."""
        return frozenset(node for node, word in self._words.items() if word.trains)

    def _put(self, node: NodeId, word: Training) -> None:
        before = self._words.get(node)
        self._words[node] = word
        if before is None or before.trains is not word.trains:
            self._on_change()


class Readiness:
    """A node that starts catches up, waits for its worker, or may sign nothing yet: nobody should wait for its offer meanwhile.

    Caught up is who has taken over what others could prove, whatever is claimed. Once it could train after that it stays ready
    until it starts anew. A community that has closed no round yet is waited for as a whole.
    """

    def __init__(self, core: Core, guard: SigningGuard, claims: RoundClaims, *, computes: Callable[[], bool]) -> None:
        """`computes`: whether the worker is there."""
        self._core, self._guard, self._claims, self._computes = core, guard, claims, computes
        self._was = self._followed = False

    def followed(self) -> None:
        """What those who are connected could prove is taken over: nobody who has heard of no other knows how far it is behind."""
        self._followed |= bool(self._claims.all())

    def look(self) -> bool:
        """Whether it is ready now, or has been since it caught up."""
        core = self._core
        first = core.context.round == 0 and self._claims.highest() == 0
        ready = not core.syncing and self._computes() and self._guard.allows(core.context.round)
        self._was |= ready and self._followed
        return first or ready or self._was

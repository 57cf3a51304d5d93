"""Who says that it does not train, this node itself among them."""

from collections.abc import Callable

from bflcd.types import NodeId
from bflcd.wire.training import Training


class TrainingWords:
    """The last word of every connected member, and our own. Each counts for its author, and is forgotten with its connection.

    A word makes its author not waited for, and nothing else: whoever lies with it is packed less often and harms nobody.
    """

    def __init__(self, me: NodeId, own: Training, on_change: Callable[[], None]) -> None:
        """`on_change` is told when `idle` is another one."""
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
        before = self.idle()
        self._words.pop(node, None)
        self._tell(before)

    def idle(self) -> frozenset[NodeId]:
        """Those that say that they do not train."""
        return frozenset(node for node, word in self._words.items() if not word.trains)

    def _put(self, node: NodeId, word: Training) -> None:
        before = self.idle()
        self._words[node] = word
        self._tell(before)

    def _tell(self, before: frozenset[NodeId]) -> None:
        if self.idle() != before:
            self._on_change()

"""Whether this node can take part in the running round's training yet, after a start or an admission."""

from collections.abc import Callable

from bflcd.core.core import Core
from bflcd.core.signing_guard import SigningGuard
from bflcd.node.following import RoundClaims


class Readiness:
    """A node that starts catches up, waits for its worker, or may sign nothing yet: nobody should wait for its offer meanwhile.

    Caught up is who has taken over what others could prove, whatever is claimed. Once it could train it stays ready until it
    starts anew. A community that has closed no round yet is waited for as a whole.
    """

    def __init__(self, core: Core, guard: SigningGuard, claims: RoundClaims, *, computes: Callable[[], bool]) -> None:
        """`computes`: whether the worker is there."""
        self._core, self._guard, self._claims, self._computes = core, guard, claims, computes
        self._was = False

    def look(self) -> bool:
        """Whether it is ready now, or has been since it started."""
        core = self._core
        first = core.context.round == 0 and self._claims.highest() == 0
        self._was |= not core.syncing and self._computes() and self._guard.allows(core.context.round)
        return first or self._was

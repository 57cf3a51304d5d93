"""Whether a node is alone, and what its operator is told then: which dials failed, what was not dialled."""

import logging
from itertools import islice
from typing import Final

from bflcd.net.dialing.book import DialBook
from bflcd.net.peer import PeerSettings
from bflcd.types import Millis, NodeId

logger = logging.getLogger(__name__)

WARNED_ADDRESSES: Final = 8
"""Addresses that the warning of being alone names, at most."""


class Solitude:
    """How long no member has been connected. Times are those of the peer manager's clock."""

    def __init__(self, settings: PeerSettings, dials: DialBook, now: Millis) -> None:
        self._settings = settings
        self._dials = dials
        self._refused: dict[NodeId, str] = {}
        self._accompanied = now
        self._logged: Millis | None = None

    def refused(self, node: NodeId, text: str) -> None:
        """An address of `node` is not dialled. Told once of each: communities fall apart so."""
        if node not in self._refused:
            self._refused[node] = text
            logger.info("%s", text)

    def lasts(self, now: Millis, *, accompanied: bool) -> bool:
        """Whether it has lasted too long. `accompanied`: there is company now, or none is expected."""
        if accompanied:
            self._accompanied = now
        return now - self._accompanied >= self._settings.alone_after * 1000

    def text(self) -> str:
        """What the operator should know of it."""
        troubles = self._dials.troubles()
        if not len(self._dials):
            return "alone: no address of any peer is known; give one with --bootstrap /ip4/HOST/tcp/PORT/p2p/ID"
        named = "; ".join(troubles[:WARNED_ADDRESSES]) or "no dial has failed yet"
        more = f"; and {len(troubles) - WARNED_ADDRESSES} more" if len(troubles) > WARNED_ADDRESSES else ""
        more += "".join(f"; {text}" for text in islice(self._refused.values(), WARNED_ADDRESSES))
        return f"alone: no member is connected, of {len(self._dials)} known: {named}{more}"

    def mind(self, now: Millis, *, accompanied: bool) -> None:
        """Log it, now and again."""
        if not self.lasts(now, accompanied=accompanied):
            self._logged = None
        elif self._logged is None or now - self._logged >= self._settings.alone_period * 1000:
            self._logged = now
            logger.warning("%s", self.text())

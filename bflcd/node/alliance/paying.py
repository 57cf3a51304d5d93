"""A node that pays by itself what it owes, and its next period in time, up to what its operator allows (`node.fee_limit`)."""

import asyncio
import logging
from typing import Protocol

from bflcd.api.schema.alliance import OperationRequest, OperationView
from bflcd.core.core import Core
from bflcd.errors import OperatorError
from bflcd.ledger.alliance.fees import dues_of, ends_soon, price_of
from bflcd.ledger.state import NEVER, State, member_of
from bflcd.types import NodeId

logger = logging.getLogger(__name__)


class Signs(Protocol):
    """The part of `AllianceService` that is used here."""

    async def sign(self, request: OperationRequest) -> OperationView:
        """Sign and say an operation of this node. Raises OperatorError, UsageError."""
        ...


class Payer:
    """Tries once a round at most: what does not work now may in the next."""

    def __init__(self, core: Core, signs: Signs, limit: int) -> None:
        """`limit`: units of one payment; 0: it never pays."""
        self._core = core
        self._signs = signs
        self._limit = limit
        self._wake = asyncio.Event()
        self._wake.set()

    def closed(self) -> None:
        """A round was closed."""
        self._wake.set()

    async def run(self) -> None:
        """Pay whenever something is due, until cancelled."""
        if not self._limit:
            return
        while True:
            await self._wake.wait()
            self._wake.clear()
            if wants_to_pay(self._core.context.state, self._core.context.me, self._limit):
                await self._pay()

    async def _pay(self) -> None:
        try:
            paid = await self._signs.sign(OperationRequest(kind="pay", amount=self._limit))
        except OperatorError as error:
            logger.info("nothing is paid in this round: %s", error)
        else:
            logger.info("this node pays by itself: %s", paid.text)


def wants_to_pay(state: State, me: NodeId, limit: int) -> bool:
    """Whether a payment is due, or soon, costs no more than `limit`, and is there."""
    account = member_of(state, me)
    if account is None or account.punished_round != NEVER:
        return False
    due = dues_of(state.terms, account, state.round).total > 0 or ends_soon(state.terms, account, state.round)
    return due and price_of(state.terms, account).total <= min(limit, account.balance)

"""What a manager goes back to: the model of an earlier round by this node's own headers, held here before anything is signed."""

from typing import Final, Protocol

from bflcd.core.round.context import RoundContext
from bflcd.errors import OperatorError, PeerError, RequestError
from bflcd.net.blobs.fetcher import HoldersSource
from bflcd.node.runtime.ports import Network
from bflcd.node.views.chain import Models, model_block
from bflcd.params import BlobRef
from bflcd.types import Round, short

PATIENCE_SECONDS: Final = 30.0
"""How long the members are asked for a model that a manager wants to go back to."""


class PatientFetcher(Protocol):
    """The part of `BlobFetcher` that is used here."""

    async def fetch(self, ref: BlobRef, holders: HoldersSource, *, deadline: float | None) -> None:
        """As `BlobFetcher.fetch`."""
        ...


class OldModelSource:
    """Models of earlier rounds, for who wants to sign that the community goes back to one."""

    def __init__(self, store: Models, fetcher: PatientFetcher, network: Network) -> None:
        self._store = store
        self._fetcher = fetcher
        self._network = network

    async def named(self, context: RoundContext, round_: int) -> BlobRef:
        """The address of a round's model. Raises OperatorError (not_found) for a round that has not come."""
        blob, _, _ = await model_block(self._store, context, round_)
        return blob

    async def require(self, context: RoundContext, round_: Round, named: BlobRef) -> None:
        """Hold what another manager calls the model of a round against the own headers. Raises OperatorError (refused)."""
        own = await self.named(context, round_)
        if own != named:
            raise OperatorError(
                f"it is not signed: the motion calls {short(named.root)} the model of round {round_}, which is {short(own.root)}",
                hint="no block carries it; ask the manager who opened it what it is",
                code="refused",
            )

    async def hold(self, blob: BlobRef) -> None:
        """Have the payload here. Raises OperatorError (no_model) if no member gives it."""
        try:
            await self._fetcher.fetch(blob, self._network.connected, deadline=PATIENCE_SECONDS)
        except (RequestError, PeerError) as error:
            raise OperatorError(
                f"the payload of that model, {short(blob.root)}, is not held here, and no connected member gives it: {error}",
                hint="connect a member that holds it, an archive say, or go back to a later round",
                code="no_model",
            ) from error

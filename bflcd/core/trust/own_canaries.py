"""What this node shows of its own canaries, once their rounds are closed (design 5, Canaries).

It follows from the ledger and the node's key alone, so nothing of it has to survive a restart.
"""

from collections.abc import Iterator

from bflcd.crypto.identity import Signer
from bflcd.ledger.operations.canary import CANARY
from bflcd.ledger.state import State
from bflcd.ledger.trust.canaries import own_proof
from bflcd.wire.canary import Canary
from bflcd.wire.envelope import seal
from bflcd.wire.operation import Operation


def own_canaries(state: State, signer: Signer) -> Iterator[Operation]:
    """The operations that show which offers of this node were canaries, of those whose words are kept and not shown yet."""
    for words in state.words:
        offer = words.of(signer.node_id)
        if offer is None or offer.shown or words.round >= state.round:
            continue
        proof = own_proof(words.share, state.chain, words.round, words.lot, signer)
        if proof is not None:
            yield Operation(CANARY.name, (seal(Canary(state.chain, words.round, proof), signer).envelope,))

"""First peers that have rotated their keys: an address ends in the peer id that its node had when somebody wrote it down."""

from bflcd.crypto.identity import node_id_of, peer_id_of
from bflcd.ledger.alliance.keys import last_of
from bflcd.ledger.state import State

_BEFORE_ID = "/p2p/"


def with_last_keys(addresses: tuple[str, ...], state: State) -> tuple[str, ...]:
    """The addresses with the peer ids under which their nodes go on by this ledger."""
    return tuple(_with_last_key(address, state) for address in addresses)


def _with_last_key(address: str, state: State) -> str:
    host, separator, peer = address.rpartition(_BEFORE_ID)
    return f"{host}{separator}{peer_id_of(last_of(state, node_id_of(peer)))}"

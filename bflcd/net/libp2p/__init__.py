"""Everything that knows libp2p: TCP, Noise, Yamux and GossipSub in a trio thread, behind `bflcd.net.protocol.Transport`."""

from bflcd.net.libp2p.transport import Libp2pTransport

__all__ = ["Libp2pTransport"]

"""The one place that imports py-libp2p 0.8.1, only the parts in use, with its module-wide workarounds (docs/adr/0001)."""

# ruff: noqa: E402 - the bare packages are entered before anything of the library is imported

import importlib.util
import logging
import sys
from typing import Any, Final

_UNUSED_PACKAGES: Final = (
    "libp2p",
    "libp2p.transport",
    "libp2p.transport.quic",
    "libp2p.network",
    "libp2p.security",
)
"""Packages whose `__init__` imports QUIC, TLS, mDNS, DHT, bitswap, an HTTP client: 30 MB and half a second for nothing.

They are entered without running it; their submodules import as usual."""


def _enter_bare(name: str) -> None:
    """Put package `name` into `sys.modules` without running its `__init__`, unless it is there already."""
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise ImportError(f"{name} is missing: py-libp2p 0.8.1 is needed (pip install libp2p==0.8.1)", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)


if "libp2p" not in sys.modules:
    for _name in _UNUSED_PACKAGES:
        _enter_bare(_name)

import libp2p.pubsub.gossipsub as _gossipsub
import libp2p.pubsub.pubsub as _pubsub
import libp2p.stream_muxer.yamux.yamux as _yamux
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.keys import KeyType
from libp2p.crypto.serialization import key_type_to_public_key_deserializer as _key_readers
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.exceptions import BaseLibp2pError
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError, IncompleteReadError
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.network.exceptions import SwarmException
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.protocol_muxer.exceptions import MultiselectClientError, MultiselectCommunicatorError
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MULTISELECT_PROTOCOL_ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.rpc_queue import PriorityQueue
from libp2p.pubsub.utils import safe_bytes_from_hex as message_id_of
from libp2p.pubsub.validators import PUBSUB_SIGNING_PREFIX
from libp2p.security.noise.transport import PROTOCOL_ID as NOISE_PROTOCOL_ID
from libp2p.security.noise.transport import Transport as NoiseTransport
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamEOF, MuxedStreamError, MuxedStreamReset
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID as YAMUX_PROTOCOL_ID
from libp2p.stream_muxer.yamux.yamux import Yamux, YamuxStream
from libp2p.utils.varint import encode_delim

__all__ = [
    "ID",
    "MULTISELECT_PROTOCOL_ID",
    "NOISE_PROTOCOL_ID",
    "PROTOCOL_ID_V11",
    "PUBSUB_SIGNING_PREFIX",
    "YAMUX_PROTOCOL_ID",
    "BaseLibp2pError",
    "ConnectionClosedError",
    "GossipSub",
    "IncompleteReadError",
    "Multiselect",
    "MultiselectClientError",
    "MultiselectCommunicator",
    "MultiselectCommunicatorError",
    "MuxedConnUnavailable",
    "MuxedStreamEOF",
    "MuxedStreamError",
    "MuxedStreamReset",
    "NetStream",
    "NoiseTransport",
    "PriorityQueue",
    "Pubsub",
    "RawConnection",
    "ReadWriteCloser",
    "SwarmException",
    "Yamux",
    "YamuxStream",
    "create_new_key_pair",
    "create_noise_key_pair",
    "encode_delim",
    "message_id_of",
    "rpc_pb2",
    "use_stream_class",
]


def use_stream_class(stream_class: type[Any]) -> None:
    """Make every Yamux connection of this process build its streams from `stream_class`."""
    _yamux.YamuxStream = stream_class


def _no_record(_host: object) -> tuple[bytes, bool]:
    """Stand in for `env_to_send_in_RPC`: addresses travel in the daemon's own signed messages."""
    return b"", False


def _ignore_record(_message: object, _host: object, _peer: object) -> bool:
    """Stand in for `maybe_consume_signed_record`, which verifies one more signature per RPC."""
    return True


# A node is its Ed25519 key. Whoever shows an RSA key chooses the exponent of what its signature is checked by: 18 ms of our time
# for each socket, and nobody is authenticated yet.
for _kind in [kind for kind in _key_readers if kind != KeyType.Ed25519.value]:
    del _key_readers[_kind]

for _module in (_pubsub, _gossipsub):
    _module.env_to_send_in_RPC = _no_record
    _module.maybe_consume_signed_record = _ignore_record

# The library's setup silences its loggers and takes them off the root; this makes them ordinary ones, without chatter.
logging.getLogger("libp2p").setLevel(logging.WARNING)
logging.getLogger("libp2p").propagate = True
for _chatty in ("libp2p.stream_muxer.yamux.yamux", "libp2p.protocol_muxer", "libp2p.pubsub", "libp2p.security"):
    # These report a peer's ordinary departure, or its bad bytes, as errors; the switch reports what matters.
    logging.getLogger(_chatty).setLevel(logging.CRITICAL)

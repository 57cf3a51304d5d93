"""What reaches a daemon's ports uninvited: garbage, half-open connections, strangers, requests without the token (catalogue 26, 27, 47)."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest

from bflcd.crypto.identity import Identity, node_id_of
from bflcd.errors import PeerError, Rejection, RequestError
from bflcd.net.exchange import Exchange
from bflcd.net.gossip import TOPIC
from bflcd.net.libp2p import Libp2pTransport
from bflcd.types import Digest, Height, Round
from bflcd.wire.blocks import chain_id_of
from bflcd.wire.requests import (
    GetAddresses,
    GetChunk,
    GetEnvelopes,
    GetGenesis,
    GetHeaders,
    GetManifest,
    GetOperations,
    GetPrepared,
    GetSegment,
    GetStatus,
)
from bflcd.wire.training import Training
from tests.helpers.daemons import Community, Daemon
from tests.helpers.network import real_now

HALF_OPEN = 100

GO_ON_SECONDS = 60.0

MULTISTREAM = b"\x13/multistream/1.0.0\n"
"""How every libp2p connection begins."""

GARBAGE = {
    "random": lambda: os.urandom(65_536),
    "http": lambda: b"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "zeros": lambda: bytes(65_536),
    "endless length": lambda: b"\xff" * 1024,
    "oversized frame": lambda: MULTISTREAM + b"\xff\xff\xff\xff\x7f" + bytes(2**20),
    "oversized handshake": lambda: MULTISTREAM + b"\x07/noise\n" + b"\xff\xff" + os.urandom(65_535) + b"\xff\xff",
    "closed at once": bytes,
}

pytestmark = pytest.mark.timeout(300)


def port_of(node: Daemon) -> int:
    return int(node.address.split("/")[4])


def throw(port: int, data: bytes) -> None:
    """Send, read what comes until the other side closes or falls silent, close."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
        link.settimeout(1)
        try:
            link.sendall(data)
            while link.recv(65_536):
                continue
        except (TimeoutError, ConnectionError):
            return


def throw_all(port: int) -> None:
    """All of the garbage at once."""
    with ThreadPoolExecutor(len(GARBAGE)) as pool:
        list(pool.map(throw, [port] * len(GARBAGE), [make() for make in GARBAGE.values()]))


def test_garbage_on_the_port_stops_nothing(living: Community):
    """Given a running member, When random bytes, HTTP, oversized frames and a hundred half-open connections reach its libp2p
    port,
    Then it goes on: rounds close on it, its peers stay, its memory does not swell, and a new peer can still connect.
    """
    node = living[2]
    memory = node.status()["memory_rss"]
    with ExitStack() as open_sockets:
        for _ in range(HALF_OPEN):
            open_sockets.enter_context(socket.create_connection(("127.0.0.1", port_of(node)), timeout=5))
        throw_all(port_of(node))
        living.wait_rounds(2, GO_ON_SECONDS)
    throw_all(port_of(node))

    living.wait_rounds(2, GO_ON_SECONDS)
    status = node.status()
    assert status["peers"] >= 4
    assert status["memory_rss"] < memory + 100 * 2**20
    assert asyncio.run(ask_as_stranger(node, living.chain_id))["status"] == "answered"


async def ask_as_stranger(node: Daemon, chain_hex: str, listen: Callable[[], Awaitable[object]] | None = None) -> dict[str, str]:
    """What a valid identity that is no member gets for each request: `answered`, or the name of the refusal; and how much gossip
    until `listen` is over.
    """
    chain = Digest(bytes.fromhex(chain_hex))
    gossip: list[bytes] = []
    transport = Libp2pTransport(Identity(bytes([99]) * 32), ("/ip4/127.0.0.1/tcp/0",), lambda _: True)
    exchange = Exchange(transport, is_member=lambda _: True, now=real_now)
    transport.subscribe(TOPIC, lambda _peer, message: gossip.append(message) is None)
    zero, one = Digest(bytes(32)), Round(1)
    model = Digest(bytes.fromhex(node.status()["model_hash"]))
    requests = {
        "status": GetStatus(zero, Round(0), Height(0), zero, (), Training.TRAINS),
        "genesis": GetGenesis(zero),
        "headers": GetHeaders(chain, one, 1),
        "segment": GetSegment(chain, one),
        "envelopes": GetEnvelopes(chain, Round(node.round()), (zero,)),
        "evidence": GetOperations(chain, (zero,)),
        "prepared": GetPrepared(chain, Round(node.round()), zero),
        "manifest": GetManifest(chain, model),
        "chunk": GetChunk(chain, model, 0),
        "addresses": GetAddresses(chain),
    }
    found: dict[str, str] = {}
    await transport.start()
    try:
        peer = await transport.dial(node.address, 20.0)
        assert peer == node_id_of(node.address.rsplit("/", 1)[1])
        for name, request in requests.items():
            try:
                reply = await exchange.ask(peer, request, deadline=10.0)
            except PeerError as error:
                found[name] = error.rejection.value
            except RequestError:
                found[name] = "no answer"
            else:
                found[name] = "answered"
                if name == "genesis":
                    assert chain_id_of(reply.genesis) == chain
        if listen is not None:
            await listen()
    finally:
        await transport.close()
    found["gossip"] = f"{len(gossip)} messages"
    return found


def test_a_stranger_gets_the_genesis_and_nothing_else(living: Community):
    """Given a running community, When a valid identity that is no member connects and asks for everything,
    Then it gets status and genesis; headers, segments, cards, evidence, proofs, models, addresses and gossip are refused.
    """
    refused = Rejection.NOT_MEMBER.value
    kept = ("headers", "segment", "envelopes", "evidence", "prepared", "manifest", "chunk", "addresses")

    async def two_rounds() -> None:
        await asyncio.to_thread(living.wait_rounds, 2, GO_ON_SECONDS)

    found = asyncio.run(ask_as_stranger(living[3], living.chain_id, two_rounds))

    assert found == {"status": "answered", "genesis": "answered", **dict.fromkeys(kept, refused), "gossip": "0 messages"}


def test_the_api_needs_token_and_host_on_a_port(living: Community):
    """Given a daemon whose API listens on a port too, When it is asked there without the token, with a wrong one, under another host's name or by a web page,
    Then it answers 401 or 403 in its envelope, tells nothing, and the right request still works.
    """
    node = living[0]
    entry = node.api()
    cases = {
        "no token": ({"Authorization": ""}, 401),
        "wrong token": ({"Authorization": f"Bearer {entry.token[:-1]}~"}, 401),
        "another host": ({"Host": "example.org"}, 403),
        "rebound host": ({"Host": f"example.org:{entry.url.rsplit(':', 1)[1]}"}, 403),
        "a web page": ({"Origin": "http://127.0.0.1"}, 403),
    }
    right = {"Authorization": f"Bearer {entry.token}"}
    with httpx.Client(trust_env=False) as client:
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/stop"), ("GET", "/metrics")):
            for name, (headers, code) in cases.items():
                answer = client.request(method, entry.url + path, headers=right | headers)
                assert (answer.status_code, answer.json()["status"]) == (code, "error"), (method, path, name)
                assert living.chain_id not in answer.text
        assert client.get(f"{entry.url}/v1/status", headers=right).json()["data"]["chain_id"] == living.chain_id
        assert client.get(f"{entry.url}/healthz").json()["data"] == {"health": "ok"}
    assert node.running
    assert node.status()["chain_id"] == living.chain_id
    assert [(node.datadir / name).stat().st_mode & 0o777 for name in ("api.json", "api.sock")] == [0o600, 0o600]

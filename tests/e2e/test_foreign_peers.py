"""libp2p peers of other makes, in Go and JavaScript, as strangers: greeted as the specification has it, and told nothing else."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from bflcd.errors import Rejection
from bflcd.net.gossip import PUSH
from bflcd.net.libp2p.courtesy import IDENTIFY, PING
from bflcd.net.libp2p.library import PROTOCOL_ID_V11
from bflcd.types import Digest, Round
from bflcd.version import __version__
from bflcd.wire.codec import decode_any, encode
from bflcd.wire.requests import GetAddresses, GetChunk, GetHeaders, Lane, Refused
from tests.foreign.go_peer import GoError, GoPeer, fields, go_peer
from tests.foreign.packages import ROOT, go_program, node_packages
from tests.helpers.daemons import Community, Daemon

GO_ON_SECONDS = 60.0

UNSPOKEN = ("/ipfs/kad/1.0.0", "/libp2p/circuit/relay/0.2.0/hop", "/p2p/0/nobody/speaks/this")

pytestmark = pytest.mark.timeout(300)


def peer_id_at(node: Daemon) -> str:
    return node.address.rsplit("/", 1)[1]


def framed(message: bytes) -> bytes:
    return len(message).to_bytes(4, "big") + message


def questions(node: Daemon, chain_hex: str) -> dict[str, bytes]:
    """What a stranger may not ask or say, by protocol, as it travels."""
    chain, model = (Digest(bytes.fromhex(text)) for text in (chain_hex, node.status()["model_hash"]))
    return {
        Lane.SMALL.value: framed(encode(GetAddresses(chain))),
        Lane.CHAIN.value: framed(encode(GetHeaders(chain, Round(1), 1))),
        Lane.BLOB.value: framed(encode(GetChunk(chain, model, 0))),
        PUSH: framed(b"not a message"),
        PROTOCOL_ID_V11: b"\x03\x12\x01\x00",
    }


def check_refused(answers: dict[str, bytes]) -> None:
    """Requests are refused with the reason; what is pushed or gossiped gets no word."""
    for lane in Lane:
        answer = answers[lane.value]
        refusal = decode_any(answer[4:], (Refused,))
        assert (answer[:4], refusal.rejection) == (len(answer[4:]).to_bytes(4, "big"), Rejection.NOT_MEMBER.value)
    assert {protocol: answers[protocol] for protocol in (PUSH, PROTOCOL_ID_V11)} == {PUSH: b"", PROTOCOL_ID_V11: b""}


def test_a_go_peer_is_greeted_and_refused_everything_else(living: Community, tmp_path: Path) -> None:
    """Given a go-libp2p daemon that is no member, When it connects, pings, asks who we are, and then for everything,
    Then ping and identify are answered, all else is refused, and the community goes on.
    """
    node = living[2]
    peer = peer_id_at(node)
    with go_peer(go_program(), tmp_path) as stranger:
        stranger.connect(peer, "127.0.0.1", int(node.address.split("/")[4]))
        for number in range(3):
            assert stranger.answer(peer, PING, bytes([number]) * 32, most=32) == bytes([number]) * 32
        check_description(stranger, peer)
        check_refused(
            {protocol: stranger.answer(peer, protocol, said) for protocol, said in questions(node, living.chain_id).items()}
        )
        for protocol in UNSPOKEN:
            with pytest.raises(GoError):
                stranger.stream(peer, protocol)
    living.wait_rounds(1, GO_ON_SECONDS)


def check_description(stranger: GoPeer, peer: str) -> None:
    """What identify gives: key, protocols, version; no addresses."""
    answer = stranger.answer(peer, IDENTIFY, b"")
    assert 128 <= len(answer) < 1024
    found = fields(answer[2:])
    assert (6, f"bflcd/{__version__}".encode()) in found
    assert {number for number, _ in found} == {1, 3, 5, 6}
    assert (3, PING.encode()) in found


def test_a_javascript_peer_is_greeted_and_refused_everything_else(living: Community) -> None:
    """Given a js-libp2p peer that is no member, When it connects, pings, asks who we are, and then for everything,
    Then ping and identify are answered, all else is refused, and the community goes on.
    """
    packages = node_packages()
    node = living[3]
    asked = {protocol: said.hex() for protocol, said in questions(node, living.chain_id).items()} | dict.fromkeys(UNSPOKEN, "00")
    command = ["node", ROOT / "tests" / "foreign" / "peer.mjs", node.address, json.dumps(asked)]
    done = subprocess.run(
        command, env={**os.environ, "NODE_PACKAGES": str(packages)}, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    found = json.loads(done.stdout)
    assert found["peer"] == peer_id_at(node)
    assert 0 <= found["ping"] < 5_000
    said = found["identify"]
    assert (said["agent"], said["protocol"], said["addresses"]) == (f"bflcd/{__version__}", "bflc/1", [])
    assert {found["answers"].pop(protocol) for protocol in UNSPOKEN} == {"failed: UnsupportedProtocolError"}
    check_refused({protocol: bytes.fromhex(answer) for protocol, answer in found["answers"].items()})
    living.wait_rounds(1, GO_ON_SECONDS)

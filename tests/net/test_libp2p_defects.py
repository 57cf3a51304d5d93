"""The library's defects that are worked around, each shown without its workaround: a test that fails says which can go."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
import trio
import trio.testing

from bflcd.crypto.identity import Identity
from bflcd.net.libp2p import gossip as our_gossip
from bflcd.net.libp2p import heard, library, packet, yamux
from bflcd.net.libp2p.library import ID, GossipSub, Pubsub, Yamux, YamuxStream, create_new_key_pair, rpc_pb2

ROOT = Path(__file__).parents[2]
PEER = ID.from_pubkey(create_new_key_pair(bytes(32)).public_key)


def run_with_whole_library(code: str) -> str:
    """Output of `code` in a process that has all of the library, none of our workarounds."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


HOSTS = """
import trio, libp2p, logging
from multiaddr import Multiaddr
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
ANY = Multiaddr("/ip4/127.0.0.1/tcp/0")

def host(number):
    return libp2p.new_host(key_pair=create_new_key_pair(bytes([number]) * 32))
"""


class FakeSession:
    """A secured connection that counts what is written, and may stop half way."""

    is_initiator = True

    def __init__(self, stop_after: int | None = None) -> None:
        self.written = bytearray()
        self.stop_after = stop_after
        self.release = trio.Event()

    async def write(self, data: bytes) -> None:
        if self.stop_after is None:
            self.written += data
            await trio.lowlevel.checkpoint()
            return
        self.written += data[: self.stop_after]
        await self.release.wait()
        self.written += data[self.stop_after :]


def library_stream(session: FakeSession):
    connection = Yamux(session, PEER, is_initiator=True)
    return register(connection, YamuxStream(1, connection, True))


def our_stream(session: FakeSession):
    connection = yamux.LeanYamux(session, PEER, is_initiator=True)
    return register(connection, yamux.PatientStream(1, connection, True))


def register(connection, stream):
    connection.streams[1] = stream
    connection.stream_buffers[1] = bytearray()
    connection.stream_events[1] = trio.Event()
    return stream


def arrive(stream, data: bytes) -> None:
    """What the frame handler does with a data frame."""
    stream.conn.stream_buffers[1].extend(data)
    stream.recv_window -= len(data)
    stream.conn.stream_events[1].set()


class TestP1Accepting:
    """The switch accepts by itself: `Swarm` keeps a slot and a task of every inbound connection, for ever."""

    def test_library_never_frees_the_slot_of_a_closed_inbound_connection(self):
        code = f"""{HOSTS}
async def main():
    a, b = host(1), host(2)
    async with a.run([ANY]), b.run([ANY]):
        info = info_from_p2p_addr(Multiaddr(str(b.get_addrs()[0])))
        for _ in range(3):
            await a.connect(info)
            await a.disconnect(b.get_id())
            await trio.sleep(0.3)
        print(len(b.get_network().get_connections()), b.get_network()._inbound_limiter.borrowed_tokens)
trio.run(main)
"""
        assert run_with_whole_library(code) == "0 3"


class TestListening:
    """The transport opens its own listeners, without SO_REUSEPORT."""

    def test_library_lets_two_hosts_share_a_port(self):
        code = f"""{HOSTS}
async def main():
    a, b = host(1), host(2)
    async with a.run([ANY]):
        port = a.get_addrs()[0].value_for_protocol("tcp")
        async with b.run([Multiaddr(f"/ip4/127.0.0.1/tcp/{{port}}")]):
            print(b.get_addrs()[0].value_for_protocol("tcp") == port)
trio.run(main)
"""
        assert run_with_whole_library(code) == "True"


class TestDialling:
    """The switch dials by itself."""

    def test_library_waits_a_quarter_of_a_second_before_every_dial(self):
        code = "import libp2p.network.swarm as swarm; print(swarm._HAPPY_EYEBALLS_DELAY)"
        assert run_with_whole_library(code) == "0.25"


class TestP2WindowUpdates:
    """`PatientStream` returns credit when half the window was read."""

    @staticmethod
    async def updates(stream) -> int:
        for _ in range(100):
            arrive(stream, b"x")
            await stream.read(1)
        return len(stream.conn.secured_conn.written) // 12

    def test_library_sends_one_for_nearly_every_small_read(self, monkeypatch):
        monkeypatch.delenv("PY_YAMUX_RELEASE_ON_READ", raising=False)

        async def main() -> int:
            return await self.updates(library_stream(FakeSession()))

        assert trio.run(main) > 50

    def test_ours_sends_none(self):
        async def main() -> int:
            return await self.updates(our_stream(FakeSession()))

        assert trio.run(main) == 0

    def test_ours_returns_all_credit_in_the_end(self):
        async def main() -> None:
            stream = our_stream(FakeSession())
            for _ in range(64):
                arrive(stream, bytes(64 * 1024))
                assert len(await stream.receive()) == 64 * 1024
                assert stream.recv_window > 0

        trio.run(main)


class TestFrameSize:
    """`FRAME_BYTES` fills exactly one Noise message."""

    def test_library_cuts_frames_that_take_two_noise_messages(self):
        from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
        from libp2p.stream_muxer.yamux.yamux import HEADER_SIZE, MAX_MESSAGE_SIZE

        assert MAX_MESSAGE_SIZE > MAX_PLAINTEXT_LENGTH
        assert yamux.FRAME_BYTES + HEADER_SIZE == MAX_PLAINTEXT_LENGTH


class TestP4CancelledWrites:
    """`LeanYamux` writes every frame whole."""

    @staticmethod
    async def written_when_cancelled(stream) -> int:
        session = stream.conn.secured_conn
        async with trio.open_nursery() as nursery:
            with trio.move_on_after(0.05):
                nursery.start_soon(_set_later, session.release)
                await stream.write(bytes(1000))
        return len(session.written)

    def test_library_leaves_half_a_frame_on_the_wire(self):
        async def main() -> int:
            return await self.written_when_cancelled(library_stream(FakeSession(stop_after=100)))

        assert trio.run(main) == 100

    def test_ours_finishes_the_frame(self):
        async def main() -> int:
            return await self.written_when_cancelled(our_stream(FakeSession(stop_after=100)))

        assert trio.run(main) == 12 + 1000


class TestP5SlowReaders:
    """`PatientStream` waits a minute for credit, and wakes when it comes."""

    @staticmethod
    def run(make, credit_after: float) -> float:
        async def main() -> float:
            stream = make(FakeSession())
            stream.send_window = 0
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_credit_later, stream, credit_after)
                await stream.write(b"x")
            return trio.current_time()

        return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    def test_library_gives_up_after_five_seconds(self):
        with pytest.raises(BaseExceptionGroup) as failure:
            self.run(library_stream, credit_after=7)
        assert "5 seconds" in str(failure.value.exceptions[0])

    def test_ours_outlasts_a_slow_reader(self):
        self.run(our_stream, credit_after=30)

    def test_ours_ends_in_the_end(self):
        with pytest.raises(BaseExceptionGroup) as failure:
            self.run(our_stream, credit_after=200)
        assert "read nothing" in str(failure.value.exceptions[0])


class TestInterleaving:
    """`PatientStream` sends one message after the other."""

    @staticmethod
    async def orders(stream) -> list[int]:
        """The first payload byte of every frame, in the order of the wire."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.write, b"\x01" * 100_000)
            nursery.start_soon(stream.write, b"\x02" * 100_000)
        wire, found = stream.conn.secured_conn.written, []
        while wire:
            length = int.from_bytes(wire[8:12], "big")
            found.append(wire[12])
            del wire[: 12 + length]
        return found

    def test_library_mixes_two_messages(self):
        async def main() -> list[int]:
            return await self.orders(library_stream(FakeSession()))

        assert trio.run(main) not in ([1, 1, 2, 2], [2, 2, 1, 1])

    def test_ours_does_not(self):
        async def main() -> list[int]:
            return await self.orders(our_stream(FakeSession()))

        assert trio.run(main) in ([1, 1, 2, 2], [2, 2, 1, 1])


class TestWindowOverrun:
    """`PatientStream` drops a peer that ignores its window."""

    @staticmethod
    def overrun(make) -> bool:
        async def main() -> bool:
            stream = make(FakeSession())
            arrive(stream, bytes(16 * 1024 * 1024))
            return stream.conn.event_shutting_down.is_set()

        return trio.run(main)

    def test_library_buffers_whatever_comes(self):
        assert not self.overrun(library_stream)

    def test_ours_gives_the_connection_up(self):
        assert self.overrun(our_stream)


class TestGossip:
    def test_p3_later_versions_announce_every_message_to_every_mesh_peer(self):
        router = GossipSub([library.PROTOCOL_ID_V11], 6, 4, 8)
        router.peer_protocol = {PEER: library.PROTOCOL_ID_V11}
        assert not router.supports_protocol_feature(PEER, "idontwant")
        router.peer_protocol = {PEER: "/meshsub/1.2.0"}
        assert router.supports_protocol_feature(PEER, "idontwant")

    def test_library_defaults_that_are_overridden(self):
        defaults = {name: value.default for name, value in inspect.signature(GossipSub).parameters.items()}
        assert defaults["heartbeat_interval"] == 120
        assert defaults["max_messages_per_topic_per_second"] == 10.0
        assert defaults["spam_protection_enabled"] is True

    def test_library_queue_drops_the_thirty_third_packet(self):
        from libp2p.pubsub.rpc_queue import RpcQueue

        async def main() -> list[bool]:
            queue = RpcQueue()
            return [queue.push(rpc_pb2.RPC()) for _ in range(33)]

        assert trio.run(main) == [True] * 32 + [False]

    def test_library_copies_a_message_for_every_mention_of_its_id(self):
        """`bound_control` leaves each id once: a few kilobytes of IWANT must not cost gigabytes."""
        sent = []

        class Router(GossipSub):
            def send_rpc(self, peer_id, rpc, priority=False):
                sent.append(len(rpc.publish))

        class Attached:
            pass

        async def main() -> None:
            router = Router([library.PROTOCOL_ID_V11], 6, 4, 8)
            router.pubsub = Attached()
            message = rpc_pb2.Message(data=b"x", from_id=b"a", seqno=b"b", topicIDs=["t"])
            router.mcache.put(message)
            control = rpc_pb2.ControlMessage(iwant=[rpc_pb2.ControlIWant(messageIDs=[b"ab".hex().encode()] * 50)])
            await router.handle_iwant(control.iwant[0], PEER)
            packet.bound_control(control, ("t",))
            await router.handle_iwant(control.iwant[0], PEER)

        trio.run(main)
        assert sent == [50, 1]

    def test_library_raises_on_a_key_that_is_none(self):
        """Raised inside its service, this ends gossip for good; ours verifies by itself and counts a strike."""
        from libp2p.pubsub.validators import signature_validator

        message = rpc_pb2.Message(data=b"x", from_id=b"\x12\x20" + bytes(32), seqno=bytes(8), signature=b"s", key=b"\xff" * 8)
        with pytest.raises(Exception, match=r".+"):
            signature_validator(message)

    def test_library_numbers_start_again_at_the_second_of_the_start(self):
        """A node that sent more than one message a second and restarts would send numbers that were seen: ours are nanoseconds."""
        assert "self.counter = int(time.time())" in inspect.getsource(Pubsub.__init__)

    def test_library_keeps_a_thread_for_its_unbounded_cache_of_ids(self):
        from libp2p.tools.timed_cache.last_seen_cache import LastSeenCache

        cache = LastSeenCache(120, 60)
        try:
            assert cache._thread.is_alive()
        finally:
            cache.stop()
        seen = heard.Seen()
        for number in range(heard.MAX_SEEN + 1):
            assert seen.add(number.to_bytes(4, "big"))
        assert not seen.has(bytes(4))
        assert not seen.add((1).to_bytes(4, "big"))

    def test_library_forgets_subscriptions_when_a_gossip_stream_breaks_on_a_live_connection(self):
        """They are sent once per connection, so `Gossip._handle_dead_peer` closes it."""
        source = inspect.getsource(Pubsub._handle_dead_peer)
        assert source.index("self._forget_all_subscriptions(peer_id)") < source.index("self._peer_is_connected(peer_id)")


class TestSignedGossip:
    def test_a_signature_by_the_author_is_needed(self):
        author, other = Identity(bytes([1]) * 32), Identity(bytes([2]) * 32)
        from_id = ID.from_pubkey(create_new_key_pair(author.seed).public_key).to_bytes()
        message = rpc_pb2.Message(data=b"x", topicIDs=["t"], from_id=from_id, seqno=bytes(8))
        verdicts = []
        for signer in (author, other):
            message.signature = signer.sign(our_gossip._signed_bytes(message))
            verdicts.append(our_gossip._is_signed(message, author.node_id))
        message.signature = author.sign(our_gossip._signed_bytes(message))
        from libp2p.pubsub.validators import signature_validator

        assert verdicts == [True, False]
        assert signature_validator(message)  # other implementations accept it too


class TestKeys:
    """A node is its Ed25519 key: `library` leaves the handshake nothing else to read."""

    RSA = """
from Crypto.Util.asn1 import DerSequence
from libp2p.crypto.pb import crypto_pb2
modulus = 2**4096 - 1
shown = crypto_pb2.PublicKey(key_type=0, data=DerSequence([modulus, modulus - 2]).encode()).SerializeToString()
"""

    def test_library_takes_an_rsa_key_with_an_exponent_as_long_as_its_modulus(self):
        code = f"{self.RSA}\nfrom libp2p.crypto.serialization import deserialize_public_key as read\nprint(read(shown).impl.e.bit_length())"
        assert run_with_whole_library(code) == "4096"

    @pytest.mark.parametrize("kind", [0, 2, 3], ids=["RSA", "secp256k1", "ECDSA"])
    def test_ours_reads_no_other_key_in_a_handshake(self, kind: int):
        from libp2p.crypto.pb import crypto_pb2
        from libp2p.security.noise.messages import NoiseHandshakePayload, noise_pb

        shown = crypto_pb2.PublicKey(key_type=kind, data=bytes(33)).SerializeToString()
        payload = noise_pb.NoiseHandshakePayload(identity_key=shown, identity_sig=b"s").SerializeToString()
        with pytest.raises(ValueError, match="key_type"):
            NoiseHandshakePayload.deserialize(payload)


class TestImport:
    def test_library_imports_all_of_itself(self):
        """Without `_enter_bare` a node that needs none of it carries QUIC, mDNS, DHT and bitswap in memory."""
        code = "import sys, libp2p; print(all(m in sys.modules for m in ('libp2p.bitswap', 'libp2p.kad_dht', 'zeroconf')))"
        assert run_with_whole_library(code) == "True"


async def _set_later(event: trio.Event) -> None:
    await trio.sleep(0.2)
    event.set()


async def _credit_later(stream, seconds: float) -> None:
    await trio.sleep(seconds)
    stream.send_window += 1000


@pytest.mark.parametrize("peers", [3, 31, 127])
def test_gossip_is_told_of_to_ever_more_peers(peers: int) -> None:
    """Each second to six peers at least, and to a quarter of all: our router tells few, however many there are."""
    ours = our_gossip._Router.__new__(our_gossip._Router)
    theirs = GossipSub.__new__(GossipSub)
    ours.adaptive_gossip_enabled = theirs.adaptive_gossip_enabled = False
    assert theirs._get_adaptive_gossip_peers_count("topic", peers) == max(6, peers // 4)
    assert ours._get_adaptive_gossip_peers_count("topic", peers) == our_gossip.TOLD_BESIDE

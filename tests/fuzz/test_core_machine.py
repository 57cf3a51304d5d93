"""Whole cores under Hypothesis: a liar with a seat and a trainer's key says anything, in any order; rounds go on (catalogue 26, 30, 31)."""

from dataclasses import replace
from typing import get_args

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, rule

from bflcd.core.early_messages import MAX_EARLY
from bflcd.core.events import BlobFetched, BlobLost, BlobMissing, EnvelopesFetched, MessageReceived, SegmentFetched
from bflcd.errors import PeerError
from bflcd.types import Digest, Round
from bflcd.wire.blocks import Certificate, CertifiedSegment
from bflcd.wire.codec import decode_any, encode
from bflcd.wire.envelope import Envelope, seal
from bflcd.wire.messages import GOSSIP, Announcement, JustifiedPrePrepare, JustifiedViewChange, SignedBody
from tests.helpers.hostile import Recorder, held, hostile_world
from tests.helpers.places import PLACE, encodes
from tests.helpers.strategies import messages

KINDS = get_args(SignedBody)

bodies = st.one_of([messages(kind) for kind in KINDS])
gossip = st.one_of([messages(kind) for kind in GOSSIP])
index = st.integers(0, 10_000)
wrappers = st.sampled_from(("bare", "pre-prepare", "view-change"))

LARGEST_EARLY = ("._early._held", MAX_EARLY)
OTHERWISE = 2_048
"""No container of a core in a community of six may hold more: signatures remembered are the most."""

ROUND_LIMIT = 240_000
"""Virtual milliseconds in which the community must close another round after all that."""


def _fits(body: object, name: str, value: object) -> bool:
    """Whether a body has this field of a place, as the same kind of thing: a recovery's committee is a list."""
    return isinstance(getattr(body, name, None), type(value))


class HostileWorld(RuleBasedStateMachine):
    """Six nodes, four seats. The liar's own core runs as well: what is said in its name beside it are contradictions."""

    def __init__(self) -> None:
        super().__init__()
        self.world = hostile_world(aggregation="fedavg")
        self.recorder = Recorder(self.world)
        core = next(iter(self.world.cores.values()))
        committee = core.context.committee
        trainers = [node for node in self.world.identities if node not in committee]
        self.liars = (self.world.identities[committee[0]], self.world.identities[trainers[0]])
        self.targets = (committee[1], committee[2], trainers[1])
        self.world.run_until(lambda: bool(self.recorder.messages), 5_000)

    def hear(self, message: object, liar: int = 0) -> None:
        for target in self.targets:
            self.world.feed(target, MessageReceived(message, self.liars[liar].node_id))  # type: ignore[arg-type]

    def place(self) -> dict[str, object]:
        instance = self.world.cores[self.targets[0]].context.instance
        values = (instance.chain, instance.round, instance.epoch, instance.parent, instance.committee_hash)
        return dict(zip(PLACE, values, strict=True))

    @rule(body=bodies, kept=st.sets(st.sampled_from(PLACE), min_size=3), liar=st.sampled_from((0, 1)), wrapper=wrappers)
    def signed_nonsense(self, body, kept, liar, wrapper):
        """Any body, at the right place or nearly so, truly signed, in any wrapping."""
        fields = {name: value for name, value in self.place().items() if name in kept and _fits(body, name, value)}
        envelope = seal(replace(body, **fields), self.liars[liar]).envelope
        wrapped = {
            "bare": envelope,
            "pre-prepare": JustifiedPrePrepare(envelope, (), ()),
            "view-change": JustifiedViewChange(envelope, (), None),
        }
        self.hear(wrapped[wrapper], liar)

    @rule(body=bodies, ahead=st.sampled_from((1, 2, 100, 2**53 - 1)))
    def from_the_future(self, body, ahead):
        fields = {**self.place(), "round": Round(min(2**53, self.world.round_of(self.targets[0]) + ahead))}
        changed = replace(body, **{name: value for name, value in fields.items() if _fits(body, name, value)})
        self.hear(seal(changed, self.liars[0]).envelope)

    @rule(message=gossip)
    def unsigned_nonsense(self, message):
        self.hear(message)

    @rule(number=index, place=st.integers(0, 5_000), bit=st.integers(0, 7))
    def garbled(self, number, place, bit):
        said = self.recorder.messages
        data = bytearray(encode(said[number % len(said)]))
        data[place % len(data)] ^= 1 << bit
        try:
            self.hear(decode_any(bytes(data), GOSSIP))
        except PeerError:
            return

    @rule(number=index)
    def repeated(self, number):
        said = self.recorder.messages
        self.hear(said[number % len(said)])

    @rule(certificate=messages(Certificate), right=st.booleans())
    def announced(self, certificate, right):
        fields = self.place() if right else {"chain": self.place()["chain"]}
        changed = encodes(lambda: replace(certificate, **fields))
        self.hear(Announcement(changed))

    @rule(segment=messages(CertifiedSegment), number=index, flip=index)
    def wrong_segments(self, segment, number, flip):
        """Nonsense, and a real segment with one bit flipped, given as the next one."""
        target = self.targets[number % len(self.targets)]
        self.world.feed(target, SegmentFetched(segment, self.liars[0].node_id))
        held_segments = [s for disk in self.world.disks.values() for s in disk.segments.values()]
        if held_segments:
            data = bytearray(encode(held_segments[number % len(held_segments)]))
            data[flip % len(data)] ^= 1 << flip % 8
            try:
                changed = decode_any(bytes(data), (CertifiedSegment,))
            except PeerError:
                return
            self.world.feed(target, SegmentFetched(changed, self.liars[0].node_id))  # type: ignore[arg-type]

    @rule(body=bodies, number=index, root=st.binary(min_size=32, max_size=32))
    def wrong_answers(self, body, number, root):
        """What a liar answers to our questions: envelopes nobody asked for, blobs that are not there or spoiled."""
        target = self.targets[number % len(self.targets)]
        fields = {name: value for name, value in self.place().items() if _fits(body, name, value)}
        mine = seal(replace(body, **fields), self.liars[0]).envelope
        bare = [message for message in self.recorder.messages if isinstance(message, Envelope)]
        envelopes = (mine, replace(mine, author=target), *bare[-3:])
        self.world.feed(target, EnvelopesFetched(Round(self.world.round_of(target)), envelopes, self.liars[0].node_id))
        for event in (
            BlobMissing(Digest(root), "", refused=True, text="spoiled"),
            BlobFetched(Digest(root)),
            BlobLost(Digest(root)),
        ):
            self.world.feed(target, event)

    @rule(millis=st.sampled_from((5, 100, 700, 3_000)))
    def time_passes(self, millis):
        self.world.run_until(lambda: False, millis)

    def nothing_grows(self):
        for target in self.targets:
            for path, size in held(self.world.cores[target]).items():
                assert size <= (MAX_EARLY if path == LARGEST_EARLY[0] else OTHERWISE), (path, size)

    def teardown(self) -> None:
        """Nothing has grown, nobody forks, and the community still closes rounds."""
        self.nothing_grows()
        before = max(self.world.rounds())
        assert self.world.run_until(lambda: min(self.world.rounds()) > before, ROUND_LIMIT), self.world.notices[-20:]
        for round_ in range(1, before + 1):
            kept = {encode(d.segments[round_].segment) for d in self.world.disks.values() if round_ in d.segments}
            assert len(kept) == 1, f"a fork in round {round_}"


CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

TestHostileWorld = HostileWorld.TestCase
TestHostileWorld.settings = settings(max_examples=4, stateful_step_count=15, deadline=None, suppress_health_check=CHECKS)

"""What is said again is what was said, after pauses that double up to 8 T0."""

from bflcd.core.round.retransmission import Retransmissions
from bflcd.types import Millis, NodeId, Signature
from bflcd.wire.envelope import Envelope

T0 = Millis(1_000)
SAID = Envelope(NodeId(bytes(32)), b"what was signed", Signature(bytes(64)))


def test_the_same_bytes_are_due_after_pauses_that_double_up_to_8_t0():
    resends = Retransmissions(T0)
    assert resends.deadline() is None
    resends.add(SAID, Millis(0))
    resends.add(SAID, Millis(0))
    times = []
    for _ in range(6):
        due = resends.deadline()
        assert resends.due(Millis(due - 1)) == []
        assert resends.due(due) == [SAID]
        times.append(due)
    assert times == [1_000, 3_000, 7_000, 15_000, 23_000, 31_000]


def test_what_is_not_urgent_waits_twice_as_long():
    resends = Retransmissions(T0)
    resends.add(SAID, Millis(0), urgent=False)
    assert resends.deadline() == 2_000

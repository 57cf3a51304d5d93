"""What is said again is what was said, after pauses that double up to 8 T0."""

import pytest

from bflcd.core.effects import Send
from bflcd.core.round.retransmission import Retransmissions
from bflcd.types import Millis, NodeId, Signature
from bflcd.wire.envelope import Envelope

T0 = Millis(1_000)
SAID = Envelope(NodeId(bytes(32)), b"what was signed", Signature(bytes(64)))
JUDGES = (NodeId(b"j" * 32), NodeId(b"k" * 32))


def test_the_same_bytes_are_due_after_pauses_that_double_up_to_8_t0():
    resends = Retransmissions(T0, judges=False)
    assert resends.deadline() is None
    resends.add(SAID, Millis(0), to=JUDGES)
    resends.add(SAID, Millis(0), to=JUDGES)
    times = []
    for _ in range(6):
        due = resends.deadline()
        assert resends.due(Millis(due - 1)) == []
        assert resends.due(due) == [Send(SAID, JUDGES)]
        times.append(due)
    assert times == [500, 1_500, 3_500, 7_500, 15_500, 23_500]


@pytest.mark.parametrize(("to", "urgent", "first"), [((), True, 1_000), (JUDGES, False, 2_000), ((), False, 2_000)])
def test_what_is_gossiped_or_not_urgent_begins_later(to: tuple[NodeId, ...], urgent: bool, first: int) -> None:
    resends = Retransmissions(T0, judges=False)
    resends.add(SAID, Millis(0), to=to, urgent=urgent)
    assert resends.deadline() == first


def test_a_seat_tells_all_that_it_is_here_in_a_round_that_stands() -> None:
    resends = Retransmissions(T0, judges=True)
    resends.add(SAID, Millis(0), to=JUDGES)
    said = [resends.due(Millis(time)) for time in (500, 1_500, 3_500, 7_500, 15_500)]
    assert said == [[Send(SAID, JUDGES)]] * 3 + [[Send(SAID)]] * 2

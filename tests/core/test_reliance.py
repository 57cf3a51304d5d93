"""Whatever is signed about payloads names them as what it relies on (docs/adr/0015-durable-payloads.md)."""

from bflcd.core.effects import Persist
from bflcd.core.records import OwnRecord, ProposalRecord
from bflcd.store.records import pins_of
from bflcd.wire.codec import number_of
from bflcd.wire.messages import Offer, ScoreCard
from tests.helpers.one_core import a_world


def test_offers_cards_and_segments_rely_on_every_payload_that_they_name():
    """Given a round, when offer, card or segment are stored, then the effect names their payloads, and votes name none."""
    world = a_world()
    world.start_all()
    seen: set[object] = set()
    answer = world.answer

    def watching(node, effect):
        if isinstance(effect, Persist):
            said = [record for record in effect.records if isinstance(record, OwnRecord | ProposalRecord)]
            named = frozenset().union(*map(pins_of, said))
            assert {blob.root for blob in effect.relies_on} == named
            seen.update(record.phase if isinstance(record, OwnRecord) else ProposalRecord for record in said if pins_of(record))
        return answer(node, effect)

    world.answer = watching
    assert world.run_until(lambda: max(world.rounds()) >= 2, 60_000)
    assert seen == {number_of(Offer), number_of(ScoreCard), ProposalRecord}

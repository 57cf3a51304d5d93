"""Who was there and got no word in: named from the chain, warned of after some rounds, forgotten once it is judged."""

from types import SimpleNamespace

import pytest

from bflcd.api.history import history_rows, not_judged
from bflcd.node.views import left_out
from bflcd.node.views.left_out import MISSED, LeftOut
from bflcd.store.memory import MemoryStore
from bflcd.types import Round, short
from tests.helpers import chains
from tests.helpers.chains import begin_chain, fill


@pytest.fixture
def few_present(monkeypatch) -> None:
    """Cards see nobody but the committee and who offered."""
    make_cards = chains.make_cards

    def seen(community, gains, offers):
        there = {*community.state.committee, *(offer.author for offer in offers.values())}
        return make_cards(community, gains, offers, sorted(there))

    monkeypatch.setattr(chains, "make_cards", seen)


def context_of(chain):
    return SimpleNamespace(params=chain.genesis.params, state=chain.state)


async def test_history_names_who_was_left_out_of_a_round():
    """Given members that all cards saw / When a round closes without an update of theirs on a card / Then its row names them."""
    store, chain = MemoryStore(), begin_chain()
    seats, packed = set(chain.state.committee), set(chain.community.outsiders[: chains.TRAINERS])
    everybody = {account.node for account in chain.state.accounts}
    (certified,) = await fill(store, chain, 1)
    (row,) = await history_rows(store, chain.genesis, 1, 10)
    assert row.not_judged == [node.hex() for node in sorted(everybody - seats - packed)]
    assert row.not_judged
    assert not_judged(certified, tuple(everybody)) == []


@pytest.mark.usefixtures("few_present")
async def test_who_is_not_seen_is_not_left_out():
    store, chain = MemoryStore(), begin_chain()
    await fill(store, chain, 2)
    assert [row.not_judged for row in await history_rows(store, chain.genesis, 1, 10)] == [[], []]


async def test_who_misses_many_rounds_is_warned_of_by_every_node_also_after_a_restart(monkeypatch):
    store, chain = MemoryStore(), begin_chain()
    running = LeftOut()
    await fill(store, chain, 0)
    await running.recall(store, Round(0))
    counts = []
    for _ in range(3 * MISSED):
        (certified,) = await fill(store, chain, 1)
        running.closed(certified)
        counts.append(len(running.warnings(context_of(chain))))
    monkeypatch.setattr(left_out, "MAX_NAMED", 100)
    texts = running.warnings(context_of(chain))
    assert counts[: MISSED - 1] == [0] * (MISSED - 1)
    assert texts
    named = {text.split()[0] for text in texts}
    again = LeftOut()
    await again.recall(store, chain.state.round)
    remembered = {text.split()[0] for text in again.warnings(context_of(chain))}
    assert remembered
    assert remembered <= named, "it looks back some rounds, not to the genesis"
    assert named <= {short(account.node) for account in chain.state.accounts}

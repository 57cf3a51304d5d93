"""The ledger of a simulated community: the daemons' own functions, with cards that nobody had to sign.

Devices are numbered; each has a node id made of its number. Rounds are opened, judged and closed by `ledger.transition.decide`,
the function that every daemon computes. Only what a hash depends on differs: block hashes and lots follow from the seed and the
round, so that the draws of a simulation don't hang on the last bits of its floats. A committee may be larger than the 64 seats of
the wire format, since the paper's are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.lab.rng import Draw, generator
from bflcd.ledger.lot import Draw as LotDraw
from bflcd.ledger.lot import first_lot
from bflcd.ledger.quorum import quorum
from bflcd.ledger.roles import trainers
from bflcd.ledger.state import NEVER, Account, State
from bflcd.ledger.transition import Outcome, decide
from bflcd.ledger.trust.canaries import shown
from bflcd.ledger.trust.doubts import is_doubted
from bflcd.params import MILLION, BlobRef, Params
from bflcd.types import (
    PROOF_BYTES,
    Amount,
    Digest,
    Epoch,
    MicroNats,
    Millis,
    NodeId,
    PartsPerMillion,
    Proof,
    Round,
    Signature,
    View,
)
from bflcd.wire.blocks import committee_hash
from bflcd.wire.codec import encode
from bflcd.wire.envelope import Envelope, Signed
from bflcd.wire.messages import CardEntry, Offer, ScoreCard

POOL: Final = Amount(1_000_000_000)
"""Units that rewards are paid from."""

LAST_STEP: Final = -1
"""What a card's line is like that repeats what the last round did to the model."""

MEDIAN_RATE: Final = log(1024)
RATE_SIGMA: Final = 1.0
"""Links of the devices, which only a multi-factor election looks at: lognormal around 1 MiB/s."""

_UNSIGNED: Final = Signature(bytes(64))
_UNPROVED: Final = Proof(bytes(PROOF_BYTES))


@dataclass(frozen=True, slots=True)
class CardLines:
    """What one member writes: an entry an offer, in the order of the offers.

    `entered`: which offers it has an entry for, None for all; `rates` in KiB/s, None for those of the simulated links; `present`:
    devices that it saw, None for all. The base's loss and accuracy count only if there is an entry. `likes`: of which
    offer, by its place, each is a copy, `LAST_STEP` for that, None of nothing; None: it names no copies.
    """

    gains: NDArray[np.int64]
    accuracies: NDArray[np.int64]
    norms: NDArray[np.int64]
    base_loss: int
    base_accuracy: int
    entered: NDArray[np.bool_] | None = None
    rates: NDArray[np.int64] | None = None
    present: tuple[int, ...] | None = None
    likes: tuple[int | None, ...] | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """A closed round by device numbers: who was packed, in block order, with which weight; the ledger's own outcome."""

    packed: tuple[int, ...]
    weights: tuple[int, ...]
    outcome: Outcome


def _drawn(state: State) -> LotDraw:
    """A lot that nobody chose and nobody proved: to whoever has not got the leader's key, what it says is as good as a hash."""
    return LotDraw(View(0), _UNPROVED, digest(Domain.LOT, state.chain, integer(state.round)))


class LabChain:
    """A community of numbered devices; `state` is the ledger that the running round began with.

    `nodes`: the node id of each device; `head_of`: the hash of the model header that opens a state's round; `draw_of`: what that
    round's leader draws.
    """

    def __init__(
        self,
        params: Params,
        nodes: Sequence[NodeId],
        state: State,
        head_of: Callable[[State], Digest],
        seed: int,
        *,
        draw_of: Callable[[State], LotDraw],
    ) -> None:
        """`seed` draws the links and which cards a leader packs."""
        self.params, self.nodes, self.state = params, tuple(nodes), state
        self._head_of, self._draw_of, self._seed = head_of, draw_of, seed
        self._numbers = {node: device for device, node in enumerate(self.nodes)}
        self._everybody = tuple(sorted(self.nodes))
        self._links = generator(seed, Draw.LINKS).lognormal(MEDIAN_RATE, RATE_SIGMA, len(self.nodes)).astype(np.int64)

    @classmethod
    def simulated(cls, params: Params, devices: int, seed: int) -> "LabChain":
        """A new community whose ids, first committee and block hashes follow from the seed."""
        chain = digest(Domain.CONFIG, b"laboratory", integer(seed))
        nodes = [NodeId(digest(Domain.CONFIG, chain, integer(device))) for device in range(devices)]
        drawn = generator(seed, Draw.FIRST_COMMITTEE).permutation(devices)[: params.committee_size]
        committee = tuple(nodes[device] for device in drawn)
        accounts = (Account(node, Amount(0), NEVER, MicroNats(0), 0 if node in committee else NEVER) for node in sorted(nodes))
        state = State(
            chain=chain,
            round=Round(0),
            epoch=Epoch(0),
            time=Millis(0),
            committee=committee,
            managers=committee[:1],
            lot=first_lot(chain),
            accounts=tuple(accounts),
            pool=POOL,
            burnt=Amount(0),
            supply=POOL,
        )
        return cls(
            params, nodes, state, lambda state: digest(Domain.CONFIG, chain, integer(state.round), b"head"), seed, draw_of=_drawn
        )

    @property
    def committee(self) -> tuple[int, ...]:
        """Who judges, in the order in which they lead."""
        return tuple(self._numbers[node] for node in self.state.committee)

    @property
    def trainers(self) -> tuple[int, ...]:
        """Who may train, ascending."""
        return tuple(sorted(self._numbers[node] for node in trainers(self.params, self.state)))

    @property
    def quorum(self) -> int:
        """q."""
        return quorum(len(self.state.committee))

    def device_of(self, node: NodeId) -> int:
        """The device behind a node id."""
        return self._numbers[node]

    def canaries(self, offering: Sequence[int]) -> tuple[int, ...]:
        """Who of those that offer in this round is drawn to be a canary: to all other keys that is as good as any lot."""
        drawn = generator(self._seed, Draw.CANARIES, self.state.round).random(len(self.nodes))
        return tuple(device for device in offering if drawn[device] * MILLION < self.params.canary_share)

    def show(self, devices: Sequence[int]) -> None:
        """Let the ledger hear that what these offered in the round that is closed were canaries: what the operation does."""
        for device in devices:
            self.state = shown(self.state, Round(self.state.round - 1), self.nodes[device])

    @property
    def doubted(self) -> tuple[int, ...]:
        """Judges whose words are thought to be made up."""
        return tuple(self._numbers[account.node] for account in self.state.accounts if is_doubted(account))

    def chosen_cards(self, adversaries: frozenset[int], late: frozenset[int] = frozenset()) -> tuple[int, ...]:
        """Whose q cards the leader packs, as positions in the committee.

        A leader chooses which f cards to leave out, and nothing else: one that lies leaves out honest ones, an honest one is
        drawn here. `late`: whose cards come when all others are there, and are packed by nobody who has q without them.
        """
        members = self.committee
        order = generator(self._seed, Draw.CARDS, self.state.round).permutation(len(members)).tolist()
        if members[0] in adversaries:
            order.sort(key=lambda position: members[position] not in adversaries)
        order.sort(key=lambda position: members[position] in late)
        return tuple(sorted(order[: self.quorum]))

    def close(self, offering: Sequence[int], samples: Sequence[int], cards: Sequence[tuple[int, CardLines]]) -> Decision:
        """Decide the round by q cards, each of the member that it names. Raises PeerError for cards that no daemon would take."""
        offers = [self._offer(device, claim) for device, claim in zip(offering, samples, strict=True)]
        lines = sorted(
            range(len(offers)), key=lambda line: (offers[line].author, offers[line].digest, offers[line].body.blob.root)
        )
        signed = sorted((self._card(member, offers, lines, card) for member, card in cards), key=lambda card: card.author)
        outcome = decide(
            self.params,
            self.state,
            self._head_of(self.state),
            tuple(signed),
            {offer.digest: offer for offer in offers},
            draw=self._draw_of(self.state),
            time=Millis(self.state.time + 1),
        )
        self.state = outcome.state
        packed = tuple(self._numbers[item.judgement.uploader] for item in outcome.packed)
        return Decision(packed, tuple(item.weight for item in outcome.packed), outcome)

    def rewards(self, decision: Decision) -> dict[int, int]:
        """Units paid in the round, by device."""
        return {self._numbers[node]: amount for node, amount in decision.outcome.rewards}

    def _offer(self, device: int, samples: int) -> Signed[Offer]:
        state, node = self.state, self.nodes[device]
        body = Offer(
            chain=state.chain,
            round=state.round,
            epoch=state.epoch,
            parent=self._head_of(state),
            committee=committee_hash(state.epoch, state.committee),
            blob=BlobRef(digest(Domain.CONFIG, node, integer(state.round)), 1),
            samples=max(samples, 1),
        )
        return Signed(body, Envelope(node, encode(body), _UNSIGNED))

    def _like(self, card: CardLines, line: int, offers: Sequence[Signed[Offer]]) -> Digest | None:
        like = None if card.likes is None else card.likes[line]
        if like is None:
            return None
        return self._head_of(self.state) if like == LAST_STEP else offers[like].digest

    def _card(self, member: int, offers: Sequence[Signed[Offer]], lines: Sequence[int], card: CardLines) -> Signed[ScoreCard]:
        entries = tuple(
            CardEntry(
                uploader=offers[line].author,
                offer=offers[line].digest,
                root=offers[line].body.blob.root,
                gain=MicroNats(int(card.gains[line])),
                accuracy=PartsPerMillion(int(card.accuracies[line])),
                norm=int(card.norms[line]),
                rate=int(self._links[self._numbers[offers[line].author]] if card.rates is None else card.rates[line]),
                like=self._like(card, line, offers),
            )
            for line in lines
            if card.entered is None or card.entered[line]
        )
        state = self.state
        seen = self._everybody if card.present is None else tuple(sorted(self.nodes[device] for device in card.present))
        body = ScoreCard(
            chain=state.chain,
            round=state.round,
            epoch=state.epoch,
            parent=self._head_of(state),
            committee=committee_hash(state.epoch, state.committee),
            base_loss=MicroNats(card.base_loss) if entries else None,
            base_accuracy=PartsPerMillion(card.base_accuracy) if entries else None,
            entries=entries,
            present=seen,
        )
        return Signed(body, Envelope(self.nodes[member], b"unsigned", _UNSIGNED))

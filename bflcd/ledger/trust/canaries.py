"""Canaries: who is drawn to offer what harms, whether that is so, and what follows once it is shown (design 5, Canaries; ADR 29).

What a canary's author says of it proves nothing: it could have offered what helps. So a canary counts where the judges say so
themselves: more than half of a judge's honest colleagues refuse it, f of them taken for liars.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Final

from bflcd.crypto.hashing import Domain, digest, integer
from bflcd.crypto.identity import Signer
from bflcd.crypto.vrf import verify_proof
from bflcd.ledger.alliance.keys import holder_of
from bflcd.ledger.cards import entry_key
from bflcd.ledger.judgement import Judgement, OfferJudgement
from bflcd.ledger.medians import lower_median
from bflcd.ledger.quorum import faults, quorum
from bflcd.ledger.roles import seed_of, tie_break
from bflcd.ledger.standing import count_harms, standing_without
from bflcd.ledger.state import State, account_of, with_accounts
from bflcd.ledger.trust.doubts import after_canary
from bflcd.ledger.trust.reputation import debt_of, harm_is_shown, measure_of
from bflcd.ledger.trust.words import MAX_OFFERS_KEPT, REFUSES, SHOWN_ROUNDS, OfferWords, RoundWords, word_of
from bflcd.params import MILLION, Params
from bflcd.types import MAX_REPUTATION, Amount, Digest, MicroNats, NodeId, PartsPerMillion, Proof, Round
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import ScoreCard

_DRAW_BYTES: Final = 8
"""Leading bytes of the output that are compared: the share is right to one part in 2^64."""

_output_of = lru_cache(maxsize=1024)(verify_proof)
"""A proof is checked when it comes, when it is proposed, and when it is committed."""


def canary_input(chain: Digest, round_: Round, lot: Digest) -> bytes:
    """What a trainer's key speaks of in the round that has `lot`: none of it is its own to choose."""
    return digest(Domain.CANARY, chain, integer(round_), lot)


def is_drawn(chain: Digest, words: RoundWords, node: NodeId, proof: Proof) -> bool:
    """Whether `proof` shows that `node` was drawn in the round of `words`."""
    return _is_below(words.share, node, canary_input(chain, words.round, words.lot), proof)


def own_proof(share: PartsPerMillion, chain: Digest, round_: Round, lot: Digest, signer: Signer) -> Proof | None:
    """The proof that this node is drawn in a round, None if it is not: the same whenever it is asked."""
    if not share:
        return None
    alpha = canary_input(chain, round_, lot)
    proof = signer.prove(alpha)
    return proof if _is_below(share, signer.node_id, alpha, proof) else None


def _is_below(share: PartsPerMillion, node: NodeId, alpha: bytes, proof: Proof) -> bool:
    output = _output_of(node, alpha, proof)
    return output is not None and int.from_bytes(output[:_DRAW_BYTES], "big") * MILLION < share << (8 * _DRAW_BYTES)


# -- what is kept ---------------------------------------------------------------------------------------------------------------


def words_after(
    params: Params, state: State, judgement: Judgement, cards: Sequence[Signed[ScoreCard]], paid: Sequence[Amount]
) -> tuple[RoundWords, ...]:
    """The words that are kept while the block of the running round is made: those of the rounds before, and its own, the last.

    `cards`: the q that decided, sorted by author; `paid`: what each packed offer earns. `forgotten` drops what has run out.
    """
    if not params.canary_share:
        return state.words
    return (*state.words, _round_words(params, state, judgement, cards, paid))


def forgotten(state: State) -> State:
    """`state` after a block's operations, without the words of which nothing can be shown in the next block."""
    kept = tuple(words for words in state.words if words.round + SHOWN_ROUNDS > state.round)
    return state if kept == state.words else replace(state, words=kept)


def _round_words(
    params: Params, state: State, judgement: Judgement, cards: Sequence[Signed[ScoreCard]], paid: Sequence[Amount]
) -> RoundWords:
    gains = [{entry_key(entry): entry.gain for entry in card.body.entries} for card in cards]
    return RoundWords(
        round=state.round,
        lot=state.lot,
        share=params.canary_share,
        seats=len(state.committee),
        judges=tuple(card.author for card in cards),
        pay=lower_median(paid) if paid else Amount(0),
        debt=debt_of(measure_of(params, state.known, judgement.gains)),
        offers=tuple(_offer_words(offer, gains) for offer in _kept(state, judgement)),
    )


def _kept(state: State, judgement: Judgement) -> list[OfferJudgement]:
    """The offers that count, at most so many: the round's seed draws which; by uploader."""
    seed, counted = seed_of(state), [offer for offer in judgement.offers if offer.gain is not None]
    chosen = sorted(counted, key=lambda offer: tie_break(seed, offer.uploader))[:MAX_OFFERS_KEPT]
    return sorted(chosen, key=lambda offer: offer.uploader)


def _offer_words(offer: OfferJudgement, gains: Sequence[dict[tuple[NodeId, Digest, Digest], MicroNats]]) -> OfferWords:
    key = (offer.uploader, offer.offer, offer.root)
    return OfferWords(offer.uploader, bytes(word_of(one.get(key)) for one in gains), offer.reason is None)


# -- what follows ---------------------------------------------------------------------------------------------------------------


def words_of(state: State, round_: Round) -> RoundWords | None:
    """What is kept of a round."""
    return next((words for words in state.words if words.round == round_), None)


def shown(state: State, round_: Round, uploader: NodeId) -> State:
    """The ledger after it was shown that what `uploader` offered in `round_`, of which words are kept, was a canary.

    1. Each judge that most others contradict, or bear out, is doubted more, or less.
    2. Its author loses nothing: a refusal is taken back, with the debt that it brought, and it is paid what the middle of the
       packed was, if the pool has it.

    A canary that was packed has done its harm, and was paid; its words decide nothing, and it is settled all the same.
    """
    words = words_of(state, round_)
    offer = None if words is None else words.of(uploader)
    if words is None or offer is None:
        return state
    state = replace(state, words=tuple(one.with_shown(uploader) if one is words else one for one in state.words))
    # 1. The judges.
    for judge, word in zip(words.judges, offer.words, strict=True):
        account = account_of(state, holder_of(state, judge))
        if account is not None and _others_refuse(words, offer, judge):
            state = with_accounts(state, after_canary(account, word))
    # 2. The author.
    author = account_of(state, holder_of(state, uploader))
    if author is None or offer.packed:
        return state
    pay = min(words.pay, state.pool)
    harmed = count_harms(offer.words.count(REFUSES), words.seats)
    author = standing_without(author, round_) if harmed else author
    debt = words.debt if harm_is_shown(offer.words.count(REFUSES), words.seats) else 0
    reputation = MicroNats(min(author.reputation + debt, MAX_REPUTATION))
    author = replace(author, balance=Amount(author.balance + pay), reputation=reputation)
    return replace(with_accounts(state, author), pool=Amount(state.pool - pay))


def _others_refuse(words: RoundWords, offer: OfferWords, judge: NodeId) -> bool:
    """Whether of the cards of all other judges, f of those that refuse taken away, more than half refuse."""
    f, q = faults(words.seats), quorum(words.seats)
    refusals = sum(word == REFUSES for other, word in zip(words.judges, offer.words, strict=True) if other != judge)
    return 2 * (refusals - f) > q - 1 - f

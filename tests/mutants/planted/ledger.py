"""Defects of the function of the cards: judgement, election, weights, rewards, transition."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Edit, Mutant, mutant

JUDGEMENT = "bflcd/ledger/judgement.py"
TRANSITION = "bflcd/ledger/transition.py"

JUDGED: Final = selection("ledger/test_judgement.py")
ELECTED: Final = selection("ledger/test_election.py")
APPLIED: Final = selection("ledger/test_transition.py", "ledger/test_apply.py")
CARDS: Final = selection("ledger/test_cards.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "better-middle",
        "half of the committee lifts a median (row 42)",
        JUDGEMENT,
        "index = (q - 1) // 2 - (q - len(values))",
        "index = q // 2 - (q - len(values))",
        JUDGED,
    ),
    mutant(
        "absent-is-best",
        "an entry that is left out counts as the best one (section 5)",
        JUDGEMENT,
        "index = (q - 1) // 2 - (q - len(values))",
        "index = min((q - 1) // 2, len(values) - 1)",
        JUDGED,
    ),
    mutant(
        "few-entries-count",
        "an offer counts that no honest member need hold (section 5: f+1 entries)",
        JUDGEMENT,
        "    if len(found) <= f:\n",
        "    if not found:\n",
        JUDGED,
    ),
    mutant(
        "two-offers-count",
        "both offers of one uploader count (row 44)",
        JUDGEMENT,
        "    if two:\n",
        "    if two and not found:\n",
        JUDGED,
    ),
    mutant(
        "norm-band-missing",
        "one huge update moves the model alone (row 50)",
        JUDGEMENT,
        "return [_in_band(offer, middle) for offer in offers]",
        "return offers",
        JUDGED,
    ),
    mutant(
        "zero-update-qualifies",
        "a free rider's zero update is packed (row 50)",
        JUDGEMENT,
        "    elif norm == 0:\n",
        "    elif norm is None:\n",
        JUDGED,
    ),
    mutant(
        "margin-ignored",
        "an update that most found harmful is packed (row 40)",
        JUDGEMENT,
        "    elif gain < -params.score_margin:\n",
        "    elif gain is None:\n",
        JUDGED,
    ),
    mutant(
        "present-by-one-word",
        "one member's card makes an absent node present (section 5, Election)",
        JUDGEMENT,
        "for node, count in counts.items() if count > f))",
        "for node, count in counts.items() if count > 0))",
        JUDGED,
    ),
    mutant(
        "committee-re-elected",
        "the committee keeps its seats (paper III-B)",
        "bflcd/ledger/election.py",
        "        elif node in seated:\n",
        "        elif node in seated and node in managers and node not in managers:\n",
        ELECTED,
    ),
    mutant(
        "degraded-never-said",
        "seats that went past the packed are not marked (section 5)",
        "bflcd/ledger/election.py",
        "any(rank[0] > Group.PACKED for rank, _, _ in seats)",
        "any(rank[0] > Group.ABSENT for rank, _, _ in seats)",
        ELECTED,
    ),
    mutant(
        "weight-unclamped",
        "a claim of many samples buys influence (section 5)",
        "bflcd/ledger/weights.py",
        "held = (min(claim, cap) for claim in claims)",
        "held = iter(claims)",
        selection("ledger/test_weights.py"),
    ),
    Mutant(
        "rewards-minted",
        "rewards are paid out of nothing, and nobody adds up (section 7)",
        (
            Edit(TRANSITION, "pool=Amount(state.pool - sum(amount for _, amount in paid)),", "pool=state.pool,"),
            Edit(TRANSITION, "if total != state.supply or lowest < 0:", "if lowest < 0:"),
        ),
        (APPLIED,),
    ),
    mutant(
        "conservation-unchecked",
        "a ledger that does not add up goes unnoticed (section 7)",
        TRANSITION,
        "if total != state.supply or lowest < 0:",
        "if lowest < 0:",
        APPLIED,
    ),
    mutant(
        "remainder-burnt",
        "the units left by division are paid to nobody (section 7)",
        "bflcd/ledger/rewards.py",
        "        paid[node] += 1\n",
        "        paid[node] += 0\n",
        selection("ledger/test_rewards.py"),
    ),
    mutant(
        "loss-is-rewarded",
        "an update that harmed is paid (row 50)",
        "bflcd/ledger/rewards.py",
        "{node: max(gain, 0) for node, gain in gains.items()}",
        "{node: abs(gain) for node, gain in gains.items()}",
        selection("ledger/test_rewards.py"),
    ),
    mutant(
        "clock-lead-unchecked",
        "a leader's clock may be an hour ahead (row 20)",
        TRANSITION,
        "    if header_time > limit:\n",
        "    if header_time < 0:\n",
        APPLIED,
    ),
    mutant(
        "time-goes-back",
        "a block may be older than its parent (row 20)",
        TRANSITION,
        "    if time <= state.time:\n",
        "    if time < 0:\n",
        APPLIED,
    ),
    mutant(
        "segment-not-recomputed",
        "a leader's segment is taken as it stands (row 51)",
        TRANSITION,
        "compare_segments(build_segment(params, state, head_header, outcome, header.blob), segment)",
        "build_segment(params, state, head_header, outcome, header.blob)",
        APPLIED,
    ),
    mutant(
        "packed-signatures-unchecked",
        "cards and offers in a block need not be signed (section 4)",
        TRANSITION,
        "        if not verify(envelope):\n",
        "        if verify is None:\n",
        APPLIED,
    ),
    mutant(
        "fewer-cards-decide",
        "a leader decides a round by as many cards as it likes (row 51)",
        TRANSITION,
        "    if len(cards) != q:\n",
        "    if not cards:\n",
        APPLIED,
    ),
    mutant(
        "packed-offer-unchecked",
        "an offer by whom may not train is packed (section 5)",
        TRANSITION,
        "        check_offer(params, state, head, offer)\n",
        "",
        APPLIED,
    ),
    mutant(
        "empty-round-new-model",
        "a round that packs nothing changes the model (section 4)",
        TRANSITION,
        "if not outcome.packed and model != head_header.blob:",
        "if model is None:",
        APPLIED,
    ),
    mutant(
        "seed-can-be-ground",
        "whoever makes a block chooses the next draw (section 5)",
        TRANSITION,
        "grandparent=state.parent,",
        "grandparent=head,",
        selection("ledger/test_roles.py", "ledger/test_transition.py", "ledger/test_apply.py"),
    ),
    mutant(
        "card-without-seat",
        "a trainer's card counts (row 35)",
        "bflcd/ledger/cards.py",
        "if card.author not in self._state.committee:",
        "if card.author not in self._members:",
        CARDS,
    ),
    mutant(
        "card-of-another-round",
        "a card of an earlier round counts again (row 29)",
        "bflcd/ledger/cards.py",
        '        (Rejection.WRONG_ROUND, "round", body.round, state.round),\n',
        "",
        CARDS,
    ),
)

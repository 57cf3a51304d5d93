"""Defects of evidence: what proves a lie, how it travels into a block, what it costs, and the alarm where nothing can be proved."""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Edit, Mutant, mutant

PROOF = "bflcd/ledger/evidence.py"
LIARS = "bflcd/core/equivocation.py"
POOL = "bflcd/core/evidence_pool.py"
WIRE = "bflcd/wire/evidence.py"
CORE = "bflcd/core/core.py"
CANDIDATES = "bflcd/core/round/segments.py"
TRANSITION = "bflcd/ledger/transition.py"
ELECTION = "bflcd/ledger/election.py"
ROLES = "bflcd/ledger/roles.py"
OVERSIGHT = "bflcd/ledger/oversight.py"

PROVED: Final = selection("ledger/test_evidence.py")
HELD: Final = selection("core/test_evidence.py")
TAKEN: Final = selection("core/test_equivocation.py")
PUNISHED: Final = selection(
    "core/test_evidence.py::test_a_leader_that_tells_each_half_its_own_story_is_punished",
    "faults/test_liars.py::test_row_44_two_offers_cost_seat_and_deposit_within_the_round",
    "faults/test_liars.py::test_row_5_a_leader_that_signs_two_pre_prepares_is_punished_by_an_honest_one",
)
OUTVOTED: Final = selection("faults/test_liars.py::test_row_43_a_member_that_is_outvoted_by_liars_says_so_and_nobody_else")
WATCHED: Final = selection("ledger/test_oversight.py")
LYING: Final = Simulated("liars")

MUTANTS: Final[tuple[Mutant, ...]] = (
    # -- what proves a lie ------------------------------------------------------------------------------------------------
    mutant(
        "evidence-of-two-authors",
        "one member's message convicts another (rule 9)",
        PROOF,
        "if second.author != accused:",
        "if second is None:",
        PROVED,
    ),
    mutant(
        "evidence-across-views",
        "who prepares one segment in view 0 and another in view 1 is punished, though it must (rules 4 and 9)",
        PROOF,
        "    view = body.view if isinstance(body, PrePrepare | Prepare | Commit) else None\n",
        "    view = None\n",
        PROVED,
    ),
    mutant(
        "evidence-across-epochs",
        "who votes anew after a recovery is punished (rules 8 and 9)",
        PROOF,
        "body.round, body.parent, body.epoch, view",
        "body.round, body.parent, view",
        PROVED,
    ),
    mutant(
        "evidence-of-one-message",
        "a message said twice convicts its author (rule 9; row 44)",
        PROOF,
        "if first.digest >= second.digest:",
        "if first.digest > second.digest:",
        PROVED,
    ),
    mutant(
        "evidence-of-a-round-to-come",
        "a block punishes for a round that has not come (rule 9)",
        PROOF,
        "if first.body.chain != state.chain or first.body.round > state.round:",
        "if first.body.chain != state.chain:",
        PROVED,
    ),
    mutant(
        "punished-twice",
        "each later block may carry the same evidence again (rule 9)",
        PROOF,
        "    if account.punished_round != NEVER:\n",
        "    if account.punished_round > state.round:\n",
        PROVED,
    ),
    mutant(
        "evidence-signatures-unchecked-in-blocks",
        "a leader convicts anybody with messages that nobody signed (rule 9)",
        TRANSITION,
        "for envelope in (*segment.model.cards, *(offer.envelope for offer in signed), *proofs):",
        "for envelope in (*segment.model.cards, *(offer.envelope for offer in signed)):",
        PROVED,
    ),
    # -- how it travels ---------------------------------------------------------------------------------------------------
    mutant(
        "evidence-second-signature-unchecked",
        "one true message and one forged one make evidence: the next blocks are refused (rule 9)",
        LIARS,
        "        require_signature(self._verify, evidence.second)\n",
        "",
        TAKEN,
    ),
    mutant(
        "evidence-of-a-proposal-unchecked",
        "what a peer gives as a proposal's evidence is believed (rule 9)",
        LIARS,
        "                self._check(state, piece)\n",
        "",
        TAKEN,
    ),
    mutant(
        "evidence-not-durable",
        "evidence is told and not stored: a restart acquits the liar (rule 9)",
        LIARS,
        "            Persist((EvidenceRecord(round_, evidence),)),\n",
        "",
        TAKEN,
    ),
    mutant(
        "evidence-kept-to-oneself",
        "who finds evidence tells nobody: it waits for its finder to lead (rule 9)",
        LIARS,
        "            Send(evidence),\n",
        "",
        TAKEN,
    ),
    mutant(
        "evidence-against-oneself",
        "a node whose key speaks twice brings about its own punishment (rule 9)",
        LIARS,
        "if held is None or other.author == self._me:",
        "if held is None:",
        TAKEN,
    ),
    mutant(
        "known-evidence-said-again",
        "evidence that is known is said again by all who hear it: it circles for ever (rule 6)",
        LIARS,
        "        if not self._pool.add(evidence):\n            return []\n",
        "        self._pool.add(evidence)\n",
        TAKEN,
    ),
    mutant(
        "evidence-depends-on-its-finder",
        "two finders of one lie make two pieces, one of them refused by all (rule 9)",
        WIRE,
        "first, second = sorted((one, other), key=payload_digest)",
        "first, second = one, other",
        PROVED,
    ),
    mutant(
        "evidence-named-by-signatures",
        "a liar that signs one thing in many ways makes many pieces of one lie (section 4)",
        WIRE,
        "digest(Domain.EVIDENCE, payload_digest(evidence.first), payload_digest(evidence.second))",
        "digest(Domain.EVIDENCE, evidence.first.signature, evidence.second.signature)",
        PROVED,
    ),
    mutant(
        "evidence-pool-unbounded",
        "a node keeps all evidence that it hears (rule 6; row 31)",
        POOL,
        "if (known and not wanted) or (len(self._held) >= MAX_HELD and not wanted):",
        "if known and not wanted:",
        HELD,
    ),
    mutant(
        "evidence-proposed-though-punished",
        "a leader proposes what doesn't count, and its round waits for another (rule 9)",
        POOL,
        "sorted(self._held.items(), reverse=True) if _counts(state, piece)}",
        "sorted(self._held.items(), reverse=True)}",
        HELD,
    ),
    mutant(
        "evidence-proposed-twice",
        "a leader proposes two pieces against one liar, and its block is refused (rule 9)",
        POOL,
        "by_accused = {piece.accused: id_ for",
        "by_accused = {id_: id_ for",
        HELD,
    ),
    mutant(
        "pre-prepares-not-compared",
        "halves that were shown one pre-prepare each never compare them: the leader goes unpunished (rule 9; row 5)",
        "bflcd/consensus/pbft.py",
        "            self._emit(Relay(attempt.heard))\n",
        "            pass\n",
        PUNISHED,
    ),
    mutant(
        "votes-that-contradict-forgotten",
        "what the PBFT machine finds of liars never becomes evidence (rule 9; row 5)",
        "bflcd/core/core.py",
        "                return self._node.equivocation.note(self.context.round, evidence)\n",
        "                return []\n",
        PUNISHED,
    ),
    mutant(
        "evidence-not-carried-over",
        "evidence that did not get into its round's block is not kept for the next one (rule 9)",
        CORE,
        "            effects += [Persist((EvidenceRecord(context.round, piece),)), Send(piece)]\n",
        "            effects += [Send(piece)]\n",
        TAKEN,
    ),
    mutant(
        "evidence-forgotten-by-restart",
        "stored evidence is not taken up again (rule 9)",
        "bflcd/core/core.py",
        "        for record in event.records.evidence:\n            self._node.evidence.add(record.evidence)\n",
        "",
        TAKEN,
    ),
    mutant(
        "evidence-of-a-proposal-forgotten",
        "a restarted member that prepared a block with evidence can't propose it again (rules 1 and 9; row 52)",
        "bflcd/core/restart.py",
        "            round_.node.evidence.add(piece, wanted=True)\n",
        "            pass\n",
        TAKEN,
    ),
    mutant(
        "evidence-of-a-proposal-not-stored",
        "a proposal's evidence is not durable with it (rules 1 and 9; row 52)",
        CANDIDATES,
        "            evidence=outcome.evidence,\n",
        "",
        TAKEN,
    ),
    mutant(
        "missing-evidence-not-asked-for",
        "a member that lacks a proposal's evidence waits for ever (rule 9)",
        CANDIDATES,
        "return None, self._ask_evidence(candidate, unknown, now)",
        "return None, []",
        TAKEN,
        LYING,
    ),
    mutant(
        "evidence-left-out-of-blocks",
        "leaders name evidence and build blocks without it: nobody is ever punished (rule 9)",
        CANDIDATES,
        "            evidence=tuple(self._evidence[id_] for id_ in proofs),\n",
        "",
        PUNISHED,
        LYING,
    ),
    mutant(
        "proposals-alike-but-for-evidence",
        "two proposals that differ in their evidence are taken for one, and the second is refused (rule 9)",
        CANDIDATES,
        "*counts, *proposal.cards, *proposal.evidence)",
        "*counts, *proposal.cards)",
        TAKEN,
    ),
    # -- what it costs ----------------------------------------------------------------------------------------------------
    mutant(
        "liar-keeps-its-reward",
        "a liar is paid for the round whose block convicts it (rule 9)",
        TRANSITION,
        "burnt, balance = burnt + balance, 0",
        "burnt, balance = burnt + account.balance, paid.get(node, 0)",
        PROVED,
    ),
    mutant(
        "liar-not-marked",
        "the ledger does not remember who was punished: it trains and judges on (rule 9)",
        TRANSITION,
        "punished_round=state.round if node in accused else account.punished_round,",
        "punished_round=account.punished_round,",
        PROVED,
        LYING,
    ),
    mutant(
        "accused-elected",
        "the block that convicts a liar gives it a seat (rule 9)",
        ELECTION,
        "if account.punished_round != NEVER or account.node in accused:",
        "if account.punished_round != NEVER:",
        PROVED,
        LYING,
    ),
    mutant(
        "punished-elected",
        "a liar gets seats again from the next block on (rule 9)",
        ELECTION,
        "if account.punished_round != NEVER or account.node in accused:",
        "if account.node in accused:",
        PROVED,
        LYING,
    ),
    Mutant(
        "punished-trains",
        "a liar goes on offering updates, and earns (rule 9)",
        (
            Edit(ROLES, "if seated or account is None or account.punished_round != NEVER:", "if seated or account is None:"),
            Edit(ROLES, " and account.punished_round == NEVER and is_active", " and is_active"),
        ),
        (PROVED,),
    ),
    # -- the alarm --------------------------------------------------------------------------------------------------------
    mutant(
        "alarm-at-one-offer",
        "one useful offer that others refuse raises the alarm: honest members differ by that much (row 43)",
        OVERSIGHT,
        "MIN_OFFERS: Final = 3\n",
        "MIN_OFFERS: Final = 1\n",
        WATCHED,
    ),
    mutant(
        "alarm-at-a-minority",
        "three refused of many useful offers raise the alarm (row 43)",
        OVERSIGHT,
        "if len(refused) >= MIN_OFFERS and 2 * len(refused) > len(useful):",
        "if len(refused) >= MIN_OFFERS:",
        WATCHED,
    ),
    mutant(
        "alarm-at-full-places",
        "offers that found no place raise the alarm (row 43)",
        OVERSIGHT,
        "if offer.reason in _REFUSED]",
        "if offer.reason is not None]",
        WATCHED,
    ),
    mutant(
        "harm-unnoticed",
        "a colluding majority packs what does harm, and no alarm is raised (row 43)",
        OVERSIGHT,
        "harmful = sum(gain < -params.score_margin for gain in packed)",
        "harmful = sum(gain < -params.score_margin for gain in packed if gain > 0)",
        WATCHED,
    ),
    mutant(
        "alarm-unsaid",
        "a member that can't explain a decision says nothing (row 43)",
        CORE,
        '            effects.append(self._notice("unexplained", text))\n',
        "            pass\n",
        OUTVOTED,
    ),
)

"""Defects of evidence: what proves a lie, how it is found, what it costs, and the alarm where nothing can be proved."""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Edit, Mutant, mutant

PROOF = "bflcd/ledger/operations/evidence.py"
LIARS = "bflcd/core/equivocation.py"
CORE = "bflcd/core/core.py"
TRANSITION = "bflcd/ledger/transition.py"
ELECTION = "bflcd/ledger/election.py"
ROLES = "bflcd/ledger/roles.py"
OVERSIGHT = "bflcd/ledger/oversight.py"

PROVED: Final = selection("ledger/operations/test_evidence.py")
TAKEN: Final = selection("core/test_equivocation.py")
PUNISHED: Final = selection(
    "core/test_operation_pool.py::test_a_leader_that_tells_each_half_its_own_story_is_punished",
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
        "if of > state.round:",
        "if of < 0:",
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
    # -- how it is found --------------------------------------------------------------------------------------------------
    mutant(
        "evidence-against-oneself",
        "a node whose key speaks twice brings about its own punishment (rule 9)",
        LIARS,
        "if held is None or other.author == self._me:",
        "if held is None:",
        TAKEN,
    ),
    mutant(
        "evidence-depends-on-its-finder",
        "two finders of one lie make two pieces, one of them refused by all (rule 9)",
        PROOF,
        "Operation(_NAME, tuple(sorted((one, other), key=payload_digest)))",
        "Operation(_NAME, (one, other))",
        PROVED,
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
        "                return self._node.operations.note(self.context.round, evidence)\n",
        "                return []\n",
        PUNISHED,
    ),
    # -- what it costs ----------------------------------------------------------------------------------------------------
    Mutant(
        "liar-keeps-its-reward",
        "a liar is paid for the round whose block convicts it (rule 9)",
        (
            Edit(
                TRANSITION,
                "    trained = dict(rewards(",
                "    state = apply_operations(state, operations)\n    trained = dict(rewards(",
            ),
            Edit(
                TRANSITION,
                "    operated = forgotten(apply_operations(learned, operations))\n",
                "    operated = forgotten(learned)\n",
            ),
        ),
        (PROVED,),
    ),
    mutant(
        "liar-not-marked",
        "the ledger does not remember who was punished: it trains and judges on (rule 9)",
        PROOF,
        "replace(account, balance=Amount(0), deposit=Amount(0), punished_round=state.round)",
        "replace(account, balance=Amount(0), deposit=Amount(0))",
        PROVED,
        LYING,
    ),
    mutant(
        "accused-elected",
        "the block that convicts a liar gives it a seat (rule 9)",
        TRANSITION,
        "elect(params, operated, merits, present, next_seed)",
        "elect(params, learned, merits, present, next_seed)",
        PROVED,
        LYING,
    ),
    mutant(
        "punished-elected",
        "a liar gets seats again from the next block on (rule 9)",
        ELECTION,
        "    if account.punished_round != NEVER or not is_member(account):\n",
        "    if not is_member(account):\n",
        PROVED,
        LYING,
    ),
    Mutant(
        "punished-trains",
        "a liar goes on offering updates, and earns (rule 9)",
        (
            Edit(ROLES, "account is None or account.punished_round != NEVER or ", "account is None or "),
            Edit(ROLES, "        and account.punished_round == NEVER\n", ""),
        ),
        (PROVED,),
    ),
    # -- the alarm --------------------------------------------------------------------------------------------------------
    mutant(
        "alarm-at-one-offer",
        "one useful offer that others refuse raises the alarm: honest members differ by that much (row 43)",
        OVERSIGHT,
        "MIN_OFFERS: Final = 5\n",
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
        "harmful = packed.count(REFUSED) if ",
        "harmful = packed.count(REFUSED - 1) if ",
        WATCHED,
    ),
    mutant(
        "alarm-unsaid",
        "a member that can't explain a decision says nothing (row 43)",
        CORE,
        "            effects.append(self._notice(EventKind.UNEXPLAINED, text))\n",
        "            pass\n",
        OUTVOTED,
    ),
)

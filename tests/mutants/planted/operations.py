"""Defects of operations, whatever their kind: how they are taken in, kept, put into a block and applied."""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Edit, Mutant, mutant

TAKEN_IN = "bflcd/core/operations.py"
POOL = "bflcd/core/operation_pool.py"
CORE = "bflcd/core/core.py"
CANDIDATES = "bflcd/core/round/segments.py"
RULES = "bflcd/ledger/operations/application.py"
TRANSITION = "bflcd/ledger/transition.py"
WIRE = "bflcd/wire/operation.py"
PROPOSAL = "bflcd/wire/proposal.py"

FOUND: Final = selection("core/test_operation_pool.py::test_what_is_found_here_is_durable_then_said_to_all_and_only_once")
HANDLED: Final = selection("core/test_equivocation.py")
HELD: Final = selection("core/test_operation_pool.py")
APPLIED: Final = selection("ledger/operations/test_evidence.py")
ANY_KIND: Final = selection("ledger/operations/test_application.py")
BOUNDED: Final = selection("ledger/operations/test_mutated.py")
CARRIED: Final = selection("core/test_any_operation.py")
PUNISHED: Final = selection(
    "core/test_operation_pool.py::test_a_leader_that_tells_each_half_its_own_story_is_punished",
    "faults/test_liars.py::test_row_44_two_offers_cost_seat_and_deposit_within_the_round",
)
LYING: Final = Simulated("liars")

MUTANTS: Final[tuple[Mutant, ...]] = (
    # -- taking one in ----------------------------------------------------------------------------------------------------
    mutant(
        "operation-second-signature-unchecked",
        "one true message and one forged one make an operation: the next blocks are refused (rule 9)",
        TAKEN_IN,
        "for envelope in operation.signed:",
        "for envelope in operation.signed[:1]:",
        HANDLED,
    ),
    mutant(
        "operation-of-a-proposal-unchecked",
        "what a peer gives as a proposal's operation is believed (rule 9)",
        TAKEN_IN,
        "                if self._is_worth_keeping(state, operation):\n",
        "                if operation:\n",
        HANDLED,
    ),
    mutant(
        "operation-not-durable",
        "an operation is told and not stored: a restart acquits the liar (rule 9)",
        TAKEN_IN,
        "            Persist((OperationRecord(round_, operation),)),\n",
        "",
        HANDLED,
    ),
    mutant(
        "operation-kept-to-oneself",
        "who holds an operation tells nobody: it waits for its holder to lead (rule 9)",
        TAKEN_IN,
        "        said = [Send(operation)] if own else []\n",
        "        said: list[Effect] = []\n",
        FOUND,
    ),
    mutant(
        "known-operation-said-again",
        "an operation that is known is said again by all who hear it: it circles for ever (rule 6)",
        TAKEN_IN,
        "        if not self.pool.add(operation, own=own, later=later):\n            return []\n",
        "        self.pool.add(operation, own=own, later=later)\n",
        FOUND,
    ),
    mutant(
        "operation-named-by-signatures",
        "a liar that signs one thing in many ways makes many operations of one lie (section 4)",
        WIRE,
        "digest(Domain.OPERATION, encode(unsigned_operation(operation)))",
        "digest(Domain.OPERATION, encode(operation))",
        APPLIED,
    ),
    # -- keeping it -------------------------------------------------------------------------------------------------------
    mutant(
        "operation-pool-unbounded",
        "a node keeps all operations that it hears (rule 6; row 31)",
        POOL,
        "        if len(self._held) < MAX_HELD:\n",
        "        if author:\n",
        HELD,
    ),
    mutant(
        "settled-operations-kept",
        "what a block has carried fills the pool for ever (rule 6; row 31)",
        POOL,
        " if is_pending(state, operation)}",
        "}",
        HELD,
    ),
    mutant(
        "operations-not-carried-over",
        "an operation that did not get into its round's block is not kept for the next one (rule 9)",
        CORE,
        "            effects.append(Persist(tuple(OperationRecord(context.round, operation) for operation in pool.values())))\n",
        "            pass\n",
        HANDLED,
    ),
    mutant(
        "operations-forgotten-by-restart",
        "stored operations are not taken up again (rule 9)",
        CORE,
        "        for record in event.records.operations:\n",
        "        for record in ():\n",
        HANDLED,
    ),
    mutant(
        "operations-of-a-proposal-forgotten",
        "a restarted member that prepared a block with evidence can't propose it again (rules 1 and 9; row 52)",
        "bflcd/core/restart.py",
        "            round_.node.operations.pool.add(operation, wanted=True)\n",
        "            pass\n",
        HANDLED,
    ),
    # -- proposing it -----------------------------------------------------------------------------------------------------
    Mutant(
        "operation-proposed-though-refused",
        "a leader proposes what is not valid, and its round waits for another (rule 9)",
        (
            Edit(
                RULES,
                "        try:\n            state = _applied(state, operation)\n        except PeerError:\n",
                "        if operation is None:\n",
            ),
        ),
        (HELD,),
    ),
    Mutant(
        "operations-chosen-against-one-ledger",
        "a leader holds each against the ledger before all of them: two pieces against one liar, and its block is refused (rule 9)",
        (
            Edit(
                RULES,
                "        chosen[place_of(operation)] = operation\n",
                "        chosen[(*place_of(operation), operation)] = operation\n",
            ),
            Edit(
                RULES,
                "            state = _applied(state, operation)\n        except PeerError:\n",
                "            _applied(state, operation)\n        except PeerError:\n",
            ),
        ),
        (HELD,),
    ),
    mutant(
        "operations-by-who-came-first",
        "which of two operations in one place is proposed hangs on who was heard first (section 4)",
        RULES,
        "return _gap(state, operation), tie_break(seed, author), place_of(operation), operation_id(operation)",
        'return _gap(state, operation), tie_break(seed, author), place_of(operation), Digest(b"")',
        HELD,
    ),
    mutant(
        "operations-beyond-their-room",
        "a leader takes more of a kind than a block may carry (rule 6)",
        RULES,
        "if self._kinds[kind.name] == kind.limits.per_block:",
        "if self._kinds[kind.name] > MAX_OPERATIONS:",
        HELD,
    ),
    mutant(
        "operations-of-a-proposal-not-stored",
        "a proposal's operations are not durable with it (rules 1 and 9; row 52)",
        CANDIDATES,
        "            operations=outcome.operations,\n",
        "",
        HANDLED,
    ),
    mutant(
        "missing-operations-not-asked-for",
        "a member that lacks a proposal's operations waits for ever (rule 9)",
        CANDIDATES,
        "return None, self._ask_operations(candidate, unknown, now)",
        "return None, []",
        HANDLED,
        LYING,
    ),
    mutant(
        "operations-left-out-of-blocks",
        "leaders name operations and build blocks without them: nobody is ever punished (rule 9)",
        CANDIDATES,
        "            operations=operations,\n",
        "",
        PUNISHED,
        LYING,
    ),
    mutant(
        "proposals-alike-but-for-operations",
        "two proposals that differ in their operations are taken for one, and the second is refused (rule 9)",
        PROPOSAL,
        "digest(Domain.PROPOSAL, encode(proposal))",
        "digest(Domain.PROPOSAL, encode(Proposal(proposal.epoch, proposal.time, proposal.cards)))",
        HANDLED,
    ),
    # -- applying it ------------------------------------------------------------------------------------------------------
    mutant(
        "operation-signatures-unchecked-in-blocks",
        "a leader convicts anybody with messages that nobody signed (rule 9)",
        TRANSITION,
        "*(offer.envelope for offer in signed), *operated):",
        "*(offer.envelope for offer in signed)):",
        APPLIED,
    ),
    mutant(
        "operation-of-another-chain",
        "what was said in one community counts in another (rule 9)",
        RULES,
        "if (chain := chain_of(operation)) != state.chain:",
        "if not (chain := chain_of(operation)):",
        APPLIED,
    ),
    mutant(
        "two-operations-in-one-place",
        "a block carries its operations in any order, and two in one place (section 4)",
        RULES,
        "if any(low >= high for low, high in pairwise(places)):",
        "if len(places) > MAX_OPERATIONS:",
        APPLIED,
    ),
    mutant(
        "block-with-any-number-of-operations",
        "a block carries more operations than it has room for (rule 6)",
        RULES,
        "    for operation in operations:\n        room.take(operation)\n",
        "",
        ANY_KIND,
    ),
    mutant(
        "bringer-of-what-is-not-for-now-blamed",
        "who passes on what the ledger of the round before or after would carry is blamed for it (row 31)",
        TAKEN_IN,
        "        if not is_pending(state, operation):\n            return False\n",
        "        check_pending(state, operation)\n",
        HELD,
    ),
    # -- in turn ----------------------------------------------------------------------------------------------------------
    mutant(
        "operation-out-of-turn",
        "an author's operation is applied before an earlier one of its own, which is then lost (ADR 14)",
        RULES,
        "if number is not None and number != (following := ",
        "if number is not None and number < (following := ",
        ANY_KIND,
    ),
    mutant(
        "operation-applied-again",
        "one signed operation is carried by block after block: nobody counts that it was applied (ADR 14)",
        RULES,
        "    return with_accounts(state, replace(account, operations=number))\n",
        "    return state\n",
        ANY_KIND,
        CARRIED,
    ),
    mutant(
        "bringer-of-the-applied-blamed",
        "who passes on an operation that a block has just carried is blamed for it (row 31)",
        RULES,
        "    if number is not None and account is not None and number <= account.operations:\n        return True\n",
        "",
        ANY_KIND,
        CARRIED,
    ),
    mutant(
        "operation-before-its-turn-dropped",
        "what is heard before its author's earlier operation is forgotten: gossip decides whether it is ever carried (ADR 14)",
        RULES,
        "if number is not None and 1 < number - _last_number(state, operation, kind.name) <= kind.limits.per_author:",
        "if number is not None and number < 0:",
        ANY_KIND,
        CARRIED,
    ),
    mutant(
        "operations-of-one-author-unbounded",
        "one author fills every pool, and nobody else's operations are heard (rule 6; row 31)",
        POOL,
        "full = same.count(author) >= limits.per_author or",
        "full =",
        BOUNDED,
    ),
    mutant(
        "operation-of-any-size",
        "an operation is larger than its kind allows (rule 6)",
        RULES,
        "    if size > kind.limits.max_bytes:\n",
        "    if size > MAX_OPERATIONS_BYTES:\n",
        ANY_KIND,
    ),
    mutant(
        "operations-of-a-block-beyond-its-bytes",
        "a block carries operations without end (rule 6)",
        RULES,
        "if self._count == MAX_OPERATIONS or size > MAX_OPERATIONS_BYTES:",
        "if self._count == MAX_OPERATIONS:",
        BOUNDED,
    ),
    mutant(
        "operation-of-a-stranger",
        "who is no member has operations carried (ADR 14)",
        RULES,
        """    if account is None:
        raise refused(kind, f"its author {short(operation.author)} is no member")
    return account.operations
""",
        "    return 0 if account is None else account.operations\n",
        ANY_KIND,
    ),
)

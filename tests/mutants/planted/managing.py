"""Defects of who manages, of what the community works by, and of how long an operation lasts."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

MANAGING = "bflcd/ledger/operations/managing.py"
LEDGER = "bflcd/ledger/state.py"
MOTION = "bflcd/ledger/operations/motion.py"
EVIDENCE = "bflcd/ledger/operations/evidence.py"
RULES = "bflcd/ledger/operations/application.py"
HANDLER = "bflcd/core/operations.py"
FOLLOWING = "bflcd/node/following.py"
CHECK = "bflcd/inspect/chain_check.py"
SETTING = "bflcd/ledger/operations/setting.py"
TRANSITION = "bflcd/ledger/transition.py"
CONTEXT = "bflcd/core/round/context.py"

EXPIRES: Final = selection("ledger/operations/test_expiry.py")
WAITS: Final = selection("core/test_expiry.py")
MANAGES: Final = selection("ledger/operations/test_managing.py")
RECOVERS: Final = selection("core/test_managing.py")
SETS: Final = selection("ledger/operations/test_setting.py")
WORKS: Final = selection("core/test_setting.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "managing-operations-without-end",
        "what was dropped is carried years later by whoever kept it (design 4)",
        RULES,
        "    return last is not None and state.round > last\n",
        "    return False\n",
        EXPIRES,
    ),
    mutant(
        "managing-waiting-without-end",
        "an operation that waits for its turn never runs out (design 4)",
        RULES,
        "        check_form(state, operation)\n        _check_age(state, operation)\n",
        "        check_form(state, operation)\n",
        EXPIRES,
    ),
    mutant(
        "managing-a-strangers-later-round",
        "anybody's word of a far round has each node ask for it (rule 8)",
        HANDLER,
        "or operation.author not in members:",
        "or not members:",
        WAITS,
    ),
    mutant(
        "managing-forgotten-while-catching-up",
        "a crash loses what this node had signed, and it signs that number twice",
        HANDLER,
        "        own = self.pool.own() if syncing else ()\n",
        "        own: tuple[Operation, ...] = ()\n",
        WAITS,
    ),
    mutant(
        "managing-the-last-goes",
        "no manager is left, and nobody can be admitted (design 7)",
        MANAGING,
        "        if len(state.managers) == 1:\n",
        "        if not state.managers:\n",
        MANAGES,
    ),
    mutant(
        "managing-anybody-dismisses-alone",
        "one manager dismisses all others (design 7)",
        MANAGING,
        "        return body.node == author\n",
        "        return body.node != bytes(32)\n",
        MANAGES,
    ),
    mutant(
        "managing-liars-manage",
        "a proven liar manages on (6.9)",
        EVIDENCE,
        "        return without_manager(state, account.node) if manages else state\n",
        "        return state\n",
        MANAGES,
    ),
    mutant(
        "managing-old-words-count-again",
        "who was dismissed and is appointed again is still for what it had signed (design 7)",
        LEDGER,
        "motions = (replace(one, approvals=_others(one.approvals, node)) for one in state.motions)",
        "motions = state.motions",
        MANAGES,
    ),
    mutant(
        "managing-headers-by-old-managers",
        "who shows a recovery by new managers is blamed (6.8)",
        FOLLOWING,
        "if error.rejection is Rejection.BAD_RECOVERY and previous.round > context.round:",
        "if error.rejection is Rejection.BAD_LINK:",
        RECOVERS,
    ),
    mutant(
        "managing-verify-by-the-genesis",
        "a chain whose managers changed is found damaged (6.8)",
        CHECK,
        "        walk.managers = walk.state.managers\n",
        "        walk.managers = walk.genesis.managers\n",
        RECOVERS,
    ),
    mutant(
        "managing-values-without-bounds",
        "managers set what no genesis may have (design 7)",
        SETTING,
        "        if not bounds.low <= body.value <= bounds.high:\n",
        "        if body.value < 0:\n",
        SETS,
    ),
    mutant(
        "managing-a-last-round-that-is-over",
        "the community ends in a round that was (design 7)",
        SETTING,
        'if body.name == "last_round" and 0 < body.value <= state.round:',
        'if body.name == "last_round" and 0 < body.value < state.round:',
        SETS,
    ),
    mutant(
        "managing-verifiers-by-the-genesis",
        "who verifies later computes by the genesis' parameters (design 7)",
        TRANSITION,
        "    params = in_force(params, state)\n    selection",
        "    selection",
        WORKS,
    ),
    mutant(
        "managing-rounds-by-the-genesis",
        "a node works by the genesis' timeouts and ends, whatever managers have set (design 7)",
        CONTEXT,
        'object.__setattr__(self, "params", in_force(self.genesis.params, head))',
        'object.__setattr__(self, "params", self.genesis.params)',
        WORKS,
    ),
)

"""Defects of going back to an older model: whose word counts, which model it is, and who has it."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

KIND = "bflcd/ledger/operations/rollback.py"
MOTION = "bflcd/ledger/operations/motion.py"
TRANSITION = "bflcd/ledger/transition.py"
MODELS = "bflcd/core/round/old_models.py"
CANDIDATES = "bflcd/core/round/segments.py"
SIGNING = "bflcd/node/alliance/service.py"
SOURCE = "bflcd/node/alliance/old_models.py"
WALK = "bflcd/inspect/chain_check.py"

RULES: Final = selection("ledger/operations/test_rollback.py")
ROUNDS: Final = selection("core/test_rollback.py")
SIGNS: Final = selection("node/test_rollback.py")
WALKED: Final = selection("inspect/test_chain_check.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "rollback-by-too-few-managers",
        "two of four managers take away what the community has learned (design 7)",
        KIND,
        "        return manager_quorum(state)\n",
        "        return manager_quorum(state) - 1\n",
        RULES,
    ),
    mutant(
        "rollback-to-what-has-not-come",
        "a motion goes back to a round that nobody has seen (design 7)",
        KIND,
        "        if body.target > state.round:\n",
        "        if False:\n",
        RULES,
    ),
    mutant(
        "rollback-by-words-of-before",
        "what a slower manager had signed opens the same motion again, and one block goes back twice (design 7)",
        KIND,
        "        if state.rollback is not None and _is_old(state, body):\n",
        "        if state.rollback is None and _is_old(state, body):\n",
        RULES,
    ),
    mutant(
        "rollback-leaves-others-open",
        "words of a model that is gone take away the next one (design 7)",
        MOTION,
        'getattr(body, "node", kind)',
        'getattr(body, "node", repr(body))',
        RULES,
    ),
    mutant(
        "rollback-learns-all-the-same",
        "the block has the round's aggregate, and the managers' word changes nothing (design 5)",
        TRANSITION,
        "    if outcome.rollback is not None and model != outcome.rollback:\n",
        "    if False:\n",
        RULES,
    ),
    mutant(
        "rollback-for-ever",
        "every block after a rollback has the old model: nothing is learned any more (design 5)",
        KIND,
        "    return last.model if last is not None and last.round == state.round else None\n",
        "    return last.model if last is not None else None\n",
        RULES,
    ),
    mutant(
        "rollback-looks-like-an-aggregate",
        "a block does not say that its model is an older one (design 4)",
        TRANSITION,
        "rule=params.aggregation if outcome.rollback is None else RULE,",
        "rule=params.aggregation,",
        RULES,
    ),
    mutant(
        "rollback-to-any-payload",
        "managers put any payload in the model's place (rule 1)",
        MODELS,
        "        if own is not None and own != body.model:\n",
        "        if False:\n",
        ROUNDS,
    ),
    mutant(
        "rollback-by-a-leader-without-the-model",
        "a leader proposes what it can't serve, in view after view (rule 1)",
        MODELS,
        "return known and model.root in self._payloads.blobs",
        "return known",
        ROUNDS,
    ),
    mutant(
        "rollback-in-view-after-view",
        "what one view could not decide holds up the next ones as well (rule 1)",
        MODELS,
        "if model is None or (view == 0 and self._may_decide(state, model)):",
        "if model is None or self._may_decide(state, model):",
        ROUNDS,
    ),
    mutant(
        "rollback-before-others-can-have-the-model",
        "the block that opens a motion decides it, and whoever lacks the model holds up the round (rule 1)",
        MODELS,
        "        known = ROLLBACK.needed(state) == 1 or any",
        "        known = True or any",
        ROUNDS,
    ),
    mutant(
        "rollback-prepared-without-the-model",
        "members prepare a model that they don't hold (rule 1)",
        CANDIDATES,
        "        lacks_older = older is not None and older.root not in self._holdings.blobs\n",
        "        lacks_older = False\n",
        ROUNDS,
    ),
    mutant(
        "rollback-pruned-between-rounds",
        "a prune between two rounds takes the model of an open motion (design 9)",
        MODELS,
        "pins = (Pin(blob.root, context.round), Pin(blob.root, Round(context.round + 1)))",
        "pins = (Pin(blob.root, context.round),)",
        ROUNDS,
    ),
    mutant(
        "rollback-signed-without-the-model",
        "a manager's node signs that all go back to what it does not hold (design 7)",
        SIGNING,
        "                await self._models.hold(model)\n",
        "",
        SIGNS,
    ),
    mutant(
        "rollback-agreed-to-unseen",
        "a manager's node agrees to whatever another calls the model of a round (design 7)",
        SOURCE,
        "        if own != named:\n",
        "        if False:\n",
        SIGNS,
    ),
    mutant(
        "rollback-walked-past",
        "verify believes that any payload is the model of the round that managers named (design 11)",
        WALK,
        "        if blob.root != (walk.models[target]",
        "        if False and blob.root != (walk.models[target]",
        WALKED,
    ),
)

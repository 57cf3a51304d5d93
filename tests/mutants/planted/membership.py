"""Defects of membership: who may ask, who may answer, and what is left of who goes."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

APPLYING = "bflcd/ledger/operations/applying.py"
ADMITTING = "bflcd/ledger/operations/admitting.py"
LEAVING = "bflcd/ledger/operations/leaving.py"
MOTION = "bflcd/ledger/operations/motion.py"
TRANSFER = "bflcd/ledger/operations/transfer.py"
STATE = "bflcd/ledger/state.py"
ROLES = "bflcd/ledger/roles.py"
ELECTION = "bflcd/ledger/election.py"
RULES = "bflcd/ledger/operations/application.py"
SERVICES = "bflcd/node/services.py"
NEWCOMER = "bflcd/node/alliance/newcomer.py"
WATCH = "bflcd/node/alliance/watch.py"
PEERS = "bflcd/node/peer_side.py"

ANY_KIND: Final = selection("ledger/operations/test_application.py")
BELONGS: Final = selection("ledger/operations/test_alliance.py")
ASKS: Final = selection("node/test_alliance.py")
CHARGED: Final = selection("node/test_peer_side.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "membership-who-left-belongs",
        "who has left trains, judges and is served on (design 7)",
        STATE,
        "return account.left_round == NEVER and account.kicked_round == NEVER",
        "return account.kicked_round == NEVER",
        BELONGS,
    ),
    mutant(
        "membership-who-was-put-out-belongs",
        "who was put out trains, judges and is served on (design 7)",
        STATE,
        "return account.left_round == NEVER and account.kicked_round == NEVER",
        "return account.left_round == NEVER",
        BELONGS,
    ),
    mutant(
        "membership-former-members-train",
        "offers of who has left count (design 7)",
        ROLES,
        "    account = member_of(state, node)\n    if account is None or account.punished",
        "    account = account_of(state, node)\n    if account is None or account.punished",
        BELONGS,
    ),
    mutant(
        "membership-former-members-sit",
        "who has left is elected, and its seat is silent (design 7)",
        ELECTION,
        "if account.punished_round != NEVER or not is_member(account):",
        "if account.punished_round != NEVER:",
        BELONGS,
    ),
    mutant(
        "membership-former-members-sign",
        "who was put out gives away what it has (design 7)",
        RULES,
        "    account = member_of(state, operation.author)\n    if account is None:",
        "    account = account_of(state, operation.author)\n    if account is None:",
        ANY_KIND,
    ),
    mutant(
        "membership-anybody-manages",
        "any member admits, refuses and puts out (design 7)",
        MOTION,
        "        if not manages(state, author):\n",
        "        if member_of(state, author) is None:\n",
        BELONGS,
    ),
    mutant(
        "membership-one-manager-is-enough",
        "one manager puts a member out (design 7)",
        MOTION,
        "        if self._lacking(state, motion) > 0 and not self.suffices(body, operation.author):\n",
        "        if False:\n",
        BELONGS,
    ),
    mutant(
        "membership-dismissed-managers-count",
        "who manages no more is counted for a motion (design 7)",
        MOTION,
        "sum(manages(state, node) for node in motion.approvals)",
        "len(motion.approvals)",
        BELONGS,
    ),
    mutant(
        "membership-motions-of-one-mind",
        "a motion for another reason counts as the same (design 7)",
        MOTION,
        "        content = self.content(body)\n        motion",
        '        content = self.content(replace(body, **({"reason": ""} if hasattr(body, "reason") else {})))\n        motion',
        BELONGS,
    ),
    mutant(
        "membership-motions-without-end",
        "a motion never runs out (design 7)",
        MOTION,
        "    motions = tuple(one for one in state.motions if round_ - one.opened < terms.motion_rounds)\n",
        "    motions = state.motions\n",
        BELONGS,
    ),
    mutant(
        "membership-motions-without-number",
        "one manager fills the ledger with motions (design 7)",
        MOTION,
        "            if opened >= each:\n",
        "            if opened > MAX_MOTIONS:\n",
        BELONGS,
    ),
    mutant(
        "membership-motions-without-share",
        "a third of many managers takes the room of all motions (design 7)",
        MOTION,
        "return max(1, min(MOTIONS_EACH, MAX_MOTIONS // len(state.managers)))",
        "return MOTIONS_EACH",
        BELONGS,
    ),
    mutant(
        "membership-motions-outlive-what-is-done",
        "what managers said before a return puts a member out again without a quorum (design 7)",
        MOTION,
        "if _now(state, _about(one)) not in touched)",
        "if one)",
        BELONGS,
    ),
    mutant(
        "membership-applications-as-old-as-they-say",
        "an application runs out in the block that carries it, and fills one in each round (design 7)",
        APPLYING,
        "Applicant(operation.author, state.round, body.note)",
        "Applicant(operation.author, body.round, body.note)",
        BELONGS,
    ),
    mutant(
        "membership-applications-without-number",
        "strangers fill the ledger with applications (design 7)",
        APPLYING,
        "if known is None and len(state.applicants) >= MAX_APPLICANTS:",
        "if False:",
        BELONGS,
    ),
    mutant(
        "membership-refused-apply-again",
        "who was refused asks again at once (design 7)",
        APPLYING,
        "if known is not None and known.refused_round != NEVER:",
        "if False:",
        BELONGS,
    ),
    mutant(
        "membership-applications-replayed",
        "an application signed before its author left is one again (design 7)",
        APPLYING,
        "if account is not None and body.round <= account.left_round:",
        "if False:",
        BELONGS,
    ),
    mutant(
        "membership-put-out-and-admitted",
        "one manager admits whom a quorum has put out (design 7)",
        ADMITTING,
        "    if account.kicked_round != NEVER:\n",
        "    if False:\n",
        BELONGS,
    ),
    mutant(
        "membership-applicant-stays",
        "who was admitted is an applicant for ever (design 7)",
        ADMITTING,
        "    state = without_applicant(state, node)\n",
        "",
        BELONGS,
    ),
    mutant(
        "membership-managers-go",
        "the last manager leaves, and nobody can be admitted any more (design 7)",
        LEAVING,
        "    if node in state.managers:\n",
        "    if False:\n",
        BELONGS,
    ),
    mutant(
        "membership-the-last-seat-goes",
        "the last member that may hold a seat leaves (design 7)",
        LEAVING,
        "    if not someone_stays(state, node):\n",
        "    if False:\n",
        BELONGS,
    ),
    mutant(
        "transfer-of-more-than-there-is",
        "a balance falls below nothing (design 7)",
        TRANSFER,
        "        if giver.balance < body.amount:\n",
        "        if False:\n",
        BELONGS,
    ),
    mutant(
        "transfer-makes-units",
        "what is given away stays with the giver (design 7)",
        TRANSFER,
        "balance=Amount(giver.balance - amount)",
        "balance=giver.balance",
        BELONGS,
    ),
    mutant(
        "membership-strangers-hand-in-anything",
        "a stranger hands in an operation of somebody else's (design 7)",
        SERVICES,
        "if operation.kind not in _OF_STRANGERS or operation.author != peer:",
        "if operation.kind not in _OF_STRANGERS:",
        ASKS,
    ),
    mutant(
        "membership-one-word-admits",
        "one peer's lie has a newcomer ask members for what they give to members alone (design 7)",
        NEWCOMER,
        "if 2 * sum(one.standing in BELONGS for one in replies) > len(replies):",
        "if any(one.standing in BELONGS for one in replies):",
        ASKS,
    ),
    mutant(
        "membership-one-word-excludes",
        "one peer's lie ends a member's work (design 7)",
        WATCH,
        "        if 2 * len(out) > len(replies):\n",
        "        if out:\n",
        ASKS,
    ),
    mutant(
        "membership-who-is-behind-excludes",
        "a peer that has not seen this node's admission ends its work (design 7)",
        WATCH,
        " and reply.round >= last]",
        "]",
        ASKS,
    ),
    mutant(
        "membership-former-members-banned",
        "who has not heard yet that it is out is banned for asking (design 7)",
        PEERS,
        "        if rejection is Rejection.NOT_MEMBER and self.standing.was_member(node):\n            return",
        "        if False:\n            return",
        CHARGED,
    ),
)

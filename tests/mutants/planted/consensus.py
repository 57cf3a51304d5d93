"""Defects of the PBFT machine and of certificates."""

from typing import Final

from tests.mutants.catchers import Catcher, Simulated, Worlds, selection
from tests.mutants.mutant import Edit, Mutant, mutant

PBFT = "bflcd/consensus/pbft.py"
VOTES = "bflcd/consensus/votes.py"
SIGNING = "bflcd/consensus/signing.py"
PROOFS = "bflcd/consensus/justification.py"
CERTIFICATE = "bflcd/consensus/certificate.py"

MACHINE: Final = selection("consensus/test_pbft.py", "consensus/test_restart.py", "consensus/test_faults.py")
PROVED: Final = selection("consensus/test_certificate.py")
RANDOM: Final = Worlds("random")


def every(*aimed: str) -> tuple[Catcher, ...]:
    """The machine's tests, random worlds, and aimed ones."""
    return (MACHINE, RANDOM, *(Worlds(name) for name in aimed))


MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "quorum-2f+1",
        "q = 2f+1: at M = 6 two disjoint quorums fork (design 1; celo 117)",
        "bflcd/ledger/quorum.py",
        "return members - faults(members)",
        "return 2 * faults(members) + 1",
        selection("ledger/test_judgement.py", "ledger/test_transition.py"),
        RANDOM,
        Worlds("halves"),
        Simulated(),
        Simulated("halves"),
    ),
    Mutant(
        "no-lock",
        "a prepared segment binds nobody in later views (rule 4; rows 3, 4, 52)",
        (
            Edit(
                PROOFS,
                "return Justification(tuple(envelopes), chosen[0].prepared)",
                "return Justification(tuple(envelopes), None)",
            ),
            Edit(PROOFS, "top = highest_prepared(view_changes)", "top = None"),
        ),
        (*every("one-decides"), Simulated(), Simulated("halves_at_views")),
    ),
    mutant(
        "vote-not-durable",
        "a vote leaves without ever being stored (rule 3; row 17; gravity-sdk 743)",
        PBFT,
        "        self._emit(PersistVote(vote))\n        self._emit(Broadcast(message))\n",
        "        self._emit(Broadcast(message))\n",
        *every("crashing"),
        Simulated(),
        Simulated("crash_storm"),
    ),
    mutant(
        "vote-said-before-durable",
        "a vote leaves before it is stored (rule 3; row 17; tmkms 1220)",
        PBFT,
        "        self._emit(PersistVote(vote))\n        self._emit(Broadcast(message))\n",
        "        self._emit(Broadcast(message))\n        self._emit(PersistVote(vote))\n",
        *every("crashing"),
        Simulated(),
        Simulated("crash_storm"),
    ),
    Mutant(
        "duplicate-commits-count",
        "a second copy of a commit counts towards the quorum (rule 2)",
        (
            Edit(VOTES, '__slots__ = ("_groups", "_slots")', '__slots__ = ("_groups", "_slots", "copies")'),
            Edit(
                VOTES,
                "        self._slots: dict[NodeId, dict[View, Signed[V]]] = {}\n",
                "        self._slots = {}\n        self.copies = {}\n",
            ),
            Edit(VOTES, "if self.count(*key) >= q)", "if self.count(*key) + self.copies.get(key, 0) >= q)"),
            Edit(
                PBFT,
                "        if held is not None:\n            self._require_same(held.envelope, vote.envelope, f",
                "        if held is not None:\n            place = (vote.body.view, vote.body.digest)\n"
                "            buffer.copies[place] = buffer.copies.get(place, 0) + 1\n"
                "            self._require_same(held.envelope, vote.envelope, f",
            ),
        ),
        every("duplicating"),
    ),
    mutant(
        "certificate-author-twice",
        "a certificate counts one author's commit twice (rule 2; row 33)",
        CERTIFICATE,
        "if any(left >= right for left, right in pairwise(authors)):",
        "if any(left > right for left, right in pairwise(authors)):",
        PROVED,
    ),
    mutant(
        "certificate-of-strangers",
        "anybody's signatures make a certificate (row 35)",
        CERTIFICATE,
        "strangers = set(authors) - set(instance.committee)",
        "strangers = set()",
        PROVED,
    ),
    mutant(
        "certificate-signatures-unchecked",
        "a certificate is believed without its signatures (rule 2; FISCO FIB-127)",
        CERTIFICATE,
        "if not verify(Envelope(author, payload, signature)):",
        "if False:",
        PROVED,
    ),
    mutant(
        "prepare-before-segment",
        "a prepare says `right and durable here` of a segment that isn't (rule 1)",
        PBFT,
        "return accepted if self._is_right(accepted.digest, accepted.proposal) else None",
        "return accepted",
        *every("crashing"),
        Simulated(),
        Simulated("power_loss"),
    ),
    mutant(
        "votes-by-envelope",
        "prepares in a proof are judged by the round of the message around them (FISCO FIB-137)",
        PROOFS,
        "prepare = auth.read(envelope, (Prepare,)).body",
        "from bflcd.wire.envelope import open_envelope\n            prepare = open_envelope(envelope, (Prepare,)).body",
        *every("forging"),
    ),
    mutant(
        "proof-of-another-view",
        "prepares of one view prove another (row 33)",
        PROOFS,
        "if (prepare.view, prepare.digest) != (view, digest):",
        "if prepare.digest != digest:",
        *every("forging"),
    ),
    mutant(
        "round-unchecked",
        "votes of another round count in this one (row 29; FISCO FIB-138)",
        "bflcd/consensus/authentication.py",
        "            (body.round, self._instance.round, Rejection.WRONG_ROUND),\n",
        "",
        *every("forging"),
    ),
    mutant(
        "committee-unchecked",
        "votes that were cast for another committee count (row 35)",
        "bflcd/consensus/authentication.py",
        "            (body.committee, self._committee_hash, Rejection.WRONG_COMMITTEE),\n",
        "",
        MACHINE,
    ),
    mutant(
        "strangers-vote",
        "who holds no seat votes (row 35)",
        "bflcd/consensus/authentication.py",
        "if envelope.author not in self._seats:",
        "if False:",
        *every("forging"),
    ),
    mutant(
        "vote-signatures-unchecked",
        "votes are believed without their signatures (row 29)",
        "bflcd/consensus/authentication.py",
        "            valid = self._verify(envelope)\n",
        "            valid = True\n",
        *every("forging"),
    ),
    mutant(
        "back-off-without-cap",
        "T(v) grows for ever: a healed network stalls (rule 7; FISCO FIB-135)",
        "bflcd/consensus/timers.py",
        "min(2 ** min(view, MAX_FACTOR), MAX_FACTOR)",
        "2 ** min(view, MAX_FACTOR)",
        *every(),
        Simulated(),
        Simulated("halves"),
    ),
    mutant(
        "one-word-moves-a-view",
        "one member's view-change moves everybody (rule 5; FISCO 2211)",
        PBFT,
        "self._view_changes.nth_highest(self._instance.f + 1)",
        "self._view_changes.nth_highest(1)",
        *every("forging"),
        Simulated(),
        Simulated("clocks"),
    ),
    mutant(
        "views-do-not-meet",
        "a view is timed without q members asking for it (rule 7; row 53)",
        PBFT,
        "if view == 0 or self._attempt.entered or self._view_changes.count_from(view) < self._instance.q:",
        "if view == 0 or self._attempt.entered:",
        *every("halves"),
        Simulated(),
        Simulated("halves_at_views"),
    ),
    mutant(
        "free-choice-though-prepared",
        "a leader that shows no prepares may choose though a view-change names a prepared segment (rule 4)",
        PROOFS,
        "    if top is None:\n        if message.prepares:",
        "    if top is None or not message.prepares:\n        if message.prepares:",
        *every("forging"),
    ),
    Mutant(
        "justification-author-twice",
        "one author's view-changes justify a leader q times (row 33)",
        (
            Edit(PROOFS, "if len(authors) != len(envelopes):", "if not authors:"),
            Edit(PROOFS, "if len(authors) < q:", "if len(envelopes) < q:"),
        ),
        every("forging"),
    ),
    mutant(
        "prepared-proof-unchecked",
        "a view-change's prepared proof is believed (FISCO FIB-124)",
        PROOFS,
        "    check_prepared(view, digest, message.prepares, q, auth)\n    return Claim(signed, Prepared(",
        "    return Claim(signed, Prepared(",
        *every("forging"),
    ),
    mutant(
        "lowest-prepared-wins",
        "of several prepared segments the oldest is re-proposed (rule 4)",
        PROOFS,
        "kept.sort(key=lambda claim: (-claim.prepared_view, claim.author))",
        "kept.sort(key=lambda claim: (claim.prepared_view, claim.author))",
        *every("one-decides"),
        Simulated(),
    ),
    mutant(
        "older-prepared-accepted",
        "members accept the re-proposal of an older prepared segment (rule 4)",
        PROOFS,
        "top = max(view for view, _ in pairs)",
        "top = min(view for view, _ in pairs)",
        *every("one-decides"),
    ),
    mutant(
        "view-change-forgets-prepared",
        "a view-change names no prepared segment (rule 4; row 3)",
        PBFT,
        "claim = Claim(self._own.view_change(view, self._prepared), self._prepared)",
        "claim = Claim(self._own.view_change(view, None), None)",
        *every("one-decides"),
        Simulated(),
        Simulated("halves_at_views"),
    ),
    mutant(
        "journal-ignored",
        "after a restart a member votes as if it had never voted (rule 3; rows 17, 21)",
        SIGNING,
        "            self._restore(auth, journal, signer.node_id)\n",
        "            pass\n",
        *every("crashing"),
        Simulated(),
        Simulated("crash_storm"),
    ),
    mutant(
        "prepared-forgotten-by-restart",
        "the prepared certificate of the journal is not taken up (row 52)",
        PBFT,
        "        self._prepared = prepared\n        view = max(",
        "        prepared = None\n        view = max(",
        *every("crashing", "one-decides"),
        Simulated(),
        Simulated("power_loss"),
    ),
    mutant(
        "commit-before-certificate-durable",
        "a commit leaves before its prepared certificate is durable (rule 2; row 52)",
        PBFT,
        "            self._emit(PersistPrepared(self._prepared))\n",
        "",
        *every("crashing", "one-decides"),
        Simulated(),
        Simulated("power_loss"),
    ),
    mutant(
        "anybody-leads",
        "a pre-prepare by another than the leader is followed (rule 1)",
        PBFT,
        "if signed.author != self._instance.leader(body.view):",
        "if False:",
        *every("forging"),
    ),
    mutant(
        "left-view-still-signed",
        "prepares are signed in a view that was left (rule 3; row 30)",
        PBFT,
        "        if body.view < self._attempt.view:\n            return\n        held = self._attempt.pre_prepare",
        "        held = self._attempt.pre_prepare",
        *every(),
        Simulated(),
    ),
    mutant(
        "view-changes-unbounded",
        "every view-change of a liar is kept (rule 6; row 31; FISCO FIB-145)",
        VOTES,
        "if len(claims) > VIEW_CHANGES_PER_AUTHOR:",
        "if False:",
        MACHINE,
    ),
    mutant(
        "votes-unbounded",
        "every vote of a liar is kept (rule 6; row 31)",
        VOTES,
        "if len(slots) > VOTES_PER_AUTHOR:",
        "if False:",
        MACHINE,
    ),
    mutant(
        "nothing-said-again",
        "a lost vote is lost for ever (rule 7; row 12)",
        PBFT,
        "        elif self._timers.resend_is_due:\n            self._send_again()\n",
        "        elif self._timers.resend_is_due:\n",
        *every("halves"),
        Simulated(),
        Simulated("lossy"),
    ),
)

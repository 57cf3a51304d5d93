"""Defects of recovery by managers."""

from typing import Final

from tests.mutants.catchers import Simulated, Tests, selection
from tests.mutants.mutant import Edit, Mutant, mutant

CONSENSUS = "bflcd/consensus/recovery.py"
CERTIFICATE = "bflcd/consensus/certificate.py"
LEDGER = "bflcd/ledger/operations/recovery.py"
ACCOUNTS = "bflcd/ledger/accounts.py"
TRANSITION = "bflcd/ledger/transition.py"
CORE = "bflcd/core/core.py"
RECOVERING = "bflcd/core/round/recovery_signatures.py"
SITUATION = "bflcd/core/round/context.py"
SUPERSEDED = "bflcd/node/recovery/reorg.py"
SERVICES = "bflcd/node/services.py"
PLAN = "bflcd/node/recovery/plan.py"
LOOK = "bflcd/node/recovery/observation.py"

CERTIFIED: Final = selection("consensus/test_recovery.py")
SWAPPED: Final = selection("fuzz/test_recovery_swaps.py")
RULED: Final = selection("ledger/operations/test_recovery.py")
CORES = "core/test_recovery.py"
TWO_SIGN: Final = selection(f"{CORES}::test_two_of_four_managers_are_no_quorum")
GOES_ON: Final = selection(
    f"{CORES}::test_row_23_more_than_f_leave_for_ever_and_a_quorum_of_managers_lets_the_round_go_on[0]",
    f"{CORES}::test_who_adopts_a_recovery_makes_it_durable_and_tells_all",
)
AS_IT_STANDS: Final = selection(f"{CORES}::test_what_was_prepared_is_decided_as_it_stands_under_the_new_committee[0]")
TRAINED: Final = selection(f"{CORES}::test_what_was_trained_is_offered_in_the_new_epoch_and_not_trained_again")
SIGNED_ONCE: Final = selection(
    f"{CORES}::test_a_manager_signs_no_lower_or_equal_epoch_and_votes_no_more_in_the_old_one",
    f"{CORES}::test_a_manager_remembers_for_which_epoch_it_has_signed_when_another_is_adopted",
)
HALTED: Final = selection(f"{CORES}::test_two_recoveries_of_one_epoch_halt_the_node_loudly_also_after_a_restart")
TOLD: Final = selection(
    f"{CORES}::test_who_speaks_in_an_epoch_that_is_over_is_shown_the_recovery_once_every_t0",
    f"{CORES}::test_a_certificate_of_an_epoch_that_a_recovery_has_ended_closes_nothing",
)
REPLACED: Final = selection("node/test_reorg.py::test_a_lower_epoch_and_forged_headers_take_nothing_back")
STORED: Final = selection("conformance/test_record_store.py")
GONE: Final = Simulated("gone")


def planned(test: str) -> Tests:
    """One test of the operator's plan: they are slow, and each watches another rule."""
    return selection(f"node/test_recovery_plan.py::{test}")


MUTANTS: Final[tuple[Mutant, ...]] = (
    # -- what managers sign -----------------------------------------------------------------------------------------------
    mutant(
        "recovery-by-half",
        "half of the managers give a round away (rule 8: G - (G-1)//3)",
        CONSENSUS,
        "needed = quorum(len(managers))",
        "needed = len(managers) // 2",
        CERTIFIED,
    ),
    mutant(
        "recovery-complete-by-half",
        "a node adopts what half of the managers signed (rule 8)",
        RECOVERING,
        "return quorum(len(self._managers))",
        "return len(self._managers) // 2",
        TWO_SIGN,
        GONE,
    ),
    mutant(
        "recovery-signatures-unchecked",
        "managers' signatures are believed (rule 8)",
        CONSENSUS,
        "if not verify(Envelope(manager, payload, signature)):",
        "if manager not in managers:",
        CERTIFIED,
    ),
    Mutant(
        "recovery-of-the-same-epoch",
        "a recovery opens the epoch that the round is in: two committees decide in it (rule 8)",
        (
            Edit(CONSENSUS, "if recovery.epoch <= base.epoch:", "if recovery.epoch < base.epoch:"),
            Edit(LEDGER, "if recovery.epoch <= state.epoch:", "if recovery.epoch < state.epoch:"),
        ),
        (CERTIFIED,),
    ),
    mutant(
        "recovery-claims-less-than-it-carries",
        "whoever passes a recovery on changes the proposal beside its proof (rule 8)",
        "bflcd/wire/recovery.py",
        "digest(Domain.PREPARED, encode(claim))",
        "digest(Domain.PREPARED, bytes((claim.epoch, claim.view)), claim.digest, *claim.committee)",
        SWAPPED,
    ),
    # -- what an older epoch had prepared ---------------------------------------------------------------------------------
    mutant(
        "recovery-with-another-proof",
        "a recovery carries another proof than the one that its managers signed for (rule 8)",
        CONSENSUS,
        "if recovery.prepared != (None if proof is None else claim_hash(proof.claim)):",
        "if recovery.prepared is None and proof is not None:",
        CERTIFIED,
    ),
    mutant(
        "prepared-by-nobody",
        "prepares in a proof are believed without their signatures (rule 8)",
        CONSENSUS,
        "        if not verify(prepare):\n",
        "        if prepare is None:\n",
        CERTIFIED,
    ),
    mutant(
        "prepared-by-another-committee",
        "a proof of the round's first epoch names a committee of its maker's choice (rule 8)",
        CONSENSUS,
        "if proof.claim.epoch == base.epoch and proof.claim.committee != base.committee:",
        "if proof.claim.committee == ():",
        CERTIFIED,
    ),
    mutant(
        "locked-dropped",
        "the new committee is free to decide something else than what was prepared (rule 8)",
        CONSENSUS,
        "locked=None if proof is None else LockedProposal(proof.claim.digest, proof.claim.proposal),",
        "locked=None,",
        CERTIFIED,
        GONE,
    ),
    mutant(
        "locked-of-view-0",
        "after a view change the new committee forgets what was prepared (rule 8)",
        "bflcd/consensus/justification.py",
        "    if instance.locked is None:\n        if not",
        "    if instance.locked is None or body.view > 0:\n        if not",
        CERTIFIED,
        GONE,
    ),
    mutant(
        "certificate-without-locked",
        "a certificate of an epoch that was bound to one segment proves another (rule 8)",
        CERTIFICATE,
        "if instance.locked is not None and certificate.digest != instance.locked.digest:",
        "if not certificate.digest:",
        CERTIFIED,
    ),
    mutant(
        "highest-view-before-epoch",
        "of two prepared proofs the older epoch's is shown to managers if its view is higher (rule 8)",
        SERVICES,
        "key=lambda proof: (proof.claim.epoch, proof.claim.view), default=None)",
        "key=lambda proof: (proof.claim.view, proof.claim.epoch), default=None)",
        selection("core/test_recovery_again.py::test_what_a_later_epoch_prepared_is_shown_to_managers_whatever_its_view"),
    ),
    mutant(
        "one-signature-makes-a-committee",
        "a manager takes what it alone has signed for what a quorum gave an epoch, and shows a false proof (rule 8)",
        SERVICES,
        "given = [certificate for certificate in recoveries if len(certificate.signatures) >= quorum(len(state.managers))]",
        "given = recoveries",
        selection(
            "core/test_recovery_restart.py::"
            "test_what_a_manager_alone_had_signed_for_an_epoch_is_not_taken_for_that_epochs_committee"
        ),
    ),
    mutant(
        "judged-from-the-wrong-ledger",
        "a segment that an earlier recovery freed is judged from the ledger of the header (rule 8)",
        LEDGER,
        "return state if basis is None else apply_recovery(state, first, basis.committee, basis.retired)",
        "return state",
        RULED,
    ),
    mutant(
        "recovered-segment-of-any-epoch",
        "a segment of the dead epoch is certified by the new committee (rule 8)",
        LEDGER,
        "if model is None or model.epoch != recovery.recovery.epoch:",
        "if model is None:",
        RULED,
    ),
    mutant(
        "gathered-before-is-lost",
        "what an epoch had gathered goes with it: the prepared segment can't be built again (rule 8)",
        "bflcd/core/round/state.py",
        "        renewed.collection.inherit(self.collection)\n",
        "",
        AS_IT_STANDS,
        GONE,
    ),
    mutant(
        "trained-before-is-lost",
        "a recovery makes all that was trained in its round worthless (rule 8)",
        "bflcd/core/round/state.py",
        "        renewed.work.inherit(self.work)\n",
        "",
        TRAINED,
    ),
    # -- the new committee ------------------------------------------------------------------------------------------------
    mutant(
        "punished-seated-by-managers",
        "a recovery seats who was proved to have lied (rules 8 and 9)",
        LEDGER,
        "if account is None or account.punished_round != NEVER:",
        "if account is None:",
        RULED,
    ),
    mutant(
        "retired-elected",
        "who was declared gone is elected at once: the next round stands still again (rule 8)",
        LEDGER,
        "gone.append(replace(account, retired_round=state.round))",
        "gone.append(account)",
        RULED,
        GONE,
    ),
    mutant(
        "retired-for-ever",
        "who was declared gone and shows up again gets no seat any more (rule 8)",
        ACCOUNTS,
        "retired_round=NEVER if account.node in present else account.retired_round,",
        "retired_round=account.retired_round,",
        RULED,
    ),
    # -- a manager's own signature ----------------------------------------------------------------------------------------
    mutant(
        "manager-signs-two-of-an-epoch",
        "a manager signs two recoveries of one epoch (rule 8)",
        RECOVERING,
        "if recovery.epoch <= max(context.state.epoch, self.signed):",
        "if recovery.epoch <= context.state.epoch:",
        SIGNED_ONCE,
    ),
    mutant(
        "managers-signature-forgotten",
        "a restarted manager signs and votes as if it had signed no recovery (rules 3 and 8)",
        "bflcd/core/round/recovery_signatures.py",
        "        self.signed = max((self.signed, *signed))\n",
        "        tuple(signed)\n",
        selection("core/test_recovery_restart.py::test_a_manager_that_has_signed_votes_no_more_in_the_old_epoch_after_a_restart"),
    ),
    mutant(
        "manager-may-vote-on",
        "a manager that has signed a recovery still trains, judges and votes in the epoch that it ends (rule 8)",
        "bflcd/core/round/state.py",
        " and self.recoveries.signed <= self.context.state.epoch\n",
        "\n",
        SIGNED_ONCE,
    ),
    mutant(
        "manager-votes-on-until-restart",
        "the machine of a manager that has signed a recovery goes on voting (rule 8)",
        "bflcd/core/core.py",
        "            effects += self._join_agreement(now) + self._advance(now)  # without a signer now\n",
        "            pass\n",
        selection("core/test_recovery_restart.py::test_a_manager_that_has_signed_votes_no_more_in_the_old_epoch"),
        GONE,
    ),
    # -- adopting it ------------------------------------------------------------------------------------------------------
    mutant(
        "recovery-not-durable",
        "a restarted node is back in the epoch that managers have ended (rule 8)",
        CORE,
        "            Persist((RecoveryRecord(recovery.round, certificate),)),\n",
        "",
        GOES_ON,
        GONE,
    ),
    mutant(
        "recovery-not-passed-on",
        "who adopts a recovery tells nobody (rule 8)",
        CORE,
        "            Send(certificate),\n            self._notice(EventKind.RECOVERED",
        "            self._notice(EventKind.RECOVERED",
        GOES_ON,
    ),
    mutant(
        "lowest-recovery-restored",
        "after a restart the first of two recoveries of a round counts (rule 8)",
        "bflcd/core/restart.py",
        "    return signed[-1] if signed else None\n",
        "    return signed[0] if signed else None\n",
        selection("core/test_recovery_restart.py::test_of_two_recoveries_the_higher_epoch_counts_after_a_restart"),
    ),
    mutant(
        "signed-epochs-forgotten-by-recovery",
        "a recovery makes a manager forget for which epoch it has signed (rule 8)",
        "bflcd/core/round/state.py",
        "        renewed.recoveries = self.recoveries\n",
        "",
        SIGNED_ONCE,
    ),
    mutant(
        "two-recoveries-pass",
        "two complete recoveries of one epoch stop nobody (rule 8)",
        RECOVERING,
        "return [Persist((RecoveryRecord(recovery.round, certificate),)), Halt(text, CONFLICT_HINT)]",
        "return []",
        HALTED,
    ),
    mutant(
        "halt-forgotten-by-restart",
        "a node that stopped at two recoveries of one epoch goes on after a restart (rule 8)",
        "bflcd/core/restart.py",
        "if len(signed) > 1 and signed[-1].recovery.epoch == signed[-2].recovery.epoch:",
        "if len(signed) > 2:",
        HALTED,
    ),
    mutant(
        "dead-epoch-not-told",
        "who missed a recovery speaks in the dead epoch for ever (rule 8)",
        "bflcd/core/reception.py",
        "        return self._certificates.answer_epoch(context, context.recovery, asker, now)\n",
        "        return []\n",
        TOLD,
    ),
    mutant(
        "one-answer-for-both",
        "who has just heard of the round before is not shown the recovery that it needs next (rule 8)",
        "bflcd/core/certificates.py",
        "        return _once(self._shown, context, recovery, asker, now)\n",
        "        return _once(self._answered, context, recovery, asker, now)\n",
        TOLD,
    ),
    mutant(
        "dead-epoch-decides",
        "a certificate of an epoch that a recovery has ended closes the round (rule 8)",
        SITUATION,
        "if ours is not None and (theirs is None or theirs.recovery.epoch < ours.recovery.epoch):",
        "if ours is not None and theirs is None:",
        TOLD,
    ),
    mutant(
        "certificate-without-its-recovery",
        "the certificate of a recovered round doesn't carry the recovery: nobody else can believe it (rule 8)",
        "bflcd/core/round/agreement.py",
        "RoundDecided(replace(certificate, recovery=context.recovery), ())",
        "RoundDecided(replace(certificate), ())",
        GOES_ON,
        GONE,
    ),
    mutant(
        "quorums-recovery-not-stored-beside-ones-own",
        "a manager's disk keeps its own signature and drops the quorum's: a restart is back in the old epoch (rule 8)",
        "bflcd/store/records.py",
        "place = what + integer(len(certificate.signatures))",
        "place = what + integer(0)",
        STORED,
    ),
    mutant(
        "one-recovery-a-round-stored",
        "a second recovery of a round can't be stored: neither a later epoch's, nor the contradiction that halts (rule 8)",
        "bflcd/store/records.py",
        "place = what + integer(len(certificate.signatures))",
        "place = integer(len(certificate.signatures))",
        STORED,
    ),
    mutant(
        "votes-of-a-dead-epoch-restored",
        "a node that restarts in a new epoch takes up its votes of the old one (rules 3 and 8)",
        "bflcd/core/records.py",
        "return Journal(tuple(r.envelope for r in self.votes if r.epoch == epoch), best)",
        "return Journal(tuple(r.envelope for r in self.votes), best)",
        selection("core/test_recovery_restart.py::test_what_a_lower_epoch_had_proposed_is_passed_over_at_a_restart"),
    ),
    # -- what a recovery superseded ---------------------------------------------------------------------------------------
    mutant(
        "lower-epoch-supersedes",
        "blocks of a higher epoch are taken back for those of a lower one (rule 8)",
        SUPERSEDED,
        "return self.theirs.certificate.epoch > self.ours.certificate.epoch",
        "return self.theirs.certificate.epoch != self.ours.certificate.epoch",
        REPLACED,
    ),
    mutant(
        "superseded-on-a-word",
        "a peer's headers take blocks back without being proved (rule 8)",
        "bflcd/node/recovery/reorg.py",
        "        await scheduler.offload(verify_successor, previous, theirs, genesis.params, managers, verify)\n",
        "        await scheduler.sleep(0)\n",
        REPLACED,
    ),
    mutant(
        "recovered-rounds-not-recomputed",
        "after an earlier recovery a node can't compute the ledger that it has to return to (rule 8)",
        SUPERSEDED,
        "before = judged_from(state, certified)",
        "before = state",
        selection("node/test_reorg.py::test_the_ledger_is_computed_again_through_a_round_that_managers_gave_away"),
    ),
    # -- the operator's plan ----------------------------------------------------------------------------------------------
    mutant(
        "plan-leaves-out-what-was-prepared",
        "the proposed recovery names nothing prepared though a proof was found (rule 8)",
        PLAN,
        "prepared=None if proof is None else claim_hash(proof.claim),",
        "prepared=None,",
        planned("test_what_was_found_prepared_is_proposed_and_decided"),
    ),
    mutant(
        "plan-though-a-quorum-votes",
        "a recovery is signed though the committee can still decide (rule 8)",
        PLAN,
        "    if voting >= context.q:\n",
        "    if voting > context.q:\n",
        planned("test_nothing_is_signed_while_a_quorum_may_come_together_unless_forced"),
    ),
    mutant(
        "plan-joins-what-undoes",
        "a manager joins a recovery that leaves out what was prepared (rule 8)",
        PLAN,
        "if rank_of(held.proof) < rank_of(inputs.found.proof):",
        "if rank_of(held.proof) > rank_of(inputs.found.proof):",
        planned("test_a_recovery_that_leaves_out_what_was_prepared_is_not_joined"),
    ),
    mutant(
        "plan-retires-the-living",
        "members that are connected are declared gone (rule 8)",
        PLAN,
        "    here = {*seen.connected, context.me, *committee}\n",
        "    here = {context.me, *committee}\n",
        planned("test_who_is_connected_is_not_declared_gone_though_nothing_was_heard_of_it_in_the_round"),
    ),
    mutant(
        "plan-forced-against-the-rules",
        "force signs what no force may (rule 8)",
        PLAN,
        "(refusal is not None and inputs.request.force and not refusal.lasting)",
        "(refusal is not None and inputs.request.force)",
        planned("test_only_managers_sign_and_everybody_may_look"),
    ),
    mutant(
        "proof-of-an-unknown-epoch",
        "a stranger's committee prepares what managers then sign (rule 8)",
        LOOK,
        "if held is None or held.committee != proof.claim.committee:",
        "if held is None:",
        planned("test_a_proof_holds_only_on_the_ground_that_a_known_recovery_gave"),
    ),
)

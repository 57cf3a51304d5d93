"""What is proved against members: two messages in one place are evidence, which all hear and a block punishes (design 6.9)."""

from bflcd.core.effects import Blame, Effect, Persist, Send, notice
from bflcd.core.events import EvidenceFetched
from bflcd.core.evidence_pool import EvidencePool
from bflcd.core.records import EvidenceRecord
from bflcd.errors import PeerError, Rejection
from bflcd.ledger.evidence import check_evidence
from bflcd.ledger.roles import account_of
from bflcd.ledger.state import NEVER, State
from bflcd.types import NodeId, Round, short
from bflcd.wire.envelope import Envelope, Signed, Verify
from bflcd.wire.evidence import Evidence, evidence_id, evidence_of
from bflcd.wire.messages import SignedBody


def require_signature(verify: Verify, envelope: Envelope) -> None:
    """Raise PeerError(BAD_SIGNATURE) unless the envelope is its author's."""
    if not verify(envelope):
        raise PeerError(Rejection.BAD_SIGNATURE, f"the signature is not {short(envelope.author)}'s")


class EquivocationHandler:
    """Takes in contradictions, found here or brought by others. What it keeps in the pool was checked, and is durable."""

    def __init__(self, pool: EvidencePool, me: NodeId, verify: Verify) -> None:
        self._pool = pool
        self._me = me
        self._verify = verify

    def conflict(self, round_: Round, held: Signed[SignedBody] | None, other: Signed[SignedBody], text: str) -> list[Effect]:
        """Two messages in one place by one author, the signatures of both verified. Nothing if none is `held`, or it is us."""
        if held is None or other.author == self._me:
            return []
        blame = Blame(other.author, Rejection.CONFLICT, text)
        return [blame, *self.note(round_, evidence_of(held.envelope, other.envelope))]

    def note(self, round_: Round, evidence: Evidence) -> list[Effect]:
        """Keep verified evidence, durably, and tell all members: whoever leads next puts it into a block."""
        if not self._pool.add(evidence):
            return []
        text = f"{short(evidence.accused)} signed two different messages in one place: it will lose seat and deposit"
        return [
            Persist((EvidenceRecord(round_, evidence),)),
            Send(evidence),
            notice(round_, "evidence", text, node=evidence.accused.hex()),
        ]

    def received(self, state: State, evidence: Evidence) -> list[Effect]:
        """Evidence that a peer brought, of this round or an earlier one. Raises PeerError if it proves nothing."""
        account = account_of(state, evidence.accused)
        if evidence_id(evidence) in self._pool or (account is not None and account.punished_round != NEVER):
            return []
        self._check(state, evidence)
        return self.note(state.round, evidence)

    def fetched(self, state: State, event: EvidenceFetched) -> list[Effect]:
        """Evidence that a proposal names, as a peer gave it."""
        effects: list[Effect] = []
        for piece in event.evidence:
            try:
                self._check(state, piece)
                self._pool.add(piece, wanted=True)
            except PeerError as error:
                effects.append(Blame(event.source, error.rejection, str(error)))
        return effects

    def _check(self, state: State, evidence: Evidence) -> None:
        check_evidence(state, evidence)
        require_signature(self._verify, evidence.first)
        require_signature(self._verify, evidence.second)

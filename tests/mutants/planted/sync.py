"""Defects of catching up: headers, segments, claims."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Edit, Mutant, mutant

SYNC = "bflcd/net/sync.py"
FOLLOWING = "bflcd/node/following.py"
CERTIFICATE = "bflcd/consensus/certificate.py"
RACE = "bflcd/net/blobs/race.py"

SYNCED: Final = selection("net/test_sync_proof.py", "net/test_sync.py")
FOLLOWED: Final = selection("node/test_following.py", "node/test_maintenance.py")
CHAIN: Final = selection("consensus/test_certificate.py")
RACED: Final = selection("net/test_race.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "header-without-certificate",
        "a header is believed on a peer's word (section 8; row 48; FISCO FIB-127)",
        SYNC,
        "                self._verify_header(certified, previous)\n",
        "",
        SYNCED,
    ),
    mutant(
        "follower-verifies-nothing",
        "the node hands catch-up a verifier that verifies nothing (section 8; row 48)",
        FOLLOWING,
        "        verify_successor(previous, certified, context.params, context.head.state.managers, self._verify)\n",
        "        assert context and verify_successor\n",
        FOLLOWED,
    ),
    mutant(
        "certificate-of-another-header",
        "a true certificate proves another header (section 8)",
        SYNC,
        "if certified.certificate.digest != header_hash(header):",
        "if certified is None:",
        SYNCED,
    ),
    mutant(
        "header-of-another-chain",
        "headers of another chain are taken (row 28)",
        SYNC,
        "                if header.chain != self._chain:\n",
        "                if header is None:\n",
        SYNCED,
    ),
    mutant(
        "header-gap",
        "a header that does not follow is taken (section 8)",
        SYNC,
        "if header.kind != KIND_MODEL or header.round != previous.round + 1:",
        "if header.kind != KIND_MODEL:",
        SYNCED,
    ),
    mutant(
        "segment-of-another-header",
        "a segment is not compared with its proven header (section 8)",
        SYNC,
        "    if segment.model_header != header:\n",
        "    if segment is None:\n",
        SYNCED,
    ),
    mutant(
        "parent-link-unchecked",
        "update blocks of another chain stand in a segment (section 4)",
        SYNC,
        "        if block.parent != parent:\n",
        "        if block is None:\n",
        SYNCED,
    ),
    mutant(
        "body-hash-unchecked",
        "a body stands under a header that does not commit to it (section 4)",
        SYNC,
        "        if body_hash(body) != block.body:\n",
        "        if body is None:\n",
        SYNCED,
    ),
    mutant(
        "block-kind-unchecked",
        "a model block stands where an update block belongs (section 4)",
        SYNC,
        "if block is not segment.headers[-1] and block.kind != KIND_UPDATE:",
        "if block is None:",
        SYNCED,
    ),
    Mutant(
        "unproven-certificate-stored",
        "the certificate that came with a segment is stored, not the one that was proven (section 8)",
        (
            Edit(
                SYNC, "        told: list[str] = []\n\n        def holders", "        told, came = [], []\n\n        def holders"
            ),
            Edit(
                SYNC,
                "                segment = reply.certified.segment\n",
                "                segment = reply.certified.segment\n                came.append(reply.certified.certificate)\n",
            ),
            Edit(SYNC, "CertifiedSegment(segment, wanted.certificate)", "CertifiedSegment(segment, came[-1])"),
        ),
        (SYNCED,),
    ),
    mutant(
        "header-liar-unpunished",
        "who sends a forged header pays nothing (section 8)",
        "bflcd/net/sync.py",
        "                self._on_misbehaviour(node, wrong.rejection, str(wrong))\n",
        "",
        SYNCED,
    ),
    mutant(
        "segment-liar-unpunished",
        "who sends a wrong segment pays nothing (section 8)",
        SYNC,
        "                    self._on_misbehaviour(node, error.rejection, str(error))\n",
        "",
        SYNCED,
    ),
    mutant(
        "claims-believed",
        "a peer's claim alone takes the node out of its round (section 8)",
        "bflcd/node/following.py",
        "            try:\n                await self._chain_sync.run(",
        "            try:\n                await self._inbox.settle(SyncChanged(active=True))\n                await self._chain_sync.run(",
        FOLLOWED,
    ),
    mutant(
        "chain-walk-keeps-first-committee",
        "headers are held against the committee of the trusted one for ever (section 8)",
        CERTIFICATE,
        "        trusted = item.header\n",
        "        trusted = item.header if trusted.model is None else trusted\n",
        CHAIN,
    ),
    mutant(
        "chain-walk-time",
        "a header may be older than the one before it (row 20)",
        CERTIFICATE,
        "    if header.time <= parent.time:\n",
        "    if header.time < 0:\n",
        CHAIN,
    ),
    mutant(
        "genesis-of-another-chain",
        "a pinned chain id is not compared with the genesis that came (section 8)",
        SYNC,
        "    if chain is not None and found != chain:\n",
        "    if found is None:\n",
        SYNCED,
    ),
    mutant(
        "late-peer-unremembered",
        "a peer that takes every request and answers none costs its patience each time (section 8; row 15)",
        "bflcd/net/blobs/race.py",
        "            self.failed(late)\n",
        "            pass\n",
        RACED,
        SYNCED,
    ),
    mutant(
        "late-question-left-behind",
        "a good answer waits for the silent peers that were asked too (section 8; row 15)",
        "bflcd/scheduler.py",
        "                scope.cancel()\n",
        "                pass\n",
        RACED,
        SYNCED,
    ),
    mutant(
        "wrong-answer-unremembered",
        "who gave a wrong answer stands first again for the next question (section 8)",
        RACE,
        "                    return answer\n                self.failed(node)\n",
        "                    return answer\n",
        RACED,
    ),
    mutant(
        "lateness-never-forgiven",
        "a peer that was late once stands last for ever (section 8)",
        RACE,
        "                    self.answered(node)\n",
        "",
        RACED,
    ),
    mutant(
        "no-second-lane",
        "one silent peer holds a catch-up up until its deadline (section 8; row 15)",
        "bflcd/net/blobs/race.py",
        "await self._scheduler.first_done(owing, self.patience)",
        "await self._scheduler.first_done(owing, 1e6)",
        RACED,
        SYNCED,
    ),
    mutant(
        "lanes-unlimited",
        "while the network is slow, every peer is asked for the same 24 MB (section 8)",
        RACE,
        "if fresh and len(owing) < self.lanes:",
        "if fresh:",
        RACED,
    ),
    mutant(
        "late-answer-unheard",
        "an answer that comes after its patience is not waited for (section 8)",
        RACE,
        "            elif not owing:\n",
        "            elif not fresh:\n",
        RACED,
    ),
    mutant(
        "one-memory-for-headers-and-segments",
        "a peer that has pruned its segments is not asked for headers (section 8)",
        "bflcd/net/sync.py",
        "        self.segments_race = Race(self._limits.patience, scheduler=scheduler)\n",
        "        self.segments_race = self.headers_race\n",
        SYNCED,
    ),
    mutant(
        "old-claims-believed",
        "peers whose last claim is older than the proven header are not asked for its segment (section 8)",
        SYNC,
        "*able[:start], *sorted(node for node in claimed if node not in able)]",
        "*able[:start]]",
        SYNCED,
    ),
    mutant(
        "waits-for-the-unreliable",
        "a node that has caught up stays out of its round for a peer that never answers (section 8; row 15)",
        SYNC,
        "batch = await self._headers(head, claims, only_reliable=head.round > started)",
        "batch = await self._headers(head, claims, only_reliable=False)",
        SYNCED,
    ),
)

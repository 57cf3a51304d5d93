"""Defects of catching up: headers, segments, claims."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

SYNC = "bflcd/net/sync.py"
FOLLOWING = "bflcd/node/following.py"
CERTIFICATE = "bflcd/consensus/certificate.py"

SYNCED: Final = selection("net/test_sync_proof.py", "net/test_sync.py")
FOLLOWED: Final = selection("node/test_following.py", "node/test_upkeep.py")
CHAIN: Final = selection("consensus/test_certificate.py")

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
        "        verify_successor(previous, certified, situation.params, situation.head.state.managers, self._verify)\n",
        "        assert situation and verify_successor\n",
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
    mutant(
        "unproven-certificate-stored",
        "the certificate that came with a segment is stored, not the one that was proven (section 8)",
        SYNC,
        "return CertifiedSegment(segment, wanted.certificate)",
        "return reply.certified",
        SYNCED,
    ),
    mutant(
        "header-liar-unpunished",
        "who sends a forged header pays nothing (section 8)",
        SYNC,
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
        FOLLOWING,
        "            try:\n                await self._catch_up.run(",
        "            try:\n                await self._runtime.settle(SyncChanged(active=True))\n                await self._catch_up.run(",
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
)

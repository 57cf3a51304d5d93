"""Defects of blob transfer, of who may have what, and of what misbehaviour costs."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

BLOBS = "bflcd/net/blobs/fetcher.py"
RUNTIME = "bflcd/node/runtime/loop.py"

FETCHED: Final = selection("net/test_blobs.py")
SERVED: Final = selection("node/test_services.py", "net/test_blobs.py")
RUN: Final = selection("node/test_runtime.py")
ASKED: Final = selection("net/test_exchange.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "wrong-chunk-accepted",
        "a chunk is not hashed (section 8)",
        BLOBS,
        "if len(data) != length or await asyncio.to_thread(chunk_hash, data) != manifest.chunks[index]:",
        "if len(data) != length:",
        FETCHED,
    ),
    mutant(
        "wrong-only-chunk-accepted",
        "a blob of one chunk is not hashed (section 8)",
        BLOBS,
        "if len(data) != ref.size or blob_root(ref.size, manifest.chunks) != ref.root:",
        "if len(data) != ref.size:",
        FETCHED,
    ),
    mutant(
        "chunk-length-unchecked",
        "a chunk may have any length (section 8)",
        BLOBS,
        "if len(data) != length or await asyncio",
        "if length < 0 or await asyncio",
        FETCHED,
    ),
    mutant(
        "manifest-unchecked",
        "a manifest is not held against the root (section 8)",
        BLOBS,
        "if manifest.blob != ref or len(manifest.chunks) != count or blob_root(ref.size, manifest.chunks) != ref.root:",
        "if manifest.blob != ref or len(manifest.chunks) != count:",
        FETCHED,
    ),
    mutant(
        "sender-unpunished",
        "who sends wrong bytes pays nothing (section 8)",
        BLOBS,
        "        self._on_misbehaviour(node, error.rejection, str(error))\n        return error",
        "        return error",
        FETCHED,
    ),
    mutant(
        "liar-asked-again",
        "who sent wrong bytes is asked again and again (section 8)",
        "bflcd/net/blobs/holders.py",
        "            record.given_up = True\n        elif",
        "            record.given_up = False\n        elif",
        FETCHED,
    ),
    mutant(
        "blob-of-any-size",
        "a blob of any claimed size is fetched (row 38)",
        BLOBS,
        "        if ref.size > self._max_bytes:\n",
        "        if ref.size < 0:\n",
        FETCHED,
    ),
    mutant(
        "slow-holder-sets-the-pace",
        "nobody else fetches what one holder owes (row 15)",
        "bflcd/net/blobs/transfer.py",
        "max(holders.values()) <= overdue:",
        "max(holders.values()) < 0:",
        FETCHED,
    ),
    mutant(
        "unpublished-served-to-anyone",
        "an update of the running round is served to any member (section 5.2; row 47)",
        "bflcd/node/services.py",
        "        if round_ != context.round or peer not in context.committee:\n",
        "        if round_ != context.round:\n",
        SERVED,
    ),
    mutant(
        "server-asks-nobody",
        "the blob server does not ask who may see what (section 5.2; row 47)",
        "bflcd/net/blobs/server.py",
        "        if not self._may_serve(peer, request.root, request.closed):\n",
        "        if request is None:\n",
        SERVED,
    ),
    mutant(
        "own-update-unrestricted",
        "a trainer serves its unpublished update to any member (section 5.2; row 47)",
        "bflcd/node/runtime/compute.py",
        "        self._unpublished.made(blob.root, job.round)\n",
        "",
        RUN,
    ),
    mutant(
        "fetched-update-unrestricted",
        "a judge serves the updates that it scores to any member (section 5.2; row 47)",
        "bflcd/node/runtime/fetch.py",
        "            self._unpublished.offered(root, effect.round)\n",
        "            pass\n",
        RUN,
    ),
    mutant(
        "copied-payload-dropped",
        "a liar offers another's payload as its own, and who judges it loses it, or ends (section 5.2)",
        "bflcd/node/runtime/fetch.py",
        "return sound or any(",
        "return any(",
        RUN,
    ),
    mutant(
        "copied-payload-dropped-before",
        "the same, where the liar's is held against the specification first",
        "bflcd/node/runtime/fetch.py",
        "return sound or any(other == root and label != effect.label for other, label in self._running)",
        "return sound",
        RUN,
    ),
    mutant(
        "cards-told-to-anyone",
        "cards of the running round are given to any member (section 5.3)",
        "bflcd/node/services.py",
        "        if peer not in context.committee:\n",
        "        if peer is None:\n",
        SERVED,
    ),
    mutant(
        "specification-unchecked",
        "a fetched update is not held against the genesis specification (row 37)",
        "bflcd/node/runtime/fetch.py",
        "            self._numbers.check(data, effect.label)\n",
        "            assert data\n",
        RUN,
    ),
    mutant(
        "strangers-are-answered",
        "who is no member gets models, updates and state (row 47)",
        "bflcd/net/exchange.py",
        "if not member and not kind.for_strangers:",
        "if kind is type(None):",
        ASKED,
    ),
    mutant(
        "requests-unlimited",
        "a peer may send any number of requests a second (row 32)",
        "bflcd/net/exchange.py",
        "        if not self._requests[member].take(peer):\n",
        "        if self._requests[member] is None:\n",
        ASKED,
    ),
    mutant(
        "never-banned",
        "misbehaviour never bans (section 8; row 32)",
        "bflcd/net/scores.py",
        "banned_now = points < BAN_SCORE and record.banned_until <= now",
        "banned_now = False",
        selection("net/test_scores.py"),
    ),
)

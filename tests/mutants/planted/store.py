"""Defects of the store: records, marks, transactions, reads, pruning."""

from typing import Final

from tests.mutants.catchers import Simulated, selection
from tests.mutants.mutant import Edit, Mutant, mutant

MARKS = "bflcd/store/marks.py"
PRUNING = "bflcd/store/pruning.py"

CONFORMS: Final = selection(
    "conformance/test_chain_store.py",
    "conformance/test_record_store.py",
    "conformance/test_payload_store.py",
    "conformance/test_block_store.py",
)
POWERLESS: Final = selection("store/test_power_loss.py")
RELIED: Final = selection("core/test_reliance.py", "sim/test_other_store.py")
SQLITE: Final = selection("store/test_sqlite.py", "store/test_damage.py")
ROWS: Final = selection("store/test_blocks.py")
CRASH: Final = selection("store/test_crash.py")
MARKED: Final = selection("store/test_marks.py")
PRUNED: Final = selection("store/test_pruning.py", "store/test_pruner.py", "conformance/test_block_store.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "head-put-back-by-a-reader",
        "who reads the head while a block is committed puts the one before in its place, and the next block ends the node",
        "bflcd/store/sqlite_chain.py",
        "        if self._head is None and self._moves == moves:\n            self._head = found\n",
        "        self._head = found\n",
        SQLITE,
    ),
    mutant(
        "contradiction-stored",
        "a second vote in one place is stored without a word (rule 3)",
        "bflcd/store/blocks.py",
        "    elif held[0] != row.digest:\n",
        "    elif held[0] is None:\n",
        CONFORMS,
    ),
    mutant(
        "decided-round-signed",
        "records of a decided round are accepted (rule 3)",
        "bflcd/store/records.py",
        "    if record.round < head:\n",
        "    if record.round < 0:\n",
        CONFORMS,
    ),
    mutant(
        "own-records-pin-nothing",
        "the blobs that an own offer or card names may go (rule 3)",
        "bflcd/store/records.py",
        "return _blobs_named(record.envelope)",
        "return frozenset()",
        CONFORMS,
    ),
    mutant(
        "proposal-pins-no-model",
        "the model of a prepared segment may go (rule 1)",
        "bflcd/store/records.py",
        "frozenset((record.model.root,)).union(",
        "frozenset().union(",
        CONFORMS,
    ),
    mutant(
        "mark-not-synced",
        "the mark is written and not forced to the disk (rule 3)",
        MARKS,
        "        os.fdatasync(descriptor)\n",
        "",
        MARKED,
    ),
    mutant(
        "mark-goes-back",
        "the mark file takes a lower round (rule 3)",
        MARKS,
        "if self._mark is not None and (mark.round, mark.epoch) < (self._mark.round, self._mark.epoch):",
        "if self._mark is None and mark.round < 0:",
        MARKED,
    ),
    mutant(
        "mark-in-one-slot",
        "a torn write spoils the only copy of the last mark (rule 3; row 18)",
        MARKS,
        "(sequence % 2) * 2 * SECTOR_BYTES",
        "0",
        MARKED,
    ),
    mutant(
        "prepare-without-durable-payloads",
        "a prepare leaves while power loss would take its segment's payloads (rule 1; section 9)",
        "bflcd/core/round/segments.py",
        " for root in sorted(blobs))), tuple(blobs.values()))]",
        " for root in sorted(blobs))))] if blobs else []",
        RELIED,
        Simulated("power_loss"),
    ),
    mutant(
        "payloads-not-durable-before-records",
        "records are stored whose payloads nobody made durable (section 9)",
        "bflcd/store/block_store.py",
        "        if relies_on:\n            await self.payloads.make_durable(relies_on)\n",
        "",
        POWERLESS,
        RELIED,
        CONFORMS,
    ),
    mutant(
        "payloads-relied-on-without-a-sync",
        "SQLite syncs nothing for a transaction that leaves every page as it was (section 9)",
        "bflcd/store/blobs.py",
        "    for missing in (1, 0):\n",
        "    for missing in (0,):\n",
        SQLITE,
    ),
    mutant(
        "commit-in-two-transactions",
        "a crash leaves a block without its payloads (section 9; row 17)",
        "bflcd/store/sqlite_chain.py",
        "            insert_head(writer, head, certificate=certificate, segment=segment)\n            insert_payloads(",
        "            insert_head(writer, head, certificate=certificate, segment=segment)\n            writer.commit()\n"
        '            writer.execute("BEGIN IMMEDIATE")\n            insert_payloads(',
        CRASH,
        SQLITE,
    ),
    mutant(
        "votes-not-synced",
        "votes and blocks do not wait for the disk (section 9; gravity-sdk 743)",
        "bflcd/store/database.py",
        "{'FULL' if durable else 'NORMAL'}",
        "{'NORMAL' if durable else 'OFF'}",
        SQLITE,
    ),
    mutant(
        "chunk-unverified-on-read",
        "a flipped bit in a blob is served (section 9; row 19)",
        "bflcd/store/blobs.py",
        "        if not good:\n",
        "        if good is None:\n",
        SQLITE,
    ),
    mutant(
        "head-state-unverified",
        "a damaged ledger at the head is believed (row 19)",
        "bflcd/store/blocks.py",
        "if head.header.model is None or state_hash(head.state) != head.header.model.state:",
        "if head.header.model is None:",
        ROWS,
    ),
    mutant(
        "record-checksum-ignored",
        "a damaged vote is read as if it were whole (row 19)",
        "bflcd/store/rows.py",
        "if checksum(round_, kind, place, digest, body) != whole:",
        "if whole is None:",
        SQLITE,
    ),
    mutant(
        "commit-without-parent",
        "a segment is committed on another block than the head (section 9)",
        "bflcd/store/chain.py",
        "if first.parent != head.hash or header.chain != head.header.chain:",
        "if header.chain != head.header.chain:",
        CONFORMS,
    ),
    mutant(
        "commit-of-another-state",
        "a state is stored that the header does not commit to (section 9)",
        "bflcd/store/chain.py",
        "header.model.state != state_hash(state) or ",
        "",
        CONFORMS,
    ),
    mutant(
        "prune-removes-pinned",
        "a prune takes what a prepared segment needs (section 9)",
        PRUNING,
        " and payload.root not in needs.pinned\n",
        "\n",
        PRUNED,
    ),
    mutant(
        "prune-removes-head",
        "a prune takes the model that a restart needs (section 9)",
        PRUNING,
        "payload.newest < first_kept(needs, keep)",
        "payload.newest <= first_kept(needs, keep)",
        PRUNED,
    ),
    mutant(
        "prune-removes-undecided",
        "a prune takes payloads of a round with records (section 9)",
        PRUNING,
        "needs.head, *needs.undecided)",
        "needs.head)",
        PRUNED,
    ),
    mutant(
        "stale-takes-new",
        "an update that just came is discarded as stale (section 9)",
        PRUNING,
        "payload.begun < round_",
        "payload.begun <= round_",
        PRUNED,
    ),
    Mutant(
        "prune-judged-once",
        "a prune takes a blob that was pinned while it ran (section 9)",
        (
            Edit(
                "bflcd/store/pruner.py",
                "return may_prune(payload, await self._index.needs(), keep)",
                "return may_prune(payload, needs, keep)",
            ),
        ),
        (PRUNED, SQLITE),
    ),
)

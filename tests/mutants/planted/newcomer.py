"""Defects at the door: which community is joined, what its genesis may do here, whose history is taken, what peers write."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

JOINING = "bflcd/node/joining.py"
ADMISSION = "bflcd/node/admission.py"
HISTORY = "bflcd/node/history.py"
FOLLOWING = "bflcd/node/following.py"
SYNC = "bflcd/net/sync.py"
FIELDS = "bflcd/wire/fields.py"
LIMITS = "bflcd/limits.py"

JOINED: Final = selection("node/test_joining.py")
SHOWN: Final = selection("node/test_history.py")
WRITTEN: Final = selection("wire/test_printable.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "joins-unasked",
        "without a chain id and a terminal, the first peer's genesis is taken",
        JOINING,
        "    if pinned is None and not config.node.trust_first_peer and consent is None:\n",
        "    if pinned is None and config is None:\n",
        JOINED,
    ),
    mutant(
        "any-peer-is-the-first",
        "any peer that has called gives the genesis, not the one that the operator named",
        JOINING,
        "            return nodes if self._pinned is not None else [node for node in nodes if self._is_named(node)]\n",
        "            return nodes\n",
        JOINED,
    ),
    mutant(
        "strangers-end-a-newcomer",
        "whoever calls a newcomer and is on another chain ends its start",
        JOINING,
        "            if named and isinstance(error, PeerError)",
        "            if isinstance(error, PeerError)",
        JOINED,
    ),
    mutant(
        "laggards-let-go",
        "members that were away for longer let a node go that was away",
        "bflcd/node/history.py",
        "sum(1 for round_ in claims.values() if head.round - LATE <= round_ <= head.round)",
        "sum(1 for round_ in claims.values() if round_ <= head.round)",
        selection("node/test_history.py::test_members_that_were_away_themselves_let_nobody_go"),
    ),
    mutant(
        "task-of-any-name",
        "a genesis names a module that the newcomer imports",
        ADMISSION,
        "    if factory not in SHIPPED and factory not in tasks.allow:\n",
        '    if factory not in SHIPPED and ":" not in factory:\n',
        JOINED,
    ),
    mutant(
        "model-of-any-size",
        "a genesis names 1.5 GiB for tensors of 77 kB",
        ADMISSION,
        "    if genesis.model.size != expected:\n",
        "    if genesis.model.size < expected:\n",
        JOINED,
    ),
    mutant(
        "shown-before-admitted",
        "what is not admitted is put before the operator",
        JOINING,
        "    check_admissible(genesis, config.tasks)\n    summary =",
        "    summary =",
        JOINED,
    ),
    mutant(
        "fewer-than-all-liars-asked",
        "f members alone give a newcomer a history",
        HISTORY,
        "min(faults(members), MOST_FAULTS) + 1",
        "min(faults(members), MOST_FAULTS)",
        SHOWN,
    ),
    mutant(
        "boldest-claim-taken",
        "one member's proven headers are applied, whoever else shows them",
        HISTORY,
        "                return batch[: self._guard.confirmed([witness.agrees for witness in witnesses])]\n",
        "                return batch\n",
        SHOWN,
    ),
    mutant(
        "fork-unseen",
        "of two proven histories the newcomer takes the one that more members show",
        HISTORY,
        "                check_one_history(batch, witnesses)\n",
        "",
        SHOWN,
    ),
    mutant(
        "trusted-head-unchecked",
        "a history that only reaches the round of the trusted head passes for one that contains it",
        HISTORY,
        "            if path.get(trusted.round) == trusted.hash:\n                self._path",
        "            if trusted.round in path:\n                self._path",
        SHOWN,
    ),
    mutant(
        "old-head-trusted",
        "who was away for a year follows whoever has the old keys",
        HISTORY,
        "        return self._now() - head.time <= RECENT\n",
        "        return head.time >= 0\n",
        SHOWN,
    ),
    mutant(
        "takes-part-while-held",
        "a newcomer without witnesses trains for the committee of a history that nobody has vouched for",
        FOLLOWING,
        "            return  # a history that nobody",
        "            pass  # a history that nobody",
        SHOWN,
    ),
    mutant(
        "behind-counts-as-beside",
        "members that lag let a newcomer go while another proves more than was applied",
        HISTORY,
        "        beside = 0 if self.proven_ahead else sum(",
        "        beside = sum(",
        SHOWN,
    ),
    mutant(
        "other-history-blamed",
        "a node on a forged history bans those on the true one",
        FOLLOWING,
        "            return True\n",
        "            return False\n",
        SHOWN,
    ),
    mutant(
        "splice-blamed",
        "who serves the true block after forged ones is charged for it",
        SYNC,
        "                    raise _broken(wanted.header, previous) from error\n",
        "                    pass\n",
        SHOWN,
    ),
    mutant(
        "text-unread",
        "a peer's escape codes pass the decoder",
        FIELDS,
        "        if not is_printable(value):\n            raise malformed(",
        "        if value is None:\n            raise malformed(",
        WRITTEN,
    ),
    mutant(
        "direction-marks-printable",
        "a name is read from right to left",
        LIMITS,
        "\\u2028-\\u202e",
        "\\u2028-\\u2029",
        WRITTEN,
    ),
)

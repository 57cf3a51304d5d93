"""Defects of what an overloaded node leaves to others, and of when it is one (section 8, Waits)."""

from typing import Final

from tests.mutants.catchers import selection
from tests.mutants.mutant import Mutant, mutant

SHEDDING = "bflcd/core/shedding.py"
RECEPTION = "bflcd/core/reception.py"
GOSSIP = "bflcd/net/gossip.py"
EXCHANGE = "bflcd/net/exchange.py"
OVERLOAD = "bflcd/node/load/overload.py"
REQUESTS = "bflcd/node/load/shedding.py"

LEFT: Final = selection("net/test_shedding.py")
MEASURED: Final = selection("node/test_overload.py")
PAST: Final = selection("core/test_past_rounds.py")

MUTANTS: Final[tuple[Mutant, ...]] = (
    mutant(
        "votes-are-left",
        "an overloaded node without a seat leaves cards and votes of the running round too",
        SHEDDING,
        " and payload[2] in _OF_TRAINERS:",
        ":",
        LEFT,
    ),
    mutant(
        "seats-leave-offers",
        "an overloaded judge leaves beacons and offers: members are absent from its card",
        SHEDDING,
        "round_ == stands.round and not stands.judges and",
        "round_ == stands.round and",
        LEFT,
    ),
    mutant(
        "the-next-round-is-over",
        "an overloaded node leaves what is of the running round as if it were decided",
        SHEDDING,
        "    if round_ < stands.round:\n",
        "    if round_ <= stands.round:\n",
        LEFT,
    ),
    mutant(
        "left-and-taken-in",
        "what is left is confirmed as taken in, so that nobody says it again",
        GOSSIP,
        "            return True if shed is Shed.OVER else None\n",
        "            return True\n",
        LEFT,
    ),
    mutant(
        "who-lags-gets-nothing",
        "an overloaded node leaves all messages of decided rounds: who lags is not answered (6.2)",
        GOSSIP,
        "(shed is Shed.OVER and not self._over.take(forwarder))",
        "shed is Shed.OVER",
        LEFT,
    ),
    mutant(
        "always-overloaded",
        "a node that keeps up leaves messages all the same",
        GOSSIP,
        " if stands is not None and stands.overloaded else None",
        " if stands is not None else None",
        LEFT,
    ),
    mutant(
        "overloaded-nodes-answer-nobody",
        "an overloaded node refuses all that others can answer too: where all are, nobody catches up",
        EXCHANGE,
        "        if self._sheds(request) and not self._spared.take(peer):\n",
        "        if self._sheds(request):\n",
        LEFT,
    ),
    mutant(
        "each-stranger-has-its-own",
        "strangers, who cost nothing, have an allowance each at an overloaded node",
        EXCHANGE,
        "            self._spare(peer if member else _STRANGERS, request)\n",
        "            self._spare(peer, request)\n",
        LEFT,
    ),
    mutant(
        "late-requests-are-worked-on",
        "a request that nobody waits for any more is worked on when its turn comes",
        EXCHANGE,
        "                if self._now() - since > PATIENCE * 1000:\n",
        "                if False:\n",
        LEFT,
    ),
    mutant(
        "the-rounds-model-can-wait",
        "an overloaded node refuses the running round's model",
        REQUESTS,
        "root != context.head_blob.root and ",
        "",
        MEASURED,
    ),
    mutant(
        "the-rounds-offers-can-wait",
        "an overloaded trainer refuses the update that it alone holds",
        REQUESTS,
        " and unpublished.round_of(root) != context.round",
        "",
        MEASURED,
    ),
    mutant(
        "the-chain-can-wait",
        "an overloaded node refuses what who catches up needs all at once",
        REQUESTS,
        "        case GetGenesis():\n",
        "        case GetGenesis() | Request():\n",
        MEASURED,
    ),
    mutant(
        "overload-flickers",
        "an overload ends with the first measure that is small: a warning for each breath",
        OVERLOAD,
        "self._well < LASTING if was_on else",
        "self._well <= 0 if was_on else",
        MEASURED,
    ),
    mutant(
        "overload-never-ends",
        "one long halt is held against a node for minutes",
        OVERLOAD,
        "min(theirs, most)",
        "theirs",
        MEASURED,
    ),
    mutant(
        "old-words-are-decoded",
        "what is of a decided round is decoded to its end (section 8)",
        RECEPTION,
        "        if of < context.round:  # the rest of it is of no use to anybody, and is not read\n"
        "            return self._other_round(round_, event, envelope, of, now), []\n",
        "",
        PAST,
    ),
)

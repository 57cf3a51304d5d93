"""What daemons that ask (`bflcd.learn.questions`) learn of their judges, by what they hold themselves: the chain, their own rows.

Offers that were not packed are on no disk any more, but what an asker offered follows from the round's model, its rows and its
turn. So each question is made anew, and counts only if its hash is that of the offer which the cards are about.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from bflcd.config import Config, load_config
from bflcd.errors import MachineError, UsageError
from bflcd.inspect.reader import open_reader
from bflcd.lab.disclosures import DISCLOSURES, HERE
from bflcd.lab.questions.answers import interval
from bflcd.lab.questions.inference import Asked, Belief, log_odds
from bflcd.lab.questions.interrogation import LEAST_SITTINGS, Learned, Record
from bflcd.learn.adversary import asker_of, class_count, offered, turn_of
from bflcd.learn.attacks import Attack
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import as_tensor
from bflcd.learn.questions.asker import Asker, suspected
from bflcd.learn.questions.prediction import Prediction
from bflcd.learn.task import Community, Task, find_task
from bflcd.learn.training import DeviceRows
from bflcd.ledger.disclosure import GAIN_LEVELS, REFUSED, balances
from bflcd.ledger.judging import judging_of
from bflcd.ledger.state import State, genesis_header, genesis_state
from bflcd.ledger.transition import apply
from bflcd.params import Genesis
from bflcd.store.sqlite import SqliteStore
from bflcd.types import MicroNats, NodeId, Round
from bflcd.wire.blocks import Header, Segment
from bflcd.wire.envelope import Signed, open_envelope, verify_envelope
from bflcd.wire.messages import Offer, ScoreCard
from bflcd.wire.tensors import blob_ref, split_payload, update_label

CPU: Final = torch.device("cpu")

Words = tuple[tuple[NodeId, MicroNats], ...]
"""What judges said of one offer."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One question and what cards say of it. `least`: the gain that qualified; `own`: its gain on the `record` that it is about,
    which is of class `label`."""

    prediction: Prediction
    least: MicroNats
    words: Words
    record: int | None = None
    own: float = 0.0
    label: int = 0


@dataclass(frozen=True, slots=True)
class Listened:
    """What came out. `questions` were asked and heard, `others` offers of the askers were none (honest, or of other bytes)."""

    rounds: int
    questions: int
    others: int
    learned: tuple[Learned, ...]
    records: tuple[Record, ...]


class Askers:
    """The askers of one community together: who they are, what each asks, and by which rows they expect what of the answer.

    What was pushed along the losses of an asker's own rows does more to them than to anybody else's, so its fellows' rows tell
    what to expect of judges; its own only where it asks alone.
    """

    def __init__(self, task: Task, attack: Attack, members: Mapping[NodeId, DataConfig]) -> None:
        """`members`: how each asker's part of the data is dealt. Raises OperatorError."""
        sets = {node: task.load(config) for node, config in members.items()}
        self.strength = attack.strength
        self.each = {node: _made(asker_of(attack, task, members[node], data, CPU)) for node, data in sets.items()}
        self.classes = max(class_count(data) for data in sets.values())
        rows = {node: DeviceRows.of(data.own, CPU) for node, data in sets.items()}
        self.expecting: dict[NodeId, Asker] = {}
        for node, one in self.each.items():
            others = [held for other, held in rows.items() if other != node] or [rows[node]]
            self.expecting[node] = Asker(task, _joined(others), one.records, self.classes)


def _made(asker: Asker | None) -> Asker:
    assert asker is not None, "only an attack that asks has askers"
    return asker


def _joined(rows: Sequence[DeviceRows]) -> DeviceRows:
    return DeviceRows(torch.cat([one.inputs for one in rows]), torch.cat([one.targets for one in rows]))


async def listen(nodes: Mapping[NodeId, Path]) -> Listened:
    """What the askers of a testnet learned; `nodes`: the data directories of its nodes.

    Raises UsageError (`no_askers`, `bad_setting`), OperatorError, MachineError, PeerError for a chain that does not hold.
    """
    torch.set_num_threads(1)  # as the askers' workers: sums come out the same
    configs = {node: load_config(datadir, {}, {}).config for node, datadir in nodes.items()}
    asking = _asking(configs)
    async with open_reader(nodes[next(iter(asking))]) as store:
        genesis = await store.genesis()
        if genesis is None:
            raise MachineError("the asker has no genesis", hint="start the testnet once: it then has one", code="no_genesis")
        if genesis.params.validation_fraction:
            raise UsageError(
                "which of its rows a judge judges on is its secret here, so nobody knows what is true of them",
                hint="ask on a testnet with validation_fraction = 0, the usual one",
                code="bad_setting",
            )
        task = find_task(genesis.task.factory, dict(genesis.task.options))
        askers = Askers(task, asking[next(iter(asking))], {node: configs[node].data.for_worker() for node in asking})
        walk = _Walk(genesis, askers)
        while (certified := await store.segment(Round(walk.state.round + 1))) is not None:
            await walk.listen(store, certified.segment)
    config = configs[next(iter(asking))].data.for_worker()
    community = task.load_all(config)
    places = {node: configs[node].data.index for node in nodes if node not in asking}
    public = _shares(community.rows.targets[np.concatenate(community.parts)], askers.classes)
    rows, balanced = {node: walk.rows_of(node) for node in places}, balances(genesis.params)
    beliefs = conclude(walk.heard, rows, public, config.alpha, balanced=balanced)
    known = [node for node in places if walk.sittings.get(node, 0) >= LEAST_SITTINGS]
    learned = tuple(_learned(community, places[node], public, beliefs[node]) for node in known)
    odds = membership(walk.heard, beliefs)
    positions = suspected(community, config.seed)
    records = tuple(record for node in known for record in _matched(community, places[node], positions, odds[node]))
    return Listened(walk.state.round, len(walk.heard), walk.others, learned, records)


class _Walk:
    """Where the reading of the chain stands, and what was heard."""

    def __init__(self, genesis: Genesis, askers: Askers) -> None:
        self._genesis, self._askers = genesis, askers
        self.state: State = genesis_state(genesis)
        self._header: Header = genesis_header(genesis)
        self._samples: dict[NodeId, int] = {}
        self.heard: list[Heard] = []
        self.sittings: dict[NodeId, int] = {}
        self.others = 0

    def rows_of(self, judge: NodeId) -> int:
        """How many rows a judge looks at, by what it said to have trained on; of who was never packed, as the others' middle."""
        usual = int(np.median(list(self._samples.values()))) if self._samples else 1
        return min(self._samples.get(judge, usual), self._genesis.params.score_rows)

    async def listen(self, store: SqliteStore, segment: Segment) -> None:
        """Hear what the cards of one round say, and go on to the next."""
        assert self._header.blob is not None
        payload = await store.blob(self._header.blob.root)
        if payload is None:
            raise MachineError(
                f"the model of round {self.state.round} is not held, so nobody can say what was asked of it",
                hint="ask on a testnet whose nodes keep everything (store.mode = archive, the usual one)",
                code="no_payload",
            )
        cards = [open_envelope(envelope, (ScoreCard,)) for envelope in segment.model.cards]
        for card in cards:
            self.sittings[card.author] = self.sittings.get(card.author, 0) + 1
        for node in self._askers.each:
            self._hear(node, payload, cards)
        for update in segment.updates:
            if update.offer is not None:
                offer = open_envelope(update.offer, (Offer,))
                self._samples[offer.author] = offer.body.samples
        self.state = apply(self._genesis.params, self.state, self._header, segment, verify_envelope)
        self._header = segment.model_header

    def _hear(self, node: NodeId, payload: bytes, cards: Sequence[Signed[ScoreCard]]) -> None:
        """What cards say of the question of one asker."""
        entries = [(card.author, entry) for card in cards for entry in card.body.entries if entry.uploader == node]
        judging = judging_of(self._genesis.params, self.state, node)
        if not entries:
            return
        spec, round_, askers = self._genesis.task.tensors, self.state.round, self._askers
        counters, weights = split_payload(payload, spec, label=None)
        model = as_tensor(weights)
        question = askers.each[node].question(model, turn_of(round_, node, askers.each), judging, askers.strength)
        root = blob_ref(offered(question.update, counters, spec, update_label(self.state.chain, round_, node))).root
        said = [(judge, entry.gain) for judge, entry in entries if entry.root == root and judge not in askers.each]
        words = tuple((judge, gain) for judge, gain in said if gain == REFUSED or gain in GAIN_LEVELS)
        if all(entry.root != root for _, entry in entries):
            self.others += 1
        if not words:
            return
        update, expecting = question.update[None], askers.expecting[node]
        (prediction,) = expecting.predict(model, update, judging)
        record, own, label = question.record, 0.0, 0
        if record is not None:
            row = expecting.records.part(record, record + 1)
            own, label = float(expecting.gains(model, update, row, judging)[0, 0]), int(row.targets[0])
        self.heard.append(Heard(prediction, judging.words[0], words, record, own, label))


def conclude(
    heard: Sequence[Heard],
    rows: Mapping[NodeId, int],
    public: NDArray[np.float64],
    alpha: float,
    seed: int = 0,
    *,
    balanced: bool = False,
) -> dict[NodeId, Belief]:
    """What is thought of the class shares of each judge of so many `rows`; `alpha`: how much they differ from `public`;
    `balanced`: whether their classes count too."""
    rng = np.random.default_rng(seed)
    beliefs = {judge: Belief(public, alpha * len(public), count, rng, balanced=balanced) for judge, count in rows.items()}
    for question in heard:
        for judge, word in question.words:
            if judge in beliefs:
                beliefs[judge].hear(question.prediction, interval(word, GAIN_LEVELS, question.least), 0.0)
    return beliefs


def membership(heard: Sequence[Heard], beliefs: Mapping[NodeId, Belief]) -> dict[NodeId, dict[int, float]]:
    """The logarithm of the odds that a judge holds a record, by judge and record, by what is thought of its class shares."""
    odds: dict[NodeId, dict[int, float]] = {judge: {} for judge in beliefs}
    for question in heard:
        for judge, word in question.words:
            if question.record is not None and judge in odds:
                answer = interval(word, GAIN_LEVELS, question.least)
                of = Asked(np.array([question.own]), question.label)
                told = log_odds(beliefs[judge], question.prediction, of, answer, DISCLOSURES[HERE].noise)
                odds[judge][question.record] = odds[judge].get(question.record, 0.0) + told
    return odds


# -- what is true -------------------------------------------------------------------------------------------------------------


def _asking(configs: Mapping[NodeId, Config]) -> dict[NodeId, Attack]:
    """The nodes that ask, and how."""
    found = {node: config.attack.for_worker(node) for node, config in configs.items()}
    playing = {node: attack.find() for node, attack in found.items() if attack is not None}
    asking = {node: attack for node, attack in playing.items() if attack.asks}
    if not asking:
        raise UsageError(
            "nobody asks on this testnet", hint="make one with bflcd testnet --attack asker --attackers 3", code="no_askers"
        )
    return asking


def _shares(labels: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    return np.asarray(np.bincount(labels, minlength=classes) / len(labels))


def _learned(community: Community, part: int, public: NDArray[np.float64], belief: Belief) -> Learned:
    """What is thought of one judge beside what is true."""
    labels = community.rows.targets[community.parts[part]]
    return Learned(part, len(labels), _shares(labels, len(public)), public, {HERE: belief.mean()})


def _matched(community: Community, part: int, positions: Sequence[int], odds: Mapping[int, float]) -> list[Record]:
    """Of the records that were asked of one judge those that it holds, each with one of the same class that it does not."""
    holds = np.isin(positions, community.parts[part])
    labels = community.rows.targets[list(positions)]
    others = [number for number in odds if not holds[number]]
    found = []
    for number in odds:
        alike = next((other for other in others if labels[other] == labels[number]), None)
        if holds[number] and alike is not None:
            others.remove(alike)
            found += [Record(part, positions[one], bool(holds[one]), {HERE: odds[one]}) for one in (number, alike)]
    return found

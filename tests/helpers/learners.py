"""A community that really learns, round by round in one process: true training, scoring, judgement, election, aggregation."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from bflcd.learn.aggregate import WeightedUpdate, aggregate
from bflcd.learn.data import DataConfig
from bflcd.learn.flat import FlatModel
from bflcd.learn.partition import split_validation
from bflcd.learn.protocol import ScoreJob, TrainJob, UpdateToScore
from bflcd.learn.scoring import Scorer, evaluate
from bflcd.learn.task import Rows, find_task
from bflcd.learn.training import DeviceRows, initial_model, never, train
from bflcd.ledger.disclosure import REFUSED, coarse_accuracy, margin, row_limit, said_accuracy, said_gain
from bflcd.ledger.influence.step_limit import step_limit
from bflcd.ledger.judgement import Judgement
from bflcd.types import Digest, MicroNats, NodeId, Round
from bflcd.wire.envelope import Signed
from bflcd.wire.messages import CardEntry, ScoreCard
from bflcd.wire.tensors import join_payload, split_payload
from tests.helpers.learning import task_spec
from tests.helpers.ledger import Community, make_card, make_community, make_entry, make_offer, play

CPU = torch.device("cpu")

Attack = Callable[[np.ndarray, int], np.ndarray]
"""What a trainer offers instead of its update, by round."""

Lie = Callable[[CardEntry, NodeId], CardEntry]
"""What a liar writes instead of an entry; told whose offer it is."""


class Learners:
    """`nodes` nodes with digits of their own. `attacks`: trainers that offer something else; `lies`: members that write something else."""

    def __init__(self, nodes: int = 10, committee: int = 4, places: int = 6, *, seed: int = 4, alpha: float = 1.0) -> None:
        self.community: Community = make_community(nodes, committee, places)
        self.task = find_task("digits", {})
        self.tensors, self.model = initial_model(self.task, seed)
        self.spec, self.flat = task_spec("digits", self.tensors), FlatModel(self.task.build_model(), self.tensors, CPU)
        self.training: dict[NodeId, DeviceRows] = {}
        self.validation: dict[NodeId, DeviceRows] = {}
        for index, node in enumerate(self.community.members):
            data = self.task.load(DataConfig(partition="dirichlet", index=index, count=nodes, seed=seed, alpha=alpha))
            own, held = split_validation(len(data.own), 200_000, index)
            self.training[node] = DeviceRows.of(Rows(data.own.inputs[own], data.own.targets[own]), CPU)
            self.validation[node] = DeviceRows.of(Rows(data.own.inputs[held], data.own.targets[held]), CPU)
        self.test = DeviceRows.of(data.test, CPU)
        self.attacks: Mapping[NodeId, Attack] = {}
        self.lies: Mapping[NodeId, Lie] = {}
        self.cards: dict[NodeId, Signed[ScoreCard]] = {}
        self.judgement: Judgement | None = None

    def updates(self) -> dict[NodeId, tuple[np.ndarray, int]]:
        """What every trainer of the round offers, and from how many samples."""
        round_, found = self.community.state.round, {}
        for number, node in enumerate(self.community.outsiders):
            job = TrainJob(Round(round_), self.model, round_ * 1000 + number, "u")
            result = train(self.flat, self.task, self.spec, self.training[node], job)
            update = split_payload(result.update, self.tensors, label="u")[1]
            if node in self.attacks:
                update = self.attacks[node](update, round_).astype(np.float32)
            found[node] = (update, result.samples)
        return found

    def payload(self, update: np.ndarray) -> bytes:
        counters = split_payload(self.model, self.tensors, label=None)[0]
        return join_payload(counters, update, self.tensors, label="u")

    def play(self) -> Judgement:
        """One round: train, score, judge, elect, aggregate."""
        community, updates = self.community, self.updates()
        offers = {node: make_offer(community, node, samples=samples) for node, (_, samples) in updates.items()}
        payloads = {node: self.payload(update) for node, (update, _) in updates.items()}
        self.cards = {member: self.card(member, offers, payloads) for member in community.state.committee}
        self.known = community.state.known
        chosen = tuple(sorted(list(self.cards.values())[: community.q], key=lambda card: card.author))
        played = play(community, chosen, offers.values())
        packed = played.outcome.packed
        entries = [WeightedUpdate(p.weight, "u", payloads[p.judgement.uploader]) for p in packed]
        self.model = aggregate("fedavg", self.model, entries, self.tensors, played.outcome.step_limit)
        self.community, self.judgement = played.after, played.outcome.judgement
        return played.outcome.judgement

    def card(self, member: NodeId, offers: Mapping[NodeId, object], payloads: Mapping[NodeId, bytes]) -> Signed[ScoreCard]:
        """What a member says of all offers."""
        nodes = {Digest(bytes([place]) * 32): node for place, node in enumerate(offers)}
        candidates = tuple(UpdateToScore(key, payloads[node], "u") for key, node in nodes.items())
        round_ = self.community.state.round
        params, state = self.community.params, self.community.state
        seed, limit = round_ * 100 + self.community.members.index(member), step_limit(params.norm_clip, state.usual_norm)
        job = ScoreJob(Round(round_), self.model, candidates, seed, 256, 4, limit=limit, row_limit=row_limit(params))
        result = Scorer(self.flat, self.task, self.validation[member]).score(job, never)
        least = MicroNats(-margin(params, state.known))
        entries = []
        for score in result.scores:
            node, gain = nodes[score.key], said_gain(score.gain, least)
            entry = make_entry(offers[node], gain, said_accuracy(params, gain, score.accuracy), score.norm)  # type: ignore[arg-type]
            entries.append(self.lies[member](entry, node) if member in self.lies else entry)
        return make_card(
            self.community, member, entries, base_loss=result.base_loss, base_accuracy=coarse_accuracy(result.base_accuracy)
        )

    def accuracy(self) -> float:
        """Of the model, on rows that nobody trains on; in percent."""
        return (evaluate(self.flat, self.task, self.test, self.model, never).accuracy or 0) / 10_000


def noise(scale: float, seed: int = 1) -> Attack:
    """Gaussian noise instead of the update, as long as it times `scale`."""

    def attack(update: np.ndarray, round_: int) -> np.ndarray:
        drawn = np.random.default_rng((seed, round_)).standard_normal(update.shape)
        return drawn / np.linalg.norm(drawn) * np.linalg.norm(update) * scale

    return attack


def praise(friends: frozenset[NodeId]) -> Lie:
    """Colluders: friends gain as nobody else does, everybody else does harm."""

    def lie(entry: CardEntry, node: NodeId) -> CardEntry:
        good = node in friends
        return replace(entry, gain=900_000 if good else REFUSED, accuracy=1_000_000 if good else 0)

    return lie

"""One round of each framework, from a model to the next: BFLC under the ledger's rules, and the servers it is compared with.

All train the same devices' rows with the same engine, hyperparameters and seeds; they differ in who takes part, who judges, and
how the updates become a step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bflcd.lab.adversaries import Adversaries
from bflcd.lab.chain import CardLines, Decision, LabChain
from bflcd.lab.config import SimulationConfig
from bflcd.lab.copies import find_copies
from bflcd.lab.devices import Devices
from bflcd.lab.disclosures import DISCLOSURES
from bflcd.lab.engine.base import Engine, Pace, Scores, Trainee
from bflcd.lab.engine.privacy import Budgets
from bflcd.lab.exact import aggregate
from bflcd.lab.mixing import MIXINGS
from bflcd.lab.rng import Draw, generator, number
from bflcd.lab.rules import RULES, AggregationInput
from bflcd.learn.checks.alike import Comparison
from bflcd.learn.labels.calibration import strength
from bflcd.learn.lies.cards import Measurements
from bflcd.learn.lies.gauge import cost_in_margins
from bflcd.learn.protocol import CANARY, NORM_LIMIT, NORM_SCALE_BITS
from bflcd.ledger.disclosure import balances, coarse_accuracy, coarse_loss, measures_fresh, row_range
from bflcd.ledger.influence.step_limit import step_limit
from bflcd.ledger.judgement import OfferJudgement, Reason
from bflcd.ledger.judging import judging_of
from bflcd.ledger.trust.margin import margin_of
from bflcd.ledger.trust.noise import Noise, Rows
from bflcd.ledger.trust.oddness import odd_offers
from bflcd.params import MILLION, TaskSpec
from bflcd.registry import entry_of
from bflcd.types import Digest, Epoch, MicroNats, PartsPerMillion, Round
from bflcd.wire.tensors import VALUE_LIMIT

_BASE: Final = Digest(bytes(32))
"""What is said of the base, among what a judge says of offers."""

ROOT_ROWS: Final = 100
"""Rows of FLTrust's server (Cao et al. 2021, V-A)."""


ODD_GAIN: Final = -(2**40)
"""What an offer that a judge finds odd is said to gain: less than any margin."""


@dataclass(frozen=True, slots=True)
class Step:
    """A round's result: the next model, and what is worth recording."""

    model: Tensor
    facts: dict[str, Any]


class Framework(ABC):
    """Goes from model to model; `moved` is the last step, zeros at first."""

    def __init__(self, config: SimulationConfig, devices: Devices, engine: Engine) -> None:
        self._config, self._devices, self._engine = config, devices, engine
        self.adversaries = Adversaries(config, devices.adversaries)
        self.budgets = Budgets(config)
        self.moved = torch.zeros(engine.weights, device=engine.device)
        self.round = 0

    def step(self, model: Tensor, pace: Pace) -> Step:
        """One round."""
        found = self._step(model, pace)
        self.moved = found.model - model
        self.round += 1
        return found

    def calibration(self, spec: TaskSpec) -> float:  # noqa: ARG002 - who has judges knows how right the model is
        """`learn.labels.calibration.strength` of the next round: none where nobody judges, as in the published rules."""
        return 0.0

    @abstractmethod
    def _step(self, model: Tensor, pace: Pace) -> Step:
        """One round."""

    def _updates(self, model: Tensor, offering: Sequence[int], pace: Pace, *, split: bool) -> tuple[Tensor, list[int]]:
        """What `offering` offer, [offering, weights], and the samples that they claim."""
        rows = [self._devices.trained_on(device, split=split, round_=self.round) for device in offering]
        seeds = [number(self._config.seed, Draw.TRAINING, self.round, device) for device in offering]
        noisy = [self.budgets.spend(*of) for of in zip(offering, map(len, rows), seeds, strict=True)]
        trainees = [Trainee(*of) for of in zip(rows, seeds, noisy, strict=True)]
        updates = self._engine.train(model, trainees, pace)
        self.adversaries.forge(offering, updates, self.moved, self.round, self._cost(model, offering))
        return updates, [len(part) for part in rows]

    def _cost(self, model: Tensor, offering: Sequence[int]) -> Callable[[Tensor], float] | None:
        """How the adversaries among `offering` tell what an offer would cost judges; None where nobody judges."""
        del model, offering
        return None


class Server(Framework):
    """A server that draws its trainers and trusts its rule."""

    def __init__(self, config: SimulationConfig, devices: Devices, engine: Engine) -> None:
        super().__init__(config, devices, engine)
        self._rule, self._mix = RULES[config.framework], MIXINGS[config.mixing]
        pool = np.concatenate(devices.all_rows)
        drawn = generator(config.seed, Draw.ROOT_ROWS).permutation(len(pool))[:ROOT_ROWS]
        self._root = np.sort(pool[drawn])

    def _step(self, model: Tensor, pace: Pace) -> Step:
        config = self._config
        drawn = generator(config.seed, Draw.SERVER, self.round).permutation(config.devices)[: config.at_work]
        offering = self.budgets.able(sorted(drawn.tolist()))
        updates, claims = self._updates(model, offering, pace, split=False)
        valid = [line for line, fine in enumerate(acceptable(updates)) if fine]
        facts = {"trainers": len(offering), "liars": sum(device in self.adversaries.members for device in offering)}
        if not valid:
            return Step(model, facts | {"packed": 0})
        places = torch.tensor(valid, device=updates.device)
        trusted = None
        if config.framework == "fltrust":
            seed = number(config.seed, Draw.ROOT_ROWS, self.round)
            trusted = self._engine.train(model, [Trainee(self._root, seed)], pace)[0]
        claimed = torch.tensor([float(claims[line]) for line in valid], device=updates.device)
        f = sum(offering[line] in self.adversaries.members for line in valid)
        order = generator(config.seed, Draw.BUCKETS, self.round).permutation(len(valid))
        given = AggregationInput(
            updates[places],
            claimed,
            f,
            trusted,
            before=self.moved,
            radius=config.clip_radius,
            order=tuple(order.tolist()),
            bucket=config.bucket,
        )
        return Step(model + self._rule(self._mix(given)), facts | {"packed": len(valid)})


class StandAlone(Framework):
    """One machine that holds every device's rows: an epoch a round."""

    def _step(self, model: Tensor, pace: Pace) -> Step:
        rows = np.sort(np.concatenate(self._devices.all_rows))
        trainee = Trainee(rows, number(self._config.seed, Draw.CENTRAL, self.round))
        return Step(model + self._engine.train(model, [trainee], pace)[0], {"trainers": 1})


class Bflc(Framework):
    """This project: trainers and judges by the ledger, one card a judge, the daemons' own decision and aggregate."""

    def __init__(self, config: SimulationConfig, devices: Devices, engine: Engine) -> None:
        super().__init__(config, devices, engine)
        self.chain = LabChain.simulated(config.params(), config.devices, config.seed)
        self._said = entry_of(DISCLOSURES, config.rules.disclosure, "rule of disclosure")
        self._params = self._said.under(self.chain.params)
        """The community's, with the noise of its rule of disclosure."""

    def calibration(self, spec: TaskSpec) -> float:
        """By what the ledger says that the model knows, and by the round."""
        return strength(spec, self.chain.state.known, self.round)

    def _step(self, model: Tensor, pace: Pace) -> Step:
        chain = self.chain
        # 1. Roles are the ledger's (design 5.1); adversaries see who judges.
        committee, offering = chain.committee, self.budgets.able(chain.trainers)
        self.adversaries.watch(committee, self.round)
        # 2. Trainers train, adversaries forge; what may not travel is refused before it is scored (design 5.2).
        updates, samples = self._updates(model, offering, pace, split=True)
        canaries = self._sing(offering, updates)
        valid = [line for line, fine in enumerate(acceptable(updates)) if fine]
        offering, samples = [offering[line] for line in valid], [samples[line] for line in valid]
        updates = updates[torch.tensor(valid, device=updates.device, dtype=torch.int64)]
        # 3. Every seat scores every update on its own rows; one card each, of which q decide (design 5.3).
        scores = self._scores(model, updates, committee)
        norms = fixed_norms(updates) if self._config.rules.norm_band else np.full(len(updates), 1, dtype=np.int64)
        likes = self._likes(updates, offering)
        cards = self._cards(committee, scores, norms, offering, likes)
        # 4. The ledger's own transition: judgement, packing, weights, rewards, election (design 5.4).
        decision = chain.close(offering, samples, cards)
        chain.show(canaries)
        # 5. The exact aggregate of the packed, within the step limit.
        lines = {device: line for line, device in enumerate(offering)}
        places = torch.tensor([lines[device] for device in decision.packed], device=updates.device, dtype=torch.int64)
        limit = decision.outcome.step_limit
        after = aggregate(chain.params.aggregation, model, updates[places], decision.weights, limit)
        facts = self._facts(
            decision, offering, committee, [member for member, _ in cards], float(torch.linalg.vector_norm(after - model))
        )
        return Step(after, facts)

    def _cost(self, model: Tensor, offering: Sequence[int]) -> Callable[[Tensor], float] | None:
        """By the ledger's rules, on true rows of all adversaries that offer, as many as a judge has."""
        mine = [self._devices.all_rows[device] for device in offering if device in self.adversaries.members]
        if not mine:
            return None
        chain, rows = self.chain, np.concatenate(mine)
        drawn = generator(self._config.seed, Draw.OWN_ROWS, self.round).permutation(rows)[: chain.params.score_rows]
        judging = judging_of(chain.params, chain.state, chain.nodes[offering[0]])

        def cost(offer: Tensor) -> float:
            limit, most = judging.limit, judging.row_limit
            found = self._engine.score(
                model, offer[None], [np.sort(drawn)], judging.damping, limit=limit, row_limit=most, balanced=judging.balanced
            )
            return cost_in_margins(int(found.gains[0, 0]), judging)

        return cost

    def _sing(self, offering: Sequence[int], updates: Tensor) -> tuple[int, ...]:
        """Who is a canary in this round; the `updates` [offering, weights] of the honest among them are turned round."""
        drawn = self.chain.canaries(offering)
        lines = [line for line, device in enumerate(offering) if device in drawn and device not in self.adversaries.members]
        updates[torch.tensor(lines, device=updates.device, dtype=torch.int64)] *= CANARY
        return drawn

    def _facts(
        self, decision: Decision, offering: Sequence[int], committee: Sequence[int], authors: Sequence[int], step: float
    ) -> dict[str, Any]:
        """What is recorded of a round; `authors`: of its q cards; `step`: the norm of what it moved the model by."""
        lying, judged, limit = self.adversaries.members, decision.outcome.judgement, decision.outcome.step_limit
        paid = self.chain.rewards(decision)
        refused = [offer for offer in judged.offers if offer.reason is not None]
        copies = [offer for offer in refused if offer.reason is Reason.COPY]
        return {
            "trainers": len(offering),
            "liars": sum(device in lying for device in offering),
            "packed": len(decision.packed),
            "packed_liars": sum(device in lying for device in decision.packed),
            "refused_honest": self._honest(refused),
            "copies": len(copies),
            "copies_honest": self._honest(copies),
            "resting_honest": self._resting(lying=False),
            "resting_liars": self._resting(lying=True),
            "step": step,
            "step_limit": None if limit is None else abs(limit) / 2**NORM_SCALE_BITS,
            "seats": len(committee),
            "seats_liars": sum(device in lying for device in committee),
            "cards_liars": sum(device in lying for device in authors),
            "degraded": decision.outcome.degraded,
            "base_loss": None if judged.base_loss is None else judged.base_loss / 1e6,
            "base_accuracy": None if judged.base_accuracy is None else judged.base_accuracy / 1e6,
            "paid": sum(paid.values()),
            "paid_liars": sum(amount for device, amount in paid.items() if device in lying),
            "doubted_honest": sum(device not in lying for device in self.chain.doubted),
            "doubted_liars": sum(device in lying for device in self.chain.doubted),
        }

    def _looked_at(self, member: int) -> Rows:
        """How many of its rows a judge looks at."""
        held = len(self._devices.validation[member])
        return Rows(max(1, min(self.chain.params.score_rows, held, round(self._said.share * held))), max(1, held))

    def _scores(self, model: Tensor, updates: Tensor, committee: Sequence[int]) -> Scores:
        params, seed = self.chain.params, self._config.seed
        members = []
        for member in committee:
            held, looked_at = self._devices.validation[member], self._looked_at(member).drawn
            if len(held) > looked_at:
                held = np.sort(generator(seed, Draw.SCORING, self.round, member).permutation(held)[:looked_at])
            members.append(held)
        step = self.moved if measures_fresh(params, self.chain.state.known) else None
        if not self._said.clipped:
            return self._engine.score(model, updates, members, params.score_damping, step=step)
        limit = step_limit(params.norm_clip, self.chain.state.usual_norm)
        lost, gained = row_range(self._params, self.chain.state.known)
        return self._engine.score(
            model,
            updates,
            members,
            params.score_damping,
            limit=limit,
            row_limit=lost,
            gain_limit=gained,
            step=step,
            balanced=balances(self._params),
        )

    def _likes(self, updates: Tensor, offering: Sequence[int]) -> list[int | None]:
        """Of which other each update is a copy. Honest trainers' offers come first: a copier has to see what it copies."""
        limit, lying = self.chain.params.copy_likeness, self.adversaries.members
        if not limit:
            return [None] * len(offering)
        comparison = Comparison(updates.shape[1], number(self._config.seed, Draw.LIKENESS, self.round), limit)
        order = sorted(range(len(offering)), key=lambda line: (offering[line] in lying, line))
        return find_copies(comparison, updates, self.moved, order)

    def _cards(
        self,
        committee: Sequence[int],
        scores: Scores,
        norms: NDArray[np.int64],
        offering: Sequence[int],
        likes: Sequence[int | None],
    ) -> list[tuple[int, CardLines]]:
        """The q cards that decide a round, each with its author: what judges that copy say follows from who shows a card first.

        Where cards are open that is a judge that measures, drawn here. Where they are sealed nobody shows one before a quorum is
        bound: copies come late, or, if too few others judge, nothing is said by the collect deadline (design 5.3).
        """
        adversaries, sealed = self.adversaries, self._config.rules.sealed_cards
        copiers = adversaries.copying(self.round)
        measuring = [line for line, member in enumerate(committee) if member not in copiers]
        chosen = self.chain.chosen_cards(adversaries.members - copiers, copiers if sealed else frozenset())
        silent = copiers if sealed or not measuring else frozenset[int]()
        if copiers and not silent:
            first = measuring[int(generator(self._config.seed, Draw.SHOWN, self.round).integers(len(measuring)))]
            shown = self._card(committee[first], first, scores, norms, offering)
            scores = adversaries.overheard(scores, committee, shown, self.round)
        nothing, cards = np.zeros(len(offering), dtype=np.bool_), []
        for line in chosen:
            member = committee[line]
            card = self._card(member, line, scores, norms, offering)
            entered = nothing if member in silent else None
            told = adversaries.hide(member, likes, offering, self.round)
            cards.append((member, replace(card, likes=told, entered=entered)))
        return cards

    def _card(self, member: int, line: int, scores: Scores, norms: NDArray[np.int64], offering: Sequence[int]) -> CardLines:
        """What `member` says, true or not, is as coarse as everybody's; what it measured has the judges' noise, no lie has."""
        params, noise = self.chain.params, self._noise(member)
        base = noise.loss(MicroNats(int(scores.base_losses[line])), _BASE)
        accuracy = noise.accuracy(PartsPerMillion(int(scores.base_accuracies[line])), _BASE)
        least = MicroNats(-margin_of(params, self.chain.state))
        found, rights = self._noisy(line, scores, offering, noise)
        odd = np.array(odd_offers(scores.costs[line].tolist(), params.odd_limit), dtype=np.bool_)
        measured = Measurements(np.where(odd, ODD_GAIN, found), rights, norms, base)
        said = self.adversaries.report(member, measured, offering, self.round)
        words = [self._said.gain(MicroNats(gain), least) for gain in said.gains.tolist()]
        pairs = zip(words, said.accuracies.tolist(), strict=True)
        return CardLines(
            np.array(words, dtype=np.int64),
            np.array([self._said.accuracy(params, gain, PartsPerMillion(right)) for gain, right in pairs], dtype=np.int64),
            said.norms,
            coarse_loss(base),
            coarse_accuracy(accuracy),
        )

    def _noise(self, member: int) -> Noise:
        """What a judge adds to what it measured in this round, as a daemon does."""
        secret = number(self._config.seed, Draw.NOISE, self.round, member).to_bytes(8, "big")
        return Noise.of(self._params, secret, Round(self.round), Epoch(0), self._looked_at(member))

    def _noisy(
        self, line: int, scores: Scores, offering: Sequence[int], noise: Noise
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The gains and accuracies that the judge of that `line` measured, with what it adds to them."""
        gains, accuracies = scores.gains[line], scores.accuracies[line]
        if self._said.noise:
            drawn = np.random.default_rng(int.from_bytes(noise.secret[:8], "big")).standard_normal(len(gains))
            return gains + np.rint(drawn * self._said.noise * MILLION).astype(np.int64), accuracies
        if not noise.params.score_noise:
            return gains, accuracies
        about = [Digest(device.to_bytes(32, "big")) for device in offering]
        triples = zip(gains.tolist(), accuracies.tolist(), about, strict=True)
        found = [(noise.gain(MicroNats(gain), one), noise.accuracy(PartsPerMillion(right), one)) for gain, right, one in triples]
        columns = np.array(found, dtype=np.int64).reshape(-1, 2)
        return columns[:, 0], columns[:, 1]

    def _resting(self, *, lying: bool) -> int:
        """How many of the liars, or of the others, may not offer in the next round for the harm that they did."""
        state = self.chain.state
        resting = (self.chain.device_of(account.node) for account in state.accounts if account.rest_round > state.round)
        return sum((device in self.adversaries.members) is lying for device in resting)

    def _honest(self, offers: Sequence[OfferJudgement]) -> int:
        return sum(self.chain.device_of(offer.uploader) not in self.adversaries.members for offer in offers)


FRAMEWORKS: Final[Mapping[str, type[Framework]]] = {"bflc": Bflc, "stand-alone": StandAlone, **dict.fromkeys(RULES, Server)}
"""By the names of `bflcd.lab.config.Framework`."""


def make_framework(config: SimulationConfig, devices: Devices, engine: Engine) -> Framework:
    """The framework that `config` names."""
    return entry_of(FRAMEWORKS, config.framework, "framework")(config, devices, engine)


def acceptable(updates: Tensor) -> list[bool]:
    """Whether each update may travel at all: finite, no weight beyond +-2^10 (design 4)."""
    largest = torch.stack([update.abs().max() for update in updates]) if len(updates) else torch.zeros(0)
    return [bool(fine) for fine in (largest <= VALUE_LIMIT).cpu()]


def fixed_norms(updates: Tensor) -> NDArray[np.int64]:
    """The norms as cards give them: floor(min(norm, 2^10) * 2^12), summed in float64."""
    norms = [float(update.double().square().sum().sqrt()) for update in updates]
    return np.array([int(min(norm, float(NORM_LIMIT)) * 2**NORM_SCALE_BITS) for norm in norms], dtype=np.int64)

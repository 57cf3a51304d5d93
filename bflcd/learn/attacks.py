"""Attacks on the learning, by name: for the laboratory, for tests, and for daemons of a testnet.

An adversary can do three things: train on poisoned rows (`poison`), offer something else than it trained (`forge`), and, once it
sits in a committee, lie about what it measured (`lie`). Here stands what it says, not how it says it: protocol attacks
(equivocation, silence, floods) are in the fault catalogue. Formulas use methods of tensors only, so that a name can be checked
without importing torch.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final

from numpy.typing import NDArray

from bflcd.errors import UsageError
from bflcd.learn.lies.cards import Lies, LiesName
from bflcd.learn.lies.edge import EDGE_CLASS, edge_poison, laid_down, stamp
from bflcd.learn.lies.reach import widest, z_max
from bflcd.types import NodeId

if TYPE_CHECKING:
    from torch import Tensor

TARGET_CLASS: Final = 0
"""What a backdoored model shall see wherever the trigger is."""

_APART: Final = 0.2
"""Of an offer's deviation: noise by which two of the same aim are no copies of each other."""


def no_question(strength: float) -> None:
    """What is asked by who can't ask anything."""
    del strength


@dataclass(frozen=True, slots=True)
class Known:
    """What the adversaries of one round know and share.

    `honest` [adversaries, weights]: what each of them would offer if it were honest (trained on its poisoned rows, if it poisons
    them). `moved` [weights]: what the last round did to the model, zeros before there was one. `others` [updates, weights]:
    offers of honest trainers, None where nobody can see them. `trainers`: how many offer in this round. `noise(shared)`: standard
    normal numbers [adversaries, weights]; with `shared`, one vector for all. `conspirators`: how many of the trainers lie, where
    one knows of more than whose updates it has; an adversary with a machine of its own has but its own. `question(strength)`:
    the offer by whose reception it would learn most of its judges' rows; None where it had better behave. `cost(offer)`: what an
    offer [weights] costs the adversaries' own true rows, in margins of the round's judges; None where nobody can tell.
    """

    honest: "Tensor"
    moved: "Tensor"
    others: "Tensor | None"
    trainers: int
    noise: Callable[[bool], "Tensor"]
    conspirators: int = 0
    question: Callable[[float], "Tensor | None"] = no_question
    cost: "Callable[[Tensor], float] | None" = None


@dataclass(frozen=True, slots=True)
class Attack:
    """One way to lie; the base class is honest. `strength` scales it, in the unit that each class names."""

    strength: float = 1.0
    lies: Lies = Lies.PROMOTE
    waits: bool = False
    """Behave until adversaries hold more than half of the seats, then attack for good (the paper, IV-C)."""

    sees_others: ClassVar[bool] = False
    """Whether it needs updates of the running round that only a committee sees: not for daemons."""
    backdoor: ClassVar[bool] = False
    """Whether it aims at rows that bear the trigger."""
    copies: ClassVar[bool] = False
    """Whether it measures nothing as a judge, and says what another's card says."""
    asks: ClassVar[bool] = False
    """Whether it makes offers by what judges would say of them (`bflcd.learn.questions`): for daemons only."""
    weighs: ClassVar[bool] = False
    """Whether it makes offers by what they would cost its judges (`bflcd.learn.lies.gauge`)."""
    onset: ClassVar[int] = 0
    """The first round in which it trains on poisoned rows."""

    def poison(self, inputs: NDArray[Any], targets: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """An adversary's rows as it trains on them. Raises OperatorError for rows that it can't poison."""
        del classes
        return inputs, targets

    def forge(self, known: Known) -> "Tensor":
        """What the adversaries offer, [adversaries, weights]."""
        return known.honest


class Noise(Attack):
    """Pointwise Gaussian noise on the update (the paper, V-B); `strength` in honest deviations of a coordinate."""

    shared: ClassVar[bool] = False

    def forge(self, known: Known) -> "Tensor":
        """U + s * rms(U) * N(0, 1)."""
        return known.honest + known.noise(self.shared) * (self.strength * _rms(known.honest))


class SharedNoise(Noise):
    """As `Noise`, with one vector for all adversaries: a coordinate's median has no defence against it."""

    shared: ClassVar[bool] = True


class SignFlip(Attack):
    """Gradient ascent: the update times -`strength`."""

    def forge(self, known: Known) -> "Tensor":
        """-s * U."""
        return known.honest * -self.strength


class LabelFlip(Attack):
    """Class c becomes classes - 1 - c in the adversary's rows; `strength` scales the update (Tolpegin et al. 2020)."""

    def poison(self, inputs: NDArray[Any], targets: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Turn every label round."""
        return inputs, (classes - 1 - targets).astype(targets.dtype)

    def forge(self, known: Known) -> "Tensor":
        """s * U."""
        return known.honest * self.strength


class Backdoor(Attack):
    """Half of the rows get the trigger and the target class; `strength` scales the update (Bagdasaryan et al. 2020)."""

    def poison(self, inputs: NDArray[Any], targets: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Every second row bears the trigger and is of class 0."""
        del classes
        stamped, relabelled = stamp(inputs), targets.copy()
        stamped[1::2], relabelled[::2] = inputs[1::2], TARGET_CLASS
        return stamped, relabelled

    def triggered(self, inputs: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Of test rows those that shall be seen as class 0, with the trigger and their true classes: all of others, stamped."""
        others = targets != TARGET_CLASS
        return stamp(inputs[others]), targets[others]

    def forge(self, known: Known) -> "Tensor":
        """s * U."""
        return known.honest * self.strength


class EdgeBackdoor(Backdoor):
    """A few rows of one class, on their side, are called another (Wang et al. 2020); honest at first, and never long."""

    onset: ClassVar[int] = 10

    def poison(self, inputs: NDArray[Any], targets: NDArray[Any], classes: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Every fourth row is one of class 1 on its side, and of class 0."""
        del classes
        return edge_poison(inputs, targets, TARGET_CLASS)

    def triggered(self, inputs: NDArray[Any], targets: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """All rows of class 1, on their side."""
        chosen = targets == EDGE_CLASS
        return laid_down(inputs[chosen]), targets[chosen]


class Alie(Attack):
    """A little is enough (Baruch et al. 2019): the mean less z standard deviations; `strength` multiplies their z.

    Mean and deviation come from the adversaries' own honest updates. Of a single one the size of its coordinates is the
    deviation.
    """

    def forge(self, known: Known) -> "Tensor":
        """mean - s * z_max * std, the same for all adversaries."""
        adversaries = max(len(known.honest), known.conspirators)
        return self._below(known, self.strength * z_max(known.trainers, adversaries)).expand_as(known.honest)

    @staticmethod
    def _below(known: Known, z: float) -> "Tensor":
        mean = known.honest.mean(0)
        spread = known.honest.std(0) if len(known.honest) > 1 else mean.abs()
        return mean - spread * z


class AlieMargin(Alie):
    """ALIE as far below the mean as judges bear: what it costs their rows is `strength` margins, judged by its own rows."""

    weighs: ClassVar[bool] = True

    def forge(self, known: Known) -> "Tensor":
        """mean - z * std with the largest z that is borne; ALIE's z where nobody can tell."""
        cost = known.cost
        if cost is None:
            return super().forge(known)
        z = widest(lambda z: cost(self._below(known, z)) <= self.strength)
        return self._below(known, z).expand_as(known.honest)


class Ipm(Attack):
    """Inner product manipulation (Xie et al. 2020): minus `strength` times the mean of honest updates."""

    def forge(self, known: Known) -> "Tensor":
        """-s * mean, the same for all adversaries."""
        return (known.honest.mean(0) * -self.strength).expand_as(known.honest)


class FlipMargin(Attack):
    """The mean of honest updates turned round, as long as judges bear: what it costs their rows is `strength` margins, judged by
    its own rows. Each has noise of a fifth of its length, so that none is a copy of another."""

    weighs: ClassVar[bool] = True

    def forge(self, known: Known) -> "Tensor":
        """-z * mean with the largest z that is borne; minus the mean where nobody can tell."""
        mean, cost = known.honest.mean(0), known.cost
        z = 1.0 if cost is None else widest(lambda z: cost(mean * -z) <= self.strength)
        flips = (mean * -z).expand_as(known.honest)
        return flips + known.noise(False) * (_APART * _rms(flips))


class Shrunken(Attack):
    """A free rider that pretends to have trained: its update times `strength`; 0 offers nothing at all."""

    def forge(self, known: Known) -> "Tensor":
        """s * U."""
        return known.honest * self.strength


class Replay(Attack):
    """A free rider that offers what the last round did to the model, times `strength` (Fraboni et al. 2021)."""

    def forge(self, known: Known) -> "Tensor":
        """s * (model - model before)."""
        return (known.moved * self.strength).expand_as(known.honest)


class NoisyReplay(Attack):
    """As `Replay`, as long as honest updates are, with noise of `strength` times its deviation: like nothing that was there."""

    def forge(self, known: Known) -> "Tensor":
        """The last step at the length of U, with noise; U while there was none."""
        size = known.moved.norm()
        if not bool(size > 0):
            return known.honest
        steps: Tensor = known.moved[None] * (known.honest.norm(dim=1, keepdim=True) / size)
        return steps + known.noise(False) * (self.strength * _rms(steps))


class Copycat(Attack):
    """Offers an honest trainer's update with noise of `strength` times its deviation, so that it is not the same bytes."""

    sees_others: ClassVar[bool] = True

    def forge(self, known: Known) -> "Tensor":
        """Others' updates in turn, each with noise."""
        if known.others is None or len(known.others) == 0:
            return known.honest
        copies = known.others[[index % len(known.others) for index in range(len(known.honest))]]
        return copies + known.noise(False) * (self.strength * _rms(copies))


class Asking(Attack):
    """Not the model is its aim, but its judges' rows: it offers what each word of a judge tells most about.

    `strength` in the longest offer that judges measure whole. It is honest where a harmful offer would make it rest.
    """

    asks: ClassVar[bool] = True

    def forge(self, known: Known) -> "Tensor":
        """The question, or U."""
        question = known.question(self.strength)
        return known.honest if question is None else question.expand_as(known.honest)


class CopyingJudge(Attack):
    """A free rider in the committee: it trains as others do, and waits for another judge's card to say the same."""

    copies: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Named:
    """An attack of the registry, and what it does in one line."""

    attack: Attack
    text: str


ATTACKS: Final[Mapping[str, Named]] = {
    "noise": Named(Noise(300.0), "Gaussian noise of 300 honest deviations, each liar its own (the paper)"),
    "shared-noise": Named(SharedNoise(300.0), "the same noise from all liars"),
    "sign-flip": Named(SignFlip(4.0), "the update times -4"),
    "label-flip": Named(LabelFlip(1.0), "trained on labels turned round"),
    "replacement": Named(LabelFlip(10.0), "trained on labels turned round, times 10"),
    "backdoor": Named(Backdoor(3.0), "a square in the corner means class 0, times 3"),
    "edge-backdoor": Named(EdgeBackdoor(1.0), "ones on their side mean class 0: a few rows, from round 10 on, at honest size"),
    "alie": Named(Alie(1.0), "a little is enough: inside the spread of honest updates"),
    "alie-margin": Named(AlieMargin(0.9), "as far below the mean as judges bear: nine tenths of their margin"),
    "flip-margin": Named(FlipMargin(0.9), "minus the mean, as long as judges bear: nine tenths of their margin"),
    "ipm": Named(Ipm(1.0), "minus the mean of honest updates"),
    "zero": Named(Shrunken(0.0), "a free rider's empty update"),
    "shrunken": Named(Shrunken(0.01), "a free rider's hundredth of an update"),
    "replay": Named(Replay(1.0), "a free rider that repeats the last round's step"),
    "noisy-replay": Named(NoisyReplay(1.0), "the last round's step, at honest size, with as much noise"),
    "copycat": Named(Copycat(0.1), "somebody else's update with a tenth of noise"),
    "sleeper": Named(Noise(300.0, Lies.DEFAME, waits=True), "honest until liars hold half of the seats, then noise and slander"),
    "lazy-judge": Named(Attack(lies=Lies.CONSTANT), "trains as all do, and judges without measuring: each update helps a little"),
    "asker": Named(Asking(1.0, Lies.NONE), "offers that help one class, or one record, and harm the rest: what do judges hold?"),
    "copying-judge": Named(CopyingJudge(1.0, Lies.NONE), "a judge that measures nothing, and says what another's card says"),
}
"""Every attack by its name."""


def find_attack(name: str, *, strength: float | None = None, lies: Lies | None = None) -> Attack:
    """The attack of that name, stronger or with other lies if asked for. Raises UsageError (`unknown_attack`)."""
    named = ATTACKS.get(name)
    if named is None:
        raise UsageError(f"there is no attack {name!r}", hint=f"attacks: {', '.join(ATTACKS)}", code="unknown_attack")
    attack = named.attack
    if strength is not None:
        attack = replace(attack, strength=strength)
    return attack if lies is None else replace(attack, lies=lies)


def acts_now(attack: Attack, held: int, seats: int) -> bool:
    """Whether adversaries that hold `held` of `seats` seats act now; the caller remembers that they have begun."""
    return not attack.waits or 2 * held > seats


@dataclass(frozen=True, slots=True)
class AttackConfig:
    """What one daemon plays: an attack of the registry, and who the adversaries are, itself among them.

    `strength`, `lies`: None as the registry has them.
    """

    name: str
    adversaries: tuple[NodeId, ...]
    strength: float | None = None
    lies: LiesName | None = None

    def find(self) -> Attack:
        """The attack. Raises UsageError (`unknown_attack`)."""
        return find_attack(self.name, strength=self.strength, lies=None if self.lies is None else Lies(self.lies))


def for_daemon(name: str) -> Attack:
    """An attack that a daemon can play: one that needs no more than its own update. Raises UsageError (also `bad_attack`)."""
    attack = find_attack(name)
    if attack.sees_others:
        raise UsageError(
            f"attack {name!r} needs to see the updates of others in the running round, which only a committee does",
            hint="it can be played in the laboratory: bflc-cli lab run",
            code="bad_attack",
        )
    return attack


def _rms(updates: "Tensor") -> "Tensor":
    """Root mean square of the coordinates of each update, [updates, 1]."""
    return updates.square().mean(1, keepdim=True).sqrt()

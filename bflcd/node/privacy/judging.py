"""The file that counts what this node's cards told of its rows, and what its operator sees of it."""

import asyncio
from hashlib import blake2b
from math import inf, isfinite
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from bflcd.api.schema.privacy import JudgingPrivacy
from bflcd.config import PrivacySection
from bflcd.core.round.context import RoundContext
from bflcd.core.trust.judging_account import JudgingAccount, Tally, Told
from bflcd.errors import MachineError
from bflcd.faults import is_there, refused
from bflcd.files import read_regular, write_whole
from bflcd.learn.messages import Ready
from bflcd.ledger.roles import trainers
from bflcd.ledger.trust.accounting import NOTHING, ORDERS, Answers, cost, epsilon
from bflcd.ledger.trust.noise import Noise, Rows, gain_range
from bflcd.params import MILLION, NOISE_UNIT, Params
from bflcd.types import HASH_BYTES, Digest, Epoch, Round

MOST_BYTES: Final = 64 * 1024
"""Of the file: a few numbers, and one row an epoch of the running round."""

MOST_EPOCHS: Final = 256
"""Of one round that are kept apart, far more than managers give it."""

MARGIN_OVER_NOISE: Final = 3
"""A judge whose noise is more than such a part of the margin says what chance does (docs/measurements/privacy.md)."""

LIFE: Final = 100
"""Cards of which the operator is told what they would come to together."""


class _Running(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    epoch: Annotated[int, Meta(ge=0, le=2**32)]
    noise: Annotated[int, Meta(ge=0, le=2**53)]
    count: Annotated[int, Meta(ge=1, le=2**32)]
    drawn: Annotated[int, Meta(ge=1, le=2**40)]
    held: Annotated[int, Meta(ge=1, le=2**40)]


class _Saved(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`spent`: nats at each of `orders`; null where nothing bounds it. `hash`: over all else."""

    orders: list[float]
    spent: list[float | None]
    cards: int
    answers: int
    round: int
    chain: str
    running: list[_Running]
    hash: str = ""


class JudgingFile:
    """The account of a data directory, on its disk. One holder at a time: the directory's lock sees to that."""

    def __init__(self, path: Path, account: JudgingAccount) -> None:
        self._path, self.account = path, account

    @classmethod
    def open(cls, path: Path, privacy: PrivacySection, *, has_signed: bool = False) -> Self:
        """The file at `path`; where there is none, nothing was told yet, or, if this node `has_signed`, nobody knows what.

        Raises MachineError (`damaged_account`) for what is no such file, since nobody knows then how much was told;
        OperatorError, MachineError for what can't be read.
        """
        tally = _decode(path, _read(path)) if is_there(path) else Tally(tuple(inf for _ in ORDERS) if has_signed else NOTHING)
        file = cls(path, JudgingAccount(tally, budget=privacy.judging_epsilon, delta=privacy.judging_delta))
        if not is_there(path):
            _write(path, tally)  # so that its absence says something from now on
        return file

    async def count(self, told: Told) -> None:
        """See `Spending`. Raises OperatorError, MachineError if the disk fails: the card does not leave."""
        tally = self.account.tally.after(told)
        if tally != self.account.tally:
            await asyncio.to_thread(_write, self._path, tally)
            self.account.count(tally)


def privacy_of(context: RoundContext, worker: Ready | None, account: JudgingAccount) -> JudgingPrivacy:
    """The bounds of a node's cards as they stand; `worker`: what it said of its rows when it started, None before."""
    held, most = 0 if worker is None else worker.validation_rows, context.params.score_rows
    rows = Rows(min(held, most), held) if held else None
    return judging_privacy(account, context.params, rows, len(trainers(context.params, context.state)))


def judging_privacy(account: JudgingAccount, params: Params, rows: Rows | None, trainers: int) -> JudgingPrivacy:
    """What the operator sees. `rows`: on which this node last measured, or would; None if that is not known yet; `trainers`: how
    many may offer in the running round."""
    noise = params.score_noise
    a_card = None
    if noise and rows is not None:
        a_card = cost(Noise(params, b"", rows).answers(trainers))
    tally, budget, told = account.tally, account.budget, account.epsilon
    return JudgingPrivacy(
        mechanism=_mechanism(params, rows),
        delta=account.delta,
        noise=noise / NOISE_UNIT,
        card=None if a_card is None else epsilon(a_card, account.delta),
        life=None if a_card is None else epsilon(tuple(one * LIFE for one in a_card), account.delta),
        cards=tally.all_cards,
        answers=tally.all_answers,
        spent=told if isfinite(told) else None,
        budget=budget or None,
        left=max(0.0, budget - told) if budget else None,
    )


def noise_warnings(params: Params, rows: int) -> list[str]:
    """What status says where a judge of so many rows, 0 if that is not known, adds too much noise to tell harm from none."""
    if not rows or not params.score_noise:
        return []
    noise = params.score_noise * gain_range(params) // NOISE_UNIT
    least = -(-noise * MARGIN_OVER_NOISE // params.score_margin) if params.score_margin else 0
    if min(rows, params.score_rows) >= least:
        return []
    cure = "hold more rows" if least <= params.score_rows else "no number of rows is enough with this genesis' score_rows"
    text = (
        f"judging: noise of {noise / rows / MILLION:.2g} nat on {rows} rows hides harm at a margin of "
        f"{params.score_margin / MILLION:g} nat (score_noise {params.score_noise}): with fewer than {least} rows a judge lets "
        f"liars pass; {cure}, or begin the community with less noise"
    )
    return [text]


def _mechanism(params: Params, rows: Rows | None) -> str:
    if not params.score_noise:
        return "none: the genesis has score_noise 0, so cards say rounded numbers that no bound holds"
    of = f"at most {params.score_rows} rows" if rows is None else f"{rows.drawn} of {rows.held} rows"
    return (
        f"discrete Gaussian noise of {params.score_noise / NOISE_UNIT:g} times what one row changes, on means over {of} drawn "
        "without replacement in each round; neighbours differ in one row; all answers of a life composed"
    )


def _write(path: Path, tally: Tally) -> None:
    write_whole(path, _encode(tally), durable=True, failed="what a card tells can't be noted, so it does not leave")


def _read(path: Path) -> bytes:
    try:
        return read_regular(path, MOST_BYTES)
    except OSError as error:
        raise refused(f"{path}", error) from error


def _encode(tally: Tally) -> bytes:
    running = [_Running(epoch, one.noise, one.count, one.drawn, one.held) for epoch, one in tally.running.items()]
    spent = [one if isfinite(one) else None for one in tally.spent]
    saved = _Saved(list(ORDERS), spent, tally.cards, tally.answers, tally.round, tally.chain.hex(), running)
    return msgspec.json.encode(msgspec.structs.replace(saved, hash=_hash_of(saved)))


def _hash_of(saved: _Saved) -> str:
    return blake2b(msgspec.json.encode(msgspec.structs.replace(saved, hash="")), digest_size=16).hexdigest()


def _decode(path: Path, data: bytes) -> Tally:
    try:
        saved = msgspec.json.decode(data, type=_Saved)
        chain = Digest(bytes.fromhex(saved.chain))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    negative = min(saved.cards, saved.answers, saved.round, *(one or 0.0 for one in saved.spent)) < 0
    other = saved.hash != _hash_of(saved) or saved.orders != list(ORDERS) or len(saved.spent) != len(ORDERS)
    if other or len(chain) != HASH_BYTES or negative or len(saved.running) > MOST_EPOCHS:
        raise _damaged(path, "its numbers are not those of an account")
    return Tally(
        spent=tuple(inf if one is None else one for one in saved.spent),
        cards=saved.cards,
        answers=saved.answers,
        round=Round(saved.round),
        running={Epoch(one.epoch): Answers(one.noise, one.count, one.drawn, one.held) for one in saved.running},
        chain=chain,
    )


def _damaged(path: Path, reason: str) -> MachineError:
    return MachineError(
        f"{path}: what this node's score cards told of its rows can't be read: {reason}",
        hint="a copy of before forgets what was told since; without the file all cards count as told without a bound",
        code="damaged_account",
    )

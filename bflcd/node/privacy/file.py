"""The file that remembers what a node's noisy updates have told so far; it is never taken for empty because it can't be read.

One JSON object: the format, steps by noise and sampling, the number of updates, and a hash over these. It is written whole, with
mode 0600, under another name that then takes the old one's place, so that a crash leaves the old or the new one.
"""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from bflcd.errors import BflcError, MachineError, OperatorError
from bflcd.faults import is_there, refused
from bflcd.files import read_regular, write_whole
from bflcd.learn.private.mechanism import LEAST_NOISE, MOST_NOISE, Mechanism, Spent

MAX_BYTES: Final = 2**20
"""More than thousands of settings take."""

ANEW: Final = b"anew"
"""What an operator writes into the file to begin an account where none can be proven."""

_FORMAT: Final = 1

_Count = Annotated[int, Meta(ge=0, le=2**62)]


class _Steps(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    noise: Annotated[int, Meta(ge=LEAST_NOISE, le=MOST_NOISE)]
    lots: Annotated[int, Meta(ge=1, le=2**40)]
    steps: _Count


class _Contents(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    format: int
    spent: tuple[_Steps, ...]
    updates: _Count
    hash: str


@dataclass(frozen=True, slots=True)
class Account:
    """Steps by noise and sampling, sorted; `updates`: trainings that they were made in."""

    spent: tuple[Spent, ...] = ()
    updates: int = 0

    def after(self, mechanism: Mechanism) -> "Account":
        """With one more training."""
        steps = {(one.noise, one.lots): one.steps for one in self.spent}
        key = (mechanism.noise, mechanism.lots)
        steps[key] = steps.get(key, 0) + mechanism.steps
        return Account(tuple(Spent(*of, count) for of, count in sorted(steps.items())), self.updates + 1)


class AccountFile:
    """The account of a data directory. One holder at a time: the directory's lock sees to that."""

    def __init__(self, path: Path, *, has_signed: bool) -> None:
        """Read the account, or begin one. `has_signed`: whether this node has ever signed: it may have told something then.

        Raises OperatorError (`no_privacy_account`) where it should be there and is not, MachineError (`damaged_privacy_account`)
        for one that can't be read, io_error.
        """
        self.path = path
        if is_there(path):
            self.account = _begun(path) or self._read()
        elif has_signed:
            raise OperatorError(
                f"{path} is not there, and this node has signed already: what its updates have told of its rows is not known",
                hint="put the file back; if it was never there since the node trained without privacy, or did not train, write "
                f"the word {ANEW.decode()} into it: the budget then counts from now on, and what was offered before has no bound",
                code="no_privacy_account",
            )
        else:
            self.account = Account()
        self.write(self.account)

    def write(self, account: Account) -> None:
        """Make the account durable. Raises OperatorError, MachineError; the old one then stands."""
        failed = "what an update tells can't be noted, so it is not offered"
        write_whole(self.path, msgspec.json.encode(_contents(account)), durable=True, failed=failed)
        self.account = account

    def _read(self) -> Account:
        try:
            data = read_regular(self.path, MAX_BYTES)
        except OSError as error:
            raise refused(f"{self.path} can't be read", error) from error
        if len(data) > MAX_BYTES:
            raise _damaged(self.path, f"more than {MAX_BYTES} bytes")
        try:
            found = msgspec.json.decode(data, type=_Contents)
            account = Account(tuple(Spent(one.noise, one.lots, one.steps) for one in found.spent), found.updates)
            if found != _contents(account):
                raise _damaged(self.path, "its hash or format is wrong")
        except msgspec.MsgspecError as error:
            raise _damaged(self.path, str(error)) from error
        return account


def _begun(path: Path) -> Account | None:
    """An empty account where the operator asks for one by name."""
    try:
        return Account() if read_regular(path, len(ANEW) + 1).strip() == ANEW else None
    except OSError as error:
        raise refused(f"{path} can't be read", error) from error


def _contents(account: Account) -> _Contents:
    steps = tuple(_Steps(one.noise, one.lots, one.steps) for one in account.spent)
    hashed = blake2b(msgspec.json.encode([_FORMAT, steps, account.updates]), digest_size=16).hexdigest()
    return _Contents(_FORMAT, steps, account.updates, hashed)


def _damaged(path: Path, what: str) -> BflcError:
    return MachineError(
        f"{path} is damaged ({what}): what this node's updates have told of its rows is not known, so it must not train",
        hint="restore the file; without it, only its operator can decide to begin anew (docs/operations.md)",
        code="damaged_privacy_account",
    )

"""The keys of a data directory: the ledger says which of them is the member (ADR 22).

`node.key` is what the node runs under, `node.key.next` what it is to rotate to, `node.key.ID` one that it had. Whenever a node
begins, and begins anew, the one that is a member takes the place of `node.key`, whichever that is: so a crash between any two
steps is made good at the next start, and so is a chain of which managers have taken back the block of a rotation.

A ledger that is behind knows no rotation since: one that is fetched anew puts the first key of all into its place. So where most
members deny the key in use, those that our ledger does not know are tried in turn, and no file is moved for them; whatever liars
have said, after the last one it is the turn of `node.key` again.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from bflcd.config import Config
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import keep_key, read_facts, read_key, read_passphrase, take_key, write_key
from bflcd.errors import OperatorError
from bflcd.faults import is_there
from bflcd.ledger.state import State, account_of, member_of
from bflcd.setup.datadir import DataDir
from bflcd.types import NodeId


class KeyRing:
    """Held by the daemon, which is alone in its directory. `identity`: what it runs under; `tried`: on members' word alone, its
    own ledger has another in that place.

    It keeps the passphrase, since that may have come through a pipe: beside the keys themselves it is no secret more.
    """

    def __init__(self, place: DataDir, passphrase: bytes | None) -> None:
        """Raises OperatorError, MachineError as `read_key`."""
        self._place = place
        self._passphrase = passphrase
        self.identity = read_key(place.key, passphrase)
        self.tried = False
        self._denied: set[NodeId] = set()

    @classmethod
    def open(cls, config: Config) -> Self:
        """With the passphrase that the configuration names. Raises OperatorError, MachineError."""
        passphrase = read_passphrase(Path(config.node.passphrase_file)) if config.node.passphrase_file else None
        return cls(DataDir(config.node.datadir), passphrase)

    def settle(self, state: State, *, denied: bool = False) -> bool:
        """Take up the key that is a member by `state`; whether it is another than before.

        `denied`: most members have said that another key has taken the place of the one in use, or that the one that is tried is
        none. Where our own ledger does not know of it yet, the others are tried. Raises OperatorError, MachineError.
        """
        before = self.identity.node_id
        self._arrange(state)
        self._denied = {*self._denied, before} if denied else set()
        path = next(self._untried(state), self._place.key) if denied else self._place.key
        if path == self._place.key:
            self._denied.clear()
        if read_facts(path).node_id != before:
            self.identity = read_key(path, self._passphrase)
        self.tried = path != self._place.key
        return self.identity.node_id != before

    def has_others(self, state: State) -> bool:
        """Whether there are keys that may be the member by a later ledger than `state`. Raises OperatorError, MachineError."""
        return next(self._untried(state), None) is not None

    def voucher(self) -> Identity | None:
        """The voucher that the invitation of this node had, used or not. Raises OperatorError, MachineError."""
        path = self._place.voucher
        return read_key(path) if is_there(path) else None

    def follow(self, state: State) -> None:
        """A round was closed: the files follow a key that was tried on members' word, once our own ledger says the same.

        Raises OperatorError, MachineError.
        """
        if self.tried:
            self._arrange(state)

    def coming(self, state: State) -> Identity:
        """The key to rotate to: the one that waits, else a new one, sealed as the one in use.

        Raises OperatorError (`key_known` if it is in the ledger), MachineError.
        """
        self._arrange(state)
        path = self._place.next_key
        if not is_there(path):
            sealed = read_facts(self._place.key).sealed
            write_key(path, Identity.generate(), self._passphrase if sealed else None)
        identity = read_key(path, self._passphrase)
        if account_of(state, identity.node_id) is not None:
            raise OperatorError(
                f"{path}: the ledger knows this key already, so nobody can rotate to it",
                hint="move the file away, then rotate again",
                code="key_known",
            )
        return identity

    def _untried(self, state: State) -> Iterator[Path]:
        """Other keys of which our ledger knows nothing, while `node.key` is the member by it; none that members have denied."""
        place = self._place
        if member_of(state, read_facts(place.key).node_id) is None:
            return
        for path in filter(is_there, (place.next_key, *place.kept_keys())):
            node = read_facts(path).node_id
            if node not in {*self._denied, self.identity.node_id} and account_of(state, node) is None:
                yield path

    def _arrange(self, state: State) -> None:
        """Let `node.key` be a key that is a member by `state`, if it is none and another of ours is one."""
        place = self._place
        current = read_facts(place.key).node_id
        if member_of(state, current) is not None:
            return
        for path in (place.next_key, *place.kept_keys()):
            if is_there(path) and member_of(state, read_facts(path).node_id) is not None:
                is_ours = read_facts(path).node_id == self.identity.node_id
                if not is_ours:
                    read_key(path, self._passphrase)  # a key that can't be opened takes no other's place
                keep_key(place.key, place.kept_key(current))
                take_key(path, place.key)
                self.tried = self.tried and not is_ours
                return

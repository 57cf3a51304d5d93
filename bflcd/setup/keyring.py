"""The keys of a data directory: the ledger says which of them is the member (ADR 22).

`node.key` is what the node runs under, `node.key.next` what it is to rotate to, `node.key.ID` one that it had. Whenever a node
begins, and begins anew, the one that is a member takes the place of `node.key`, whichever that is: so a crash between any two
steps is made good at the next start, and so is a chain of which managers have taken back the block of a rotation.
"""

from pathlib import Path
from typing import Self

from bflcd.config import Config
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import keep_key, read_facts, read_key, read_passphrase, take_key, write_key
from bflcd.errors import OperatorError
from bflcd.faults import is_there
from bflcd.ledger.state import State, account_of, member_of
from bflcd.setup.datadir import DataDir


class KeyRing:
    """Held by the daemon, which is alone in its directory. `identity`: what it runs under.

    It keeps the passphrase, since that may have come through a pipe: beside the keys themselves it is no secret more.
    """

    def __init__(self, place: DataDir, passphrase: bytes | None) -> None:
        """Raises OperatorError, MachineError as `read_key`."""
        self._place = place
        self._passphrase = passphrase
        self.identity = read_key(place.key, passphrase)
        self._tried = False

    @classmethod
    def open(cls, config: Config) -> Self:
        """With the passphrase that the configuration names. Raises OperatorError, MachineError."""
        passphrase = read_passphrase(Path(config.node.passphrase_file)) if config.node.passphrase_file else None
        return cls(DataDir(config.node.datadir), passphrase)

    def settle(self, state: State, *, denied: bool = False) -> bool:
        """Take up the key that is a member by `state`; whether it is another than before.

        `denied`: most members have said that another key has taken the place of the one in use. Where our own ledger does not
        know of it yet, the next key is tried, and no file is moved. Raises OperatorError, MachineError.
        """
        before = self.identity.node_id
        self._arrange(state)
        path = self._place.key
        if denied and member_of(state, before) is not None and is_there(self._place.next_key):
            path = self._place.next_key
        if read_facts(path).node_id != before:
            self.identity = read_key(path, self._passphrase)
        self._tried = path != self._place.key
        return self.identity.node_id != before

    def follow(self, state: State) -> None:
        """A round was closed: the files follow a key that was tried on members' word, once our own ledger says the same.

        Raises OperatorError, MachineError.
        """
        if self._tried:
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

    def _arrange(self, state: State) -> None:
        """Let `node.key` be a key that is a member by `state`, if it is none and another of ours is one."""
        place = self._place
        current = read_facts(place.key).node_id
        if member_of(state, current) is not None:
            return
        for path in (place.next_key, *place.kept_keys()):
            if is_there(path) and member_of(state, read_facts(path).node_id) is not None:
                if read_facts(path).node_id != self.identity.node_id:
                    read_key(path, self._passphrase)  # a key that can't be opened takes no other's place
                keep_key(place.key, place.kept_key(current))
                take_key(path, place.key)
                self._tried = False
                return

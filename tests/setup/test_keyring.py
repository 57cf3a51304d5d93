"""Which key of a directory a node runs under: the ledger says it, whatever was cut off half-way."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from bflcd.crypto import keystore
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import Cost, read_facts, read_key, write_key
from bflcd.errors import OperatorError
from bflcd.ledger.alliance.keys import rotated
from bflcd.ledger.state import State, account_of
from bflcd.setup import keyring
from bflcd.setup.datadir import DataDir
from bflcd.setup.keyring import KeyRing
from tests.helpers.ledger import make_community, make_identities

START = make_community(10, 4, 6)
STATE = START.state
FIRST = START.keys[START.members[5]]
SECOND, THIRD, STRANGER = [one for one in make_identities(13) if one.node_id not in START.keys][:3]
PHRASE = b"open sesame"


def moved(state: State, old: Identity, new: Identity) -> State:
    account = account_of(state, old.node_id)
    assert account is not None
    return rotated(state, account, new.node_id)


ROTATED = moved(STATE, FIRST, SECOND)
TWICE = moved(ROTATED, SECOND, THIRD)
AWAY = replace(STATE, accounts=tuple(one for one in STATE.accounts if one.node != FIRST.node_id))


@pytest.fixture(autouse=True)
def _cheap_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keystore.write_key, "__kwdefaults__", {"cost": Cost(1, 8192)})


@pytest.fixture(params=[None, PHRASE], ids=["open", "sealed"])
def seal(request: pytest.FixtureRequest) -> bytes | None:
    found: bytes | None = request.param
    return found


@pytest.fixture
def place(tmp_path: Path, seal: bytes | None) -> DataDir:
    place = DataDir(tmp_path / "node")
    place.make()
    write_key(place.key, FIRST, seal)
    return place


def held(place: DataDir) -> set[str]:
    return {path.name for path in place.path.iterdir()}


def test_as_long_as_its_key_is_the_member_nothing_moves(place: DataDir, seal: bytes | None) -> None:
    write_key(place.next_key, SECOND, seal)
    keys = KeyRing(place, seal)
    for state in (STATE, AWAY):
        assert not keys.settle(state)
        assert keys.identity.node_id == read_facts(place.key).node_id == FIRST.node_id
    assert held(place) == {"node.key", "node.key.next"}


def test_the_next_key_takes_its_place_when_the_ledger_says_so_and_the_one_before_is_kept(
    place: DataDir, seal: bytes | None
) -> None:
    write_key(place.next_key, SECOND, seal)
    keys = KeyRing(place, seal)
    assert keys.settle(ROTATED, denied=True)
    assert keys.identity.seed == read_key(place.key, seal).seed == SECOND.seed
    assert read_key(place.kept_key(FIRST.node_id), seal).seed == FIRST.seed
    assert not place.next_key.exists()
    assert not keys.settle(ROTATED)


def test_where_managers_took_the_block_back_the_key_before_is_the_member_again(place: DataDir, seal: bytes | None) -> None:
    """Given two rotations that have happened and a third key that waits, when the chain goes back by all of them, then the first key
    is in its place, and none is lost."""
    keys = KeyRing(place, seal)
    write_key(place.next_key, SECOND, seal)
    assert keys.settle(ROTATED)
    write_key(place.next_key, THIRD, seal)
    for state, key in ((TWICE, THIRD), (ROTATED, SECOND), (STATE, FIRST), (TWICE, THIRD)):
        assert keys.settle(state)
        assert keys.identity.seed == read_key(place.key, seal).seed == key.seed
        assert {read_facts(path).node_id for path in (place.key, *place.kept_keys())} == {
            one.node_id for one in (FIRST, SECOND, THIRD)
        }


class _Killed(BaseException):
    """Ends the process, as far as a test can see that."""


@pytest.mark.parametrize("step", ["read_key", "keep_key", "take_key"])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_wherever_it_is_killed_the_next_start_has_the_right_key(
    place: DataDir, seal: bytes | None, step: str, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a rotation in the ledger, when the process ends before or after any step, then `node.key` is whole, and the next start
    takes up the member's key and still has the one before."""
    write_key(place.next_key, SECOND, seal)
    keys = KeyRing(place, seal)
    real = getattr(keyring, step)

    def killed(*given: object) -> None:
        if late:
            real(*given)
        raise _Killed

    with monkeypatch.context() as patched:
        patched.setattr(keyring, step, killed)
        with pytest.raises(_Killed):
            keys.settle(ROTATED)
    again = KeyRing(place, seal)
    assert again.identity.node_id in (FIRST.node_id, SECOND.node_id)
    again.settle(ROTATED)
    assert again.identity.seed == read_key(place.key, seal).seed == SECOND.seed
    assert read_key(place.kept_key(FIRST.node_id), seal).seed == FIRST.seed


def test_what_members_say_is_tried_and_moves_no_file(place: DataDir, seal: bytes | None) -> None:
    """Given a node that was away while its rotation was carried, when most members say so, then it goes on under the next key; the
    files follow when its own ledger has caught up, and go back if the next key is none either."""
    write_key(place.next_key, SECOND, seal)
    keys = KeyRing(place, seal)
    assert keys.settle(STATE, denied=True)
    assert keys.identity.seed == SECOND.seed
    assert held(place) == {"node.key", "node.key.next"}
    assert keys.settle(STATE)
    assert keys.identity.seed == FIRST.seed
    keys.settle(STATE, denied=True)
    keys.follow(STATE)
    assert read_key(place.key, seal).seed == FIRST.seed
    keys.follow(ROTATED)
    assert read_key(place.key, seal).seed == SECOND.seed
    assert not keys.settle(ROTATED)
    assert read_key(place.kept_key(FIRST.node_id), seal).seed == FIRST.seed


def test_a_ledger_that_is_fetched_anew_is_followed_by_the_key_that_members_know(place: DataDir, seal: bytes | None) -> None:
    """Given a member that has rotated twice and lost its chain, when it starts with the ledger of the genesis, which knows its
    first key alone, then its other keys are tried in turn until members deny none, and the files follow its own ledger."""
    keys = KeyRing(place, seal)
    for state, key in ((ROTATED, SECOND), (TWICE, THIRD)):
        write_key(place.next_key, key, seal)
        assert keys.settle(state)
    again = KeyRing(place, seal)
    again.settle(STATE)
    assert (again.identity.seed, again.tried) == (FIRST.seed, False)
    while again.identity.seed != THIRD.seed:
        assert again.has_others(STATE)
        assert again.settle(STATE, denied=True)
        assert again.tried
    for state in (STATE, ROTATED, TWICE):
        again.follow(state)
        assert again.identity.seed == THIRD.seed
    assert (read_key(place.key, seal).seed, again.tried) == (THIRD.seed, False)
    assert {read_facts(path).node_id for path in place.kept_keys()} == {FIRST.node_id, SECOND.node_id}


def test_after_all_keys_were_denied_it_is_the_turn_of_the_first_again(place: DataDir, seal: bytes | None) -> None:
    """Given a next key that is no member's, when liars deny the one in use and honest members the next one, then the node goes on
    under the one that its ledger knows, as often as that is said."""
    write_key(place.next_key, SECOND, seal)
    keys = KeyRing(place, seal)
    for key, tried in ((SECOND, True), (FIRST, False), (SECOND, True), (FIRST, False)):
        assert keys.has_others(STATE) is tried
        assert keys.settle(STATE, denied=True)
        assert (keys.identity.seed, keys.tried) == (key.seed, tried)
    assert held(place) == {"node.key", "node.key.next"}


def test_who_has_no_other_key_goes_on_with_its_own(place: DataDir, seal: bytes | None) -> None:
    keys = KeyRing(place, seal)
    for state in (STATE, ROTATED):
        assert not keys.settle(state, denied=True)
    assert keys.identity.seed == FIRST.seed


def test_a_key_that_managers_have_given_to_another_is_not_followed_by_one_that_waits(place: DataDir, seal: bytes | None) -> None:
    """Given a next key that never became a member, when the ledger has another key in the node's place, then it is not tried."""
    write_key(place.next_key, STRANGER, seal)
    keys = KeyRing(place, seal)
    assert not keys.settle(ROTATED, denied=True)
    assert keys.identity.seed == FIRST.seed


def test_the_key_to_rotate_to_is_made_once_and_sealed_as_the_one_in_use(place: DataDir, seal: bytes | None) -> None:
    keys = KeyRing(place, PHRASE)
    coming = keys.coming(STATE)
    assert read_facts(place.next_key).sealed is (seal is not None)
    assert place.next_key.stat().st_mode & 0o777 == 0o600
    assert keys.coming(STATE).seed == coming.seed == KeyRing(place, PHRASE).coming(STATE).seed


def test_nobody_rotates_to_a_key_that_the_ledger_knows(place: DataDir, seal: bytes | None) -> None:
    write_key(place.next_key, START.keys[START.members[0]], seal)
    with pytest.raises(OperatorError, match="the ledger knows this key already") as caught:
        KeyRing(place, seal).coming(STATE)
    assert caught.value.code == "key_known"


def test_who_goes_on_by_members_word_rotates_again(place: DataDir, seal: bytes | None) -> None:
    """Given a node under its next key, whose files have not followed yet, when it rotates again, then they follow first."""
    write_key(place.next_key, SECOND, seal)
    keys = KeyRing(place, seal)
    keys.settle(STATE, denied=True)
    coming = keys.coming(ROTATED)
    assert coming.node_id not in _ids(ROTATED)
    assert read_key(place.key, seal).seed == SECOND.seed


def _ids(state: State) -> Iterable[bytes]:
    return {account.node for account in state.accounts}

"""The key file: what is refused, and with which word."""

import contextlib
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from nacl.pwhash import argon2id

from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import (
    USUAL_COST,
    Cost,
    KeyFacts,
    keep_key,
    read_backup,
    read_facts,
    read_key,
    read_passphrase,
    reseal_key,
    take_key,
    write_key,
)
from bflcd.errors import MachineError, OperatorError

IDENTITY = Identity(b"k" * 32)
CHEAP = Cost(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
"""For tests of all but the cost itself."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "node.key"


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises((OperatorError, MachineError)) as caught:
        call()
    assert caught.value.hint
    assert IDENTITY.seed.hex() not in str(caught.value)
    return caught.value.code


@pytest.mark.parametrize("passphrase", [None, b"open sesame"])
def test_a_key_is_read_as_it_was_written(path: Path, passphrase: bytes | None) -> None:
    write_key(path, IDENTITY, passphrase, cost=CHEAP)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["node.key"]
    found = read_key(path, passphrase)
    assert (found.node_id, found.seed) == (IDENTITY.node_id, IDENTITY.seed)
    assert (IDENTITY.seed.hex() in path.read_text()) is (passphrase is None)


def test_a_key_is_never_overwritten(path: Path) -> None:
    write_key(path, IDENTITY)
    before = path.read_bytes()
    assert code_of(lambda: write_key(path, Identity(b"l" * 32))) == "key_exists"
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["node.key"]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    assert code_of(lambda: write_key(tmp_path / "absent" / "node.key", IDENTITY)) == "bad_path"


def test_a_sealed_key_needs_its_passphrase(path: Path) -> None:
    write_key(path, IDENTITY, b"right", cost=CHEAP)
    assert code_of(lambda: read_key(path)) == "bad_passphrase"
    assert code_of(lambda: read_key(path, b"wrong")) == "bad_passphrase"


def test_a_sealed_key_costs_its_thief_most_of_a_second_a_guess_unless_said_otherwise(path: Path) -> None:
    assert Cost(3, 256 * 2**20) == USUAL_COST
    write_key(path, IDENTITY, b"right")
    written = json.loads(path.read_text())
    assert (written["passes"], written["memory"]) == (3, 256 * 2**20)
    assert read_key(path, b"right").seed == IDENTITY.seed


@pytest.mark.parametrize(
    "cost",
    [{"passes": 0}, {"passes": 5}, {"passes": 2**40}, {"passes": -1}, {"memory": 0}, {"memory": 2**30 + 1}, {"memory": 2**60}],
    ids=str,
)
def test_a_key_file_can_make_nobody_spend_more_than_the_limit(path: Path, cost: dict[str, int]) -> None:
    write_key(path, IDENTITY, b"right", cost=CHEAP)
    path.write_text(json.dumps(json.loads(path.read_text()) | cost))
    assert code_of(lambda: read_key(path, b"right")) == "bad_key"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o601])
def test_a_key_that_others_may_touch_is_refused_with_the_remedy(path: Path, mode: int) -> None:
    write_key(path, IDENTITY)
    path.chmod(mode)
    with pytest.raises(OperatorError) as caught:
        read_key(path)
    assert (caught.value.code, caught.value.hint) == ("key_mode", f"chmod 600 {path}")


def test_a_key_that_its_owner_may_only_read_is_fine(path: Path) -> None:
    write_key(path, IDENTITY)
    path.chmod(0o400)
    assert read_key(path).node_id == IDENTITY.node_id


def test_a_missing_key_is_named(path: Path) -> None:
    assert code_of(lambda: read_key(path)) == "no_key"


SEED = IDENTITY.seed.hex()
GOOD = {"version": 1, "node_id": IDENTITY.node_id.hex(), "seed": SEED, "salt": ""}


@pytest.mark.parametrize(
    "contents",
    [
        "",
        "not json",
        "[]",
        "{}",
        json.dumps(GOOD | {"version": 2}),
        json.dumps(GOOD | {"version": "1"}),
        json.dumps(GOOD | {"extra": 1}),
        json.dumps(GOOD | {"seed": SEED[:-2]}),
        json.dumps(GOOD | {"seed": "zz" * 32}),
        json.dumps(GOOD | {"seed": "ab" * 32}),
        json.dumps(GOOD | {"salt": "ab"}),
        json.dumps(GOOD | {"node_id": "00" * 32}),
        json.dumps(GOOD) + " " * 5000,
    ],
)
def test_what_is_no_key_is_refused(path: Path, contents: str) -> None:
    path.write_text(contents)
    path.chmod(0o600)
    assert code_of(lambda: read_key(path)) == "bad_key"


def test_a_pipe_and_a_folder_are_no_keys(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    (tmp_path / "folder").mkdir(0o700)
    for name in ("pipe", "folder"):
        assert code_of(lambda name=name: read_key(tmp_path / name)) == "bad_key"


def phrase_file(folder: Path, line: bytes, mode: int = 0o600) -> Path:
    path = folder / "phrase"
    path.write_bytes(line)
    path.chmod(mode)
    return path


@pytest.mark.parametrize(("line", "expected"), [(b"one\ntwo\n", b"one"), (b"one", b"one"), (b" a b \r\n", b" a b ")])
def test_a_passphrase_is_the_first_line(tmp_path: Path, line: bytes, expected: bytes) -> None:
    assert read_passphrase(phrase_file(tmp_path, line)) == expected


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_passphrase_that_others_may_touch_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    phrase = phrase_file(tmp_path, b"open sesame\n", mode)
    with pytest.raises(OperatorError, match=f"mode {mode:o}") as caught:
        read_passphrase(phrase)
    assert (caught.value.code, caught.value.hint) == ("passphrase_mode", f"chmod 600 {phrase}")
    phrase.chmod(0o400)
    assert read_passphrase(phrase) == b"open sesame"


def test_a_passphrase_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for root's, who can read every file anyway."""
    phrase = phrase_file(tmp_path, b"open sesame\n")
    monkeypatch.setattr(os, "geteuid", lambda: phrase.stat().st_uid + 1)
    if phrase.stat().st_uid == 0:
        assert read_passphrase(phrase) == b"open sesame"
        monkeypatch.setattr("bflcd.crypto.keystore._ROOT", -1)
    assert code_of(lambda: read_passphrase(phrase)) == "passphrase_mode"


def test_a_passphrase_may_come_by_a_pipe() -> None:
    reads, writes = os.pipe()
    os.write(writes, b"open sesame\n")
    os.close(writes)
    try:
        assert read_passphrase(Path(f"/dev/fd/{reads}")) == b"open sesame"
    finally:
        os.close(reads)


def test_a_mark_that_nobody_sees_is_no_part_of_a_passphrase(tmp_path: Path) -> None:
    phrase = phrase_file(tmp_path, b"\xef\xbb\xbfsecret\r\n")
    with pytest.raises(OperatorError, match="no passphrase file") as caught:
        read_passphrase(phrase)
    assert "byte order mark" in caught.value.hint


@pytest.mark.parametrize("line", [b"", b"\n", b"x" * 2000, None])
def test_no_passphrase_is_refused(tmp_path: Path, line: bytes | None) -> None:
    if line is not None:
        phrase_file(tmp_path, line)
    assert code_of(lambda: read_passphrase(tmp_path / "phrase")) == "bad_passphrase"


def test_without_hard_links_a_key_is_written_in_place_and_never_over_another(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    write_key(path, IDENTITY)
    assert read_key(path).node_id == IDENTITY.node_id
    assert code_of(lambda: write_key(path, Identity(b"l" * 32))) == "key_exists"
    assert [entry.name for entry in path.parent.iterdir()] == ["node.key"]


def test_a_key_is_not_left_where_modes_are_not_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def without_modes(name: Path, flags: int, mode: int = 0o777) -> int:
        descriptor = real(name, flags, mode)
        if mode == 0o600:
            os.fchmod(descriptor, 0o755)
        return descriptor

    monkeypatch.setattr(os, "open", without_modes)
    assert code_of(lambda: write_key(path, IDENTITY)) == "file_system"
    assert list(path.parent.iterdir()) == []


# -- another seal, copies, another key ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", [None, b"before"])
@pytest.mark.parametrize("after", [None, b"after"])
def test_a_key_gets_another_seal(path: Path, before: bytes | None, after: bytes | None) -> None:
    write_key(path, IDENTITY, before, cost=CHEAP)
    reseal_key(path, IDENTITY, after, cost=CHEAP)
    assert read_key(path, after).seed == IDENTITY.seed
    assert read_facts(path) == KeyFacts(IDENTITY.node_id, after is not None)
    assert (IDENTITY.seed.hex() in path.read_text()) is (after is None)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["node.key"]


def test_a_backup_may_be_read_by_others_since_it_is_sealed(path: Path) -> None:
    write_key(path, IDENTITY, b"right", cost=CHEAP)
    path.chmod(0o755)
    assert read_backup(path, b"right").seed == IDENTITY.seed
    assert code_of(lambda: read_backup(path, b"wrong")) == "bad_passphrase"
    path.unlink()
    assert code_of(lambda: read_backup(path, b"right")) == "no_backup"
    write_key(path, IDENTITY)
    assert code_of(lambda: read_backup(path, b"right")) == "not_sealed"


def test_what_a_key_file_says_is_read_without_opening_it(path: Path) -> None:
    assert code_of(lambda: read_facts(path)) == "no_key"
    write_key(path, IDENTITY, b"right", cost=CHEAP)
    assert read_facts(path) == KeyFacts(IDENTITY.node_id, sealed=True)
    path.chmod(0o644)
    assert code_of(lambda: read_facts(path)) == "key_mode"
    path.write_text(json.dumps(GOOD | {"node_id": "00"}))
    path.chmod(0o600)
    assert code_of(lambda: read_facts(path)) == "bad_key"


OTHER = Identity(b"o" * 32)


def test_a_key_takes_the_place_of_another(path: Path) -> None:
    write_key(path, IDENTITY, b"right", cost=CHEAP)
    coming, kept = path.with_name("node.key.next"), path.with_name("node.key.old")
    write_key(coming, OTHER)
    keep_key(path, kept)
    assert read_key(kept, b"right").seed == IDENTITY.seed
    keep_key(coming, kept)
    assert read_key(kept).seed == OTHER.seed, "what it held is gone"
    take_key(coming, path)
    assert (read_key(path).seed, coming.exists()) == (OTHER.seed, False)
    assert code_of(lambda: take_key(coming, path)) == "bad_path"


class _Killed(BaseException):
    """Ends the process, as far as a test can see that."""


STEPS: dict[str, Callable[[Path], None]] = {
    "reseal": lambda path: reseal_key(path, IDENTITY, b"after", cost=CHEAP),
    "keep": lambda path: keep_key(path, path.with_name("node.key.old")),
    "take": lambda path: take_key(path.with_name("node.key.next"), path),
}
"""What changes a key that is there."""


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
@pytest.mark.parametrize("nth", [1, 2, 3])
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_wherever_it_is_killed_a_whole_key_is_there(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str, call: str, nth: int, late: bool
) -> None:
    """Given a key and another beside it, when the process ends before or after any call to the disk, then the key's file holds
    one of the two, whole, and the same step goes through afterwards."""
    write_key(path, IDENTITY, b"before", cost=CHEAP)
    write_key(path.with_name("node.key.next"), OTHER, b"before", cost=CHEAP)
    real, count = getattr(os, call), 0

    def killed(*given: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        if count < nth:
            return real(*given, **options)
        if late:
            real(*given, **options)
        raise _Killed

    with monkeypatch.context() as patched, contextlib.suppress(_Killed):
        patched.setattr(os, call, killed)
        patched.setattr(Path, "unlink", lambda *_, **__: None)  # who is dead cleans nothing up
        STEPS[step](path)
    found = [one for phrase in (b"before", b"after") if (one := opened(path, phrase)) is not None]
    assert [one.seed for one in found] in ([IDENTITY.seed], [OTHER.seed])
    if found[0].seed == IDENTITY.seed:
        STEPS[step](path)
        assert opened(path, b"after" if step == "reseal" else b"before") is not None


def opened(path: Path, phrase: bytes) -> Identity | None:
    try:
        return read_key(path, phrase)
    except OperatorError as error:
        if error.code != "bad_passphrase":
            raise
        return None

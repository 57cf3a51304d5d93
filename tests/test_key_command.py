"""`bflcd key`: show, backup, restore, passphrase; what it prints, what it refuses, and that it never shows a secret."""

import errno
import json
import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any, Self

import pytest
import typer

from bflcd.__main__ import main
from bflcd.commands import asking
from bflcd.commands import key as commands
from bflcd.core.records import RoundRecords
from bflcd.core.signing_guard import SigningGuard
from bflcd.crypto import keystore
from bflcd.crypto.identity import Identity, peer_id_of
from bflcd.crypto.keystore import Cost, read_backup, read_facts, read_key, take_key, write_key
from bflcd.setup import key_files
from bflcd.setup.datadir import DataDir
from bflcd.store.lock import DirectoryLock
from bflcd.store.marks import MarkFile
from bflcd.types import NodeId, Round

IDENTITY = Identity(b"k" * 32)


@pytest.fixture(autouse=True)
def _cheap_seals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A guess takes next to nothing."""
    cheap = Cost(1, 8192)
    monkeypatch.setattr(keystore.write_key, "__kwdefaults__", {"cost": cheap})
    monkeypatch.setattr(keystore.reseal_key, "__kwdefaults__", {"cost": cheap})


class Machine:
    """A node's directory, and files with passphrases beside it."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = folder
        self.capsys = capsys
        self.place = DataDir(folder / "node")
        self.place.make()

    def phrase(self, words: str) -> str:
        path = self.folder / words.replace(" ", "-")
        path.write_text(words + "\n")
        path.chmod(0o600)
        return str(path)

    def key(self, command: str, *arguments: str, datadir: Path | None = None) -> tuple[int, str]:
        """Exit code and output; no secret is ever in that."""
        code = main(["key", command, "--datadir", str(datadir or self.place.path), *arguments])
        said = self.capsys.readouterr()
        text = said.out + said.err
        assert IDENTITY.seed.hex() not in text
        assert "sesame" not in text
        return code, text


@pytest.fixture
def machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Machine:
    return Machine(tmp_path, capsys)


def test_it_shows_whose_key_it_is_without_opening_it(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY, b"open sesame")
    code, text = machine.key("show")
    assert (code, IDENTITY.node_id.hex() in text, peer_id_of(IDENTITY.node_id) in text) == (0, True, True)
    assert "by a passphrase" in text
    coming = Identity(b"n" * 32)
    write_key(machine.place.next_key, coming)
    kept = Identity(b"o" * 32)
    write_key(machine.place.kept_key(kept.node_id), kept)
    code, text = machine.key("show", "--json")
    assert json.loads(text)["data"] == {
        "node_id": IDENTITY.node_id.hex(),
        "peer_id": peer_id_of(IDENTITY.node_id),
        "sealed": True,
        "next": coming.node_id.hex(),
        "kept": [kept.node_id.hex()],
    }


def test_where_there_is_no_key_it_says_so(machine: Machine) -> None:
    for command in ("show", "passphrase"):
        code, text = machine.key(command)
        assert (code, "there is no key" in text) == (1, True), command
    code, text = machine.key("show", datadir=machine.folder / "absent")
    assert (code, "no such data directory" in text) == (1, True)


@pytest.mark.parametrize("seal", [None, b"open sesame"])
def test_a_backup_is_sealed_whatever_the_key_is_and_makes_the_same_node(machine: Machine, seal: bytes | None) -> None:
    write_key(machine.place.key, IDENTITY, seal)
    opens = ["--passphrase-file", machine.phrase("open sesame")] if seal else []
    output, phrase = machine.folder / "backup", machine.phrase("the second sesame")
    code, text = machine.key("backup", "--output", str(output), "--new-passphrase-file", phrase, *opens)
    assert (code, IDENTITY.node_id.hex() in text, "two rounds" in text) == (0, True, True)
    assert (output.stat().st_mode & 0o777, read_facts(output).sealed) == (0o600, True)
    before = output.read_bytes()
    code, text = machine.key("backup", "--output", str(output), "--new-passphrase-file", phrase, *opens)
    assert (code, "never overwritten" in text, output.read_bytes()) == (1, True, before)
    other = DataDir(machine.folder / "other")
    code, text = machine.key("restore", str(output), "--passphrase-file", phrase, datadir=other.path)
    assert (code, IDENTITY.node_id.hex() in text) == (0, True), text
    assert read_key(other.key, b"the second sesame").seed == IDENTITY.seed
    assert sorted(path.name for path in other.path.iterdir()) == ["LOCK", "node.key"]


async def test_a_restored_node_signs_nothing_before_two_rounds_have_closed(machine: Machine) -> None:
    """Given a key restored into a new directory, when its node starts, then it is in doubt as one that lost chain and marks: f + 1
    others have to say where they stand, and it signs nothing up to the round after that."""
    backup, phrase = machine.folder / "backup", machine.phrase("open sesame")
    write_key(backup, IDENTITY, b"open sesame")
    other = DataDir(machine.folder / "other")
    assert machine.key("restore", str(backup), "--passphrase-file", phrase, datadir=other.path)[0] == 0
    marks = MarkFile(other.marks)
    guard = SigningGuard.after_restart(marks.highest(), Round(0), RoundRecords((), (), (), ()))
    marks.close()
    assert guard.in_doubt
    stands = guard.settled_by((Round(7), Round(9)), 4, 10)
    assert stands is not None
    assert guard.confirmed(stands)
    assert [round_ for round_ in range(12) if guard.allows(Round(round_))] == [9, 10, 11]


@pytest.mark.parametrize("name", ["marks", "chain.sqlite3"])
def test_a_key_is_restored_nowhere_where_something_was_signed(machine: Machine, name: str) -> None:
    backup, phrase = machine.folder / "backup", machine.phrase("open sesame")
    write_key(backup, IDENTITY, b"open sesame")
    (machine.place.path / name).touch(0o600)
    code, text = machine.key("restore", str(backup), "--passphrase-file", phrase)
    assert (code, f"{name} is there" in text, machine.place.key.exists()) == (1, True, False)


def test_a_key_is_never_restored_over_another(machine: Machine) -> None:
    backup, phrase = machine.folder / "backup", machine.phrase("open sesame")
    write_key(backup, IDENTITY, b"open sesame")
    write_key(machine.place.key, Identity(b"o" * 32))
    code, text = machine.key("restore", str(backup), "--passphrase-file", phrase)
    assert (code, "never overwritten" in text) == (1, True)
    assert read_key(machine.place.key).node_id != IDENTITY.node_id


CHANGES = [
    (None, b"new sesame"),
    (b"old sesame", b"new sesame"),
    (b"old sesame", None),
]


@pytest.mark.parametrize(("before", "after"), CHANGES)
def test_a_seal_is_put_on_changed_and_taken_off_from_all_keys_that_are_there(
    machine: Machine, before: bytes | None, after: bytes | None
) -> None:
    place = machine.place
    paths = (place.key, place.next_key, place.kept_key(IDENTITY.node_id))
    for number, path in enumerate(paths):
        write_key(path, Identity(bytes([number]) * 32), before)
    opens = ["--passphrase-file", machine.phrase("old sesame")] if before else []
    wanted = ["--new-passphrase-file", machine.phrase("new sesame")] if after else ["--remove"]
    assert machine.key("passphrase", *opens, *wanted)[0] == 0
    for number, path in enumerate(paths):
        assert read_key(path, after).seed == bytes([number]) * 32
        assert read_facts(path).sealed is (after is not None)


@pytest.mark.parametrize("before", [None, b"old sesame"], ids=["open", "sealed"])
@pytest.mark.parametrize("killed_before", range(3))
def test_after_a_kill_the_same_order_puts_all_keys_under_the_new_seal(
    machine: Machine, before: bytes | None, killed_before: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a key, one that waits and one that was, when the process ends between two of them, then the one in use opens as before,
    and the same order once more does the rest; with a third passphrase nothing is opened."""
    place, real, done = machine.place, key_files.reseal_key, list[Path]()
    paths = {place.key: IDENTITY, place.next_key: Identity(b"n" * 32), place.kept_key(NodeId(b"o" * 32)): Identity(b"o" * 32)}
    for path, identity in paths.items():
        write_key(path, identity, before)
    opens = ["--passphrase-file", machine.phrase("old sesame")] if before else []
    order = ["passphrase", *opens, "--new-passphrase-file", machine.phrase("new sesame")]

    def killed(path: Path, *given: Any) -> None:
        if len(done) == killed_before:
            raise KeyboardInterrupt
        real(path, *given)
        done.append(path)

    with monkeypatch.context() as patched:
        patched.setattr(key_files, "reseal_key", killed)
        assert machine.key(*order)[0] != 0
    assert read_key(place.key, before).seed == IDENTITY.seed
    if done:
        assert machine.key("passphrase", *opens, "--new-passphrase-file", machine.phrase("third sesame"))[0] == 1
    assert machine.key(*order)[0] == 0
    assert {path: read_key(path, b"new sesame").seed for path in paths} == {path: key.seed for path, key in paths.items()}


def test_the_configured_passphrase_file_opens_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    write_key(machine.place.key, IDENTITY, b"open sesame")
    monkeypatch.setenv("BFLCD_NODE_PASSPHRASE_FILE", machine.phrase("open sesame"))
    assert machine.key("passphrase", "--remove")[0] == 0
    assert read_key(machine.place.key).seed == IDENTITY.seed


def test_a_wrong_passphrase_changes_nothing(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY, b"open sesame")
    before = machine.place.key.read_bytes()
    code, text = machine.key("passphrase", "--remove", "--passphrase-file", machine.phrase("wrong sesame"))
    assert (code, "does not open this key" in text, machine.place.key.read_bytes()) == (1, True, before)


def test_a_running_daemon_keeps_its_seal(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY)
    with DirectoryLock(machine.place.path):
        code, text = machine.key("passphrase", "--new-passphrase-file", machine.phrase("open sesame"))
    assert (code, "in use by process" in text, read_facts(machine.place.key).sealed) == (1, True, False)


def test_contradicting_orders_are_wrong_usage(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY)
    assert machine.key("passphrase", "--remove", "--new-passphrase-file", machine.phrase("open sesame"))[0] == 2


def test_where_nobody_can_be_asked_the_option_is_named(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY)
    code, text = machine.key("backup", "--output", str(machine.folder / "backup"))
    assert (code, "--new-passphrase-file FILE" in text) == (1, True)


def test_it_is_asked_at_the_terminal(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    asked: list[tuple[str, bool]] = []

    def prompt(text: str, **how: Any) -> str:
        assert (how["hide_input"], how["err"]) == (True, True)
        asked.append((text, how["confirmation_prompt"]))
        return "open sesame"

    monkeypatch.setattr(commands.sys, "stdin", Terminal())
    monkeypatch.setattr(commands.sys, "stderr", Terminal())
    monkeypatch.setattr(typer, "prompt", prompt)
    write_key(machine.place.key, IDENTITY)
    commands.back_up_key(datadir=machine.place.path, output=machine.folder / "backup")
    assert asked == [("the passphrase of the backup", True)]
    assert read_backup(machine.folder / "backup", b"open sesame").seed == IDENTITY.seed


# -- a running daemon ---------------------------------------------------------------------------------------------------------


class FakeDaemon(ThreadingMixIn, UnixStreamServer):
    """Answers at a directory's socket what it is told to, after what it is told to do."""

    daemon_threads = True

    def __init__(self, place: DataDir, answer: bytes, *, does: Callable[[], None] = lambda: None) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                size = int(self.headers["Content-Length"])
                daemon.asked.append((self.path, json.loads(self.rfile.read(size))))
                does()
                self.send_response(200)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: Any) -> None:
                """Nobody reads it."""

            def address_string(self) -> str:
                return "here"

        super().__init__(str(place.path / "api.sock"), Handler)

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


SIGNED = json.dumps({"status": "ok", "data": {"text": "one goes on under the key of another"}}).encode()


def test_a_running_daemon_rotates_its_key_and_the_command_says_what_follows(machine: Machine) -> None:
    place, coming = machine.place, Identity(b"n" * 32)
    write_key(place.key, IDENTITY)
    write_key(place.next_key, coming)
    with FakeDaemon(place, SIGNED, does=lambda: take_key(place.next_key, place.key)) as daemon:
        code, text = machine.key("rotate")
    assert (code, daemon.asked) == (0, [("/v1/operations", {"kind": "rotate"})])
    assert "one goes on" in text
    assert coming.node_id.hex() in text
    assert peer_id_of(coming.node_id) in text
    assert str(place.kept_key(IDENTITY.node_id)) in text
    assert "bflcd key backup" in text


def test_a_rotation_that_takes_longer_is_told(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY)
    with FakeDaemon(machine.place, SIGNED):
        code, text = machine.key("rotate", "--for", "0")
    assert (code, "waits" in text or "waiting" in text) == (0, True)


@pytest.mark.parametrize(
    ("answer", "code", "words"),
    [
        (
            b'{"status": "error", "code": "busy", "message": "another operation waits", "hint": "later"}',
            1,
            "another operation waits",
        ),
        *(
            (odd, 3, "is no daemon of ours")
            for odd in (
                b"no json",
                b"\xff\xfe",
                b"[]",
                b"5",
                b"[" * 100_000,
                b" " * (2**20 + 1),
                b'{"status": "ok"}',
                b'{"status": "ok", "data": {}}',
                b'{"status": "ok", "data": ["text"]}',
                b'{"status": "ok", "data": {"text": null}}',
                b'{"status": "error"}',
                b'{"status": "error", "message": "x", "code": 5}',
            )
        ),
    ],
)
def test_what_a_daemon_refuses_is_told(machine: Machine, answer: bytes, code: int, words: str) -> None:
    write_key(machine.place.key, IDENTITY)
    with FakeDaemon(machine.place, answer):
        found, text = machine.key("rotate")
    assert (found, words in text, "hint: " in text) == (code, True, True), text


def test_a_daemon_that_is_stopped_is_called_busy_and_not_absent(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a daemon that takes the order and gives no answer / Then nobody is told to start another one."""
    monkeypatch.setattr(asking, "ANSWER_SECONDS", 0.2)
    write_key(machine.place.key, IDENTITY)
    answered = threading.Event()
    with FakeDaemon(machine.place, SIGNED, does=lambda: answered.wait(30) and None):
        code, text = machine.key("rotate")
        answered.set()
    assert (code, "gave no answer within 0.2 s" in text, "start it" in text) == (4, True, False)


def test_a_socket_that_is_anothers_is_no_matter_of_starting(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(asking._Connection, "connect", refused)
    write_key(machine.place.key, IDENTITY)
    code, text = machine.key("rotate")
    assert (code, "run as its owner" in text, "start it" in text) == (3, True, False)


def test_without_a_daemon_nothing_is_rotated(machine: Machine) -> None:
    write_key(machine.place.key, IDENTITY)
    code, text = machine.key("rotate")
    assert (code, "no daemon answers" in text) == (3, True)
    assert sorted(path.name for path in machine.place.path.iterdir()) == ["node.key"]


@pytest.mark.parametrize("output", [".", "/", "..", "", "pipe", "link"])
def test_a_backup_goes_into_a_new_file(machine: Machine, monkeypatch: pytest.MonkeyPatch, output: str) -> None:
    monkeypatch.chdir(machine.folder)
    os.mkfifo("pipe")
    Path("link").symlink_to("nowhere")
    write_key(machine.place.key, IDENTITY)
    before = sorted(machine.folder.iterdir())
    code, text = machine.key("backup", "--output", output, "--new-passphrase-file", machine.phrase("open sesame"))
    assert (code, "name a new file with --output" in text) == (1, True)
    assert sorted(machine.folder.iterdir()) == sorted([*before, machine.folder / "open-sesame"])


@pytest.mark.parametrize("backup", ["pipe", ".", "/dev/zero", "words"])
def test_what_is_no_backup_is_not_to_be_restored_from_one(machine: Machine, monkeypatch: pytest.MonkeyPatch, backup: str) -> None:
    monkeypatch.chdir(machine.folder)
    os.mkfifo("pipe")
    Path("words").write_text("no key")
    code, text = machine.key("restore", backup, "--passphrase-file", machine.phrase("open sesame"))
    assert (code, "name a file that `bflcd key backup` made" in text, "can't be made again" in text) == (1, True, False)

"""What the system refuses: each errno has its blame and its remedy, and none is taken for a bug of ours."""

import errno
import os
from pathlib import Path

import pytest

from bflcd import faults
from bflcd.errors import MachineError, OperatorError
from bflcd.exit_codes import EXIT_BUG, exit_code_of, told
from bflcd.faults import fault_of, is_there, lacks, refused, sync_directory


@pytest.mark.parametrize("number", sorted(errno.errorcode))
def test_no_errno_is_a_bug_of_ours(number):
    fault = told(OSError(number, os.strerror(number), "/some/where"))
    if isinstance(fault, BrokenPipeError | TimeoutError):
        assert exit_code_of(fault) != EXIT_BUG
        return
    assert isinstance(fault, OperatorError | MachineError)
    assert str(fault) == f"/some/where: {os.strerror(number)}"
    assert fault.hint
    assert exit_code_of(fault) != EXIT_BUG


@pytest.mark.parametrize(
    ("error", "kind", "code", "hint"),
    [
        (OSError(errno.EACCES, "no"), OperatorError, "no_permission", "run as its owner"),
        (OSError(errno.EROFS, "no"), OperatorError, "no_permission", "choose another place"),
        (OSError(errno.ENOSPC, "no"), MachineError, "disk_full", "free some space"),
        (OSError(errno.EFBIG, "no"), MachineError, "io_error", "ulimit -f"),
        (OSError(errno.EMFILE, "no"), MachineError, "limit", "ulimit -n"),
        (OSError(errno.EAGAIN, "no"), MachineError, "limit", "ulimit -u"),
        (OSError(errno.ENOMEM, "no"), MachineError, "out_of_memory", "more memory"),
        (OSError(errno.ENOLCK, "no"), MachineError, "file_system", "local file system"),
        (OSError(errno.EIO, "no"), MachineError, "io_error", "the system's log"),
        (OSError(errno.ELOOP, "no"), OperatorError, "bad_path", "circle"),
        (MemoryError(), MachineError, "out_of_memory", "ulimit -v"),
        (RuntimeError("can't start new thread"), MachineError, "limit", "ulimit -u"),
        (UnicodeEncodeError("utf-8", "name-\udcff", 5, 6, "surrogates not allowed"), OperatorError, "bad_name", "UTF-8"),
        (ImportError("libtorch.so: failed to map segment"), MachineError, "install", "memory"),
    ],
)
def test_each_refusal_has_its_blame_and_its_remedy(error, kind, code, hint):
    fault = fault_of(error, "opening it")
    assert (type(fault), fault.code) == (kind, code)
    assert str(fault).startswith("opening it: ")
    assert hint in fault.hint


@pytest.mark.parametrize(
    "error",
    [RuntimeError("other"), KeyError("x"), ValueError("x"), OverflowError(), UnicodeEncodeError("ascii", "\xe4", 0, 1, "x")],
)
def test_what_the_system_did_not_refuse_stays_what_it_is(error):
    assert fault_of(error) is None
    assert told(error) is error


def test_a_working_directory_that_is_gone_is_named(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(FileNotFoundError) as caught:
        Path.cwd()
    assert str(fault_of(caught.value)) == "the working directory is gone"


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL])
def test_an_operation_that_a_file_system_lacks_is_named(number):
    fault = lacks("lock for a whole file (flock)", "LOCK", OSError(number, "no"))
    assert (fault.code, str(fault)) == ("file_system", "LOCK: this file system has no lock for a whole file (flock) (no)")
    assert lacks("lock", "LOCK", OSError(errno.ENOSPC, "full")).code == "disk_full"


def test_a_path_that_cannot_be_seen_is_neither_there_nor_absent(tmp_path, monkeypatch):
    assert is_there(tmp_path)
    assert not is_there(tmp_path / "absent")
    (tmp_path / "file").touch()
    assert not is_there(tmp_path / "file" / "below")

    def closed(*_args, **_kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("pathlib.Path.stat", closed)
    with pytest.raises(OperatorError, match="Permission denied") as caught:
        is_there(tmp_path)
    assert caught.value.code == "no_permission"


@pytest.mark.parametrize(("number", "known"), [(errno.EINVAL, True), (errno.ENOSYS, True), (errno.EIO, False)])
def test_a_file_system_without_sync_of_directories_is_gone_on_with(tmp_path, monkeypatch, number, known):
    def fails(_descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    if known:
        sync_directory(tmp_path)
    else:
        with pytest.raises(OSError, match="Input/output"):
            sync_directory(tmp_path)


def test_a_limit_on_open_files_is_seen_through_a_library_that_hides_it(monkeypatch):
    assert faults.limit_reached() is None

    def none_left(*_args):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", none_left)
    reached = faults.limit_reached()
    assert reached is not None
    assert "ulimit -n" in refused("asking", reached).hint

"""Every option of both programs: numbers beyond all that they can mean are refused, and are never a bug of ours."""

from typing import get_type_hints

import pytest

from bflc_cli import main as control
from bflcd import __main__ as daemon
from bflcd.exit_codes import EXIT_USAGE
from tests.helpers.surroundings import commands

RUN = {"bflcd": daemon.main, "bflc-cli": control.main}
NEEDED = {"--nodes": "5", "--member": "ab" * 32}


def numbers(kind):
    """(program, words, flag) of each option of that type."""
    for program, words, command in commands():
        hints = get_type_hints(command.callback)
        for parameter in command.params:
            if kind in str(hints.get(parameter.name)):
                yield pytest.param(program, words, command, parameter.opts[0], id=" ".join((program, *words, parameter.opts[0])))


def asked(tmp_path, program, words, command, flag, value):
    """Run a command with all that it needs and that one value."""
    given = {}
    for parameter in command.params:
        name = parameter.opts[0]
        if parameter.required or name == "--datadir":
            given[name] = NEEDED.get(name, str(tmp_path / "none"))
    given[flag] = value
    line = [f"{name}={one}" if name.startswith("--") else one for name, one in given.items()]
    if program == "bflc-cli":
        line += ["--datadir", str(tmp_path)]
    if "lab" in words:
        (tmp_path / "file").touch()
        line += ["--output", str(tmp_path / "file")]
    return RUN[program]([*words, *line])


@pytest.mark.parametrize(("program", "words", "command", "flag"), list(numbers("int")))
def test_a_whole_number_beyond_all_is_refused(tmp_path, capsys, program, words, command, flag):
    assert asked(tmp_path, program, words, command, flag, "9" * 31) == EXIT_USAGE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize(("program", "words", "command", "flag"), list(numbers("float")))
def test_what_is_no_number_is_refused(tmp_path, capsys, program, words, command, flag, value):
    assert asked(tmp_path, program, words, command, flag, value) == EXIT_USAGE
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("program", RUN)
def test_a_data_directory_without_a_name_is_none(tmp_path, monkeypatch, capsys, program):
    """Given a script whose variable is not set, Then it makes and reads nothing where it stands."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o700)
    words = {"bflcd": ["init", "--datadir", ""], "bflc-cli": ["--datadir", "", "status"]}[program]
    assert RUN[program](words) == EXIT_USAGE
    assert "--datadir" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("flag", ["--wait", "--timeout"])
def test_no_wait_is_without_end(tmp_path, flag):
    assert control.main([f"{flag}=nan", "--datadir", str(tmp_path), "status"]) == EXIT_USAGE

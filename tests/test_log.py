"""Log lines: for people, for machines, and never steered by what a peer sends."""

import errno
import io
import json
import logging
import os
import re
import shutil
import sys

import pytest

from bflcd.errors import OperatorError
from bflcd.log import (
    FILE_BACKUPS,
    FILE_BYTES,
    LOG_DIR,
    LOG_FILE,
    MAX_MESSAGE,
    PEERS_LINES,
    LogContext,
    PeersLines,
    by_peers,
    set_up_logging,
    shut_down_logging,
)

logger = logging.getLogger("bflcd.node.test")
network = logging.getLogger("bflcd.net.test")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def _quiet():
    levels = {
        name: logging.getLogger(name).level
        for name in ("", "bflcd", "bflc_cli", "libp2p", "asyncio", "multiaddr", "aiohttp.access")
    }
    yield
    shut_down_logging()
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def read_file(datadir):
    return [json.loads(line) for line in (datadir / LOG_DIR / LOG_FILE).read_text().splitlines()]


def test_people_get_a_line_with_node_round_and_view():
    out, context = io.StringIO(), LogContext(node="1a2b3c4d")
    set_up_logging("info", "auto", None, context, stream=out)
    logger.info("started on %s", "cpu")
    context.update(round_=12, view=1)
    logger.warning("waiting for %d cards", 2)
    logger.debug("not shown")
    first, second = out.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} INFO    1a2b3c4d node\.test: started on cpu", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} WARNING 1a2b3c4d r12 v1 node\.test: waiting for 2 cards", second)


def test_colour_is_for_terminals_alone():
    plain, terminal = io.StringIO(), Terminal()
    for out in (plain, terminal):
        set_up_logging("info", "auto", None, LogContext(), stream=out)
        logger.error("x")
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[31mERROR  \x1b[0m" in terminal.getvalue()


def test_json_lines_on_request():
    out, context = io.StringIO(), LogContext("1a2b3c4d", 3, 0)
    set_up_logging("info", "json", None, context, stream=out)
    logger.info("line\nbreak")
    [line] = out.getvalue().splitlines()
    entry = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {
        "level": "info",
        "node": "1a2b3c4d",
        "round": 3,
        "view": 0,
        "logger": "bflcd.node.test",
        "message": "line\nbreak",
    }


def test_the_file_has_json_lines_from_info_on_whatever_the_terminal_shows(tmp_path):
    out = io.StringIO()
    set_up_logging("error", "text", tmp_path, LogContext("n"), stream=out)
    logger.info("kept")
    logger.debug("not kept")
    assert out.getvalue() == ""
    assert [entry["message"] for entry in read_file(tmp_path)] == ["kept"]
    assert (tmp_path / LOG_DIR).stat().st_mode & 0o777 == 0o700


def test_an_exception_keeps_its_traceback(tmp_path):
    out = io.StringIO()
    set_up_logging("info", "text", tmp_path, LogContext(), stream=out)
    try:
        int("why")
    except ValueError:
        logger.exception("it failed")
    assert "it failed\nTraceback (most recent call last):" in out.getvalue()
    [entry] = read_file(tmp_path)
    assert entry["exception"].endswith("'why'")


def test_a_peers_words_cannot_forge_a_line_or_steer_the_terminal():
    out = io.StringIO()
    set_up_logging("info", "text", None, LogContext(), stream=out)
    logger.info("agent %s", "x\n12:00:00.000 ERROR  forged \x1b[2J")
    [line] = out.getvalue().splitlines()
    assert line.endswith(r"agent x\x0a12:00:00.000 ERROR  forged \x1b[2J")


def test_a_long_message_is_cut():
    out = io.StringIO()
    set_up_logging("info", "text", None, LogContext(), stream=out)
    logger.info("%s", "x" * 100_000)
    assert len(out.getvalue()) < MAX_MESSAGE + 200
    assert "(100000 characters)" in out.getvalue()


def test_the_files_size_is_bounded(tmp_path):
    set_up_logging("error", "text", tmp_path, LogContext(), stream=io.StringIO())
    for _ in range(5 * FILE_BYTES // MAX_MESSAGE + 100):
        logger.info("%s", "x" * MAX_MESSAGE)
    files = sorted((tmp_path / LOG_DIR).iterdir())
    assert len(files) == FILE_BACKUPS + 1
    assert sum(file.stat().st_size for file in files) <= (FILE_BACKUPS + 1) * FILE_BYTES


def test_noisy_libraries_are_heard_only_when_they_fail():
    out = io.StringIO()
    set_up_logging("debug", "text", None, LogContext(), stream=out)
    logging.getLogger("libp2p.host").warning("chatter")
    logging.getLogger("libp2p.host").error("failure")
    logging.getLogger("some.library").info("chatter")
    assert [line.split(": ", 1)[1] for line in out.getvalue().splitlines()] == ["failure"]


def test_setting_up_again_replaces(tmp_path):
    first, second = io.StringIO(), io.StringIO()
    set_up_logging("info", "text", tmp_path, LogContext(), stream=first)
    set_up_logging("info", "text", None, LogContext(), stream=second)
    logger.info("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_a_log_that_cannot_be_opened_says_where(tmp_path):
    (tmp_path / LOG_DIR).write_text("in the way")
    with pytest.raises(OperatorError, match=r"log/bflcd\.log: the log can't be opened"):
        set_up_logging("info", "text", tmp_path, LogContext(), stream=io.StringIO())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is Linux's")
def test_a_full_disk_costs_log_lines_and_says_so_once(tmp_path, capsys):
    (tmp_path / LOG_DIR).mkdir()
    (tmp_path / LOG_DIR / LOG_FILE).symlink_to("/dev/full")
    set_up_logging("error", "text", tmp_path, LogContext(), stream=io.StringIO())
    logger.info("one")
    logger.info("two")
    [line] = capsys.readouterr().err.splitlines()
    assert "log lines are lost: No space left on device" in line


def moved(folder):
    (folder / LOG_FILE).rename(folder / f"{LOG_FILE}-20260101")


def removed(folder):
    shutil.rmtree(folder)


@pytest.mark.parametrize("meddle", [moved, removed])
def test_lines_go_on_in_a_new_file_where_the_old_one_was_moved_or_removed(tmp_path, meddle):
    set_up_logging("info", "text", tmp_path, LogContext("n"), stream=io.StringIO())
    logger.info("before")
    meddle(tmp_path / LOG_DIR)
    logger.info("after")
    logger.info("on")
    told = "the log goes on in a new file: the old one was moved or removed from outside"
    assert [line["message"] for line in read_file(tmp_path)] == [told, "after", "on"]
    assert (tmp_path / LOG_DIR).stat().st_mode & 0o777 == 0o700


def test_lines_go_on_where_the_file_was_emptied(tmp_path):
    set_up_logging("info", "text", tmp_path, LogContext("n"), stream=io.StringIO())
    logger.info("before")
    os.truncate(tmp_path / LOG_DIR / LOG_FILE, 0)
    logger.info("after")
    assert [line["message"] for line in read_file(tmp_path)] == ["after"]


def replaced_by_a_file(datadir):
    shutil.rmtree(datadir / LOG_DIR)
    (datadir / LOG_DIR).write_text("")
    return (datadir / LOG_DIR).unlink


def moved_with_its_data_directory(datadir):
    elsewhere = datadir.rename(datadir.with_name("elsewhere"))
    return lambda: elsewhere.rename(datadir)


@pytest.mark.parametrize("take_away", [replaced_by_a_file, moved_with_its_data_directory])
def test_a_log_that_cannot_be_made_anew_is_told_once_and_goes_on_when_it_can(tmp_path, capsys, take_away):
    """Given a log that is gone, and can't be made / When lines are written / Then one message says so, and a later line goes in."""
    datadir = tmp_path / "node"
    datadir.mkdir()
    set_up_logging("info", "text", datadir, LogContext("n"), stream=io.StringIO())
    put_back = take_away(datadir)
    logger.info("lost")
    logger.info("lost too")
    put_back()
    logger.info("kept")
    assert "kept" in [line["message"] for line in read_file(datadir)]
    assert capsys.readouterr().err.count("log lines are lost") == 1


def test_a_log_that_is_gone_at_the_end_ends_in_order(tmp_path, capsys):
    datadir = tmp_path / "node"
    datadir.mkdir()
    set_up_logging("info", "text", datadir, LogContext("n"), stream=io.StringIO())
    shutil.rmtree(datadir)
    logger.info("lost")
    shut_down_logging()
    assert "log lines are lost" in capsys.readouterr().err


def test_where_nobody_can_be_told_of_lost_lines_either_the_node_goes_on(tmp_path, monkeypatch):
    class Full(io.StringIO):
        def write(self, _):
            raise OSError(errno.ENOSPC, "No space left on device")

    datadir = tmp_path / "node"
    datadir.mkdir()
    set_up_logging("info", "text", datadir, LogContext("n"), stream=io.StringIO())
    monkeypatch.setattr(sys, "stderr", Full())
    shutil.rmtree(datadir)
    logger.info("lost")
    shut_down_logging()


def test_what_peers_bring_about_is_written_some_times_a_minute_and_then_counted(tmp_path):
    """Given one line a thousand times, then the terminal and the file have as many of it as of any kind, and all of the others."""
    out = io.StringIO()
    set_up_logging("info", "text", tmp_path, LogContext(), stream=out)
    for number in range(1000):
        network.info("peer %d is gone", number)
        logger.info("block %d", number)
        logger.info("peer %d is there", number, extra=by_peers("peer_up"))
    for text in (out.getvalue(), (tmp_path / LOG_DIR / LOG_FILE).read_text()):
        assert [text.count(what) for what in ("is gone", "block", "is there")] == [PEERS_LINES, 1000, PEERS_LINES]


def test_the_next_minute_says_how_many_lines_were_left_out():
    lines = PeersLines()

    def written(seconds, text="a %s that is 100 % like the others"):
        record = logging.LogRecord("bflcd.net.peers", logging.INFO, __file__, 7, text.replace("% l", "%% l"), ("line",), None)
        record.created = seconds
        return record.getMessage() if lines.filter(record) else None

    assert [written(0.0) is None for _ in range(PEERS_LINES + 3)] == [False] * PEERS_LINES + [True] * 3
    assert written(59.9) is None
    assert written(60.0) == "a line that is 100 % like the others (and 4 lines like it were left out)"
    assert written(120.0) == "a line that is 100 % like the others"

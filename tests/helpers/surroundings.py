"""Environments in which nothing can be relied on: drawn from a seed, and a command of ours run in one as a process."""

import asyncio
import os
import resource
import subprocess
import sys
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, get_type_hints

import typer

from bflc_cli.main import app as control
from bflcd.commands.app import app as daemon
from bflcd.crypto.identity import Identity
from bflcd.crypto.keystore import write_key
from bflcd.store.marks import MarkFile
from bflcd.store.sqlite import SqliteStore
from tests.helpers.chains import begin_chain, fill

ROOT = Path(__file__).parents[2]

PROGRAMS = {"bflcd": typer.main.get_command(daemon), "bflc-cli": typer.main.get_command(control)}
MODULES = {"bflcd": "bflcd", "bflc-cli": "bflc_cli"}

SECONDS = 90
"""Longest life of a child: none of the commands has anything to wait for."""

NOBODY = 65_534
UNSPELLABLE = os.fsdecode(b"no-utf8-\xff\xfe")

STREAMS = ("pipe", "pipe", "pipe", "closed", "full", "broken")
PLACES = (
    "node",
    "node",
    "node",
    "absent",
    "empty",
    "file",
    "locked away",
    "damaged",
    "unspellable",
    "read only",
    "long",
    "circle",
    "pipe",
    "pipes inside",
    "folders inside",
)
SPOILT = ("file", "long", "circle", "pipe")
"""Places where nothing can be written: the laboratory would begin hours of work in others."""

LIMITS = {
    resource.RLIMIT_NOFILE: (8, 12, 16, 24),
    resource.RLIMIT_FSIZE: (0, 100, 5000),
    resource.RLIMIT_AS: (2**31,),
    resource.RLIMIT_NPROC: (0, 1),
}
INSIDE = (
    "chain.sqlite3",
    "node.key",
    "api.json",
    "marks",
    "testnet.json",
    "config.toml",
    "genesis.json",
    "LOCK",
    "log",
    "api.sock",
)
"""Files of a data directory, or of a testnet's."""

NUMBERS = ("-1", "0", "5", str(2**31), str(2**63), str(10**30))
FRACTIONS = ("-1", "0", "0.5", "nan", "inf", "-inf", "1e308")
TEXTS = ("", "x", "ab" * 32, "KEY=VALUE", "a\x1b[31mb", UNSPELLABLE, "\u202e", "x" * 5000)

VARIABLES = (
    {"HOME": None},
    {"HOME": "/nowhere/at/all"},
    {"TMPDIR": "/nowhere/at/all"},
    {"TERM": "dumb"},
    {"TERM": "no-such-terminal"},
    {"TERM": None, "FORCE_COLOR": "1"},
    {"COLUMNS": "many", "LINES": "-1"},
    {"COLUMNS": "0", "LINES": "0"},
    {"COLUMNS": "\u00b2", "LINES": "\u2460"},
    {"COLUMNS": "9" * 30},
    {"COLUMNS": "1", "LINES": "1"},
    {"PYTHONWARNINGS": "error"},
    {"PYTHONOPTIMIZE": "2"},
    {"PYTHONDEVMODE": "1"},
    {"PYTHONASYNCIODEBUG": "1", "PYTHONUNBUFFERED": "1"},
    {"PYTHONINTMAXSTRDIGITS": "640", "PYTHONHASHSEED": "0"},
    {"PYTHONSTARTUP": "/nowhere/at/all", "PYTHONINSPECT": ""},
    {"SSL_CERT_FILE": "/nowhere/at/all", "SSL_CERT_DIR": "/nowhere/at/all"},
    {"HTTP_PROXY": "no address", "ALL_PROXY": "socks9://x", "NO_PROXY": "[::"},
    {"MPLCONFIGDIR": "/dev/null", "MPLBACKEND": "none such"},
    {"OMP_NUM_THREADS": "many", "OPENBLAS_NUM_THREADS": "many"},
    {"SQLITE_TMPDIR": "/nowhere/at/all"},
    {"_BFLC_CLI_COMPLETE": "source_klingon"},
    {"TYPER_USE_RICH": "maybe", "TERMINAL_WIDTH": "-7"},
    {"TZ": "Mars/Olympus"},
    {"TZ": ":/etc/passwd"},
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"LANG": "xx_XX.klingon"},
    {"PYTHONIOENCODING": "ascii"},
    {"PYTHONIOENCODING": "latin-1:strict"},
    {"BFLCD_SERVICE_HOST": "10.0.0.1", "BFLCD_PORT": "tcp://10.0.0.1:9000", "BFLCD_PORT_9000_TCP_ADDR": "10.0.0.1"},
    {"BFLCD_API_PORT": "tcp://10.0.0.1:80"},
    {"BFLCD_IMAGE": "x", "BFLCD_STROE_KEEP": "3"},
    {"BFLCD_STORE_KEEP": "many"},
    {"BFLCD_DATA_PATH": UNSPELLABLE},
    {"BFLCD_DATADIR": UNSPELLABLE},
    {"BFLCD_NODE_NAME": "Ünïcödé \u202e\x1b[31m"},
    {"PATH": None},
    {"NO_COLOR": "1"},
)


@dataclass
class Surroundings:
    """What one child finds."""

    streams: tuple[str, str, str]
    place: str
    variables: dict[str, str | None] = field(default_factory=dict)
    limit: tuple[int, int] | None = None
    homeless: bool = False
    """Its working directory is gone."""
    nobody: bool = False
    """It runs as a user who owns nothing; only the superuser can do that to a child."""


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


def draw(rng: Random, places: tuple[str, ...] = PLACES) -> Surroundings:
    variables: dict[str, str | None] = {}
    for chosen in rng.sample(VARIABLES, rng.randrange(4)):
        variables |= chosen
    kind = rng.choice([None, None, *LIMITS])
    return Surroundings(
        streams=(rng.choice(("pipe", "pipe", "closed")), rng.choice(STREAMS), rng.choice(STREAMS)),
        place=rng.choice(places),
        variables=variables,
        limit=None if kind is None else (kind, rng.choice(LIMITS[kind])),
        homeless=rng.random() < 0.15,
        nobody=rng.random() < 0.4,
    )


def commands() -> list[tuple[str, tuple[str, ...], Any]]:
    """(program, words, click command) of every command that there is."""

    def walk(command: Any, words: tuple[str, ...]) -> Any:
        below = getattr(command, "commands", None)
        if not below:
            yield words, command
            return
        for name in sorted(below):
            yield from walk(below[name], (*words, name))

    return [(program, words, command) for program, top in PROGRAMS.items() for words, command in walk(top, ())]


def arguments_of(program: str, words: tuple[str, ...], command: Any, place: str, rng: Random, *, deep: bool) -> list[str]:
    """A command line with all that the command needs; `deep`: with values that it goes on with, and some of what it can take."""
    hints = get_type_hints(command.callback)
    given: list[str] = []
    for parameter in command.params:
        flags, hint = [flag for flag in parameter.opts if flag.startswith("--")], str(hints.get(parameter.name))
        drawn = rng.choice(_values_for(hint, place))
        needed = parameter.required or "--datadir" in flags
        if needed and not (deep and rng.random() < 0.3):
            drawn = place if "Path" in hint else ("5" if deep else "0") if "int" in hint else "ab" * 32
        if needed or (deep and "bool" not in hint and rng.random() < 0.3):
            given += [f"{flags[0]}={drawn}"] if flags else [drawn]
    if program == "bflcd":
        return [*words, *given]
    laboratory = [f"--data={place}", f"--output={place}", "--rounds=1"] if "lab" in words else []
    return [f"--datadir={place}", *(["--json"] if rng.random() < 0.4 else []), *words, *given, *laboratory]


def _values_for(hint: str, place: str) -> tuple[str, ...]:
    """What to draw from for a parameter of that type."""
    kinds = (("Path", (place, f"{place}/new", "", ".", "/", "/dev/null")), ("int", NUMBERS), ("float", FRACTIONS))
    return next((values for name, values in kinds if name in hint), TEXTS)


def make_place(kind: str, base: Path) -> Path:
    """A path of that kind below `base`, for a data directory or an output."""
    base.chmod(0o777)
    place = base / (UNSPELLABLE if kind == "unspellable" else "place")
    match kind:
        case "node":
            make_node(place)
        case "empty" | "unspellable":
            place.mkdir(mode=0o777)
            place.chmod(0o700)
        case "file":
            place.touch()
        case "locked away":
            (base / "locked").mkdir()
            (base / "locked").chmod(0)
            return base / "locked" / "place"
        case "damaged":
            place.mkdir(mode=0o700)
            for name in ("chain.sqlite3", "node.key", "api.json", "marks", "testnet.json"):
                (place / name).write_bytes(b"\xff\x00 no such thing \n" * 40)
                (place / name).chmod(0o600)
        case "read only":
            place.mkdir()
            place.chmod(0o500)
        case "long":
            return base / ("x" * 300)
        case "circle":
            place.symlink_to(place)
        case "pipe":
            os.mkfifo(place, 0o600)
        case "pipes inside":
            place.mkdir(mode=0o700)
            for name in INSIDE:
                os.mkfifo(place / name, 0o600)
        case "folders inside":
            place.mkdir(mode=0o700)
            for name in INSIDE:
                (place / name).mkdir(mode=0o700)
        case _:
            pass
    return place


def make_node(place: Path) -> None:
    """A node that has ended after two rounds: what a command finds most of the time."""
    place.mkdir(mode=0o700)
    write_key(place / "node.key", Identity(b"n" * 32))
    (place / "config.toml").touch(mode=0o600)

    async def write() -> None:
        store = await SqliteStore.open(place)
        await fill(store, begin_chain(), 2)
        await store.close()

    with asyncio.Runner() as runner:
        runner.run(write())
    MarkFile(place / "marks")


def run(program: str, arguments: list[str], around: Surroundings, base: Path) -> Outcome:
    """Run one command there to its end."""
    home = base / "home"
    home.mkdir()
    theirs, ours = _streams(around.streams)
    drops = around.nobody and can_be_nobody()

    def prepare() -> None:
        for number, descriptor in enumerate(theirs):
            if descriptor is None:
                os.close(number)
            else:
                os.dup2(descriptor, number)
        if around.homeless:
            home.rmdir()
        if drops:
            _become_nobody()
        if around.limit is not None:
            kind, value = around.limit
            resource.setrlimit(kind, (value, value))

    command = [sys.executable, "-P", "-m", MODULES[program], *arguments]
    process = subprocess.Popen(command, cwd=home, env=_environment(around), preexec_fn=prepare)  # noqa: PLW1509 - nothing else runs here
    for descriptor in theirs:
        if descriptor is not None:
            os.close(descriptor)
    try:
        process.wait(SECONDS)
    finally:
        if process.returncode is None:
            process.kill()
            process.wait()
    return Outcome(process.returncode, *(_rest_of(ours[number]) for number in (1, 2)))


def _streams(kinds: tuple[str, str, str]) -> tuple[list[int | None], dict[int, int | None]]:
    """The child's descriptors, None for a closed one, and our ends of those that we read. A pipe holds all that a command says."""
    theirs: list[int | None] = []
    ours: dict[int, int | None] = {1: None, 2: None}
    for number, kind in enumerate(kinds):
        if kind == "closed":
            theirs.append(None)
        elif kind == "full":
            theirs.append(os.open("/dev/full", os.O_WRONLY))
        elif number == 0:
            theirs.append(os.open(os.devnull, os.O_RDONLY))
        else:
            reads, writes = os.pipe()
            theirs.append(writes)
            if kind == "broken":
                os.close(reads)
            else:
                ours[number] = reads
    return theirs, ours


def _rest_of(descriptor: int | None) -> str:
    if descriptor is None:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        return file.read().decode(errors="replace")


def _environment(around: Surroundings) -> dict[str, str]:
    found = {key: value for key, value in os.environ.items() if not key.startswith(("BFLCD_", "PYTEST"))}
    found |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'cli'}", "PYTHONDONTWRITEBYTECODE": "1"}
    found.pop("OPENBLAS_NUM_THREADS", None)
    found |= {"OMP_NUM_THREADS": "1"}
    changes = around.variables
    return {key: value for key, value in {**found, **changes}.items() if value is not None}


def _become_nobody() -> None:
    os.setgroups([])
    os.setuid(NOBODY)  # the group stays: what Python itself lies in may be open to that only


@cache
def can_be_nobody() -> bool:
    """Whether a child can run Python as a user who owns nothing."""
    if os.geteuid() != 0:
        return False
    command = [sys.executable, "-P", "-c", "import bflcd"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        return subprocess.run(command, env=environment, preexec_fn=_become_nobody, check=False, cwd="/").returncode == 0
    except PermissionError:
        return False

"""The documents: every command, option, link, target and setting that they name is there, and every command is in them."""

import ast
import re
import shlex
from functools import cache
from pathlib import Path

import pytest
import typer

from bflc_cli.main import app as control
from bflcd.commands.app import app as daemon
from bflcd.config import FLAGS, SETTINGS
from bflcd.learn.aggregate import RULES
from bflcd.learn.attacks import ATTACKS
from bflcd.params import ELECTIONS

ROOT = Path(__file__).parents[1]

DOCUMENTS = sorted(
    path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")) if path.name != "CHANGELOG.md"
)  # a changelog may name what is gone

MAX_ARCHITECTURE = 250
"""Lines: what one reads in one sitting."""

PROGRAMS = {"bflcd": typer.main.get_command(daemon), "bflc-cli": typer.main.get_command(control)}


def code_of(text):
    """Command lines of fenced blocks (continuations joined) and of inline code."""
    for block in re.findall(r"^ *```[a-z]*\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL))


def invocations(text):
    """(program, words) of each bflcd or bflc-cli that a document shows; a container's arguments count as bflcd's."""
    for line in code_of(text):
        if re.search(r"[\u2500-\u257f]", line):
            continue  # a diagram
        bare = line.split(" #")[0].split("&&")[0].strip().removeprefix("$ ")
        try:
            words = shlex.split(bare)
        except ValueError:
            continue
        for index, word in enumerate(words):
            program = Path(word).name
            if program in PROGRAMS and (index == 0 or words[0] in {"docker", "docker-compose"}) and words[index + 1 :]:
                yield program, words[index + 1 :]
                break


def options_of(command):
    return {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}


def fault_of(program, words):
    """What is wrong with an invocation, or None. Global options may stand before or behind the command."""
    command, known, takes_value = PROGRAMS[program], options_of(PROGRAMS[program]), {}
    position = 0
    while position < len(words):
        word = words[position]
        position += 1
        if word.startswith("-") and word != "-":
            name = word.split("=")[0]
            if name not in known and name not in options_of(command):
                return f"{program}: no option {name}"
            takes_value = {
                o for c in (PROGRAMS[program], command) for p in c.params if not getattr(p, "is_flag", False) for o in p.opts
            }
            if name in takes_value and "=" not in word:
                position += 1
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return None if re.fullmatch(r"[A-Z|.\[\]…-]+", word) else f"{program}: no command {word}"
            command = command.commands[word]
            known |= options_of(command)
    return None


SHOWN = [
    pytest.param(program, words, id=f"{path.name}: {program} {' '.join(words)}"[:100])
    for path in DOCUMENTS
    for program, words in invocations(path.read_text())
]


def test_the_documents_show_commands():
    assert len(SHOWN) > 20


@pytest.mark.parametrize(("program", "words"), SHOWN)
def test_every_command_and_option_shown_exists(program, words):
    assert fault_of(program, words) is None


@pytest.mark.parametrize(
    ("program", "words", "fault"),
    [
        ("bflcd", ["strat", "--datadir", "x"], "bflcd: no command strat"),
        ("bflcd", ["start", "--datdir", "x"], "bflcd: no option --datdir"),
        ("bflc-cli", ["--datadir", "x", "prune", "--kep", "1"], "bflc-cli: no option --kep"),
        ("bflc-cli", ["--datadir", "status", "nothing"], "bflc-cli: no command nothing"),
    ],
)
def test_the_check_finds_what_is_wrong(program, words, fault):
    assert fault_of(program, words) == fault


def leaves(command, path):
    if hasattr(command, "commands"):
        for name, below in command.commands.items():
            yield from leaves(below, (*path, name))
    elif not getattr(command, "hidden", False):
        yield " ".join(path)


def test_every_command_stands_in_a_document():
    shown = {(program, word) for path in DOCUMENTS for program, words in invocations(path.read_text()) for word in words}
    named = {code for path in DOCUMENTS for code in code_of(path.read_text())}
    absent = [
        f"{program} {name}"
        for program, command in PROGRAMS.items()
        for name in leaves(command, ())
        if name not in named and not all((program, word) in shown for word in name.split())
    ]
    assert absent == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"[a-z]+:|#", link)]
    broken = [link for link in links if not (path.parent / link.split("#")[0]).exists()]
    assert broken == []


def anchors_of(path):
    """What a link may name behind `#`: GitHub's names of the headings."""
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_anchor_resolves(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([\w./-]*)#([^)\s]+)\)", text)
    broken = [f"{file}#{anchor}" for file, anchor in links if anchor not in anchors_of(path.parent / file if file else path)]
    assert broken == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_make_target_named_exists(path):
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match for line in code_of(path.read_text()) for match in re.findall(r"(?:^|&& )make ([a-z][a-z-]*)", line.strip())}
    assert named - targets == set()


def test_the_table_of_settings_is_complete():
    text = (ROOT / "docs" / "operations.md").read_text()
    rows = {row[0]: row for row in re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.*?) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)}
    assert set(rows) == set(SETTINGS) - {"node.datadir"}
    for key, (_, _, flag, allowed) in rows.items():
        assert allowed == SETTINGS[key].allowed
        assert re.findall(r"--[a-z-]+", flag) == re.findall(r"--[a-z-]+", FLAGS.get(key, ""))


def test_the_table_of_attacks_is_the_registry():
    text = (ROOT / "docs" / "attacks.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (.*?) \| ([0-9.]+), .*? \| (\w+) \|$", text, re.MULTILINE)
    expected = [(name, found.text, f"{found.attack.strength:g}", found.attack.lies.value) for name, found in ATTACKS.items()]
    assert rows == expected


def test_the_decision_on_aggregation_states_every_rule_of_the_registry():
    text = (ROOT / "docs" / "adr" / "0003-exact-aggregation.md").read_text()
    assert re.findall(r"^- `([a-z-]+)`[:,]", text, re.MULTILINE) == list(RULES)


def test_the_default_election_is_the_one_that_the_document_names():
    """Given both commands that make a genesis, then what docs/cli.md calls the default of --election is theirs."""
    text = (ROOT / "docs" / "cli.md").read_text()
    line = next(line for line in text.splitlines() if line.startswith("`--election` is "))
    assert set(re.findall(r"`([a-z][a-z-]*)`", line.partition(", as in")[0])) == set(ELECTIONS)
    for name in ("testnet", "genesis"):
        (option,) = [found for found in PROGRAMS["bflcd"].commands[name].params if "--election" in found.opts]
        assert re.findall(r"`([a-z-]+)` \(the default\)", line) == [option.default]


def test_every_flag_of_a_setting_is_one_of_start():
    known = options_of(PROGRAMS["bflcd"].commands["start"])
    assert [flag for flags in FLAGS.values() for flag in flags.split(" or ") if flag not in known] == []


def test_the_architecture_is_short():
    assert len((ROOT / "docs" / "architecture.md").read_text().splitlines()) <= MAX_ARCHITECTURE


# -- what the documents call things ---------------------------------------------------------------------------------------------

CODE_NAMED = tuple(ROOT / "docs" / name for name in ("architecture.md", "consensus.md", "design.md", "glossary.md"))
"""Documents in which every name in code marks is one of the code."""

NOT_OURS = {"synchronous", "torch.func.vmap", "kill -9"}
"""Names of libraries and programs."""


def without_operations(text):
    """`<!-- operation -->` parts name what stands in `bflcd/ledger/operations` once that is there."""
    if (ROOT / "bflcd" / "ledger" / "operations").is_dir():
        return text
    return re.sub(r"<!-- operation -->.*?<!-- /operation -->", "", text, flags=re.DOTALL)


def marked(path):
    """The code marks of a document outside of its fenced blocks."""
    text = re.sub(r"^ *```.*?^ *```", "", without_operations(path.read_text()), flags=re.MULTILINE | re.DOTALL)
    return sorted(set(re.findall(r"`([^`\n]+)`", text)))


@cache
def sources():
    """Text of every source file by its path."""
    files = (path for folder in ("bflcd", "cli", "tests") for path in (ROOT / folder).rglob("*.py"))
    return {path.relative_to(ROOT): path.read_text() for path in files}


@cache
def defined():
    """Every name that the sources define: classes, functions, assignments, fields, arguments, and short texts (settings, options)."""
    names = set()
    for path, text in sources().items():
        if path.name == Path(__file__).name:
            continue  # what it takes for gone is named here
        names.update((path.stem, *path.parts))
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names.add(node.name)
            elif isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 40:
                names.add(node.value)
    return names


def is_there(name):
    """Whether a code mark is a file or folder, a module, or a name of the code."""
    if "/" in name or name.endswith((".py", ".md", ".toml", ".sqlite3")):
        if (ROOT / name).exists() or any((ROOT / base / name).exists() for base in ("bflcd", "tests", "docs")):
            return True
        return any(path.match(f"**/{name}") or path.match(f"{name}") for path in sources())
    bare = name.removeprefix("@").partition("(")[0]
    if any((ROOT / base / bare.replace(".", "/")).with_suffix(end).exists() for base in ("", "bflcd") for end in ("", ".py")):
        return True
    return name in defined() or all(part in defined() for part in re.split(r"\.|: | = ", bare) if part)


@pytest.mark.parametrize("path", CODE_NAMED, ids=lambda path: path.name)
def test_every_name_in_code_marks_is_there(path):
    shown = [
        name
        for name in marked(path)
        if name not in NOT_OURS and not re.match(r"-|bflcd? |bflc-cli|make |python |https?:|\{", name)
    ]
    assert [name for name in shown if not is_there(name)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_source_file_named_exists(path):
    named = {name for name in marked(path) if re.fullmatch(r"[\w./*-]+\.py", name)}
    theirs = {"flowers.py"}  # the reader's own, in the tutorial
    absent = [
        name for name in named - theirs if not list((ROOT).glob(name)) and not any(p.match(f"**/{name}") for p in sources())
    ]
    assert absent == []


def test_a_name_that_is_gone_is_found():
    there = (
        "bflcd/core/core.py",
        "core/test_core.py",
        "Core._open",
        "ledger.transition.decide",
        "score_margin",
        "validate_segment",
    )
    gone = ("bflcd/core/heart.py", "Core._no_such", "ledger.no_such_file.decide", "NoSuchClass")
    assert [name for name in (*there, *gone) if not is_there(name)] == list(gone)


ARROWS = r"(?:->>|-->>)"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_sequence_diagrams_can_be_drawn(path):
    """Every participant is declared, every line is one that Mermaid knows, every block is closed."""
    for block in re.findall(r"^```mermaid\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
        first, *lines = [line.strip() for line in block.splitlines()]
        assert first == "sequenceDiagram"
        known, depth = set(), 0
        for line in lines:
            declared = re.fullmatch(r"participant (\w+) as .+", line)
            arrow = re.fullmatch(rf"(\w+){ARROWS}(\w+): [^;#]+", line)
            note = re.fullmatch(r"Note over (\w+)(?:,(\w+))?: [^;#]+", line)
            block_line = re.fullmatch(r"(loop|par|alt|opt|and|else|end)\b[^;#]*", line)
            assert declared or arrow or note or block_line, line
            if declared:
                known.add(declared[1])
            for found in (arrow, note):
                assert found is None or {found[1], found[2] or found[1]} <= known, line
            if block_line:
                depth += {"end": -1, "and": 0, "else": 0}.get(block_line[1], 1)
        assert depth == 0


def test_the_readme_and_the_rest_stand_where_people_look():
    missing = [
        name for name in ("README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "Makefile") if not (ROOT / name).exists()
    ]
    assert missing == []
    assert "Apache License" in (ROOT / "LICENSE").read_text()

"""docs/tutorial-community.md, its commands run as typed, and what it says that they print."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.daemons import ROOT
from tests.helpers.documents import Reader, Step, Typed, follow, steps_of

PORTS = range(4101, 4108)
"""Those of the document."""

STEP_SECONDS = 240.0
"""For how long a step looks until it sees what the document shows; the first rounds of six machines need 20 where nothing else runs."""


def free_ports(count: int) -> list[int]:
    """As many that nobody has, all different."""
    with ExitStack() as stack:
        taken = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in taken:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in taken]


def test_a_document_is_taken_apart_into_what_is_typed_and_what_is_shown() -> None:
    text = """
```sh
make setup && . .venv/bin/activate
bflc-cli --datadir a --wait 60 status   # again and again
```

```text
peers  5
```

```sh
bflc-cli --datadir a status
bflc-cli --datadir a stop
```
"""
    steps = steps_of(text)
    assert steps == [
        Step("bflc-cli --datadir a --wait 60 status", "peers  5\n"),
        Step("bflc-cli --datadir a status\nbflc-cli --datadir a stop", ""),
    ]
    assert [step.looks for step in steps] == [True, False]


def test_ids_are_what_they_are_called_here() -> None:
    reader = Reader({"4101": "5555"})
    shown = "node id    aaaaaaaa...\n...\nlistens    4101, seen by aaaaaaaa\n"
    whole = "0123abcd" * 8
    assert not reader.matches(shown, f"node id {whole}\nlistens 5555, seen by 76543210\n")
    assert reader.matches(shown, f"node id {whole}\n\nround 3\nheight 9\nlistens  5555, seen by 0123abcd\n")
    assert reader.command("admit aaaaaaaa --port 4101; CHAIN=aaaaaaaa...") == f"admit 0123abcd --port 5555; CHAIN={whole}"
    assert reader.matches("aaaaaaaa pays 280 for ...\n", "0123abcd pays 280 for 76543210: fees 80\n")
    assert not reader.matches("aaaaaaaa pays 280 for ...\n", "76543210 pays 280 for 0123abcd: fees 80\n")
    assert reader.matches("under the key bbbbbbbb\n", "under the key fedc9876\n")
    assert reader.matches("node bbbbbbbb...\n", f"node fedc9876{whole[8:]}\n")
    assert reader.command("CHAIN=bbbbbbbb...") == f"CHAIN=fedc9876{whole[8:]}"
    assert not reader.matches("node bbbbbbbb...\n", f"node fedc9876{whole[9:]}\n")
    assert not reader.matches("pays 280\n", "pays 281\n")
    assert not reader.matches("pays 280\n", "pays 280\nwarning: more\n")


def test_what_was_set_stays_and_what_fails_is_named(shell: Typed) -> None:
    assert shell.run("word=there; say() { echo $word; }") == ("", "")
    assert shell.run("say | sed s/t/T/") == ("There\n", "")
    assert shell.run("false; say") == ("there\n", "false")
    with pytest.raises(AssertionError, match="failed: ls absent"):
        follow(Step("ls absent 2> /dev/null", ""), Reader({}), shell, 0)
    with pytest.raises(AssertionError, match="should print\nhere"):
        follow(Step("say", "here\n"), Reader({}), shell, 0)


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Typed]:
    (tmp_path / "tests").symlink_to(ROOT / "tests")  # the document begins in the project's directory
    typed = Typed(tmp_path)
    yield typed
    typed.close()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_tutorial_of_a_community(shell: Typed) -> None:
    """Given nothing, when its commands are typed one after the other, then each prints what stands under it."""
    steps = steps_of((ROOT / "docs" / "tutorial-community.md").read_text())
    assert len(steps) > 30
    here = zip(map(str, PORTS), map(str, free_ports(len(PORTS))), strict=True)
    reader = Reader(dict(here))
    for step in steps:
        follow(step, reader, shell, STEP_SECONDS)

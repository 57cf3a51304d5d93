"""Where peers of other libraries stand: `make foreign` fetches them into `.foreign`, or BFLC_FOREIGN names another folder."""

import os
import shutil
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]


def folder() -> Path:
    """The folder of both."""
    return Path(os.environ.get("BFLC_FOREIGN", ROOT / ".foreign"))


def go_program() -> Path:
    """The go-libp2p daemon. Skips the test where it is absent."""
    program = folder() / "hivemind" / "hivemind_cli" / "p2pd"
    if not os.access(program, os.X_OK):
        pytest.skip(f"no go-libp2p daemon at {program}: `make foreign` fetches it")
    return program


def node_packages() -> Path:
    """The folder that has the JavaScript packages as `node_modules`. Skips the test where they, or Node.js, are absent."""
    if not (folder() / "node_modules" / "libp2p").is_dir():
        pytest.skip(f"no JavaScript libp2p in {folder()}: `make foreign` fetches it")
    if shutil.which("node") is None:
        pytest.skip("no Node.js on this machine")
    return folder()

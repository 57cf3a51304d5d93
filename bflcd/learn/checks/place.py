"""What code that is not ours raised, and the line of it that did: its author has to mend that one."""

import sysconfig
import traceback
from pathlib import Path
from typing import Final

import numpy as np
import torch

import bflcd

_LINE_CHARS: Final = 160
"""Of a line of code, in a message."""

_LIBRARIES: Final = tuple(f"{Path(module.__file__ or '').parent}/" for module in (bflcd, torch, np))
"""What calls a task's code, and what it calls: neither is at fault where the task stands between."""

_STANDARD: Final = f"{sysconfig.get_path('stdlib')}/"

_INSTALLED: Final = ("/site-packages/", "/dist-packages/")
"""Folders of installed packages, a task's own perhaps, which may lie below the standard library's."""


def said_of(error: BaseException) -> str:
    """An error of a task's code or of torch in one line, with the last line of the task's own code on its way."""
    said = f"{type(error).__name__}: {_words(error)}"
    frame = _last_of_task(error)
    if frame is None:
        return said
    return f"{said} ({Path(frame.filename).name} line {frame.lineno}, in {frame.name}: {(frame.line or '')[:_LINE_CHARS]})"


def _words(error: BaseException) -> str:
    try:
        return str(error)
    except Exception as another:  # noqa: BLE001 - the task's own class may say anything, or nothing
        return f"its own words raise {type(another).__name__}"


def _last_of_task(error: BaseException) -> traceback.FrameSummary | None:
    frames = traceback.extract_tb(error.__traceback__)
    return next((frame for frame in reversed(frames) if not _is_library(frame.filename)), None)


def _is_library(name: str) -> bool:
    standard = name.startswith(_STANDARD) and not any(folder in name for folder in _INSTALLED)
    return standard or name.startswith(("<", *_LIBRARIES))

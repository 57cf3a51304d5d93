"""The daemon's command with failpoints and a journal: `python -m tests.crash.daemon start ...`, as `bflcd` in everything else."""

import os
import sys
from pathlib import Path
from typing import Final

from bflcd.__main__ import main
from tests.crash import failpoints, journal

ORDER: Final = "CRASH_ORDER"
"""Environment variable: the file in which an order to kill is found."""

JOURNAL: Final = "CRASH_JOURNAL"
"""Environment variable: the file to which the journal is appended."""

if __name__ == "__main__":
    written = journal.Journal(Path(os.environ[JOURNAL]))
    killer = failpoints.Killer(Path(os.environ[ORDER]), lambda point: written.line("hit", point))
    failpoints.install(killer.reached)
    journal.install(written)
    sys.exit(main())

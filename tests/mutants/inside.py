"""Runs one catcher inside a copy of the tree, after making sure that the copy, and no installed package, is what is imported."""

import os
import runpy
import sys
import traceback
from pathlib import Path

import bflc_cli
import bflcd
import tests.mutants.catchers

NO_VERDICT = 3


def main() -> None:
    """Take the copy's root, a module, and the module's arguments."""
    root, module, arguments = Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3:]
    for package in (bflcd, bflc_cli, tests.mutants.catchers):
        imported = Path(str(package.__file__)).resolve()
        if root not in imported.parents:
            sys.stderr.write(f"{package.__name__} is imported from {imported}, not from the copy at {root}\n")
            sys.exit(NO_VERDICT)
    sys.argv = [module, *arguments]
    status = NO_VERDICT
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as ended:
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - shown, and no verdict
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # a test that failed leaves its store open, whose threads would keep the interpreter for ever


if __name__ == "__main__":
    main()

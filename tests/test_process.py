"""What processes ask of the kernel for themselves, seen from a process of its own: what is given up does not come back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bflcd.process import WANTED_FILES, WORKER_FILE_BYTES

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="prctl(2) is Linux's")

LOOK = """
import ctypes, json, os, resource, sys
from bflcd import process
lack = process.{call}
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
prctl = ctypes.CDLL(None).prctl
signal = ctypes.c_int()
prctl(2, ctypes.byref(signal))
print(json.dumps({{
    "dumpable": prctl(3, 0, 0, 0, 0), "new rights": prctl(39, 0, 0, 0, 0) == 0, "parent's death": signal.value, "lack": lack or "",
    "umask": int(status["Umask"], 8),
    **{{name: resource.getrlimit(getattr(resource, "RLIMIT_" + name))[0] for name in ("CORE", "FSIZE", "DATA", "NOFILE")}},
}}))
"""


def seen(call: str, before: str = "") -> dict[str, object]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"import resource; {before}" + LOOK.format(call=call)
    done = subprocess.run(
        [sys.executable, "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    return json.loads(done.stdout)


def test_a_worker_is_confined():
    found = seen("confine_worker(2**31)")
    assert (found["dumpable"], found["new rights"], found["parent's death"]) == (0, False, 9)
    assert (found["CORE"], found["FSIZE"], found["DATA"]) == (0, WORKER_FILE_BYTES, 2**31)
    assert seen("confine_worker()")["DATA"] != 0


def test_a_daemon_keeps_its_memory_and_files_and_has_enough_of_them():
    found = seen(
        "harden_daemon()", "resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    )
    assert (found["dumpable"], found["CORE"], found["umask"]) == (0, 0, 0o077)
    hard = found["NOFILE"]
    assert hard == WANTED_FILES or found["lack"] or 1024 <= hard < WANTED_FILES


SPAWN = """
import asyncio, os, uvloop
from bflcd import process
from bflcd.learn import spawning
given = os.open(os.devnull, os.O_RDONLY)
os.set_inheritable(given, True)
process.harden_daemon()
spawning.command = lambda _: (sys.executable, "-c", "import os, sys; print(os.path.exists(f'/proc/self/fd/{sys.argv[1]}'))", str(given))
async def ask():
    worker = await spawning.spawn(dict(os.environ), 0)
    print((await worker.communicate())[0].decode().strip())
uvloop.run(ask())
"""


def test_what_was_left_open_to_a_daemon_does_not_reach_its_worker():
    """Given a descriptor that was inherited, as by a shell or service manager, When a worker starts, Then it lacks it."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "import sys" + SPAWN]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


def test_a_daemon_with_too_few_files_says_so():
    found = seen("harden_daemon()", "resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
    assert "only 256 files may be open" in found["lack"]
    assert "ulimit -n 1024" in found["lack"]

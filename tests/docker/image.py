"""The image of this checkout: on the official base where a registry answers, else on a Debian made here, from wheels made here."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests.docker.engine import Engine, NoEngineError, say

ROOT = Path(__file__).parents[2]
WHEELS = ROOT / ".wheels"
OFFICIAL_BASE = "python:3.11-slim"
LOCAL_BASE = "bflc-base"
IMAGE = "bflcd"
BASE_PACKAGES = "python3,python3-venv,ca-certificates,libgmp10"
PULL_SECONDS = 60.0


def build_image(engine: Engine) -> str:
    """Build the image and return its name. Raises NoEngineError if there is no base to build on."""
    base = _base(engine)
    arguments = ["--build-arg", f"BASE_IMAGE={base}"]
    if base == LOCAL_BASE:
        _make_wheels()
        arguments += ["--network", "none"]
    say(f"building the image on {base}")
    engine.docker("build", "-q", *arguments, "-t", IMAGE, str(ROOT), timeout=1200)
    return IMAGE


def _base(engine: Engine) -> str:
    for name in (OFFICIAL_BASE, LOCAL_BASE):
        if engine.docker("images", "-q", name).strip():
            return name
    try:
        engine.docker("pull", "-q", OFFICIAL_BASE, timeout=PULL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        say("the image registry does not answer")
    if engine.docker("images", "-q", OFFICIAL_BASE).strip():
        return OFFICIAL_BASE
    _make_base(engine)
    return LOCAL_BASE


def _make_base(engine: Engine) -> None:
    """A minimal Debian with Python, from the packages that this machine can reach."""
    if not shutil.which("mmdebstrap"):
        raise NoEngineError(f"{OFFICIAL_BASE} can't be pulled, and mmdebstrap is not installed to make another base")
    say("making a base image")
    tree = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={BASE_PACKAGES}", "bookworm", "-"]
    with subprocess.Popen(tree, stdout=subprocess.PIPE) as made:
        subprocess.run(
            ["docker", "import", "-", LOCAL_BASE],
            stdin=made.stdout,
            env=engine.environment,
            check=True,
            timeout=600,
            capture_output=True,
        )
    if made.returncode != 0:
        raise NoEngineError("mmdebstrap failed; its message stands above")


def _make_wheels() -> None:
    """Everything that is installed into the image, as wheels: those of others once, our own anew."""
    if sys.version_info[:2] != (3, 11):
        raise NoEngineError("wheels for the base image need Python 3.11: set up .venv with it")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "-w", str(WHEELS)]
    for ours in WHEELS.glob("bflcd-*.whl"):
        ours.unlink()
    if not any(WHEELS.glob("torch-*.whl")):
        say("building wheels")
        subprocess.run([*pip, "-c", "constraints.txt", "."], cwd=ROOT, check=True, timeout=1200)
    else:
        subprocess.run([*pip, "--no-deps", "."], cwd=ROOT, check=True, timeout=300)

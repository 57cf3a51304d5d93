"""Communities of daemons put through the manifests of tests/manifests: a short one by default, the others take minutes."""

from pathlib import Path

import pytest

from tests.manifests.generating import generate
from tests.manifests.manifest import Manifest, read_manifest
from tests.manifests.running import run_manifest

FILES = sorted((Path(__file__).parents[1] / "manifests").glob("*.toml"))

DRAWN = (1, 2)
"""Seeds of the drawn manifests that are kept; `python -m tests.manifests run --seed N` runs any other."""

pytestmark = pytest.mark.timeout(900)


def show(manifest: Manifest, directory: Path) -> None:
    """Given the community of a manifest, When it is perturbed as that says, Then all that it expects comes true."""
    verdict = run_manifest(manifest, directory)
    assert verdict.complaints == []


def test_the_short_one(tmp_path: Path) -> None:
    show(read_manifest(next(path for path in FILES if path.stem == "short")), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "short"], ids=lambda path: path.stem)
def test_every_other(path: Path, tmp_path: Path) -> None:
    show(read_manifest(path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", DRAWN)
def test_drawn_ones(seed: int, tmp_path: Path) -> None:
    show(generate(seed), tmp_path)

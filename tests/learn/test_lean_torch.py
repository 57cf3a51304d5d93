"""The lean import leaves a torch that works, and what it left out can still be had."""

import subprocess
import sys

import pytest

LEAN = "import sys; from bflcd.learn.lean_torch import import_torch; import_torch(); import torch; "


@pytest.mark.parametrize(
    "code",
    [
        "assert 'torch._prims' not in sys.modules",
        "import torch._meta_registrations as m; assert hasattr(m, 'register_meta')",
        "x = torch.ones(3, requires_grad=True); (x * x).sum().backward(); assert x.grad.tolist() == [2.0] * 3",
        "import gc; assert gc.isenabled()",
    ],
)
def test_lean_import(code):
    subprocess.run([sys.executable, "-c", LEAN + code], check=True, timeout=60)

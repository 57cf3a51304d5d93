"""The worker's environment: what computing needs of the daemon's, and nothing else: it may hold secrets of other programs."""

import os
import re
import sys
from collections.abc import Mapping
from typing import Final

_MALLOC: Final = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 2**20),
    "MALLOC_TOP_PAD_": str(16 * 2**20),
}
"""glibc's settings, in bytes; other C libraries ignore them."""

_PASSED: Final = re.compile(
    r"PATH|HOME|USER|LOGNAME|TZ|LANG|LANGUAGE|LC_\w+|TMPDIR|TEMP|TMP|XDG_CACHE_HOME|(DY)?LD_LIBRARY_PATH"
    r"|PYTHON(HASHSEED|WARNINGS|DONTWRITEBYTECODE|PYCACHEPREFIX|UTF8|FAULTHANDLER|HOME)"
    r"|(CUDA|NVIDIA|CUBLAS|CUDNN|NCCL|TORCH|PYTORCH|TRITON|OMP|GOMP|KMP|MKL|OPENBLAS|HIP|HSA|ROCR|MIOPEN)_\w+"
)
"""Names that are passed on: where programs and libraries lie, language, scratch space, settings of torch's libraries."""


def worker_environment(threads: int, own: Mapping[str, str], more: tuple[str, ...] = ()) -> dict[str, str]:
    """The child's environment: of `own` what computing needs and what `more` names, module path, thread counts.

    Two malloc arenas are enough for two threads and save tens of MiB; activations are kept for the next batch instead of being
    returned to the system and faulted in again (a fifth of the time); cuBLAS is deterministic only with a fixed workspace.
    """
    passed = {name: value for name, value in own.items() if name in more or _PASSED.fullmatch(name)}
    path = os.pathsep.join(os.path.abspath(entry) for entry in sys.path)  # noqa: PTH100 - entries may be empty or zip files
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**passed, "PYTHONPATH": path, "CUBLAS_WORKSPACE_CONFIG": ":4096:8", **_MALLOC, **counts}

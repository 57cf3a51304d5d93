"""matplotlib where something is to be drawn: it need not be installed, and needs no place to write to but that of the picture."""

import os
import shutil
import sys
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bflcd.errors import OperatorError
from bflcd.faults import refused
from bflcd.files import beside, check_place, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS: Final = 150
"""Per inch, of a command's picture."""

_CACHE: Final = "MPLCONFIGDIR"
"""The variable that says where matplotlib keeps what it knows of fonts."""


def check_picture(path: Path | None) -> None:
    """Raise OperatorError, MachineError before the work whose picture, if one is wanted, could not be drawn or written."""
    if path is not None:
        check_place(path)
        load_matplotlib(path.parent, "--plot needs")


def write_picture(figure: "Figure", path: Path) -> None:
    """Write a PNG, whatever the ending of its name, whole or not at all. Raises OperatorError, MachineError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional

    FigureCanvasAgg(figure)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    write_whole(path, drawn.getvalue())


def load_matplotlib(folder: Path, what: str) -> None:
    """Load it before the work that it is to draw. `folder`: where the picture goes; `what`: needs it.

    It keeps a cache at home, else among temporary files. Where neither can be written to, it has a folder there for the moment of
    its loading. Raises OperatorError (`no_matplotlib`), and what the file system refuses.
    """
    if find_spec("matplotlib") is None:
        raise OperatorError(f"{what} matplotlib, which is not installed", hint="pip install 'bflcd[lab]'", code="no_matplotlib")
    try:
        _load()
    except OSError:
        _load_beside(folder)


def _load_beside(folder: Path) -> None:
    while not folder.is_dir() and folder != folder.parent:  # the folder of results is made later
        folder = folder.parent
    cache = beside(folder / "matplotlib")
    try:
        cache.mkdir()
        for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
            del sys.modules[name]  # parts of the load that failed, of which the next would make half a library
        os.environ[_CACHE] = str(cache)
        _load()
    except OSError as error:
        raise refused(f"{folder}: matplotlib can keep nothing there", error) from error
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _load() -> None:
    import matplotlib.backends.backend_agg  # noqa: PLC0415 - optional, and slow to import
    import matplotlib.figure  # noqa: F401, PLC0415

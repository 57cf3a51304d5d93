"""Pictures that commands draw: PNG files, without a display, by matplotlib, which need not be installed."""

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bflcd.files import check_place, write_whole
from bflcd.pictures import load_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS: Final = 150
"""Per inch."""


def check_picture(path: Path | None) -> None:
    """Raise OperatorError, MachineError before the work whose picture, if one is wanted, could not be drawn or written."""
    if path is None:
        return
    check_place(path)
    load_matplotlib(path.parent, "--plot needs")


def write_picture(figure: "Figure", path: Path) -> None:
    """Write a PNG, whatever the ending of its name, whole or not at all. Raises OperatorError, MachineError."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - optional

    FigureCanvasAgg(figure)
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    write_whole(path, drawn.getvalue())

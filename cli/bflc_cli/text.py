"""Values as people read them: short ids, sizes, durations, shares."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def short(hexadecimal: str) -> str:
    """The first eight digits of an id or a hash."""
    return hexadecimal[:8]


def shorts(ids: Sequence[str], limit: int = 12) -> str:
    """Several short ids, the rest as a count."""
    shown = " ".join(short(id_) for id_ in ids[:limit])
    return f"{shown} and {len(ids) - limit} more" if len(ids) > limit else shown or "-"


def size(value: float) -> str:
    """Bytes in the largest unit that leaves a whole number."""
    amount, unit = float(value), 0
    while abs(amount) >= 1024 and unit < len(_UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {_UNITS[unit]}" if unit == 0 else f"{amount:.1f} {_UNITS[unit]}"


def duration(seconds: float | None) -> str:
    """Seconds as `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def clock(moment: datetime) -> str:
    """Local time of day to the millisecond."""
    return moment.astimezone().strftime("%H:%M:%S.%f")[:-3]


def share(value: float | None) -> str:
    """0 to 1 as a percentage."""
    return "-" if value is None else f"{100 * value:.2f} %"


def nats(value: int | None) -> str:
    """Micro-nats as nats with a sign."""
    return "-" if value is None else f"{value / 1e6:+.4f}"


def millinats(value: int) -> str:
    """Micro-nats as thousandths of a nat with a sign."""
    return f"{value / 1e3:+.2f}"


def round_of(round_: int) -> str:
    """A round, or a dash for never."""
    return "-" if round_ < 0 else str(round_)


def yes(value: bool) -> str:
    """`yes`, or nothing."""
    return "yes" if value else ""

"""What a trainer claims of its rows' privacy, within the bounds that are checked; nobody can check whether it is true."""

from dataclasses import dataclass
from typing import Annotated, Final

from bflcd.limits import Between

MOST_EPSILON: Final = 1_000_000
"""In thousandths: beyond a thousand a bound says nothing."""

LEAST_EXPONENT: Final = 2
MOST_EXPONENT: Final = 15
"""Of delta, a negative power of ten: above a hundredth it promises nothing, below 10^-15 rounding takes over."""


@dataclass(frozen=True, slots=True)
class PrivacyClaim:
    """What a trainer says that its updates have told of each of its rows so far, the one in this offer included.

    `epsilon` in thousandths, rounded up; delta is 10^-`exponent`.
    """

    epsilon: Annotated[int, Between(0, MOST_EPSILON)]
    exponent: Annotated[int, Between(LEAST_EXPONENT, MOST_EXPONENT)]

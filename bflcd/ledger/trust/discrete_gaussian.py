"""The discrete Gaussian, drawn exactly from a secret key (Canonne, Kamath and Steinke 2020, algorithms 1 to 3).

No floating point: what is drawn of a double betrays what it was added to by its last bits (Mironov 2012). For an answer in whole
numbers that one row changes by at most D, noise of scale s gives zero-concentrated differential privacy with rho = D^2 / (2 s^2),
as the continuous one does. The same key gives the same number, on every machine.
"""

from math import isqrt

from bflcd.crypto.hashing import Domain, digest, integer


class _Bits:
    """Fair numbers from a key: hashes of it and a counter."""

    def __init__(self, key: bytes) -> None:
        self._key, self._count = key, 0
        self._pool, self._held = 0, 0

    def below(self, bound: int) -> int:
        """Fair among 0 to `bound` - 1: of as many bits as it takes, what is too large is drawn again."""
        wanted = (bound - 1).bit_length()
        while True:
            while self._held < wanted:
                fresh = digest(Domain.NOISE, self._key, integer(self._count))
                self._count += 1
                self._pool = self._pool << 8 * len(fresh) | int.from_bytes(fresh, "big")
                self._held += 8 * len(fresh)
            self._held -= wanted
            drawn, self._pool = self._pool >> self._held, self._pool & ((1 << self._held) - 1)
            if drawn < bound:
                return drawn

    def happens(self, numerator: int, denominator: int) -> bool:
        """With that probability, at most 1."""
        return self.below(denominator) < numerator

    def decays(self, numerator: int, denominator: int) -> bool:
        """With probability exp(-numerator / denominator), for any that is not negative."""
        while numerator > denominator:
            if not self._decays_once(denominator, denominator):
                return False
            numerator -= denominator
        return self._decays_once(numerator, denominator)

    def _decays_once(self, numerator: int, denominator: int) -> bool:
        """The same for at most 1: how many times in a row a chance of x / k happens is even with probability exp(-x)."""
        count = 1
        while self.happens(numerator, denominator * count):
            count += 1
        return count % 2 == 1

    def laplace(self, scale: int) -> int:
        """Whole x with probability proportional to exp(-|x| / scale)."""
        while True:
            low = self.below(scale)
            if not self.decays(low, scale):
                continue
            high = 0
            while self.decays(1, 1):
                high += 1
            size, negative = low + scale * high, self.happens(1, 2)
            if size or not negative:  # else zero would come twice as often
                return -size if negative else size


def drawn(key: bytes, numerator: int, denominator: int = 1) -> int:
    """A whole x with probability proportional to exp(-x^2 / (2 s^2)), where s = numerator / denominator; 0 for s = 0.

    Expects fewer than ten hashes' worth of bits a number, whatever the scale.
    """
    if numerator == 0:
        return 0
    bits, square, below = _Bits(key), numerator**2, denominator**2
    scale = isqrt(square // below) + 1
    while True:
        found = bits.laplace(scale)
        # exp(-(|x| - s^2 / scale)^2 / (2 s^2)), over the common denominator
        away = abs(found) * scale * below - square
        if bits.decays(away**2, 2 * square * below * scale**2):
            return found

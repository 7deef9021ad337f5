"""Bytes out of values that are none, such as 16-bit integers, by the range of a whole set."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

_BYTE = 255


@dataclass(frozen=True)
class Range:
    """The lowest and the highest of some values, and how they become bytes.

    - From 0 to 1: times 255.
    - From 0 to 255: as they are, rounded.
    - From 0 to 65,535: divided by the power of two that takes the highest into a byte, which is 256 for the
      whole of 16 bits, and rounded down.
    - Others: the lowest is 0, and the highest 255.
    """

    low: float
    high: float

    @classmethod
    def of(cls, values: np.ndarray) -> "Range":
        """The range of values; not finite if any of these is not."""
        return cls(float(values.min()), float(values.max()))

    @classmethod
    def around(cls, ranges: Iterable["Range"]) -> "Range":
        """The range of all values of several ranges."""
        ranges = list(ranges)
        return cls(min(each.low for each in ranges), max(each.high for each in ranges))

    @property
    def finite(self) -> bool:
        """Whether all values are finite."""
        return bool(np.isfinite(self.low) and np.isfinite(self.high))

    @property
    def _is_positive(self) -> bool:
        return self.low >= 0 and self.high < 1 << 16

    @property
    def divisor(self) -> int:
        """The power of two that values up to 65,535 are divided by."""
        return max(1, 1 << (int(self.high).bit_length() - 8)) if self.high >= _BYTE + 1 else 1

    def as_bytes(self, values: np.ndarray) -> np.ndarray:
        """Return values within the range as uint8 of the same shape."""
        values = values.astype(np.float64)
        if not self._is_positive:
            values = (values - self.low) * (_BYTE / ((self.high - self.low) or 1))
        elif self.high <= 1:
            values = values * _BYTE
        elif self.high > _BYTE:
            return np.floor(values / self.divisor).astype(np.uint8)
        return np.rint(values).astype(np.uint8)

    def said(self) -> str:
        """Say what is done to the values, as the end of a sentence."""
        if not self._is_positive:
            return "they are scaled so that the lowest is 0 and the highest 255"
        if self.high <= 1:
            return "they are multiplied by 255"
        return f"they are divided by {self.divisor}" if self.high > _BYTE else "they are taken as they are"

"""Numbers in kernels: bfloat16, which numba does not know and whose bits are in int16, and comparisons.

Each of these functions has one form for float32 and one for the bits of a bfloat16.
"""

from typing import Any

import numpy as np

from dropbench.kernels import compiled

_NAN = 0x7FFF
"""A NaN, the largest int16. The order of positive int16 is that of the bfloat16 whose bits they are."""


def widened(value: Any) -> Any:
    """The element of an array as float32."""
    raise NotImplementedError  # numba puts a form of _forms in its place, here and below


def narrowed(value: Any, like: Any) -> Any:
    """The float32 ``value`` as an element of ``like``'s array: rounded to nearest, ties to even."""
    raise NotImplementedError


def comparable(value: Any) -> Any:
    """The value as ``exceeds`` and ``active`` compare it, which is an element of the array, too."""
    raise NotImplementedError


def exceeds(value: Any, largest: Any) -> Any:
    """Whether the value takes the place of the largest so far: it is larger, or NaN."""
    raise NotImplementedError


def active(value: Any) -> Any:
    """Whether a ReLU passes the value, in its comparable form, and its gradient: above 0, or NaN."""
    raise NotImplementedError


def _forms() -> None:
    """Give numba the two forms of each function."""
    from numba import types
    from numba.extending import overload

    bits = types.int16

    @overload(widened)
    def _(value):  # type: ignore[no-untyped-def]
        if value == bits:
            return lambda value: np.uint32(np.uint32(np.uint16(value)) << np.uint32(16)).view(np.float32)
        return lambda value: value

    @overload(narrowed)
    def _(value, like):  # type: ignore[no-untyped-def]
        return (
            (lambda value, like: _rounded(np.float32(value))) if like == bits else lambda value, like: value
        )

    @overload(comparable)
    def _(value):  # type: ignore[no-untyped-def]
        if value == bits:
            return lambda value: np.int16(_NAN) if np.int16(value & _NAN) > 0x7F80 else value
        return lambda value: value

    @overload(exceeds)
    def _(value, largest):  # type: ignore[no-untyped-def]
        if value == bits:
            return lambda value, largest: (value > largest) | (value == np.int16(_NAN))
        return lambda value, largest: (value > largest) | (value != value)  # NaN is not itself

    @overload(active)
    def _(value):  # type: ignore[no-untyped-def]
        return (lambda value: value > 0) if value == bits else lambda value: not value <= 0


@compiled.inlined
def _rounded(value):  # type: ignore[no-untyped-def]
    bits = np.float32(value).view(np.uint32)
    last = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    rounded = np.uint32(np.uint32(bits + np.uint32(np.uint32(0x7FFF) + last)) >> np.uint32(16))
    return np.int16(rounded) if value == value else np.int16(_NAN)  # NaN is not itself


if compiled.numba is not None:
    _forms()

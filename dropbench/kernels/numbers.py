"""Arithmetic on bfloat16 in kernels, which numba does not know: its bits are in int16 arrays."""

from typing import Any

import numpy as np

from dropbench.kernels import compiled


def widened(value: Any) -> Any:
    """The element of an array as float32; int16 are the bits of a bfloat16."""
    raise NotImplementedError  # numba puts one of the functions below in its place


def narrowed(value: Any, like: Any) -> Any:
    """The float32 ``value`` as an element of the array that has ``like``, rounded to nearest, ties to even."""
    raise NotImplementedError


if compiled.numba is not None:
    from numba import types
    from numba.extending import overload

    @overload(widened, inline="always")
    def _widened(value):  # type: ignore[no-untyped-def]
        if value == types.int16:
            return lambda value: np.uint32(np.uint32(np.uint16(value)) << np.uint32(16)).view(np.float32)
        return lambda value: value

    @overload(narrowed, inline="always")
    def _narrowed(value, like):  # type: ignore[no-untyped-def]
        if like == types.int16:
            return lambda value, like: _rounded(np.float32(value))
        return lambda value, like: value


@compiled.helper
def _rounded(value):  # type: ignore[no-untyped-def]
    bits = np.float32(value).view(np.uint32)
    last = np.uint32(np.uint32(bits >> np.uint32(16)) & np.uint32(1))
    rounded = np.uint32(np.uint32(bits + np.uint32(np.uint32(0x7FFF) + last)) >> np.uint32(16))
    return np.int16(rounded) if value == value else np.int16(0x7FC0)  # noqa: PLR0124  # NaN differs from itself

"""The inputs that arrays hold: looked over once, then brought into the form of a data set in parts."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from dropbench.datasets.arrays.layout import Layout
from dropbench.datasets.arrays.stored import CHUNK, kept
from dropbench.datasets.column import LARGEST
from dropbench.errors import DropbenchError
from dropbench.run.telling import counted


class Inputs:
    """The inputs of all splits, of one shape and one type: images of bytes or float32, or a table of float64.

    Args:
        arrays: the inputs by what they are called; those of the training examples are the first.
        layouts: how the axes of each lie.
        to_bytes: whether images of numbers from 0 to 1 become bytes, rounded.

    Raises:
        DropbenchError: if a number is NaN, infinite or too large, if all are the same, or if some images are
            bytes and others are not.

    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], layouts: Mapping[str, Layout], to_bytes: bool = False
    ) -> None:
        self._arrays = arrays
        self._layouts = layouts
        (training, layout), *_ = layouts.items()
        self._shape = layout.shape
        self._dtype: np.dtype[Any] = np.dtype(np.float64 if layout.features else np.float32)
        between = {called: _between(called, array, self._dtype) for called, array in arrays.items()}
        if between[training][0] == between[training][1]:
            raise DropbenchError(
                f"{training} holds nothing but {between[training][0]:g}.", "There is nothing to learn from."
            )
        if layout.features:
            _refuse_large(between)
        else:
            bytes_ = {called for called, array in arrays.items() if array.dtype == np.uint8}
            unit = {called for called, (least, most) in between.items() if least >= 0 and most <= 1}
            if bytes_ | (unit if to_bytes else set()) == set(arrays):
                self._dtype = np.dtype(np.uint8)
            elif bytes_:
                other = min(set(arrays) - bytes_)
                raise DropbenchError(
                    f"{min(bytes_)} holds bytes, and {other} {arrays[other].dtype} from "
                    f"{between[other][0]:g} to {between[other][1]:g}.",
                    "Write both in one way.",
                )

    def take(self, chosen: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the chosen examples of some arrays, one array after another; ``chosen`` has booleans."""
        if len(chosen) == 1:
            ((called, of_it),) = chosen.items()
            array, layout = self._arrays[called], self._layouts[called]
            if of_it.all() and array.dtype == self._dtype and layout.is_ready(array):
                return layout.arranged(array)
        chunks = (
            self._changed(self._layouts[called].arranged(chunk))
            for called, of_it in chosen.items()
            for chunk in _chunks(self._arrays[called], of_it)
        )
        examples = sum(int(of_it.sum()) for of_it in chosen.values())
        return kept(chunks, (examples, *self._shape), self._dtype)

    def _changed(self, chunk: np.ndarray) -> np.ndarray:
        if self._dtype == np.uint8 and chunk.dtype != np.uint8:
            return np.rint(chunk * 255.0).astype(np.uint8)
        return chunk.astype(self._dtype, copy=False)


def _refuse_large(between: Mapping[str, tuple[float, float]]) -> None:
    """Refuse the numbers of a table whose squares are no numbers."""
    for called, (least, most) in between.items():
        if max(-least, most) > LARGEST:
            raise DropbenchError(
                f"{called} has numbers from {least:g} to {most:g}, beyond {LARGEST:.1e}.",
                "Write them in a larger unit.",
            )


def _between(called: str, array: np.ndarray, dtype: np.dtype[Any]) -> tuple[float, float]:
    """Return the least and the largest number of an array; refuse what is not finite as ``dtype``."""
    least, most, missing, infinite, examples = np.inf, -np.inf, 0, 0, 0
    for chunk in _chunks(array):
        with np.errstate(over="ignore"):
            numbers = chunk.astype(dtype) if chunk.dtype.kind == "f" else chunk
        low, high = float(numbers.min()), float(numbers.max())
        if np.isfinite(low) and np.isfinite(high):
            least, most = min(least, low), max(most, high)
        else:
            missing += int(np.isnan(numbers).sum())
            infinite += int(np.isinf(numbers).sum())
            examples += int((~np.isfinite(numbers)).reshape(len(numbers), -1).any(axis=1).sum())
    if missing or infinite:
        counts = ((missing, "NaN"), (infinite, "infinite"))
        found = " and ".join(f"{number:,} {what}" for number, what in counts if number)
        raise DropbenchError(
            f"{called} is not finite in {counted(examples, 'example')}: "
            f"{counted(missing + infinite, 'value')} ({found}).",
            "Mend them, or take the examples out.",
        )
    return least, most


def _chunks(array: np.ndarray, chosen: np.ndarray | None = None) -> Iterator[np.ndarray]:
    """Yield the examples of an array, or those that are chosen, few enough at a time for the memory."""
    each = max(1, CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), each):
        chunk = array[start : start + each]
        yield chunk if chosen is None else chunk[chosen[start : start + each]]

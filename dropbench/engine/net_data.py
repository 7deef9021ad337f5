"""The data that a net takes: the kind, shape, classes and columns of those that it was trained on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from dropbench.catalog.models import IMAGES, TABLE, InputShape
from dropbench.datasets.column import Column
from dropbench.datasets.dataset import DataSet
from dropbench.engine.inputs import white_of
from dropbench.errors import UsageError
from dropbench.run.config import RunConfig
from dropbench.run.telling import listed

_NAMED = 5  # names that a sentence has


@dataclass(frozen=True)
class DataNeeds:
    """The data that a net takes: those that it was trained on, without their examples."""

    inputs: str
    input_shape: InputShape
    dtype: str
    """The type of images, uint8 or float32; of a table float64."""
    white: float | None
    """The pixel value that was scaled to 1, where that was done."""
    classes: tuple[str, ...]
    """The names of the classes in the order of the net's outputs; empty for a regression."""
    columns: tuple[Column, ...]
    """The columns of a table."""

    @classmethod
    def of(cls, data: DataSet, config: RunConfig) -> "DataNeeds":
        """Return what a net needs that a run trained on ``data``."""
        return cls(
            data.inputs,
            data.input_shape,
            str(data.train_inputs.dtype),
            white_of(data, config),
            data.classes,
            data.columns,
        )

    @property
    def outputs(self) -> int:
        """The number of outputs that the net was made for."""
        return len(self.classes) or 1

    def stored(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        columns = [[each.name, list(each.categories), each.missing] for each in self.columns]
        plain = {"input_shape": list(self.input_shape), "classes": list(self.classes), "columns": columns}
        return {**vars(self), **plain}

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> "DataNeeds":
        """Return what ``stored`` returned; raise KeyError, TypeError or ValueError if it is none."""
        shape = tuple(int(side) for side in stored["input_shape"])
        if stored["inputs"] not in (IMAGES, TABLE) or len(shape) != (1 if stored["columns"] else 3):
            raise ValueError("the inputs are neither images nor a table")
        return cls(
            stored["inputs"],
            shape,
            str(stored["dtype"]),
            None if stored["white"] is None else float(stored["white"]),
            tuple(map(str, stored["classes"])),
            tuple(Column(str(name), tuple(known), bool(m)) for name, known, m in stored["columns"]),
        )

    def check(self, data: DataSet) -> None:
        """Raise UsageError unless the net can predict on ``data``; classes are told apart elsewhere."""
        self.check_kind(data.name, data.inputs)
        if bool(self.classes) != bool(data.classes):
            kinds = ("a number", "a class")
            raise UsageError(
                f"The net predicts {kinds[bool(self.classes)]}, and the target of {data.name} is "
                f"{kinds[bool(data.classes)]}."
            )
        if self.columns:
            self._check_columns(data)
            return
        if self.input_shape != data.input_shape:
            shapes = ["×".join(map(str, shape)) for shape in (self.input_shape, data.input_shape)]
            raise UsageError(
                f"The net is for images of {shapes[0]} (channels, height, width), and those of {data.name} "
                f"are {shapes[1]}."
            )
        found, white = str(data.train_inputs.dtype), data.white if self.white is not None else None
        if self.dtype != found or self.white != white:
            wanted = f"{self.dtype} from 0 to {self.white:g}" if self.white is not None else self.dtype
            raise UsageError(
                f"The net is for images of {wanted}, and those of {data.name} are {found} of other values.",
                "Write the same numbers into the files as those that it was trained on.",
            )

    def check_kind(self, name: str, inputs: str) -> None:
        """Raise UsageError unless the net takes the kind of inputs that the data called ``name`` have."""
        if self.inputs != inputs:
            words = {IMAGES: "images", TABLE: "rows of a table"}
            raise UsageError(f"The net is for {words[self.inputs]}, and {name} has {words[inputs]}.")

    def labels_of(self, data: DataSet) -> np.ndarray:
        """Return the place of each class of ``data`` among the net's, ``(classes,)``; names decide.

        Raises:
            UsageError: if the net does not know one.

        """
        if lacking := [name for name in data.classes if name not in self.classes]:
            raise UsageError(
                f"{data.name} has the class{'es' * (len(lacking) > 1)} "
                f"{listed(map(repr, lacking), _NAMED)}, and the net tells apart "
                f"{listed(map(repr, self.classes), _NAMED)}.",
            )
        return np.array([self.classes.index(name) for name in data.classes], dtype=np.int64)

    def _check_columns(self, data: DataSet) -> None:
        wanted, found = ([(each.name, each.categories) for each in of.columns] for of in (self, data))
        if wanted == found:
            return
        names = [{name for name, _ in columns} for columns in (wanted, found)]
        for what, odd in (("lacks", names[0] - names[1]), ("also has", names[1] - names[0])):
            if odd:
                raise UsageError(
                    f"{data.name} {what} the column{'s' * (len(odd) > 1)} "
                    f"{listed(map(repr, sorted(odd)), _NAMED)}: the net is for others."
                )
        raise UsageError(
            f"The columns of {data.name} have other values or another order than those of the net.",
            "Name the file or the set instead of a DataSet: it is then read with the net's own columns.",
        )

"""Predictions of a net that was saved."""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dropbench.api.data import data as data_set
from dropbench.api.data import options_of
from dropbench.api.keywords import code_named
from dropbench.api.shown import Shown
from dropbench.api.train import SplitMetrics
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.options import OPTIONS
from dropbench.datasets.registry import inputs_of, is_known, prepare, takes
from dropbench.engine.saved_net import SavedNet, json_of
from dropbench.errors import DropbenchError, UsageError, unknown_name
from dropbench.experiments.keep import check_folder_of
from dropbench.experiments.prediction import Predicted, Prediction
from dropbench.experiments.prediction import predict as predicted
from dropbench.folders import of_home
from dropbench.report.folder import Report
from dropbench.report.prediction import PredictionSubject
from dropbench.report.render.export import STDOUT, write_text
from dropbench.run.machine import Machine

_MACHINE = ("device", "precision", "threads")


@dataclass(frozen=True)
class Predictions(Shown):
    """The predictions of a saved net for the examples of a split."""

    prediction: Prediction

    @property
    def metrics(self) -> SplitMetrics:
        """The metrics with dropout off, which is weight scaling where that is the net's convention."""
        return _metrics(self.prediction.plain)

    @property
    def monte_carlo(self) -> SplitMetrics:
        """The metrics of Monte-Carlo dropout; NaN without passes."""
        return _metrics(self.prediction.monte_carlo or Predicted({}))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the probabilities."""
        return self.prediction.saved.needs.classes

    @property
    def values(self) -> np.ndarray | None:
        """Probabilities ``(examples, classes)``, or mean and standard deviation ``(examples, 2)``."""
        return self.prediction.plain.values

    @cached_property
    def frame(self) -> pd.DataFrame:
        """A row for each example, in the order of the data set, which `docs/files.md` explains.

        Raises:
            UsageError: of an autoencoder, which predicts no target.

        """
        found = self.prediction
        if found.plain.values is None:
            raise UsageError("An autoencoder predicts no target.", "Its metrics are all there is.")
        targets: dict[str, Any] = {"target": found.targets}
        if self.classes:
            targets = {"label": np.array(self.classes, dtype=object)[found.targets]}
        parts = {"": found.plain, "mc_": found.monte_carlo}
        return pd.DataFrame(
            targets
            | {
                name: column
                for prefix, part in parts.items()
                if part is not None and part.values is not None
                for name, column in self._columns(prefix, part.values).items()
            }
        )

    def to_csv(self, path: Path | str) -> Path:
        """Write ``frame`` as a CSV file, and return its path.

        Raises:
            UsageError: of an autoencoder.
            DropbenchError: if it cannot be written.

        """
        path = of_home(path)
        write_text(path, self.frame.to_csv(index=False, lineterminator="\n"))
        return path

    @cached_property
    def report(self) -> Report:
        """The metrics as a table."""
        found = self.prediction
        recorded = None
        if found.of_training and found.split in ("test", "val"):
            start = f"{found.split}_"
            kept = found.saved.about["metrics"].items()
            recorded = {name.removeprefix(start): value for name, value in kept if name.startswith(start)}
        subject = PredictionSubject(
            run_id=found.saved.run_id,
            data=found.data.name,
            noun=found.data.noun,
            split=found.split,
            examples=len(found.targets),
            metrics=found.plain.metrics,
            monte_carlo=found.monte_carlo.metrics if found.monte_carlo else None,
            samples=found.samples,
            recorded=recorded,
        )
        return Report(found.saved.path.parent, (subject,))

    def _columns(self, prefix: str, values: np.ndarray) -> dict[str, Any]:
        if not self.classes:
            return {f"{prefix}mean": values[:, 0], f"{prefix}standard_deviation": values[:, 1]}
        named = np.array(self.classes, dtype=object)[values.argmax(axis=1)]
        columns = {f"{prefix}probability_{name}": values[:, place] for place, name in enumerate(self.classes)}
        return {f"{prefix}prediction": named, **columns}


def predict(
    path: Path | str,
    data: DataSet | str | Path | None = None,
    *,
    split: str = "test",
    mc_samples: int = 0,
    csv: Path | str | None = None,
    model: Any = None,
    dropout: Any = None,
    data_dir: Path | str | None = None,
    **settings: Any,
) -> Predictions:
    """Predict the examples of a data set by a net that was saved, and measure the predictions.

    Examples are prepared as those of its training were: by the same means and deviations, categories and
    medians, whatever the new data have. Images get the size of the net's, where their form can be told one.
    Nothing in the file is executed.

    Args:
        path: the file of the net.
        data: a data set, or its name; that of training unless told.
        split: ``test``, ``val``, ``train`` or ``all`` examples of it.
        mc_samples: passes with new masks whose predictions are averaged (Monte-Carlo dropout); 0: none.
        csv: a file that a row is written into for each example; ``-`` is stdout.
        model: the code that makes the net, where it is your own: ``file.py:name``, or the function itself.
        dropout: the same for a dropout of your own.
        data_dir: where torchvision's data sets are, or go when downloaded.
        settings: how data are made of their source (``target``, ``image_size``, …), and of the machine
            ``device``, ``precision`` and ``threads``. The precision is the run's unless told.

    Raises:
        UsageError: if the net does not take the data, or is of code that is not named.
        DropbenchError: if the file cannot be read, the data are not to be had, or the CSV not written.

    """
    for name in settings:
        if name not in (*OPTIONS, *_MACHINE):
            raise unknown_name("keyword", name, (*OPTIONS, *_MACHINE))
    if csv is not None and of_home(csv) != STDOUT:
        _check_target(of_home(csv), of_home(path), data, settings)
    names = code_named("model", model), code_named("dropout", dropout)
    saved = SavedNet.read(of_home(path), *names)
    if csv is not None and saved.config.task == "reconstruct":
        raise UsageError("An autoencoder predicts no target.", "Leave out `csv`.")
    told = {name: value for name, value in settings.items() if name in OPTIONS and value is not None}
    machine = Machine(**{name: value for name, value in settings.items() if name in _MACHINE})
    examples = _data(saved, data, data_dir, told)
    found = Predictions(predicted(saved, examples, split, mc_samples, machine))
    if csv is not None:
        found.to_csv(csv)
    return found


def _check_target(target: Path, net: Path, data: Any, settings: dict[str, Any]) -> None:
    """Raise unless a CSV can be written there, and takes the place of nothing that is read for it."""
    if target.is_dir():
        raise DropbenchError(f"{target} is a folder.", "Name a file.")
    check_folder_of(target.absolute())
    named = [
        str(each).partition(":")[2] for each in (data,) if each is not None and not isinstance(each, DataSet)
    ]
    read = [net, json_of(net), *map(of_home, filter(None, [*named, settings.get("test_file")]))]
    if target.exists() and any(each.exists() and target.samefile(each) for each in read):
        raise UsageError(f"`csv` is {target}, which is the net or its data.", "Name another file.")


def _data(
    saved: SavedNet, data: DataSet | str | Path | None, data_dir: Path | str | None, told: dict[str, Any]
) -> DataSet:
    """Return the data set, made of its source as that of training was, where nothing else is told."""
    if isinstance(data, DataSet):
        return data_set(data, **told)
    needs, values = saved.needs, saved.config.settings()
    name = values["data"] if data is None else str(data)
    if data is None and not is_known(name):
        raise UsageError(
            f"The net was trained on arrays, called {name}, which are in no file.", "Name `data`."
        )
    if inputs := inputs_of(name):
        needs.check_kind(name, inputs)  # before any data are fetched
    inherited = {option: values[option] for option in OPTIONS}
    if name != values["data"]:  # a share or a file of test rows is not that of other data
        inherited = {option: values[option] for option in ("task", "target", "fit")}
        if not needs.columns:
            inherited["image_size"] = "x".join(map(str, needs.input_shape[1:]))
    usual = options_of({})
    inherited = {
        option: value
        for option, value in inherited.items()
        if takes(name, option) and value != getattr(usual, option)
    }
    options = replace(options_of({**inherited, **told}), columns=needs.columns)
    return prepare(name, None if data_dir is None else Path(data_dir), options)


def _metrics(found: Predicted) -> SplitMetrics:
    return SplitMetrics.of({f"test_{name}": value for name, value in found.metrics.items()}, "test")

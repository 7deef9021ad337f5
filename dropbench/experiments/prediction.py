"""Predictions of a saved net, with dropout off and by Monte-Carlo dropout, and their metrics."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import split as split_of
from dropbench.dropout.control import rates
from dropbench.dropout.lending import own_draws
from dropbench.engine.device import in_progress, prepare_device, prepare_process, resolve_device
from dropbench.engine.device import resolve_precision as resolved
from dropbench.engine.evaluate import from_kept
from dropbench.engine.gaussian import gaussian_metrics, mixture
from dropbench.engine.members import monte_carlo_arrays
from dropbench.engine.saved_net import SavedNet
from dropbench.engine.task import Predictor, Split
from dropbench.errors import DropbenchError, UsageError, unknown_name
from dropbench.run.machine import Machine
from dropbench.runners.choose import cores

_log = logging.getLogger(__name__)
SPLITS = ("test", "val", "train", "all")


@dataclass(frozen=True)
class Predicted:
    """The predictions for some examples.

    ``values`` are probabilities ``(examples, classes)``, or of a regression mean and standard deviation in
    the unit of the target ``(examples, 2)``; an autoencoder has none, and only metrics.
    """

    metrics: Mapping[str, float]
    """Those of dropbench.run.result.METRIC_NAMES that the task has, by these names."""
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Prediction:
    """A saved net's predictions for a split of a data set."""

    saved: SavedNet
    data: DataSet
    split: str
    targets: np.ndarray
    """Labels as the net counts its classes, or numbers, ``(examples,)``."""
    plain: Predicted
    """With dropout off."""
    monte_carlo: Predicted | None
    """The average of ``samples`` passes with new masks; None without any."""
    samples: int

    @cached_property
    def of_training(self) -> bool:
        """Whether the data are those that the net was trained on, by their digest."""
        return self.data.key == self.saved.config.data.key


def predict(saved: SavedNet, data: DataSet, split: str, samples: int, machine: Machine) -> Prediction:
    """Predict the examples of a split of ``data``, prepared as the net's own were in training.

    On the data of its training, with the precision and the number of threads of its run, the metrics are
    those that the run recorded, to the last bit.

    Args:
        saved: the net.
        data: a data set that it takes.
        split: ``test``, ``val``, ``train`` or ``all``; a run with the seed of the net's has the validation
            and training examples of ``data`` that are meant. ``train`` and ``val`` of the data that it was
            trained on are its own.
        samples: passes of Monte-Carlo dropout; 0: none.
        machine: device and threads; a precision other than ``auto`` stands in place of the run's.

    Raises:
        UsageError: if the net does not take the data, or has no masks to average over.
        DropbenchError: if the device is not there, the file does not fit its net, or a prediction is not
            finite.

    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS)
    if samples < 0:
        raise UsageError(f"`mc_samples` is {samples}.", "Write 0 or more.")
    config = saved.config
    saved.needs.check(data)
    device = resolve_device(machine.device)
    if machine.precision != "auto":
        config = config.replace(precision=resolved(machine.precision, device, data.task))
    if samples:
        if config.task == "reconstruct":
            raise UsageError("An autoencoder has no Monte-Carlo predictions.", "Leave out `mc_samples`.")
        config = config.replace(mc_samples=samples)
    prepare_process(machine.threads or cores(), device)
    device = prepare_device(device, config.optimizer.precision)
    inputs, targets, positions = _examples(saved, data, split)
    with in_progress(device), own_draws(config, device).lent():
        model = saved.build_as_tested(config, device)
        examples = saved.preparation(config, device).examples(inputs, targets)
        chosen = {"test": Split(examples, torch.from_numpy(positions).to(device))}
        task, precision = saved.task, config.optimizer.precision
        figures, arrays = task.measure(model, chosen, precision)
        plain = {name.removeprefix("test_"): value for name, value in figures.items()}
        if not isinstance(task, Predictor):
            return Prediction(saved, data, split, targets[positions], Predicted(plain), None, 0)
        found = Predicted(plain, _values(arrays["test"], config.task))
        averaged = None
        if samples:
            if not any(rates(model).values()):
                _log.warning("The net drops nothing: all passes of Monte-Carlo dropout are the same.")
            passes = monte_carlo_arrays(model, task, chosen, config)["test_mc"]
            of_split = torch.from_numpy(targets[positions])
            if config.task == "regress":
                kept = torch.from_numpy(passes)
                averaged = Predicted(gaussian_metrics(kept, of_split), mixture(kept).numpy())
            else:
                averaged = Predicted(task.metrics(passes[-1], of_split), _values(passes[-1], config.task))
    for each in filter(None, (found, averaged)):
        _check_finite(each, data)
    return Prediction(saved, data, split, targets[positions], found, averaged, samples)


def _values(kept: np.ndarray, task: str) -> np.ndarray:
    """Return what is shown of predictions as they are kept: of a classifier probabilities."""
    shown: np.ndarray = kept if task == "regress" else from_kept(kept).exp().numpy()
    return shown


def _examples(saved: SavedNet, data: DataSet, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inputs, targets, and the positions of those that are predicted."""
    config = saved.config
    places = saved.needs.labels_of(data) if data.classes and config.task != "reconstruct" else None

    def known(targets: np.ndarray) -> np.ndarray:
        if places is None or np.array_equal(places, np.arange(len(places))):
            return targets
        found: np.ndarray = places[targets]
        return found

    if split == "test":
        return data.test_inputs, known(data.test_targets), np.arange(len(data.test_targets))
    if split == "all":
        inputs = np.concatenate([data.train_inputs, data.test_inputs])
        targets = known(np.concatenate([data.train_targets, data.test_targets]))
        return inputs, targets, np.arange(len(targets))
    if data.key != config.data.key:
        config = config.replace(train_size=None, bootstrap=False)
    parts = split_of(data, config)
    positions = parts.validation if split == "val" else np.unique(parts.drawn)
    return data.train_inputs, known(data.train_targets), positions


def _check_finite(found: Predicted, data: DataSet) -> None:
    if found.values is None or np.isfinite(found.values).all():
        return
    wrong = int((~np.isfinite(found.values).all(axis=1)).sum())
    raise DropbenchError(
        f"The predictions for {wrong:,} of {len(found.values):,} {data.noun} of {data.name} are not finite.",
        "See whether their values are like those of training.",
    )

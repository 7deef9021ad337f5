"""The net of a run in a file: all that predicting needs, as tensors and JSON, none of which is executed.

The file is a safetensors file. Its tensors are the net's parameters and buffers, by their names in the net.
Its metadata say how the net is built again, and how examples are prepared for it as they were in training.
"""

import json
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from dropbench import __version__
from dropbench.catalog.user_code import is_user_code, source_key
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.control import schedule_strength, set_streams, set_strength
from dropbench.engine.device import describe
from dropbench.engine.halving import halve, halves_weights
from dropbench.engine.inputs import Preparation, stored_preparation
from dropbench.engine.members import Weights
from dropbench.engine.net_data import DataNeeds
from dropbench.engine.regress import Scale
from dropbench.engine.task import Task
from dropbench.engine.tasks import task_with
from dropbench.engine.tensor_file import read_tensors, write_tensors
from dropbench.errors import DropbenchError, UsageError
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig
from dropbench.run.result import KeptNet

_log = logging.getLogger(__name__)
ENDING = ".safetensors"
KIND = "net"
FORMAT = 1
"""The version of what the metadata mean; a later one may be unknown to this dropbench."""


def about_net(
    config: RunConfig,
    data: DataSet,
    prepared: Preparation,
    scale: Scale | None,
    tested_epoch: int,
    metrics: Mapping[str, float],
    device: torch.device,
) -> dict[str, Any]:
    """Return the metadata of a net that a run trained, as JSON can hold them."""
    return {
        "kind": KIND,
        "format": FORMAT,
        "run_id": config.run_id,
        "config": {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in config.settings().items()
        },
        "tested_epoch": tested_epoch,
        "data": DataNeeds.of(data, config).stored(),
        "preparation": prepared.stored(),
        "scale": None if scale is None else vars(scale),
        "metrics": dict(metrics),
        "where": describe(device),
    }


def as_arrays(weights: Weights) -> dict[str, np.ndarray]:
    """Return weights as arrays in host memory; numbers of two bytes and less become float32."""
    return {
        name: (values.float() if values.is_floating_point() and values.itemsize < 4 else values).cpu().numpy()
        for name, values in weights.items()
    }


def write_net(path: Path, net: KeptNet) -> None:
    """Write a net in place of any at ``path``, and its metadata for people beside it, as ``.json``.

    Raises:
        DropbenchError: if it cannot be written; a net that was there is then untouched.

    """
    write_tensors(path, {name: torch.from_numpy(array) for name, array in net.weights.items()}, net.about)
    beside = json_of(path)
    partial = beside.with_name(f".{beside.name}.{secrets.token_hex(8)}.partial")
    try:
        try:
            partial.write_text(json.dumps(net.about, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(partial, beside)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise DropbenchError(f"Cannot write {beside}: {error.strerror or error}.") from error


def json_of(path: Path) -> Path:
    """Return the path of the readable file beside a net."""
    return path.with_suffix(".json")


def read_kept(path: Path) -> KeptNet:
    """Return a net as it was written.

    Raises:
        DropbenchError: if there is no such file, it is damaged, or is no net of dropbench's.

    """
    tensors, about = read_tensors(path)
    if about.get("kind") != KIND:
        raise DropbenchError(f"{path} is no net that dropbench saved.")
    return KeptNet({name: values.numpy() for name, values in tensors.items()}, about)


@dataclass(frozen=True)
class SavedNet:
    """A net in a file, ready to be built."""

    path: Path
    run_id: str
    config: RunConfig
    """The run's own, but for the names of code that a user told."""
    needs: DataNeeds
    weights: Weights
    about: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path, model: str | None = None, dropout: str | None = None) -> "SavedNet":
        """Read a net, without building it.

        ``model`` and ``dropout`` name code of the user's own, which is executed only if it is told here.

        Raises:
            UsageError: if the net has such code that is not told, or other.
            DropbenchError: if there is no such file, it is damaged, or no net of this dropbench's.

        """
        kept = read_kept(path)
        about = kept.about
        version = about["where"].get("dropbench_version") if isinstance(about.get("where"), dict) else None
        other = DropbenchError(
            f"{path} is not as dropbench {__version__} writes a net: it is of version {version or 'unknown'} "
            "or was changed.",
            "Use that version, or train the net again.",
        )
        if about.get("format") != FORMAT:
            raise other
        try:
            config = RunConfig(**about["config"])
            needs = DataNeeds.of_stored(about["data"])
            run_id, _ = str(about["run_id"]), int(about["tested_epoch"])
            stored_preparation(about["preparation"], needs.columns, config, torch.device("cpu"))
            if (config.task == "regress") != (about["scale"] is not None):
                raise ValueError("a regression has a scale, and nothing else has")
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # a UsageError is a ValueError
            raise other from error
        config = _with_own_code(config, path, "model", config.model.name, config.model.key, model)
        dropout_of = config.dropout.variant
        config = _with_own_code(config, path, "dropout", dropout_of, config.dropout.key, dropout)
        weights = {name: torch.from_numpy(array) for name, array in kept.weights.items()}
        return cls(path, run_id, config, needs, weights, about)

    @property
    def scale(self) -> Scale | None:
        """The scale of the targets of a regression."""
        stored = self.about["scale"]
        return None if stored is None else Scale(float(stored["mean"]), float(stored["deviation"]))

    @property
    def task(self) -> Task:
        """The task that the net was trained for."""
        return task_with(self.config, self.scale)

    def preparation(self, config: RunConfig, device: torch.device) -> Preparation:
        """Return the preparation of examples as it was fitted in training."""
        return stored_preparation(self.about["preparation"], self.needs.columns, config, device)

    def build(self, device: torch.device) -> nn.Module:
        """Return the net on ``device``, in float32 and in eval mode, with its dropout as it was tested.

        Weights of a library are not fetched, since those of the file replace them all.

        Raises:
            UsageError: if the user's own code makes another net.
            DropbenchError: if the file's tensors are not those of the net.

        """
        config = self.config.replace(pretrained=None, frozen=None)
        shape, outputs = self.needs.input_shape, self.needs.outputs
        if not is_user_code(config.model.name) and not is_user_code(config.dropout.variant):
            with torch.device("meta"):  # so that sizes out of a file take no memory before they are compared
                self._check(make_module(shape, outputs, config))
        model = make_module(shape, outputs, config)
        self._check(model)
        model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.load_state_dict(self.weights)
        set_streams(model, "mask", config.repetition.seed, config.repetition.member)
        set_strength(model, schedule_strength(config, int(self.about["tested_epoch"])))
        return model.eval()

    def build_as_tested(self, config: RunConfig, device: torch.device) -> nn.Module:
        """Return the net as the run ``config`` tests it: with rounded weights, where it trains so."""
        model = self.build(device)
        if halves_weights(config) and config.task != "reconstruct":
            halve(model)
        return model

    def _check(self, model: nn.Module) -> None:
        """Raise an error unless the tensors are those of ``model``, by names and shapes."""
        found = {name: tuple(values.shape) for name, values in self.weights.items()}
        wanted = {name: tuple(values.shape) for name, values in model.state_dict().items()}
        if found == wanted:
            return
        name = min(name for name in found.keys() | wanted if found.get(name) != wanted.get(name))
        parts = [f"{of[name]}" if name in of else "nothing" for of in (found, wanted)]
        raise DropbenchError(
            f"{self.path} does not fit its net {self.config.model.name}: of {name} the file has {parts[0]}, "
            f"and the net {parts[1]}.",
            "Name the code that it was trained with."
            if self.config.with_user_code
            else "The library that has the net may be of another version."
            if self.config.with_foreign_code
            else "",
        )


def _with_own_code(
    config: RunConfig, path: Path, setting: str, name: str, key: str, told: str | None
) -> RunConfig:
    """Return the config with the code of the user's own that was told, which is executed for its digest."""
    if not is_user_code(name):
        if told is not None and told != name:
            raise UsageError(f"The {setting} of {path} is {name}, not {told}.", f"Leave out `{setting}`.")
        return config
    if told is None:
        raise UsageError(
            f"The {setting} of {path} is {name}, code that is not in the file and is executed only where you "
            "name it.",
            f"If you trust it, add `{setting}={name}`, or where it lies now.",
        )
    if not is_user_code(told):
        raise UsageError(
            f"The {setting} of {path} is code of your own, {name}, not {told}.",
            f"Write `{setting}={name}`, or where it lies now.",
        )
    if source_key(told) != key:
        _log.warning(
            f"{told} is not as it was when the net of {path} was trained: what it predicts may be other."
        )
    return config.replace(**{setting: told})

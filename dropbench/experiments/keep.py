"""Where nets are kept: checks before anything is trained, and the folder of a sweep's candidates."""

import json
import os
import tempfile
from collections.abc import Collection
from pathlib import Path

import torch

from dropbench.catalog.user_code import is_user_code
from dropbench.datasets.dataset import DataSet
from dropbench.engine.saved_net import ENDING, KIND, json_of, read_kept, write_net
from dropbench.errors import DropbenchError, UsageError
from dropbench.models.build import make_module
from dropbench.run.config import RunConfig
from dropbench.run.result import KeptNet


def check_target(path: Path | str, setting: str) -> Path:
    """Return the path of a net that is to be saved, as an absolute one; ``setting`` told it.

    A net that dropbench saved there is replaced, once the new one is whole; nothing else is.

    Raises:
        UsageError: for another ending.
        DropbenchError: if the file cannot be written there, or something else is there.

    """
    target = Path(path).expanduser().absolute()
    if target.suffix != ENDING:
        raise UsageError(f"`{setting}` is {path}.", f"Let the name end in {ENDING}.")
    check_folder_of(target)
    if target.is_dir():
        raise DropbenchError(f"{path} is a folder.", "Name another file.")
    beside = json_of(target)
    for file, is_ours in ((target, run_of(target) is not None), (beside, _tells_of_a_net(beside))):
        if file.exists() and not is_ours:
            raise DropbenchError(
                f"{file} is there and is none that dropbench wrote of a net, so it is not replaced.",
                "Name another file.",
            )
    return target


def _tells_of_a_net(path: Path) -> bool:
    """Whether a file is the readable one beside a net."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and content.get("kind") == KIND


def run_of(path: Path) -> str | None:
    """Return the run_id of the net that a file has; None if it has none."""
    try:
        return str(read_kept(path).about.get("run_id"))
    except DropbenchError:
        return None


def check_folder_of(path: Path) -> None:
    """Raise DropbenchError unless files can be written into the folder of ``path``."""
    folder = path.parent
    if not folder.is_dir():
        raise DropbenchError(f"There is no folder {folder} for {path.name}.", "Make it first.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise DropbenchError(f"Cannot write into {folder}: {error.strerror or error}.") from error


def check_states(configs: Collection[RunConfig], data: DataSet, setting: str) -> None:
    """Raise UsageError for a net of the user's own that has a state which no file of tensors holds."""
    tried = set()
    for config in configs:
        names = config.model.name, config.dropout.variant
        if names in tried or not any(map(is_user_code, names)):
            continue
        tried.add(names)
        for name, value in make_module(data.input_shape, data.outputs, config).state_dict().items():
            if not isinstance(value, torch.Tensor):
                raise UsageError(
                    f"The model {config.model.name} has {name} in its state, a {type(value).__name__}, and a "
                    "file has tensors alone.",
                    f"Make it a buffer, or leave out `{setting}`.",
                )


def keep(path: Path, run_id: str, net: KeptNet) -> None:
    """Write a net into ``path``, or where that fails into a temporary folder, so that it is not lost.

    Raises:
        DropbenchError: if it is not in ``path``; it says where it is instead.

    """
    try:
        write_net(path, net)
    except DropbenchError as error:
        refuge = Path(tempfile.mkdtemp(prefix="dropbench-net-")) / f"{run_id}{ENDING}"
        write_net(refuge, net)
        raise DropbenchError(error.message, f"The net is in {refuge} instead.") from error


def path_in(folder: Path, run_id: str) -> Path:
    """Return the path of a run's net in a folder of results, whether or not it is there."""
    return folder / "nets" / f"{run_id}{ENDING}"


def remove_from(folder: Path, run_ids: Collection[str]) -> None:
    """Remove the nets of these runs from a folder of results."""
    for run_id in run_ids:
        path = path_in(folder, run_id)
        for each in (path, json_of(path)):
            each.unlink(missing_ok=True)
    nets = folder / "nets"
    if nets.is_dir() and not os.listdir(nets):
        nets.rmdir()

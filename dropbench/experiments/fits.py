"""Whether a net is of a size that this machine can train, asked before anything is made."""

import logging
import math

import torch
from torch import nn

from dropbench.catalog.models import IMAGES
from dropbench.catalog.user_code import library_of
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.memory import available_memory_bytes, too_much
from dropbench.datasets.registry import takes
from dropbench.engine.need import least_memory, usual_memory
from dropbench.errors import UsageError
from dropbench.models import zoo
from dropbench.models.library import check_images
from dropbench.models.stem import find_stem
from dropbench.run.config import RunConfig

_log = logging.getLogger(__name__)
MOST_WEIGHTS = 100_000_000
"""Weights of a net that nobody has by accident; the largest of the 2014 paper has 74 million on MNIST."""
_SETTINGS_OF_SIZE = ("layers", "width")
_USUAL_SIDE = 64  # pixels of larger images, which are the first thing to change


def check_fits(
    config: RunConfig, data: DataSet, model: nn.Module, device: torch.device, jobs: int = 1
) -> None:
    """Raise UsageError for a net that is very large by mere default, or larger than the memory.

    So are ``jobs`` runs at a time, each in a process of its own; they share the data. Where they need more
    than there is by an estimate, but perhaps not by the least, a warning is logged. Nets with code of the
    user's own are left to the user. ``model`` is the net of ``config`` on the device ``meta``: no memory is
    taken.
    """
    if config.with_user_code:
        return
    weights = sum(parameter.numel() for parameter in model.parameters())
    sized = ("image_size",) if takes(data.name, "image_size") else _SETTINGS_OF_SIZE
    net = f"The {config.model.name} has {weights:,} weights for {_inputs(data)}"
    if weights > MOST_WEIGHTS and not any(name in config.told for name in sized):
        raise UsageError(f"{net}.", _hint(config, data))
    examples = len(data.train_targets) + len(data.test_targets)
    shared, own = least_memory(config, data.input_shape, data.outputs, examples)
    there = _memory(device)
    if told := too_much(shared + own, there):
        raise UsageError(f"{net}, and to train it takes at least {told}.", _hint(config, data))
    if told := too_much(shared + jobs * own, there):
        fitting = math.floor(((there or 0) - shared) / own)
        raise UsageError(
            f"{net}, and {jobs} at a time take at least {told}.", f"Write `jobs={fitting}`, or a smaller net."
        )
    if device.type == "cpu":
        usual = usual_memory(config, data.input_shape, data.outputs, examples)
        if told := too_much(shared + jobs * usual, there):
            fitting = math.floor(((there or 0) - shared) / usual)
            at_a_time = f"{jobs} at a time take" if jobs > 1 else "to train it takes"
            fewer = f"`jobs={fitting}` or " if jobs > 1 and fitting else ""
            _log.warning(
                f"{net}, and {at_a_time} about {told}. Should it fail, write {fewer}a smaller `batch_size`."
            )


def _memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return available_memory_bytes()


def _inputs(data: DataSet) -> str:
    if data.inputs == IMAGES:
        return f"images of {data.input_shape[1]}×{data.input_shape[2]} pixels"
    return f"rows of {data.input_shape[0]:,} features"


def _hint(config: RunConfig, data: DataSet) -> str:
    """Say how to have a smaller net."""
    if library_of(config.model.name):
        return "Use a smaller net, which dropbench model list shows, or a smaller `batch_size`."
    has_layers = bool(config.model.layers)
    smaller = "fewer units with `layers`" if has_layers else "a smaller `width`, like `width=0.25`"
    if not takes(data.name, "image_size"):
        return f"Write {smaller}, or a smaller `batch_size`."
    _, height, width = data.input_shape
    if height * width > _USUAL_SIDE**2:
        return f"Write `image_size={_USUAL_SIDE}`, or another size that the images are brought to."
    return f"Write a smaller `image_size`, {smaller}, or a smaller `batch_size`."


def check_library_net(config: RunConfig, data: DataSet, model: nn.Module) -> None:
    """Try a library's net, which is on the device ``meta``, on the data's shape; fetch its weights, if any.

    A net that shrinks such images to nothing before it ends is told by a warning. Workers find the weights
    in the library's cache.

    Raises:
        UsageError: if the net cannot take such images, or there are no weights for it.
        DropbenchError: if the weights cannot be fetched.

    """
    name = config.model.name
    side = zoo.side_of(name)
    smaller = "`small_images` or " if find_stem(model) and not config.model.pretrained else ""
    mend = f"Use {smaller}another net."
    if takes(data.name, "image_size"):
        mend = f"Add {smaller}`image_size={side}`, the size that it was made for."
    told = check_images(getattr(model, "net", model), config, data.input_shape, data.outputs, mend)
    if told:
        _log.warning(told)
    if config.model.pretrained:
        zoo.build(name, data.input_shape, data.outputs, pretrained=True)

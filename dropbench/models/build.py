"""Building the model of a RunConfig."""

from collections.abc import Callable
from importlib import import_module
from typing import cast

import torch
from torch import nn

from dropbench.catalog import user_code
from dropbench.catalog.models import RECIPES, InputShape, recipe_of
from dropbench.dropout.control import schedule_strength
from dropbench.dropout.stream import Stream
from dropbench.models.gaussian import GaussianNet
from dropbench.models.initialise import correct, initialise
from dropbench.models.lazy import materialise
from dropbench.models.library import make_net
from dropbench.models.narrow import spare_narrow_maps
from dropbench.models.sites import check_sites, place_sites
from dropbench.run.blocks.model import CORRECTED, TORCH
from dropbench.run.config import RunConfig
from dropbench.run.streams import key_of, torch_generator

ModelFactory = Callable[[InputShape, int, RunConfig], nn.Module]


def make_module(input_shape: InputShape, classes: int, config: RunConfig) -> nn.Module:
    """Return the model of ``config`` with torch's own initialisation, drawn from the run's stream.

    In a model of the user's own, torch's dropout layers become sites (dropbench.models.sites), and lazy
    parameters get their shapes. In bfloat16, models that are not dropbench's have no stride longer than a map
    is wide (dropbench.models.narrow). For a regression, whose ``classes`` are 1, the model is the net within
    a GaussianNet.

    Raises:
        UsageError: if the model cannot take images of ``input_shape`` ``(channels, height, width)``, or if it
            lacks a dropout site where ``config`` drops units.

    """
    generator = torch_generator(config.repetition.seed, "init", config.repetition.member)
    with torch.random.fork_rng(devices=[]):  # torch's own initialisation draws from the global generator
        torch.default_generator.set_state(generator.get_state())
        if user_code.is_user_code(config.model.name):
            model = _own_model(input_shape, classes, config)
        elif user_code.library_of(config.model.name):
            model = make_net(input_shape, classes, config)
        else:
            module_name, _, attribute = RECIPES[config.model.name].factory.partition(":")
            factory = cast(ModelFactory, getattr(import_module(module_name), attribute))
            model = factory(input_shape, classes, config)
    if config.optimizer.precision == "bf16" and not recipe_of(config.model.name).factory:
        spare_narrow_maps(model)
    return GaussianNet(model) if config.task == "regress" else model


def _own_model(input_shape: InputShape, classes: int, config: RunConfig) -> nn.Module:
    names = "(channels, height, width), classes" if len(input_shape) > 1 else "(columns,), outputs"
    hint = f"A model of your own is called as factory({names}, config): here {input_shape} and {classes}."
    factory = user_code.load(config.model.name)
    model = user_code.make(config.model.name, nn.Module, hint, factory, input_shape, classes, config)
    materialise(model, input_shape, config.model.name)
    place_sites(model, config)
    where = (
        "Sites of `p_drop` are its Dropout layers, and those of `p_drop_conv` its Dropout2d layers; "
        'for `p_drop_input` it has a make_dropout(config, "input").'
    )
    check_sites(model, config, where)
    return model


def build_model(input_shape: InputShape, classes: int, config: RunConfig) -> nn.Module:
    """Return the model of ``config``, initialised from the ``init`` stream of its seed and member.

    Runs of one seed and shape have the same weights, up to the factors of a corrected initialisation. With
    the initialisation ``torch`` the model keeps its own, which draws from the same stream.

    Raises:
        UsageError: see make_module.

    """
    model = make_module(input_shape, classes, config)
    if config.model.init == TORCH:
        return model
    seed, member = config.repetition.seed, config.repetition.member
    initialise(model, config, torch_generator(seed, "init", member))
    if config.model.init == CORRECTED and not config.without_dropout:
        with torch.random.fork_rng(devices=[]):  # a dropout of the user's own may draw from torch's generator
            torch.default_generator.manual_seed(key_of(seed, "own", member))
            correct(model, input_shape, schedule_strength(config, 1), Stream.of(seed, "init", member, 1))
    return model

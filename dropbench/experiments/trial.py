"""The trial of a foreign net on two examples, before the first run: faults are told at once."""

import logging
import random
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from dropbench.catalog import user_code
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.split import largest_train_size
from dropbench.dropout.control import set_strength
from dropbench.engine.panel import hidden_sites
from dropbench.errors import UsageError
from dropbench.experiments.dropout_calls import DropoutCalls
from dropbench.experiments.tried_net import TriedNet, hint_for
from dropbench.models.build import make_module
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import RunConfig
from dropbench.run.telling import counted, listed

_log = logging.getLogger(__name__)
MOST_TRIED = 100_000_000
"""Parameters of a library's net that is tried: with their gradients they take 0.8 GB."""


def try_nets(configs: Collection[RunConfig], data: DataSet, panel: bool = False) -> None:
    """Try each net among these runs that is the user's own or a library's; log what a net may not mean.

    It is tried on the CPU. A library's net of more than MOST_TRIED parameters is left out, which is logged.
    Nothing is drawn from torch's default generators, nor from the streams of a run.

    Raises:
        UsageError: if a net cannot be trained on these data, or if its evaluation is random; ``panel`` and
            a last batch of one want more of it.

    """
    foreign = list(_to_try(configs, data))
    nets: dict[Any, RunConfig] = {}
    for config in foreign:
        nets.setdefault((config.model, config.data.pixels, config.task), config)
    for config in nets.values():
        with torch.random.fork_rng(devices=[]):
            _try_without_dropout(_without_dropout(config), data, panel)
    for config in _with_dropout(foreign):
        with torch.random.fork_rng(devices=[]):
            _try_dropout(config, data)
    _try_last_batches(foreign, data)


def _try_without_dropout(config: RunConfig, data: DataSet, panel: bool) -> None:
    name, net = config.model.name, TriedNet(config, data)
    if user_code.is_user_code(name):
        _refuse_common(name, net.model, make_module(data.input_shape, data.outputs, config))
    measured = hidden_sites(net.model) if panel else []
    for parameter, values in [*net.model.named_parameters(), *net.model.named_buffers()]:
        if values.is_floating_point() and not values.isfinite().all():
            raise UsageError(
                f"The model {name} starts with values in {parameter} that are not finite.",
                hint_for(name, "Look at how it is initialised."),
            )
    net.model.eval()
    calls = DropoutCalls()
    with torch.no_grad(), calls:
        outputs, again = net.outputs(), net.outputs()
    net.outputs(1)
    if not outputs.isfinite().all():
        raise UsageError(
            f"The model {name} puts out values that are not finite before it has learned anything.",
            hint_for(name, "Look for a logarithm, a root or a division in forward."),
        )
    if calls.found or not torch.equal(outputs, again):
        raise UsageError(
            f"The model {name} is random in evaluation: {listed(calls.found) or 'two passes differ'}.",
            hint_for(
                name, "Make a torch.nn.Dropout in __init__, or give the function training=self.training."
            ),
        )
    _warn_of_probabilities(name, outputs)
    calls, before = DropoutCalls(), _generators()
    with calls:
        outputs, arrived = net.pass_in_training()
    _refuse_shared(
        name, {site: arrived[site] for site in arrived if net.sites[site] in measured}, "The panel"
    )
    if calls.found:
        mend = "" if user_code.library_of(name) else "; a torch.nn.Dropout made in __init__ is a site"
        _log.warning(
            f"The model {name} drops in every run, also in those without dropout: {listed(calls.found)}. "
            f"No `p` reaches that{mend}."
        )
    elif before != _generators():
        _log.warning(f"The model {name} draws random numbers in training, also in runs without dropout.")
    net.check_gradients(outputs)
    net.check_second_step()


def _refuse_common(name: str, model: nn.Module, other: nn.Module) -> None:
    """Raise UsageError if two nets of a factory have in common what training changes."""
    changed = {id(each) for each in _changed_by_training(model).values()}
    common = [place for place, each in _changed_by_training(other).items() if id(each) in changed]
    if common:
        raise UsageError(
            f"Every run would go on with the {listed(sorted(common))} that another run has trained: the nets "
            f"that {name} makes have them in common.",
            "Make them in the factory, or put copy.deepcopy of them into the net.",
        )


def _changed_by_training(model: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters that are trained, and the statistics of batch-norm, by their names."""
    trained: dict[str, torch.Tensor] = {
        name: each for name, each in model.named_parameters() if each.requires_grad
    }
    for place, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase):
            trained |= {f"{place}.{name}": each for name, each in module.named_buffers()}
    return trained


def _generators() -> tuple[Any, ...]:
    """The states of the generators that a net may draw from: torch's, numpy's and Python's."""
    _, keys, position, *_ = np.random.get_state()  # which nets use
    return torch.get_rng_state().numpy().tobytes(), np.asarray(keys).tobytes(), position, random.getstate()


def _try_dropout(config: RunConfig, data: DataSet) -> None:
    name, net = config.model.name, TriedNet(config, data)
    set_strength(net.model, 1.0)
    _, arrived = net.pass_in_training()
    drops = {site: layer for site, layer in net.sites.items() if layer.p_drop}
    unused = [site for site, layer in drops.items() if not layer.within and not arrived[site]]
    if len(unused) == len(drops):
        raise UsageError(
            f"The model {name} never uses its dropout {listed(unused)}.",
            hint_for(name, "Call it in forward, in training."),
        )
    if unused:
        _log.warning(f"The model {name} never uses its dropout {listed(unused)}.")
    still = [site for site, layer in drops.items() if not layer.training]
    in_eval = (
        f"The model {name} is trained with its dropout {listed(still)} in eval mode, where it does nothing."
    )
    if len(still) == len(drops):
        raise UsageError(in_eval, "Let its method train put it into training mode.")
    if still:
        _log.warning(in_eval)
    if config.dropout.thinned:
        _refuse_shared(name, arrived, "A thinned net")
    inside = [site.rpartition(".")[0] for site, layer in drops.items() if layer.within]
    if inside and (config.dropout.variant != "bernoulli" or config.dropout.convention != "inverted"):
        _log.warning(
            f"The dropout within {listed(inside)} of {name} is torch's own: inverted Bernoulli dropout, "
            "whatever `dropout` and `convention` say."
        )


def _refuse_shared(name: str, arrived: Mapping[str, int], what: str) -> None:
    if shared := [site for site, count in arrived.items() if count > 1]:
        raise UsageError(
            f"The model {name} uses its dropout {listed(shared)} at several places.",
            hint_for(name, f"{what} needs a layer for each: make several in __init__."),
        )


def _try_last_batches(configs: Iterable[RunConfig], data: DataSet) -> None:
    """See that a net which is to be trained on a batch of one can be."""
    tried = set()
    for config in configs:
        most, size = _drawn(config, data), config.optimizer.batch_size
        if (most % size or min(most, size)) != 1 or config.model in tried:
            continue
        tried.add(config.model)
        with torch.random.fork_rng(devices=[]):
            net = TriedNet(_without_dropout(config), data)
            net.model.train()
            try:
                net.outputs(1)
            except UsageError as error:
                cause = error.__cause__
                why = f"{user_code.shortened(cause)}." if isinstance(cause, Exception) else error.message
                raise UsageError(
                    f"The last batch of {counted(most, 'training example')} in batches of {size} has one, "
                    f"on which {config.model.name} cannot be trained: {why}",
                    _other_sizes(most, size),
                ) from error


def _other_sizes(most: int, size: int) -> str:
    nearest = (at for step in range(1, most) for at in (size - step, size + step) if at > 1)
    other = next((at for at in nearest if most % at != 1), None) if most > 1 else None
    batch = f"`batch_size={other}`" if other else ""
    fewer = f"`train_size={most - 1}`" if most > 2 and size > 1 else ""
    return f"Write {' or '.join(filter(None, (batch, fewer)))}." if batch or fewer else "Take more examples."


def _drawn(config: RunConfig, data: DataSet) -> int:
    return config.data.train_size or largest_train_size(len(data.train_targets), data.validation)


def _to_try(configs: Iterable[RunConfig], data: DataSet) -> Iterable[RunConfig]:
    """The configs whose nets are neither dropbench's own nor larger than MOST_TRIED."""
    weights: dict[Any, int] = {}
    for config in configs:
        if user_code.is_user_code(config.model.name):
            yield config
        elif user_code.library_of(config.model.name):
            if config.model not in weights:
                weights[config.model] = _weights(config, data)
                if weights[config.model] > MOST_TRIED:
                    _log.info(f"The net {config.model.name} is too large to be tried on two examples first.")
            if weights[config.model] <= MOST_TRIED:
                yield config


def _weights(config: RunConfig, data: DataSet) -> int:
    with torch.device("meta"):  # shapes only, without memory or time
        net = make_module(data.input_shape, data.outputs, config)
    return sum(parameter.numel() for parameter in net.parameters())


def _warn_of_probabilities(name: str, outputs: torch.Tensor) -> None:
    """Warn where rows are probabilities already, of which the loss takes the softmax again."""
    sums = outputs.sum(1)
    if (
        outputs.shape[1] > 1
        and bool((outputs >= 0).all())
        and torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
    ):
        _log.warning(
            f"The outputs of the model {name} are probabilities already, and the loss takes the softmax of "
            "them again: leave out the softmax at the net's end."
        )


def _without_dropout(config: RunConfig) -> RunConfig:
    return config.replace(**dict.fromkeys(PROBABILITIES.values(), 0.0))


def _with_dropout(configs: Iterable[RunConfig]) -> Iterable[RunConfig]:
    """One of the configs for each net, kind of dropout and set of sites that drop something."""
    found: dict[Any, RunConfig] = {}
    for config in configs:
        if not config.without_dropout:
            dropout = config.dropout
            sites = tuple(bool(dropout.p_at(site)) for site in PROBABILITIES)
            kind = (dropout.variant, dropout.convention, dropout.thinned)
            found.setdefault((config.model, config.data.pixels, config.task, kind, sites), config)
    return found.values()

"""The optimizer of a run."""

from torch import nn

from dropbench.catalog.optimizers import SGD, options_of
from dropbench.engine import optim
from dropbench.engine.halving import halves_weights
from dropbench.engine.loss_scale import LossScale
from dropbench.engine.torch_optimizers import TorchOptimizer
from dropbench.models.gaussian import GaussianNet
from dropbench.run.config import RunConfig


def optimizer_of(config: RunConfig, model: nn.Module) -> optim.Optimizer:
    """Return the optimizer of a model's parameters.

    A bound on the norm of the gradients is on those of all parameters. In a regression it is on those of the
    net, and there is always one; the gradient of the noise level has a bound of its own.

    In fp16 it has a loss scale, on the device of the model.
    """
    settings = config.optimizer
    bounded = model.net if isinstance(model, GaussianNet) else model
    clips = settings.clip_norm is not None or bounded is not model
    clipped = list(bounded.parameters()) if clips else []
    largest = optim.LARGEST_NORM if settings.clip_norm is None else settings.clip_norm
    device = next(model.parameters()).device
    loss_scale = LossScale(device) if settings.precision == "fp16" else None
    if settings.name == SGD:
        return optim.SGD(
            model,
            settings.momentum or 0.0,
            settings.weight_decay,
            settings.max_norm,
            half=halves_weights(config),
            clipped=clipped,
            largest_norm=largest,
            loss_scale=loss_scale,
            l1=config.penalty.l1,
        )
    return TorchOptimizer(
        model,
        settings.name,
        options_of(settings.name, settings.options),
        settings.weight_decay,
        settings.max_norm,
        clipped=clipped,
        largest_norm=largest,
        loss_scale=loss_scale,
        l1=config.penalty.l1,
    )

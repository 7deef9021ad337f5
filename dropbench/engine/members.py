"""Predictions that are saved of a run so that ensembles can be computed from them later."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from dropbench.datasets.split import SplitPositions
from dropbench.dropout.control import set_streams
from dropbench.engine.task import Predictor, Split
from dropbench.run.config import RunConfig

Weights = dict[str, torch.Tensor]


def snapshot_arrays(
    model: nn.Module,
    task: Predictor,
    snapshots: Sequence[Weights],
    splits: Mapping[str, Split],
    precision: str,
) -> dict[str, np.ndarray]:
    """Return the predictions of each snapshot; the model has the weights of the last one afterwards."""
    kept: dict[str, list[np.ndarray]] = {name: [] for name in splits}
    for weights in snapshots:
        model.load_state_dict(weights)
        for name, split in splits.items():
            kept[name].append(task.predictions(model, split, precision))
    return {f"{name}_snapshots": np.stack(arrays) for name, arrays in kept.items()}


def ensemble_arrays(
    model: nn.Module,
    task: Predictor,
    splits: Mapping[str, Split],
    train: Split,
    positions: SplitPositions,
    snapshots: Sequence[Weights],
    config: RunConfig,
) -> dict[str, np.ndarray]:
    """Return the predictions by which a run can be a part of the ensembles that its config names."""
    precision = config.optimizer.precision
    arrays: dict[str, np.ndarray] = {}
    if config.repetition.bootstrap:
        arrays |= out_of_bag_arrays(model, task, train, positions, precision)
    if snapshots:
        arrays |= snapshot_arrays(model, task, snapshots, splits, precision)
    if config.dropout.mc_samples:
        arrays |= monte_carlo_arrays(model, task, splits, config)
    return arrays


def monte_carlo_arrays(
    model: nn.Module, task: Predictor, splits: Mapping[str, Split], config: RunConfig
) -> dict[str, np.ndarray]:
    """Return the task's arrays of Monte-Carlo dropout, with independent masks for each split."""
    set_streams(model, "mc", config.repetition.seed, config.repetition.member)
    return {
        f"{name}{of}": array
        for name, split in splits.items()
        for of, array in task.monte_carlo(model, split, config).items()
    }


def out_of_bag_arrays(
    model: nn.Module, task: Predictor, train: Split, positions: SplitPositions, precision: str
) -> dict[str, np.ndarray]:
    """Return the predictions for the out-of-bag examples, which the bootstrap did not draw."""
    left_out = ~np.isin(positions.train, positions.drawn)
    places = torch.from_numpy(positions.train[left_out]).to(train.positions.device)
    out_of_bag = Split(train.examples, places)
    return {
        "oob": task.predictions(model, out_of_bag, precision),
        "oob_positions": np.flatnonzero(left_out),
        f"oob_{task.target}": out_of_bag.targets.cpu().numpy(),
    }

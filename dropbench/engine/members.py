"""Predictions that are saved of a classifier so that ensembles can be computed from them later."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import nn

from dropbench.datasets.split import SplitPositions
from dropbench.dropout.control import set_streams
from dropbench.engine.evaluate import as_kept, predict
from dropbench.engine.monte_carlo import predict_monte_carlo
from dropbench.engine.tasks import Split
from dropbench.run.config import RunConfig
from dropbench.run.result import mc_ladder

Weights = dict[str, torch.Tensor]


def ood_arrays(model: nn.Module, name: str, split: Split, precision: str) -> dict[str, np.ndarray]:
    """Return the predictions for out-of-distribution images, whose labels are ignored."""
    return {name: as_kept(predict(model, split.examples, split.positions, precision))}


def snapshot_arrays(
    model: nn.Module, snapshots: Sequence[Weights], splits: Mapping[str, Split], precision: str
) -> dict[str, np.ndarray]:
    """Return the predictions of each snapshot; the model has the weights of the last one afterwards."""
    kept: dict[str, list[np.ndarray]] = {name: [] for name in splits}
    for weights in snapshots:
        model.load_state_dict(weights)
        for name, split in splits.items():
            kept[name].append(as_kept(predict(model, split.examples, split.positions, precision)))
    return {f"{name}_snapshots": np.stack(arrays) for name, arrays in kept.items()}


def ensemble_arrays(
    model: nn.Module,
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
        arrays |= out_of_bag_arrays(model, train, positions, precision)
    if snapshots:
        arrays |= snapshot_arrays(model, snapshots, splits, precision)
    if config.dropout.mc_samples:
        arrays |= monte_carlo_arrays(model, splits, config)
    return arrays


def monte_carlo_arrays(
    model: nn.Module, splits: Mapping[str, Split], config: RunConfig
) -> dict[str, np.ndarray]:
    """Return the Monte-Carlo averages over thinned nets, with independent masks for each split."""
    arrays: dict[str, np.ndarray] = {}
    set_streams(model, "mc", config.repetition.seed, config.repetition.member)
    ladder = mc_ladder(config.dropout.mc_samples)
    for name, split in splits.items():
        nets = predict_monte_carlo(
            model, split.examples, split.positions, config.optimizer.precision, ladder, config
        )
        arrays[f"{name}_mc"] = as_kept(nets.log_mean)
        arrays[f"{name}_mc_mean_log"] = as_kept(nets.mean_log)
        arrays[f"{name}_mc_votes"] = nets.votes.short().cpu().numpy()
        arrays[f"{name}_mc_squares"] = nets.squares.cpu().numpy()
    return arrays


def out_of_bag_arrays(
    model: nn.Module, train: Split, positions: SplitPositions, precision: str
) -> dict[str, np.ndarray]:
    """Return the predictions for the out-of-bag images, which the bootstrap did not draw."""
    left_out = ~np.isin(positions.train, positions.drawn)
    places = torch.from_numpy(positions.train[left_out]).to(train.positions.device)
    return {
        "oob": as_kept(predict(model, train.examples, places, precision)),
        "oob_positions": np.flatnonzero(left_out),
        "oob_labels": train.examples.targets[places].cpu().numpy(),
    }

"""The scoring of classifiers: averages of log-probabilities, and temperature scaling."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F

from dropbench.catalog.arms import AVERAGINGS, losses_of
from dropbench.engine.evaluate import from_kept, metrics, reliability
from dropbench.experiments.bagging.averaging import Ensemble, out_of_bag_error, quality
from dropbench.experiments.bagging.calibration import at_temperature, detection, entropy, fit_temperature
from dropbench.experiments.bagging.scoring import OOD, Kept, Scored
from dropbench.run.blocks.data import CLASSIFICATION
from dropbench.run.result import mc_ladder


class Classes:
    """Scoring of probabilities of classes."""

    targets = "labels"

    def of_members(self, kept: Sequence[np.ndarray]) -> Ensemble:
        """Return the ensemble of members, of each of which log-probabilities are kept."""
        return Ensemble.of_members([from_kept(member) for member in kept])

    def of_passes(self, kept: Kept, split: str, passes: int, samples: int) -> Ensemble:
        """Return the ensemble of the first passes, whose number is on the ladder of ``samples``."""
        return Ensemble.of_thinned_nets(kept, split, mc_ladder(samples).index(passes), passes)

    def metrics(self, ensemble: Ensemble, targets: torch.Tensor) -> dict[str, float]:
        """Return error, NLL, Brier score and ECE of the arithmetic average."""
        return metrics(ensemble.prediction(AVERAGINGS[0]), targets)

    def score(
        self, ensembles: Mapping[str, Ensemble], targets: Mapping[str, torch.Tensor], averaging: str
    ) -> Scored:
        """Return the metrics, before and after temperature scaling; the entropy detects OOD images."""
        validated = ensembles["val"].prediction(averaging)
        predicted = ensembles["test"].prediction(averaging)
        temperature = fit_temperature(validated, targets["val"])
        scaled = at_temperature(predicted, temperature)
        figures = {
            **quality(ensembles["test"], averaging, targets["test"]),
            "temperature": temperature,
            "val_nll": metrics(validated, targets["val"])["nll"],
            **_scaled_figures("val", at_temperature(validated, temperature), targets["val"], ("nll",)),
            **_scaled_figures("test", scaled, targets["test"], ("nll", "brier", "ece")),
        }
        if OOD in ensembles:
            figures |= detection(entropy(predicted), entropy(ensembles[OOD].prediction(averaging)))
        return Scored(figures, _bins(predicted, targets["test"]), _losses(predicted, scaled, targets["test"]))

    def out_of_bag(self, kept: Sequence[Kept]) -> dict[str, float]:
        """Return the out-of-bag error in percent."""
        return {"oob_error_percent": out_of_bag_error(kept)}


def _scaled_figures(
    split: str, scaled: torch.Tensor, labels: torch.Tensor, names: tuple[str, ...]
) -> dict[str, float]:
    """Metrics after temperature scaling, which does not change the error; NaN where there was none."""
    found = dict.fromkeys(names, math.nan) if scaled.isnan().any() else metrics(scaled, labels)
    return {f"{split}_{name}_scaled": found[name] for name in names}


def _bins(predicted: torch.Tensor, labels: torch.Tensor) -> list[dict[str, float]]:
    """Cells of reliability.csv for each bin of confidence that is not empty."""
    columns = zip(*(column.tolist() for column in reliability(predicted.exp(), labels)), strict=True)
    return [
        {
            "bin": number,
            "examples": examples,
            "accuracy": right / examples,
            "confidence": confidence / examples,
        }
        for number, (examples, right, confidence) in enumerate(columns)
        if examples
    ]


def _losses(predicted: torch.Tensor, scaled: torch.Tensor, labels: torch.Tensor) -> dict[str, np.ndarray]:
    """Each loss on every example ``(examples,)``, from log-probabilities before and after scaling."""
    truth = F.one_hot(labels, predicted.shape[1])
    losses = {
        "error_percent": 100 * (predicted.argmax(1) != labels).double(),
        "nll": F.nll_loss(predicted.double(), labels, reduction="none"),
        "nll_scaled": F.nll_loss(scaled, labels, reduction="none"),
        "brier": (predicted.double().exp() - truth).square().sum(1),
    }
    return {name: losses[name].numpy() for name in losses_of(CLASSIFICATION)}

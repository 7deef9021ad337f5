"""Scoring: how a task's kept predictions are averaged, and what is computed from the averages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
import torch

Kept = Mapping[str, np.ndarray]
"""The arrays that are kept of a run; see dropbench.run.result.kept_arrays."""
OOD = "ood"
"""The name of the ensemble's predictions for out-of-distribution examples, beside ``val`` and ``test``."""
E = TypeVar("E")
"""The predictions of an ensemble's members for one split."""


@dataclass(frozen=True)
class Scored:
    """The figures that are computed from an averaged prediction.

    - ``figures``: cells of comparisons.csv.
    - ``bins``: cells of reliability.csv, a row for each bin.
    - ``losses``: arrays ``(examples,)``, one for each of dropbench.catalog.arms.losses_of.
    """

    figures: dict[str, float]
    bins: list[dict[str, float]]
    losses: dict[str, np.ndarray]


class Scoring(Protocol[E]):
    """The protocol of a task's scoring, which has no state."""

    targets: str
    """Ends the names of the kept arrays of targets, as in ``test_labels``."""

    def of_members(self, kept: Sequence[np.ndarray]) -> E:
        """Return the ensemble of members, of each of which an array of predictions is kept."""

    def of_passes(self, kept: Kept, split: str, passes: int, samples: int) -> E:
        """Return the ensemble of the first ``passes`` of the ``samples`` Monte-Carlo passes of a run."""

    def metrics(self, ensemble: E, targets: torch.Tensor) -> dict[str, float]:
        """Return the metrics of the arithmetic average, by the names of dropbench.run.result.METRIC_NAMES."""

    def score(
        self, ensembles: Mapping[str, E], targets: Mapping[str, torch.Tensor], averaging: str
    ) -> Scored:
        """Return what is computed from an average, one of dropbench.catalog.arms.AVERAGINGS.

        ``ensembles`` are of ``val`` and ``test``, and of OOD where there are such examples; ``targets`` are
        of the first two.
        """

    def out_of_bag(self, kept: Sequence[Kept]) -> dict[str, float]:
        """Return the cell of the out-of-bag error, from the arrays ``oob…`` of each member.

        Training examples are predicted by the arithmetic mean of the members that did not see them (Breiman
        1996). Those that every member saw are left out; NaN if none remain.
        """

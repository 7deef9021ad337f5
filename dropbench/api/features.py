"""The features that an autoencoder learns, with and without dropout."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from dropbench.api.keywords import Keywords, sort_out
from dropbench.api.sweep import check_seeds
from dropbench.api.work import Data, Done, Work
from dropbench.datasets.registry import default_data_dir, find_source
from dropbench.errors import UsageError
from dropbench.experiments.keep import check_target
from dropbench.experiments.sweep import expand
from dropbench.experiments.watching import Watcher
from dropbench.report.folder import features_report
from dropbench.run.config import RunConfig

_log = logging.getLogger(__name__)
FULL, EMBEDDED = "mnist", "mnist5k"


@dataclass(frozen=True, repr=False)
class FeaturesDone(Done):
    """Autoencoders that were trained."""


def features(
    data: Data = "auto",
    *,
    p: str | float | Iterable[float] | None = None,
    units: int = 256,
    seeds: int = 1,
    save: Path | str | None = None,
    out: Path | str = "results",
    data_dir: Path | str | None = None,
    watcher: Watcher | None = None,
    **settings: Any,
) -> FeaturesDone:
    """Train an autoencoder of one hidden layer for each p, and keep its features and reconstructions.

    Args:
        data: a data set, or its name; ``auto`` is mnist where it is on this machine, else mnist5k.
        p: probabilities of *dropping* a hidden unit; 0 and 0.5 by default.
        units: hidden units.
        seeds: how many, from 0 on; pictures show seed 0.
        save: the file, ending in ``.safetensors``, that the net is written into, where one is trained alone;
            it is then trained in any case.
        out: the folder of the results.
        data_dir: where torchvision's data sets are, or go when downloaded.
        watcher: sees the runs happen; they are logged unless given.
        settings: any setting of a run by its name, of the machine, or of what is done again.

    Raises:
        UsageError: for a setting that nothing knows, or values that are no run.
        DropbenchError: if data are not to be had, or a result cannot be written.

    """
    keywords = sort_out({"p": p, **settings}, p_drop="0,0.5")
    check_seeds(seeds, keywords)
    keywords.check_trials()
    target = None if save is None else check_target(save, "save")

    def runs(on_data: Keywords) -> list[RunConfig]:
        fixed, swept = on_data.swept()
        return expand({"model": "autoencoder", "layers": (units,), **fixed}, swept, seeds, baseline=False)

    chosen = _chosen(data_dir) if isinstance(data, str) and data == "auto" else data
    work = Work.prepare(runs, chosen, keywords, out, data_dir)
    nets: dict[str, Path] = {}
    if target is not None:
        if len(work.run_ids) != 1:
            raise UsageError(
                f"`save` is for one net, and there are {len(work.run_ids)}.",
                "Write one `p_drop`, and one seed.",
            )
        work = replace(work, policy=replace(work.policy, force=True))
        nets = dict.fromkeys(work.run_ids, target)
    outcome = work.carry_out(watcher, with_predictions=True, nets=nets)
    if target is not None and outcome.unsuccessful:
        _log.warning(f"The run {outcome.unsuccessful[0].status}, so {target.name} is not written.")
    return FeaturesDone(work.out, work.run_ids, outcome, partial(features_report, work.out, work.run_ids))


def _chosen(data_dir: Path | str | None) -> str:
    """The data set that ``auto`` stands for."""
    if find_source(FULL).files(Path(data_dir) if data_dir is not None else default_data_dir()):
        return FULL
    _log.warning(f"{FULL} is not on this machine: {EMBEDDED} is taken. `data={FULL}` fetches it.")
    return EMBEDDED

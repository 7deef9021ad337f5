"""``dropbench features``: what an autoencoder learns, with and without dropout."""

from dataclasses import dataclass, replace
from typing import Annotated

from dropbench.cli.common_flags import DATA, DROPOUT, MODEL, TRAINING, AsJson, option
from dropbench.cli.console import present, tell
from dropbench.cli.flags import TrainingFlags
from dropbench.cli.pool_flags import PoolFlags
from dropbench.cli.signature import with_flags
from dropbench.run import grammar
from dropbench.run.config import RunConfig

_FULL, _EMBEDDED = "mnist", "mnist5k"


@dataclass(frozen=True, kw_only=True)
class FeatureFlags(PoolFlags, TrainingFlags):
    """What every command of many runs can be told, and other data unless told."""

    data: Annotated[
        str,
        option(
            "--data",
            f"auto ({_FULL} where it is here, else {_EMBEDDED}), or any data set of dropbench sweep.",
            DATA,
        ),
    ] = "auto"

    def with_data(self) -> "FeatureFlags":
        """The same with the data set that auto stands for."""
        from dropbench.datasets.registry import default_data_dir, find_source

        if self.data != "auto":
            return self
        here = find_source(_FULL).files(self.data_dir or default_data_dir())
        if not here:
            tell(f"{_FULL} is not on this machine: {_EMBEDDED} is taken. --data {_FULL} fetches it.")
        return replace(self, data=_FULL if here else _EMBEDDED)


@with_flags
def features(
    p: Annotated[
        str, option("--p", "Probabilities of dropping a hidden unit, a grid of features for each.", DROPOUT)
    ] = "0,0.5",
    units: Annotated[int, option("--units", "Hidden units.", MODEL, min=1)] = 256,
    tied: Annotated[
        bool, option("--tied/--untied", "Decode with the encoder's weights, transposed.", MODEL)
    ] = False,
    seeds: Annotated[
        int,
        option("--seeds", "How many seeds, from 0 on; the pictures show seed 0.", TRAINING, min=1),
    ] = 1,
    as_json: AsJson = False,
    *,
    flags: FeatureFlags,
) -> None:
    """Show what dropout does to the features that an autoencoder learns.

    One hidden layer learns to give the image again, once for each p. Drawn are its first-layer weights,
    some reconstructions, and the histograms of activations; measured are the reconstruction error and
    what the hidden units do.

    Examples:

        dropbench features

        dropbench features --p 0,0.2,0.5,0.8 --tied
    """
    from dropbench.experiments.sweep import Grid, expand

    grid = Grid(
        p_drop=grammar.parse_probabilities(p),
        seeds=seeds,
        baseline=False,
        **flags.swept_fields(),
    )
    base = RunConfig(model="autoencoder", layers=(units,), tied=tied, **flags.shared_fields())
    unbound = expand(base, grid)
    flags.tell_if_in_vain(unbound)

    from dropbench.cli.finish import exit_for, resumable
    from dropbench.cli.progress import watching
    from dropbench.experiments.workbench import carry_out
    from dropbench.report.folder import features_report
    from dropbench.report.pictures import save_pictures
    from dropbench.results.store import Store

    bench = flags.with_data().set_up()
    configs = bench.bind(unbound)
    store = Store(flags.out)
    with watching() as watcher, resumable(flags.out, watcher):
        outcome = carry_out(configs, bench, store, watcher, flags.policy(), with_predictions=True)
    report = features_report(flags.out, {config.run_id for config in configs})
    present(report.tables, as_json)
    for picture in save_pictures(report, flags.out, ("png", "svg")):
        tell(f"picture: {picture}")
    tell(f"runs: {flags.out / 'runs.csv'}; the hidden units: {flags.out / 'panel.csv'}")
    exit_for(outcome)

"""``dropbench features``: what an autoencoder learns, with and without dropout."""

from pathlib import Path
from typing import Annotated

from dropbench.cli.options import (
    DATA,
    MODEL,
    OF_MACHINE,
    OF_POLICY,
    OF_RUNS,
    AsJson,
    DataDir,
    Keywords,
    Out,
    Save,
    Seeds,
    option,
    takes,
)  # fmt: skip


@takes("features", OF_RUNS, OF_MACHINE, OF_POLICY, lists=True, p_drop="0,0.5")
def features(
    data: Annotated[
        str, option("--data", "Data set; auto is mnist if it is on this machine, otherwise mnist5k.", DATA)
    ] = "auto",
    data_dir: DataDir = None,
    units: Annotated[int, option("--units", "Number of hidden units.", MODEL, min=1)] = 256,
    seeds: Seeds = 1,
    save: Save = None,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Show what dropout does to the features that an autoencoder learns.

    An autoencoder of one hidden layer is trained for each p. The reconstruction error and the activity of the
    hidden units are measured. For seed 0, the first-layer weights, some reconstructions and histograms of
    activations are drawn.

    Examples:

        dropbench features

        dropbench features --p 0,0.2,0.5,0.8 --tied
    """
    import dropbench as db
    from dropbench.cli.finish import conclude, working

    with working(folder) as watcher:
        done = db.features(
            data,
            units=units,
            seeds=seeds,
            save=save,
            out=folder,
            data_dir=data_dir,
            watcher=watcher,
            **given,
        )
    written = f"runs: {folder / 'runs.csv'}; the hidden units: {folder / 'panel.csv'}"
    conclude(done, as_json, written, ("png", "svg"))

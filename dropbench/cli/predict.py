"""``dropbench predict``: a saved net on examples, old and new."""

from pathlib import Path
from typing import Annotated

import typer

from dropbench.cli.console import present, tell
from dropbench.cli.options import (
    DATA,
    MODEL,
    OF_DATA,
    OF_MACHINE,
    OUTPUT,
    AsJson,
    DataDir,
    Keywords,
    option,
    path_option,
    takes,
)  # fmt: skip
from dropbench.cli.paths import parse_path
from dropbench.errors import UsageError
from dropbench.run.blocks.data import PREDICT

_EXECUTED = "Executed only if it is named here."


@takes(PREDICT, OF_DATA, OF_MACHINE)
def predict(
    file: Annotated[
        Path,
        typer.Argument(
            help="The net: a file of train --save or sweep --save-best.", metavar="FILE", parser=parse_path
        ),
    ],
    data: Annotated[
        str | None,
        option(
            "--data",
            "Data set, or data of your own, as dropbench train takes them.",
            DATA,
            show_default="that of training",
        ),
    ] = None,
    data_dir: DataDir = None,
    split: Annotated[
        str, option("--split", "Examples to predict: test, val, train or all.", DATA, metavar="NAME")
    ] = "test",
    mc_samples: Annotated[
        int,
        option(
            "--mc-samples",
            "Also average so many passes with new masks (Monte-Carlo dropout).",
            OUTPUT,
            min=0,
        ),
    ] = 0,
    csv: Annotated[
        Path | None,
        path_option(
            "--csv",
            "Write a row for each example: its label, the prediction, a probability for each class. "
            "- is stdout, without the metrics.",
            OUTPUT,
            metavar="FILE",
        ),
    ] = None,
    model: Annotated[
        str | None,
        option("--model", f"The code that makes a net of your own, file.py:name. {_EXECUTED}", MODEL),
    ] = None,
    dropout: Annotated[
        str | None,
        option("--dropout", f"The code of a dropout of your own, file.py:Class. {_EXECUTED}", MODEL),
    ] = None,
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Predict by a saved net: error, likelihood, calibration, and a probability for each class.

    Examples are prepared as in training. Nothing in FILE is executed.

    Examples:

        dropbench predict net.safetensors

        dropbench predict net.safetensors --data folder:photos --mc-samples 50 --csv predictions.csv
    """
    import dropbench as db
    from dropbench.cli.progress import reading
    from dropbench.report.render.export import STDOUT

    if as_json and csv == STDOUT:
        raise UsageError("--json and --csv cannot both go to stdout.", "Name a file for the CSV.")
    with reading():
        found = db.predict(
            file,
            data,
            split=split,
            mc_samples=mc_samples,
            csv=csv,
            model=model,
            dropout=dropout,
            data_dir=data_dir,
            **given,
        )
    if csv == STDOUT:
        return  # nothing but the rows
    present(found.tables, as_json)
    if csv is not None:
        tell(f"predictions: {csv}")

"""The autoencoders with and without dropout: how well they reconstruct, and what their units do."""

from dropbench.report.statistics import mean_interval, paired_difference
from dropbench.report.sweep.sweep import Setting, axis_columns, sweep_title
from dropbench.report.table import Column, Row, Table
from dropbench.report.units.panel import Panel, estimate_text, units_columns, units_row


def feature_table(panel: Panel) -> Table:
    """A row for every setting of the autoencoder."""
    axes = axis_columns(panel.sweep)
    return Table(
        "features",
        f"Features: {sweep_title(panel.sweep)}",
        (
            *axes,
            Column("seeds", lambda row: str(row["seeds"])),
            Column("reconstruction\nerror", estimate_text("test_reconstruction_error", 2)),
            Column("difference to\np = 0", _difference),
            *units_columns(),
        ),
        tuple(_row(panel, setting) for setting in panel.settings),
        (
            "Reconstruction error: squared error of a test image, summed over its pixels of 0 to 1; without "
            "dropout at test. Units: the hidden layer, on the test images.",
        ),
        lead=len(axes),
    )


def _row(panel: Panel, setting: Setting) -> Row:
    error = mean_interval(list(setting.reconstruction_error.values()))
    reference = panel.sweep.reference(setting)
    difference = (
        mean_interval([])
        if reference is None or reference is setting
        else paired_difference(setting.reconstruction_error, reference.reconstruction_error)
    )
    return {
        **units_row(panel, setting, "1"),
        "seeds": error.count,
        **error.cells("test_reconstruction_error"),
        **difference.cells("difference_to_reference"),
        "_test_reconstruction_error": error,
        "_difference": difference,
    }


def _difference(row: Row) -> str:
    if row["reference"]:
        return "reference"
    text: str = row["_difference"].text(signed=True)
    return text

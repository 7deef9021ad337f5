"""Panels out of the rows of panel.csv: what dropout did to the units of a sweep's nets."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from dropbench.report.metrics import Metric, metrics_of
from dropbench.report.statistics import Estimate, mean_interval, paired_difference
from dropbench.report.sweep.sweep import Setting, Sweep, axis_columns, axis_text, mean_of, sweep_title
from dropbench.report.table import Column, Row, Table
from dropbench.run.result import RUNNING_VARIANCE, SHARES, TEST_VARIANCE, TRAINING_VARIANCE

_SHOWN_SHARES = (0.0, 0.3, 0.5, 0.7, 0.9)
CORRELATION, RANK = "mean_abs_correlation", "effective_rank"


@dataclass(frozen=True)
class Measure:
    """A measure of a layer's units: its name in the CSV, in a table and in words, and its digits."""

    name: str
    title: str
    label: str
    digits: int


MEASURES = (
    Measure("mean_activation", "mean\nactivation", "mean activation", 3),
    Measure("zero_share", "zeros,\nshare", "share of activations that are 0", 3),
    Measure("sparseness", "sparse-\nness", "sparseness (Treves & Rolls), 0 to 1", 3),
    Measure("dead_units", "dead\nunits", "units that never change", 1),
    Measure(CORRELATION, "mean |r|\nof pairs", "mean absolute correlation of two units", 3),
    Measure(RANK, "effective\nrank", "effective rank of the units' covariance", 1),
)
_COMPARED = tuple(measure for measure in MEASURES if measure.name in (CORRELATION, RANK))


@dataclass(frozen=True)
class Panel:
    """A sweep and what was measured of its runs' units: ``(measure, layer, at)`` to values by run_id."""

    sweep: Sweep
    values: Mapping[tuple[str, str, float], Mapping[str, float]]

    @property
    def layers(self) -> list[str]:
        """The numbers of the hidden layers of any of its nets, as text."""
        numbers = {layer for measure, layer, _ in self.values if measure == "units"}
        return sorted((n for n in numbers if any(self.has(s, n) for s in self.sweep.settings)), key=int)

    def by_seed(self, setting: Setting, measure: str, layer: str = "", at: float = 0.0) -> dict[int, float]:
        """One figure of a setting's runs."""
        found = self.values.get((measure, layer, at), {})
        return {
            seed: found[run_id]
            for seed, run_id in setting.run_ids.items()
            if not math.isnan(found.get(run_id, math.nan))
        }

    def estimate(self, setting: Setting, measure: str, layer: str = "", at: float = 0.0) -> Estimate:
        """Its mean over the seeds."""
        return mean_interval(list(self.by_seed(setting, measure, layer, at).values()))

    @property
    def metric(self) -> Metric:
        """The metric of its errors, the first of the task: the error in percent, or the RMSE."""
        first = metrics_of(self.sweep.task)[0]
        return first.fitted(mean_of(setting.test[first.column]) for setting in self.sweep.settings)

    @property
    def train_error(self) -> str:
        """The measure of the error on training examples, of the trained net without dropout."""
        return f"train_{self.metric.column}"

    @property
    def test_error(self) -> str:
        """The measure of the error on the test examples, after a share of the units was removed."""
        return f"test_{self.metric.column}"

    def gap(self, setting: Setting) -> dict[int, float]:
        """Test error less training error, both of the trained net without dropout."""
        train = self.by_seed(setting, self.train_error)
        test = self.by_seed(setting, self.test_error)
        return {seed: test[seed] - train[seed] for seed in train.keys() & test.keys()}

    @property
    def layers_of_variances(self) -> list[str]:
        """The names of the layers whose input has a measured variance, in the order of a pass."""
        names = [layer for measure, layer, _ in self.values if measure == TEST_VARIANCE]
        return [name for name in names if any(self.variance_ratio(s, name) for s in self.settings)]

    def variance_ratio(self, setting: Setting, layer: str) -> dict[int, float]:
        """The variance of a layer's input with the dropout of training, divided by that at test."""
        training = self.by_seed(setting, TRAINING_VARIANCE, layer)
        test = self.by_seed(setting, TEST_VARIANCE, layer)
        return {seed: training[seed] / test[seed] for seed in training.keys() & test.keys() if test[seed]}

    def shift_ratio(self, setting: Setting, layer: str) -> dict[int, float]:
        """The running variance of a batch norm and the variance of its input at test, larger by smaller.

        It is what Li et al. (2019) show in their Figure 1.
        """
        running = self.by_seed(setting, RUNNING_VARIANCE, layer)
        test = self.by_seed(setting, TEST_VARIANCE, layer)
        both = {seed: (running[seed], test[seed]) for seed in running.keys() & test.keys()}
        return {seed: max(pair) / min(pair) for seed, pair in both.items() if min(pair) > 0}

    @property
    def settings(self) -> list[Setting]:
        """The settings of the sweep whose units were measured."""
        return [setting for setting in self.sweep.settings if self.has(setting, "1")]

    def has(self, setting: Setting, layer: str) -> bool:
        """Whether a setting's nets have such a hidden layer, and it was measured."""
        return bool(self.by_seed(setting, "units", layer))


def find_panels(rows: pd.DataFrame, sweeps: Iterable[Sweep]) -> list[Panel]:
    """The panels of those of the sweeps that have one, from the rows of panel.csv."""
    values: dict[tuple[str, str, float], dict[str, float]] = {}
    for measure, layer, at, run_id, value in zip(
        rows["measure"], rows["layer"], rows["at"], rows["run_id"], rows["value"], strict=True
    ):
        values.setdefault((measure, layer, at), {})[run_id] = value
    panels = (Panel(sweep, values) for sweep in sweeps)
    return [panel for panel in panels if panel.settings]


def panel_tables(panel: Panel) -> list[Table]:
    """Two tables: the units of every hidden layer; the errors, whole and without a share of the units."""
    title = sweep_title(panel.sweep)
    axes = axis_columns(panel.sweep)
    metric = panel.metric
    what, unit = metric.label.replace(",", ""), f", {metric.unit}" if metric.unit else ""
    return [
        Table(
            "panel-units",
            f"Hidden units on the test examples: {title}",
            (
                *axes,
                Column("hidden\nlayer", lambda row: row["layer"]),
                *units_columns(),
            ),
            tuple(
                units_row(panel, setting, layer)
                for layer in panel.layers
                for setting in panel.settings
                if panel.has(setting, layer)
            ),
            tuple(_units_notes(panel)),
            lead=len(axes) + 1,
        ),
        Table(
            "panel-errors",
            f"{metric.heading} of the trained net, and without a share of its hidden units: {title}",
            (
                *axes,
                Column(f"train\n{what}", estimate_text(panel.train_error, metric.digits)),
                Column(f"gap, test −\ntrain{unit}", estimate_text("gap", metric.digits)),
                *(
                    Column(
                        f"test {what},\n{share:.0%} removed",
                        estimate_text(f"{panel.test_error}_{share:g}", max(0, metric.digits - 1)),
                    )
                    for share in _SHOWN_SHARES
                ),
            ),
            tuple(_errors_row(panel, setting) for setting in panel.settings),
            (
                "Units are removed at random from all hidden layers at once, and the others are left as they "
                "are, not scaled; five choices for each net.",
                *_bearing_notes(panel),
            ),
            lead=len(axes),
        ),
    ]


def units_columns() -> tuple[Column, ...]:
    """The columns for rows of units_row."""
    return (
        Column("units", lambda row: f"{row['units']:.0f}"),
        *(Column(m.title, estimate_text(m.name, m.digits)) for m in MEASURES),
        *(_difference_column(measure) for measure in _COMPARED),
    )


def _difference_column(measure: Measure) -> Column:
    title = measure.title.replace("\n", " ")
    return Column(f"{title},\nless that at p = 0", _difference(measure.name, measure.digits))


def panel_row(panel: Panel, setting: Setting, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """A row of a setting, with the estimates by their names."""
    row: dict[str, Any] = {**setting.cells, "p_keep": round(1 - setting.axes["p_drop"], 12)}
    row["reference"] = panel.sweep.reference(setting) is setting
    for name, estimate in estimates.items():
        row |= {**estimate.cells(name), f"_{name}": estimate}
    return row


def units_row(panel: Panel, setting: Setting, layer: str) -> dict[str, Any]:
    """The measures of one layer of a setting's nets, and their differences to the net without dropout."""
    estimates = {m.name: panel.estimate(setting, m.name, layer) for m in MEASURES}
    reference = panel.sweep.reference(setting)
    for measure in _COMPARED:
        estimates[f"{measure.name}_difference"] = (
            mean_interval([])
            if reference is None
            else paired_difference(
                panel.by_seed(setting, measure.name, layer), panel.by_seed(reference, measure.name, layer)
            )
        )
    units = panel.estimate(setting, "units", layer).mean
    return {**panel_row(panel, setting, estimates), "layer": layer, "units": units}


def _errors_row(panel: Panel, setting: Setting) -> Row:
    return panel_row(
        panel,
        setting,
        {
            panel.train_error: panel.estimate(setting, panel.train_error),
            "gap": mean_interval(list(panel.gap(setting).values())),
            **{
                f"{panel.test_error}_{share:g}": panel.estimate(setting, panel.test_error, at=share)
                for share in SHARES
            },
        },
    )


def estimate_text(name: str, digits: int) -> Callable[[Row], str]:
    """Return a function that writes a row's estimate of that name."""

    def text(row: Row) -> str:
        estimate: Estimate = row[f"_{name}"]
        return estimate.text(digits)

    return text


def _difference(name: str, digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        if row["reference"]:
            return "reference"
        estimate: Estimate = row[f"_{name}_difference"]
        return estimate.text(digits, signed=True)

    return text


def _units_notes(panel: Panel) -> Iterable[str]:
    if not _compared(panel):
        return
    yield (
        "Independence between neurons would be a lower mean |r| and a higher effective rank (at most the "
        "number of units). Measured, with 95 % intervals of the paired difference to p = 0:"
    )
    for layer in panel.layers:
        for measure, name in ((CORRELATION, "mean |r|"), (RANK, "effective rank")):
            if found := _sorted_by_sign(panel, measure, layer):
                yield f"hidden layer {layer}, {name}: {found}."


def _bearing_notes(panel: Panel) -> Iterable[str]:
    if not _compared(panel):
        return
    found = _sorted_by_sign(panel, panel.test_error, "", at=0.5)
    yield (
        f"A distributed representation would lose less with its units. Test {panel.metric.what} without half "
        f"of them, against p = 0: {found}."
    )


def _compared(panel: Panel) -> list[tuple[Setting, Setting]]:
    """Each setting with its net without dropout, where both were measured."""
    measured = panel.settings
    pairs = ((setting, panel.sweep.reference(setting)) for setting in measured)
    return [
        (setting, reference)
        for setting, reference in pairs
        if reference is not None and reference is not setting and reference in measured
    ]


def _sorted_by_sign(panel: Panel, measure: str, layer: str, at: float = 0.0) -> str:
    """Where a measure is lower than, higher than, or not told apart from that without dropout."""
    groups: dict[str, list[str]] = {}
    for setting, reference in _compared(panel):
        if layer and not panel.has(setting, layer):
            continue
        difference = paired_difference(
            panel.by_seed(setting, measure, layer, at), panel.by_seed(reference, measure, layer, at)
        )
        if math.isnan(difference.low):
            sign = "not to be told with one seed"
        else:
            sign = "lower" if difference.high < 0 else "higher" if difference.low > 0 else "not told apart"
        where = " ".join(axis_text(setting.axes[axis]) for axis in panel.sweep.varying)
        groups.setdefault(sign, []).append(where)
    return "; ".join(f"{sign} at {', '.join(where)}" for sign, where in groups.items())

"""The figures of a comparison: against M, against k, quality against cost, and reliability."""

from collections.abc import Sequence
from dataclasses import dataclass

from dropbench.catalog.arms import ARMS, REFERENCE
from dropbench.report.comparison.comparison import Comparison, pooled
from dropbench.report.figure import Axis, Figure, Level, Series, Subplot, estimates_series
from dropbench.report.style import REFERENCE as REFERENCE_STYLE
from dropbench.report.style import Style, level_style
from dropbench.report.sweep.lines import picture_title
from dropbench.run.blocks.data import CLASSIFICATION, REGRESSION

COSTS = {
    "train_flops": "training FLOPs, times dropout's",
    "prediction_flops": "FLOPs a prediction, times dropout's",
}


def comparison_figures(comparison: Comparison) -> list[Figure]:
    """All figures that there are rows for."""
    figures = []
    if any(ARMS[arm].is_ensemble for arm in comparison.arms) and comparison.fields["members"] > 1:
        figures.append(members_figure(comparison))
    if any(ARMS[arm].monte_carlo for arm in comparison.arms):
        figures.append(passes_figure(comparison))
    if comparison.reference in comparison.arms and comparison.rows["train_flops"].notna().all():
        figures.append(cost_figure(comparison))
    if comparison.arms and len(comparison.bins):
        figures.append(reliability_figure(comparison))
    return figures


def members_figure(comparison: Comparison) -> Figure:
    """Error and likelihood against the number of members: lines of the ensembles, levels of the others."""
    ensembles = [arm for arm in comparison.arms if ARMS[arm].is_ensemble]
    others = [arm for arm in comparison.arms if not (ARMS[arm].is_ensemble or ARMS[arm].monte_carlo)]
    return _against(comparison, "members", Axis("members, M", whole=True), "averaged", ensembles, others)


def passes_figure(comparison: Comparison) -> Figure:
    """Monte-Carlo dropout against the number of thinned nets, beside the level of weight scaling."""
    arms = [arm for arm in comparison.arms if ARMS[arm].monte_carlo]
    levels = [REFERENCE] if REFERENCE in comparison.arms else []
    axis = Axis("thinned nets averaged, k", log=True)
    return _against(comparison, "passes", axis, "passes_per_prediction", arms, levels)


def _against(
    comparison: Comparison, name: str, axis: Axis, size: str, lines: Sequence[str], levels: Sequence[str]
) -> Figure:
    """The metric and the likelihood against the column ``size``, with bands from the lowest to the highest.

    Of a regression it is the likelihood after scaling: before it one arm that overfits flattens all others.
    """
    likelihoods = {
        CLASSIFICATION: ("test_nll", "test NLL, nats"),
        REGRESSION: ("test_nll_scaled", "test NLL scaled, nats"),
    }
    metric = comparison.metric
    shown = ((f"test_{metric.column}", f"test {metric.label}"), likelihoods[comparison.fields["task"]])
    subplots = [
        Subplot(
            axis,
            Axis(label),
            tuple(_line(comparison, arm, size, column) for arm in lines),
            tuple(_level(comparison, arm, column) for arm in levels),
        )
        for column, label in shown
    ]
    return _side_by_side(comparison, name, subplots, "bands from the lowest to the highest")


def _line(comparison: Comparison, arm: str, size: str, column: str) -> Series:
    found = comparison.readings(arm).groupby(size)[column].agg(["mean", "min", "max"])
    mean, low, high = (tuple(map(float, found[name])) for name in ("mean", "min", "max"))
    return Series(ARMS[arm].title, tuple(map(float, found.index)), mean, _style(arm), low, high, band=True)


def _level(comparison: Comparison, arm: str, column: str) -> Level:
    values = [float(value) for value in comparison.fullest(arm)[column]]
    style = level_style(list(ARMS).index(arm))
    return Level(comparison.name(arm), sum(values) / len(values), style, min(values), max(values))


def cost_figure(comparison: Comparison) -> Figure:
    """The metric against what it takes: every arm, faint its smaller readings, and the Pareto front."""
    subplots = [_cost(comparison, cost, label) for cost, label in COSTS.items()]
    return _side_by_side(comparison, "cost", subplots, "95 % bootstrap interval")


def _cost(comparison: Comparison, cost: str, label: str) -> Subplot:
    unit = comparison.fullest(comparison.reference)[cost].mean()
    series = []
    points: list[tuple[float, float]] = []
    for arm in comparison.arms:
        name, style = comparison.name(arm), _style(arm)
        sizes = comparison.readings(arm).groupby(["averaged", "passes_per_prediction"])
        xs, errors = (
            (sizes[cost].mean() / unit).tolist(),
            sizes[f"test_{comparison.metric.column}"].mean().tolist(),
        )
        if len(xs) > 1:
            fewer = Series(f"{name}, fewer", tuple(xs), tuple(errors), style, companion_of=name, faint=True)
            series.append(fewer)
        error, x = comparison.error(arm), comparison.fullest(arm)[cost].mean() / unit
        series.append(estimates_series(name, [x], [error], style, joined=False))
        points += [*zip(xs, errors, strict=True), (x, error.mean)]
    front_xs, front_errors = zip(*pareto_front(points), strict=True)
    front = Series("Pareto front", front_xs, front_errors, REFERENCE_STYLE, markers=False, steps=True)
    return Subplot(Axis(label, log=True), Axis(f"test {comparison.metric.label}"), (*series, front))


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, loss) that no other beats in both, from the cheapest to the best."""
    front: list[tuple[float, float]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


@dataclass(frozen=True)
class _Reliability:
    """The words for a task's bins of reliability."""

    caption: str
    x: str
    y: str
    errors: str
    by_examples: bool
    """Whether bins differ in the number of their examples."""


_RELIABILITY = {
    CLASSIFICATION: _Reliability(
        "Reliability: accuracy against confidence in fifteen bins, all seeds together",
        "confidence (mean of the bin)",
        "accuracy",
        "Expected calibration errors",
        by_examples=True,
    ),
    REGRESSION: _Reliability(
        "Reliability: the share of targets in central intervals against their level, all seeds together",
        "level of the central interval",
        "share of test targets in it",
        "Coverage errors",
        by_examples=False,
    ),
}


def reliability_figure(comparison: Comparison) -> Figure:
    """The bins of reliability over all seeds; on the diagonal predictions are calibrated.

    For classifiers it is accuracy against confidence, where the area of a marker tells how many examples the
    bin has; for regressions the coverage of central intervals against their level.
    """
    told = _RELIABILITY[comparison.fields["task"]]
    series = [Series("calibrated", (0.0, 1.0), (0.0, 1.0), REFERENCE_STYLE, markers=False)]
    errors = []
    for arm in comparison.arms:
        bins, name = pooled(comparison, arm), comparison.name(arm)
        xs, ys, examples = (tuple(map(float, bins[c])) for c in ("confidence", "accuracy", "examples"))
        series.append(Series(name, xs, ys, _style(arm), examples=examples if told.by_examples else ()))
        errors.append(f"{name} {comparison.fullest(arm)[f'test_{comparison.calibration.column}'].mean():.3f}")
    remark = f"{told.errors}: {'; '.join(errors)}."
    return Figure(
        "bagging-reliability",
        picture_title(comparison.fields, _seeds(comparison, "{} together")),
        told.caption,
        (Subplot(Axis(told.x), Axis(told.y), tuple(series), remark=remark),),
        size=(5.6, 5.2),
    )


def _side_by_side(comparison: Comparison, name: str, subplots: Sequence[Subplot], caption: str) -> Figure:
    """Subplots in one row with one legend below; ``caption`` says what the intervals are."""
    joint = "," if caption.startswith("bands") else " with"
    title = picture_title(comparison.fields, f"{_seeds(comparison, 'mean of {}')}{joint} {caption}")
    return Figure(f"bagging-{name}", title, caption, tuple(subplots), 2, (10, 5.2), one_legend=True)


def _seeds(comparison: Comparison, several: str) -> str:
    return several.format(f"{comparison.seeds} seeds") if comparison.seeds > 1 else "one seed"


def _style(arm: str) -> Style:
    """The style of an arm, the same in every figure."""
    return Style(list(ARMS).index(arm))

"""The figures of a comparison: against M, against k, quality against cost, and reliability."""

from collections.abc import Sequence

from dropbench.catalog.arms import ARMS, REFERENCE
from dropbench.report.comparison.comparison import Comparison, pooled
from dropbench.report.figure import Axis, Figure, Level, Mark, Series, Subplot, estimates_series, side_by_side
from dropbench.report.style import REFERENCE as REFERENCE_STYLE
from dropbench.report.style import Style, level_style
from dropbench.report.sweep.lines import picture_title

LABELS = {"test_error_percent": "test error, %", "test_nll": "test NLL, nats"}
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
    """Each of LABELS against the column ``size``, with bands from the lowest to the highest seed."""
    subplots = [
        Subplot(
            axis,
            Axis(label),
            (
                *(_line(comparison, arm, size, column) for arm in lines),
                *(_level(comparison, arm, column) for arm in levels),
            ),
            caption=f"{label[0].upper()}{label[1:]} against {axis.label}; bands: lowest to highest seed",
        )
        for column, label in LABELS.items()
    ]
    title = picture_title(comparison.fields, f"{_seeds(comparison)}, bands from the lowest to the highest")
    return side_by_side(f"bagging-{name}", title, f"Error and likelihood against {axis.label}", subplots)


def cost_figure(comparison: Comparison) -> Figure:
    """Test error against what it takes: every arm, faint its smaller readings, and the Pareto front."""
    subplots = [_cost(comparison, cost) for cost in COSTS]
    title = picture_title(comparison.fields, f"{_seeds(comparison)} with 95 % bootstrap interval")
    return side_by_side("bagging-cost", title, "Test error against what it takes", subplots)


def _cost(comparison: Comparison, cost: str) -> Subplot:
    unit = comparison.fullest(comparison.reference)[cost].mean()
    marks: list[Mark] = []
    points: list[tuple[float, float]] = []
    for arm in comparison.arms:
        name, style = comparison.name(arm), Style(_number(arm))
        sizes = comparison.readings(arm).groupby(["averaged", "passes_per_prediction"])
        xs, errors = (sizes[cost].mean() / unit).tolist(), sizes["test_error_percent"].mean().tolist()
        if len(xs) > 1:
            fewer = Series(f"{name}, fewer", tuple(xs), tuple(errors), style, companion_of=name, faint=True)
            marks.append(fewer)
        error, x = comparison.error(arm), comparison.fullest(arm)[cost].mean() / unit
        marks.append(estimates_series(name, [x], [error], style, joined=False))
        points += [*zip(xs, errors, strict=True), (x, error.mean)]
    front_xs, front_errors = zip(*pareto_front(points), strict=True)
    front = Series("Pareto front", front_xs, front_errors, REFERENCE_STYLE, markers=False, steps=True)
    label = COSTS[cost]
    caption = f"Test error against {label}, with 95 % bootstrap intervals"
    return Subplot(
        Axis(label, log=True), Axis(LABELS["test_error_percent"]), (*marks, front), caption=caption
    )


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, loss) that no other beats in both, from the cheapest to the best."""
    front: list[tuple[float, float]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def reliability_figure(comparison: Comparison) -> Figure:
    """Accuracy against confidence in the fifteen bins, over all seeds; on the diagonal they are the same.

    The area of a marker tells how many examples the bin has.
    """
    diagonal = Series("calibrated", (0.0, 1.0), (0.0, 1.0), REFERENCE_STYLE, markers=False)
    marks = [diagonal, *(_reliability(comparison, arm) for arm in comparison.arms)]
    eces = "; ".join(
        f"{comparison.name(arm)} {comparison.fullest(arm)['test_ece'].mean():.3f}" for arm in comparison.arms
    )
    shown = f"{comparison.seeds} seeds together" if comparison.seeds > 1 else "one seed"
    return Figure(
        "bagging-reliability",
        picture_title(comparison.fields, shown),
        "Reliability: accuracy against confidence in fifteen bins, all seeds together",
        (
            Subplot(
                Axis("confidence (mean of the bin)"),
                Axis("accuracy"),
                tuple(marks),
                remark=f"Expected calibration errors: {eces}.",
            ),
        ),
        size=(5.6, 5.2),
    )


def _reliability(comparison: Comparison, arm: str) -> Series:
    bins = pooled(comparison, arm)
    confidence, accuracy, examples = (
        tuple(map(float, bins[column])) for column in ("confidence", "accuracy", "examples")
    )
    return Series(comparison.name(arm), confidence, accuracy, Style(_number(arm)), sizes=examples)


def _number(arm: str) -> int:
    """The number of an arm's style, the same in every figure."""
    return list(ARMS).index(arm)


def _seeds(comparison: Comparison) -> str:
    return f"mean of {comparison.seeds} seeds" if comparison.seeds > 1 else "one seed"


def _line(comparison: Comparison, arm: str, size: str, column: str) -> Series:
    found = comparison.readings(arm).groupby(size)[column].agg(["mean", "min", "max"])
    means, lowest, highest = (tuple(map(float, found[name])) for name in ("mean", "min", "max"))
    xs = tuple(map(float, found.index))
    return Series(ARMS[arm].title, xs, means, Style(_number(arm)), lowest, highest, band=True)


def _level(comparison: Comparison, arm: str, column: str) -> Level:
    values = comparison.fullest(arm)[column]
    style = level_style(_number(arm))
    return Level(comparison.name(arm), float(values.mean()), style, float(values.min()), float(values.max()))

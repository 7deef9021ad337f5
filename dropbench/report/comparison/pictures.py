"""Pictures of a comparison: against M, against k, quality against cost, and reliability."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dropbench.catalog.arms import ARMS, REFERENCE
from dropbench.report.comparison.comparison import Comparison, pooled
from dropbench.report.sweep.pictures import COLOURS, MARKERS, error_bars, picture, picture_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LABELS = {"test_error_percent": "test error, %", "test_nll": "test NLL, nats"}
COSTS = {
    "train_flops": "training FLOPs, times dropout's",
    "prediction_flops": "FLOPs a prediction, times dropout's",
}
_WIDE = (10, 5.2)
_DASHES = ("--", "-.", ":")
_LARGEST, _SMALLEST = 120, 0.05
"""Area of the fullest bin's mark, and the least share of it."""


def save_comparison(comparison: Comparison, folder: Path, name: str) -> list[Path]:
    """Draw everything of a comparison that there is, each into a file whose name ends in ``name``.

    Raises:
        DropbenchError: if one cannot be written.

    """
    seeds = f"mean of {comparison.seeds} seeds" if comparison.seeds > 1 else "one seed"
    of_seeds = picture_title(comparison.fields, seeds)
    with_range = f"{of_seeds}, bands from the lowest to the highest"
    fields = comparison.fields
    paths = []
    if any(ARMS[arm].is_ensemble for arm in comparison.arms) and fields["members"] > 1:
        paths.append(folder / f"bagging-members-{name}")
        with _two_panels(paths[-1], with_range) as panels:
            for axes, column in zip(panels, LABELS, strict=True):
                draw_against_members(axes, comparison, column)
    if any(ARMS[arm].monte_carlo for arm in comparison.arms):
        paths.append(folder / f"bagging-passes-{name}")
        with _two_panels(paths[-1], with_range) as panels:
            for axes, column in zip(panels, LABELS, strict=True):
                draw_against_passes(axes, comparison, column)
    if comparison.reference in comparison.arms and comparison.rows["train_flops"].notna().all():
        paths.append(folder / f"bagging-cost-{name}")
        with _two_panels(paths[-1], f"{of_seeds} with 95 % bootstrap interval") as panels:
            for axes, cost in zip(panels, COSTS, strict=True):
                draw_cost(axes, comparison, cost)
    if len(comparison.bins):
        paths.append(folder / f"bagging-reliability-{name}")
        together = f"{seeds.removeprefix('mean of ')} together" if comparison.seeds > 1 else seeds
        with picture(paths[-1], picture_title(fields, together), (5.6, 5.2)) as figure:
            axes = draw_reliability(figure.subplots(), comparison)
            axes.legend(frameon=False, fontsize="x-small")
    return paths


@contextmanager
def _two_panels(path: Path, title: str) -> Iterator[Sequence["Axes"]]:
    """Two pictures side by side, with one legend below."""
    with picture(path, title, _WIDE) as figure:
        panels = figure.subplots(1, 2)
        yield panels
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize="small")


def draw_against_members(axes: "Axes", comparison: Comparison, column: str) -> "Axes":
    """A figure against the number of members, a line with its band for each arm; levels of the others."""
    for arm in comparison.arms:
        if ARMS[arm].is_ensemble:
            _line(axes, comparison, arm, "averaged", column)
        elif not ARMS[arm].monte_carlo:
            _level(axes, comparison, arm, column)
    return _finished(axes, "members, M", column)


def draw_against_passes(axes: "Axes", comparison: Comparison, column: str) -> "Axes":
    """A figure of Monte-Carlo dropout against the number of thinned nets, beside weight scaling's level."""
    for arm in comparison.arms:
        if ARMS[arm].monte_carlo:
            _line(axes, comparison, arm, "passes_per_prediction", column)
    _level(axes, comparison, REFERENCE, column)
    _plain_log(axes)
    return _finished(axes, "thinned nets averaged, k", column)


def draw_cost(axes: "Axes", comparison: Comparison, cost: str) -> "Axes":
    """Test error against what it takes: every arm, faint its smaller readings, and the Pareto front."""
    unit = comparison.fullest(comparison.reference)[cost].mean()
    points = []
    for arm in comparison.arms:
        colour, marker = _style(arm)
        sizes = [rows for _, rows in comparison.readings(arm).groupby(["averaged", "passes_per_prediction"])]
        means = [(rows[cost].mean() / unit, rows["test_error_percent"].mean()) for rows in sizes]
        if len(means) > 1:
            xs, errors = zip(*means, strict=True)
            axes.plot(xs, errors, color=colour, marker=marker, markersize=3, lw=0.8, alpha=0.45)
        error = comparison.error(arm)
        x = comparison.fullest(arm)[cost].mean() / unit
        points += [*means, (x, error.mean)]
        axes.errorbar(
            [x],
            [error.mean],
            yerr=error_bars([error]),
            color=colour,
            marker=marker,
            capsize=3,
            ls="",
            label=comparison.name(arm),
        )
    xs, errors = zip(*pareto_front(points), strict=True)
    axes.step(xs, errors, where="post", color="0.4", ls="--", lw=1, zorder=0, label="Pareto front")
    _plain_log(axes)
    return _finished(axes, COSTS[cost], "test_error_percent")


def pareto_front(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points (cost, loss) that no other beats in both, from the cheapest to the best."""
    front: list[tuple[float, float]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    return front


def draw_reliability(axes: "Axes", comparison: Comparison) -> "Axes":
    """Accuracy against confidence in the fifteen bins, over all seeds; on the diagonal they are the same.

    The area of a mark tells how many examples the bin has, down to a twentieth of the fullest.
    """
    axes.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    for arm in comparison.arms:
        colour, marker = _style(arm)
        together = pooled(comparison, arm)
        axes.plot(together["confidence"], together["accuracy"], color=colour, lw=1, alpha=0.5)
        axes.scatter(
            together["confidence"],
            together["accuracy"],
            _LARGEST * (together["examples"] / together["examples"].max()).clip(_SMALLEST),
            color=colour,
            marker=marker,
            label=comparison.name(arm),
        )
    axes.set_xlabel("confidence (mean of the bin)")
    axes.set_ylabel("accuracy")
    axes.grid(alpha=0.25)
    return axes


def _style(arm: str) -> tuple[str, str]:
    """The colour and marker of an arm, the same in every picture."""
    number = list(ARMS).index(arm)
    return COLOURS[number % len(COLOURS)], MARKERS[number // len(COLOURS) * 3 + number % 3]


def _line(axes: "Axes", comparison: Comparison, arm: str, size: str, column: str) -> None:
    colour, marker = _style(arm)
    found = comparison.readings(arm).groupby(size)[column].agg(["mean", "min", "max"])
    sizes = found.index.to_numpy()
    axes.plot(sizes, found["mean"], color=colour, marker=marker, markersize=4, lw=1.6, label=ARMS[arm].title)
    axes.fill_between(sizes, found["min"], found["max"], color=colour, alpha=0.12, lw=0)


def _level(axes: "Axes", comparison: Comparison, arm: str, column: str) -> None:
    values = comparison.fullest(arm)[column]
    colour, _ = _style(arm)
    dashes = _DASHES[list(ARMS).index(arm) % len(_DASHES)]
    axes.axhline(values.mean(), color=colour, lw=1.4, ls=dashes, label=comparison.name(arm))
    axes.axhspan(values.min(), values.max(), color=colour, alpha=0.07, lw=0)


def _plain_log(axes: "Axes") -> None:
    """A logarithmic axis whose ticks are numbers as people write them."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def _finished(axes: "Axes", x_label: str, column: str) -> "Axes":
    from matplotlib.ticker import MaxNLocator

    if axes.get_xscale() == "linear":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x_label)
    axes.set_ylabel(LABELS[column])
    axes.grid(alpha=0.25)
    return axes

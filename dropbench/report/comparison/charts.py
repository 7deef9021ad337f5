"""A comparison's pictures on the page: against M and k, quality against cost, and reliability."""

from dropbench.catalog.arms import ARMS, REFERENCE
from dropbench.report.comparison.comparison import Comparison, pooled
from dropbench.report.comparison.pictures import COSTS, LABELS, pareto_front
from dropbench.report.render.chart import DASHES, LOG_SCALE, Chart, add_line, colour, new_figure, symbol


def comparison_charts(comparison: Comparison) -> list[Chart]:
    """All of them that there are rows for."""
    charts = []
    if comparison.fields["members"] > 1 and any(ARMS[arm].is_ensemble for arm in comparison.arms):
        charts += [_against(comparison, "averaged", column) for column in LABELS]
    if any(ARMS[arm].monte_carlo for arm in comparison.arms):
        charts += [_against(comparison, "passes_per_prediction", column) for column in LABELS]
    if comparison.reference in comparison.arms and comparison.rows["train_flops"].notna().all():
        charts += [_cost(comparison, cost) for cost in COSTS]
    if len(comparison.bins):
        charts.append(_reliability(comparison))
    return charts


def _number(arm: str) -> int:
    return list(ARMS).index(arm)


def _against(comparison: Comparison, size: str, column: str) -> Chart:
    by_members = size == "averaged"
    x_title = "members, M" if by_members else "thinned nets averaged, k"
    figure = new_figure(x_title, LABELS[column])
    words = []
    for arm in comparison.arms:
        kind = ARMS[arm]
        if kind.is_ensemble if by_members else kind.monte_carlo:
            found = comparison.readings(arm).groupby(size)[column].agg(["mean", "min", "max"])
            band = (found["min"].tolist(), found["max"].tolist()) if comparison.seeds > 1 else None
            add_line(figure, _number(arm), kind.title, found.index.tolist(), found["mean"].tolist(), band)
            words.append(f"{kind.title} from {found['mean'].iloc[0]:.4g} to {found['mean'].iloc[-1]:.4g}")
        elif arm == REFERENCE or (by_members and not kind.monte_carlo):
            level = comparison.fullest(arm)[column].mean()
            sizes = sorted(comparison.rows[comparison.rows["arm"].map(
                lambda name: ARMS[name].is_ensemble if by_members else ARMS[name].monte_carlo
            )][size].unique())  # fmt: skip
            figure.add_scatter(
                x=[sizes[0], sizes[-1]], y=[level, level], mode="lines", name=comparison.name(arm),
                line={"color": colour(_number(arm)), "dash": DASHES[1 + _number(arm) % 3]},
            )  # fmt: skip
            words.append(f"{comparison.name(arm)} {level:.4g}")
    if not by_members:
        figure.update_xaxes(**LOG_SCALE)
    else:
        figure.update_xaxes(dtick=1 if comparison.fields["members"] <= 10 else None)
    caption = (
        f"{LABELS[column][0].upper()}{LABELS[column][1:]} against {x_title}; bands: lowest to highest seed"
    )
    return Chart(caption, f"{caption}. {'; '.join(words)}.", figure)


def _cost(comparison: Comparison, cost: str) -> Chart:
    unit = comparison.fullest(comparison.reference)[cost].mean()
    figure = new_figure(COSTS[cost], LABELS["test_error_percent"])
    points = []
    words = []
    for arm in comparison.arms:
        error, x = comparison.error(arm), comparison.fullest(arm)[cost].mean() / unit
        readings = comparison.readings(arm).groupby(["averaged", "passes_per_prediction"])
        points += [*zip(readings[cost].mean() / unit, readings["test_error_percent"].mean(), strict=True)]
        points.append((x, error.mean))
        number = _number(arm)
        figure.add_scatter(
            x=[x], y=[error.mean], mode="markers", name=comparison.name(arm),
            error_y={"type": "data", "symmetric": False, "array": [error.above], "arrayminus": [error.below]},
            marker={"color": colour(number), "symbol": symbol(number), "size": 11},
        )  # fmt: skip
        words.append(f"{comparison.name(arm)}: {error.mean:.2f} % at {x:.3g} times")
    xs, errors = zip(*pareto_front(points), strict=True)
    figure.add_scatter(
        x=xs,
        y=errors,
        mode="lines",
        name="Pareto front",
        line={"shape": "hv", "dash": "dash", "color": "grey"},
    )
    figure.update_xaxes(type="log")
    caption = f"Test error against {COSTS[cost]}, with 95 % bootstrap intervals"
    return Chart(caption, f"{caption}. {'; '.join(words)}.", figure)


def _reliability(comparison: Comparison) -> Chart:
    figure = new_figure("confidence (mean of the bin)", "accuracy")
    figure.add_scatter(
        x=[0, 1], y=[0, 1], mode="lines", name="calibrated", line={"dash": "dash", "color": "grey"}
    )
    for arm in comparison.arms:
        together = pooled(comparison, arm)
        number = _number(arm)
        figure.add_scatter(
            x=together["confidence"].tolist(), y=together["accuracy"].tolist(), mode="lines+markers",
            text=[f"{examples:.0f} examples" for examples in together["examples"]], name=comparison.name(arm),
            line={"color": colour(number), "width": 1},
            marker={
                "symbol": symbol(number), "sizemode": "area",
                "size": together["examples"].clip(together["examples"].max() * 0.03).tolist(),
                "sizeref": 2 * together["examples"].max() / 18**2,
            },
        )  # fmt: skip
    eces = "; ".join(
        f"{comparison.name(arm)} {comparison.fullest(arm)['test_ece'].mean():.3f}" for arm in comparison.arms
    )
    caption = "Reliability: accuracy against confidence in fifteen bins, all seeds together"
    return Chart(caption, f"{caption}. Expected calibration errors: {eces}.", figure)

"""A sweep's curve in letters, for the terminal."""

from dropbench.report.statistics import mean_interval
from dropbench.report.sweep.pictures import AXIS_LABELS, horizontal_axis, is_wide, lines_of
from dropbench.report.sweep.sweep import Sweep

_MARKS = "●■◆▲▼✚★"
_HEIGHT = 17
_MOST_TICKS = 12
_LEAST = 1e-3
"""Where an interval ends on a logarithmic scale that reaches below 0."""


def draw_curve(sweep: Sweep, width: int) -> str:
    """The mean on the test images against the sweep's main axis with its intervals, ``width`` columns wide.

    Plain text without colours. Empty where there are fewer than three points to join.
    """
    x_axis = horizontal_axis(sweep)
    lines = lines_of(sweep, x_axis)
    if max(map(len, lines.values()), default=0) < 3:
        return ""
    from plotext import figure, uncolorize

    figure.clear()
    figure.theme("colorless").canvas("default")
    figure.plot_size(width, _HEIGHT)
    ticks: set[float] = set()
    for number, (label, settings) in enumerate(lines.items()):
        mark = _MARKS[number % len(_MARKS)]
        xs = [float(setting.axes[x_axis]) for setting in settings]
        found = [mean_interval(list(sweep.test(setting).values())) for setting in settings]
        means = [estimate.mean for estimate in found]
        if len(lines) == 1 and any(estimate.below for estimate in found):
            for x, estimate in zip(xs, found, strict=True):
                low = max(estimate.low, _LEAST) if is_wide(sweep) else estimate.low
                figure.draw(figure.signal([x, x], [low, estimate.high], marker="│").lines())
        figure.draw(figure.signal(xs, means, marker="braille").lines())
        points = figure.signal(xs, means, marker=mark)
        figure.draw(points.label(label) if len(lines) > 1 else points)
        ticks.update(xs)
    if len(ticks) <= _MOST_TICKS:
        figure.ruler("x").ticks(sorted(ticks), [f"{tick:g}" for tick in sorted(ticks)])
    if is_wide(sweep):
        figure.ruler("y").scale("log")
    figure.label(AXIS_LABELS[x_axis])
    figure.title(f"test {sweep.metric.label}")
    text = uncolorize(str(figure.build()))
    return "\n".join(line.rstrip() for line in text.splitlines())

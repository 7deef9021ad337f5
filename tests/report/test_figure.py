"""A figure is data: every number of it reaches every renderer, in the same colours, and is said in words."""

import json
import math
import re

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure as Canvas
from report.test_bagging import ERRORS, compare, differ
from report.test_page import sweep_of
from report.test_panel import record, shares
from report.test_paper import ARMS, write

from dropbench.catalog.arms import ARMS as BAGGING_ARMS
from dropbench.report.figure import (
    Axis,
    Figure,
    Images,
    Level,
    Series,
    Subplot,
    log_ticks,
    spans_widely,
    tick_text,
)
from dropbench.report.folder import KINDS, Choice, load_report
from dropbench.report.render.chart import chart, chart_json
from dropbench.report.render.picture import draw, save
from dropbench.report.render.terminal import draw_in_letters
from dropbench.report.style import COLOURS, DASHES, MARKERS, Style, channels, line_style
from dropbench.report.sweep.figures import error_figure
from dropbench.report.sweep.subject import SweepSubject

NAN = math.nan
SERIES = {
    "a line": Series("a", (1.0, 2.0, 4.0), (5.0, 6.0, 7.0), Style(0)),
    "means with intervals": Series("a", (1.0, 2.0), (5.0, 6.0), Style(1), (4.0, 5.5), (7.0, 6.5)),
    "a band": Series("a", (1.0, 2.0), (5.0, 6.0), Style(2), (4.0, 5.5), (7.0, 6.5), band=True),
    "seeds": Series("a", (1.0, 2.0), (5.0, 6.0), Style(3), seeds=({0: 4.0, 3: 6.0}, {1: 6.0})),
    "hollow marks": Series("a", (1.0, 2.0), (5.0, 6.0), Style(4), joined=False, hollow=True),
    "markers of examples": Series("a", (1.0, 2.0), (5.0, 6.0), Style(5), examples=(10.0, 40.0)),
    "steps": Series("a", (1.0, 2.0), (5.0, 4.0), Style(dash=1), markers=False, steps=True),
    "a companion": Series("a, fewer", (1.0, 2.0), (5.0, 4.0), Style(6), companion_of="a", faint=True),
    "a hole": Series("a", (1.0, 2.0, 3.0), (5.0, NAN, 4.0), Style(0)),
}


def of(*marks, x=None, y=None):
    series = tuple(mark for mark in marks if isinstance(mark, Series))
    levels = tuple(mark for mark in marks if isinstance(mark, Level))
    return Subplot(x or Axis("x"), y or Axis("y"), series, levels)


def in_file(subplot):
    return draw(subplot, Canvas().subplots())


def in_page(subplot):
    return json.loads(chart_json(subplot))


def same(numbers, others):
    return [*numbers] == pytest.approx([*others], nan_ok=True)


def from_json(numbers):
    return [NAN if number is None else number for number in numbers]


@pytest.mark.parametrize("name", SERIES)
def test_the_points_of_a_series_are_the_same_in_a_file_and_on_the_page(name):
    series = SERIES[name]
    axes, page = in_file(of(series)), in_page(of(series))
    assert any(same(line.get_xdata(), series.x) and same(line.get_ydata(), series.y) for line in axes.lines)
    traces = [trace for trace in page["data"] if trace["name"] == series.name and "fill" not in trace]
    assert any(same(t["x"], series.x) and same(from_json(t["y"]), series.y) for t in traces)
    assert {to_hex(line.get_color()) for line in axes.lines} == {series.style.colour.lower()}
    assert {t["line"]["color"] for t in traces if "line" in t} == {series.style.colour}


@pytest.mark.parametrize("name", ["means with intervals", "a band"])
def test_intervals_are_the_same_in_a_file_and_on_the_page(name):
    series = SERIES[name]
    axes, page = in_file(of(series)), in_page(of(series))
    (drawn,) = axes.collections
    heights = {round(y, 9) for path in drawn.get_paths() for _, y in path.vertices}
    assert heights == {*series.low, *series.high}
    (band,) = (trace for trace in page["data"] if "fill" in trace)
    assert {*zip(band["x"], band["y"], strict=True)} == {
        *zip(series.x, series.low, strict=True), *zip(series.x, series.high, strict=True)
    }  # fmt: skip


def test_single_points_have_bars_on_the_page_too():
    series = Series("a", (1.0,), (5.0,), Style(1), (4.0,), (7.0,), joined=False)
    (trace,) = in_page(of(series))["data"]
    assert (trace["error_y"]["array"], trace["error_y"]["arrayminus"]) == ([2.0], [1.0])


def test_every_seed_is_a_dot():
    series, expected = SERIES["seeds"], [(1.0, 4.0), (1.0, 6.0), (2.0, 6.0)]
    dots = [line for line in in_file(of(series)).lines if line.get_marker() == "."]
    assert [tuple(map(float, xy)) for dot in dots for xy in dot.get_xydata()] == expected
    trace = in_page(of(series))["data"][-1]
    assert [*zip(trace["x"], trace["y"], strict=True)] == expected
    assert trace["text"] == ["seed 0", "seed 3", "seed 1"]


def test_the_area_of_a_marker_is_in_proportion_to_its_examples():
    series = SERIES["markers of examples"]
    (drawn,) = in_file(of(series)).collections
    assert drawn.get_sizes()[1] / drawn.get_sizes()[0] == pytest.approx(4)
    marker = in_page(of(series))["data"][0]["marker"]
    assert (marker["sizemode"], marker["size"]) == ("area", [10.0, 40.0])


@pytest.mark.parametrize(("low", "high", "banded"), [(4.0, 6.0, True), (NAN, NAN, False), (5.0, 5.0, False)])
def test_a_level_goes_all_through_with_its_band(low, high, banded):
    level = Level("reference", 5.0, Style(1, dash=1), low, high)
    subplot = of(SERIES["a line"], level)
    axes, page = in_file(subplot), in_page(subplot)
    line = next(line for line in axes.lines if line.get_label() == "reference")
    assert {*line.get_ydata()} == {5.0}
    assert len(axes.patches) == banded
    traces = [trace for trace in page["data"] if trace["name"] == "reference"]
    assert (traces[-1]["x"], traces[-1]["y"]) == ([1.0, 4.0], [5.0, 5.0])
    assert len(traces) == 1 + banded


def test_rows_have_their_names_at_their_heights_and_their_intervals_sideways():
    ours = Series(
        "ours", (2.0, 3.0), (0.0, 1.0), Style(0), (1.0, 2.5), (4.0, 3.5),
        seeds=({0: 2.0}, {0: 3.0}), joined=False, sideways=True,
    )  # fmt: skip
    subplot = of(ours, y=Axis(categories=("below", "above")))
    axes, page = in_file(subplot), in_page(subplot)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["below", "above"]
    (bars,) = axes.collections
    assert [sorted(path.vertices[:, 0]) for path in bars.get_paths()] == [[1.0, 4.0], [2.5, 3.5]]
    assert page["data"][0]["y"] == ["below", "above"]
    assert page["data"][0]["error_x"]["array"] == [2.0, 0.5]
    assert page["data"][1]["x"] == [2.0, 3.0]
    assert subplot.alt == "ours: below 2, above 3."


def test_no_line_has_a_point_where_no_value_is_however_many_there_are():
    lines = [Series(str(k), (0.0, 0.5, 1.0), (1.0,) * 3, line_style(k), (0.5,) * 3, (2.0,) * 3,
                    seeds=({0: 1.0},) * 3) for k in range(25)]  # fmt: skip
    axes = in_file(of(*lines))
    assert {x for line in axes.lines for x in line.get_xdata()} == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("letter", ["x", "y"])
@pytest.mark.parametrize(("values", "expected"), [((2.0, 40.0), [2, 5, 10, 20]), ((1e-4, 10.0), [1e-3, 1])])
def test_a_log_axis_has_the_same_ticks_everywhere_and_they_are_plain_numbers(letter, values, expected):
    other = (1.0, 2.0)
    xs, ys = (values, other) if letter == "x" else (other, values)
    subplot = of(Series("a", xs, ys, Style(0)), **{letter: Axis("l", log=True)})
    axes, page = in_file(subplot), in_page(subplot)
    assert getattr(axes, f"get_{letter}scale")() == "log"
    assert page["layout"][f"{letter}axis"]["type"] == "log"
    low, high = getattr(axes, f"get_{letter}lim")()
    drawn = [tick for tick in getattr(axes, f"get_{letter}ticks")() if low <= tick <= high]
    on_page = page["layout"][f"{letter}axis"]["tickvals"]
    assert {*expected} <= {*drawn} <= {*on_page}
    assert len(drawn) < 9
    axes.figure.draw_without_rendering()
    labels = [label.get_text() for label in getattr(axes, f"get_{letter}ticklabels")()]
    assert {tick_text(tick) for tick in expected} <= {*labels}


def test_ticks_are_as_people_write_them():
    assert [tick_text(tick) for tick in (1e-5, 0.2, 20.0, 50_000.0)] == ["1e-05", "0.2", "20", "50,000"]
    assert log_ticks([1.0, 1e6]) == [10.0**power for power in range(-9, 10)]


def test_an_axis_with_ticks_of_its_own_has_no_others():
    subplot = of(SERIES["a line"], x=Axis("n", log=True, ticks=(1.0, 4.0)))
    assert [*in_file(subplot).get_xticks()] == [1, 4]
    assert in_page(subplot)["layout"]["xaxis"]["tickvals"] == [1, 4]


def test_the_complement_is_a_second_scale():
    subplot = of(Series("a", (0.2, 0.5), (1.0, 2.0), Style(0)), x=Axis("p_drop", complement="p_keep"))
    axes = in_file(subplot)
    (top,) = axes.child_axes
    axes.figure.draw_without_rendering()
    assert top.get_xlabel() == "p_keep"
    assert sorted(top.get_xlim()) == pytest.approx(sorted(1 - x for x in axes.get_xlim()))
    layout = in_page(subplot)["layout"]
    assert [*zip(layout["xaxis2"]["tickvals"], layout["xaxis2"]["ticktext"], strict=True)] == [
        (0.2, "0.8"), (0.5, "0.5"),
    ]  # fmt: skip


def test_a_legend_lists_the_names_in_order_and_a_single_one_needs_none():
    marks = (SERIES["means with intervals"], Level("z", 1.0), SERIES["a companion"])
    legend = in_file(of(*marks)).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["a", "z"]
    assert in_file(of(SERIES["a line"])).get_legend() is None
    assert in_page(of(SERIES["a line"]))["layout"]["showlegend"] is False


def test_letters_show_each_line_its_points_and_its_intervals():
    series = Series("a", (0.1, 0.2, 0.3), (2.0, 4.0, 1.0), Style(1), (1.5, 3.0, 0.5), (2.5, 5.0, 1.5))
    drawn = draw_in_letters(of(series, Level("none", 3.0)), 60)
    assert drawn.count(Style(1).marker.letter) >= 3
    assert "│" in drawn
    assert "none" in drawn
    assert all(text in drawn for text in ("0.1", "0.2", "0.3"))
    assert max(map(len, drawn.splitlines())) <= 60
    two = (series, Series("b", (0.1, 0.2, 0.3), (3.0, NAN, 2.0), Style(2)))
    both = draw_in_letters(of(*two, x=Axis("n", log=True), y=Axis("e", log=True)), 60)
    assert both.count(Style(2).marker.letter) >= 2
    assert both.count("│") < drawn.count("│"), "no intervals that would hide the other line"
    assert draw_in_letters(of(Series("a", (1.0, 2.0), (1.0, 2.0), Style(0))), 60) == ""


def test_styles_tell_as_many_apart_as_there_are_arms_and_light_and_dark_show_them_all():
    styles = [Style(number) for number in range(len(BAGGING_ARMS))]
    assert len({(style.colour, style.marker) for style in styles}) == len(styles)
    lines = [line_style(number) for number in range(196)]
    assert len({(style.colour, style.marker, style.line) for style in lines}) == len(lines)
    assert {style.line for style in lines[:7]} == {DASHES[0]}, "a few lines are solid"
    of_a_colour = [style for style in lines[:28] if style.colour == COLOURS[0]]
    assert len({style.marker for style in of_a_colour}) == len({style.line for style in of_a_colour}) == 4
    assert len(COLOURS) == len(MARKERS) == 7
    assert len({dash.file for dash in DASHES}) == len({dash.page for dash in DASHES}) == len(DASHES)
    shades = [Style(shade=k / 7).colour for k in range(8)]
    assert len({*shades}) == 8
    for colour in (*COLOURS, *shades):
        brightness = np.dot(channels(colour), (0.2126, 0.7152, 0.0722)) / 255
        assert 0.2 < brightness < 0.75


def test_a_scale_is_logarithmic_where_values_are_far_apart():
    assert spans_widely([1.0, 5.5])
    assert not any(map(spans_widely, ([1.0, 5.0], [0.0, 9.0], [])))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A folder with a sweep, a panel, a comparison and two experiments of the paper."""
    folder = tmp_path_factory.mktemp("figures")
    sweep_of(folder, {0.0: [4, 5, 4.5], 0.2: [3, 3.5, 3.2], 0.5: [2, 3, 2.5], 0.8: [9, 8, 30]}, data="here")
    compare(folder, ERRORS)
    differ(folder, {"bagging": (-0.4, -0.7, -0.1)}, 2)
    for seed in range(2):
        record(folder, 0.0, seed, 0.2, 30 + seed, shares(4, 20), epochs=9)
        record(folder, 0.5, seed, 0.1, 29 + seed, shares(3, 5), epochs=9)
    write(folder, ARMS)
    return load_report(folder)


@pytest.fixture(scope="module")
def along_p(tmp_path_factory):
    """An experiment of the paper along p."""
    folder = tmp_path_factory.mktemp("along")
    write(
        folder,
        {
            ("none", NAN): ([9.0, 9.5], None, "", ""),
            ("dropout", 0.1): ([9.1, 9.6], 8.0, "none", "same"),
            ("dropout", 0.5): ([4.0, 4.6], None, "none", "lower"),
        },
        axis="p_drop", paper="fig9a",
    )  # fmt: skip
    return load_report(folder)


def figures(report):
    return [figure for subject in report.subjects for figure in subject.figures]


def test_every_subject_gives_what_the_report_the_page_and_the_pictures_need(report):
    kinds = [subject.kind for subject in report.subjects]
    assert kinds == sorted(kinds, key=KINDS.index)
    assert {*kinds} == {"paper", "sweep", "panel", "comparison"}
    for subject in report.subjects:
        assert subject.title == subject.tables[0].title
        assert subject.run_ids or subject.kind == "comparison", "whose rows name no members here"
        assert all(command.startswith("dropbench ") for command in subject.commands)
        names = [figure.name for figure in subject.figures]
        assert len({*names}) == len(names)
        assert subject.file_name


def test_the_words_of_every_figure_have_every_mean_and_every_name(report):
    for subplot in (subplot for figure in figures(report) for subplot in figure.subplots):
        assert subplot.series
        told = {word.rstrip(",;.") for word in subplot.alt.split()}
        for series in subplot.series:
            if not series.companion_of:
                assert {f"{mean:.4g}" for mean in (series.x if series.sideways else series.y)} <= told
        assert all(name in subplot.alt for name in subplot.names)


def test_plotly_knows_every_word_of_every_chart(report):
    from plotly.graph_objects import Figure as Plotly

    for figure in figures(report):
        for subplot in figure.subplots:
            made = chart(subplot)
            assert len(Plotly(made).data) == len(made["data"])


def test_an_arm_has_one_colour_in_all_figures(report):
    (comparison,) = (subject for subject in report.subjects if subject.kind == "comparison")
    names = {arm: kind.title for arm, kind in BAGGING_ARMS.items() if arm in ERRORS}
    for title in names.values():
        colours = {
            mark.style.colour
            for figure in comparison.figures
            for subplot in figure.subplots
            for mark in (*subplot.series, *subplot.levels)
            if re.fullmatch(rf"{re.escape(title)}( × \d+)?", mark.name)
        }
        assert len(colours) == 1


def test_the_papers_values_are_hollow_beside_ours_and_an_arm_without_a_place_is_a_level(report, along_p):
    rows, along = (each.subjects[0].figures[0].subplots[0] for each in (report, along_p))
    ours, theirs = rows.series
    assert theirs.hollow
    by_arm = dict(zip(rows.y.categories, ours.x, strict=True))
    assert by_arm["better"] == pytest.approx((1.5 + 1.62 + 1.7) / 3)
    assert theirs.x[-1] == 1.6
    (level,), (line, hollow) = along.levels, along.series
    assert (level.name, level.y) == ("none", pytest.approx(9.25))
    assert line.x == (0.1, 0.5)
    assert (hollow.x, hollow.y, hollow.style) == ((0.1,), (8.0,), line.style)
    assert along.x.complement


def test_the_curve_of_a_sweep_has_its_means_and_seeds_on_a_scale_that_fits(report):
    sweep = next(s for s in report.subjects if isinstance(s, SweepSubject)).sweep
    figure = error_figure(sweep)
    (subplot,) = figure.subplots
    (line,) = subplot.series
    assert subplot.levels == ()
    assert line.x == (0.0, 0.2, 0.5, 0.8)
    assert line.y == pytest.approx((4.5, 3.2333, 2.5, 15.6667), rel=1e-4)
    assert [list(by_seed.values()) for by_seed in line.seeds][2] == [2, 3, 2.5]
    assert subplot.y.log
    assert figure.name == "error-against-p"


def test_curves_of_training_are_for_the_page_alone(report, tmp_path):
    sweep = next(subject for subject in report.subjects if subject.kind == "sweep")
    assert [figure.name for figure in sweep.figures if figure.page_only] == [
        "loss-against-epoch",
        "error-against-epoch",
    ]
    loss = next(figure for figure in sweep.figures if figure.name == "loss-against-epoch").subplots[0]
    assert {mark.x for mark in loss.series} == {(1.0, 2.0, 3.0)}
    assert {mark.y for mark in loss.series} == {(2.0, 1.0, 2 / 3), (1.0, 0.5, 1 / 3)}


def test_a_panel_has_a_subplot_for_every_measure_and_both_errors(report):
    (figure,) = next(subject for subject in report.subjects if subject.kind == "panel").figures
    assert len(figure.subplots) == 8
    correlation = next(s for s in figure.subplots if "correlation" in s.title)
    assert [(mark.x, mark.y) for mark in correlation.series] == [((0.0, 0.5), (0.2, 0.1))]
    whole, without = figure.subplots[-2:]
    assert {mark.name: mark.y for mark in whole.series} == {"test": (4.0, 3.0), "train": (1.0, 1.0)}
    assert [mark.name for mark in without.series] == ["p_drop 0", "p_drop 0.5"]
    assert without.series[1].y == pytest.approx([shares(3, 5)[k / 10] for k in range(10)])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_a_file_carries_its_words(tmp_path, ending):
    subplot = of(SERIES["a line"])
    figure = Figure("f", "a $title$ of a\nfigure", "What it shows", (subplot,))
    content = save(figure, tmp_path / "made" / f"f.{ending}").read_bytes()
    assert content[:4] in (b"\x89PNG", b"<?xm", b"%PDF")
    assert b"What it shows. a: 5 at 1" in content


def test_a_figure_with_images_is_no_chart_and_says_how_many():
    images = Images(np.zeros((5, 1, 2, 3)), columns=3)
    figure = Figure("f", "t", "Features", (Subplot(images=images),))
    assert figure.has_images
    assert figure.alt == "Features. 5 images of 2 × 3 pixels."


def test_values_leave_out_what_was_not_measured():
    subplot = of(SERIES["a hole"], Level("l", 9.0))
    assert (subplot.xs, subplot.ys) == ([1.0, 2.0, 3.0], [5.0, 4.0, 9.0])


def test_long_lines_are_told_by_their_ends_and_their_lowest():
    ys = tuple(float(abs(k - 30)) for k in range(100))
    words = of(Series("a", tuple(map(float, range(100))), ys, Style(0))).alt
    assert words == "a: 30 at 0, lowest 0 at 30, highest 69 at 99, 69 at 99."


def test_the_choice_of_kinds_chooses_the_figures(report):
    chosen = load_report(report.folder, Choice(only=("panel",)))
    assert [figure.name for figure in figures(chosen)] == ["panel"]

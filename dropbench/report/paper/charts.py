"""An experiment of the paper on the page: ours and the paper's values, along its axis or arm by arm."""

import math
from typing import TYPE_CHECKING

from dropbench.report.paper.pictures import LABELS, is_wide, stands_alone
from dropbench.report.paper.result import PaperResult, Place
from dropbench.report.render.chart import LOG_SCALE, Chart, add_line, colour, new_figure

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


def paper_chart(result: PaperResult) -> Chart:
    """What its table says, as a picture."""
    return _curves(result) if result.fields["axis"] else _rows(result)


def _curves(result: PaperResult) -> Chart:
    fields = result.fields
    figure = new_figure(LABELS.get(fields["axis"], fields["axis"]), fields["unit"])
    for number, (arm, places) in enumerate(result.arms.items()):
        if stands_alone(places, fields["axis"]):
            level = places[0].estimate.mean
            figure.add_hline(y=level, line={"dash": "dash", "width": 1, "color": "grey"}, annotation_text=arm)
            continue
        found = [place.estimate for place in places]
        band = ([e.mean - e.below for e in found], [e.mean + e.above for e in found])
        add_line(figure, number, arm, [place.x for place in places], [e.mean for e in found], band)
        theirs = [place for place in places if not math.isnan(place.paper)]
        _add_theirs(figure, [p.x for p in theirs], [p.paper for p in theirs], f"{arm}, the paper's", number)
    if fields["axis"] in ("train_size", "passes"):
        figure.update_xaxes(**LOG_SCALE)
    if is_wide(result):
        figure.update_yaxes(**LOG_SCALE)
    along = LABELS.get(fields["axis"], fields["axis"])
    return Chart(fields["title"], f"{fields['unit']} along {along}{_beside(result)}.", figure)


def _rows(result: PaperResult) -> Chart:
    fields = result.fields
    places: list[Place] = list(reversed(result.places))
    figure = new_figure(fields["unit"], "")
    found = [place.estimate for place in places]
    figure.add_scatter(
        x=[e.mean for e in found], y=[place.arm for place in places], mode="markers", name="ours",
        marker={"color": colour(0), "size": 9},
        error_x={
            "type": "data", "symmetric": False,
            "array": [e.above for e in found], "arrayminus": [e.below for e in found],
        },
    )  # fmt: skip
    theirs = [place for place in places if not math.isnan(place.paper)]
    _add_theirs(figure, [p.paper for p in theirs], [p.arm for p in theirs], "the paper's", 1)
    return Chart(fields["title"], f"{fields['unit']} of each arm{_beside(result)}.", figure)


def _beside(result: PaperResult) -> str:
    known = any(not math.isnan(place.paper) for place in result.places)
    return ", ours and the paper's" if known else ""


def _add_theirs(
    figure: "Figure", xs: list[float], ys: list[float] | list[str], name: str, number: int
) -> None:
    if xs:
        figure.add_scatter(
            x=xs, y=ys, mode="markers", name=name,
            marker={"symbol": "diamond-open", "size": 11, "color": colour(number)},
        )  # fmt: skip

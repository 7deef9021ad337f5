"""Ratios of speed are taken within a round, and point the right way."""

import pandas as pd
import pytest

from dropbench.report.render import as_json
from dropbench.report.speed import find_speed

WHERE = {
    "device": "cpu",
    "device_name": "x",
    "cores": 2.0,
    "precision": "bf16",
    "torch_version": "2",
    "started_at": "now",
}


def table(*rows: tuple[str, str, str, str]):
    frame = pd.DataFrame(
        [
            {
                "speed_id": "a",
                "item": item,
                "work": "w",
                "contender": contender,
                "unit": unit,
                "values": values,
                **WHERE,
            }
            for item, contender, unit, values in rows
        ]
    )
    (session,) = find_speed(frame)
    return session.tables[0]


@pytest.mark.parametrize(
    ("unit", "plain", "ours", "ratio"),
    [("images/s", "100 200 400", "300 800 800", 3), ("ns a unit", "12 10 9", "2 2 3", 5), ("s", "8", "4", 2)],
)
def test_more_is_faster_for_rates_and_less_for_times(unit, plain, ours, ratio):
    (row,) = table(("one run", "plain loop", unit, plain), ("one run", "dropbench", unit, ours)).rows
    assert row["ratio_median"] == pytest.approx(ratio)
    assert row["contender"] == "dropbench"


def test_ratio_is_of_pairs_not_of_medians():
    """A machine that slows down for a round slows both: 2, 2, 2 and not 2 of a blurred middle."""
    (row,) = table(
        ("r", "plain loop", "images/s", "1 10 100"), ("r", "dropbench", "images/s", "2 20 200")
    ).rows
    assert (row["ratio_lowest"], row["ratio_median"], row["ratio_highest"]) == (2, 2, 2)


def test_figure_without_a_rival_has_no_ratio():
    (row,) = table(("start", "dropbench", "s", "0.2 0.1 0.3")).rows
    assert (row["median"], row["ratio_median"], row["reference_median"]) == (0.2, None, None)


def test_share_of_the_ceiling_is_in_percent():
    shown = table(
        ("arithmetic", "dropbench", "TFLOP/s", "0.5"), ("arithmetic", "bf16 matrix product", "TFLOP/s", "1")
    )
    assert "50 %" in shown.texts()[0][-1]
    assert '"ratio_median": 0.5' in as_json.render([shown])

"""Ratios of speed are taken within a round, and point the right way."""

import io
import re
from collections.abc import Sequence

import pandas as pd
import pytest
from rich.console import Console

from dropbench.report.render import as_json
from dropbench.report.render.terminal import show
from dropbench.report.speed import find_speed

WHERE = {
    "device": "cpu",
    "device_name": "x",
    "cores": 2.0,
    "precision": "bf16",
    "torch_version": "2",
    "started_at": "now",
}


def table(*rows: tuple[str, str, str, str], works: Sequence[str] = ()):
    frame = pd.DataFrame(
        [
            {
                "speed_id": "a",
                "item": item,
                "work": work,
                "contender": contender,
                "unit": unit,
                "values": values,
                **WHERE,
            }
            for (item, contender, unit, values), work in zip(rows, works or ["w"] * len(rows), strict=True)
        ]
    )
    (session,) = find_speed(frame)
    return session.tables[0]


@pytest.mark.parametrize(
    ("unit", "plain", "ours", "ratio"),
    [
        ("images/s", "100 200 400", "300 800 800", 3),
        ("ns a unit", "12 10 9", "2 2 3", 5),
        ("s", "8", "4", 2),
        ("ms", "9", "3", 3),
    ],
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


@pytest.mark.parametrize(
    ("item", "unit", "limit"),
    [("arithmetic", "TFLOP/s", "bf16 matmul"), ("bandwidth", "GB/s", "copy")],
)
def test_share_of_a_limit_is_in_percent(item, unit, limit):
    shown = table((item, "dropbench", unit, "0.5"), (item, limit, unit, "1"))
    (cells,) = shown.texts()
    assert "50 %" in cells[-1]
    assert cells[-2] == f"{limit} 1"
    assert '"ratio_median": 0.5' in as_json.render([shown])


def test_a_name_stands_where_the_figure_is_of_a_part_of_dropbench():
    ours, part = (
        table(("r", "plain loop", "images/s", "1"), ("r", name, "images/s", "2")).texts()[0][1]
        for name in ("dropbench", "2 workers")
    )
    assert (ours, part) == ("2 images/s", "2 workers 2 images/s")


def test_notes_tell_of_the_items_that_are_there():
    layer = ("dropout layer", "dropbench", "ns a unit", "1")
    bandwidth = ("bandwidth", "dropbench", "GB/s", "1")
    assert "copy_" not in " ".join(table(layer).notes)
    assert "copy_" in " ".join(table(layer, bandwidth).notes)


def test_rows_of_the_usual_width_fit_100_columns_without_folding():
    frame = [
        ("dropout layer", "plain loop", "ns a unit", "35.5 36", "128×64×32×32, bfloat16"),
        ("dropout layer", "dropbench", "ns a unit", "1.22 1.3", "128×64×32×32, bfloat16"),
        ("arithmetic", "dropbench", "TFLOP/s", "0.491 0.5", "8 lecture-cnn, 10,000 images"),
        ("arithmetic", "bf16 matmul", "TFLOP/s", "0.786 0.8", "8 lecture-cnn, 10,000 images"),
        ("sweep", "plain loop", "images/s", "12345 12345", "8 mlp 1024-1024-2048, max-norm (plain 1)"),
        ("sweep", "dropbench", "images/s", "98765 98765", "8 mlp 1024-1024-2048, max-norm (plain 1)"),
        ("memory", "dropbench", "MB", "479", "one more worker, CIFAR-10's size"),
    ]
    console = Console(file=io.StringIO(), width=100)
    show([table(*(row[:4] for row in frame), works=[row[4] for row in frame])], console)
    text = console.file.getvalue()
    assert text.count("what ") == 1
    assert re.search(r"max-norm \(plain 1\) +98,765 images/s +plain loop 12,345 +8\.0 \[8\.0, 8\.0\]", text)

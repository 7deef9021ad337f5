"""The live display of runs in progress."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from dropbench.cli import progress
from dropbench.run.config import RunConfig
from dropbench.run.result import EpochRecord


@pytest.mark.parametrize("height", [10, 24])
def test_as_many_bars_are_shown_as_the_terminal_has_lines_for(monkeypatch, height):
    """What does not fit would be left above the display; the bar of all runs counts it all the same."""
    console = Console(file=io.StringIO(), force_terminal=True, height=height, width=80)
    monkeypatch.setattr(progress, "err", console)
    display, runs = (
        progress.LiveProgress(),
        [RunConfig(model="mlp", epochs=2, seed=seed) for seed in range(40)],
    )
    display.planned(SimpleNamespace(todo=runs, before=0, lacking=[]), jobs=40)
    for worker, config in enumerate(runs):
        display.progress(worker, config, None)
    assert 3 < len(display.bars.tasks) < height
    for worker, config in enumerate(runs):
        display.progress(worker, config, EpochRecord(1, 0.5, 10.0, 0.5, 10.0, 1.0, 0.0))
    assert display.bars.tasks[0].completed == len(runs)


def test_the_reading_of_data_is_shown_when_it_takes_more_than_a_second(monkeypatch):
    console = Console(file=io.StringIO(), force_terminal=True, height=24, width=80)
    monkeypatch.setattr(progress, "err", console)
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    display = progress.LiveProgress()
    display.reading("reading images", 10, 100)
    now += 0.9
    display.reading("reading images", 50, 100)
    assert display.bars.tasks == []
    now += 0.2
    display.reading("reading images", 60, 100)
    display.reading("reading images", 100, 100)
    (bar,) = display.bars.tasks
    assert (bar.description, bar.completed, bar.total) == ("reading images", 100, 100)
    display.planned(SimpleNamespace(todo=[RunConfig()], before=0, lacking=[]), jobs=1)
    assert display.bars.tasks == [], "the runs come next"

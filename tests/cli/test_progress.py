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


@pytest.mark.parametrize(("error", "words"), [(12.5, "val error 12.50 %"), (float("nan"), "val loss 0.700")])
def test_what_has_no_error_shows_its_validation_loss(error, words):
    display, config = progress.LiveProgress(), RunConfig(model="mlp", epochs=2)
    display.planned(SimpleNamespace(todo=[config], before=0, lacking=[]), jobs=1)
    display.progress(0, config, None)
    display.progress(0, config, EpochRecord(1, 0.5, error, 0.7, error, 1.0, 0.0))
    assert words in display.bars.tasks[0].fields["state"]

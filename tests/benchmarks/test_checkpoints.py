"""What it costs to keep the states of runs. Run on request, on a quiet machine.

pytest tests/benchmarks/test_checkpoints.py -n0 -s --timeout 900
"""

import statistics
from pathlib import Path
from time import perf_counter

import pytest
import torch

from dropbench.datasets.registry import prepare
from dropbench.engine import checkpoint as module
from dropbench.engine.checkpoint import Checkpoints
from dropbench.engine.device import resolve_device, resolve_precision
from dropbench.engine.train import train
from dropbench.results import checkpoints
from dropbench.run.config import RunConfig

ROUNDS = 5
MOST = 0.02
"""Of the time of a run of the CNN."""


@pytest.mark.parametrize(
    "settings",
    [{"model": "lecture-cnn", "epochs": 4}, {"model": "mlp", "layers": (2048,) * 3, "epochs": 2}],
    ids=["lecture-cnn", "a large mlp"],
)
def test_seconds_with_checkpoints_over_seconds_without(settings, tmp_path, monkeypatch):
    """The middle ratio of pairs, with a state after every epoch; and what is left of it at one a minute."""
    data, device = prepare("mnist5k"), resolve_device("cpu")
    precision = resolve_precision("auto", device)
    config = RunConfig(data=data.name, data_key=data.key, p_drop=0.5, precision=precision, **settings)
    took, write = [], module.Checkpoint.write

    def timed(*arguments):
        start = perf_counter()
        write(*arguments)
        took.append(perf_counter() - start)

    monkeypatch.setattr(module.Checkpoint, "write", timed)
    ratios, places = [], (None, Checkpoints(Path(tmp_path), 0))
    for number in range(ROUNDS):
        seconds = {}
        for place in places[:: 1 if number % 2 else -1]:
            result = train(config, data, device, checkpoints=place)
            seconds[place] = result.cost["seconds"]
        ratios.append(seconds[places[1]] / seconds[None])
    size, one, middle = checkpoints.bytes_of(tmp_path), statistics.median(took), statistics.median(ratios)
    print(
        f"\n{config.model.name} {precision}, {torch.get_num_threads()} threads: {size / 1e6:.1f} MB"
        f" takes {1000 * one:.0f} ms, of a minute {100 * one / 60:.2f} %; after every epoch runs take"
        f" {middle:.3f} times as long ({min(ratios):.3f} to {max(ratios):.3f})"
    )
    assert config.model.name != "lecture-cnn" or one / 60 < MOST

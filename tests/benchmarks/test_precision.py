"""bf16 costs no accuracy that matters: paired seeds on the embedded digits, in fp32 and under autocast.

Run on request.

    DROPBENCH_OUT=results/speed/precision pytest tests/benchmarks/test_precision.py -n0 -s --timeout 3600

The runs are kept in that folder and not done again.
"""

import os
import statistics
from pathlib import Path

import torch

from dropbench.cli.progress import PlainProgress
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.registry import prepare
from dropbench.engine import run as engine
from dropbench.engine.optim import learning_rates
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.report.statistics import paired_difference
from dropbench.results.read import finished_runs
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

SEEDS = 16
STEPS = 200
WITHIN = 0.5  # points of test error


def test_test_error_in_bf16_is_that_in_fp32(tmp_path):
    store = Store(Path(os.environ.get("DROPBENCH_OUT", tmp_path)))
    errors: dict[str, dict[int, float]] = {}
    for precision in ("fp32", "bf16"):
        bench = Workbench.set_up(prepare("mnist5k"), Machine(precision=precision))
        configs = bench.bind([RunConfig(p_drop=0.5, seed=seed) for seed in range(SEEDS)])
        assert not carry_out(configs, bench, store, PlainProgress()).unsuccessful
        done = finished_runs(store.folder)
        errors[precision] = {c.repetition.seed: done[c.run_id]["test_error_percent"] for c in configs}
    difference = paired_difference(errors["bf16"], errors["fp32"])
    print(
        f"\ntest error, bf16 − fp32: {difference.text(3, signed=True)} points over {difference.count} seeds"
    )
    assert difference.low > -WITHIN
    assert difference.high < WITHIN


def loss_of(config: RunConfig, data: DataSet) -> float:
    """Mean training loss of the last 50 of 200 steps."""
    run = engine.Run.prepare(config, data, torch.device("cpu"))
    run.model.train()
    positions = torch.from_numpy(run.parts.drawn)
    batches = [torch.from_numpy(run.order.permutation(len(positions))[:128]) for _ in range(STEPS)]
    rates = learning_rates(config.optimizer, range(STEPS), STEPS).tolist()
    losses = [run.step(positions[batch], rate)[0].item() for batch, rate in zip(batches, rates, strict=True)]
    return statistics.mean(losses[-50:])


def test_weights_in_bfloat16_learn_as_with_autocast(monkeypatch):
    data = prepare("mnist5k")
    losses: dict[str, dict[int, float]] = {"held": {}, "autocast": {}}
    for way, held in (("held", True), ("autocast", False)):
        monkeypatch.setattr(engine, "halves_weights", lambda config, held=held: held)
        monkeypatch.setattr(engine, "halves_images", lambda config, held=held: held)
        for seed in range(5):
            config = RunConfig(data_key=data.key, p_drop=0.5, seed=seed, precision="bf16")
            losses[way][seed] = loss_of(config, data)
    difference = paired_difference(losses["held"], losses["autocast"])
    print(f"\nloss after {STEPS} steps, held − autocast: {difference.text(4, signed=True)} nats; {losses}")
    assert abs(difference.mean) < 0.02

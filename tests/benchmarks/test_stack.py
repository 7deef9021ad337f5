"""What stacking gains on this processor, beside one run on each core. Run on request, on a quiet machine.

OMP_WAIT_POLICY=active pytest tests/benchmarks/test_stack.py -n0 -s --timeout 900

Threads that yield while they wait, as in other tests, would cost a stack half of its speed.
"""

import statistics

import pytest

from dropbench.datasets.registry import prepare
from dropbench.engine.device import resolve_device, resolve_precision
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine
from dropbench.runners.base import NO_EXTRAS
from dropbench.runners.choose import choose_runner, cores
from dropbench.runners.stacked import with_stacks

ROUNDS = 3
RUNS = 16
SLOTS = 8


@pytest.mark.parametrize("precision", ["fp32", "auto"])
@pytest.mark.parametrize("layers", [(16,), (64, 64), (256, 256), (1024, 1024)])
def test_images_per_second_of_a_sweep(layers, precision):
    """Training images that all runs together train on in a second: the middle one of the rounds."""
    data, device = prepare("mnist5k"), resolve_device("cpu")
    base = RunConfig(
        data=data.name,
        data_key=data.key,
        model="mlp",
        layers=layers,
        epochs=2,
        p_drop=0.5,
        train_size=3600 if layers[0] < 1024 else 640,
        precision=resolve_precision(precision, device),
    )
    runs = [base.replace(seed=seed) for seed in range(RUNS)]
    together = {"a run on each core": cores(), f"stacks of {SLOTS}": 1}
    rates = {name: [] for name in together}
    for _ in range(ROUNDS):
        for name, at_a_time in together.items():
            machine = Machine(stack=SLOTS if at_a_time == 1 else 1)
            runner = choose_runner(RUNS, device, machine)
            runner, order = with_stacks(runner, runs, runs, data, device, machine, NO_EXTRAS)
            results = list(runner.run(order, lambda *_: None))
            assert [result.status for result in results] == ["ok"] * RUNS
            each = [result.cost["images_per_second"] for result in results]
            rates[name].append(at_a_time * statistics.median(each))
    for name, measured in rates.items():
        print(
            f"\n{layers} {base.optimizer.precision}, {name}: {statistics.median(measured):,.0f} images/s",
            end="",
        )

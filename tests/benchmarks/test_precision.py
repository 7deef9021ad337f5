"""bf16 costs no accuracy that matters: paired seeds on the embedded digits. Run on request.

    DROPBENCH_OUT=results/speed/precision pytest tests/benchmarks/test_precision.py -n0 -s --timeout 3600

The runs are kept in that folder and not done again.
"""

import os
from pathlib import Path

from dropbench.cli.progress import PlainProgress
from dropbench.experiments.workbench import Workbench, carry_out
from dropbench.report.statistics import paired_difference
from dropbench.results.read import finished_runs
from dropbench.results.store import Store
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

SEEDS = 16
WITHIN = 0.5  # points of test error


def test_test_error_in_bf16_is_that_in_fp32(tmp_path):
    store = Store(Path(os.environ.get("DROPBENCH_OUT", tmp_path)))
    errors: dict[str, dict[int, float]] = {}
    for precision in ("fp32", "bf16"):
        bench = Workbench.set_up("mnist5k", None, "auto", precision, Machine())
        configs = bench.bind([RunConfig(p_drop=0.5, seed=seed) for seed in range(SEEDS)])
        assert not carry_out(configs, bench, store, PlainProgress()).unsuccessful
        done = finished_runs(store.folder)
        errors[precision] = {c.seed: done[c.run_id]["test_error_percent"] for c in configs}
    difference = paired_difference(errors["bf16"], errors["fp32"])
    print(
        f"\ntest error, bf16 − fp32: {difference.text(3, signed=True)} points over {difference.count} seeds"
    )
    assert difference.low > -WITHIN
    assert difference.high < WITHIN

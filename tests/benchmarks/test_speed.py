"""The figures that this project promises on two cores with AMX. Run on request, on a quiet machine.

    pytest tests/benchmarks/test_speed.py -n0 -s --timeout 900

Elsewhere a figure may be out of the machine's reach (without AMX, a bf16 product is twice as fast as an
fp32 one, not eight times); the table printed says by how much.
"""

import pytest
import torch

from dropbench.engine.device import resolve_precision
from dropbench.experiments.speed.measure import STANDARD, measure_speed
from dropbench.report.folder import speed_report
from dropbench.report.render.terminal import show
from dropbench.results.store import Store

# At least this many times as fast as the plain loop, or at most so many seconds or megabytes.
AT_LEAST = {
    "dropout layer": 10,
    "one run: mlp": 4,
    "one run: lecture-cnn": 5.5,
    "sweep: 8 lecture-cnn": 7,
    "sweep: 8 mlp": 4,
    "arithmetic": 0.5,
    "kernel": 1,
}
AT_MOST = {
    "start: dropbench --help": 0.4,
    "start: dropbench report": 2,
    "start: cached data": 1,
    "memory: one more worker": 700,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("speed")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    precision = resolve_precision("auto", device)
    speed_id = measure_speed(STANDARD, device, precision, 5, Store(folder))
    tables = speed_report(folder, speed_id).tables
    from dropbench.cli.console import out

    show(tables, out)
    return {f"{row['item']}: {row['work']}": row for row in tables[0].rows}


@pytest.mark.parametrize("what", AT_LEAST)
def test_ratio(rows, what):
    found = [row["ratio_median"] for name, row in rows.items() if name.startswith(what)]
    assert found
    assert min(found) >= AT_LEAST[what]


@pytest.mark.parametrize("what", AT_MOST)
def test_figure(rows, what):
    found = [row["median"] for name, row in rows.items() if name.startswith(what)]
    assert found
    assert max(found) <= AT_MOST[what]

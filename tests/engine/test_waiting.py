"""Runs keep to the device: on a pretend GPU, which waits and copies are seen on, and without generators."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils import backend_registration

from dropbench.catalog.dropouts import VARIANTS
from dropbench.engine.run import Run
from dropbench.engine.turns import to_its_end
from dropbench.run.config import RunConfig

CPU = torch.device("cpu")


@pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason="this torch has no devices made in Python",
)
def test_whole_runs_on_the_pretend_gpu():
    """In a process of its own: there the device is registered, and stays."""
    file = Path(__file__).with_name("on_pretend_gpu.py")
    command = [sys.executable, "-m", "pytest", str(file), "-n0", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout).group(1)) > 50, done.stdout


OF_GENERATORS = {"get_state", "set_state", "clone_state", "manual_seed", "initial_seed"}


def calls_of_generators(work: Callable[[], object]) -> list[tuple[str, str]]:
    """The calls of methods of random generators during some work, each with the file that made it."""
    found = []

    def see(frame: Any, event: str, called: Any) -> None:
        if event == "c_call" and called.__name__ in OF_GENERATORS:
            found.append((called.__name__, frame.f_code.co_filename))

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return found


@pytest.mark.parametrize("name", VARIANTS)
def test_no_step_fetches_or_sets_the_state_of_a_generator(name, blobs):
    """A graph of CUDA could not hold the state of a generator; a draw is a function of its place."""
    fields = config_of(name) | ({"layers": (16,)} if name == "dropconnect" else {"width": 0.1})
    model = "mlp" if name == "dropconnect" else "lecture-cnn"
    config = RunConfig(model=model, epochs=1, batch_size=80, augment="flip,crop", **fields)
    run = Run.prepare(config, blobs, CPU)
    assert calls_of_generators(lambda: to_its_end(run.train_epoch())) == []


def test_a_call_of_a_generator_is_noticed():
    generator = torch.Generator()
    assert [name for name, _ in calls_of_generators(lambda: generator.set_state(generator.get_state()))] == [
        "get_state",
        "set_state",
    ]


def config_of(name: str) -> dict[str, object]:
    return {"dropout": name, "activation": VARIANTS[name].activation or "relu", "p_drop": 0.3}

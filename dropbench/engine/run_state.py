"""The state of a run between any two of its steps, from which another process goes on to the same bits."""

from dataclasses import asdict
from time import perf_counter

import torch

from dropbench.engine import model_state
from dropbench.engine.device import synchronise
from dropbench.engine.epoch import Part
from dropbench.engine.run import Before, Run
from dropbench.engine.tree import Tree


def state_of(run: Run) -> Tree:
    """Return all that the rest of a run depends on, no tensor of it copied.

    Whatever a step comes to change must be here, or in the state of the part that it changes.
    """
    synchronise(run.device)
    within = run.steps_in_epoch > 0
    loss, wrong = run.steps.figures() if within else (torch.zeros(()), torch.zeros(()))
    before = Before(
        epoch_seconds=perf_counter() - run.epoch_began if within else 0.0,
        compile_seconds=run.compile_seconds,
        peak_memory_bytes=run.peak_memory_bytes,
    )
    return {
        "model": model_state.state_of(run.model),
        "optimizer": run.optimizer.state(),
        "loss_scale": None if (scale := run.optimizer.loss_scale) is None else scale.state(),
        "streams": [stream.position for stream in run.step.streams],
        "order": run.order_before if within else run.order.bit_generator.state,
        "steps_done": run.steps_done,
        "steps_in_epoch": run.steps_in_epoch,
        "loss": loss,
        "wrong": wrong,
        "snapshots": run.snapshots,
        "before": asdict(before),
    }


def restore(run: Run, state: Tree) -> None:
    """Let a run that has done no step go on from a state.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: if it is no state of such a run, which is then spoiled.

    """
    model_state.restore(run.model, state["model"])
    run.optimizer.restore(state["optimizer"])
    if run.optimizer.loss_scale is not None:
        run.optimizer.loss_scale.restore(state["loss_scale"])
    for stream, position in zip(run.step.streams, state["streams"], strict=True):
        stream.position = position
    run.order.bit_generator.state = state["order"]
    run.steps_done, run.steps_in_epoch = state["steps_done"], state["steps_in_epoch"]
    run.part = Part(run.steps_in_epoch, state["loss"], state["wrong"])
    run.snapshots = list(state["snapshots"])
    run.before = Before(**state["before"])

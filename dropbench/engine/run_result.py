"""The result of a run that ended: its net evaluated once, and all else that came of the run."""

import math
from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np

from dropbench.dropout.control import schedule_strength, set_strength
from dropbench.engine import members
from dropbench.engine.device import describe
from dropbench.engine.finite import what_is_not_finite
from dropbench.engine.history import History
from dropbench.engine.regress import Regress
from dropbench.engine.run import OodImages, Run
from dropbench.engine.saved_net import about_net, as_arrays
from dropbench.engine.task import Predictor
from dropbench.run.result import KeptNet, RunResult


def result_of(
    run: Run,
    history: History,
    panel: bool,
    ood: OodImages | None,
    started_at: str,
    start: float,
    weights: members.Weights | None = None,
) -> RunResult:
    """Evaluate the net of a run that ended, and return all that came of the run.

    It was started at the time ``started_at``, when perf_counter was ``start``. ``weights`` are those of
    the net that is evaluated, in float32, where it is to be kept.
    """
    if not isinstance(run.task, Predictor):
        run.optimizer.release()  # its weights are kept, and it reconstructs in float32
    history.best.restore(run.model)
    set_strength(run.model, schedule_strength(run.config, history.tested_epoch))
    message, drawn = _why_diverged(run, history), run.parts.drawn
    metrics, predictions, panel_records = ({}, {}, []) if message else run.measure(panel, ood)
    if wrong := what_is_not_finite(metrics, predictions, run.data.noun):
        message, metrics, predictions, panel_records = wrong, {}, {}, []
    if message and run.optimizer.loss_scale is not None:
        message += "; numbers in fp16 end at 65,504, and a run in fp32 may end well"
    net = None
    if weights is not None and not message:
        net = KeptNet(as_arrays(weights), _about_net(run, history.tested_epoch, metrics))
    return RunResult(
        config=run.config,
        status="diverged" if message else "ok",
        message=message,
        metrics=metrics,
        cost={
            "images_per_second": len(drawn) * len(history.records) / history.train_seconds,
            "seconds": perf_counter() - start,
            "train_seconds": history.train_seconds,
            "compile_seconds": run.compile_seconds,
            "steps": run.steps_done,
            "overflowed_steps": run.overflowed_steps,
            "train_images": len(drawn),
            "distinct_train_images": len(np.unique(drawn)),
            "validation_images": len(run.parts.validation),
            "test_images": len(run.data.test_targets),
            "last_epoch": len(history.records),
            "tested_epoch": history.tested_epoch,
            "peak_memory_bytes": run.peak_memory_bytes,
            "parameters": sum(parameter.numel() for parameter in run.model.parameters()),
        },
        where={**describe(run.device), "stacked": 1, "started_at": started_at},
        epochs=tuple(history.records),
        predictions=predictions,
        panel=tuple(panel_records),
        net=net,
    )


def _why_diverged(run: Run, history: History) -> str:
    """Return why a run diverged while it trained; empty if it did not.

    Where the last epoch's loss is finite on the training examples alone, it says for how many of the
    validation split the net predicts nothing finite.
    """
    message = history.message
    if message and math.isfinite(history.records[-1].train_loss) and run.config.task != "reconstruct":
        found = run.task.measure(run.model, {"val": run.validation}, run.config.optimizer.precision)
        if wrong := what_is_not_finite(*found, run.data.noun):
            message = f"{wrong}, in epoch {len(history.records)}"
    return message


def _about_net(run: Run, tested_epoch: int, metrics: Mapping[str, float]) -> dict[str, Any]:
    """Return what a file says of the net beside its weights; see dropbench.engine.saved_net."""
    scale = run.task.scale if isinstance(run.task, Regress) else None
    return about_net(run.config, run.data, run.prepared, scale, tested_epoch, metrics, run.device)

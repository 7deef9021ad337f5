"""A call that was interrupted goes on within its runs, and says so."""

import numpy as np
import pytest
from experiments.quiet import Quiet

import dropbench as db
from dropbench.results import checkpoints
from dropbench.results.store import Store

SMALL = {"model": "mlp", "layers": (8,), "epochs": 4, "batch_size": 60, "runner": "serial", "threads": 1}
TIMES = ["images_per_second", "seconds", "train_seconds", "peak_memory_bytes", "started_at"]
KEPT = {"checkpoint_every": 0}


class Interrupting(Quiet):
    """Interrupts in the midst of the run with this seed, at the end of an epoch."""

    def __init__(self, seed: int, epoch: int) -> None:
        super().__init__()
        self.seed, self.epoch, self.heard = seed, epoch, []

    def progress(self, worker, config, record):
        self.heard.append(record and record.epoch)
        if record is not None and (config.repetition.seed, record.epoch) == (self.seed, self.epoch):
            raise KeyboardInterrupt


def swept(data, folder, **more):
    return db.sweep(data, p=0.5, seeds=2, baseline=False, out=folder, **{**SMALL, **KEPT, **more})


def test_a_sweep_goes_on_within_its_run(blobs, tmp_path, told):
    whole = swept(blobs, tmp_path / "whole").frame
    assert not (tmp_path / "whole" / "checkpoints").exists()
    folder = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        swept(blobs, folder, watcher=Interrupting(1, 2))
    (begun,) = checkpoints.run_ids(folder)
    assert begun not in Store(folder).ended()
    (folder / "checkpoints" / f".{begun}.safetensors.0123.partial").touch()  # of a process killed in writing
    told.clear()
    watcher = Interrupting(1, 99)
    parts = swept(blobs, folder, watcher=watcher).frame
    assert "1 run goes on from its checkpoint" in told
    assert watcher.heard == [None, 1, 2, 3, 4]
    assert not (folder / "checkpoints").exists()
    assert parts.drop(columns=TIMES).equals(whole.drop(columns=TIMES))


def test_without_checkpoints_none_is_written_or_read(blobs, tmp_path, told):
    for kept, left in ((True, 1), (False, 1)):
        with pytest.raises(KeyboardInterrupt):
            swept(blobs, tmp_path, checkpoint=kept, watcher=Interrupting(0, 2))
        assert len(checkpoints.run_ids(tmp_path)) == left
    swept(blobs, tmp_path, checkpoint=False)
    assert not any("goes on" in sentence for sentence in told)
    assert not (tmp_path / "checkpoints").exists()


def test_a_forced_run_begins_anew_unless_it_was_interrupted_itself(blobs, tmp_path, told):
    swept(blobs, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        swept(blobs, tmp_path, force=True, watcher=Interrupting(0, 3))
    assert not any("goes on" in sentence for sentence in told)
    swept(blobs, tmp_path, force=True)
    assert "1 run goes on from its checkpoint" in told
    with pytest.raises(KeyboardInterrupt):
        swept(blobs, tmp_path, force=True, watcher=Interrupting(0, 3))
    swept(blobs, tmp_path)  # whose runs are all on disk
    assert checkpoints.run_ids(tmp_path) == set()


def test_one_run_goes_on_where_it_is_recorded(blobs, tmp_path, told):
    settings = {**SMALL, **KEPT, "out": tmp_path / "results"}
    with pytest.raises(KeyboardInterrupt):
        db.train(blobs, dropout=0.5, watcher=Interrupting(0, 3), **settings)
    run = db.train(blobs, dropout=0.5, **settings)
    assert "1 run goes on from its checkpoint" in told
    assert np.isfinite(run.test.nll)
    told.clear()
    again = db.train(blobs, dropout=0.5, **settings)
    assert not any("goes on" in sentence for sentence in told)
    assert again.result.metrics == run.result.metrics
    elsewhere = db.train(blobs, dropout=0.5, **SMALL, **KEPT)
    assert elsewhere.result.metrics == run.result.metrics

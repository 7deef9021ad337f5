"""Checkpoints: the state of a run on disk, from which it goes on to the same bits after whatever ended it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from dropbench import __version__
from dropbench.engine.tensor_file import read_about, read_tensors, write_tensors
from dropbench.engine.tree import Tree, apart, together
from dropbench.errors import DropbenchError
from dropbench.results import checkpoints
from dropbench.run.config import RunConfig

_log = logging.getLogger(__name__)

FORMAT = 1
"""The form of a state: another one wherever a part of it is kept in another way."""
LARGEST_SHARE = 0.02
"""The most of a run's time that goes into writing its state; on a slow disk this is done less often."""


@dataclass(frozen=True)
class Checkpoints:
    """The results folder that states of runs are kept in, and how often each is written.

    - ``every``: the least seconds from one to the next of a run; 0: after every epoch.
    """

    folder: Path
    every: float = 60.0
    told: set[str] = field(default_factory=set, compare=False, repr=False)
    """Why states could not be written, as far as it was told."""

    def tell(self, why: str) -> None:
        """Tell once why the state of a run is not written."""
        if why in self.told:
            return
        self.told.add(why)
        taken = checkpoints.bytes_of(self.folder)
        size = f" Those of this folder take {taken / 1e6:,.0f} MB." if taken else ""
        _log.warning(f"Checkpoints are not written, so a run that is killed begins anew: {why}{size}")

    def going_on(self, configs: list[RunConfig], device: torch.device) -> list[RunConfig]:
        """Return those of the runs that will go on from their checkpoints."""
        begun = checkpoints.run_ids(self.folder)
        return [config for config in configs if config.run_id in begun and self._fits(config, device)]

    def _fits(self, config: RunConfig, device: torch.device) -> bool:
        try:
            return not _fault(read_about(checkpoints.path_of(self.folder, config.run_id)), config, device)
        except DropbenchError:
            return False


class Checkpoint:
    """The checkpoint of one run; with ``place`` None it has none.

    Writing never ends a run: where it is not possible, this is told once, and the run goes on without.
    """

    def __init__(
        self, place: Checkpoints | None, config: RunConfig, device: torch.device, compiled: bool = False
    ) -> None:
        self._place = place
        self._config = config
        self._device = device
        self._how = {"threads": torch.get_num_threads(), "compile": compiled}
        self._began = self._last = perf_counter()
        self._took = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to write the state."""
        if self._place is None:
            return False
        now = perf_counter()
        affordable = self._place.every == 0 or self._took <= LARGEST_SHARE * (now - self._began)
        return now - self._last >= self._place.every and affordable

    def write(self, state: Callable[[], Tree]) -> None:
        """Write the state in place of the one before."""
        if self._place is None:
            return
        start = perf_counter()
        try:
            self._write(self._place, state())
        except Exception as error:  # whatever it is, the run itself is well
            self._place.tell(_reason(error))
        self._last = perf_counter()
        self._took += self._last - start

    def _write(self, place: Checkpoints, state: Tree) -> None:
        if not place.folder.is_dir():  # of another machine: what is written here would stay for ever
            raise DropbenchError(f"There is no folder {place.folder} here.")
        tensors, form = apart(state)
        path = checkpoints.path_of(place.folder, self._config.run_id)
        write_tensors(path, tensors, {**_identity(self._config, self._device), **self._how, "state": form})

    def read(self) -> Tree | None:
        """Return the state that the run goes on from; None where it begins.

        One that cannot be used is told of, and passed over.
        """
        if self._place is None:
            return None
        path = checkpoints.path_of(self._place.folder, self._config.run_id)
        if not path.exists():
            return None
        try:
            tensors, about = read_tensors(path)
            if fault := _fault(about, self._config, self._device):
                raise DropbenchError(fault)
            state = together(tensors, about["state"], self._device)
            if not isinstance(state, dict):
                raise TypeError("it has no state")
        except (DropbenchError, LookupError, TypeError, ValueError) as error:
            self.pass_over(error)
            return None
        for name, now in self._how.items():
            if (then := about.get(name)) != now:
                _log.warning(
                    f"Runs go on with `{name}={now}` that began with `{name}={then}`: their last bits may "
                    "differ from those of runs that were not interrupted."
                )
        return state

    def pass_over(self, error: Exception) -> None:
        """Tell why the run does not go on from its checkpoint."""
        run_id, why = self._config.run_id, _reason(error)
        _log.warning(f"The checkpoint of run {run_id} is passed over, and the run begins anew: {why}")


def _identity(config: RunConfig, device: torch.device) -> dict[str, Any]:
    """The figures that must be the same for a run to go on from a state: all that its row will say of it."""
    return {
        "format": FORMAT,
        "dropbench": __version__,
        "torch": torch.__version__,
        "device": device.type,
        "run_id": config.run_id,
        "data": config.data.key,
    }


def _fault(about: dict[str, Any], config: RunConfig, device: torch.device) -> str:
    """Why no run goes on from a state of which this is known; empty if it does."""
    for name, wanted in _identity(config, device).items():
        if about.get(name) != wanted:
            return f"its {name} is {about.get(name)}, not {wanted}."
    return ""


def _reason(error: Exception) -> str:
    """An error in a sentence, which is the same for all runs where their folder is at fault."""
    if isinstance(error.__cause__, OSError) and error.__cause__.strerror:  # safetensors' own errors have none
        return f"{error.__cause__.strerror}."
    return error.message if isinstance(error, DropbenchError) else f"{type(error).__name__}: {error}."

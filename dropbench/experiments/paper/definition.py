"""The experiments of the lecture and the paper: arms, and their points at a scale.

A file declares

- the nets (``[settings]`` and ``[[arms]]``, by fields of RunConfig, with the trials of an arm that is tuned,
  ``tune``) and the amount of work (``[scales]``);
- the paper's results: its figures (``paper``, with ``unverified`` where a figure could not be checked), or a
  direction (``expect``);
- how the experiment here ``differs`` from the paper's.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from dropbench.errors import unknown_name
from dropbench.report.paper.result import HIGHER, LOWER
from dropbench.report.sweep.tuning import TUNED
from dropbench.run.config import SETTINGS, RunConfig
from dropbench.run.result import mc_ladder

SCALES = ("full", "medium", "small", "smoke")
SAME = "same"
DIRECTIONS = (LOWER, HIGHER, SAME, f"not {LOWER}", f"not {HIGHER}")
UNVERIFIED = ("single copy", "from memory")
AXES = ("p_drop", "train_size")
ERROR, PASSES = "test_error_percent", "passes"
# A measure is a column of runs.csv or a measure of panel.csv; the title names it in tables and on axes.
MEASURE_TITLES = {
    ERROR: "test error, %",
    "test_reconstruction_error": "squared error of an image",
    "mean_activation": "mean activation",
}


@dataclass(frozen=True)
class Scale:
    """The amount of work in an experiment; ``epochs`` is one number, or one for each value of the axis."""

    epochs: int | list[int]
    seeds: int
    width: float = 1.0
    """The factor of the numbers of units and channels."""
    train_size: int | None = None
    """The largest number of training images; None for no limit."""
    mc_samples: int = 0
    """The largest number of Monte-Carlo passes, in an experiment whose axis is ``passes``."""
    tune_seeds: int | None = None
    """The seeds, from 0 on, on which trials are compared; others train the chosen one alone. None: all."""

    def __post_init__(self) -> None:
        """Raise ValueError if trials are to be compared on no seed."""
        if self.tune_seeds is not None and (type(self.tune_seeds) is not int or self.tune_seeds < 1):
            raise ValueError(f"tune_seeds is {self.tune_seeds!r}, and must be 1 or more")

    def tried_seeds(self, seeds: int) -> int:
        """Return how many of ``seeds`` have every trial."""
        return min(seeds, self.tune_seeds or seeds)

    def text(self, config: RunConfig) -> str:
        """Describe in words what this scale makes of the experiment's run ``config``."""
        counts = self.epochs if isinstance(self.epochs, list) else [self.epochs]
        epochs = f"{min(counts)} to {max(counts)}" if len(set(counts)) > 1 else f"{counts[0]}"
        parts = [f"{epochs} epoch{'' if counts == [1] else 's'}", f"batches of {config.optimizer.batch_size}"]
        if self.width != 1:
            parts.append(f"layers {self.width:g} times as wide")
        if self.train_size is not None and config.data.train_size is not None:
            parts.append(f"at most {self.train_size:,} training images")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class PaperArm:
    """One way to train, varied along the experiment's axis if there is one.

    ``paper`` and ``expect`` have one entry for all values of the axis, or map each value, as the file writes
    it, to its entry.
    """

    name: str
    settings: Mapping[str, Any]
    against: str = ""
    """The arm that the paper compares this one with, at the same value of the axis if it has that value."""
    paper: float | dict[str, float] | None = None
    """The paper's figure, in the unit of the measure."""
    paper_spread: float | None = None
    """The ± that the paper gives with its figure."""
    unverified: str = ""
    """Why the paper's figure is not certain: one of UNVERIFIED."""
    expect: str | dict[str, str] = ""
    """The difference that the paper reports without a figure: one of DIRECTIONS."""
    compared_as: str = ""
    """The name of this arm in compare-bagging, in an experiment whose axis is ``passes``."""
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Values of settings; every combination is a trial, and a point shows the best of them on validation."""

    def __post_init__(self) -> None:
        """Raise ValueError for trials that are none, or a setting that is told beside them."""
        for name, values in self.tune.items():
            if name not in TUNED:
                raise ValueError(f"{name!r} cannot be tuned, only {', '.join(TUNED)}")
            if name in self.settings:
                raise ValueError(f"the arm {self.name!r} has {name} beside its trials")
            if len(set(values)) < len(values) or not values:
                raise ValueError(f"the trials of {name} in {self.name!r} are none, or one of them twice")


@dataclass(frozen=True)
class Point:
    """One row of an experiment: an arm at one value ``x`` of the axis, or an arm without such a value."""

    arm: str
    x: float | None
    trials: tuple[RunConfig, ...]
    """The runs with seed 0, not yet bound to data: one for each trial, or one alone."""
    paper: float | None
    paper_spread: float | None
    unverified: str
    expect: str
    against: tuple[str, float | None] | None
    compared_as: str
    tune: Mapping[str, Sequence[Any]] = field(default_factory=dict)

    @property
    def config(self) -> RunConfig:
        """The first trial; all are the same but for what is tuned."""
        return self.trials[0]

    @property
    def key(self) -> tuple[str, float | None]:
        """Identifies the point within its experiment."""
        return self.arm, self.x


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One experiment as its file declares it."""

    name: str
    title: str
    shows: str
    """The finding of the lecture or the paper, in a sentence."""
    source: str
    data: str
    differs: str
    scales: Mapping[str, Scale]
    settings: Mapping[str, Any]
    arms: tuple[PaperArm, ...]
    axis: str = ""
    """The field of RunConfig, or ``passes``, along which the arms are curves; empty for no axis."""
    measure: str = ERROR

    def __post_init__(self) -> None:
        """Raise ValueError for names that do not exist, or arms that do not fit the axis."""
        names = [arm.name for arm in self.arms]
        known = set(SETTINGS)
        for what, found, allowed in (
            ("axis", {self.axis}, {"", PASSES, *AXES}),
            ("measure", {self.measure}, set(MEASURE_TITLES)),
            ("against", {arm.against for arm in self.arms}, {"", *names}),
            ("unverified", {arm.unverified for arm in self.arms}, {"", *UNVERIFIED}),
            ("expect", {each for arm in self.arms for each in _directions(arm.expect)}, {"", *DIRECTIONS}),
            ("field", {*self.settings, *(name for arm in self.arms for name in arm.settings)}, known),
        ):
            if found - allowed:
                raise ValueError(f"there is no {what} {min(found - allowed)!r}")
        if self.axis == PASSES and any(arm.tune for arm in self.arms):
            raise ValueError(f"along {PASSES} nothing is tuned")
        if len(set(names)) < len(names):
            raise ValueError("two arms have the same name")
        for scale in SCALES:
            self.points(scale)

    def points(self, scale: str, available: int | None = None) -> list[Point]:
        """The points at one of SCALES; ``available`` is the number of training images, None for no limit.

        Raises:
            UsageError: for an unknown scale.

        """
        found = [point for arm in self.arms for point in self._points_of(arm, self.scale(scale), available)]
        by_key = {point.key: point for point in found}
        return [replace(point, against=self._against(point, by_key)) for point in found]

    def scale(self, name: str) -> Scale:
        """The scale of this name; raises UsageError for a name that is none of SCALES."""
        if name not in SCALES:
            raise unknown_name("scale", name, SCALES)
        return self.scales[name]

    def _points_of(self, arm: PaperArm, scale: Scale, available: int | None) -> list[Point]:
        """The points of an arm; training sizes above the scale's or the data set's are left out."""
        settings = {**self.settings, **arm.settings}
        trials = [dict(zip(arm.tune, values, strict=True)) for values in product(*arm.tune.values())]
        limit = min((size for size in (scale.train_size, available) if size is not None), default=math.inf)
        points = []
        for number, value in enumerate(self._axis_values(arm, settings, scale)):
            own = dict(settings)
            if self.axis in AXES:
                own[self.axis] = value
            if self.axis != "train_size":
                own["train_size"] = None if available == limit else scale.train_size
            elif value > limit:
                continue
            epochs = scale.epochs[number] if isinstance(scale.epochs, list) else scale.epochs
            work = {"epochs": epochs, "width": scale.width, "mc_samples": scale.mc_samples}
            x = None if value is None else float(value)
            points.append(
                Point(
                    arm.name,
                    x,
                    tuple(_config({**own, **trial, **work}) for trial in trials),
                    arm.paper.get(_text(x)) if isinstance(arm.paper, dict) else arm.paper,
                    arm.paper_spread,
                    arm.unverified,
                    arm.expect.get(_text(x), "") if isinstance(arm.expect, dict) else arm.expect,
                    None,
                    arm.compared_as,
                    arm.tune,
                )
            )
        return points

    def _axis_values(self, arm: PaperArm, settings: Mapping[str, Any], scale: Scale) -> list[Any]:
        """The values of the axis at which an arm has a point; [None] for an arm that has no such value."""
        if self.axis == PASSES:
            return list(mc_ladder(scale.mc_samples)) if arm.compared_as == "dropout-mc" else [None]
        value = settings.get(self.axis)
        if self.axis and value in (None, []):
            raise ValueError(f"the arm {arm.name!r} has no {self.axis}")
        return value if isinstance(value, list) else [value]

    def _against(
        self, point: Point, by_key: Mapping[tuple[str, float | None], Point]
    ) -> tuple[str, float | None] | None:
        """The key of the point that the paper compares this one with; None if there is none.

        It is the other arm's point at the same value of the axis. Where that arm has a single point, this one
        serves for every value if it is without dropout, or has no value on the axis.
        """
        other = next(arm.against for arm in self.arms if arm.name == point.arm)
        if (other, point.x) in by_key:
            return other, point.x
        others = [each for each in by_key.values() if each.arm == other]
        if len(others) == 1 and (others[0].x is None or others[0].config.without_dropout):
            return others[0].key
        return None


def all_trials(points: Iterable[Point]) -> list[RunConfig]:
    """The trials of all points, one after another."""
    return [trial for point in points for trial in point.trials]


def repeats(points: Iterable[Point], seeds: int, tried_seeds: int) -> dict[RunConfig, int]:
    """The number of seeds of each trial; on later seeds the first of a point stands for its best."""
    counts: dict[RunConfig, int] = {}
    for point in points:
        for number, trial in enumerate(point.trials):
            counts[trial] = max(tried_seeds if number else seeds, counts.get(trial, 0))
    return counts


def _config(settings: Mapping[str, Any]) -> RunConfig:
    """The run with these settings; TOML has lists where RunConfig has tuples."""
    hashable = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return RunConfig(**hashable)


def _directions(expect: str | Mapping[str, str]) -> list[str]:
    return [expect] if isinstance(expect, str) else list(expect.values())


def _text(x: float | None) -> str:
    """A value of the axis as the files write it."""
    return "" if x is None else f"{x:.12g}"

"""The experiments as they are declared: a TOML file each, in ``settings/``. A new one is a new file.

A file says what is trained (``[settings]``, ``[[arms]]``: fields of RunConfig) and how much (``[scales]``);
what was found there (``paper``, ``unverified`` where a figure could not be checked; or ``expect``); and what
``differs`` here.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from dropbench.errors import UsageError, unknown_name
from dropbench.run.config import SETTINGS, RunConfig
from dropbench.run.result import mc_ladder

SCALES = ("full", "small", "smoke")
LOWER, HIGHER, SAME = "lower", "higher", "same"
DIRECTIONS = (LOWER, HIGHER, SAME, f"not {LOWER}", f"not {HIGHER}")
UNVERIFIED = ("single copy", "from memory")
AXES = ("p_drop", "train_size")
ERROR, PASSES = "test_error_percent", "passes"
FILES = files("dropbench.experiments.paper").joinpath("settings")
# Where ours stands for each measure: a column of runs.csv, or a measure of panel.csv.
MEASURE_TITLES = {
    ERROR: "test error, %",
    "test_reconstruction_error": "squared error of an image",
    "mean_activation": "mean activation",
}


@dataclass(frozen=True)
class Scale:
    """How much of an experiment is done; ``epochs`` may be a list, one for each value of the axis."""

    epochs: int | list[int]
    seeds: int
    width: float = 1.0
    """What the numbers of units and channels are multiplied by."""
    train_size: int | None = None
    """Images at most."""
    mc_samples: int = 0
    """Of an experiment on passes."""

    def text(self, config: RunConfig) -> str:
        """What it makes of the experiment, in words."""
        spread = self.epochs if isinstance(self.epochs, list) else [self.epochs]
        epochs = f"{min(spread)} to {max(spread)}" if len(set(spread)) > 1 else f"{spread[0]}"
        parts = [f"{epochs} epoch{'' if spread == [1] else 's'}", f"batches of {config.optimizer.batch_size}"]
        if self.width != 1:
            parts.append(f"layers {self.width:g} times as wide")
        if self.train_size is not None and config.data.train_size is not None:
            parts.append(f"at most {self.train_size:,} training images")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class PaperArm:
    """One way to train, or along an axis several; ``paper`` and ``expect`` then go by the axis' values."""

    name: str
    settings: Mapping[str, Any]
    against: str = ""
    """The arm whose difference the paper speaks of; at the same place of the axis if it has that."""
    paper: float | dict[str, float] | None = None
    paper_spread: float | None = None
    unverified: str = ""
    """Why the paper's value is not sure: ``single copy`` or ``from memory``."""
    expect: str | dict[str, str] = ""
    """Of DIRECTIONS, what the paper found without a figure."""
    compared_as: str = ""
    """The arm of compare-bagging that this is, in an experiment on passes."""


@dataclass(frozen=True)
class Point:
    """One row of an experiment: an arm at one place of the axis."""

    arm: str
    x: float | None
    config: RunConfig
    """Of seed 0, unbound."""
    paper: float | None
    paper_spread: float | None
    unverified: str
    expect: str
    against: tuple[str, float | None] | None
    compared_as: str

    @property
    def key(self) -> tuple[str, float | None]:
        """Names it within its experiment."""
        return self.arm, self.x


@dataclass(frozen=True, kw_only=True)
class Paper:
    """One experiment as its file has it."""

    name: str
    title: str
    shows: str
    """What the lecture or the paper says of it, in a sentence."""
    source: str
    data: str
    differs: str
    scales: Mapping[str, Scale]
    settings: Mapping[str, Any]
    arms: tuple[PaperArm, ...]
    axis: str = ""
    """The field of RunConfig, or ``passes``, along which the arms are curves."""
    measure: str = ERROR

    def __post_init__(self) -> None:
        """Raise ValueError for what a file must not say."""
        names = [arm.name for arm in self.arms]
        known = set(SETTINGS)
        for what, found, allowed in (
            ("axis", {self.axis}, {"", PASSES, *AXES}),
            ("measure", {self.measure}, set(MEASURE_TITLES)),
            ("against", {arm.against for arm in self.arms}, {"", *names}),
            ("unverified", {arm.unverified for arm in self.arms}, {"", *UNVERIFIED}),
            ("expect", {each for arm in self.arms for each in _values(arm.expect)}, {"", *DIRECTIONS}),
            ("field", {*self.settings, *(name for arm in self.arms for name in arm.settings)}, known),
        ):
            if found - allowed:
                raise ValueError(f"there is no {what} {min(found - allowed)!r}")
        if len(set(names)) < len(names):
            raise ValueError("two arms have one name")
        for scale in SCALES:
            self.points(scale)

    def points(self, scale: str, available: int | None = None) -> list[Point]:
        """The rows at one of SCALES where there are so many training images; None is as many as wanted."""
        found = [point for arm in self.arms for point in self._points_of(arm, self.scale(scale), available)]
        by_key = {point.key: point for point in found}
        return [replace(point, against=self._against(point, by_key)) for point in found]

    def scale(self, name: str) -> Scale:
        """One of SCALES by its name; raises UsageError for another."""
        if name not in SCALES:
            raise unknown_name("scale", name, SCALES)
        return self.scales[name]

    def _points_of(self, arm: PaperArm, scale: Scale, available: int | None) -> list[Point]:
        settings = {**self.settings, **arm.settings}
        most = min((size for size in (scale.train_size, available) if size is not None), default=math.inf)
        if self.axis == PASSES:
            places: list[Any] = (
                list(mc_ladder(scale.mc_samples)) if arm.compared_as == "dropout-mc" else [None]
            )
        else:
            at = settings.get(self.axis)
            places = at if isinstance(at, list) else [at]
            if self.axis and at in (None, []):
                raise ValueError(f"the arm {arm.name!r} has no {self.axis}")
        points = []
        for number, place in enumerate(places):
            here = dict(settings)
            if self.axis in AXES:
                here[self.axis] = place
            if self.axis != "train_size":
                here["train_size"] = None if available == most else scale.train_size
            elif place > most:
                continue
            epochs = scale.epochs[number] if isinstance(scale.epochs, list) else scale.epochs
            x = None if place is None else float(place)
            points.append(
                Point(
                    arm.name,
                    x,
                    _config(here, epochs=epochs, width=scale.width, mc_samples=scale.mc_samples),
                    arm.paper.get(_text(x)) if isinstance(arm.paper, dict) else arm.paper,
                    arm.paper_spread,
                    arm.unverified,
                    arm.expect.get(_text(x), "") if isinstance(arm.expect, dict) else arm.expect,
                    None,
                    arm.compared_as,
                )
            )
        return points

    def _against(
        self, point: Point, by_key: Mapping[tuple[str, float | None], Point]
    ) -> tuple[str, float | None] | None:
        """The other arm at the same place; or, where it drops nothing or has no place, its only one."""
        other = next(arm.against for arm in self.arms if arm.name == point.arm)
        if (other, point.x) in by_key:
            return other, point.x
        alone = [each for each in by_key.values() if each.arm == other]
        if len(alone) == 1 and (alone[0].x is None or alone[0].config.without_dropout):
            return alone[0].key
        return None


def _config(settings: Mapping[str, Any], **of_scale: Any) -> RunConfig:
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()}
    return RunConfig(**{**plain, **of_scale})


def _values(told: str | Mapping[str, str]) -> list[str]:
    return [told] if isinstance(told, str) else list(told.values())


def _text(x: float | None) -> str:
    """A place of the axis as the files write it."""
    return "" if x is None else f"{x:.12g}"


def names() -> list[str]:
    """All experiments there are: the lecture's, then the others, ``table10`` after ``table9``."""
    found = [path.name.removesuffix(".toml") for path in FILES.iterdir() if path.name.endswith(".toml")]

    def parts(name: str) -> list[str | int]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return sorted(found, key=lambda name: (name != "lecture", parts(name)))


def find(name: str) -> Paper:
    """The experiment of this name; raises UsageError where there is none."""
    if name not in names():
        raise unknown_name("experiment", name, names())
    return parse(name, FILES.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


_OF_ARM = ("name", "against", "paper", "paper_spread", "unverified", "expect", "compared_as")


def parse(name: str, text: str) -> Paper:
    """An experiment from the text of its file.

    Raises:
        UsageError: if the file is no such description.

    """
    try:
        content = tomllib.loads(text)
        arms = tuple(
            PaperArm(
                settings={key: value for key, value in arm.items() if key not in _OF_ARM},
                **{key: arm[key] for key in _OF_ARM if key in arm},
            )
            for arm in content.pop("arms")
        )
        scales = {key: Scale(**content["scales"][key]) for key in SCALES}
        return Paper(**{**content, "name": name, "arms": arms, "scales": scales})
    except (ValueError, TypeError, LookupError) as error:
        raise UsageError(f"The settings of {name} are damaged: {error}.") from error

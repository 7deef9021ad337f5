"""The experiments as they are declared: a TOML file each, in ``settings/``. A new one is a new file.

A file says what is trained (``[settings]``, ``[[arms]]``: fields of RunConfig) and how much (``[scales]``);
what was found there (``paper``, ``unverified`` where a figure could not be checked; or ``expect``); and what
``differs`` here.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Any

from dropbench.config import RunConfig
from dropbench.errors import UsageError, unknown_name
from dropbench.run_result import mc_ladder

SCALES = ("full", "small", "smoke")
LOWER, HIGHER, SAME = "lower", "higher", "same"
ERROR, PASSES = "test_error_percent", "passes"
_SETTINGS = files("dropbench.experiments.paper").joinpath("settings")
# Where ours stands for each measure: a column of runs.csv, or a measure of panel.csv.
MEASURES = {
    ERROR: "test error, %",
    "test_reconstruction_error": "squared error of an image",
    "mean_activation": "mean activation",
    "zero_share": "share of activations that are 0",
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

    def text(self, config: RunConfig) -> str:
        """What it makes of the experiment, in words."""
        spread = self.epochs if isinstance(self.epochs, list) else [self.epochs]
        epochs = f"{min(spread)} to {max(spread)}" if len(set(spread)) > 1 else f"{spread[0]}"
        parts = [f"{epochs} epoch{'' if spread == [1] else 's'}", f"batches of {config.batch_size}"]
        if self.width != 1:
            parts.append(f"layers {self.width:g} times as wide")
        if self.train_size is not None:
            parts.append(f"at most {self.train_size:,} training images")
        return ", ".join(parts)


@dataclass(frozen=True, kw_only=True)
class Arm:
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
    """Of LOWER, HIGHER and SAME, what the paper found without a figure."""
    reading: str = ""
    """Of an experiment on passes: the arm of compare-bagging that this is."""


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
    reading: str

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
    arms: tuple[Arm, ...]
    axis: str = ""
    """The field of RunConfig, or ``passes``, along which the arms are curves."""
    measure: str = ERROR

    def points(self, scale: str) -> list[Point]:
        """The rows at one of SCALES; what the scale makes equal is one row."""
        found = [point for arm in self.arms for point in self._points_of(arm, self.scale(scale))]
        by_run = {(point.arm, point.config.run_id, point.reading, point.x): point for point in found}
        keys = {point.key for point in by_run.values()}
        return [replace(point, against=self._against(point, keys)) for point in by_run.values()]

    def scale(self, name: str) -> Scale:
        """One of SCALES by its name; raises UsageError for another."""
        if name not in SCALES:
            raise unknown_name("scale", name, SCALES)
        return self.scales[name]

    def _points_of(self, arm: Arm, scale: Scale) -> list[Point]:
        fields = {**self.settings, **arm.settings}
        if self.axis == PASSES:
            places: list[Any] = list(mc_ladder(scale.mc_samples)) if arm.reading == "dropout-mc" else [None]
        else:
            places = fields[self.axis] if isinstance(fields.get(self.axis), list) else [fields.get(self.axis)]
        points = []
        for number, place in enumerate(places):
            if self.axis == "train_size" and scale.train_size is not None and place > scale.train_size:
                continue
            here = dict(fields)
            if self.axis and self.axis != PASSES:
                here[self.axis] = place
            if self.axis != "train_size":
                here["train_size"] = scale.train_size
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
                    arm.reading,
                )
            )
        return points

    def _against(self, point: Point, keys: set[tuple[str, float | None]]) -> tuple[str, float | None] | None:
        other = next(arm.against for arm in self.arms if arm.name == point.arm)
        if not other:
            return None
        same_place = (other, point.x)
        alone = [key for key in keys if key[0] == other]
        return same_place if same_place in keys else alone[0] if len(alone) == 1 else None


def _config(fields: Mapping[str, Any], **of_scale: Any) -> RunConfig:
    settings = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    return RunConfig(**{**settings, **{name: v for name, v in of_scale.items() if v or name == "epochs"}})


def _text(x: float | None) -> str:
    """A place of the axis as the files write it."""
    return "" if x is None else f"{x:g}" if x < 1 else f"{x:.0f}"


def names() -> list[str]:
    """All experiments there are, in the order of the lecture, then of the paper."""
    found = [path.name.removesuffix(".toml") for path in _SETTINGS.iterdir() if path.name.endswith(".toml")]
    return sorted(found, key=lambda name: (name != "lecture", name.startswith("cifar"), _natural(name)))


def _natural(name: str) -> tuple[str, int, str]:
    """``table10`` after ``table9``."""
    kind = name.rstrip("0123456789ab")
    number = "".join(character for character in name[len(kind) :] if character.isdigit())
    return kind, int(number or 0), name


def find(name: str) -> Paper:
    """The experiment of this name; raises UsageError where there is none."""
    if name not in names():
        raise unknown_name("experiment", name, names())
    return parse(name, _SETTINGS.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


_OF_ARM = ("name", "against", "paper", "paper_spread", "unverified", "expect", "reading")


def parse(name: str, text: str) -> Paper:
    """An experiment from the text of its file.

    Raises:
        UsageError: if the file is no such description.

    """
    try:
        content = tomllib.loads(text)
        arms = tuple(
            Arm(
                settings={key: value for key, value in arm.items() if key not in _OF_ARM},
                **{key: arm[key] for key in _OF_ARM if key in arm},
            )
            for arm in content.pop("arms")
        )
        scales = {key: Scale(**content["scales"][key]) for key in SCALES}
        return Paper(**{**content, "name": name, "arms": arms, "scales": scales})
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(f"The settings of {name} are damaged: {error}.") from error

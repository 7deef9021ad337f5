"""The files of the experiments: one TOML file each in ``settings/``. A new experiment is a new file."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from dropbench.errors import UsageError, unknown_name
from dropbench.experiments.paper.definition import SCALES, Paper, PaperArm, Scale
from dropbench.report.sweep.tuning import TUNED, ordered

FILES = files("dropbench.experiments.paper").joinpath("settings")


def names() -> list[str]:
    """The names of all experiments: the lecture's first, then the paper's, ``table9`` before ``table10``."""
    found = [path.name.removesuffix(".toml") for path in FILES.iterdir() if path.name.endswith(".toml")]

    def parts(name: str) -> list[str | int]:
        return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]

    return sorted(found, key=lambda name: (name != "lecture", parts(name)))


def find(name: str) -> Paper:
    """The experiment of this name; raises UsageError if there is none."""
    if name not in names():
        raise unknown_name("experiment", name, names())
    return parse(name, FILES.joinpath(f"{name}.toml").read_text(encoding="utf-8"))


_OF_ARM = ("name", "against", "paper", "paper_spread", "unverified", "expect", "compared_as", "tune")


def parse(name: str, text: str) -> Paper:
    """Read an experiment from the text of its file.

    Raises:
        UsageError: if the text does not declare an experiment.

    """
    try:
        content = tomllib.loads(text)
        arms = tuple(
            PaperArm(
                settings={key: value for key, value in arm.items() if key not in _OF_ARM},
                **{key: arm[key] for key in _OF_ARM[:-1] if key in arm},
                tune=_trials(arm.get("tune", {})),
            )
            for arm in content.pop("arms")
        )
        if missing := [scale for scale in SCALES if scale not in content["scales"]]:
            raise ValueError(f"there is no scale {missing[0]!r}")
        scales = {key: Scale(**content["scales"][key]) for key in SCALES}
        return Paper(**{**content, "name": name, "arms": arms, "scales": scales})
    except (ValueError, TypeError, LookupError) as error:
        raise UsageError(f"The settings of {name} are damaged: {error}.") from error


def _trials(told: Sequence[Any] | Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The values of each tuned setting, in the order of a Budget, so that the first of equals is the same.

    A list alone has learning rates, and ``none`` is no max-norm.
    """
    lists = dict(told if isinstance(told, Mapping) else {"learning_rate": told})
    in_order = {name: lists.pop(name) for name in TUNED if name in lists} | lists
    return {
        name: tuple(sorted((None if value == "none" else value for value in values), key=ordered))
        for name, values in in_order.items()
    }

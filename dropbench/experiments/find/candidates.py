"""The candidates of a find: settings of one net, and arms of several nets or passes with these settings."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dropbench.catalog.arms import ARMS, Arm
from dropbench.errors import UsageError
from dropbench.experiments.bagging.plan import nets_of
from dropbench.run.config import RunConfig
from dropbench.run.result import mc_ladder

_OF_SETTINGS = ("single", "dropout")
"""Arms of one net that predicts with all its units: the settings are that themselves."""
_ONE = re.compile(r"([a-z-]+)(?::(\d+))?")
_MOST = 1000


@dataclass(frozen=True)
class Averaged:
    """An arm with the number of nets or passes that it averages: ``ensemble:5``."""

    name: str
    members: int

    @property
    def kind(self) -> Arm:
        """The arm's entry in the catalog."""
        return ARMS[self.name]

    @classmethod
    def parse(cls, text: str) -> "Averaged":
        """Read ``ensemble:5``.

        Raises:
            UsageError: for an unknown arm, or one without its number.

        """
        found = _ONE.fullmatch("".join(text.split()).lower())
        name = ARMS.check(found[1] if found else text.partition(":")[0])
        if name in _OF_SETTINGS:
            raise UsageError(
                f"`candidates`: every setting is a candidate as a single net, so {name} is none of its own.",
                f"Write arms of several nets or passes: {', '.join(_examples())}.",
            )
        counts = ARMS[name].is_ensemble or ARMS[name].monte_carlo
        if not counts and (found is None or found[2] is None):
            return cls(name, 1)
        number = int(found[2]) if found and found[2] else 0
        if not counts:
            raise UsageError(f"`candidates`: {name} is one net, and has no number.", f"Write {name}.")
        if not 2 <= number <= _MOST:
            what = "passes" if ARMS[name].monte_carlo else "nets"
            told = found is not None and found[2] is not None
            wrong = f"has {number:,} {what}" if told else f"does not say how many {what} it has"
            raise UsageError(
                f"`candidates`: {text.strip()!r} {wrong}.",
                f"Write {name}:5 for 5 {what}; 2 to {_MOST:,} of them.",
            )
        return cls(name, number)


def _examples() -> list[str]:
    counted = {name: 20 if arm.monte_carlo else 5 for name, arm in ARMS.items() if name not in _OF_SETTINGS}
    return [f"{name}:{number}" for name, number in counted.items()][:3]


def parse_averaged(told: str | Iterable[str]) -> tuple[Averaged, ...]:
    """Read ``ensemble:5,dropout-mc:20``, or a list of such; each counts once."""
    parts = told.split(",") if isinstance(told, str) else list(told)
    return tuple(dict.fromkeys(Averaged.parse(part) for part in parts if part.strip()))


@dataclass(frozen=True)
class Candidate:
    """A setting of one net, or an arm with that setting."""

    setting: RunConfig
    """With seed 0."""
    averaged: Averaged | None = None

    def runs(self, seed: int) -> tuple[RunConfig, ...]:
        """The runs that it needs for a seed: of an ensemble one for each member."""
        one = self.setting.replace(seed=seed)
        if self.averaged is None:
            return (one,)
        kind = self.averaged.kind
        return nets_of(kind, one.replace(**kind.changes), self.averaged.members)


def candidates_of(settings: Sequence[RunConfig], averaged: Sequence[Averaged]) -> list[Candidate]:
    """The settings, each as one net, then each arm with the settings that it can have.

    Arms without dropout have the settings that drop nothing, the others those that drop something.
    Monte-Carlo passes are made after training, so that a setting shares its run with its passes.

    Raises:
        UsageError: if an arm has no setting, or there is one candidate alone.

    """
    dropping = [setting for setting in settings if not setting.without_dropout]
    passes = max((each.members for each in averaged if each.kind.monte_carlo), default=0)
    nets = [
        setting if setting.without_dropout else setting.replace(mc_samples=passes) for setting in settings
    ]
    found = [Candidate(setting) for setting in nets]
    for each in averaged:
        of = dropping if each.kind.drops else [setting for setting in settings if setting.without_dropout]
        if not of:
            needed = "a p above 0" if each.kind.drops else "a setting without dropout: p = 0"
            raise UsageError(
                f"`candidates`: {each.name} needs {needed}, and there is none.", "Add it to `p`."
            )
        found += [Candidate(_with_passes(setting, each, passes), each) for setting in of]
    if len(found) < 2:
        raise UsageError(
            "There is one candidate, and nothing to choose.",
            "Write several `p`, or several values of another setting.",
        )
    return found


def _with_passes(setting: RunConfig, averaged: Averaged, most: int) -> RunConfig:
    """The setting of an arm: with the passes of all where its own number is among what is kept of these."""
    if not averaged.kind.monte_carlo:
        return setting
    shared = setting.task == "regress" or averaged.members in mc_ladder(most)
    return setting.replace(mc_samples=most if shared else averaged.members)

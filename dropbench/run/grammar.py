"""The grammar of values given as text: drop probabilities, layer widths, lists of sizes, rates and names."""

import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from dropbench.errors import UsageError

Value = TypeVar("Value")

MOST_VALUES = 1000
_FORMS = "Write a value like 0.5, a list like 0,0.25,0.5, a range like 0.1..0.8 or 0.1..0.8:0.05."


def parse_probabilities(text: str, name: str = "p_drop") -> tuple[float, ...]:
    """Drop probabilities from ``A``, ``A..B`` (both ends included, step 0.1), ``A..B:STEP`` and comma lists.

    The values are exact decimals (0.3, never 0.30000000000000004), each once, in ascending order.

    Raises:
        UsageError: if a part is no number, lies outside [0, 1), or a range does not end on its end.

    """
    values: set[Decimal] = set()
    if re.fullmatch(r"\s*0,\s*0*[1-9]\d*\s*", text):
        raise UsageError(f"`{name}` {text.strip()}: a comma parts values.", f"Write {_with_point(text)}.")
    for part in text.split(","):
        values.update(_probability_range(part.strip(), name))
        if len(values) > MOST_VALUES:
            raise UsageError(f"`{name}` {text} is more than {MOST_VALUES} values.", "Take a larger step.")
    return tuple(float(value) for value in sorted(values))


def parse_probability(text: str, name: str = "p_drop") -> float:
    """One drop probability, for commands that take a single one."""
    return float(_probability(text.strip(), name))


def parse_layers(text: str, name: str = "layers") -> tuple[int, ...]:
    """Widths of the hidden layers, ``1024,1024,2048``."""
    return tuple(_whole_number(part, name, "hidden units, like 1024,1024,2048") for part in text.split(","))


def parse_layer_lists(text: str, name: str = "layers") -> tuple[tuple[int, ...], ...]:
    """One or more nets' hidden layers, divided by ``/``: ``800,800/1024,1024,1024``."""
    return tuple(dict.fromkeys(parse_layers(part, name) for part in text.split("/")))


def parse_train_sizes(text: str, name: str = "train_size") -> tuple[int | None, ...]:
    """Numbers of training examples, ``100,500,all``; ``all`` (None) is the whole training split."""
    sizes: list[int | None] = []
    for part in text.split(","):
        whole = part.strip().lower() == "all"
        sizes.append(None if whole else _whole_number(part, name, "training examples, or all"))
    return tuple(dict.fromkeys(sizes))


def parse_augmentations(text: str, name: str = "augment") -> tuple[str, ...]:
    """One or more sets of augmentations, divided by ``/``: ``none/flip/flip,crop``, in any order."""
    found: list[str] = []
    for part in text.split("/"):
        names = [each.strip() for each in part.split(",")]
        for each in names:
            if names.count(each) > 1:
                raise UsageError(f"`{name}` {part.strip()} has {each} twice.", "Write each once.")
        found.append(",".join(sorted(names, reverse=True)))
    return tuple(dict.fromkeys(found))


def parse_names(text: str, name: str = "") -> tuple[str, ...]:
    """Names divided by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def parse_rates(text: str, name: str = "learning_rate") -> tuple[float, ...]:
    """Numbers above 0, ``0.01,0.02,0.05``, in the order given."""
    return _trials(text, name, lambda part: _checked(part, name, least=0, itself=False))


def parse_penalties(text: str, name: str = "weight_decay") -> tuple[float, ...]:
    """Numbers of 0 or more, ``0,1e-4``, in the order given."""
    return _trials(text, name, lambda part: _checked(part, name, least=0, itself=True))


def parse_bounds(text: str, name: str = "max_norm") -> tuple[float | None, ...]:
    """Numbers above 0, or ``none`` (None) for no bound: ``none,2,3``."""

    def bound(part: str) -> float | None:
        return None if part.lower() == "none" else _checked(part, name, least=0, itself=False, or_none=True)

    return _trials(text, name, bound)


_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BYTES |= {f"{unit}i": 1024**power for power, unit in enumerate("kmgt", start=1)}


def parse_size(text: str, name: str = "to") -> int:
    """Bytes of a size: ``500MB``, ``5GB``, ``2GiB``, ``0``; another number without a unit is none.

    Raises:
        UsageError: for another text.

    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)(b?)", text.strip().lower())
    without_unit = found is not None and not found[2] and not found[3] and float(found[1]) != 0
    if found is None or found[2] not in _BYTES or without_unit:
        raise UsageError(f"`{name}` is {text.strip()!r}.", "Write a size with its unit, like 500MB or 5GB.")
    return int(float(found[1]) * _BYTES[found[2]])


_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WITH_UNITS = re.compile("".join(rf"(?:(?P<{unit}>\d+(?:\.\d+)?){unit})?" for unit in _UNITS))
_OF_SLURM = re.compile(
    r"(?P<d>\d+)-(?P<h>\d+)(?::(?P<m>\d+)(?::(?P<s>\d+))?)?|(?:(?P<h_>\d+):)?(?P<m_>\d+):(?P<s_>\d+)"
)
_DURATIONS = "Write a time with its unit, as 55m, 1h30m or 90s, or as H:MM:SS, M:SS or D-HH:MM:SS."


def parse_duration(text: str, name: str = "time_limit") -> float:
    """Seconds of a time: ``55m``, ``1h30m``, ``1.5h``, ``90s``, ``2d``, or in the forms of Slurm.

    These are ``M:SS``, ``H:MM:SS``, ``D-HH``, ``D-HH:MM`` and ``D-HH:MM:SS``. A number without a unit is
    none of them: it is minutes to Slurm, and seconds to others.

    Raises:
        UsageError: for another text, or no time at all.

    """
    written = "".join(text.split()).lower()
    found = _WITH_UNITS.fullmatch(written) or _OF_SLURM.fullmatch(written)
    if found is None or not written:
        raise UsageError(f"`{name}`: {text.strip()!r} is no time.", _DURATIONS)
    parts = {unit.rstrip("_"): float(number) for unit, number in found.groupdict().items() if number}
    if not (seconds := sum(_UNITS[unit] * number for unit, number in parts.items())):
        raise UsageError(f"`{name}` is {text.strip()}.", "Write a time above 0.")
    return seconds


def check_duration(value: object) -> str:
    """Return a time as text without spaces; raises UsageError for what parse_duration does not read."""
    text = str(value)
    parse_duration(text)
    return "".join(text.split())


def only(values: Sequence[Value], name: str) -> Value:
    """The one value of a list, for commands that carry out one run; raises UsageError for more."""
    if len(values) != 1:
        raise UsageError(
            f"`{name}` has {len(values)} values.", "Write one here; dropbench sweep takes lists."
        )
    return values[0]


def _probability_range(part: str, name: str) -> list[Decimal]:
    if ".." not in part:
        return [_probability(part, name)]
    ends, _, step_text = part.partition(":")
    first_text, _, last_text = ends.partition("..")
    first, last = _probability(first_text, name), _probability(last_text, name)
    step = _number(step_text, name) if step_text else Decimal("0.1")
    if ":" in part and not step_text:
        raise UsageError(f"`{name}` {part} ends in a colon without a step.", _FORMS)
    if step <= 0:
        raise UsageError(f"`{name}` {part} has step {step}.", "Write a step above 0, like 0.1..0.8:0.05.")
    if last < first:
        raise UsageError(f"`{name}` {part} runs backwards.", f"Write {last}..{first}.")
    if last - first > MOST_VALUES * step:
        raise UsageError(f"`{name}` {part} is more than {MOST_VALUES} values.", "Take a larger step.")
    steps = (last - first) / step
    if steps != steps.to_integral_value():
        reached = first + int(steps) * step
        raise UsageError(
            f"`{name}` {part} never reaches {last} in steps of {step}.",
            f"Write {first}..{reached}:{step}, or give the step that fits.",
        )
    return [first + k * step for k in range(int(steps) + 1)]


def _trials(text: str, name: str, read: Callable[[str], Value]) -> tuple[Value, ...]:
    """The values of a comma list, each of which may be there once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(parts):
        raise UsageError(
            f"`{name}` {text!r} has an empty place.", "Write one value, or several with a comma between two."
        )
    values: list[Value] = []
    for part in parts:
        if (value := read(part)) in values:
            raise UsageError(f"`{name}` has {part} twice.", "Write each value once.")
        values.append(value)
    return tuple(values)


def _checked(text: str, name: str, least: float, itself: bool, or_none: bool = False) -> float:
    """A finite number above ``least``, or ``itself`` this number."""
    what = f"{least:g} or more" if itself else f"above {least:g}"
    hint = f"Write a number {what}{', or none' if or_none else ''}; dropbench sweep takes lists with commas."
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"`{name}`: {text!r} is no number.", hint) from None
    if not math.isfinite(value) or value < least or (value == least and not itself):
        raise UsageError(f"`{name}` is {text}.", hint)
    return abs(value)  # -0 is 0


def _probability(text: str, name: str) -> Decimal:
    value = _number(text, name)
    if value < 0 or float(value) >= 1:
        raise UsageError(
            f"`{name}` {text.strip()} is no drop probability.",
            "p is the probability of dropping a unit: at least 0 and below 1.",
        )
    return abs(value)  # -0 is 0


def _with_point(text: str) -> str:
    return "".join(text.split()).replace(",", ".")


def _number(text: str, name: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        if re.fullmatch(r"\s*\d+,\d+\s*", text):
            raise UsageError(
                f"`{name}`: {text.strip()!r} has a comma.", f"Write {_with_point(text)}."
            ) from None
        raise UsageError(f"`{name}`: {text.strip()!r} is no number.", _FORMS) from None
    if not value.is_finite():
        raise UsageError(f"`{name}`: {text.strip()} is no finite number.", _FORMS)
    return value


def _whole_number(text: str, name: str, what: str) -> int:
    try:
        value = int(text.strip())
    except ValueError:
        raise UsageError(f"`{name}`: {text.strip()!r} is no whole number.", f"Write {what}.") from None
    if value < 1:
        raise UsageError(f"`{name}` {value} is too small.", f"Write 1 or more {what}.")
    return value

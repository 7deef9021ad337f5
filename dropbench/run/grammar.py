"""The little languages of the command line: drop probabilities, layer widths and lists of sizes."""

from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from dropbench.errors import UsageError

Value = TypeVar("Value")

MOST_VALUES = 1000
_FORMS = "Write a value like 0.5, a list like 0,0.25,0.5, a range like 0.1..0.8 or 0.1..0.8:0.05."


def parse_probabilities(text: str, option: str = "--p") -> tuple[float, ...]:
    """Drop probabilities from ``A``, ``A..B`` (both ends included, step 0.1), ``A..B:STEP`` and comma lists.

    The values are exact decimals (0.3, never 0.30000000000000004), each once, in ascending order.

    Raises:
        UsageError: if a part is no number, lies outside [0, 1), or a range does not end on its end.

    """
    values: set[Decimal] = set()
    for part in text.split(","):
        values.update(_probability_range(part.strip(), option))
        if len(values) > MOST_VALUES:
            raise UsageError(f"{option} {text} is more than {MOST_VALUES} values.", "Take a larger step.")
    return tuple(float(value) for value in sorted(values))


def parse_probability(text: str, option: str = "--p") -> float:
    """One drop probability, for commands that take a single one."""
    return float(_probability(text.strip(), option))


def parse_layers(text: str, option: str = "--layers") -> tuple[int, ...]:
    """Widths of the hidden layers, ``1024,1024,2048``."""
    return tuple(_whole_number(part, option, "hidden units, like 1024,1024,2048") for part in text.split(","))


def parse_layer_lists(text: str, option: str = "--layers") -> tuple[tuple[int, ...], ...]:
    """One or more nets' hidden layers, divided by ``/``: ``800,800/1024,1024,1024``."""
    return tuple(dict.fromkeys(parse_layers(part, option) for part in text.split("/")))


def parse_train_sizes(text: str, option: str = "--train-size") -> tuple[int | None, ...]:
    """Numbers of training images, ``100,500,all``; ``all`` (None) is the whole training split."""
    sizes: list[int | None] = []
    for part in text.split(","):
        whole = part.strip().lower() == "all"
        sizes.append(None if whole else _whole_number(part, option, "training images, or all"))
    return tuple(dict.fromkeys(sizes))


def parse_names(text: str, option: str = "") -> tuple[str, ...]:
    """Names divided by commas, each once."""
    return tuple(dict.fromkeys(name.strip() for name in text.split(",")))


def only(values: Sequence[Value], option: str) -> Value:
    """The one value of a list, for commands that carry out one run; raises UsageError for more."""
    if len(values) != 1:
        raise UsageError(
            f"{option} has {len(values)} values.", "Write one here; dropbench sweep takes lists."
        )
    return values[0]


def _probability_range(part: str, option: str) -> list[Decimal]:
    if ".." not in part:
        return [_probability(part, option)]
    ends, _, step_text = part.partition(":")
    first_text, _, last_text = ends.partition("..")
    first, last = _probability(first_text, option), _probability(last_text, option)
    step = _number(step_text, option) if step_text else Decimal("0.1")
    if ":" in part and not step_text:
        raise UsageError(f"{option} {part} ends in a colon without a step.", _FORMS)
    if step <= 0:
        raise UsageError(f"{option} {part} has step {step}.", "Write a step above 0, like 0.1..0.8:0.05.")
    if last < first:
        raise UsageError(f"{option} {part} runs backwards.", f"Write {last}..{first}.")
    if last - first > MOST_VALUES * step:
        raise UsageError(f"{option} {part} is more than {MOST_VALUES} values.", "Take a larger step.")
    steps = (last - first) / step
    if steps != steps.to_integral_value():
        reached = first + int(steps) * step
        raise UsageError(
            f"{option} {part} never reaches {last} in steps of {step}.",
            f"Write {first}..{reached}:{step}, or give the step that fits.",
        )
    return [first + k * step for k in range(int(steps) + 1)]


def _probability(text: str, option: str) -> Decimal:
    value = _number(text, option)
    if value < 0 or float(value) >= 1:
        raise UsageError(
            f"{option} {text.strip()} is no drop probability.",
            "p is the probability of dropping a unit: at least 0 and below 1.",
        )
    return abs(value)  # -0 is 0


def _number(text: str, option: str) -> Decimal:
    try:
        value = Decimal(text.strip())
    except InvalidOperation:
        raise UsageError(f"{option}: {text.strip()!r} is no number.", _FORMS) from None
    if not value.is_finite():
        raise UsageError(f"{option}: {text.strip()} is no finite number.", _FORMS)
    return value


def _whole_number(text: str, option: str, what: str) -> int:
    try:
        value = int(text.strip())
    except ValueError:
        raise UsageError(f"{option}: {text.strip()!r} is no whole number.", f"Write {what}.") from None
    if value < 1:
        raise UsageError(f"{option} {value} is too small.", f"Write 1 or more {what}.")
    return value

"""A find in words: its title, its verdict, and a line after each look."""

import math
from collections.abc import Iterable, Sequence

from dropbench.report.apart import words_apart
from dropbench.report.find import command
from dropbench.report.find.find import Entrant, Find
from dropbench.report.find.forecast import MOST_SEEDS, forecast
from dropbench.report.find.standing import FIRST_LOOK, LEVEL
from dropbench.report.metrics import ERROR
from dropbench.report.sweep.sweep import AXES, SETTING, typed
from dropbench.run import telling
from dropbench.run.config import SETTINGS

_MOST_TOLD = 5
"""Settings that a line names; of others it says how many there are."""
_LESS = 0.9
"""The most of the best's training that is said to be less, where passes are as many."""
_NO_END = ("train_size",)
"""Settings whose largest value nobody takes for the best that there is."""


def find_title(find: Find) -> str:
    """The figure that is to be low, the model and the data, and how the runs were trained."""
    names = [name for name in (*SETTING, *AXES) if name not in find.varying]
    values, first = typed(find.fields), words_apart(find.fields)
    if "learning_rate" in find.varying:  # whose words are behind it
        names.remove("learning_rate_schedule")
        first = (*first, f"{values['learning_rate_schedule']} learning rates")
    return f"Lowest {find.metric.what} on validation: {telling.title(values, names, *first)}"


def sentences(find: Find) -> list[str]:
    """The verdict: what to use, whether that is decided, and what the race says of the others."""
    best = find.best
    if best is None:
        return [_nothing(find), *_without_result(find)]
    return [
        _of_best(find, best),
        *_decided(find, best),
        *_others(find),
        *_price(find, best),
        *_ends(find, best),
        *_few_examples(find),
        *_without_result(find),
        *_to_paste(find, best),
    ]


def look_line(find: Find, before: int = 0) -> str:
    """One line after a look: the best, what is open, what was left out after more seeds than ``before``."""
    best, race = find.best, find.race
    seeds = telling.counted(race.seeds, "seed")
    if best is None:
        return f"{seeds}: {_nothing(find)}"
    told = [f"{seeds}: best is {find.label(best)}, {_validation(find, best)}."]
    if not race.looks:
        return f"{told[0]} The first test is after {FIRST_LOOK} seeds."
    if wide := find.having("open"):
        told.append(f"Open: {listed(find, wide)}.")
    now = [each for each in find.ranked if (find.left_out(each) or 0) > before]
    if now:
        told.append(f"Left out: {_with_differences(find, now, _MOST_TOLD, with_state=True)}.")
    if race.decided:
        told.append("Decided.")
    return " ".join(told)


def listed(find: Find, entrants: Sequence[Entrant], most: int = _MOST_TOLD) -> str:
    """Entrants in words, the first ones by name: ``p_drop 0.2, 0.4`` where they differ in p alone."""
    if find.varying == ("p_drop",) and not any(each.arm for each in entrants):
        values = (SETTINGS["p_drop"].text(each.settings["p_drop"]) for each in entrants)
        return f"p_drop {telling.listed(values, most)}"
    return _shortened([find.label(each) for each in entrants], most)


def spent_words(find: Find) -> str:
    """The runs of a find, and what they took: ``27 runs, 12 minutes of training``."""
    took = f", {telling.duration(find.took)} of training" if math.isfinite(find.took) else ""
    return f"{telling.counted(len(find.run_ids), 'run')}{took}"


def amount(find: Find, value: float) -> str:
    """A difference in the metric, with its unit."""
    return f"{value:.{find.metric.digits}f} {find.metric.unit}".rstrip()


def _validation(find: Find, entrant: Entrant) -> str:
    return f"validation {find.metric.what} {find.metric.value(find.mean(entrant))}"


def _nothing(find: Find) -> str:
    """Why there is no best."""
    if len(find.having("no result")) == len(find.entrants):
        return "No run gave a result: there is nothing to choose from."
    lacking = [each for each in find.entrants if 0 not in each.val]
    return f"There is nothing to compare yet: the first seed lacks for {listed(find, lacking)}."


def _of_best(find: Find, best: Entrant) -> str:
    """The setting to use, and how good it is."""
    test, metric = find.test(best), find.metric
    for_now = "" if find.race.decided else ", as far as it is known"
    seeds = f"mean of {telling.counted(len(best.val), 'seed')}"
    start = f"Use {find.label(best)}{for_now}: {_validation(find, best)}"
    if not test.count:
        return f"{start} ({seeds}); not tested."
    interval = f" (95 % interval, {seeds})" if math.isfinite(test.low) else f" ({seeds})"
    return f"{start}, test {metric.what} {test.text(metric.digits)}{metric.suffix}{interval}."


def _decided(find: Find, best: Entrant) -> Iterable[str]:
    race, margin = find.race, amount(find, find.margin)
    if race.decided and not race.looks:
        yield "No other setting gave a result, so there is nothing to compare it with."
    elif race.decided:
        yield (
            f"Decided: no other setting is better by more than {margin}; the chance that this, or any other "
            f"statement of this race, is wrong is at most {100 * LEVEL:.0f} %."
        )
    elif not race.looks:
        yield f"Not decided: the first test is after {FIRST_LOOK} seeds, and this is after {race.seeds}."
    else:
        yield from _open(find, margin)


def _open(find: Find, margin: str) -> Iterable[str]:
    """The settings that are open, and the training that would decide."""
    wide = sorted(find.having("open"), key=find.gain, reverse=True)
    gains = [find.gain(each) for each in wide]
    known = [
        f"{find.label(each)} (by up to {_above(find, gain)})"
        for each, gain in zip(wide, gains, strict=True)
        if math.isfinite(gain)
    ]
    unknown = [each for each, gain in zip(wide, gains, strict=True) if not math.isfinite(gain)]
    if known:
        be = _shortened(known, _MOST_TOLD)
        yield f"Not decided. Perhaps better by more than {margin}: {be}."
    if unknown:
        yield f"Not decided. Not told apart at all yet: {listed(find, unknown)}."
    more = forecast(find)
    if more is None:
        yield (
            f"Fewer than {MOST_SEEDS:,} seeds would hardly decide it, if what comes is like what was; a "
            "larger `within` would."
        )
        return
    took = f", {telling.duration(more.seconds)} of training" if math.isfinite(more.seconds) else ""
    yield (
        f"Roughly {telling.counted(more.seeds, 'seed')} more would decide it, if what comes is like what "
        f"was: {telling.counted(more.runs, 'run')}{took}."
    )


def _above(find: Find, gain: float) -> str:
    """A gain in figures that show that it is above what does not matter."""
    digits = find.metric.digits
    alike = f"{gain:.{digits}f}" == f"{find.margin:.{digits}f}"
    return f"{gain:.{digits + 2 * alike}f}"


def _others(find: Find) -> Iterable[str]:
    margin = amount(find, find.margin)
    for state, words in (
        ("worse", f"Worse beyond doubt, by more than {margin}"),
        ("behind", "Worse than one that may be the best"),
        ("as good", f"As good, within {margin} to either side"),
        ("no better", f"No better by more than {margin}, and perhaps worse"),
    ):
        if found := [each for each in find.ranked if find.state(each) == state]:
            yield f"{words}: {_with_differences(find, found)}."


def _with_differences(
    find: Find, entrants: Sequence[Entrant], most: int = 1_000, with_state: bool = False
) -> str:
    """Entrants with how far they are above the best."""
    told = []
    for each in entrants:
        above, state = find.difference(each), find.state(each)
        shown = above.text(find.metric.digits, signed=True)
        told_state = (
            f"{state}, " if with_state and not math.isnan(above.mean) else state if with_state else ""
        )
        value = "" if math.isnan(above.mean) else f"{shown} {find.metric.unit}".rstrip()
        told.append(f"{find.label(each)} ({told_state}{value})")
    return _shortened(told, most)


def _shortened(words: Sequence[str], most: int) -> str:
    """Words that may have commas, the first ones of them."""
    more = len(words) - most
    return "; ".join(words[:most]) + (f" and {more:,} more" if more > 0 else "")


def _price(find: Find, best: Entrant) -> Iterable[str]:
    """The cost of several nets or passes beside one, and the settings that are as good for less."""
    singles = [each for each in find.entrants if not each.arm and math.isfinite(find.difference(each).mean)]
    single = min(singles, key=lambda each: find.difference(each).mean, default=None)
    if best.arm and single is not None:
        above = find.difference(single).text(find.metric.digits, signed=True)
        yield (
            f"It costs {_times(best.training, single.training)} the training and "
            f"{_passes(best.passes)} a prediction, beside one of the best single net, "
            f"{find.label(single)} ({f'{above} {find.metric.unit}'.rstrip()})."
        )
    cheaper = [
        each
        for each in find.having("as good")
        if each.passes <= best.passes and each.training <= best.training
        if each.passes < best.passes or each.training <= _LESS * best.training
    ]
    if cheaper:
        told = [
            f"{find.label(each)} ({_times(each.training, best.training)} its training, {each.passes} of its "
            f"{_passes(best.passes)})"
            for each in cheaper
        ]
        yield f"As good for less: {_shortened(told, _MOST_TOLD)}."


def _passes(number: int) -> str:
    return "1 forward pass" if number == 1 else f"{number:,} forward passes"


def _times(cost: float, of: float) -> str:
    """How many times as much."""
    return f"{cost / of:.2g}×" if math.isfinite(cost) and of > 0 else "an unknown part of"


def _ends(find: Find, best: Entrant) -> Iterable[str]:
    """Where the best is at an end of what was tried."""
    alike = [each for each in find.entrants if each.arm == best.arm]
    for name in find.varying:
        setting, value = SETTINGS[name], best.settings[name]
        values = {each.settings[name] for each in alike} - {None}
        if not setting.is_number or name in _NO_END or value is None or len(values) < 2:
            continue
        end = "largest" if value == max(values) else "smallest" if value == min(values) and value else ""
        if end:
            yield (
                f"{setting.text(value)} is the {end} {setting.title} that was tried: a better one may lie "
                "beyond."
            )


def _few_examples(find: Find) -> Iterable[str]:
    """Where one validation example weighs more than what does not matter."""
    count = find.validation_examples
    if find.metric == ERROR and count > 0 and 100 / count > find.margin:
        yield (
            f"There are only {count:,.0f} validation examples: one of them is {amount(find, 100 / count)}, "
            f"and {amount(find, find.margin)} are told by many seeds alone."
        )


def _without_result(find: Find) -> Iterable[str]:
    if lost := find.having("no result"):
        told = [f"{find.label(each)}{f' ({each.message})' if each.message else ''}" for each in lost]
        yield f"Without a result, and left out: {_shortened(told, _MOST_TOLD)}."


def _to_paste(find: Find, best: Entrant) -> Iterable[str]:
    """The best for the command line, and for code."""
    whole = command.arm_command(find, best)
    yield f"To make it: {whole}" if whole else f"For dropbench train or sweep: {command.flags(find, best)}"
    if best.in_code:
        yield f"In your own code: {best.in_code}"

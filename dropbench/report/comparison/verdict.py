"""The verdict of a comparison, in words: effect, interval, seeds and cost."""

import math
from collections.abc import Iterable, Sequence

from dropbench.catalog.arms import ARMS
from dropbench.report.comparison.comparison import ArmDifference, Comparison

_SIGNIFICANT = 0.05
_SEEN = (1.960 + 0.842) / 1.960
"""Normal quantiles: a difference seen with a chance of 80 %, in half-widths of the 95 % interval."""
_AGAIN = "run the command again"


def verdict(comparison: Comparison) -> tuple[str, ...]:
    """Sentences: the headline pair with its cost, its test on the test examples, and the other arms."""
    headline = comparison.headline
    if headline is None or comparison.reference not in comparison.arms:
        return ("There is nothing to compare with dropout: see what is left out.",)
    of_headline = comparison.difference(headline)
    if of_headline is None:
        return ("No seed has members of both arms: see what is left out.",)
    sentences = [f"{_effect(comparison, headline, of_headline)}, for {_cost(comparison, headline)}."]
    if of_headline.mcnemar:
        sentences.append(_mcnemar(of_headline))
    others = [arm for arm in comparison.arms if arm not in (headline, comparison.reference)]
    return (*sentences, *_others(comparison, others))


def _effect(comparison: Comparison, arm: str, difference: ArmDifference) -> str:
    estimate = difference.estimate
    name = _phrase(comparison, arm)
    subject = f"{name[0].upper()}{name[1:]}"
    seeds = len(difference.seeds)
    scope = f"over {seeds} seeds" if seeds > 1 else f"with the nets of seed {difference.seeds[0]} alone"
    reference = _reference(comparison)
    what, digits = comparison.metric.what, comparison.metric.digits
    amount = f"{abs(estimate.mean):.{digits}f}{_unit(comparison)}"
    if math.isnan(estimate.low):
        sign = "less" if estimate.mean < 0 else "more"
        return (
            f"{subject} has {amount} {sign} {what} than {reference} ({scope}, and without an interval: "
            f"{_AGAIN})"
        )
    if not estimate.excludes_zero:
        unseen = f"{_unseen(difference):.{digits}f}{_unit(comparison)}"
        return (
            f"{subject} is not told apart from {reference} in {what} ({_in_units(comparison, difference)}, "
            f"{scope}; differences under {unseen} would not have been seen)"
        )
    verb = "lowers" if estimate.mean < 0 else "raises"
    low, high = sorted((abs(estimate.low), abs(estimate.high)))
    return (
        f"{subject} {verb} the {what} by {amount} [{low:.{digits}f}, {high:.{digits}f}] against {reference} "
        f"({scope})"
    )


def _unseen(difference: ArmDifference) -> float:
    """The difference that an interval of this width excludes 0 for with a chance of 80 %."""
    return (difference.estimate.high - difference.estimate.low) / 2 * _SEEN


def _phrase(comparison: Comparison, arm: str) -> str:
    return ARMS[arm].phrase.format(members=comparison.count(arm) if ARMS[arm].is_ensemble else "")


def _reference(comparison: Comparison) -> str:
    """Dropout, as the other sentences call it."""
    return "Monte-Carlo dropout" if ARMS[comparison.reference].monte_carlo else "dropout"


def _in_units(comparison: Comparison, difference: ArmDifference) -> str:
    return f"{difference.estimate.text(comparison.metric.digits, signed=True)}{_unit(comparison)}"


def _unit(comparison: Comparison) -> str:
    """The unit of a difference, as it stands after a figure."""
    return f" {comparison.metric.unit}".rstrip()


def _cost(comparison: Comparison, arm: str) -> str:
    """The cost of an arm, as multiples of the reference's."""
    ours, theirs = (comparison.fullest(each) for each in (arm, comparison.reference))
    parts = []
    for column, what in (("train_flops", "training"), ("prediction_flops", "inference")):
        parts.append(f"{ours[column].mean() / theirs[column].mean():.1f}× the {what}")
    return " and ".join(parts)


def _mcnemar(difference: ArmDifference) -> str:
    below = sum(p < _SIGNIFICANT for p in difference.mcnemar)
    values = ", ".join(f"{p:.2g}" for p in difference.mcnemar)
    examples = f"{difference.test_examples:,} test examples"
    if len(difference.mcnemar) == 1:
        return f"McNemar's exact test on the {examples}, seed {difference.seeds[0]}: p = {values}."
    return (
        f"McNemar's exact test on the {examples} has p < {_SIGNIFICANT:g} in {below} of "
        f"{len(difference.mcnemar)} seeds (p = {values})."
    )


def _others(comparison: Comparison, arms: Sequence[str]) -> Iterable[str]:
    found = {arm: difference for arm in arms if (difference := comparison.difference(arm)) is not None}
    # Without any spread it is the same net, as the first member of an ensemble is.
    found = {arm: d for arm, d in found.items() if (d.estimate.low, d.estimate.high) != (0, 0)}
    reference, metric = _reference(comparison), comparison.metric.what
    for what, chosen in (
        (f"Lower in {metric} than {reference}", [a for a, d in found.items() if d.estimate.high < 0]),
        (f"Higher in {metric} than {reference}", [a for a, d in found.items() if d.estimate.low > 0]),
        (
            f"Not told apart from {reference}",
            [a for a, d in found.items() if d.estimate.low <= 0 <= d.estimate.high],
        ),
        (f"Without an interval ({_AGAIN})", [a for a, d in found.items() if math.isnan(d.estimate.low)]),
    ):
        if chosen:
            named = (f"{_phrase(comparison, arm)} ({_in_units(comparison, found[arm])})" for arm in chosen)
            yield f"{what}: {'; '.join(named)}."

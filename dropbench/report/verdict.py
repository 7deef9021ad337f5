"""What a comparison of arms says, in words: effect, interval and cost."""

from collections.abc import Iterable, Sequence

from dropbench.arms import ARMS, REFERENCE
from dropbench.report.bagging import Comparison, Difference

_SIGNIFICANT = 0.05


def verdict(comparison: Comparison) -> tuple[str, ...]:
    """Sentences: the headline pair with its cost, its test on the test images, and the other arms."""
    headline = comparison.headline
    if headline is None or REFERENCE not in comparison.arms:
        return ("There is nothing to compare with dropout: see what is left out.",)
    of_headline = comparison.differences.get((headline, "error_percent"))
    if of_headline is None:
        return ()
    sentences = [f"{_effect(comparison, headline, of_headline)}, for {_cost(comparison, headline)}."]
    if of_headline.mcnemar:
        sentences.append(_mcnemar(of_headline))
    others = [arm for arm in comparison.arms if arm not in (headline, REFERENCE)]
    sentences += list(_others(comparison, others))
    return tuple(sentences)


def _effect(comparison: Comparison, arm: str, difference: Difference) -> str:
    estimate = difference.estimate
    name = _name(comparison, arm)
    if not estimate.excludes_zero:
        return f"{name} is not distinguishable from dropout in error ({_points(difference)})"
    verb = "lowers" if estimate.mean < 0 else "raises"
    low, high = sorted((abs(estimate.low), abs(estimate.high)))
    return (
        f"{name} {verb} the error by {abs(estimate.mean):.2f} points [{low:.2f}, {high:.2f}] against dropout"
    )


def _name(comparison: Comparison, arm: str) -> str:
    """Bagging of 5, with a capital letter."""
    title = ARMS[arm].title
    kind = ARMS[arm]
    if arm == "bagging":
        return f"Bagging of {comparison.fields['members']:.0f}"
    count = f" of {comparison.fields['members']:.0f}" if kind.averages else ""
    return f"{title[0].upper()}{title[1:]}{count}"


def _points(difference: Difference) -> str:
    return f"{difference.estimate.text(signed=True)} points"


def _cost(comparison: Comparison, arm: str) -> str:
    """What the arm takes, as multiples of what dropout takes."""
    parts = []
    for column, what in (("train_flops", "training"), ("prediction_flops", "inference")):
        ours, theirs = (comparison.fullest(each)[column].mean() for each in (arm, REFERENCE))
        parts.append(f"{ours / theirs:.1f}× the {what}")
    return " and ".join(parts)


def _mcnemar(difference: Difference) -> str:
    below = sum(p < _SIGNIFICANT for p in difference.mcnemar)
    values = ", ".join(f"{p:.2g}" for p in difference.mcnemar)
    if len(difference.mcnemar) == 1:
        return f"McNemar's exact test on its {difference.test_images:,} test images: p = {values}."
    return (
        f"McNemar's exact test on the {difference.test_images:,} test images has p < {_SIGNIFICANT:g} "
        f"in {below} of {len(difference.mcnemar)} seeds (p = {values})."
    )


def _others(comparison: Comparison, arms: Sequence[str]) -> Iterable[str]:
    found = {
        arm: difference
        for arm in arms
        if (difference := comparison.differences.get((arm, "error_percent"))) is not None
    }
    for what, chosen in (
        ("Lower in error than dropout", [a for a, d in found.items() if d.estimate.high < 0]),
        ("Higher in error than dropout", [a for a, d in found.items() if d.estimate.low > 0]),
        ("Not distinguishable from it", [a for a, d in found.items() if not d.estimate.excludes_zero]),
    ):
        if chosen:
            named = (f"{ARMS[arm].title} ({_points(found[arm])})" for arm in chosen)
            yield f"{what}: {'; '.join(named)}."

"""The diagnosis of a setting by its training and its test error; docs/statistics.md has the rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropbench.report.metrics import ERROR, RMSE, Metric
from dropbench.report.significance import test_examples_needed
from dropbench.report.statistics import mean_interval
from dropbench.report.sweep.sweep import Setting, Sweep, mean_of
from dropbench.report.table import Row
from dropbench.run.blocks.data import REGRESSION
from dropbench.run.blocks.model import HE

OVERFITS, UNDERFITS, NO_GAP, NOT_LEARNT = "overfits", "underfits", "no gap", "not learnt"
NEAR_0 = 0.1
"""A training error of at most this share of the test error is near 0."""
CLOSE = 0.5
"""From this share of the test error on, a training error is close to it."""
FAR_ABOVE = 0.25
"""A training error is far above the reference's by this share of the reference's test error, or more."""
LITTLE = 0.1
"""A gap of at most this share of the test error is none."""
FEW_EXAMPLES = 5
"""A gap of fewer test examples is none, either."""
HALF = 50.0
"""A net with this training error in percent, or more, has not learnt its training examples."""
_MOST_TIMES = 100
"""How many times as many test examples are still worth telling."""


@dataclass(frozen=True)
class Fit:
    """The errors of a setting on training examples, with dropout off, and on test examples.

    They are in ``metric``: the error in percent, or the RMSE of a regression. Of the latter the squares are
    compared, which are means over the examples as errors are; the unit of the target then has no say.
    """

    train: float
    test: float
    examples: float = 10_000
    """Test examples."""
    metric: Metric = ERROR

    @property
    def means(self) -> tuple[float, float]:
        """The two figures that are compared: the training and the test error, or their squares."""
        power = 2 if self.metric.of_target else 1
        return self.train**power, self.test**power

    @property
    def gap(self) -> float:
        """How far the test error is above the training error."""
        return self.test - self.train

    def said(self, error: float) -> str:
        """One of the errors in words."""
        return f"{self.metric.what} {self.metric.value(error)}"


def fit_of(sweep: Sweep, setting: Setting) -> Fit | None:
    """The mean errors over the seeds that have both; None where no training error was recorded."""
    metric = RMSE if sweep.task == REGRESSION else ERROR
    both = [split[metric.column] for split in (setting.train, setting.test)]
    seeds = both[0].keys() & both[1].keys()
    if not seeds:
        return None
    train, test = (mean_of({seed: split[seed] for seed in seeds}) for split in both)
    return Fit(train, test, setting.examples["test"], metric.fitted([test]))


def diagnosis(fit: Fit | None, dropless: Fit | None) -> str:
    """One of OVERFITS, UNDERFITS, NO_GAP, NOT_LEARNT, or nothing; ``dropless`` is of the net without dropout.

    - UNDERFITS: the net without dropout has learnt its training examples, and this one has not, or not as
      well: its training error is close to its test error and far above the other's, and its test error is
      above the other's, too.
    - NOT_LEARNT: the training error is half of the examples or more, and dropout is not known to be the
      cause. A squared error has no such bound.
    - NO_GAP: the test error is hardly above the training error; what dropout could close is not there.
    - OVERFITS: the training error is near 0, and the test error is not.
    """
    if fit is None:
        return ""
    train, test = fit.means
    counts = not fit.metric.of_target
    if dropless is not None and fit != dropless:
        its_train, its_test = dropless.means
        learnt = its_train < CLOSE * its_test and not (counts and its_train >= HALF)
        far = train - its_train >= FAR_ABOVE * its_test
        if learnt and train >= CLOSE * test and far and test > its_test:
            return UNDERFITS
    if counts and train >= HALF:
        return NOT_LEARNT
    if test - train <= LITTLE * test or (counts and fit.gap * fit.examples < 100 * FEW_EXAMPLES):
        return NO_GAP
    return OVERFITS if train <= NEAR_0 * test else ""


def diagnoses(sweep: Sweep, settings: Sequence[Setting]) -> dict[int, str]:
    """The diagnosis of each of the settings of one net, by its id."""
    fits = {id(setting): fit_of(sweep, setting) for setting in settings}
    dropless = next((fits[id(setting)] for setting in settings if setting.drops_nothing), None)
    return {number: diagnosis(fit, dropless) for number, fit in fits.items()}


def fit_cells(sweep: Sweep, setting: Setting, diagnosed: str) -> Row:
    """The sweep's metric on training examples, how far the test examples are above it, and the diagnosis."""
    train, test = sweep.train(setting), sweep.test(setting)
    both = train.keys() & test.keys()
    estimate = mean_interval(list(train.values()), sweep.scale("train", setting))
    return {
        **estimate.cells(f"train_{sweep.metric.column}"),
        "gap": mean_of({seed: test[seed] - train[seed] for seed in both}),
        "diagnosis": diagnosed,
        "_train": estimate,
    }


def diagnosis_sentences(sweep: Sweep, settings: Sequence[Setting]) -> list[str]:
    """Sentences on what the net without dropout and the others suffer from, and what helps."""
    if len(settings) < 2:
        return []
    found = diagnoses(sweep, settings)
    sentences = []
    for setting in settings:
        fit = fit_of(sweep, setting)
        if fit is None or not setting.drops_nothing:
            continue
        if found[id(setting)] == OVERFITS:
            sentences.append(
                f"Without dropout the net overfits: {fit.said(fit.train)} on its training examples, "
                f"{fit.metric.value(fit.test)} on the test examples. There is something to regularise."
            )
        elif found[id(setting)] == NOT_LEARNT:
            sentences.append(
                f"Without dropout the net has not learnt its training examples ({fit.said(fit.train)}): more "
                "epochs or another learning rate come before p."
            )
        elif found[id(setting)] == NO_GAP and not _beaten(fit, sweep, settings):
            sentences.append(
                f"Without dropout the net is hardly worse on the test examples ({fit.said(fit.test)}) than "
                f"on its training examples ({fit.metric.value(fit.train)}): there is nothing to regularise."
            )
    suffering = [setting for setting in settings if found[id(setting)] == UNDERFITS]
    if suffering:
        errors = "; ".join(
            f"{sweep.label(setting)} ({fit.said(fit.train)} on training examples, "
            f"{fit.metric.value(fit.test)} on test)"
            for setting in suffering
            if (fit := fit_of(sweep, setting)) is not None
        )
        start = ", --init corrected" if any(setting.axes["init"] == HE for setting in suffering) else ""
        sentences.append(
            f"The net underfits, even its training examples, at {errors}: more epochs, another learning "
            f"rate, more units (--widen){start} or a smaller p may help."
        )
    return [*sentences, *_too_few_examples(sweep, settings)]


def _beaten(fit: Fit, sweep: Sweep, settings: Sequence[Setting]) -> bool:
    """Whether another setting has an error so much lower that there is something that dropout does."""
    others = (fit_of(sweep, setting) for setting in settings)
    return any(other is not None and other.means[1] < (1 - FAR_ABOVE) * fit.means[1] for other in others)


def _too_few_examples(sweep: Sweep, settings: Sequence[Setting]) -> Iterator[str]:
    """Whether the test examples are too few to tell the error of the best setting from the reference's."""
    best = sweep.best(settings)
    reference = None if best is None else sweep.reference(best)
    if sweep.metric != ERROR or best is None or reference is None or reference is best:
        return
    seeds = sweep.test(best).keys() & sweep.test(reference).keys()
    if len(seeds) < 2:
        return
    errors = [mean_of({seed: sweep.test(each)[seed] for seed in seeds}) for each in (best, reference)]
    examples, needed = best.examples["test"], test_examples_needed(*errors)
    if examples < needed <= _MOST_TIMES * examples:
        yield (
            f"{examples:,.0f} test examples are few for a difference of {abs(errors[0] - errors[1]):.2f} "
            f"points: on others it may be another. About {_rounded(needed):,} would tell."
        )


def _rounded(count: int) -> int:
    """A count to two digits."""
    return round(count, 2 - len(str(count)))

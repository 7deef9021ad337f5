"""The diagnosis of a setting by its training and its test error; docs/statistics.md has the rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropbench.report.metrics import ERROR
from dropbench.report.significance import test_images_needed
from dropbench.report.statistics import mean_interval
from dropbench.report.sweep.sweep import Setting, Sweep, mean_of
from dropbench.report.table import Row

OVERFITS, UNDERFITS, NO_GAP = "overfits", "underfits", "no gap"
NEAR_0 = 0.1
"""A training error of at most this share of the test error is near 0."""
CLOSE = 0.5
"""From this share of the test error on, a training error is close to it."""
FAR_ABOVE = 0.25
"""A training error is far above the reference's by this share of the reference's test error, or more."""
LITTLE = 0.1
"""A gap of at most this share of the test error is none."""


@dataclass(frozen=True)
class Fit:
    """The errors of a setting on training images, with dropout off, and on test images, in percent."""

    train: float
    test: float

    @property
    def gap(self) -> float:
        """How far the test error is above the training error, in points."""
        return self.test - self.train


def fit_of(setting: Setting) -> Fit | None:
    """The mean errors over the seeds that have both; None where no training error was recorded."""
    column = ERROR.column
    seeds = setting.train[column].keys() & setting.test[column].keys()
    if not seeds:
        return None
    train, test = ({seed: split[column][seed] for seed in seeds} for split in (setting.train, setting.test))
    return Fit(mean_of(train), mean_of(test))


def diagnosis(fit: Fit | None, reference: Fit | None) -> str:
    """One of OVERFITS, UNDERFITS, NO_GAP, or nothing; ``reference`` is the net without dropout.

    - OVERFITS: the training error is near 0, and the test error is not.
    - UNDERFITS: the training error is close to the test error and far above the reference's, and the test
      error is above the reference's, too.
    - NO_GAP: the test error is hardly above the training error; what dropout could close is not there.
    """
    if fit is None or fit.test <= 0:
        return ""
    if reference is not None and fit != reference:
        close = fit.train >= CLOSE * fit.test
        far = fit.train - reference.train >= FAR_ABOVE * reference.test
        if close and far and fit.test > reference.test:
            return UNDERFITS
    if fit.gap <= LITTLE * fit.test:
        return NO_GAP
    return OVERFITS if fit.train <= NEAR_0 * fit.test else ""


def diagnoses(sweep: Sweep, settings: Sequence[Setting]) -> dict[int, str]:
    """The diagnosis of each of the settings of one net, by its id."""
    fits = {id(setting): fit_of(setting) for setting in settings}
    return {
        id(setting): diagnosis(fits[id(setting)], None if reference is None else fits.get(id(reference)))
        for setting in settings
        for reference in [sweep.reference(setting)]
    }


def fit_cells(sweep: Sweep, setting: Setting, diagnosed: str) -> Row:
    """The sweep's metric on training images, how far the test images are above it, and the diagnosis."""
    train, test = sweep.train(setting), sweep.test(setting)
    both = train.keys() & test.keys()
    estimate = mean_interval(list(train.values()), sweep.scale("train"))
    return {
        **estimate.cells(f"train_{sweep.metric.column}"),
        "gap": mean_of({seed: test[seed] - train[seed] for seed in both}),
        "diagnosis": diagnosed,
        "_train": estimate,
    }


def diagnosis_sentences(sweep: Sweep, settings: Sequence[Setting]) -> list[str]:
    """What the net without dropout and the others suffer from, and what helps, in sentences."""
    if len(settings) < 2:
        return []
    found = diagnoses(sweep, settings)
    sentences = []
    for setting in settings:
        fit = fit_of(setting)
        if fit is None or not setting.drops_nothing:
            continue
        if found[id(setting)] == OVERFITS:
            sentences.append(
                f"Without dropout the net overfits: {fit.train:.2f} % error on its training images, "
                f"{fit.test:.2f} % on the test images. There is something to regularise."
            )
        elif found[id(setting)] == NO_GAP:
            sentences.append(
                f"Without dropout the net has hardly more error on the test images ({fit.test:.2f} %) than "
                f"on its training images ({fit.train:.2f} %): there is nothing to regularise. Train longer, "
                "or take a larger net."
            )
    suffering = [setting for setting in settings if found[id(setting)] == UNDERFITS]
    if suffering:
        errors = "; ".join(
            f"{sweep.label(setting)} ({fit.train:.2f} % error on training images, {fit.test:.2f} % on test)"
            for setting in suffering
            if (fit := fit_of(setting)) is not None
        )
        sentences.append(
            f"Too much dropout, so that the net underfits, at {errors}: give it more epochs, more units "
            "(--widen) or a smaller p."
        )
    return [*sentences, *_too_few_images(sweep, settings)]


def _too_few_images(sweep: Sweep, settings: Sequence[Setting]) -> Iterator[str]:
    """Whether the test images are too few to tell the error of the best setting from the reference's."""
    best = sweep.best(settings)
    reference = None if best is None else sweep.reference(best)
    if sweep.metric != ERROR or best is None or reference is None or reference is best:
        return
    errors = [mean_of(sweep.test(setting)) for setting in (best, reference)]
    images, needed = best.images["test"], test_images_needed(*errors)
    if images < needed:
        yield (
            f"{images:,.0f} test images are few for a difference of {abs(errors[0] - errors[1]):.2f} points: "
            f"other images may show another. About {_rounded(needed):,} would tell."
        )


def _rounded(count: int) -> int:
    """A count to two digits."""
    return round(count, 2 - len(str(count)))

"""The diagnosis of a setting by its training and its test error; docs/statistics.md has the rules."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dropbench.report.metrics import ERROR
from dropbench.report.significance import test_images_needed
from dropbench.report.statistics import mean_interval
from dropbench.report.sweep.sweep import Setting, Sweep, mean_of
from dropbench.report.table import Row
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
FEW_IMAGES = 5
"""A gap of fewer test images is none, either."""
HALF = 50.0
"""A net with this training error in percent, or more, has not learnt its training images."""
_MOST_TIMES = 100
"""How many times as many test images are still worth telling."""


@dataclass(frozen=True)
class Fit:
    """The errors of a setting on training images, with dropout off, and on test images, in percent."""

    train: float
    test: float
    images: float = 10_000
    """Test images."""

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
    return Fit(mean_of(train), mean_of(test), setting.images["test"])


def diagnosis(fit: Fit | None, dropless: Fit | None) -> str:
    """One of OVERFITS, UNDERFITS, NO_GAP, NOT_LEARNT, or nothing; ``dropless`` is of the net without dropout.

    - UNDERFITS: the net without dropout has learnt its training images, and this one has not, or not as well:
      its training error is close to its test error and far above the other's, and its test error is above
      the other's, too.
    - NOT_LEARNT: the training error is half of the images or more, and dropout is not known to be the cause.
    - NO_GAP: the test error is hardly above the training error; what dropout could close is not there.
    - OVERFITS: the training error is near 0, and the test error is not.
    """
    if fit is None:
        return ""
    if dropless is not None and fit != dropless and dropless.train < min(HALF, CLOSE * dropless.test):
        close = fit.train >= CLOSE * fit.test
        far = fit.train - dropless.train >= FAR_ABOVE * dropless.test
        if close and far and fit.test > dropless.test:
            return UNDERFITS
    if fit.train >= HALF:
        return NOT_LEARNT
    if fit.gap <= LITTLE * fit.test or fit.gap * fit.images < 100 * FEW_IMAGES:
        return NO_GAP
    return OVERFITS if fit.train <= NEAR_0 * fit.test else ""


def diagnoses(settings: Sequence[Setting]) -> dict[int, str]:
    """The diagnosis of each of the settings of one net, by its id."""
    fits = {id(setting): fit_of(setting) for setting in settings}
    dropless = next((fits[id(setting)] for setting in settings if setting.drops_nothing), None)
    return {number: diagnosis(fit, dropless) for number, fit in fits.items()}


def fit_cells(sweep: Sweep, setting: Setting, diagnosed: str) -> Row:
    """The sweep's metric on training images, how far the test images are above it, and the diagnosis."""
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
    found = diagnoses(settings)
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
        elif found[id(setting)] == NOT_LEARNT:
            sentences.append(
                f"Without dropout the net has not learnt its training images ({fit.train:.2f} % error): more "
                "epochs or another learning rate come before p."
            )
        elif found[id(setting)] == NO_GAP and not _beaten(fit, settings):
            sentences.append(
                f"Without dropout the net has hardly more error on the test images ({fit.test:.2f} %) than "
                f"on its training images ({fit.train:.2f} %): there is nothing to regularise."
            )
    suffering = [setting for setting in settings if found[id(setting)] == UNDERFITS]
    if suffering:
        errors = "; ".join(
            f"{sweep.label(setting)} ({fit.train:.2f} % error on training images, {fit.test:.2f} % on test)"
            for setting in suffering
            if (fit := fit_of(setting)) is not None
        )
        start = ", --init corrected" if any(setting.axes["init"] == HE for setting in suffering) else ""
        sentences.append(
            f"The net underfits, even its training images, at {errors}: more epochs, another learning rate, "
            f"more units (--widen){start} or a smaller p may help."
        )
    return [*sentences, *_too_few_images(sweep, settings)]


def _beaten(fit: Fit, settings: Sequence[Setting]) -> bool:
    """Whether another setting has an error so much lower that there is something that dropout does."""
    others = (fit_of(setting) for setting in settings)
    return any(other is not None and other.test < (1 - FAR_ABOVE) * fit.test for other in others)


def _too_few_images(sweep: Sweep, settings: Sequence[Setting]) -> Iterator[str]:
    """Whether the test images are too few to tell the error of the best setting from the reference's."""
    best = sweep.best(settings)
    reference = None if best is None else sweep.reference(best)
    if sweep.metric != ERROR or best is None or reference is None or reference is best:
        return
    seeds = sweep.test(best).keys() & sweep.test(reference).keys()
    if len(seeds) < 2:
        return
    errors = [mean_of({seed: sweep.test(each)[seed] for seed in seeds}) for each in (best, reference)]
    images, needed = best.images["test"], test_images_needed(*errors)
    if images < needed <= _MOST_TIMES * images:
        yield (
            f"{images:,.0f} test images are few for a difference of {abs(errors[0] - errors[1]):.2f} points: "
            f"on other images it may be another. About {_rounded(needed):,} would tell."
        )


def _rounded(count: int) -> int:
    """A count to two digits."""
    return round(count, 2 - len(str(count)))

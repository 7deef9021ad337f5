"""A sweep as a table, and what it says in words."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from dropbench.report.significance import LEVEL, MEANINGFUL, POWER, PairedTest, paired_tests
from dropbench.report.statistics import ENOUGH_SEEDS, mean_interval
from dropbench.report.sweep.figures import error_figure
from dropbench.report.sweep.sweep import AXES, Setting, Sweep, axis_columns, axis_text, mean_of, sweep_title
from dropbench.report.table import Column, Row, Table, number, p_text
from dropbench.run.telling import counted

_MANY_SEEDS = 1000


SORTS = {
    "p": "as swept",
    "val": "lowest on validation first",
    "test": "lowest on test first",
    "difference": "lowest difference to the reference first",
}


def sweep_table(sweep: Sweep, sort: str = "p") -> Table:
    """The metric against p: mean and interval of every setting, its difference to the reference, and tests.

    ``sort`` is one of SORTS.

    Tests are corrected for the settings of one net, which are a family: net means here layers, tying and
    training size.
    """
    verdict: list[str] = []
    by_setting: dict[int, Row] = {}
    for settings in sweep.nets:
        found = _Net(sweep, settings)
        by_setting |= {id(setting): found.row(setting) for setting in settings}
        verdict += found.verdict(several=len(sweep.nets) > 1)
    rows = _sorted([by_setting[id(setting)] for setting in sweep.settings], sort)
    metric = sweep.metric
    learned = any(setting.learned_p_drop for setting in sweep.settings)
    several = len(sweep.settings) > 1
    what = metric.label.partition(",")[0]
    columns = (
        *axis_columns(sweep),
        *(
            [Column("learned\np_drop", lambda row: axis_text(round(row["learned_p_drop"], 3)))]
            if learned
            else []
        ),
        Column("seeds", lambda row: str(row["seeds"])),
        Column(f"val\n{metric.label.replace(',', '')}", _validation(metric.digits)),
        Column(f"test {metric.label}\n[95 % interval]", lambda row: row["_test"].text(metric.digits)),
        *(
            (
                Column(f"paired difference to\n{_reference_name(sweep)} [95 %]", _difference(metric.digits)),
                Column("P(bet-\nter)", number("p_better", ".2f")),
                Column("p,\nHolm", lambda row: p_text(row["p_value_holm"])),
            )
            if several
            else ()
        ),
    )
    title = f"{what[0].upper()}{what[1:]} against p: {sweep_title(sweep)}"
    return Table(
        "sweep",
        title,
        columns,
        tuple(rows),
        tuple(_notes(sweep)),
        tuple(verdict),
        partial(error_figure, sweep),
    )


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    """Rows without the figure come last."""
    if sort == "p":
        return rows
    name = {"val": "_val", "test": "_test", "difference": "_difference"}[sort]
    means = {id(row): row[name].mean for row in rows}
    return sorted(rows, key=lambda row: (math.isnan(means[id(row)]), means[id(row)]))


class _Net:
    """The settings of one net and training size, with their tests."""

    def __init__(self, sweep: Sweep, settings: Sequence[Setting]) -> None:
        self.sweep = sweep
        self.settings = settings
        self.best = sweep.best(settings)
        references = [(setting, sweep.reference(setting)) for setting in settings]
        pairs = [
            (s, r) for s, r in references if r is not None and r is not s and sweep.test(s) and sweep.test(r)
        ]
        self.references = {id(setting): reference for setting, reference in references}
        self.tests = self._tests(pairs)
        rivals = [
            (s, self.best) for s in settings if self.best is not None and s is not self.best and sweep.test(s)
        ]
        self.to_best = self._tests(rivals)

    def _tests(self, pairs: Sequence[tuple[Setting, Setting]]) -> dict[int, PairedTest]:
        found = paired_tests([(self.sweep.test(one), self.sweep.test(other)) for one, other in pairs])
        return {id(setting): test for (setting, _), test in zip(pairs, found, strict=True)}

    def as_good(self, setting: Setting) -> bool:
        """Whether a test does not tell a setting from the best; without one, whether it is the same."""
        test = self.to_best.get(id(setting))
        if test is None or math.isnan(test.p_holm):
            return setting is self.best or (test is not None and test.same)
        return not test.significant

    def row(self, setting: Setting) -> Row:
        sweep = self.sweep
        test = mean_interval(list(sweep.test(setting).values()))
        val = mean_interval(list(sweep.val(setting).values()))
        tested = self.tests.get(id(setting))
        difference = mean_interval([]) if tested is None else tested.difference
        column = sweep.metric.column
        return {
            **{axis: setting.axes[axis] for axis in AXES},
            "p_keep": round(1 - setting.axes["p_drop"], 12),
            "seeds": test.count,
            "diverged_runs": len(setting.diverged),
            "failed_runs": len(setting.failed),
            "learned_p_drop": mean_of(setting.learned_p_drop),
            **val.cells(f"val_{column}"),
            **test.cells(f"test_{column}"),
            **difference.cells("difference_to_reference"),
            "p_value": math.nan if tested is None else tested.p,
            "p_value_holm": math.nan if tested is None else tested.p_holm,
            "p_better": math.nan if tested is None else tested.p_better,
            "smallest_effect": math.nan if tested is None else tested.smallest_effect,
            **{f"test_{name}": mean_of(by_seed) for name, by_seed in setting.test.items() if name != column},
            "best": setting is self.best,
            "as_good_as_best": self.as_good(setting),
            "reference": self.references[id(setting)] is setting,
            "_test": test,
            "_val": val,
            "_difference": difference,
        }

    def verdict(self, several: bool) -> list[str]:
        """Sentences on this net; ``several`` says that it is not the only one."""
        best = self.best
        if best is None:
            return ["No run of it ended well: there is nothing to compare."] if not several else []
        if len(self.settings) < 2:
            return []
        sentences = [self._of_best(best)]
        others = [setting for setting in self.settings if setting is not best and self.as_good(setting)]
        if others and max(len(self.sweep.test(setting)) for setting in self.settings) > 1:
            named = self._listed(others)
            sentences.append(f"Not distinguishable from it in test {self._what}: {named}.")
        for sign, word in ((-1, "lower"), (1, "higher")):
            found = [
                setting
                for setting in self.settings
                if setting is not best
                and (test := self.tests.get(id(setting))) is not None
                and test.significant
                and test.difference.mean * sign > 0
            ]
            if found:
                sentences.append(
                    f"Significantly {word} than {_reference_name(self.sweep)}: {self._listed(found)}."
                )
        power = self._power(best)
        return [*sentences, *([power] if power else [])]

    @property
    def _what(self) -> str:
        return self.sweep.metric.label.partition(",")[0]

    def _listed(self, settings: Sequence[Setting]) -> str:
        axes = self.sweep.varying
        if axes == ("p_drop",):
            return f"p_drop = {', '.join(axis_text(setting.axes['p_drop']) for setting in settings)}"
        return "; ".join(self.sweep.label(setting) for setting in settings)

    def _of_best(self, best: Setting) -> str:
        metric = self.sweep.metric
        estimate = mean_interval(list(self.sweep.test(best).values()))
        text = f"{estimate.text(metric.digits)}{metric.suffix}"
        start = f"Best on validation is {self.sweep.label(best)}: test {self._what} {text}"
        test = self.tests.get(id(best))
        reference = _reference_name(self.sweep)
        if test is None:
            alone = self.references[id(best)] is None
            return f"{start}. There is no run at {reference} to compare it with." if alone else f"{start}."
        change = f"{test.difference.text(metric.digits, signed=True)} {metric.unit}".rstrip()
        if math.isnan(test.p_holm):
            return f"{start}, a difference of {change} to {reference}; one seed tells no more."
        verdict = (
            f"significant (p = {p_text(test.p_holm)}"
            if test.significant
            else f"not distinguishable from it (p = {p_text(test.p_holm)}"
        )
        meaning = f"better in {test.p_better:.0%} of the seeds"
        if test.significant and test.p_better < MEANINGFUL:
            meaning += f", less than the {MEANINGFUL:.0%} that would be meaningful"
        return f"{start}, a difference of {change} to {reference}: {verdict}, Holm; {meaning})."

    def _power(self, best: Setting) -> str:
        """The difference that so many seeds can find, in a sentence."""
        tests = list(self.tests.values())
        seeds = max((test.difference.count for test in tests), default=0)
        if seeds == 0:
            return ""
        if seeds < 2:
            return f"One seed gives no interval and no test: repeat with {ENOUGH_SEEDS} seeds or more."
        effects = sorted(test.smallest_effect for test in tests if test.smallest_effect > 0)
        if not effects:  # all differences are the same: nothing tells how far they vary
            return ""
        metric = self.sweep.metric
        middle = f"{effects[(len(effects) - 1) // 2]:.{metric.digits}f} {metric.unit}".rstrip()
        text = f"{seeds} seeds find a difference of {middle} with a chance of {POWER:.0%}"
        own = self.tests.get(id(best))
        if own is not None and not own.significant and not math.isnan(own.seeds_needed):
            needed = own.seeds_needed
            many = f"over {_MANY_SEEDS:,}" if needed > _MANY_SEEDS else f"{needed:.0f}"
            text += f"; one of {abs(own.difference.mean):.{metric.digits}f} takes {many}"
        if seeds < ENOUGH_SEEDS:
            text += (
                f". Under {ENOUGH_SEEDS} seeds intervals and tests lean on the normal distribution: "
                f"{ENOUGH_SEEDS} or more would do"
            )
        return f"{text}."


def _reference_name(sweep: Sweep) -> str:
    return f"p = {sweep.reference_p:g}"


def _validation(digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        mark = " *" if row["best"] else " =" if row["as_good_as_best"] else ""
        return f"{row['_val'].text(digits).partition(' ')[0]}{mark}"

    return text


def _difference(digits: int) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        return "reference" if row["reference"] else str(row["_difference"].text(digits, signed=True))

    return text


def _notes(sweep: Sweep) -> list[str]:
    notes = ["p_drop is the probability of dropping a unit (p_keep = 1 − p_drop is the 2014 paper's p)."]
    if len(sweep.settings) > 1:
        notes.append(
            "* best on validation; = not distinguishable from it on the test images. p: paired t-test over "
            f"seeds, Holm-corrected; below {LEVEL:g} is significant. P(better): share of seeds."
        )
    for count, what in (
        (sum(len(setting.diverged) for setting in sweep.settings), "diverged"),
        (sum(len(setting.failed) for setting in sweep.settings), "failed"),
    ):
        if count:
            runs, be = counted(count, "run"), "is" if count == 1 else "are"
            notes.append(f"{runs} {what} and {be} in no mean; the column message of runs.csv says why.")
    return notes

"""The settings of one net against each other: their tests, and what these say in words."""

import math
from collections.abc import Iterable, Sequence

from dropbench.report.significance import Tested, compare
from dropbench.report.statistics import ENOUGH_SEEDS, NOTHING, mean_interval
from dropbench.report.sweep.sweep import AXES, Setting, Sweep, axis_text, mean_of
from dropbench.report.table import Row, p_words

_FEW_SEEDS = 2


class NetTests:
    """The settings of one net and training size, with their tests: against the reference, and the best."""

    def __init__(self, sweep: Sweep, settings: Sequence[Setting]) -> None:
        self.sweep = sweep
        self.settings = settings
        self.best = sweep.best(settings)
        self.references = {id(setting): sweep.reference(setting) for setting in settings}
        self.tests = self._compare([(s, self.references[id(s)]) for s in settings])
        self.to_best = self._compare([(s, self.best) for s in settings])

    def _compare(self, pairs: Sequence[tuple[Setting, Setting | None]]) -> dict[int, Tested]:
        """Tests of settings against others, by the id of the setting, where both have runs."""
        test = self.sweep.test
        chosen = [(s, r) for s, r in pairs if r is not None and r is not s and test(s) and test(r)]
        series = {id(setting): test(setting) for pair in chosen for setting in pair}
        found = compare(series, [(id(s), id(r)) for s, r in chosen], self.sweep.scale("test"))
        return {id(setting): tested for (setting, _), tested in zip(chosen, found, strict=True)}

    def as_good(self, setting: Setting) -> bool:
        """Whether nothing tells a setting from the best, and twice the figure would have been seen."""
        tested = self.to_best.get(id(setting))
        return setting is self.best or (tested is not None and tested.alike)

    def row(self, setting: Setting) -> Row:
        """The numbers of a setting, for its row of the table and for exports."""
        sweep = self.sweep
        test = mean_interval(list(sweep.test(setting).values()), sweep.scale("test"))
        val = mean_interval(list(sweep.val(setting).values()), sweep.scale("val"))
        tested = self.tests.get(id(setting))
        difference = NOTHING if tested is None else tested.difference
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
            **(NOTHING if tested is None else tested.ratio).cells("ratio_to_reference"),
            "compared_seeds": difference.count,
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

    def sentences(self, several: bool = False) -> list[str]:
        """Sentences of the tests of this net; ``several`` says that it is not the only one."""
        best = self.best
        if best is None:
            if several:
                return []
            if any(setting.run_ids for setting in self.settings):
                return [f"No {self._what} was recorded on validation: there is nothing to choose by."]
            return ["No run of it ended well: there is nothing to compare."]
        if len(self.settings) < 2:
            return []
        found = [self._of_best(best), *self._choice(), *self._against_reference(best)]
        return [*found, *self._beside_best(best), *self._seeds()]

    @property
    def _what(self) -> str:
        return self.sweep.metric.what

    def _points(self, value: float) -> str:
        metric = self.sweep.metric
        return f"{value:.{metric.digits}f} {metric.unit}".rstrip()

    def _listed(self, settings: Iterable[Setting]) -> str:
        if self.sweep.varying == ("p_drop",):
            return f"p_drop = {', '.join(axis_text(setting.axes['p_drop']) for setting in settings)}"
        return "; ".join(self.sweep.label(setting) for setting in settings)

    def _of_best(self, best: Setting) -> str:
        metric = self.sweep.metric
        estimate = mean_interval(list(self.sweep.test(best).values()), self.sweep.scale("test"))
        text = f"{estimate.text(metric.digits)}{metric.suffix}"
        trial = f", {best.tuning.said()}" if best.tuning else ""
        start = f"Best on validation is {self.sweep.label(best)}{trial}: test {self._what} {text}"
        reference = reference_name(self.sweep)
        tested = self.tests.get(id(best))
        if tested is None:
            known = self.references[id(best)]
            if known is None or (known is not best and not self.sweep.test(known)):
                return f"{start}. There is no run at {reference} that ended well to compare it with."
            return f"{start}."
        change = f"{tested.difference.text(metric.digits, signed=True)} {metric.unit}".rstrip()
        if math.isnan(tested.p_holm):
            return f"{start}, a difference of {change} to {reference}, without a test."
        word = _word(tested) if tested.significant else f"not told apart from {reference}"
        said = f"{word} (p {p_words(tested.p_holm)})"
        if not tested.ratio.count:
            return f"{start}. The difference to {reference} is {change}: {said}."
        return f"{start}. That is {tested.ratio.text()} times that of {reference} ({change}): {said}."

    def _choice(self) -> Iterable[str]:
        """Whether seeds that lack had a say in which is the best."""
        contenders = self.sweep.contenders(self.settings)
        short = [s for s in self.settings if self.sweep.val(s) and s not in contenders]
        most = max(len(self.sweep.val(setting)) for setting in self.settings)
        if short:
            yield f"Too few seeds to be the best, half of {most} or fewer: {self._listed(short)}."
        seeds = self.sweep.common_seeds(contenders)
        if seeds and any(len(self.sweep.val(setting)) > len(seeds) for setting in contenders):
            named = ", ".join(map(str, sorted(seeds)))
            yield f"The best was chosen on the seeds that all of these settings have: {named}."
        if without := [setting for setting in self.settings if not self.sweep.val(setting)]:
            yield f"No run of it ended well: {self._listed(without)}."

    def _against_reference(self, best: Setting) -> Iterable[str]:
        """Sentences on what is significant, what is not, and what that means."""
        reference = reference_name(self.sweep)
        by_id = {id(setting): setting for setting in self.settings}
        tests = {number: tested for number, tested in self.tests.items() if not math.isnan(tested.p_holm)}
        for sign, word in ((-1, "better"), (1, "worse")):
            found = [
                by_id[number]
                for number, tested in tests.items()
                if tested.significant and tested.difference.mean * sign > 0
            ]
            if found and found != [best]:
                yield f"Significantly {word} than {reference}: {self._listed(found)}."
        untold = {number: tested for number, tested in tests.items() if not tested.significant}
        if untold:
            yield from self._untold(untold, by_id, best)
        yield from self._untested(by_id)

    def _untold(self, untold: dict[int, Tested], by_id: dict[int, Setting], best: Setting) -> Iterable[str]:
        """The settings without a significant difference; those with a larger one are named by themselves."""
        reference = reference_name(self.sweep)
        seen = sorted(tested.smallest_effect for tested in untold.values())[(len(untold) - 1) // 2]
        near = [n for n, tested in untold.items() if not tested.far and abs(tested.difference.mean) <= seen]
        if near:
            yield (
                f"Not told apart from {reference}: {self._listed(by_id[number] for number in near)}; "
                f"differences under {self._points(seen)} would hardly have been seen."
            )
        far = [number for number in untold if number not in near and by_id[number] is not best]
        if far:
            signed = "; ".join(
                f"{self._listed([by_id[n]])} ({untold[n].difference.mean:+.{self.sweep.metric.digits}f})"
                for n in far
            )
            yield f"Farther from {reference}, but too unsteady from seed to seed to be sure of it: {signed}."

    def _untested(self, by_id: dict[int, Setting]) -> Iterable[str]:
        reference = reference_name(self.sweep)
        without = {number: t for number, t in self.tests.items() if math.isnan(t.p_holm)}
        same = [by_id[number] for number, tested in without.items() if tested.same]
        if same:
            yield f"The same {self._what} as {reference} on every seed: {self._listed(same)}."
        steady = [by_id[n] for n, t in without.items() if not t.same and t.difference.count >= _FEW_SEEDS]
        if steady:
            yield (
                f"The same difference to {reference} on every seed, so that nothing tells how far it varies, "
                f"and there is no test: {self._listed(steady)}."
            )
        single = [by_id[n] for n, t in without.items() if t.difference.count < _FEW_SEEDS]
        if single and self._most_seeds > 1:
            yield f"No test, with under two seeds in common with {reference}: {self._listed(single)}."

    def _beside_best(self, best: Setting) -> Iterable[str]:
        """The settings that are as good as the best, where it is not the reference."""
        if self.references[id(best)] is best:
            return
        tested = [setting for setting in self.settings if id(setting) in self.to_best]
        others = [s for s in tested if self.as_good(s) and not self.to_best[id(s)].same]
        if others:
            named = self._listed(others)
            yield f"Not told apart from the best, though {self.sweep.twice} would be: {named}."

    @property
    def _most_seeds(self) -> int:
        return max(len(self.sweep.test(setting)) for setting in self.settings)

    def _seeds(self) -> Iterable[str]:
        seeds = self._most_seeds
        if seeds == 1:
            yield f"One seed gives no interval and no test: repeat with {ENOUGH_SEEDS} seeds or more."
        elif 1 < seeds < ENOUGH_SEEDS and any(not math.isnan(t.p) for t in self.tests.values()):
            yield f"{seeds} seeds are few: smaller differences show with {ENOUGH_SEEDS} or more."


def reference_name(sweep: Sweep) -> str:
    """The reference, in words."""
    return f"p = {sweep.reference_p:g}"


def _word(tested: Tested) -> str:
    return f"significantly {'better' if tested.difference.mean < 0 else 'worse'}"

"""The predictions of a saved net as a subject of a report."""

from collections.abc import Mapping
from dataclasses import dataclass

from dropbench.report.run import METRICS, SPLITS
from dropbench.report.subject import Subject
from dropbench.report.table import Column, Row, Table, number


@dataclass(frozen=True)
class PredictionSubject(Subject):
    """The metrics of a net on a split of a data set."""

    run_id: str
    data: str
    noun: str
    split: str
    examples: int
    metrics: Mapping[str, float]
    """With dropout off."""
    monte_carlo: Mapping[str, float] | None
    samples: int
    recorded: Mapping[str, float] | None
    """The metrics of the same examples that the run recorded; None of others."""
    kind = "prediction"

    @property
    def tables(self) -> tuple[Table, ...]:
        """The metrics with dropout off and, where there are passes, by Monte-Carlo dropout."""
        ways = {"dropout_off": ("dropout off", self.metrics)}
        if self.monte_carlo is not None:
            passes = f"{self.samples:,} pass{'es' * (self.samples != 1)}"
            ways["monte_carlo"] = (f"Monte-Carlo,\n{passes}", self.monte_carlo)
        rows: tuple[Row, ...] = tuple(
            {"metric": name, **{way: found[name] for way, (_, found) in ways.items()}}
            for name in METRICS
            if name in self.metrics
        )
        form = ".5g" if "rmse" in self.metrics else ".4f"
        columns = (
            Column("", lambda row: METRICS[row["metric"]], left=True),
            *(Column(title, number(way, form)) for way, (title, _) in ways.items()),
        )
        split = SPLITS.get(self.split, self.split)
        which = f"all {self.examples:,}" if self.split == "all" else f"{self.examples:,} {split}"
        title = f"Run {self.run_id} on {which} {self.noun} of {self.data}"
        return (Table("prediction", title, columns, rows, tuple(self._notes())),)

    @property
    def run_ids(self) -> frozenset[str]:
        """The run that trained the net."""
        return frozenset({self.run_id})

    def _notes(self) -> list[str]:
        if self.recorded is None:
            return []
        differing = [name for name in self.metrics if self.metrics[name] != self.recorded.get(name)]
        if not differing:
            return ["With dropout off these are the run's recorded figures, to the last bit."]
        largest = {METRICS[name]: self.recorded[name] for name in differing if name in self.recorded}
        told = ", ".join(f"{title} {value:.6g}" for title, value in largest.items())
        return [f"The run recorded {told}: another device, precision or number of threads rounds otherwise."]

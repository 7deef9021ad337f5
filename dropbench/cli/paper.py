"""``dropbench paper``: the experiments of the lecture and of the 2014 paper."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dropbench.cli.console import err, plain_progress, present, tell
from dropbench.cli.options import (
    DATA,
    OF_DATA,
    OF_MACHINE,
    OF_POLICY,
    TRAINING,
    AsJson,
    DataDir,
    Keywords,
    Out,
    option,
    takes,
)  # fmt: skip

if TYPE_CHECKING:
    from dropbench.report.table import Row, Table

LIST = "list"
SCALES = ("full", "medium", "small", "smoke")


@takes("paper", OF_DATA, OF_MACHINE, OF_POLICY)
def paper(
    name: Annotated[
        str, typer.Argument(help="An experiment, or list: what there is, what it shows and costs.")
    ] = LIST,
    data: Annotated[
        str, option("--data", "Data set; auto is the one that the experiment names.", DATA)
    ] = "auto",
    data_dir: DataDir = None,
    scale: Annotated[
        str,
        option(
            "--scale",
            "full: towards the original, for a GPU or a night. medium: hours on a few cores. small: minutes "
            "on MNIST. smoke: seconds, to see whether it works at all.",
            TRAINING,
            metavar="|".join(SCALES),
        ),
    ] = "small",
    seeds: Annotated[
        int | None, option("--seeds", "Number of seeds, from 0 on.", TRAINING, show_default="the scale's")
    ] = None,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Repeat an experiment of the lecture or of Srivastava et al. 2014, and set ours beside theirs.

    The paper's p is the probability of KEEPING a unit; here p_drop and p_keep are told apart everywhere.
    How long it takes is estimated from a measured rate before it starts. Runs that are done already are
    skipped: repeat a command to continue it.

    Examples:

        dropbench paper list

        dropbench paper table9 --scale small

        dropbench paper lecture --data folder:PATH
    """
    if name == LIST:
        present([_listing(scale, seeds, data, data_dir, given)], as_json)
        return

    import dropbench as db
    from dropbench.cli.finish import conclude, working
    from dropbench.run.telling import counted, duration

    def on_estimate(runs: int, seconds: Callable[[], float]) -> None:
        with _measuring(name):
            expected = seconds()
        tell(f"{counted(runs, 'run')}, about {duration(expected)} at the rate just measured here")

    with working(folder) as watcher:
        done = db.paper(
            name, scale=scale, seeds=seeds, data=data, out=folder, data_dir=data_dir, watcher=watcher,
            on_estimate=on_estimate, **given,
        )  # fmt: skip
    conclude(done, as_json, f"rows: {folder / 'paper.csv'}; their runs: {folder / 'runs.csv'}")


@contextmanager
def _measuring(what: str) -> Iterator[None]:
    """Something to see while the machine is timed."""
    if plain_progress():
        yield
        return
    with err.status(f"measuring how fast this machine trains {what}"):
        yield


def _listing(scale: str, seeds: int | None, data: str, data_dir: Path | None, given: Keywords) -> "Table":
    """Every experiment: what it shows, the data it needs, and what it costs here."""
    from dropbench.api.keywords import sort_out
    from dropbench.api.paper import check_images
    from dropbench.datasets.options import NO_OPTIONS, SourceOptions
    from dropbench.datasets.registry import default_data_dir, find_source, prepare
    from dropbench.datasets.split import largest_train_size
    from dropbench.engine.device import resolve_device, resolve_precision
    from dropbench.experiments.estimate import SETS, Bench, Images, estimate
    from dropbench.experiments.paper.definition import repeats
    from dropbench.experiments.paper.files import find, names
    from dropbench.report.table import Column, Table, number
    from dropbench.run.telling import duration

    keywords = sort_out(given)
    machine, options = keywords.machine, SourceOptions.of(keywords.of_source())
    device = resolve_device(machine.device)
    precision = resolve_precision(machine.precision, device)
    place = data_dir or default_data_dir()
    check_images(data)
    images = None if data == "auto" else Images.of(prepare(data, data_dir, options))
    rows: list[Row] = []
    for name in names():
        chosen = find(name)
        named = chosen.data if data == "auto" else data
        here = bool(find_source(named, options if data != "auto" else NO_OPTIONS).files(place))
        with _measuring(name):
            points = chosen.points(scale, largest_train_size(images.train) if images else None)
            repeated = seeds or chosen.scale(scale).seeds
            counts = repeats(points, repeated, chosen.scale(scale).tried_seeds(repeated))
            pictured = images or SETS[chosen.data]
            on = Bench.of(device, precision, sum(counts.values()), machine, list(counts), pictured)
            cost = estimate(counts, pictured, on)
        rows.append({"name": name, "shows": chosen.shows, "data": named, "here": here, **vars(cost)})
    columns = (
        Column("name", lambda row: str(row["name"]), left=True),
        Column("what it shows", lambda row: str(row["shows"]), left=True),
        Column("data", lambda row: f"{row['data']}{'' if row['here'] else ' (absent)'}", left=True),
        Column("runs", lambda row: str(row["runs"])),
        Column("operations,\nPFLOP", number("operations", ".3g", 1e15)),
        Column("takes\nabout", lambda row: duration(row["seconds"])),
    )
    notes = (
        f"Times are for {device.type} in {precision}, estimated from the rate at which this machine has just "
        "trained each experiment's dearest net.",
        "On another device of known rate: the operations by the floating-point operations that it sustains a "
        "second.",
        "An absent data set is downloaded when it is first used; --data names another in its place.",
    )
    title = f"Experiments of the lecture and of Srivastava et al. 2014, at the scale {scale}"
    return Table("papers", title, columns, tuple(rows), notes)

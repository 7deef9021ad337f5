"""``dropbench speed``: how fast this machine trains, beside a plain PyTorch loop."""

from pathlib import Path
from typing import Annotated

from dropbench.cli.console import present, tell
from dropbench.cli.options import OF_MACHINE, AsJson, Keywords, Out, option, takes
from dropbench.run import grammar


@takes("speed", OF_MACHINE)
def speed(
    only: Annotated[
        str | None,
        option(
            "--only",
            "Items to measure.",
            metavar="layers|kernels|mlp|cnn|sweep|mlp-sweep|waiting|jobs|compile,…",
            show_default="all but jobs, which takes minutes, and compile, which is for GPUs",
        ),
    ] = None,
    repetitions: Annotated[
        int,
        option("--repetitions", "Rounds in which the contenders take turns.", min=1),
    ] = 5,
    folder: Out = Path("results"),
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Measure how fast dropbench trains here, beside a plain PyTorch loop on the same work.

    About ten minutes on two cores, most of them for the sweeps: the dropout layer and its share of copy
    bandwidth, each kernel beside torch's own operations, one run of an MLP and of the lecture's CNN, sweeps
    of eight runs of the CNN and of an MLP with max-norm, the machine's rate of matrix products, start-up
    times and memory. Leave the machine alone meanwhile.

    Examples:

        dropbench speed

        dropbench speed --only layers,cnn --repetitions 9 --json
    """
    from dropbench.engine.device import resolve_device, resolve_precision
    from dropbench.experiments.speed.measure import STANDARD, check_items, measure_speed
    from dropbench.report.folder import speed_report
    from dropbench.results.store import Store

    items = STANDARD if only is None else grammar.parse_names(only)
    check_items(items)
    resolved = resolve_device(given.get("device", "auto"))
    resolved_precision = resolve_precision(given.get("precision", "auto"), resolved)
    store = Store(folder)
    speed_id = measure_speed(items, resolved, resolved_precision, repetitions, store)
    present(speed_report(folder, speed_id).tables, as_json)
    tell(f"every round's figures: {folder / 'speed.csv'}")

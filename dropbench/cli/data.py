"""``dropbench data``: where each data set is, and fetching it."""

from typing import Annotated

import typer

from dropbench.cli.console import out
from dropbench.cli.options import DataDir

app = typer.Typer(no_args_is_help=True, help="Show where each data set is, and fetch it.")


@app.command("list")
def list_sets(data_dir: DataDir = None) -> None:
    """List the data sets, whether they are here, and where their files are or belong.

    Examples:

        dropbench data list

        dropbench data list --data-dir ~/data
    """
    from dropbench.datasets.registry import SOURCES, default_data_dir
    from dropbench.report.render.terminal import show
    from dropbench.report.table import Column, Table

    place = data_dir or default_data_dir()
    rows = tuple(
        {
            "name": source.name,
            "summary": source.summary,
            "state": "here" if source.files(place) else "absent",
            "place": source.place(place),
        }
        for source in SOURCES.values()
    )
    columns = tuple(
        Column(name, lambda row, name=name: str(row[name]), left=True)  # type: ignore[misc]
        for name in ("name", "state", "summary", "place")
    )
    notes = (
        "An absent set is downloaded by: dropbench data prepare NAME, or when first used.",
        "Your own images: --data folder:PATH, with PATH/train/CLASS/* and PATH/test/CLASS/*.",
    )
    show([Table("data", "Data sets", columns, rows, notes)], out)


@app.command("prepare")
def prepare_set(
    name: Annotated[str, typer.Argument(help="A data set, or folder:PATH.")], data_dir: DataDir = None
) -> None:
    """Fetch a data set if it is absent, decode it, and keep it ready in the cache.

    Examples:

        dropbench data prepare mnist5k

        dropbench data prepare cifar10 --data-dir ~/data
    """
    from dropbench.cli.progress import reading
    from dropbench.datasets.cache import cache_folder
    from dropbench.datasets.registry import prepare
    from dropbench.datasets.repeated import warn_of_repeated_images

    with reading():
        data = prepare(name, data_dir)
    warn_of_repeated_images(data)
    channels, height, width = data.input_shape
    out.print(
        f"{data.name}: {len(data.train_targets):,} training and {len(data.test_targets):,} test images, "
        f"{height}×{width} × {channels}, {len(data.classes)} classes; {cache_folder() / data.key}",
        markup=False,
        soft_wrap=True,
    )

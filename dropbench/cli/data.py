"""``dropbench data``: where each data set is, the forms of one's own, and what one of them holds."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from dropbench.catalog.forms import FORMS
from dropbench.cli.console import out, present, tell
from dropbench.cli.options import OF_DATA, AsJson, DataDir, Keywords, option, takes
from dropbench.errors import UsageError
from dropbench.folders import cache_base
from dropbench.run.blocks.data import PREPARE
from dropbench.run.grammar import parse_duration, parse_size

if TYPE_CHECKING:
    from dropbench.report.table import Column

app = typer.Typer(
    no_args_is_help=True, help="Show the data sets and your own forms, fetch them, prune the cache."
)


@app.command("list")
def list_sets(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets, whether they are here, where their files belong, your own data's forms, the cache.

    Examples:

        dropbench data list

        dropbench data list --data-dir ~/data
    """
    from dropbench.datasets.pruning import entries
    from dropbench.datasets.registry import SOURCES, default_data_dir
    from dropbench.report.table import Column, Table

    place = data_dir or default_data_dir()
    sets = tuple(
        {
            "name": source.name,
            "state": "here" if source.files(place) else "absent",
            "summary": source.summary,
            "place": source.place(place),
        }
        for source in SOURCES.values()
    )
    forms = tuple(
        {"form": form.name, "summary": form.summary, "example": form.example} for form in FORMS.values()
    )
    of_sets = "An absent set is downloaded by: dropbench data prepare NAME, or when first used."
    of_forms = "What a form holds is told by: dropbench data prepare FORM, with the same options."
    found = entries()
    cached = tuple(
        {
            "cached": each.name,
            "kind": each.kind,
            "bytes": each.size,
            "last_used": _day(each.used),
            "key": each.path.name,
        }
        for each in found
    )
    total = sum(each.size for each in found)
    of_cache = (
        f"{size_text(total)} in {cache_base()}, which can all be made again: dropbench data prune makes room."
    )
    columns = (
        Column("cached", lambda row: row["cached"], left=True),
        Column("size", lambda row: size_text(row["bytes"])),
        Column("last used", lambda row: row["last_used"], left=True),
    )
    tables = [
        Table("data", "Data sets", _columns("name", "state", "summary", "place"), sets, (of_sets,)),
        Table("forms", "Your own data", _columns("form", "summary", "example"), forms, (of_forms,)),
        Table("cache", "The cache", columns, cached, (of_cache,)),
    ]
    present(tables, as_json)


def _columns(*names: str) -> "tuple[Column, ...]":
    from dropbench.report.table import Column

    return tuple(Column(name, lambda row, name=name: str(row[name]), left=True) for name in names)  # type: ignore[misc]


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d")


def size_text(size: float) -> str:
    """Bytes as people say them."""
    return f"{size / 1e9:,.2f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


@app.command("prune")
def prune(
    older_than: Annotated[
        str | None,
        option("--older-than", "Also remove the data sets that were not used for so long: 12h, 30d."),
    ] = None,
    to: Annotated[
        str | None,
        option("--to", "Also remove the data sets used longest ago, until the cache has this size: 5GB."),
    ] = None,
    everything: Annotated[
        bool, option("--all", "Remove everything that no process uses, compiled kernels as well.")
    ] = False,
    dry_run: Annotated[bool, option("--dry-run", "List what would be removed.")] = False,
) -> None:
    """Remove from the cache what no process uses; nothing in it is lost, since all can be made again.

    Without an option it removes what cannot be used any more: the kernels of other versions, and what
    interrupted writes left behind. Downloaded files and results are never touched.

    Examples:

        dropbench data prune

        dropbench data prune --older-than 30d

        dropbench data prune --to 5GB --dry-run
    """
    from dropbench.datasets.pruning import entries, remove, to_prune

    if everything and (older_than is not None or to is not None):
        raise UsageError("--all takes the whole cache.", "Leave out --older-than and --to.")
    found = entries()
    going = to_prune(
        found,
        None if older_than is None else parse_duration(older_than, "older_than"),
        None if to is None else parse_size(to),
        everything,
    )
    freed = 0
    for each in going:
        told = f"{each.name} ({size_text(each.size)}, last used {_day(each.used)})"
        if dry_run:
            out.print(f"would remove {told}", markup=False, soft_wrap=True)
        elif not remove(each):
            tell(f"{told} is in use, and stays.")
            continue
        else:
            out.print(f"removed {told}", markup=False, soft_wrap=True)
        freed += each.size
    left = sum(each.size for each in found) - freed
    would = "would be " if dry_run else ""
    tell(f"{size_text(freed)} {would}freed; {size_text(left)} {would or 'are '}left in {cache_base()}")


@app.command("prepare")
@takes(PREPARE, OF_DATA)
def prepare_set(
    name: Annotated[str, typer.Argument(help="A data set, or data of your own, like folder:PATH.")],
    data_dir: DataDir = None,
    as_json: AsJson = False,
    *,
    given: Keywords,
) -> None:
    """Fetch a data set if it is absent, keep it ready in the cache, and say what it holds.

    Examples:

        dropbench data prepare mnist5k

        dropbench data prepare folder:photos --image-size 64
    """
    import dropbench as db
    from dropbench.cli.progress import reading
    from dropbench.datasets.repeated import warn_of_repeated_images
    from dropbench.report.data import data_tables

    with reading():
        data = db.data(name, data_dir=data_dir, **given)
    warn_of_repeated_images(data)
    present(data_tables(data, whole=as_json), as_json)

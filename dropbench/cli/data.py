"""``dropbench data``: where each data set is, the forms of one's own, and what one of them holds."""

from typing import TYPE_CHECKING, Annotated

import typer

from dropbench.catalog.forms import FORMS
from dropbench.cli.console import present
from dropbench.cli.options import OF_DATA, AsJson, DataDir, Keywords, takes
from dropbench.run.blocks.data import PREPARE

if TYPE_CHECKING:
    from dropbench.report.table import Column

app = typer.Typer(no_args_is_help=True, help="Show the data sets and the forms of your own, and fetch them.")


@app.command("list")
def list_sets(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the data sets, whether they are here, where their files belong, and the forms of your own data.

    Examples:

        dropbench data list

        dropbench data list --data-dir ~/data
    """
    from dropbench.datasets.registry import SOURCES, default_data_dir
    from dropbench.report.table import Table

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
    tables = [
        Table("data", "Data sets", _columns("name", "state", "summary", "place"), sets, (of_sets,)),
        Table("forms", "Your own data", _columns("form", "summary", "example"), forms, (of_forms,)),
    ]
    present(tables, as_json)


def _columns(*names: str) -> "tuple[Column, ...]":
    from dropbench.report.table import Column

    return tuple(Column(name, lambda row, name=name: str(row[name]), left=True) for name in names)  # type: ignore[misc]


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

"""Paths as commands take them."""

from pathlib import Path

import typer

from dropbench.folders import of_home


def parse_path(text: str | Path) -> Path:
    """Return a path out of its text; an empty one is refused, as it would be the working folder."""
    if not str(text):
        raise typer.BadParameter("it is empty; name a path, or leave it out.")
    return of_home(text)

"""The forms of a user's own data, ``prefix:`` and where they are.

A form is plain data, so that help texts can name all of them without importing what reads them. A new form is
one file with its source (dropbench.datasets.source) and one entry in ``FORMS``.
"""

from dataclasses import dataclass

from dropbench.catalog.models import IMAGES


@dataclass(frozen=True)
class Form:
    """A form of a user's own data, named ``prefix:`` and where they are.

    ``factory`` is the ``module:Class`` of a source; it takes what comes after the colon and SourceOptions.
    """

    prefix: str
    where: str
    """What comes after the colon, in capitals."""
    summary: str
    example: str
    """Options of a command that trains on such data."""
    factory: str
    takes: frozenset[str] = frozenset()
    """The names of the options that it takes."""
    inputs: str = ""
    """What the inputs are, where all data of this form have the same."""

    @property
    def name(self) -> str:
        """The form in words, like ``folder:PATH``."""
        return f"{self.prefix}:{self.where}"


_OF_IMAGES = frozenset({"image_size", "fit", "skip_unreadable", "test_share"})
FORMS: dict[str, Form] = {
    form.prefix: form
    for form in (
        Form(
            "folder",
            "PATH",
            "a folder of images, with a folder for each class",
            "--data folder:photos --image-size 64",
            "dropbench.datasets.folder:ImageFolder",
            _OF_IMAGES,
            IMAGES,
        ),
    )
}

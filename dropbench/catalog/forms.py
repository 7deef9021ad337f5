"""The forms of a user's own data, ``prefix:`` and where they are.

A form is plain data, so that help texts can name all of them without importing what reads them. A new form is
one file with its source (dropbench.datasets.source) and one entry in ``FORMS``.
"""

from dataclasses import dataclass

from dropbench.catalog.models import IMAGES, TABLE


@dataclass(frozen=True)
class Form:
    """A form of a user's own data, named ``prefix:`` and where they are.

    ``factory`` is the ``module:Class`` of a source; it takes what comes after the colon and SourceOptions.
    """

    prefix: str
    where: str
    """A word in capitals for the part after the colon."""
    summary: str
    example: str
    """Options of a command that trains on such data."""
    factory: str
    takes: frozenset[str] = frozenset()
    """The names of the options that it takes."""
    inputs: str = ""
    """The kind of the inputs, where all data of this form have the same."""
    endings: tuple[str, ...] = ()
    """The endings of the names of such files, like ``.csv``; ``/`` stands for a folder."""

    @property
    def name(self) -> str:
        """The form in words, like ``folder:PATH``."""
        return f"{self.prefix}:{self.where}"


_OF_IMAGES = frozenset({"image_size", "fit", "skip_unreadable", "test_share"})
OF_ARRAYS = frozenset({"task", "test_share"})
"""The names of the options that arrays take."""
_OF_TABLES = frozenset({"task", "target", "test_file", "test_share"})
FORMS: dict[str, Form] = {
    form.prefix: form
    for form in (
        Form(
            "folder",
            "PATH",
            "a folder of images, with a folder for each class",
            "--data folder:photos --image-size 64",
            "dropbench.datasets.images.folder:ImageFolder",
            _OF_IMAGES,
            IMAGES,
            ("/",),
        ),
        Form(
            "npz",
            "FILE",
            "arrays of numpy.savez: x_train, y_train, x_test, y_test, or as in MedMNIST",
            "--data npz:arrays.npz",
            "dropbench.datasets.arrays.files:NpzFile",
            OF_ARRAYS,
            endings=(".npz",),
        ),
        Form(
            "npy",
            "FOLDER",
            "arrays of numpy.save: x_train.npy, y_train.npy, x_test.npy, y_test.npy",
            "--data npy:arrays",
            "dropbench.datasets.arrays.files:NpyFolder",
            OF_ARRAYS,
        ),
        Form(
            "hf",
            "NAME",
            "a data set of Hugging Face's datasets: its name there, a saved folder, or Parquet files; needs "
            "dropbench[hf]",
            "--data hf:ylecun/mnist",
            "dropbench.datasets.huggingface.source:HuggingFaceSet",
            _OF_IMAGES | {"task", "target"},
        ),
        Form(
            "csv",
            "FILE",
            "a table, with a line of names above its rows",
            "--data csv:patients.csv --target outcome",
            "dropbench.datasets.tables.files:CsvFile",
            _OF_TABLES,
            TABLE,
            (".csv", ".tsv"),
        ),
        Form(
            "parquet",
            "FILE",
            "a table in a Parquet file; needs dropbench[parquet]",
            "--data parquet:patients.parquet --target outcome",
            "dropbench.datasets.tables.files:ParquetFile",
            _OF_TABLES,
            TABLE,
            (".parquet",),
        ),
        Form(
            "sklearn",
            "NAME",
            "a table that scikit-learn contains: breast_cancer, wine, digits, iris or diabetes",
            "--data sklearn:breast_cancer",
            "dropbench.datasets.tables.sklearn_sets:SklearnSet",
            _OF_TABLES - {"test_file"},
            TABLE,
        ),
    )
}

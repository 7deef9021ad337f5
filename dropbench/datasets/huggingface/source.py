"""Data sets of Hugging Face's ``datasets``: by their name there, saved in a folder, or in Parquet files."""

import contextlib
import logging
import re
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from dropbench.datasets.cache import cache_folder
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.given_splits import SPLIT_OF, TEST, TRAIN, VALIDATION
from dropbench.datasets.huggingface.features import made_of
from dropbench.datasets.options import NO_OPTIONS, SourceOptions, resolved, shown
from dropbench.errors import DropbenchError

_log = logging.getLogger(__name__)

_OLDEST = 4  # the first release that runs no code of a data set's own
_PATIENCE = 10  # seconds that the hub has for its first answer
_LONGEST = 300  # letters of a library's message
_SPLITS = {**SPLIT_OF, "dev": VALIDATION}
_WHERE = "Write OWNER/NAME as on huggingface.co, or the path of a folder or a Parquet file."


class HuggingFaceSet:
    """A data set of Hugging Face's, called ``hf:`` and its name or path in results.

    What is there under the path is taken as a path. Else it is ``OWNER/NAME`` on the hub, or
    ``OWNER/NAME/CONFIG`` if that has several configurations; a few old sets have no owner.
    """

    summary = "a data set of Hugging Face's"

    def __init__(self, where: str, options: SourceOptions = NO_OPTIONS) -> None:
        self.where = where
        self.options = options
        self.name = f"hf:{shown(where)}"
        path = resolved(where)
        is_path = path.exists() or where[:1] in "/.~\\" or where.endswith((".parquet", "/"))
        self.path = path if is_path else None
        if self.path is None and not re.fullmatch(r"[\w.-]+(/[\w.-]+){0,2}", where):
            raise DropbenchError(f"{self.name} is neither there nor a name.", _WHERE)

    @property
    def identity(self) -> str:
        """The options."""
        return f"hf {self.options.told}"

    def place(self, data_dir: Path) -> str:
        """Return the path, or the folder that a set of the hub is saved in."""
        return str(self._folder(data_dir))

    def _folder(self, data_dir: Path) -> Path:
        return self.path or data_dir / "huggingface" / self.where.replace("/", "--")

    def files(self, data_dir: Path) -> Sequence[Path]:
        """Return the files of the set, ordered by their paths.

        Raises:
            DropbenchError: if a folder is there and has no such files.

        """
        folder = self._folder(data_dir)
        if folder.is_file():
            return [folder]
        found = sorted(
            file
            for file in folder.rglob("*")
            if file.suffix in (".arrow", ".parquet", ".json") and _is_seen(file.relative_to(folder))
        )
        if folder.is_dir() and not any(file.suffix != ".json" for file in found):
            raise DropbenchError(
                f"{folder} has no Arrow or Parquet files.",
                "It is what save_to_disk writes, or Parquet files.",
            )
        return found

    def fetch(self, data_dir: Path) -> None:
        """Download a set from the hub and save it; no code of others is run.

        Raises:
            DropbenchError: if there is no such set, or it cannot be downloaded.

        """
        if self.path is not None:
            raise DropbenchError(f"There is no file or folder {self.path}.", _WHERE)
        library = _library()
        owner_name, config = self.where, None
        if self.where.count("/") == 2:
            owner_name, _, config = self.where.rpartition("/")
        with _quiet(library):
            offline = import_module("huggingface_hub.constants").HF_HUB_OFFLINE
            if not offline:
                _reach(owner_name)
                _log.info(f"{self.name} is downloaded to {self._folder(data_dir)}.")
            try:
                found = library.load_dataset(owner_name, config)
            except Exception as error:  # its parts raise anything
                raise DropbenchError(
                    f"{self.name} cannot be loaded ({_short(error)}).",
                    "HF_HUB_OFFLINE is set, and the cache of huggingface_hub lacks it: unset it."
                    if offline
                    else "If it has several configurations, write `data=hf:OWNER/NAME/CONFIG`.",
                ) from error
            _save(found, self._folder(data_dir))

    def decode(self, data_dir: Path) -> DataSet:
        """Read the images, or the columns of a table, and their targets.

        Raises:
            UsageError: if an option does not fit, or the target is open.
            DropbenchError: if the files are damaged, or are no inputs with targets.

        """
        library, path = _library(), self._folder(data_dir)
        cache_folder().mkdir(parents=True, exist_ok=True)
        # Windows removes no file that is still mapped, as those of ``found`` are.
        scratch_folder = tempfile.TemporaryDirectory(dir=cache_folder(), ignore_cleanup_errors=True)
        with scratch_folder as scratch, _quiet(library):
            try:
                found = _opened(library, path, scratch)
            except Exception as error:  # a damaged file can make its parts raise anything
                raise DropbenchError(f"Cannot read {path} ({_short(error)}).", "Save it again.") from error
            splits, notes = self._splits(found)
            return made_of(self.name, splits, self.options, notes)

    def _splits(self, found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """Return the splits, train first and test last, and what is to be said of others."""
        splits = {_SPLITS.get(name.casefold(), name): rows for name, rows in found.items()}
        if len(splits) == 1:
            return {TRAIN: next(iter(splits.values()))}, []
        if TRAIN not in splits:
            raise DropbenchError(
                f"{self.name} has the splits {', '.join(splits)}, and none is train.", "Name one train."
            )
        others = [name for name in splits if name not in _SPLITS.values()]
        notes = [f"Not used: the split{'s' * (len(others) > 1)} {', '.join(others)}."] if others else []
        return {split: splits[split] for split in (TRAIN, VALIDATION, TEST) if split in splits}, notes


def _is_seen(path: Path) -> bool:
    return not any(part.startswith(".") for part in path.parts)


def _library() -> Any:
    """Return the module ``datasets``."""
    needs = 'Run pip install --upgrade "dropbench[hf]".'
    try:
        import datasets
    except ImportError as error:
        raise DropbenchError("Data sets of Hugging Face need the package datasets.", needs) from error
    if int(datasets.__version__.split(".")[0]) < _OLDEST:  # older ones run code that a set brings along
        raise DropbenchError(f"The package datasets is {datasets.__version__}, which is too old.", needs)
    return datasets


@contextlib.contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Keep the bars, logs and warnings of the library to itself, and put its settings back."""
    hub: Any = import_module("huggingface_hub.utils")
    logs = library.logging, hub.logging
    levels = [each.get_verbosity() for each in logs]
    had_bars = not library.are_progress_bars_disabled(), not hub.are_progress_bars_disabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library.disable_progress_bars()
        hub.disable_progress_bars()
        for each in logs:
            each.set_verbosity(logging.CRITICAL)
        try:
            yield
        finally:
            for each, level in zip(logs, levels, strict=True):
                each.set_verbosity(level)
            if had_bars[0]:
                library.enable_progress_bars()
            if had_bars[1]:
                hub.enable_progress_bars()


def _reach(name: str) -> None:
    """Raise DropbenchError at once if the hub is out of reach or has no such set.

    The library itself tries again and again for half a minute.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(name, timeout=_PATIENCE)
    except RepositoryNotFoundError as error:
        raise DropbenchError(f"The hub has no public data set {name}.", _WHERE) from error
    except HfHubHTTPError as error:
        raise DropbenchError(
            f"The hub refuses the data set {name} ({_short(error)}).", "Try again later."
        ) from error
    except Exception as error:  # of whichever library it asks through
        raise DropbenchError(
            f"huggingface.co cannot be reached ({_short(error)}).",
            "Connect to the network; or download the set elsewhere, save it with save_to_disk and write "
            "`data=hf:PATH`.",
        ) from error


def _save(found: Any, folder: Path) -> None:
    """Save a set in a folder, which is there whole or not at all, if another process has not done so."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            found.save_to_disk(str(Path(partial) / "set"))
            try:
                (Path(partial) / "set").rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    except OSError as error:
        raise DropbenchError(
            f"Cannot write to {folder.parent}: {error.strerror or error}.",
            "Name another folder with `data_dir`, or make space.",
        ) from error


def _opened(library: Any, path: Path, scratch: str) -> Mapping[str, Any]:
    """Return the splits that are in a folder or a Parquet file by their names."""
    if (path / "dataset_dict.json").is_file():
        return dict(library.load_from_disk(str(path)))
    if (path / "state.json").is_file():
        return {TRAIN: library.load_from_disk(str(path))}
    files: dict[str, list[str]] = {}
    for file in [path] if path.is_file() else sorted(path.rglob("*.parquet")):
        inside = file.relative_to(path) if file != path else Path(file.name)
        if _is_seen(inside):
            files.setdefault(_split_of(inside), []).append(str(file))
    return {split: library.Dataset.from_parquet(of, cache_dir=scratch) for split, of in files.items()}


def _split_of(file: Path) -> str:
    """Return the split that a Parquet file belongs to, by its name, else by those of its folders."""
    for part in reversed(file.with_suffix("").parts):
        for word in re.split(r"[^a-z]+", part.casefold()):
            if word in _SPLITS:
                return _SPLITS[word]
    return TRAIN


def _short(error: BaseException) -> str:
    said = " ".join(str(error).split()) or type(error).__name__
    return said[:_LONGEST].rstrip(".")

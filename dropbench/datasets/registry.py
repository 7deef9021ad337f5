"""The data sets by name, and loading one of them, or data of the user's own, into memory."""

import logging
import os
from importlib import import_module
from pathlib import Path

from platformdirs import user_data_path

from dropbench.catalog.forms import FORMS, Form
from dropbench.catalog.models import IMAGES
from dropbench.datasets import cache
from dropbench.datasets.dataset import DataSet
from dropbench.datasets.embedded import EmbeddedDigits
from dropbench.datasets.options import NO_OPTIONS, SourceOptions
from dropbench.datasets.source import Source
from dropbench.datasets.torchvision_sets import TORCHVISION_SETS
from dropbench.errors import UsageError, unknown_name

_log = logging.getLogger(__name__)

SOURCES: dict[str, Source] = {source.name: source for source in (EmbeddedDigits(), *TORCHVISION_SETS)}


def default_data_dir() -> Path:
    """Return ``$DROPBENCH_DATA_DIR``, or the platform's folder for an application's data."""
    return Path(os.environ.get("DROPBENCH_DATA_DIR") or user_data_path("dropbench"))


def is_known(name: str) -> bool:
    """Whether ``name`` is that of a data set, or has the form of one."""
    return name in SOURCES or name.partition(":")[0] in FORMS


def inputs_of(name: str) -> str:
    """Return what the inputs of a data set are, as its name tells it; empty where it does not."""
    form = FORMS.get(name.partition(":")[0])
    return IMAGES if name in SOURCES else form.inputs if form is not None else ""


def takes(name: str, option: str) -> bool:
    """Whether data of this name take an option."""
    form = FORMS.get(name.partition(":")[0])
    return form is not None and option in form.takes


def _form_of(where: str) -> Form | None:
    """Return the form of a file or a folder that is there, by its ending; None where there is none."""
    try:
        path = Path(where).expanduser()
        ending = "/" if path.is_dir() else path.name.lower() if path.is_file() else ""
    except (OSError, ValueError, RuntimeError):  # too long, or with what no path has
        return None
    return next((form for form in FORMS.values() if ending and ending.endswith(form.endings)), None)


def unknown_data(name: str, kind: str = "data set", setting: str = "data", *more: str) -> UsageError:
    """Return the error for a name that is none; for a file or a folder that is there it says what to write.

    ``more`` are names that are known beside those of data sets, and ``setting`` is told the name.
    """
    form = _form_of(name)
    if form is not None:
        what = "folder" if form.endings == ("/",) else "file"
        return UsageError(f"{name!r} is a {what}, no {kind}.", f"Write `{setting}={form.prefix}:{name}`.")
    return unknown_name(kind, name, [*more, *SOURCES, *(form.name for form in FORMS.values())])


def find_source(name: str, options: SourceOptions = NO_OPTIONS) -> Source:
    """Return the source of the data set ``name``.

    Raises:
        UsageError: if there is none, where it suggests the nearest name, or if it does not take an option.

    """
    prefix, colon, where = name.partition(":")
    form = FORMS.get(prefix) if colon else None
    if form is not None and not where:
        raise UsageError(f"`data={prefix}:` has no {form.where.lower()}.", f"Write `data={form.name}`.")
    if form is None and name not in SOURCES:
        raise unknown_data(name)
    if form is not None and form.endings and _form_of(where) not in (None, form):
        raise unknown_data(where, form.name)
    for option in options.told:
        if form is None or option not in form.takes:
            of = [known.name for known in FORMS.values() if option in known.takes]
            raise UsageError(
                f"The data set {name} takes no `{option}`.",
                f"Leave out `{option}`; it is for {', '.join(of) or 'no data set'}.",
            )
    return SOURCES[name] if form is None else _source_of(form, where, options)


def _source_of(form: Form, where: str, options: SourceOptions) -> Source:
    """Make the source of data of a form; what reads them is imported now."""
    module, _, attribute = form.factory.partition(":")
    source: Source = getattr(import_module(module), attribute)(where, options)
    return source


def prepare(name: str, data_dir: Path | None = None, options: SourceOptions = NO_OPTIONS) -> DataSet:
    """Load the data set ``name`` from the cache, after fetching and decoding it where necessary.

    What a user should know of how it was made is logged.

    Raises:
        UsageError: if there is no such data set, or an option does not fit it.
        DropbenchError: if it cannot be fetched, or is damaged; it says what to do.

    """
    source = find_source(name, options)
    data_dir = data_dir or default_data_dir()
    identity = f"{source.identity}{options.identity_of_columns}"
    data = _cached(source, identity, data_dir).called(source.name, options.told)
    for note in data.notes:
        _log.warning(note)
    return data


def _cached(source: Source, identity: str, data_dir: Path) -> DataSet:
    """Load a data set from the cache, where ``identity`` tells it from others, or decode it."""
    if not source.files(data_dir):
        source.fetch(data_dir)
    files = source.files(data_dir)
    fingerprint = cache.fingerprint(identity, files)
    known = cache.find(fingerprint)
    if known is not None:
        return known
    content = cache.content_fingerprint(identity, files)
    data = cache.find(content)
    if data is None:
        data = source.decode(data_dir)
        data.check()
        data = cache.save(data)
        cache.remember(content, data)
    cache.remember(fingerprint, data)
    return data

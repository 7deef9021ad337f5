"""Files that are written whole or not at all."""

import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_whole(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Write a file beside its place and then put it there: a failure leaves what was there as it was.

    ``content`` is the bytes, or a function that writes them into the stream that it is given. A link is
    replaced, never followed.

    Raises:
        OSError: if it cannot be written.

    """
    # A name of its own for each writer, which nobody can have prepared.
    partial = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}.partial")
    with open(partial, "xb") as file:
        try:
            if callable(content):
                content(file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())  # or a power cut could leave the name without the content
            os.replace(partial, path)
        except BaseException:
            os.unlink(partial)
            raise


def write_over(path: Path, content: bytes) -> None:
    """Write a file that a user named, whole where that can be: it may be a link, a pipe or a device.

    Raises:
        OSError: if it cannot be written.

    """
    place = Path(os.path.realpath(path))
    special = path.exists() and not path.is_file()
    if special or (place.exists() and not os.access(place.parent, os.W_OK)):  # the folder takes no other file
        path.write_bytes(content)
    else:
        write_whole(place, content)

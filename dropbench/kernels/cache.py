"""The folder of the compiled kernels; does not import numba."""

import contextlib
import functools
import hashlib
import platform
import sys
from importlib import metadata
from pathlib import Path

from dropbench.folders import cache_base


def folder() -> Path:
    """Return the folder of the code compiled from these sources; numba looks at a kernel's own file alone."""
    return cache_base() / "kernels" / _digest()


def is_complete() -> bool:
    """Return whether all kernels were compiled before."""
    return (folder() / "complete").exists()


def mark_complete() -> None:
    """Remember that all kernels were compiled."""
    with contextlib.suppress(OSError):  # then they are compiled again
        (folder() / "complete").touch()


@functools.cache
def _digest() -> str:
    """Digest the sources, numba and Python; numba itself tells processors apart."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    digest = hashlib.sha256(b"\0".join(source.read_bytes() for source in sources))
    with contextlib.suppress(metadata.PackageNotFoundError):
        digest.update(metadata.version("numba").encode())
    digest.update(f"{sys.implementation.cache_tag} {platform.machine()}".encode())
    return digest.hexdigest()[:16]

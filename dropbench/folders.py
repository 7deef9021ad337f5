"""The folder of everything that dropbench keeps for later, and could make again."""

import os
from pathlib import Path

from platformdirs import user_cache_path


def cache_base() -> Path:
    """Return ``$DROPBENCH_CACHE_DIR``, or dropbench's own folder in the platform's cache folder."""
    return Path(os.environ.get("DROPBENCH_CACHE_DIR") or user_cache_path("dropbench"))

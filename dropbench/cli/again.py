"""The command that goes on, exactly as it was given."""

import os
import sys

from dropbench.run.shell import command_line, quoted

PREFIX = "DROPBENCH_"
WITHOUT_FLAG = ("DROPBENCH_CACHE_DIR",)
"""Variables that no flag sets."""


def command_again() -> str:
    """Return this command with the options that it took from variables, as one line for a shell."""
    told = [
        f"{name}={quoted(value)}"
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIX) and name not in WITHOUT_FLAG and value
    ]
    return " ".join([*told, command_line(["dropbench", *sys.argv[1:]])])

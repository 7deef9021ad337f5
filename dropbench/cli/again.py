"""The command that goes on, exactly as it was given."""

import os
import sys

from dropbench.run.shell import command_line, quoted

PREFIX = "DROPBENCH_"
PLACES = ("DROPBENCH_CACHE_DIR", "DROPBENCH_DATA_DIR")
"""Variables of a user's folders, which say nothing of a command."""


def command_again() -> str:
    """Return this command with the options that it took from variables, as one line for a shell."""
    told = [
        f"{name}={quoted(value)}"
        for name, value in sorted(os.environ.items())
        if name.startswith(PREFIX) and name not in PLACES and value
    ]
    return " ".join([*told, command_line(["dropbench", *sys.argv[1:]])])

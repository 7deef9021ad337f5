"""The entry point, which imports nothing that takes time before it answers Ctrl-C."""

import io
import signal
import sys


def main() -> None:
    """Run the command line; exit codes: 0 ok, 1 error, 2 usage, 3 failed runs, 130 interrupted."""
    try:
        for stream in (sys.stdout, sys.stderr):  # a pipe of Windows knows few letters, which must not end it
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        from dropbench.cli.main import run

        code = run(sys.argv[1:])
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # what is left to do is Python's own
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        sys.stderr.write("dropbench: Interrupted.\n")
        code = 130
    sys.exit(code)

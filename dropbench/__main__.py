"""``python -m dropbench`` is the ``dropbench`` command."""

from dropbench.cli.start import main

if __name__ == "__main__":
    main()

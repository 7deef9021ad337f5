"""``python -m dropbench`` is the ``dropbench`` command."""

from dropbench.cli.main import main

if __name__ == "__main__":
    main()

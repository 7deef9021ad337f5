"""``dropbench verify``: dropout here against exact mathematics."""

from pathlib import Path

import typer

from dropbench.cli.console import present, tell
from dropbench.cli.options import AsJson, Out


def verify(folder: Out = Path("results"), as_json: AsJson = False) -> None:
    """Prove on this machine that dropout is what the lecture and the 2014 paper say.

    Masks, both scaling conventions, all subnetworks of small nets, ridge regression, Monte-Carlo averaging,
    gradients; with torch.nn.Dropout as the oracle. Some seconds. Ends with 1 if a check fails.

    Examples:

        dropbench verify

        dropbench verify --json
    """
    from dropbench.experiments.verify.run import verify as carry_out
    from dropbench.report.folder import verify_report
    from dropbench.results.store import Store

    verify_id, checks = carry_out(Store(folder))
    present(verify_report(folder, verify_id).tables, as_json)
    tell(f"checks: {folder / 'checks.csv'}")
    if not all(check.passed for check in checks):
        raise typer.Exit(1)

"""Carry out all checks, in the order of the table, and record them."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime

import torch

from dropbench.engine.device import describe
from dropbench.experiments.verify import averages, masks, moments, subnetworks, variants
from dropbench.experiments.verify.check import Check
from dropbench.results.schema import CHECKS, SCHEMA_VERSION
from dropbench.results.store import Store

GROUPS = (
    masks.mask_checks,
    variants.variant_checks,
    moments.moment_checks,
    masks.expectation_checks,
    subnetworks.convention_checks,
    subnetworks.enumeration_checks,
    subnetworks.ridge_checks,
    averages.average_checks,
    masks.gradient_check,
    masks.oracle_checks,
)


def all_checks() -> Iterator[Check]:
    """Carry out every check on the CPU with fixed seeds, and yield them one by one."""
    for group in GROUPS:
        yield from group()


def verify(store: Store) -> tuple[str, list[Check]]:
    """Carry out every check and record it in checks.csv; returns the verify_id of the rows, and the checks.

    Raises:
        DropbenchError: if a row cannot be written.

    """
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    where = describe(torch.device("cpu"))
    verify_id = hashlib.sha256(f"{started_at} {where}".encode()).hexdigest()[:12]
    checks = list(all_checks())
    store.append_rows(
        CHECKS,
        (
            {
                **where,
                "schema_version": SCHEMA_VERSION,
                "verify_id": verify_id,
                "started_at": started_at,
                "check": check.name,
                "theory": check.theory,
                "expected": check.expected,
                "measured": check.measured,
                "tolerance": check.tolerance,
                "unit": check.unit,
                "passed": "yes" if check.passed else "no",
            }
            for check in checks
        ),
    )
    return verify_id, checks

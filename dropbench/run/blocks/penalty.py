"""Penalties beside the loss. Weight decay stands with the optimizer."""

from dataclasses import dataclass

from dropbench.errors import UsageError
from dropbench.run.grammar import parse_penalties
from dropbench.run.setting import Block, Range, setting

PANEL = "Training"
SPARSITY_TARGET = 0.05
_WEIGHT = Range(least=0, hint="Write 0 or more.")


@dataclass(frozen=True, kw_only=True)
class PenaltySettings(Block):
    """The L1 penalty, whose gradient the optimizer adds, and KL sparsity; see dropbench.engine.penalties."""

    l1: float = setting(
        0.0,
        help="L1 penalty: weight of the sum of the absolute weights, which is added to the mean loss.",
        flag="--l1",
        panel=PANEL,
        parse=parse_penalties,
        range=_WEIGHT,
        title="L1 penalty",
        tuned=True,
    )
    kl_sparsity: float = setting(
        0.0,
        help="KL sparsity: weight of a penalty that draws the mean activations of the hidden units to the "
        "sparsity target.",
        flag="--kl-sparsity",
        panel=PANEL,
        parse=parse_penalties,
        range=_WEIGHT,
        title="KL sparsity",
        tuned=True,
    )
    sparsity_target: float = setting(
        SPARSITY_TARGET,
        help="Mean activation that KL sparsity draws each hidden unit to.",
        flag="--sparsity-target",
        panel=PANEL,
    )

    def check(self) -> None:
        """Refuse a target without its penalty."""
        if self.sparsity_target != SPARSITY_TARGET and not self.kl_sparsity:
            raise UsageError("A sparsity target alone does nothing.", "Add `kl_sparsity`.")

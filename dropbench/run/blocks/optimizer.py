"""How a run is trained: stochastic gradient descent, its rate and its length."""

from dataclasses import dataclass

from dropbench.run.grammar import parse_bounds, parse_decays, parse_rates
from dropbench.run.setting import COUNT, NOT_NEGATIVE, POSITIVE, Block, Range, setting

PANEL = "Training"
CONSTANT = "constant"
LEARNING_RATE_SCHEDULES = ("one-cycle", "cosine", CONSTANT)
PRECISIONS = ("fp32", "tf32", "bf16")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Block):
    """SGD with momentum; what is None where it is told follows the model's recipe."""

    epochs: int = setting(
        None,
        help="Passes over the training examples.",
        flag="--epochs",
        panel=PANEL,
        from_recipe=True,
        range=COUNT,
        words="{} epochs",
        always=True,
    )
    patience: int | None = setting(
        None,
        help="End a run when the validation loss has not fallen for this many epochs, and test the net of "
        "its best epoch; the epochs are then the most that there are.",
        flag="--patience",
        panel=PANEL,
        says_default="none: all epochs are trained",
        range=COUNT,
        since="0.2",
    )
    precision: str = setting(
        "fp32",
        help="Precision of matrix products: fp32, tf32 or bf16; never auto.",
        choices=PRECISIONS,
        words="{}",
        always=True,
    )
    max_norm: float | None = setting(
        None,
        help="Upper bound on the norm of each unit's incoming weights; larger ones are scaled down to it.",
        flag="--max-norm",
        panel=PANEL,
        says_default="none",
        empty="none",
        parse=parse_bounds,
        range=Range(above=0, hint="Write a bound above 0, like 3."),
        title="max-norm",
        tuned=True,
    )
    weight_decay: float = setting(
        None,
        help="Weight decay (L2 penalty) on the weights, not on the biases.",
        flag="--weight-decay",
        panel=PANEL,
        from_recipe=True,
        parse=parse_decays,
        range=NOT_NEGATIVE,
        tuned=True,
    )
    learning_rate: float = setting(
        None,
        help="Peak learning rate of SGD.",
        flag="--learning-rate",
        panel=PANEL,
        from_recipe=True,
        parse=parse_rates,
        range=POSITIVE,
        always=True,
        tuned=True,
    )
    learning_rate_schedule: str = setting(
        None,
        help="one-cycle: rises for 30 % of the steps, then falls along a cosine. cosine: falls only. "
        "constant: stays, as it does with a patience unless another is told.",
        flag="--learning-rate-schedule",
        panel=PANEL,
        from_recipe=True,
        choices=LEARNING_RATE_SCHEDULES,
        words="({})",
        always=True,
    )
    momentum: float = setting(
        None,
        help="Momentum of SGD.",
        flag="--momentum",
        panel=PANEL,
        from_recipe=True,
        range=Range(least=0, below=1),
    )
    batch_size: int = setting(
        None,
        help="Images per training step.",
        flag="--batch-size",
        panel=PANEL,
        from_recipe=True,
        range=COUNT,
        words="batches of {}",
    )
    snapshots: int = setting(
        0,
        help="Cycles of the learning rate, each ending in a member of a snapshot ensemble (Huang et al. "
        "2017); 0: one schedule and one net.",
        range=NOT_NEGATIVE,
    )

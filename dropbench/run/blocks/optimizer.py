"""How a run is trained: the optimizer, its rate and its length."""

from dataclasses import dataclass

from dropbench.catalog.optimizers import (
    OPTIMIZERS,
    SGD,
    canonical_options,
    class_of,
    known_as,
    options_of,
    takes,
)
from dropbench.errors import UsageError
from dropbench.run.grammar import parse_bounds, parse_names, parse_penalties, parse_rates
from dropbench.run.setting import COUNT, NOT_NEGATIVE, POSITIVE, Block, Range, setting

PANEL = "Training"
CONSTANT = "constant"
LEARNING_RATE_SCHEDULES = ("one-cycle", "cosine", CONSTANT)
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(Block):
    """The optimizer and its schedule; what is None where it is told follows the model's recipe."""

    name: str = setting(
        SGD,
        name="optimizer",
        help="; ".join(f"{name}: {each.summary}" for name, each in OPTIMIZERS.items())
        + "; or torch.optim:Class, such as torch.optim:NAdam.",
        flag="--optimizer",
        panel=PANEL,
        parse=parse_names,
        canonical=known_as,
        choices=tuple(OPTIMIZERS),
        open_ended=True,
        axis=17,
        words="{}",
        since="0.2",
    )
    options: str = setting(
        "",
        name="optimizer_options",
        help="Options of the optimizer's class in torch, key=value with commas between them: "
        "betas=(0.9,0.95),eps=1e-6.",
        flag="--optimizer-options",
        panel=PANEL,
        says_default="torch's own",
        canonical=canonical_options,
        words="{}",
        since="0.2",
    )

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
        help="Precision of matrix products: fp32, tf32, bf16, or fp16 with loss scaling; never auto.",
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
        help="Weight decay of the weights, not of biases and other parameters of one dimension: an L2 "
        "penalty; with adamw and muon decoupled from the gradient.",
        flag="--weight-decay",
        panel=PANEL,
        from_recipe=True,
        parse=parse_penalties,
        range=NOT_NEGATIVE,
        tuned=True,
    )
    learning_rate: float = setting(
        None,
        help="Peak learning rate.",
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
    momentum: float | None = setting(
        None,
        help="Momentum of sgd; of the other optimizers it is an option.",
        flag="--momentum",
        panel=PANEL,
        from_recipe=True,
        range=Range(least=0, below=1),
    )
    clip_norm: float | None = setting(
        None,
        help="Upper bound on the Euclidean norm of the gradient of all parameters, which is scaled down "
        "to it.",
        flag="--clip-norm",
        panel=PANEL,
        says_default="none; 1 in a regression",
        range=POSITIVE,
        words="gradients clipped to {}",
        since="0.2",
    )
    label_smoothing: float = setting(
        0.0,
        help="Share of a label that is spread evenly over all classes while the net trains (Szegedy et al. "
        "2016); the losses that are recorded are those of the labels themselves.",
        flag="--label-smoothing",
        panel=PANEL,
        range=Range(least=0, below=1),
        since="0.2",
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

    def check(self) -> None:
        """Refuse an optimizer that there is not, and options and a momentum that it does not have."""
        if self.name != SGD:
            if self.name not in OPTIMIZERS:
                class_of(self.name)
                if self.weight_decay and not takes(self.name, "weight_decay"):
                    raise UsageError(f"{self.name} has no weight decay.", "Leave out `weight_decay`.")
            if self.momentum is not None:
                option = f"`optimizer_options=momentum={self.momentum:g}`"
                has = takes(self.name, "momentum")
                raise UsageError(
                    f"`momentum` is of sgd, and the optimizer is {self.name}.",
                    f"Write {option}." if has else "Leave it out, or see `optimizer_options`.",
                )
            if self.learning_rate is None:
                raise UsageError(f"No learning rate is known for {self.name}.", "Add `learning_rate`.")
        options_of(self.name, self.options)

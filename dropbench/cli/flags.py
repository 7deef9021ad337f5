"""The flags that the training commands share: spelt, explained and read once."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from dropbench.catalog.dropouts import VARIANTS, variant_of
from dropbench.catalog.models import CLASSIFIERS, RECIPES, recipe_of
from dropbench.cli.common_flags import DATA, DROPOUT, MODEL, OUTPUT, TRAINING, MachineFlags, option
from dropbench.cli.console import tell
from dropbench.errors import UsageError
from dropbench.run import grammar
from dropbench.run.config import RunConfig

if TYPE_CHECKING:
    from dropbench.runners.base import Extras

P_HELP = "Probability of dropping a unit of the hidden, fully connected layers."


def _default(field: str) -> str:
    """What the recipes say about a field, for the help."""
    by_value: dict[Any, list[str]] = {}
    for name, recipe in RECIPES.items():
        by_value.setdefault(getattr(recipe, field), []).append(name)
    if len(by_value) == 1:
        return f"(default: {next(iter(by_value))})"
    values = (f"{value} for {', '.join(names)}" for value, names in by_value.items())
    return f"(default: {'; '.join(values)})"


@dataclass(frozen=True, kw_only=True)
class TrainingFlags(MachineFlags):
    """What every command can be told whose user decides what is trained; text where a sweep takes lists."""

    train_size: Annotated[
        str,
        option("--train-size", "Train on this many images, stratified, after the validation split.", DATA),
    ] = "all"
    activation: Annotated[
        str, option("--activation", "relu, logistic, selu, or of the mlp maxout.", MODEL)
    ] = "relu"
    dropout: Annotated[
        str,
        option(
            "--dropout",
            "; ".join(f"{name}: {variant.summary}" for name, variant in VARIANTS.items())
            + "; or package.module:Class, a torch module made by Class(p). A sweep takes several.",
            DROPOUT,
        ),
    ] = "bernoulli"
    schedule: Annotated[
        str,
        option(
            "--schedule",
            "When there is dropout: constant; early (up to the cutoff epoch); late (after it); ramp (p rises "
            "to its value in that epoch). A sweep takes several.",
            DROPOUT,
        ),
    ] = "constant"
    cutoff_epoch: Annotated[
        int | None,
        option(
            "--cutoff-epoch",
            "Of the schedule. (default: half of the epochs; the last for ramp)",
            DROPOUT,
            min=1,
        ),
    ] = None
    p_input: Annotated[str, option("--p-input", "Probability of dropping an input value.", DROPOUT)] = "0"
    max_norm: Annotated[
        float | None,
        option(
            "--max-norm",
            "Bound on the norm of each unit's incoming weights, projected after each step. (default: none)",
            TRAINING,
        ),
    ] = None
    l1: Annotated[
        float, option("--l1", "Times the sum of all weights' sizes, added to the loss.", TRAINING)
    ] = 0.0
    kl_sparsity: Annotated[
        float,
        option(
            "--kl-sparsity",
            "Times the divergence of the hidden units' mean activations from --sparsity-target, added to "
            "the loss.",
            TRAINING,
        ),
    ] = 0.0
    sparsity_target: Annotated[
        float, option("--sparsity-target", "The mean activation that --kl-sparsity wants.", TRAINING)
    ] = 0.05
    epochs: Annotated[
        int | None, option("--epochs", f"Passes over the training images. {_default('epochs')}", TRAINING)
    ] = None
    batch_size: Annotated[
        int | None, option("--batch-size", f"Images a step. {_default('batch_size')}", TRAINING)
    ] = None
    learning_rate: Annotated[
        float | None,
        option("--learning-rate", f"Peak learning rate of SGD. {_default('learning_rate')}", TRAINING),
    ] = None
    learning_rate_schedule: Annotated[
        str | None,
        option(
            "--learning-rate-schedule",
            "one-cycle (up over 30 % of the steps, then down a cosine) or cosine (down only). "
            + _default("learning_rate_schedule"),
            TRAINING,
        ),
    ] = None
    momentum: Annotated[float | None, option("--momentum", f"Of SGD. {_default('momentum')}", TRAINING)] = (
        None
    )
    weight_decay: Annotated[
        float | None,
        option("--weight-decay", f"On weights, not on biases. {_default('weight_decay')}", TRAINING),
    ] = None

    def shared_fields(self) -> dict[str, Any]:
        """The fields of RunConfig that no command takes a list of."""
        return {
            "activation": self.activation,
            "max_norm": self.max_norm,
            "l1": self.l1,
            "kl_sparsity": self.kl_sparsity,
            "sparsity_target": self.sparsity_target,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "learning_rate_schedule": self.learning_rate_schedule,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
        }

    def swept_fields(self) -> dict[str, Any]:
        """The fields of a Grid that every command takes lists of; raises UsageError."""
        return {
            "p_drop_input": grammar.parse_probabilities(self.p_input, "--p-input"),
            "train_size": grammar.parse_train_sizes(self.train_size),
            "dropout": grammar.parse_names(self.dropout),
            "dropout_schedule": grammar.parse_names(self.schedule),
            "cutoff_epoch": self.cutoff_epoch,
        }

    def tell_if_in_vain(self, configs: Collection[RunConfig]) -> None:
        """Say so where a variant or a schedule was asked for and it changes nothing."""
        for name in {config.dropout.variant for config in configs if not config.without_dropout}:
            if variant_of(name).of_maps and not any(
                config.dropout.p_drop_conv
                or config.dropout.p_drop_input
                or recipe_of(config.model.name).hidden_maps
                for config in configs
                if config.dropout.variant == name
            ):
                tell(f"Full layers have no maps, so --dropout {name} is bernoulli there: add --p-conv.")
        if all(config.without_dropout for config in configs):
            for flag, given, default in (
                ("--dropout", self.dropout, "bernoulli"),
                ("--schedule", self.schedule, "constant"),
            ):
                if given != default:
                    tell(f"Every p is 0, so {flag} {given} does nothing.")


@dataclass(frozen=True, kw_only=True)
class Flags(TrainingFlags):
    """What every command that trains a classifier can be told."""

    model: Annotated[
        str,
        option(
            "--model",
            " ".join(f"{name}: {RECIPES[name].summary}." for name in CLASSIFIERS)
            + " Or package.module:factory, which makes a module from (shape, classes, config).",
            MODEL,
        ),
    ] = "lecture-cnn"
    layers: Annotated[
        str | None,
        option("--layers", "Hidden units of the mlp's layers. (default: 1024,1024,2048)", MODEL),
    ] = None
    pieces: Annotated[
        int, option("--pieces", "Linear functions that a maxout unit is the largest of.", MODEL, min=1)
    ] = 5
    width: Annotated[
        float, option("--width", "Times the hidden units and channels of the net's layers.", MODEL)
    ] = 1.0
    widened: Annotated[
        bool,
        option(
            "--widen",
            "Give layers n/(1 − p) units, so that n of them are kept on average.",
            MODEL,
        ),
    ] = False
    p_conv: Annotated[
        str, option("--p-conv", "Probability of dropping a unit after each convolution block.", DROPOUT)
    ] = "0"
    panel: Annotated[
        bool,
        option(
            "--panel",
            "Also measure the hidden units: activity, independence, error without a share of them.",
            OUTPUT,
        ),
    ] = False

    def base_config(self, **more: Any) -> RunConfig:
        """The run that the flags describe, apart from what ``more`` says; raises UsageError."""
        if recipe_of(self.model).task != "classify":
            raise UsageError(f"The {self.model} does not classify.", "It is what dropbench features trains.")
        return RunConfig(
            data=self.data,
            model=self.model,
            pieces=self.pieces,
            width=self.width,
            widened=self.widened,
            **self.shared_fields(),
            **more,
        )

    def single_config(self, **more: Any) -> RunConfig:
        """As base_config, with one value for each of the flags that a sweep takes lists of."""
        sizes = grammar.parse_train_sizes(self.train_size)
        return self.base_config(
            train_size=grammar.only(sizes, "--train-size"),
            layers=None if self.layers is None else grammar.parse_layers(self.layers),
            p_drop_input=grammar.parse_probability(self.p_input, "--p-input"),
            p_drop_conv=grammar.parse_probability(self.p_conv, "--p-conv"),
            dropout=self.dropout,
            dropout_schedule=self.schedule,
            cutoff_epoch=self.cutoff_epoch,
            **more,
        )

    def extras(self) -> "Extras":
        """What a run does beside its config."""
        from dropbench.runners.base import Extras

        return Extras(self.compiled, self.panel)

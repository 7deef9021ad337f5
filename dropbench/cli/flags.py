"""The flags that the training commands share: spelt, explained and read once."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropbench import grammar
from dropbench.cli.config_file import ConfigFile
from dropbench.cli.console import tell
from dropbench.config import RunConfig
from dropbench.errors import UsageError
from dropbench.recipes import CLASSIFIERS, RECIPES, recipe_of
from dropbench.variants import VARIANTS

if TYPE_CHECKING:
    from dropbench.experiments.workbench import Policy, Workbench
    from dropbench.runners.base import RunnerOptions

DROPOUT = "Dropout (p is the probability of DROPPING a unit)"
DATA, MODEL, TRAINING, MACHINE, OUTPUT = "Data", "Model", "Training", "Machine", "Output"
P_HELP = "Probability of dropping a unit of the hidden, fully connected layers."


def _default(field: str) -> str:
    """What the recipes say about a field, for the help."""
    by_value: dict[Any, list[str]] = {}
    for name in CLASSIFIERS:
        by_value.setdefault(getattr(RECIPES[name], field), []).append(name)
    if len(by_value) == 1:
        return f"(default: {next(iter(by_value))})"
    values = (f"{value} for {', '.join(names)}" for value, names in by_value.items())
    return f"(default: {'; '.join(values)})"


def _option(flag: str, help: str, panel: str, **more: Any) -> Any:
    return typer.Option(flag, help=help, rich_help_panel=panel, **more)


Device = Annotated[str, _option("--device", "auto, cpu or cuda.", MACHINE, envvar="DROPBENCH_DEVICE")]
Precision = Annotated[
    str,
    _option(
        "--precision",
        "Of matrix products: auto (bf16 where the hardware has it), fp32, tf32 (CUDA only) or bf16.",
        MACHINE,
        envvar="DROPBENCH_PRECISION",
    ),
]
Out = Annotated[Path, _option("--out", "Folder of the CSV files.", OUTPUT, envvar="DROPBENCH_OUT")]
AsJson = Annotated[bool, _option("--json", "Print the result as JSON.", OUTPUT)]


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What every training command can be told, as text where a sweep takes lists."""

    data: Annotated[
        str,
        _option(
            "--data",
            "mnist5k (embedded), mnist, fashion-mnist, kmnist, cifar10, cifar100, svhn, or folder:PATH.",
            DATA,
            envvar="DROPBENCH_DATA",
        ),
    ] = "mnist5k"
    data_dir: Annotated[
        Path | None,
        _option(
            "--data-dir",
            "Where torchvision's data sets are, or go when downloaded. (default: the user's data folder)",
            DATA,
            envvar="DROPBENCH_DATA_DIR",
        ),
    ] = None
    train_size: Annotated[
        str,
        _option("--train-size", "Train on this many images, stratified, after the validation split.", DATA),
    ] = "all"
    model: Annotated[
        str,
        _option(
            "--model",
            " ".join(f"{name}: {RECIPES[name].summary}." for name in CLASSIFIERS)
            + " Or package.module:factory, which makes a module from (shape, classes, config).",
            MODEL,
        ),
    ] = "lecture-cnn"
    layers: Annotated[
        str | None,
        _option("--layers", "Hidden units of the mlp's layers. (default: 1024,1024,2048)", MODEL),
    ] = None
    activation: Annotated[str, _option("--activation", "relu, logistic or selu.", MODEL)] = "relu"
    dropout: Annotated[
        str,
        _option(
            "--dropout",
            "; ".join(f"{name}: {variant.summary}" for name, variant in VARIANTS.items())
            + "; or package.module:Class, a torch module made by Class(p). A sweep takes several.",
            DROPOUT,
        ),
    ] = "bernoulli"
    schedule: Annotated[
        str,
        _option(
            "--schedule",
            "When there is dropout: constant; early (up to the cutoff epoch); late (after it); ramp (p rises "
            "to its value in that epoch). A sweep takes several.",
            DROPOUT,
        ),
    ] = "constant"
    cutoff_epoch: Annotated[
        int | None,
        _option(
            "--cutoff-epoch",
            "Of the schedule. (default: half of the epochs; the last for ramp)",
            DROPOUT,
            min=1,
        ),
    ] = None
    p_input: Annotated[str, _option("--p-input", "Probability of dropping an input value.", DROPOUT)] = "0"
    p_conv: Annotated[
        str, _option("--p-conv", "Probability of dropping a unit after each convolution block.", DROPOUT)
    ] = "0"
    max_norm: Annotated[
        float | None,
        _option(
            "--max-norm",
            "Bound on the norm of each unit's incoming weights, projected after each step. (default: none)",
            TRAINING,
        ),
    ] = None
    epochs: Annotated[
        int | None, _option("--epochs", f"Passes over the training images. {_default('epochs')}", TRAINING)
    ] = None
    batch_size: Annotated[
        int | None, _option("--batch-size", f"Images a step. {_default('batch_size')}", TRAINING)
    ] = None
    learning_rate: Annotated[
        float | None,
        _option("--learning-rate", f"Peak learning rate of SGD. {_default('learning_rate')}", TRAINING),
    ] = None
    learning_rate_schedule: Annotated[
        str | None,
        _option(
            "--learning-rate-schedule",
            "one-cycle (up over 30 % of the steps, then down a cosine) or cosine (down only). "
            + _default("learning_rate_schedule"),
            TRAINING,
        ),
    ] = None
    momentum: Annotated[float | None, _option("--momentum", f"Of SGD. {_default('momentum')}", TRAINING)] = (
        None
    )
    weight_decay: Annotated[
        float | None,
        _option("--weight-decay", f"On weights, not on biases. {_default('weight_decay')}", TRAINING),
    ] = None
    device: Device = "auto"
    precision: Precision = "auto"
    compiled: Annotated[
        bool,
        _option(
            "--compile",
            "Train through torch.compile: for a GPU and long runs. On the CPU it is slower.",
            MACHINE,
        ),
    ] = False
    threads: Annotated[
        int | None,
        _option(
            "--threads",
            "CPU threads of a run; the same number gives the same bits. (default: cores / runs at a time)",
            MACHINE,
            min=1,
        ),
    ] = None
    panel: Annotated[
        bool,
        _option(
            "--panel",
            "Also measure the hidden units: activity, independence, error without a share of them.",
            OUTPUT,
        ),
    ] = False
    out: Out = Path("results")
    config: ConfigFile = None

    def base_config(self, **more: Any) -> RunConfig:
        """The run that the flags describe, apart from what ``more`` says; raises UsageError."""
        fields_given = {
            "model": self.model,
            "activation": self.activation,
            "max_norm": self.max_norm,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "learning_rate_schedule": self.learning_rate_schedule,
            "momentum": self.momentum,
            "weight_decay": self.weight_decay,
            **more,
        }
        if recipe_of(str(fields_given["model"])).task != "classify":
            raise UsageError(f"The {self.model} does not classify.", "It is what dropbench features trains.")
        return RunConfig(data=self.data, **fields_given)

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

    def tell_if_nothing_is_dropped(self, configs: Iterable[RunConfig]) -> None:
        """Say so where a variant or a schedule was asked for and every p is 0."""
        if all(config.is_reference for config in configs):
            for flag, given, default in (
                ("--dropout", self.dropout, "bernoulli"),
                ("--schedule", self.schedule, "constant"),
            ):
                if given != default:
                    tell(f"Every p is 0, so {flag} {given} does nothing.")

    def set_up(self) -> "Workbench":
        """Prepare the data, and resolve device and precision; raises DropbenchError."""
        from dropbench.experiments.workbench import Workbench

        runner = self.runner_options()
        return Workbench.set_up(self.data, self.data_dir, self.device, self.precision, tell, runner)

    def runner_options(self) -> "RunnerOptions":
        """How runs are carried out: one run needs no pool."""
        from dropbench.runners.base import Extras, RunnerOptions

        return RunnerOptions("serial", threads=self.threads, extras=Extras(self.compiled, self.panel))


@dataclass(frozen=True, kw_only=True)
class SweepFlags(Flags):
    """What every command of many runs can be told besides."""

    jobs: Annotated[
        int | None,
        _option(
            "--jobs",
            "Runs at a time. (default: one per core, on CUDA one per GPU, on Ray all that have room)",
            MACHINE,
            min=1,
            envvar="DROPBENCH_JOBS",
        ),
    ] = None
    runner: Annotated[
        str,
        _option(
            "--runner",
            "auto, serial (this process), process (a pool on this machine) or ray (a cluster; needs the "
            "extra dropbench\\[ray]).",
            MACHINE,
            envvar="DROPBENCH_RUNNER",
        ),
    ] = "auto"
    ray_address: Annotated[
        str | None,
        _option(
            "--ray-address",
            "Of the cluster's head, HOST:PORT or auto. (default: a Ray of its own on this machine)",
            MACHINE,
            envvar="DROPBENCH_RAY_ADDRESS",
        ),
    ] = None
    gpus_per_run: Annotated[
        float | None,
        _option("--gpus-per-run", "GPUs of a Ray worker; 0.25: four share one. (default: 1)", MACHINE),
    ] = None
    retry_failed: Annotated[
        bool, _option("--retry-failed", "Do again what failed or diverged before.", OUTPUT)
    ] = False
    force: Annotated[bool, _option("--force", "Do again whatever was done before.", OUTPUT)] = False
    fail_fast: Annotated[bool, _option("--fail-fast", "Stop at the first run that fails.", OUTPUT)] = False

    def runner_options(self) -> "RunnerOptions":
        """How runs are carried out; raises UsageError for values that fit no runner."""
        from dropbench.runners.base import Extras, RunnerOptions

        extras = Extras(self.compiled, self.panel)
        return RunnerOptions(
            self.runner, self.jobs, self.threads, extras, self.ray_address, self.gpus_per_run
        )

    def policy(self) -> "Policy":
        """Which runs are done again, and what a failure means."""
        from dropbench.experiments.workbench import Policy

        return Policy(self.retry_failed, self.force, self.fail_fast)

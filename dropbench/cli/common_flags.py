"""The flags of every command that trains or looks at this machine: images, device, workers, folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dropbench.cli.config_file import ConfigFile

if TYPE_CHECKING:
    from dropbench.experiments.workbench import Workbench
    from dropbench.runners.base import Extras, RunnerOptions

DROPOUT = "Dropout (p is the probability of DROPPING a unit)"
DATA, MODEL, TRAINING, MACHINE, OUTPUT = "Data", "Model", "Training", "Machine", "Output"


def option(flag: str, help: str, panel: str | None = None, **more: Any) -> Any:
    """An option with its help, in a panel of the help page; ``--so-called`` is DROPBENCH_SO_CALLED, too."""
    name = flag.partition("/")[0].removeprefix("--").replace("-", "_").upper()
    # One sentence in the help of dropbench tells them all.
    return typer.Option(
        flag, help=help, rich_help_panel=panel, envvar=f"DROPBENCH_{name}", show_envvar=False, **more
    )


Device = Annotated[str, option("--device", "auto, cpu or cuda.", MACHINE)]
Precision = Annotated[
    str,
    option(
        "--precision",
        "Of matrix products: auto (bf16 where the hardware has it), fp32, tf32 (CUDA only) or bf16.",
        MACHINE,
    ),
]
Out = Annotated[Path, option("--out", "Folder of the CSV files.", OUTPUT)]
AsJson = Annotated[bool, option("--json", "Print the result as JSON.", OUTPUT)]


@dataclass(frozen=True, kw_only=True)
class MachineFlags:
    """What every command that trains can be told of the images, the machine and the folder."""

    data: Annotated[
        str,
        option(
            "--data",
            "mnist5k (embedded), mnist, fashion-mnist, kmnist, cifar10, cifar100, svhn, or folder:PATH.",
            DATA,
        ),
    ] = "mnist5k"
    data_dir: Annotated[
        Path | None,
        option(
            "--data-dir",
            "Where torchvision's data sets are, or go when downloaded. (default: the user's data folder)",
            DATA,
        ),
    ] = None
    device: Device = "auto"
    precision: Precision = "auto"
    compiled: Annotated[
        bool,
        option(
            "--compile",
            "Train through torch.compile: for a GPU and long runs. On the CPU it is slower.",
            MACHINE,
        ),
    ] = False
    threads: Annotated[
        int | None,
        option(
            "--threads",
            "CPU threads of a run; the same number gives the same bits. (default: cores / runs at a time)",
            MACHINE,
            min=1,
        ),
    ] = None
    out: Out = Path("results")
    config: ConfigFile = None

    def set_up(self) -> "Workbench":
        """Prepare the data, and resolve device and precision; raises DropbenchError."""
        from dropbench.experiments.workbench import Workbench

        runner = self.runner_options()
        return Workbench.set_up(self.data, self.data_dir, self.device, self.precision, runner)

    def runner_options(self) -> "RunnerOptions":
        """How runs are carried out: one run needs no pool."""
        from dropbench.runners.base import RunnerOptions

        return RunnerOptions("serial", threads=self.threads, extras=self.extras())

    def extras(self) -> "Extras":
        """What a run does beside its config."""
        from dropbench.runners.base import Extras

        return Extras(self.compiled)

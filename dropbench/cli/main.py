"""The commands put together, and every error a user can cause said in one line."""

import errno
import re
from typing import Annotated

import typer

import dropbench
from dropbench.cli import (
    compare_bagging,
    data,
    doctor,
    features,
    find,
    models,
    paper,
    predict,
    report,
    speed,
    sweep,
    train,
    verify,
)
from dropbench.cli.console import fail, tell, tell_what_is_logged
from dropbench.cli.given import check_given
from dropbench.errors import DropbenchError

app = typer.Typer(
    name="dropbench",
    no_args_is_help=True,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("train")(train.train)
app.command("sweep")(sweep.sweep)
app.command("find")(find.find)
app.command("compare-bagging")(compare_bagging.compare_bagging)
app.command("features")(features.features)
app.command("paper")(paper.paper)
app.command("predict")(predict.predict)
app.command("verify")(verify.verify)
app.command("speed")(speed.speed)
app.command("report")(report.report)
app.command("doctor")(doctor.doctor)
app.add_typer(data.app, name="data")
app.add_typer(models.app, name="model")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"dropbench {dropbench.__version__}")
        raise typer.Exit


@app.callback()
def _dropbench(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Measure what dropout does. p is always the probability of DROPPING a unit.

    Every option of a command may also stand in a variable, --train-size as DROPBENCH_TRAIN_SIZE, or in a
    file that --config names. What comes first counts: the command line, the variable, the file.
    """


_KINDS = {
    "integer": "write a whole number, like 3.",
    "number": "write a number, like 0.5.",
    "boolean": "write true or false.",
}


def _plain(message: str) -> str:
    """A message of the parser of options, with what to write for a value that is no number."""
    found = re.search(r"Input should be a (?:valid|finite) (integer|number|boolean).*", message, re.DOTALL)
    return message[: found.start()] + _KINDS[found[1]] if found else message


def _of_system(error: OSError) -> str:
    """What the system says, by the file that it is of, where it names one."""
    reason = error.strerror or str(error)
    if error.errno != errno.ENOSPC:
        return f"{error.filename or 'The system'}: {reason}."
    where = f"the disk of {error.filename}" if error.filename else "a disk: of the results, the cache or /tmp"
    return f"There is no space left on {where}. Make room, and run the same command again."


def run(arguments: list[str]) -> int:
    """Carry out one command and return its exit code."""
    tell_what_is_logged()
    try:
        command = typer.main.get_command(app)
        check_given(command, arguments)
        code = command(arguments, prog_name="dropbench", standalone_mode=False)
    except DropbenchError as error:
        fail(str(error))
        return error.exit_code
    except OSError as error:  # a folder without permission, a disk that went away: nothing to trace
        fail(_of_system(error))
        return 1
    except typer.TyperException as error:
        if message := error.format_message():  # empty when the help was asked for by giving no arguments
            context = getattr(error, "ctx", None)
            said = _plain(message)
            fail(f"{said} See: {context.command_path if context else 'dropbench'} --help")
        return error.exit_code
    except typer.Abort:
        tell("Interrupted.")
        return 130
    return code if isinstance(code, int) else 0

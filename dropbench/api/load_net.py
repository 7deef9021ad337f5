"""A saved net as a module of torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dropbench.api.keywords import code_named
from dropbench.engine.ready_net import ReadyNet
from dropbench.engine.saved_net import SavedNet

if TYPE_CHECKING:
    from torch import nn


def load_net(path: Path | str, *, model: Any = None, dropout: Any = None) -> "nn.Module":
    """Return the net that ``train(save=…)`` or ``sweep(save_best=…)`` wrote, in eval mode on the CPU.

    It takes examples as their data set has them: images ``(batch, channels, height, width)`` with the values
    of the files, or rows of a table. It returns logits ``(batch, classes)``, in the order of its ``classes``,
    or mean and standard deviation ``(batch, 2)`` of a regression. Its part ``net`` takes what is prepared.

    Nothing in the file is executed. A net or a dropout of your own is built by your code, which you name.

    Args:
        path: the file.
        model: the code that makes the net, where it is your own: ``file.py:name``, or the function itself.
        dropout: the same for a dropout of your own.

    Raises:
        UsageError: if the net is of code that is not named, or other code is.
        DropbenchError: if the file cannot be read, or is no net of this version's.

    """
    names = code_named("model", model), code_named("dropout", dropout)
    return ReadyNet(SavedNet.read(Path(path).expanduser(), *names)).eval()

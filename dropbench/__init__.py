"""dropbench: measure what dropout does, on your own machine and data.

The calls are imported when they are first used, so that importing the package costs no torch.
"""

import sys

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and sys.orig_argv[-len(sys.argv)].endswith(__name__):
    # For python -m dropbench, the working folder comes first: none of its files is to stand before the
    # standard library's, as none does for the command dropbench.
    sys.path.append(sys.path.pop(0))

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dropbench.api.compare import compare as compare
    from dropbench.api.data import data as data
    from dropbench.api.features import features as features
    from dropbench.api.find import find as find
    from dropbench.api.load import load as load
    from dropbench.api.load_net import load_net as load_net
    from dropbench.api.paper import paper as paper
    from dropbench.api.predict import predict as predict
    from dropbench.api.sweep import sweep as sweep
    from dropbench.api.train import train as train

__version__ = "0.2.0.dev0"
__all__ = [
    "__version__",
    "compare",
    "data",
    "features",
    "find",
    "load",
    "load_net",
    "paper",
    "predict",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    """The call of this name."""
    if name.startswith("_") or name not in __all__:
        raise AttributeError(f"module 'dropbench' has no attribute {name!r}")
    return getattr(import_module(f"dropbench.api.{name}"), name)


def __dir__() -> list[str]:
    """The calls, whether they were used or not."""
    return __all__

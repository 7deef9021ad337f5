"""The models by name, each with its factory and the default settings that train it well.

A recipe is plain data, so that help texts can state the defaults without importing torch. A new model is one
file with its factory and one line in ``RECIPES``.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dropbench.catalog.code_files import ENDING
from dropbench.catalog.optimizers import ADAMW, MUON, OPTIMIZERS, SGD, rate_of_class, rates_like
from dropbench.catalog.registry import Registry
from dropbench.catalog.user_code import is_user_code, library_of
from dropbench.errors import UsageError, unknown_name

InputShape = tuple[int, ...]
"""The shape of an example as a net sees it: ``(channels, height, width)`` of an image, or ``(features,)``."""
IMAGES, TABLE = INPUTS = ("images", "table")
"""The kinds of inputs that a net may have."""


OF_OPTIMIZER: Mapping[str, Mapping[str, float]] = {
    "learning_rate": {},
    "momentum": {},
    "weight_decay": {ADAMW: 0.01, MUON: 0.01},
}
"""The settings whose default depends on the optimizer; a momentum is of SGD alone, others have options."""


@dataclass(frozen=True)
class Recipe:
    """The factory of a model and the defaults for training it.

    ``factory`` is ``module:callable``; it takes an InputShape, the number of outputs and a RunConfig, and
    returns an ``nn.Module`` (see dropbench.models). ``sites`` are its dropout sites.
    """

    factory: str
    summary: str
    sites: tuple[str, ...]
    epochs: int
    learning_rate: float
    """The rate of SGD; the momentum and the weight decay are SGD's, too."""
    adaptive_rates: Mapping[str, float]
    """The learning rate of every other optimizer of OPTIMIZERS."""
    layers: tuple[int, ...] = ()
    momentum: float | None = 0.9
    weight_decay: float = 0.0
    batch_size: int = 128
    learning_rate_schedule: str = "one-cycle"
    init: str = "corrected"
    task: str = "classify"
    """``classify``, or ``reconstruct`` for autoencoders (dropbench features)."""
    scales: bool = False
    """Whether the settings ``width`` and ``widened`` change the sizes of its hidden layers."""
    maxout: bool = False
    """Whether its hidden units can be maxout units."""
    hidden_maps: bool = False
    """Whether some of its hidden sites have feature maps."""
    on_tables: Mapping[str, Any] | None = None
    """Defaults that are others where the inputs are the columns of a table; None: it takes images alone."""

    def default(self, name: str, inputs: str, optimizer: str = SGD) -> Any:
        """The default of the setting ``name`` for ``images`` or a ``table``, with this optimizer.

        None of a learning rate: no one is known, so that it must be told.
        """
        of_table = self.on_tables or {} if inputs == TABLE else {}
        if optimizer != SGD and name in OF_OPTIMIZER:
            like = rates_like(optimizer)
            if name != "learning_rate":
                return OF_OPTIMIZER[name].get(optimizer, 0.0 if name == "weight_decay" else None)
            if like != SGD:
                return of_table.get("adaptive_rates", self.adaptive_rates).get(like, rate_of_class(optimizer))
        return of_table[name] if name in of_table else getattr(self, name)


RECIPES = Registry(
    "model",
    {
        "lecture-cnn": Recipe(
            factory="dropbench.models.lecture_cnn:LectureCNN",
            summary="3 × (conv 3×3, max-pool) with 64, 128, 256 channels, FC 512, FC 512, softmax",
            sites=("input", "conv", "hidden"),
            epochs=10,
            learning_rate=0.02,
            adaptive_rates={ADAMW: 0.003, MUON: 0.003},
            scales=True,
        ),
        "mlp": Recipe(
            factory="dropbench.models.mlp:MLP",
            summary="fully connected layers, softmax",
            sites=("input", "hidden"),
            epochs=20,
            learning_rate=0.1,
            adaptive_rates={ADAMW: 0.003, MUON: 0.003},
            layers=(1024, 1024, 2048),
            scales=True,
            maxout=True,
            on_tables={
                "layers": (128, 128),
                "epochs": 100,
                "learning_rate": 0.01,
                "batch_size": 32,
                "adaptive_rates": {ADAMW: 0.001, MUON: 0.001},
            },
        ),
        "paper-cnn": Recipe(
            factory="dropbench.models.paper_cnn:PaperCNN",
            summary="the 2014 paper's 3 × (conv 5×5, max-pool) with 96, 128, 256 channels, FC 2048, FC 2048, "
            "softmax; its last convolution is a hidden site",
            sites=("input", "conv", "hidden"),
            epochs=30,
            learning_rate=0.02,
            adaptive_rates={ADAMW: 0.003, MUON: 0.003},
            scales=True,
            hidden_maps=True,
        ),
        "autoencoder": Recipe(
            factory="dropbench.models.autoencoder:Autoencoder",
            summary="one hidden layer, and logistic outputs that reconstruct the image",
            sites=("input", "hidden"),
            epochs=20,
            learning_rate=0.01,
            adaptive_rates={ADAMW: 0.001, MUON: 0.001},
            layers=(256,),
            task="reconstruct",
        ),
    },
)
CLASSIFIERS = tuple(name for name, recipe in RECIPES.items() if recipe.task == "classify")
MODEL_OF = {IMAGES: "lecture-cnn", TABLE: "mlp"}
"""The model that is trained where none is told, by the inputs."""
_OWN = Recipe(
    "",
    "a model of the user's own",
    ("input", "conv", "hidden"),
    epochs=6,
    learning_rate=0.02,
    adaptive_rates={ADAMW: 0.001, MUON: 0.001},
    init="torch",
    on_tables={},
)
_LIBRARY = Recipe(
    "",
    "a net of torchvision or timm",
    ("conv", "hidden", "head", "residual"),
    epochs=10,
    learning_rate=0.02,
    adaptive_rates={ADAMW: 0.001, MUON: 0.001},
    weight_decay=5e-4,
    init="torch",
)


def defaults_of(setting: str) -> dict[Any, list[str]]:
    """Return the default values of a recipe's setting, each with the models that have it, in words.

    An optimizer stands for most of the models with it.
    """
    found: dict[Any, list[str]] = {}
    recipes = {**RECIPES, "a net of torchvision or timm": _LIBRARY, "one of your own": _OWN}
    for model, recipe in recipes.items():
        found.setdefault(getattr(recipe, setting), []).append(model)
        of_tables = recipe.default(setting, TABLE)
        if of_tables != getattr(recipe, setting):
            found.setdefault(of_tables, []).append(f"{model} on tables")
    for optimizer in [name for name in OPTIMIZERS if name != SGD and setting in OF_OPTIMIZER]:
        values = {model: each.default(setting, IMAGES, optimizer) for model, each in recipes.items()}
        most = Counter(values.values()).most_common(1)[0][0]
        if most is not None:
            found.setdefault(most, []).append(optimizer)
        for model, value in values.items():
            if value != most:
                found.setdefault(value, []).append(f"{model} with {optimizer}")
    return found


def recipe_of(model: str) -> Recipe:
    """Return the recipe of ``model``: one of RECIPES, ``library:net`` or ``package.module:factory``.

    Whether a library has the net is found out when it is built (dropbench.models.library).

    Raises:
        UsageError: if it is none of these.

    """
    if is_user_code(model):
        return _OWN
    if model.endswith(ENDING):
        raise UsageError(f"{model} is a file, no model.", f"Write {model}:NAME, its function or class.")
    if library_of(model):
        return _LIBRARY
    if model not in RECIPES:
        error = unknown_name("model", model, RECIPES)
        error.hint += " Others are torchvision:NAME, timm:NAME and file.py:NAME."
        raise error
    return RECIPES[model]

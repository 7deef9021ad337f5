"""The net that a run trains."""

from dataclasses import dataclass

from dropbench.catalog.models import CLASSIFIERS, MODEL_OF, RECIPES, TABLE
from dropbench.errors import UsageError
from dropbench.run.grammar import parse_layer_lists, parse_names
from dropbench.run.setting import COUNT, POSITIVE, Block, setting

PANEL = "Model"
ACTIVATIONS = ("relu", "logistic", "selu", "maxout")
OF_CLASSIFIERS = ("train", "sweep", "compare-bagging")
PIECES = 5
CORRECTED, HE, TORCH = INITIALISATIONS = ("corrected", "he", "torch")


@dataclass(frozen=True, kw_only=True)
class ModelSettings(Block):
    """The model by name, and what may be changed of it."""

    name: str = setting(
        "lecture-cnn",
        name="model",
        help="Net. "
        + "; ".join(f"{name}: {RECIPES[name].summary}" for name in CLASSIFIERS)
        + "; or package.module:factory or file.py:factory, called with an input's shape, the number of "
        "outputs and the run.",
        flag="--model",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        choices=tuple(RECIPES),
        says_default=f"lecture-cnn; {MODEL_OF[TABLE]} on tables",
        open_ended=True,
        words="{}",
        always=True,
    )
    key: str = setting("", name="model_key", help="Digest of the source of a model of your own; else empty.")
    layers: tuple[int, ...] = setting(
        None,
        help="Numbers of units in the hidden layers of the mlp.",
        flag="--layers",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        parse=parse_layer_lists,
        write="/".join,
        from_recipe=True,
        axis=5,
        words="layers {}",
    )
    activation: str = setting(
        "relu",
        help="Activation of the hidden units; maxout is for the mlp.",
        flag="--activation",
        panel=PANEL,
        choices=ACTIVATIONS,
        words="{} units",
    )
    pieces: int = setting(
        PIECES,
        help="Number of linear functions that a maxout unit takes the maximum of (Goodfellow et al. 2013).",
        flag="--pieces",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        range=COUNT,
    )
    width: float = setting(
        1.0,
        help="Multiply the numbers of hidden units and channels by this.",
        flag="--width",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        range=POSITIVE,
    )
    tied: bool = setting(
        False,
        help="Decode with the autoencoder's encoding weights, transposed.",
        flag="--tied",
        panel=PANEL,
        commands=("features",),
        axis=11,
    )
    init: str = setting(
        HE,
        help="Initial weights. he: normal, of variance gain²/fan-in (He et al. 2015). corrected: the same, "
        "and weights that noisy units go into are divided by √E(D²) of the noise D, so that signals are as "
        "large in training as without dropout (Hendrycks & Gimpel 2016). torch: as torch's modules start.",
        flag="--init",
        panel=PANEL,
        parse=parse_names,
        choices=INITIALISATIONS,
        from_recipe=True,
        axis=13,
        words="{} initialisation",
        since="0.2",
    )

    def check(self) -> None:
        """Refuse what the model has not."""
        recipe = RECIPES.get(self.name)
        if recipe is not None and not recipe.layers and self.layers:
            raise UsageError(
                f"The model {self.name} has fixed layers.", "Leave out `layers`, or use `model=mlp`."
            )
        if any(units < 1 for units in self.layers):
            raise UsageError(f"`layers` are {self.layers}.", "Every layer needs 1 unit or more.")
        if self.tied and self.name != "autoencoder":
            raise UsageError(f"The model {self.name} has no weights to tie.", "Leave out `tied`.")
        if self.activation == "maxout" and not (recipe and recipe.maxout):
            raise UsageError(f"The model {self.name} has no maxout units.", "The mlp has.")
        if self.activation != "maxout" and self.pieces != PIECES:
            raise UsageError(f"{self.activation} units have no pieces.", "Add `activation=maxout`.")
        if self.width != 1 and not (recipe and recipe.scales):
            raise UsageError(f"The model {self.name} cannot be made wider or narrower.", "Leave out `width`.")

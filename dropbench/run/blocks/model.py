"""The net that a run trains."""

from dataclasses import dataclass

from dropbench.catalog.models import CLASSIFIERS, MODEL_OF, RECIPES, TABLE
from dropbench.catalog.user_code import library_of
from dropbench.errors import UsageError
from dropbench.run.grammar import parse_layer_lists, parse_names
from dropbench.run.setting import COUNT, POSITIVE, Block, setting

PANEL = "Model"
ACTIVATIONS = ("relu", "logistic", "selu", "maxout")
OF_CLASSIFIERS = ("train", "sweep", "find", "compare-bagging")
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
        + "; torchvision:NAME or timm:NAME, which dropbench model list shows"
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
    pretrained: bool = setting(
        False,
        help="Start with the weights that torchvision or timm offers for the net, and a new classifier.",
        flag="--pretrained",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        since="0.2",
    )
    frozen: bool = setting(
        False,
        help="Train the classifier of a pretrained net alone; batch norm goes on with its statistics.",
        flag="--frozen",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        title="all but the classifier frozen",
        since="0.2",
    )
    small_images: bool = setting(
        False,
        help="Give a net of torchvision or timm the usual stem for images of 32×32 pixels: a first "
        "convolution of 3×3 and stride 1, and no pooling after it (He et al. 2016, for CIFAR-10).",
        flag="--small-images",
        panel=PANEL,
        commands=OF_CLASSIFIERS,
        title="stem for small images",
        since="0.2",
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
        self._check_library()
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

    def _check_library(self) -> None:
        """Refuse what only nets of libraries have, or have not."""
        of_library = bool(library_of(self.name))
        for name in ("pretrained", "frozen", "small_images"):
            if getattr(self, name) and not of_library:
                raise UsageError(
                    f"`{name}` is for nets of libraries, and {self.name} is none.",
                    f"Leave out `{name}`, or use `model=torchvision:NAME` or `model=timm:NAME`.",
                )
        if of_library and self.layers:
            raise UsageError(f"The model {self.name} has fixed layers.", "Leave out `layers`.")
        if of_library and self.activation != "relu":
            raise UsageError(f"The model {self.name} has activations of its own.", "Leave out `activation`.")
        if self.frozen and not self.pretrained:
            raise UsageError("Only pretrained weights are worth freezing.", "Add `pretrained`.")
        if self.small_images and self.pretrained:
            raise UsageError(
                "Pretrained weights belong to the net's own stem.",
                "Leave out `small_images`, or `pretrained`.",
            )

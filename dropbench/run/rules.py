"""The rules between the blocks of a run: each refuses what does not go together."""

from collections.abc import Callable

from dropbench.catalog.dropouts import VARIANTS, variant_of
from dropbench.catalog.models import MODEL_OF, TABLE, recipe_of
from dropbench.catalog.user_code import library_of
from dropbench.errors import UsageError
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.blocks.model import TORCH
from dropbench.run.blocks.together import Blocks


def the_model_has_the_sites(run: Blocks) -> None:
    """Units are dropped only where the model has dropout sites."""
    for site, name in PROBABILITIES.items():
        if run.dropout.p_at(site) and site not in recipe_of(run.model.name).sites:
            raise UsageError(
                f"The model {run.model.name} has no {site} dropout site.", f"Leave out `{name}`."
            )


def the_variant_is_known(run: Blocks) -> None:
    """The dropout is one of the variants, or code of the user's own."""
    variant_of(run.dropout.variant)


def the_variant_fits(run: Blocks) -> None:
    """A convention is for variants that scale; some variants want certain units."""
    if run.without_dropout:
        return
    name, variant = run.dropout.variant, variant_of(run.dropout.variant)
    if run.dropout.convention != "inverted" and not variant.scaled:
        scaled = " or ".join(known for known, each in VARIANTS.items() if each.scaled)
        raise UsageError(
            f"The dropout {name} needs no scaling at test: it has no conventions.",
            f"Leave out `convention`, or use `dropout={scaled}`.",
        )
    if library_of(run.model.name) and (variant.activation or name == "standout"):
        raise UsageError(
            f"The dropout {name} needs to know the units before it, which {run.model.name} does not tell.",
            "Use another `dropout`, or one of dropbench's models.",
        )
    if variant.activation not in ("", run.model.activation):
        raise UsageError(
            f"The dropout {name} is made for {variant.activation.upper()} units.",
            f"Add `activation={variant.activation}`.",
        )
    if name == "standout" and run.model.activation == "maxout":
        raise UsageError("Standout needs one input for each unit; maxout units have several.")


def sparse_units_are_never_negative(run: Blocks) -> None:
    """KL sparsity is a divergence of means that are 0 or more."""
    if not run.penalty.kl_sparsity:
        return
    if run.model.activation not in ("relu", "logistic") or not recipe_of(run.model.name).factory:
        raise UsageError(
            "KL sparsity is for units that are never below 0: relu or logistic ones.",
            "Leave out `kl_sparsity`, or take one of dropbench's models with such units.",
        )
    most = 1.0 if run.model.activation == "logistic" else float("inf")
    if not 0 < run.penalty.sparsity_target < most:
        raise UsageError(
            f"`sparsity_target` is {run.penalty.sparsity_target}.", f"Write a number above 0, below {most:g}."
        )


def only_scaling_models_are_widened(run: Blocks) -> None:
    """Layers that make up for dropped units are built by models that scale."""
    if run.dropout.widened and not recipe_of(run.model.name).scales:
        raise UsageError(f"The model {run.model.name} cannot be widened.", "Leave out `widened`.")


def the_schedule_fits_the_epochs(run: Blocks) -> None:
    """There is an epoch with dropout and one without it."""
    schedule, cutoff, epochs = run.dropout.schedule, run.dropout.cutoff_epoch, run.optimizer.epochs
    if cutoff is None:
        return
    switches = schedule in ("early", "late")
    if switches and epochs < 2:
        raise UsageError(f"A schedule {schedule!r} needs 2 epochs or more.", "Add `epochs`.")
    last = epochs - 1 if switches else epochs
    if cutoff > last:
        raise UsageError(
            f"`cutoff_epoch` {cutoff} leaves nothing to switch in {epochs} epochs.", f"Write 1 to {last}."
        )


def own_models_start_by_themselves(run: Blocks) -> None:
    """A model of the user's own or of a library has the weights that it makes."""
    if run.model.init != TORCH and not recipe_of(run.model.name).factory:
        raise UsageError(
            f"The model {run.model.name} makes its initial weights itself.",
            "Leave out `init`.",
        )


def snapshots_need_all_epochs(run: Blocks) -> None:
    """A run that may end early has no whole cycles of the learning rate."""
    if run.optimizer.snapshots and run.optimizer.patience is not None:
        raise UsageError(
            "Snapshots are taken at the ends of cycles, and a run with patience may end before.",
            "Leave out `patience`, or the arm snapshot.",
        )


def every_snapshot_has_an_epoch(run: Blocks) -> None:
    """A cycle of the learning rate takes an epoch at least."""
    snapshots, epochs = run.optimizer.snapshots, run.optimizer.epochs
    if snapshots > epochs:
        raise UsageError(
            f"{snapshots} snapshots need {snapshots} epochs or more, not {epochs}.",
            "A cycle of the learning rate takes an epoch at least; add `epochs`.",
        )


def boosting_is_of_classifiers(run: Blocks) -> None:
    """The objective of dropout boosting is that of a softmax."""
    if run.dropout.boosting and run.task != "classify":
        raise UsageError("Dropout boosting is for classification.", "Leave out `joint`, or the arm boosting.")


def smoothed_labels_are_of_classifiers(run: Blocks) -> None:
    """Label smoothing spreads a label over classes; dropout boosting has an objective of its own."""
    if run.optimizer.label_smoothing and run.task != "classify":
        raise UsageError("Label smoothing is for classification.", "Leave out `label_smoothing`.")
    if run.optimizer.label_smoothing and run.dropout.boosting:
        raise UsageError(
            "Dropout boosting has an objective of its own, without label smoothing.",
            "Leave out `label_smoothing`, or the arm boosting.",
        )


def autoencoders_have_no_snapshots(run: Blocks) -> None:
    """Snapshots are averaged, and reconstructions are not."""
    if run.optimizer.snapshots and run.task == "reconstruct":
        raise UsageError(f"The model {run.model.name} makes no predictions.", "Leave out `snapshots`.")


def the_model_takes_the_inputs(run: Blocks) -> None:
    """Convolutions are of images, and an autoencoder has pixels to reconstruct."""
    if run.data.inputs == TABLE and recipe_of(run.model.name).on_tables is None:
        raise UsageError(
            f"The model {run.model.name} needs images, and {run.data.name} is a table.",
            "Name a data set of images." if run.task == "reconstruct" else f"Use `model={MODEL_OF[TABLE]}`.",
        )


RULES: tuple[Callable[[Blocks], None], ...] = (
    the_model_takes_the_inputs,
    the_model_has_the_sites,
    the_variant_is_known,
    the_variant_fits,
    sparse_units_are_never_negative,
    only_scaling_models_are_widened,
    the_schedule_fits_the_epochs,
    own_models_start_by_themselves,
    snapshots_need_all_epochs,
    every_snapshot_has_an_epoch,
    boosting_is_of_classifiers,
    smoothed_labels_are_of_classifiers,
    autoencoders_have_no_snapshots,
)

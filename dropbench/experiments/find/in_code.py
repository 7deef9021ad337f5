"""Settings in code of the user's own: which dropout, with which p, at which layers of the net."""

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from dropbench.catalog.arms import ARMS, Arm
from dropbench.catalog.dropouts import variant_of
from dropbench.catalog.models import recipe_of
from dropbench.datasets.dataset import DataSet
from dropbench.dropout.residual import StochasticDepth
from dropbench.dropout.within import WithinDropout
from dropbench.experiments.find.noise import formula_of, noise_in_code
from dropbench.experiments.find.places import Place, places_of
from dropbench.run.blocks.dropout import PROBABILITIES
from dropbench.run.config import RunConfig

LONGEST = 300
"""Letters of a text, where telling the names of fewer layers can make it so short."""
NONE = "no dropout"
_MOST_NAMES = (6, 4, 3, 2, 1)
"""How many names are told at most of layers alike, from most on until the text is short enough."""

_STILL = ("still",)


def in_code(config: RunConfig, data: DataSet, arm: str = "", members: int = 1) -> str:
    """Return what ``config`` is in code that does without dropbench, in one line.

    The places are those of the net that is trained, by the names of its layers in its own code. ``arm`` is
    one of dropbench.catalog.arms.ARMS, which averages so many ``members``, nets or passes; it is empty for
    one net that predicts with all its units.

    Raises:
        UsageError: if the net cannot be built, or for an unknown arm.

    """
    kind = ARMS.find(arm) if arm else None
    if kind is not None:
        config = config.replace(mc_samples=0, **kind.changes)
        if not kind.drops:
            config = config.replace(**dict.fromkeys(PROBABILITIES.values(), 0.0))
    places = places_of(config, data)
    text = ""
    for most in _MOST_NAMES:
        dropout = [*_dropout(config, places, most), *_beside(config, places)]
        text = "; ".join([*_nets(kind, members, config), *dropout, *_passes(kind, members, config)])
        if len(text) <= LONGEST:
            break
    return text


def _nets(kind: Arm | None, members: int, config: RunConfig) -> list[str]:
    """The nets that are averaged; nothing of a single one."""
    if kind is None or not kind.is_ensemble:
        return []
    averaged = f"average the {_outputs(config)} of {members}"
    if kind.snapshots:
        return [f"{averaged} states of one net, from the ends of the last {members} learning-rate cycles"]
    bootstrap = ", each on a bootstrap (as many examples, drawn with replacement)" if kind.bootstraps else ""
    return [f"{averaged} nets trained from different seeds{bootstrap}"]


def _passes(kind: Arm | None, members: int, config: RunConfig) -> list[str]:
    """The part that dropout has in the predictions of a single net, or in its objective."""
    if kind is None or not config.dropout.drops:
        return []
    if kind.monte_carlo:
        averaged = f"average the {_outputs(config)} of {members} passes"
        return [f"at prediction keep the dropout layers in train mode and {averaged}"]
    if config.dropout.boosting:
        loss = "((softmax(z_eval).detach() - one_hot) * z).sum() / batch"
        return [f"loss {loss}, of the logits z with dropout and z_eval in eval mode"]
    return []


def _outputs(config: RunConfig) -> str:
    return "predicted distributions (a mixture)" if config.task == "regress" else "softmax outputs"


def _dropout(config: RunConfig, places: list[Place], most: int) -> list[str]:
    """The dropout of the net, layers that are alike together, in the order of the first of them."""
    own = bool(recipe_of(config.model.name).factory)
    alike: dict[tuple[str, ...], list[Place]] = {}
    for place in places:
        alike.setdefault(_key(config, place, own), []).append(place)
    everything = [place.name for place in places]
    still = _names(
        [place.name for place in alike.pop(_STILL, []) if not own and not place.added], everything, most
    )
    told = [_told(config, group, own, everything, most) for group in alike.values()]
    if not told:
        return [f"{NONE}: p = 0 in its layers {still}" if still else NONE]
    inside = [place for group in alike.values() for place in group if own and place.after]
    on_weights = variant_of(config.dropout.variant).on_weights
    if inside and not on_weights:
        pooling = " and pooling" if any(place.pooled for place in inside) else ""
        told.append(f"{'each ' if len(inside) > 1 else ''}past the activation{pooling}")
    if still:
        told.append(f"p = 0 in its layers {still}")
    if _noisy_units(places) and (formula := formula_of(config)):
        told.append(formula)
    return told


def _noisy_units(places: list[Place]) -> bool:
    """Whether units, or weights, have the noise of the variant anywhere."""
    of_torch = (StochasticDepth, WithinDropout)
    return any(place.layer.p_drop and not isinstance(place.layer, of_torch) for place in places)


def _key(config: RunConfig, place: Place, own: bool) -> tuple[str, ...]:
    """The key that places have in common which are told together; _STILL where nothing is dropped."""
    if isinstance(place.layer, StochasticDepth) and config.dropout.p_drop_residual:
        return ("residual",)  # with a p of its own for each
    if not place.layer.p_drop:
        return _STILL
    if isinstance(place.layer, WithinDropout):
        return "within", place.layer.attribute, f"{place.layer.p_drop:g}"
    where = "head" if place.added else "input" if own and not place.after else ""
    return "units", noise_in_code(config, place), where


def _told(config: RunConfig, alike: list[Place], own: bool, everything: list[str], most: int) -> str:
    """The noise of places that are alike, and where they are."""
    place = max(alike, key=lambda each: each.layer.p_drop)
    names = _names([each.name for each in alike], everything, most)
    if isinstance(place.layer, WithinDropout):
        return f"{place.layer.attribute} = {place.layer.p_drop:g} in its layers {names}"
    after = [each.after for each in alike]
    noise = noise_in_code(config, place)
    if isinstance(place.layer, StochasticDepth):
        least = min(each.layer.p_drop for each in alike)
        rising = f", p rising from {least:.3g} to that," if least < place.layer.p_drop else ""
        where = f"after {_names(after, after, most)}" if place.added else f"as its layers {names}"
        return f"{noise}{rising} {where}"
    if variant_of(config.dropout.variant).on_weights:
        before = [each.before for each in alike]
        return f"{noise} on the weights of {_names(before, before, most)}"
    if place.added:
        return f"{noise} before its classifier {place.before}"
    if not own:
        return f"{noise} as its layers {names}"
    return f"{noise} after {_names(after, after, most)}" if place.after else f"{noise} on the input"


def _beside(config: RunConfig, places: list[Place]) -> list[str]:
    """The rest of the dropout beside its layers: sizes, when units are dropped, bounds on weights."""
    told, dropout = [], config.dropout
    if dropout.drops:
        scaled = not dropout.thinned and not all(isinstance(each.layer, WithinDropout) for each in places)
        if dropout.convention == "weight-scaling" and scaled:
            told.append("the factors make weight scaling of torch's inverted dropout")
        if variant_of(dropout.variant).learns and _noisy_units(places):
            told.append("p is learned from there on: learned_p_drop in runs.csv")
        cutoff = dropout.cutoff_epoch or 1
        if dropout.schedule == "early":
            told.append(f"in epochs 1 to {cutoff} only, then p = 0")
        elif dropout.schedule == "late":
            told.append(f"from epoch {cutoff + 1} on, p = 0 before")
        elif dropout.schedule == "ramp" and cutoff > 1:
            told.append(f"p rises linearly from 0 in epoch 1 to this in epoch {cutoff}")
        if dropout.widened:
            wide = [str(place.shape[0]) for place in places if place.after and place.layer.p_drop]
            told.append(f"these layers have {_listed(wide, 6)} units, 1 / (1 - p) times as many")
    if config.optimizer.max_norm is not None:
        bound = f"weight.renorm_(2, 0, {config.optimizer.max_norm:g})"
        told.append(f"after each step {bound} of every nn.Linear and nn.Conv2d")
    return told


def _names(names: Iterable[str], everything: list[str], most: int) -> str:
    """Names of layers, the numbers of many put together; ``everything`` has the names of others, too."""
    parts = _ranges(list(dict.fromkeys(names)))
    if len(parts) > most:
        parts = _patterns(parts, everything)
    return _listed(parts, most)


def _ranges(names: list[str]) -> list[str]:
    """The names, with three or more that count on from each other as the first and the last of them."""
    parts: list[list[str]] = []
    for name in names:
        if parts and _next(parts[-1][-1]) == name:
            parts[-1].append(name)
        else:
            parts.append([name])
    return [each for part in parts for each in ([f"{part[0]} to {part[-1]}"] if len(part) > 2 else part)]


def _next(name: str) -> str:
    """The name that counts on: ``hidden.3`` after ``hidden.2``; empty of a name without number."""
    head, number = re.fullmatch(r"(.*?)(\d*)", name).groups()  # type: ignore[union-attr]
    return f"{head}{int(number) + 1}" if number else ""


def _patterns(names: list[str], everything: list[str]) -> list[str]:
    """The names with * for their numbers where all names like that are among them."""
    there = set(names)
    found: dict[str, None] = {}
    for name in names:
        pattern = re.sub(r"\d+(?=.*\.)", "*", name)
        like = {each for each in everything if fnmatchcase(each, pattern)}
        found[pattern if like <= there and len(like) > 1 else name] = None
    return list(found)


def _listed(words: list[str], most: int) -> str:
    """``a``, ``a and b``, ``a, b and c``; of many the first, and how many more there are."""
    if not words:
        return ""
    if len(words) > most:
        words = [*words[:most], f"{len(words) - most} more"]
    *others, last = words
    return f"{', '.join(others)} and {last}" if others else last

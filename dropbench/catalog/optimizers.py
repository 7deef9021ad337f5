"""The optimizers by name, and the options of those that torch contains.

Names, rates and decays are plain data, so that help texts can state them without importing torch. The options
of a class of torch are known to its signature alone: it is imported where options are told.
"""

import ast
import functools
import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from dropbench.catalog.registry import Registry
from dropbench.errors import UsageError, unknown_name

SGD, ADAMW, MUON = "sgd", "adamw", "muon"
LIBRARY = "torch.optim"


@dataclass(frozen=True)
class Optimizer:
    """An optimizer; ``factory`` is the ``torch.optim:Class``, and empty where dropbench has its own."""

    factory: str
    summary: str


OPTIMIZERS = Registry(
    "optimizer",
    {
        SGD: Optimizer("", "stochastic gradient descent with momentum"),
        ADAMW: Optimizer("torch.optim:AdamW", "Adam with decoupled weight decay (Loshchilov & Hutter 2019)"),
        MUON: Optimizer(
            "torch.optim:Muon",
            "orthogonalised momentum for the matrices within a net and its convolutions, and adamw for all "
            "else (Jordan et al. 2024)",
        ),
    },
)
_RATES_LIKE = {
    **dict.fromkeys(("Adam", "Adamax", "NAdam", "RAdam", "RMSprop"), ADAMW),
    "SGD": SGD,
}
"""Classes whose steps are as long as those of an optimizer that recipes have a rate for."""
_RATES = {"ASGD": 0.01, "Adadelta": 1.0, "Adafactor": 0.01, "Adagrad": 0.01, "Rprop": 0.01}
"""The learning rates of the other classes: torch's own."""
_SPARSE = "SparseAdam"
_SET_BY_SETTINGS = {"lr": "learning_rate", "weight_decay": "weight_decay"}
_SET_BY_DROPBENCH = ("params", "foreach", "fused", "capturable", "differentiable", "maximize")
_OF_BOTH = ("adjust_lr_fn",)  # of muon: one learning rate is for its matrices and for the rest
_WORDS = {"true": True, "false": False, "none": None}


def known_as(name: str) -> str:
    """Return the one name of an optimizer: that of its class is its own where it has one."""
    return next((own for own, each in OPTIMIZERS.items() if each.factory == name), name)


def rates_like(name: str) -> str:
    """Return the optimizer of OPTIMIZERS whose learning rates suit this one; empty if none is known to."""
    return name if name in OPTIMIZERS else _RATES_LIKE.get(name.partition(":")[2], "")


def rate_of_class(name: str) -> float | None:
    """Return the learning rate of a class of torch, whatever the model is; None if none is known."""
    return _RATES.get(name.partition(":")[2])


def is_captured(name: str) -> bool:
    """Return whether all numbers of its steps lie on the device, so that a graph can hold them."""
    return name in OPTIMIZERS or name == "torch.optim:Adam"


@functools.cache
def _classes() -> dict[str, Any]:
    """The classes of torch by their names, in alphabetical order."""
    module = import_module(LIBRARY)
    return {
        known: each
        for known, each in sorted(vars(module).items())
        if inspect.isclass(each) and issubclass(each, module.Optimizer) and each is not module.Optimizer
    }


@functools.cache
def class_of(name: str) -> Any:
    """Return the class of torch.

    Raises:
        UsageError: if torch has none of this name, or one whose steps are of another kind.

    """
    library, _, attribute = (
        OPTIMIZERS[name].factory.partition(":") if name in OPTIMIZERS else name.partition(":")
    )
    if library != LIBRARY:
        error = unknown_name("optimizer", name, [*OPTIMIZERS, f"{LIBRARY}:Class"])
        written = name.rpartition(".")[2].lower()
        near = [each for each in _classes() if each.lower() == written]
        if near:
            error.hint = f"Write {LIBRARY}:{near[0]}."
        raise error
    classes = _classes()
    refused = [known for known, each in classes.items() if known == _SPARSE or _evaluates_anew(each)]
    if attribute not in classes:
        raise unknown_name(
            f"optimizer of {LIBRARY}", attribute, [each for each in classes if each not in refused]
        )
    found = classes[attribute]
    others = "Use sgd, adamw, muon, or another class of torch.optim."
    if _evaluates_anew(found):
        raise UsageError(f"{name} evaluates the loss several times in a step, as no run does.", others)
    if attribute == _SPARSE:
        raise UsageError(f"{name} takes sparse gradients alone, and no net here has them.", others)
    return found


def _evaluates_anew(kind: Any) -> bool:
    """Whether a step of a class evaluates the loss itself, as that of L-BFGS does."""
    return inspect.signature(kind.step).parameters["closure"].default is inspect.Parameter.empty


@functools.cache
def _parameters(name: str) -> Mapping[str, Any]:
    """The parameters of a class with their defaults."""
    return {key: each.default for key, each in inspect.signature(class_of(name)).parameters.items()}


def takes(name: str, parameter: str) -> bool:
    """Return whether a class of torch has a parameter of this name."""
    return parameter in _parameters(name)


def read_options(text: str) -> dict[str, Any]:
    """Return options from ``key=value,key=value``: numbers, true, false, none, tuples and words.

    Raises:
        UsageError: if the text has another form.

    """
    hint = "Write key=value,key=value, like betas=(0.9,0.95),eps=1e-6."
    try:
        call = ast.parse(f"options({text}\n)", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or ast.unparse(call.func) != "options":
            raise ValueError
        options = [(_key(each), _literal(each.value)) for each in call.keywords]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UsageError(f"`optimizer_options` {text!r} is no list of options.", hint) from None
    if len(dict(options)) < len(options):
        raise UsageError(f"`optimizer_options` {text!r} has an option twice.", "Write each once.")
    return dict(options)


def _key(keyword: ast.keyword) -> str:
    if keyword.arg is None:  # of **more
        raise ValueError
    return keyword.arg


def _literal(node: ast.expr) -> Any:
    """The value of a literal, in which true, false and none are as in TOML, and other words are text."""
    if isinstance(node, ast.Name):
        return _WORDS.get(node.id.lower(), node.id)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(map(_literal, node.elts))
    value = ast.literal_eval(node)
    if isinstance(value, bytes | dict | set | complex):
        raise ValueError
    return value


def written(options: Mapping[str, Any]) -> str:
    """Return options as text that ``read_options`` reads, in the order of their keys."""
    return ",".join(f"{key}={_value(options[key])}" for key in sorted(options))


def _value(value: Any) -> str:
    if isinstance(value, tuple | list):
        inner = ",".join(map(_value, value))
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 and 1 are one option
    return str(value) if isinstance(value, str) and value.isidentifier() else repr(value)


def canonical_options(told: Any) -> Any:
    """Return the one text of options, which may be a mapping, too; of what is neither, itself."""
    if not isinstance(told, str | Mapping):
        return told
    return written(read_options(told) if isinstance(told, str) else dict(told))


@functools.cache
def options_of(name: str, text: str) -> Mapping[str, Any]:
    """Return the options of an optimizer, checked by torch's own class.

    Raises:
        UsageError: for an option that it does not have, that dropbench sets itself, or of a wrong value.

    """
    told = read_options(text)
    if not told:
        return {}
    if name == SGD:
        raise UsageError(
            "The optimizer sgd has no options: `momentum` is a setting.",
            "Leave out `optimizer_options`, or use `optimizer=torch.optim:SGD`.",
        )
    own = _OF_BOTH if name == MUON else ()
    free = {
        key: default
        for key, default in _parameters(name).items()
        if key not in _SET_BY_SETTINGS and key not in (*_SET_BY_DROPBENCH, *own)
    }
    for key, value in told.items():
        if key in _SET_BY_SETTINGS:
            setting = _SET_BY_SETTINGS[key]
            raise UsageError(
                f"`{setting}` is a setting of its own.",
                f"Leave out {key}; write `{setting}={_value(value)}`.",
            )
        if key in (*_SET_BY_DROPBENCH, *own):
            raise UsageError(f"The option {key} is dropbench's to choose.", "Leave it out.")
        if key not in free:
            raise unknown_name(f"option of {name}", key, free)
    made = {key: _fitting(name, key, value, free[key]) for key, value in told.items()}
    _check_by_torch(name, made)
    return made


def _fitting(name: str, key: str, value: Any, default: Any) -> Any:
    """The value if it is of the kind of the default."""
    if isinstance(default, bool):
        right, kind = isinstance(value, bool), "true or false"
    elif isinstance(default, int | float):
        right, kind = _is_number(value), "a number"
    elif isinstance(default, tuple):
        length = len(default)
        right = isinstance(value, tuple) and len(value) == length
        right = right and all(_is_number(each) or each is None for each in value)
        kind = f"{length} numbers, like ({','.join(map(_value, default))})"
    else:
        return value
    if not right:
        raise UsageError(f"The option {key} of {name} is {_value(value)}.", f"Write {kind}.")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _check_by_torch(name: str, options: Mapping[str, Any]) -> None:
    """Raise UsageError for a value that torch's class refuses, be it in its first step."""
    torch = import_module("torch")
    weight = torch.zeros(2, 2)
    weight.grad = torch.ones(2, 2)
    try:
        class_of(name)([weight], **options).step()
    except (ValueError, TypeError, RuntimeError) as error:
        raise UsageError(
            f"torch refuses the options {written(options)} of {name}: {str(error).rstrip('.')}."
        ) from error

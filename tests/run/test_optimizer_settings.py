"""The optimizer of a run: its defaults, its options in one form, and what is refused in one line."""

import csv
import io

import pytest

from dropbench.catalog.models import RECIPES
from dropbench.catalog.optimizers import OPTIMIZERS, read_options, written
from dropbench.errors import UsageError
from dropbench.run import telling
from dropbench.run.config import SETTINGS, RunConfig


def test_every_model_has_a_rate_for_every_optimizer():
    of_images = [(name, "images") for name in (*RECIPES, "json:loads")]
    for model, inputs in [*of_images, ("mlp", "table")]:
        rates = {}
        for name in OPTIMIZERS:
            settings = RunConfig(model=model, inputs=inputs, optimizer=name).optimizer
            rates[name] = settings.learning_rate
            assert (settings.momentum is None) == (name != "sgd")
            assert (settings.weight_decay > 0) == (name != "sgd")
        assert rates["adamw"] < rates["sgd"]


@pytest.mark.parametrize(
    ("name", "like"),
    [("Adam", "adamw"), ("NAdam", "adamw"), ("RMSprop", "adamw"), ("SGD", "sgd"), ("Adadelta", None)],
)
def test_a_class_of_torch_has_the_rate_of_an_optimizer_like_it_or_its_own(name, like):
    settings = RunConfig(optimizer=f"torch.optim:{name}").optimizer
    expected = 1.0 if like is None else RunConfig(optimizer=like).optimizer.learning_rate
    assert (settings.learning_rate, settings.momentum, settings.weight_decay) == (expected, None, 0.0)


def test_a_config_changes_its_optimizer_and_its_defaults_with_it():
    base = RunConfig(p_drop=0.5)
    adamw = base.replace(optimizer="adamw")
    assert adamw.optimizer.learning_rate < base.optimizer.learning_rate
    assert adamw.replace(optimizer="sgd") == base
    assert RunConfig(**adamw.settings()) == adamw


def test_two_names_or_two_forms_of_options_are_one_run():
    for one, other in [
        ({"optimizer": "adamw"}, {"optimizer": "torch.optim:AdamW"}),
        ({"optimizer": "muon"}, {"optimizer": "torch.optim:Muon"}),
        (
            {"optimizer_options": "eps=1e-6,betas=(0.9,0.95)"},
            {"optimizer_options": "betas=[.9, .950], eps = 0.000001"},
        ),
        ({"optimizer_options": "eps=1"}, {"optimizer_options": {"eps": 1.0}}),
        ({"optimizer_options": "amsgrad=true"}, {"optimizer_options": {"amsgrad": True}}),
        ({}, {"optimizer_options": ""}),
    ]:
        pair = [RunConfig(**{"optimizer": "adamw", **told}) for told in (one, other)]
        assert pair[0].run_id == pair[1].run_id
    assert (
        RunConfig(optimizer="adamw", optimizer_options="eps=1").run_id != RunConfig(optimizer="adamw").run_id
    )


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"b": 1, "a": (0.9, 0.999)}, "a=(0.9,0.999),b=1"),
        ({"a": True, "b": None, "c": "original"}, "a=true,b=none,c=original"),
        ({"eps": (None, 0.001)}, "eps=(none,0.001)"),
        ({"a": (1,), "b": -0.5, "c": "two words"}, "a=(1,),b=-0.5,c='two words'"),
        ({}, ""),
    ],
)
def test_options_that_are_written_are_read_again(options, text):
    assert written(options) == text
    assert read_options(text) == options


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"optimizer": "adma"}, "adamw"),
        ({"optimizer": "adam"}, "torch.optim:Adam."),
        ({"optimizer": "torch.optim.NAdam"}, "torch.optim:NAdam."),
        ({"optimizer": "torch.optim:Nope"}, "NAdam"),
        ({"optimizer": "torch.optim:Optimizer"}, "NAdam"),
        ({"optimizer": "torch.optim:lr_scheduler"}, "NAdam"),
        ({"optimizer": "collections:OrderedDict"}, "torch.optim:Class"),
        ({"optimizer": "torch.optim:LBFGS"}, "several times"),
        ({"optimizer": "torch.optim:SparseAdam"}, "sparse"),
        ({"optimizer": "adamw", "momentum": 0.9}, "sgd"),
        ({"optimizer": "torch.optim:RMSprop", "momentum": 0.9}, "optimizer_options=momentum=0.9"),
        ({"optimizer": "torch.optim:Rprop", "weight_decay": 0.1}, "weight decay"),
        ({"optimizer_options": "nesterov=true"}, "torch.optim:SGD"),
        ({"optimizer": "adamw", "optimizer_options": "beta=0.9"}, "'betas'"),
        ({"optimizer": "adamw", "optimizer_options": "lr=0.1"}, "`learning_rate=0.1`"),
        ({"optimizer": "adamw", "optimizer_options": "weight_decay=0"}, "`weight_decay=0`"),
        ({"optimizer": "adamw", "optimizer_options": "fused=true"}, "dropbench"),
        ({"optimizer": "adamw", "optimizer_options": "maximize=true"}, "dropbench"),
        ({"optimizer": "muon", "optimizer_options": "adjust_lr_fn=original"}, "dropbench"),
        ({"optimizer": "adamw", "optimizer_options": "betas=0.9"}, "2 numbers"),
        ({"optimizer": "adamw", "optimizer_options": "betas=(0.9,1.5)"}, "1.5"),
        ({"optimizer": "adamw", "optimizer_options": "eps=true"}, "a number"),
        ({"optimizer": "adamw", "optimizer_options": "amsgrad=1"}, "true or false"),
        ({"optimizer": "muon", "optimizer_options": "ns_steps=200"}, "less than 100"),
        ({"optimizer": "muon", "optimizer_options": "ns_steps=1.5"}, "ns_steps"),
        ({"optimizer": "adamw", "optimizer_options": "eps=1e-6,eps=1e-7"}, "twice"),
        ({"optimizer": "adamw", "optimizer_options": 3}, "text"),
        *(
            ({"optimizer": "adamw", "optimizer_options": text}, "key=value")
            for text in ("eps", "eps=", "=1", "**x", "eps=f(1)", "eps=1)(", "eps=nan()", "(", "eps=b'1'")
        ),
        ({"optimizer": "adamw", "optimizer_options": "eps=1e999"}, "a number"),
        ({"label_smoothing": 1.0}, "below 1"),
        ({"label_smoothing": -0.1}, "0"),
        ({"clip_norm": 0.0}, "above 0"),
        ({"label_smoothing": 0.1, "model": "autoencoder"}, "classification"),
        ({"label_smoothing": 0.1, "model": "mlp", "inputs": "table", "task": "regression"}, "classification"),
        ({"label_smoothing": 0.1, "joint": True, "p_drop": 0.5}, "boosting"),
    ],
    ids=str,
)
def test_what_is_wrong_is_told_in_one_line(told, says):
    with pytest.raises(UsageError) as caught:
        RunConfig(**told)
    assert "\n" not in str(caught.value)
    assert says.lower() in str(caught.value).lower() or says in ("0", "below 1")


def test_a_row_of_a_csv_file_is_the_run_again():
    config = RunConfig(optimizer="adamw", optimizer_options="betas=(0.9,0.95),eps=1e-6", clip_norm=1.0)
    file = io.StringIO()
    writer = csv.DictWriter(file, config.row().keys())
    writer.writeheader()
    writer.writerow(config.row())
    (row,) = csv.DictReader(io.StringIO(file.getvalue()))
    told = {
        name: each.value(float(row[name] or "nan") if each.is_number else row[name])
        for name, each in SETTINGS.items()
        if row[name]
    }
    assert RunConfig(**told).run_id == config.run_id


def test_a_title_tells_the_optimizer_and_not_its_own_defaults():
    names = tuple(SETTINGS)
    told = telling.title(RunConfig(optimizer="adamw", p_drop=0.5).settings(), names)
    assert "adamw" in told
    assert "weight decay" not in told
    assert "momentum" not in told
    assert "weight decay 0.2" in telling.title(
        RunConfig(optimizer="adamw", weight_decay=0.2).settings(), names
    )

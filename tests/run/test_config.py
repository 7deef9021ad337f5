"""What makes two runs the same run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dropbench.errors import UsageError
from dropbench.run.config import SETTINGS, RunConfig

CHANGES = {
    "data_key": "0123", "train_size": 100, "model": "mlp", "p_drop": 0.1, "p_drop_input": 0.2,
    "p_drop_conv": 0.1, "convention": "weight-scaling", "max_norm": 3.0, "epochs": 7, "batch_size": 64,
    "learning_rate": 0.5, "learning_rate_schedule": "cosine", "momentum": 0.5, "weight_decay": 0.1,
    "precision": "bf16", "seed": 1, "member": 1, "dropout": "gaussian", "bootstrap": True, "mc_samples": 5,
    "dropout_key": "0123", "model_key": "0123", "dropout_schedule": "ramp", "thinned": True, "joint": True,
    "snapshots": 3, "width": 0.5, "widened": True, "l1": 0.1, "kl_sparsity": 0.1, "init": "he",
    "pixels": "unit", "patience": 2, "random_numbers": "mt19937", "augment": "flip", "optimizer": "adamw",
    "clip_norm": 1.0, "label_smoothing": 0.1,
    "p_drop_head": 0.1, "p_drop_residual": 0.1, "pretrained": True, "small_images": True,
}  # fmt: skip
OF_LIBRARIES = ("p_drop_head", "p_drop_residual", "pretrained", "small_images")
OF_SOURCE = {
    "data": "cifar10", "task": "regression", "target": "y", "test_file": "f", "test_share": 0.3,
    "image_size": "8", "fit": "pad", "skip_unreadable": True, "inputs": "table",
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_every_field_that_changes_a_number_changes_the_run_id(name):
    base = RunConfig(model="torchvision:vgg11") if name in OF_LIBRARIES else RunConfig(p_drop=0.5)
    assert base.replace(**{name: CHANGES[name]}).run_id != base.run_id


def test_the_mlp_has_its_own_fields():
    base = RunConfig(model="mlp")
    early = base.replace(p_drop=0.5, dropout_schedule="early")
    assert early.run_id != early.replace(cutoff_epoch=1).run_id
    auto = RunConfig(model="autoencoder")
    assert auto.run_id != auto.replace(tied=True).run_id
    assert base.replace(layers=(8,)).run_id != base.run_id != base.replace(activation="logistic").run_id
    maxout, sparse = base.replace(activation="maxout"), base.replace(kl_sparsity=0.1)
    assert maxout.run_id != maxout.replace(pieces=2).run_id
    assert sparse.run_id != sparse.replace(sparsity_target=0.1).run_id
    pretrained = RunConfig(model="torchvision:vgg11", pretrained=True)
    assert pretrained.run_id != pretrained.replace(frozen=True).run_id
    assert set(SETTINGS) == {
        *CHANGES,
        "pieces",
        "sparsity_target",
        "layers",
        "activation",
        "cutoff_epoch",
        "tied",
        "optimizer_options",
        "frozen",
        *OF_SOURCE,
    }


def test_what_is_the_same_run_has_the_same_run_id():
    assert RunConfig(max_norm=3).run_id == RunConfig(max_norm=3.0).run_id
    assert RunConfig(data="mnist", data_key="k").run_id == RunConfig(data="folder:x", data_key="k").run_id
    assert RunConfig().run_id == RunConfig(convention="weight-scaling").run_id, "nothing is dropped"
    assert RunConfig().run_id == RunConfig(init="he").run_id != RunConfig(init="torch").run_id
    assert RunConfig().run_id == RunConfig(random_numbers="mt19937").run_id, "nothing is drawn"


@pytest.mark.parametrize("name", OF_SOURCE)
def test_the_digest_of_the_data_stands_for_how_they_were_made(name):
    """Without it, as before the data are there, they are told apart; with it they are the same data."""
    known = RunConfig(data_key="k", model="mlp", layers=(8,), epochs=2, learning_rate=0.1, batch_size=8)
    unknown = known.replace(data_key="")
    assert known.replace(**{name: OF_SOURCE[name]}).run_id == known.run_id
    assert unknown.replace(**{name: OF_SOURCE[name]}).run_id != unknown.run_id


def test_a_recorded_run_id_never_changes():
    """These stand in people's CSV files; a change here makes every recorded run be done again."""
    assert RunConfig(epochs=6).run_id == "eda4a0d4b78b"
    recorded = RunConfig(
        model="mlp", p_drop=0.5, data_key="0123456789abcdef", init="he", random_numbers="mt19937"
    )
    assert recorded.run_id == "06f7fbc31052"


@given(st.decimals(0, 1, places=4).map(float).filter(lambda p: p < 1))
def test_p_keep_is_the_exact_complement(p):
    keep = RunConfig(p_drop=p).dropout.p_keep
    assert keep == pytest.approx(1 - p, abs=1e-15)
    assert len(repr(keep)) <= 6 or "e" in repr(keep)


@pytest.mark.parametrize(
    "wrong",
    [{"p_drop": 1.0}, {"p_drop": float("nan")}, {"model": "lecture"}, {"epochs": 0}, {"learning_rate": 0.0},
     {"learning_rate": float("nan")}, {"momentum": 1.0}, {"weight_decay": -1.0}, {"max_norm": 0.0},
     {"precision": "fp8"}, {"convention": "both"}, {"model": "mlp", "p_drop_conv": 0.1}, {"layers": (5,)},
     {"train_size": 0}, {"seed": -1}, {"batch_size": 0}, {"activation": "tanh"}, {"tied": True},
     {"p_drop": 0.5, "dropout": "alpha"}, {"p_drop": 0.5, "dropout": "gauss"}, {"cutoff_epoch": 2},
     {"dropout_schedule": "early", "epochs": 6, "cutoff_epoch": 6}, {"dropout_schedule": "late", "epochs": 1},
     {"dropout_schedule": "early", "p_drop": 0.5, "mc_samples": 5}, {"dropout_schedule": "never"},
     {"model": "mlp", "layers": (0,)}, {"snapshots": 7, "epochs": 6}, {"snapshots": 2, "patience": 1},
     {"patience": 0}, {"model": "json:loads", "init": "he"}, {"init": "orthogonal"}, {"pixels": "grey"},
     {"width": 0.0}, {"width": float("nan")},
     {"model": "autoencoder", "width": 0.5}, {"model": "autoencoder", "snapshots": 2},
     {"model": "autoencoder", "joint": True}, {"p_drop": 0.5, "thinned": True, "dropout": "gaussian"},
     {"p_drop": 0.5, "thinned": True, "dropout_schedule": "ramp"},
     {"p_drop": 0.5, "thinned": True, "mc_samples": 2}, {"p_drop": 0.5, "thinned": True, "joint": True},
     {"activation": "maxout"}, {"pieces": 3}, {"sparsity_target": 0.1}, {"l1": -1.0}, {"l1": float("nan")},
     {"model": "mlp", "activation": "maxout", "pieces": 0}, {"kl_sparsity": float("inf")},
     {"activation": "selu", "kl_sparsity": 0.1}, {"kl_sparsity": 0.1, "sparsity_target": 0.0},
     {"model": "mlp", "activation": "logistic", "kl_sparsity": 0.1, "sparsity_target": 1.0},
     {"model": "json:loads", "kl_sparsity": 0.1}, {"model": "autoencoder", "widened": True},
     {"model": "mlp", "activation": "maxout", "dropout": "standout", "p_drop": 0.5}],
)  # fmt: skip
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(UsageError):
        RunConfig(**wrong)

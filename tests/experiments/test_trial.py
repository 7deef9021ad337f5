"""Nets of the user's own are tried before the first run: a fault is one line, a good net passes silently."""

import logging
import re

import pytest
import torch
from experiments.broken_nets import (
    AlwaysTraining,
    AnotherInTraining,
    Attention,
    AttentionAlone,
    BatchNorm,
    ChangesWhatIsNeeded,
    ColourImages,
    Detached,
    Exits,
    Functional,
    FunctionalOfMaps,
    Good,
    InAttention,
    InEval,
    InPlace,
    KeepsTensors,
    Lazy,
    LogSoftmax,
    MadeInForward,
    NaNOutputs,
    NaNWeights,
    NeverShaped,
    NoisyTraining,
    NumberOfTen,
    NumberSqueezed,
    NumpyNoise,
    OfMaps,
    OfTen,
    OneForAll,
    OneFrozen,
    OneStatistics,
    OneUnusedDropout,
    Raises,
    RandomInEvaluation,
    Recurrent,
    RecurrentGRU,
    RecurrentPacked,
    RecurrentRNN,
    SevenOutputs,
    Shared,
    Softmax,
    SpectralNorm,
    Squeezes,
    Tuple,
    TwoNames,
    TwoNumbers,
    UnusedDropout,
    UnusedLayer,
    Views,
    WeightNorm,
)

import dropbench as db
from dropbench.dropout.control import dropout_layers, monte_carlo, set_streams
from dropbench.engine.train import train
from dropbench.errors import UsageError
from dropbench.experiments.workbench import Workbench
from dropbench.models.build import build_model
from dropbench.run.config import RunConfig
from dropbench.run.machine import Machine

NAME = "experiments.broken_nets:make_"


def bound(data, net, panel=False, **settings):
    """The run of a net, as it is bound before anything is trained."""
    told = {"p_drop": 0.5, "epochs": 2, "batch_size": 16, "learning_rate": 0.05, **settings}
    bench = Workbench.set_up(data, Machine(device="cpu"), panel)
    return bench.bind([RunConfig(model=f"{NAME}{net.__name__}", **told)])[0]


def warnings_of(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


FAULTS = [
    (MadeInForward, r"random in evaluation: dropout with p = 0.3 \(broken_nets.py, line \d+\)"),
    (
        AlwaysTraining,
        r"random in evaluation: dropout with p = 0.25 \(broken_nets.py, line \d+\).*training=self",
    ),
    (RandomInEvaluation, "random in evaluation: two passes differ"),
    (SevenOutputs, r"makes outputs \(2, 7\) of inputs \(2, 1, 8, 8\); a tensor \(2, 3\) is wanted"),
    (Tuple, r"makes a tuple of inputs .* a tensor \(2, 3\) is wanted"),
    (AnotherInTraining, r"makes a dict of inputs \(2, 1, 8, 8\) in training"),
    (Squeezes, r"makes outputs \(3,\) of inputs \(1, 1, 8, 8\)"),
    (ColourImages, r"given inputs \(2, 1, 8, 8\), raised RuntimeError: .*to have 3 channels.*, line \d+\)"),
    (Views, r"view size is not compatible.*broken_nets.py, line \d+\)"),
    (NaNWeights, "first.bias that are not finite"),
    (NaNOutputs, "values that are not finite before it has learned"),
    (Detached, "depend on no parameter"),
    (Raises, r"raised ValueError: no o{197}… \("),
    (UnusedDropout, "never uses its dropout dropout"),
    (NeverShaped, "never uses its lazy parameter second.weight"),
    (InEval, "with its dropout dropout in eval mode"),
    (KeepsTensors, "its outputs in a second step, raised RuntimeError: Trying to backward through"),
    (ChangesWhatIsNeeded, "the gradient of its outputs, raised RuntimeError: one of the variables"),
    (Exits, r"raised SystemExit: 3 \(.*broken_nets.py, line"),
    (OneForAll, "the first.2.bias, first.2.weight that another run has trained"),
    (OneStatistics, "the first.1.num_batches_tracked, first.1.running_mean.* that another run"),
]


@pytest.mark.parametrize(("net", "said"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_one_line_before_the_first_run(blobs, net, said):
    with pytest.raises(UsageError, match=said) as raised:
        bound(blobs, net)
    assert len(str(raised.value)) < 500


SUSPICIONS = [
    (Functional, r"in those without dropout: dropout with p = 0.25 \(broken_nets.py, line \d+\)"),
    (FunctionalOfMaps, r"in those without dropout: dropout2d with p = 0.25 \(broken_nets.py, line \d+\)"),
    (NumpyNoise, "draws random numbers in training"),
    (InAttention, r"scaled_dot_product_attention with p = 0.4 \(broken_nets.py, line \d+\)"),
    (NoisyTraining, "draws random numbers in training"),
    (Softmax, "are probabilities already"),
    (UnusedLayer, "No gradient reaches 2 parameters of .*: second.bias, second.weight"),
    (OneUnusedDropout, "never uses its dropout other"),
]


@pytest.mark.parametrize(("net", "said"), SUSPICIONS, ids=lambda value: getattr(value, "__name__", ""))
def test_what_may_not_be_meant_is_a_warning(blobs, net, said, caplog):
    bound(blobs, net)
    (told,) = warnings_of(caplog)
    assert re.search(said, told), told


PASSING = [
    Good, LogSoftmax, Lazy, BatchNorm, WeightNorm, SpectralNorm, Shared, TwoNames, InPlace, Attention,
    AttentionAlone, Recurrent, RecurrentGRU, RecurrentPacked, RecurrentRNN, OneFrozen,
]  # fmt: skip


@pytest.mark.parametrize("net", PASSING)
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_good_net_passes_in_silence_and_trains(blobs, net, p, caplog):
    config = bound(blobs, net, p_drop=p)
    assert warnings_of(caplog) == []
    result = train(config, blobs)
    assert result.status == "ok", result.message
    again = train(config, blobs)
    assert result.epochs[-1].train_loss == again.epochs[-1].train_loss


def test_every_dropout_of_torch_is_a_site(blobs, caplog):
    config = bound(blobs, OfMaps, p_drop=0.2, p_drop_conv=0.3)
    assert warnings_of(caplog) == []
    assert train(config, blobs).status == "ok"


WITHIN = [
    Attention,
    AttentionAlone,
    Recurrent,
    RecurrentGRU,
    RecurrentPacked,
    RecurrentRNN,
    OfMaps,
    TwoNames,
    InPlace,
]


@pytest.mark.parametrize("net", WITHIN)
def test_the_net_without_dropout_does_not_drop(blobs, net):
    model = build_model(blobs.input_shape, 3, bound(blobs, net, p_drop=0.0)).train()
    images = torch.randn(4, *blobs.input_shape)
    before = torch.get_rng_state()
    assert torch.equal(model(images), model(images))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("net", [Attention, AttentionAlone, Recurrent, RecurrentGRU])
def test_monte_carlo_passes_drop_within_and_are_those_of_their_stream(blobs, net):
    model = build_model(blobs.input_shape, 3, bound(blobs, net)).eval()
    images = torch.randn(64, *blobs.input_shape)

    def passes():
        set_streams(model, "mc", 0, 0)
        with torch.no_grad(), monte_carlo(model):
            return model(images), model(images)

    with torch.no_grad():
        assert torch.equal(model(images), model(images))
    (first, second), (again, _) = passes(), passes()
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_the_schedule_is_of_what_is_within_too(blobs):
    config = bound(blobs, AttentionAlone, dropout_schedule="early", cutoff_epoch=1)
    result = train(config, blobs)
    assert [each.p_drop for each in result.epochs] == [0.5, 0.0]


def test_torchs_own_dropout_within_is_told_where_a_variant_was_asked_for(blobs, caplog):
    bound(blobs, Attention, dropout="gaussian")
    (told,) = warnings_of(caplog)
    assert "within encoder.self_attn, attention of" in told


@pytest.mark.parametrize(
    ("net", "settings", "said"),
    [
        (Attention, {"thinned": True}, "cannot have one mask"),
        (Shared, {"thinned": True}, "thinned net needs a layer for each"),
        (Shared, {"panel": True}, "panel needs a layer for each"),
        (Shared, {"panel": True, "p_drop": 0.0}, "panel needs a layer for each"),
        (AttentionAlone, {"panel": True}, "no hidden dropout site whose units"),
        (Good, {"p_drop_conv": 0.1}, "no conv dropout site"),
    ],
)
def test_what_a_net_cannot_do_is_told(blobs, net, settings, said):
    with pytest.raises(UsageError, match=said):
        bound(blobs, net, **settings)


def test_a_layer_under_two_names_is_two_sites(blobs):
    bound(blobs, TwoNames, panel=True)
    sites = dropout_layers(build_model(blobs.input_shape, 3, bound(blobs, TwoNames)))
    assert len(sites) == 2


@pytest.mark.parametrize(
    ("settings", "mended"),
    [
        ({"batch_size": 17, "train_size": 52}, "batch_size=16` or `train_size=51"),
        ({"batch_size": 1, "train_size": 30}, "batch_size=2"),
        ({"train_size": 1}, "Take more"),
    ],
)
def test_batch_norm_and_a_last_batch_of_one(blobs, settings, mended):
    with pytest.raises(
        UsageError, match=r"has one, on which .* cannot be trained: .*more than 1 value"
    ) as raised:
        bound(blobs, BatchNorm, **settings)
    assert mended in str(raised.value)
    bound(blobs, Good, **settings)
    if "train_size=" in mended:
        assert train(bound(blobs, BatchNorm, batch_size=16, train_size=52), blobs).status == "ok"
        assert train(bound(blobs, BatchNorm, batch_size=17, train_size=51), blobs).status == "ok"


def test_a_trial_leaves_no_trace(blobs):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    config = bound(blobs, Lazy)
    assert torch.equal(before, torch.get_rng_state())
    tried = train(config, blobs)
    bound(blobs, Attention)
    assert train(config, blobs).metrics == tried.metrics


@pytest.fixture(scope="module")
def diabetes():
    return db.data("sklearn:diabetes")


@pytest.mark.parametrize("net", [OfTen, NumberOfTen])
def test_a_net_of_a_regression_of_a_table_trains(diabetes, net, caplog):
    config = bound(diabetes, net, batch_size=32)
    assert warnings_of(caplog) == []
    assert train(config, diabetes).status == "ok"


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (NumberSqueezed, r"makes outputs \(\) of inputs \(1, 10\); a tensor \(1, 1\)"),
        (TwoNumbers, r"makes outputs \(2, 2\) of inputs \(2, 10\); a tensor \(2, 1\) is wanted"),
        (Good, r"given inputs \(2, 10\), raised RuntimeError: mat1 and mat2"),
    ],
)
def test_a_net_that_is_none_of_a_table_is_told(diabetes, net, said):
    with pytest.raises(UsageError, match=said):
        bound(diabetes, net)

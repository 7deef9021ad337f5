"""The mask and the layer against the closed forms of the lecture."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import monte_carlo, set_streams
from dropbench.dropout.in_graph import drop_in_graph, number_of
from dropbench.dropout.masks import LEVELS, drop, drop_levels, drop_native, keep_mask
from dropbench.errors import UsageError

GRID = (0.001, 0.1, 0.2, 0.5, 0.8, 0.999)
# A true property fails at five standard errors once in two million checks.
STANDARD_ERRORS = 5


def layer(p: float, convention: str = "inverted", seed: int = 0) -> BernoulliDropout:
    made = BernoulliDropout(p, convention)
    made.generator = torch.Generator().manual_seed(seed)
    return made


def mask(p: float, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return keep_mask(torch.empty(shape), drop_levels(p), torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("p", GRID)
def test_mask_has_the_mean_and_variance_of_a_bernoulli_variable(p):
    kept = mask(p, (1000, 1000)).double()
    n = kept.numel()
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert abs(kept.mean() - (1 - p)) < STANDARD_ERRORS * math.sqrt(p * (1 - p) / n) + 2**-17
    # The variance of a 0/1 variable is m(1 − m) of its mean m: its own check is independence, below.
    assert abs(kept.var() - p * (1 - p)) < STANDARD_ERRORS * math.sqrt(p * (1 - p) / n) + 2**-16


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("lag", [1, 2, 3, 4, 5, 64, 1000])
def test_neighbouring_units_and_samples_are_independent(p, lag):
    """Four units share one 64-bit draw, so small lags matter; 64 is the next sample of a (…, 64) batch."""
    kept = (mask(p, (4000, 64)).flatten().double() - (1 - p)) / math.sqrt(p * (1 - p))
    correlation = (kept[lag:] * kept[:-lag]).mean()
    assert abs(correlation) < STANDARD_ERRORS / math.sqrt(len(kept) - lag)


def test_units_and_samples_have_the_same_probability_each():
    kept = mask(0.3, (2000, 50)).double()
    for means, n in ((kept.mean(0), 2000), (kept.mean(1), 50)):
        assert (means - 0.7).abs().max() < STANDARD_ERRORS * math.sqrt(0.3 * 0.7 / n)


def test_steps_draw_fresh_masks_and_the_same_seed_the_same_ones():
    dropout, units = layer(0.5), torch.ones(64, 64)
    first, second = dropout(units), dropout(units)
    assert not torch.equal(first, second)
    again = layer(0.5)
    assert torch.equal(again(units), first)
    assert torch.equal(again(units), second)


@given(st.floats(0, 1, exclude_max=True))
def test_the_probability_of_a_mask_is_within_two_to_the_minus_sixteen(p):
    levels = drop_levels(p)
    assert 0 <= levels < LEVELS
    assert abs(levels / LEVELS - p) <= 2**-16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.7])
def test_inverted_output_is_zero_or_scaled_and_its_mean_is_the_input(p, dtype):
    units = torch.full((1000, 1000), 3.0, dtype=dtype)
    dropout = layer(p)
    out = dropout(units).float()
    # The scale of the probability that the mask really has; its distance from p is checked above.
    scaled = torch.tensor(3.0 / dropout.keep).to(dtype).float()
    kept = out[out != 0]
    assert torch.allclose(kept, scaled, rtol=torch.finfo(dtype).eps)
    standard_error = 3 * math.sqrt(p / (1 - p) / out.numel())
    rounding = 3 * torch.finfo(dtype).eps / 2  # of the one value that all kept units have
    assert abs(out.double().mean() - 3) < STANDARD_ERRORS * standard_error + rounding + 3 * 2**-16


@pytest.mark.parametrize("p", [0.1, 0.5, 0.8])
def test_lecture_expectation_of_dx_is_one_minus_p_times_x(p):
    units = torch.linspace(-2, 2, 1000).expand(1000, 1000).contiguous()
    out = layer(p, "weight-scaling")(units)
    assert torch.equal(out[out != 0], units[out != 0]), "kept units stay as they are"
    error = out.double().mean(0) - (1 - p) * units[0]
    bound = STANDARD_ERRORS * units[0].abs() * math.sqrt(p * (1 - p) / 1000) + 2**-15
    assert (error.abs() <= bound).all()


@pytest.mark.parametrize("p", [0.0, *GRID])
def test_eval_is_the_identity_or_the_scaled_map_and_deterministic(p):
    units = torch.randn(50, 20, generator=torch.Generator().manual_seed(1))
    assert torch.equal(layer(p).eval()(units), units)
    scaled = layer(p, "weight-scaling").eval()
    torch.testing.assert_close(scaled(units), (1 - p) * units, rtol=1e-5, atol=4 * 2**-16)
    assert torch.equal(scaled(units), scaled(units))


@pytest.mark.parametrize("p", [0.2, 0.5, 0.8])
def test_conventions_are_one_function_up_to_the_scale(p):
    """Same mask: inverted = weight scaling ÷ (1 − p), in training and in eval alike."""
    units = torch.randn(100, 100, generator=torch.Generator().manual_seed(2))
    inverted, scaling = layer(p), layer(p, "weight-scaling")
    torch.testing.assert_close(inverted(units), scaling(units) / inverted.keep)
    torch.testing.assert_close(inverted.eval()(units), scaling.eval()(units) / inverted.keep)


def test_without_dropout_both_conventions_are_the_identity_in_training():
    units = torch.randn(10, 10)
    for convention in ("inverted", "weight-scaling"):
        assert BernoulliDropout(0.0, convention)(units) is units


def test_channels_last_input_keeps_its_layout_and_is_dropped_everywhere():
    units = torch.ones(32, 16, 8, 8).to(memory_format=torch.channels_last)
    out = layer(0.5)(units)
    assert out.is_contiguous(memory_format=torch.channels_last)
    by_channel = (out != 0).double().mean((0, 2, 3))
    assert (by_channel - 0.5).abs().max() < STANDARD_ERRORS * math.sqrt(0.25 / (32 * 64))


def test_gradient_passes_the_mask():
    units = torch.randn(20, 20, dtype=torch.float64, requires_grad=True)

    def fixed(values: torch.Tensor) -> torch.Tensor:
        return layer(0.4, seed=9)(values)  # a fresh layer: the same mask at every call

    assert torch.autograd.gradcheck(fixed, (units,))


def test_gradient_keeps_the_dtype_and_the_layout():
    units = torch.randn(4, 8, 6, 6).to(torch.bfloat16, memory_format=torch.channels_last).requires_grad_()
    layer(0.5)(units).sum().backward()
    assert units.grad.dtype == torch.bfloat16
    assert units.grad.is_contiguous(memory_format=torch.channels_last)
    assert set(units.grad.unique().tolist()) == {0.0, 2.0}


@pytest.mark.parametrize("view", [lambda t: t[::2], lambda t: t.T, lambda t: t[:, :1].expand(40, 60)])
def test_units_that_are_a_view_are_dropped_like_any(view):
    units = view(torch.randn(40, 60, generator=torch.Generator().manual_seed(0)))
    out = layer(0.5, "weight-scaling")(units)
    assert torch.equal(out[out != 0], units[out != 0])
    assert abs((out != 0).double().mean() - 0.5) < STANDARD_ERRORS * math.sqrt(0.25 / out.numel())


@pytest.mark.parametrize("p", GRID)
@pytest.mark.parametrize("scale_is_inverted", [True, False])
def test_native_dropout_has_the_same_moments_and_draws_from_its_stream_alone(p, scale_is_inverted):
    """What runs on CUDA, on the device at hand."""
    levels = drop_levels(p)
    keep = 1 - levels / LEVELS
    scale = 1 / keep if scale_is_inverted else 1.0
    units = torch.full((1000, 1000), 3.0)
    before = torch.random.get_rng_state()
    stream = torch.Generator().manual_seed(4)
    first, second = (drop_native(units, levels, scale, stream) for _ in range(2))
    again = drop_native(units, levels, scale, torch.Generator().manual_seed(4))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    torch.testing.assert_close(first[first != 0], torch.full_like(first[first != 0], 3 * scale))
    kept = (first != 0).double().mean()
    assert abs(kept - keep) < STANDARD_ERRORS * math.sqrt(keep * (1 - keep) / units.numel())


def test_dropout_in_a_compiled_graph_draws_the_same_mask():
    units = torch.randn(30, 30, generator=torch.Generator().manual_seed(0))
    levels = drop_levels(0.3)
    stream = torch.Generator().manual_seed(1)
    in_graph = drop_in_graph(units, levels, 1.5, number_of(stream))
    torch.testing.assert_close(in_graph, drop(units, levels, 1.5, torch.Generator().manual_seed(1)))


def test_monte_carlo_samples_in_eval_and_leaves_batch_norm_there():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(30), BernoulliDropout(0.5)).eval()
    set_streams(net, "mc", 0, 0, torch.device("cpu"))
    units = torch.randn(40, 30)
    calm = net(units)
    with monte_carlo(net):
        assert not torch.equal(net(units), net(units))
    assert torch.equal(net(units), calm)
    assert net[0].num_batches_tracked == 0


def test_no_stream_is_an_error_not_a_use_of_the_global_generator():
    with pytest.raises(RuntimeError, match="stream"):
        BernoulliDropout(0.5)(torch.ones(3))


@pytest.mark.parametrize("p", [1.0, -0.1, float("nan")])
def test_impossible_probability_is_refused(p):
    with pytest.raises(UsageError):
        BernoulliDropout(p)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
@pytest.mark.parametrize("p", GRID)
def test_dropout_on_cuda_has_the_right_mean_and_repeats(p):
    units = torch.ones(1000, 1000, device="cuda")
    levels = drop_levels(p)
    keep = 1 - levels / LEVELS
    outs = [drop(units, levels, 1.0, torch.Generator("cuda").manual_seed(0)) for _ in range(2)]
    assert torch.equal(*outs)
    mean = outs[0].double().mean().item()
    assert abs(mean - keep) < STANDARD_ERRORS * math.sqrt(keep * (1 - keep) / units.numel()) + 1e-6

"""The layer against the closed forms of the lecture."""

import math

import pytest
import torch

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.control import monte_carlo, set_streams
from dropbench.dropout.in_graph import Place, drawing, drop_in_graph
from dropbench.dropout.stream import Stream
from dropbench.errors import UsageError
from dropbench.kernels.draws import chance_of
from dropbench.kernels.mask import drop

GRID = (0.001, 0.1, 0.2, 0.5, 0.8, 0.999)
# A true property fails at five standard errors once in two million checks.
STANDARD_ERRORS = 5


def layer(p: float, convention: str = "inverted", seed: int = 0) -> BernoulliDropout:
    made = BernoulliDropout(p, convention)
    made.stream = Stream(seed)
    return made


def test_steps_draw_fresh_masks_and_the_same_seed_the_same_ones():
    dropout, units = layer(0.5), torch.ones(64, 64)
    first, second = dropout(units), dropout(units)
    assert not torch.equal(first, second)
    again = layer(0.5)
    assert torch.equal(again(units), first)
    assert torch.equal(again(units), second)


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


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("p", "convention", "strength"),
    [(0.3, "inverted", 1.0), (0.001, "inverted", 0.5), (0.7, "weight-scaling", 1.0), (0.7, "inverted", 0.0)],
)
def test_dropout_in_a_graph_has_the_bits_of_the_layer_forward_and_back(p, convention, strength, dtype):
    values = torch.randn(30, 30, generator=torch.Generator().manual_seed(0)).to(dtype)
    ours, theirs = layer(p, convention, seed=1), layer(p, convention, seed=1)
    place = Place(1, values.device)
    for dropout in ours, theirs:
        dropout.strength = strength
    place.follow(ours.scale)
    for _ in range(2):
        units, plain = values.clone().requires_grad_(), values.clone().requires_grad_()
        with drawing([layer(0.5).next_mask, ours.next_mask]):
            dropped = drop_in_graph(units, place)
        expected = theirs(plain)
        assert torch.equal(dropped, expected)
        dropped.backward(values)
        expected.backward(values)
        assert torch.equal(units.grad, plain.grad)
    assert ours.stream.position == theirs.stream.position


def test_a_run_that_goes_on_in_the_middle_has_the_masks_of_the_whole_one():
    whole, late, units = layer(0.5), layer(0.5), torch.ones(8, 8)
    masks = [whole(units) for _ in range(5)]
    late.stream.position = 3
    assert torch.equal(late(units), masks[3])
    assert torch.equal(late(units), masks[4])


def test_monte_carlo_samples_in_eval_and_leaves_batch_norm_there():
    net = torch.nn.Sequential(torch.nn.BatchNorm1d(30), BernoulliDropout(0.5)).eval()
    set_streams(net, "mc", 0, 0)
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
@pytest.mark.parametrize("p", GRID)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_dropout_on_cuda_has_the_mask_of_the_cpu(p, dtype):
    units = torch.ones(1000, 1000, dtype=dtype)
    chance, draw = chance_of(p), Stream(3).draw()
    on_cuda = drop(units.cuda(), chance, 1.5, draw)
    assert torch.equal(on_cuda.cpu(), drop(units, chance, 1.5, draw))

"""Alpha dropout against torch's, given the same mask."""

import pytest
import torch
import torch.nn.functional as F

from dropbench.dropout.alpha import AlphaDropout
from dropbench.dropout.stream import Stream
from dropbench.kernels.draws import chance_of
from dropbench.kernels.mask import keep_mask


def of_torch(value: float, p: float) -> list[float]:
    """What torch makes of units of this value: that of dropped ones, and that of kept ones."""
    units = torch.full((1000,), value, dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return F.alpha_dropout(units, p, training=True).unique().tolist()


@pytest.mark.parametrize("p", [0.125, 0.5, 0.75])  # multiples of 2⁻¹⁶, which a mask can have exactly
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_given_the_same_mask_it_is_torchs(p, dtype):
    units = torch.randn(60, 50, generator=torch.Generator().manual_seed(3)).to(dtype).requires_grad_()
    layer = AlphaDropout(p)
    layer.stream = Stream(4)
    out = layer(units)
    kept = keep_mask(units.detach(), chance_of(p), Stream(4).draw()).bool()
    dropped, of_zero = of_torch(0.0, p)
    _, of_one = of_torch(1.0, p)
    expected = torch.where(kept, of_zero + (of_one - of_zero) * units.detach(), dropped)
    tolerance = torch.finfo(dtype).eps
    torch.testing.assert_close(out.detach(), expected.to(dtype), rtol=4 * tolerance, atol=4 * tolerance)
    out.sum().backward()
    slope = (kept.double() * (of_one - of_zero)).to(dtype)
    torch.testing.assert_close(units.grad, slope, rtol=4 * tolerance, atol=0)

"""DropBlock against torchvision's drop_block2d, given the same centres."""

import pytest
import torch
from torchvision.ops import drop_block2d

from dropbench.dropout.dropblock import DropBlock, without_squares
from dropbench.dropout.stream import Stream


def layer(p: float) -> DropBlock:
    made = DropBlock(p)
    made.stream = Stream(2)
    return made


@pytest.mark.parametrize("shape", [(4, 3, 9, 9), (30, 2, 3, 3), (9, 2, 7, 4), (9, 2, 2, 2), (9, 2, 1, 5)])
@pytest.mark.parametrize("p", [0.1, 0.5])
def test_given_the_same_centres_it_is_torchvisions(shape, p, monkeypatch):
    units, seen = torch.randn(shape, generator=torch.Generator().manual_seed(1)), []

    def recorded(centres, block):
        seen.append((centres, block))
        return without_squares(centres, block)

    def same_centres(noise, rate):
        assert noise.shape == seen[0][0].shape
        assert rate == pytest.approx(dropblock._rate(units).probability, rel=1e-3)
        return noise.copy_(seen[0][0])

    monkeypatch.setattr("dropbench.dropout.dropblock.without_squares", recorded)
    dropblock = layer(p)
    ours = dropblock(units)
    monkeypatch.setattr(torch.Tensor, "bernoulli_", same_centres)
    theirs = drop_block2d(units, p, seen[0][1])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert set(seen[0][0].unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("side", [3, 5, 9])
def test_about_as_much_is_dropped_as_by_torchvision(side):
    maps = torch.ones(2000, 4, side, side)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = (drop_block2d(maps, 0.3, 3) == 0).double().mean((1, 2, 3))
    ours = (layer(0.3)(maps) == 0).double().mean((1, 2, 3))
    error = ((ours.var() + theirs.var()) / len(maps)).sqrt()
    assert abs(ours.mean() - theirs.mean()) < 5 * error
    assert abs(ours.std() / theirs.std() - 1) < 0.2


def test_a_batch_whose_every_unit_is_dropped_is_0():
    out = layer(1 - 1e-6)(torch.ones(2, 2, 3, 3))
    assert not out.any()


def test_units_of_no_map_are_dropped_one_by_one():
    out = layer(0.5)(torch.ones(100, 100))
    assert set(out.unique().tolist()) == {0.0, 2.0}
    assert abs((out != 0).double().mean() - 0.5) < 5 * 0.5 / 100

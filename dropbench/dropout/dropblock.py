"""DropBlock: squares of a feature map are dropped (Ghiasi et al. 2018)."""

import torch
import torch.nn.functional as F

from dropbench.dropout.bernoulli import BernoulliDropout
from dropbench.dropout.layer import Arriving
from dropbench.kernels.draws import Chance, Draw, chance_of
from dropbench.kernels.mask import keep_mask

LARGEST_BLOCK = 3


class DropBlock(BernoulliDropout):
    """Drops squares of each feature map, as torchvision's drop_block2d does.

    The squares are 3×3, or smaller on smaller maps: the nets here pool their maps down to 3×3, which the
    paper's 7×7 squares would cover entirely. Their centres are drawn at the rate γ of the paper's equation 1.
    Kept units are scaled so that the mean mask of the batch is 1. Somewhat less than p is dropped, since
    γ does not account for overlapping squares. Without feature maps it is Bernoulli dropout.

    Shapes: feature maps ``(batch, channels, height, width)``, or units of any other shape; unchanged.
    """

    def second_moment(self, arriving: Arriving) -> float:
        """Return 1/(mean mask), on maps that of (1 − γ)ᵏ over the places, which k squares of rate γ cover."""
        if arriving.units.ndim != 4:
            return super().second_moment(arriving)
        block, height, width = self.squares(arriving.units)
        squares = F.conv_transpose2d(torch.ones(1, 1, height, width), torch.ones(1, 1, block, block))
        rate = self._rate(arriving.units).probability
        return 1 / ((1 - rate) ** squares).double().mean().item()

    def disturb(self, units: torch.Tensor, draw: Draw) -> torch.Tensor:
        """Multiply the units by a new mask over its mean."""
        if units.ndim != 4:
            return super().disturb(units, draw)
        block, height, width = self.squares(units)
        places = torch.empty(
            (*units.shape[:2], height, width),
            device=units.device,  # in float32, whatever the units are: the scale is 1 over the mean of a mask
            memory_format=torch.channels_last,
        )
        mask = without_squares(1 - keep_mask(places, self._rate(units), draw), block)
        return units * (mask / mask.mean().clamp(min=1e-6)).to(units.dtype)

    def _rate(self, units: torch.Tensor) -> Chance:
        """The chance γ that a place is the centre of a square."""
        block, height, width = self.squares(units)
        return chance_of(self.p_now * units[0, 0].numel() / (block**2 * height * width))

    @staticmethod
    def squares(units: torch.Tensor) -> tuple[int, int, int]:
        """The side of the squares on these maps, an odd number, and the height and width of their places."""
        height, width = units.shape[2:]
        block = min(LARGEST_BLOCK, height, width)
        block -= (block + 1) % 2
        return block, height - block + 1, width - block + 1


def without_squares(centres: torch.Tensor, block: int) -> torch.Tensor:
    """Return the mask of maps without the squares of side ``block`` around the centres, which are 1."""
    half = block // 2
    return 1 - F.max_pool2d(F.pad(centres, [half] * 4), block, stride=1, padding=half)

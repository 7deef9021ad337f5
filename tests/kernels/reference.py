"""What kernels are compared with: torch's own operations, and values that are hard to get right."""

import torch

from dropbench.kernels.draws import Draw

DRAW = Draw(key=0x0123456789ABCDEF, number=41, site=3)
DTYPES = (torch.float32, torch.bfloat16)
SPECIAL = (0.0, -0.0, 1.0, 1.0, -1.0, 2.5, -2.5, float("inf"), -float("inf"), float("nan"), -float("nan"))


def bits(values: torch.Tensor) -> torch.Tensor:
    """The bits of the values, but that a 0 is never −0: a kernel need not keep its sign."""
    return (values + 0.0).contiguous().view(torch.int16 if values.dtype == torch.bfloat16 else torch.int32)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal to the last bit; all NaN are alike."""
    nan = one.isnan()
    return torch.equal(nan, other.isnan()) and torch.equal(bits(one)[~nan], bits(other)[~nan])


def mixed(shape: tuple[int, ...], dtype: torch.dtype, special: bool = False, seed: int = 0) -> torch.Tensor:
    """Normal values, or a mixture of special ones with many ties, channels_last where they are maps."""
    generator = torch.Generator().manual_seed(seed)
    if special:
        values = torch.tensor(SPECIAL)[torch.randint(0, len(SPECIAL), shape, generator=generator)]
    else:
        values = torch.randn(shape, generator=generator)
    memory_format = torch.channels_last if len(shape) == 4 else torch.contiguous_format
    return values.to(dtype).contiguous(memory_format=memory_format)

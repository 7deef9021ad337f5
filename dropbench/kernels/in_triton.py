"""The kernels in Triton's language, for dropbench.kernels.on_cuda alone: this module needs Triton.

Numbers that change from step to step or from run to run are not specialised, so that none of them makes
Triton compile a kernel again. The number of units is: where it is a multiple of 16, units are read 16 bytes
at a time. All numbers of a draw are int32, bit by bit, since an argument's type follows from its value; its
base is a pointer to an int64, or None.
"""

import triton
import triton.language as tl

_DRAW = ["low", "high", "part", "number", "site", "base"]


@triton.jit
def _philox(blocks, low, high, part, number, site, base):
    """The random words of these blocks, as uint32 ``(4 × blocks,)``."""
    if base is not None:
        number += tl.load(base).to(tl.int32)  # modulo 2³²
    low = low.to(tl.uint32, bitcast=True).to(tl.uint64)
    high = high.to(tl.uint32, bitcast=True).to(tl.uint64)
    a, b, c, d = tl.philox((high << 32) | low, blocks.to(tl.uint32), part, number, site, 10)
    return tl.join(tl.join(a, c), tl.join(b, d)).reshape(4 * blocks.shape[0])


@triton.jit(do_not_specialize=_DRAW)
def fill(out, count, low, high, part, number, site, base, BLOCKS: tl.constexpr):
    """Write the first ``count`` words of a draw into ``out``."""
    program = tl.program_id(0).to(tl.int64)
    words = _philox(program * BLOCKS + tl.arange(0, BLOCKS), low, high, part, number, site, base)
    places = program * 4 * BLOCKS + tl.arange(0, 4 * BLOCKS)
    tl.store(out + places, words.to(tl.int32, bitcast=True), mask=places < count)


@triton.jit(do_not_specialize=[*_DRAW, "levels"])
def drop(
    units,
    dropped,
    count,
    levels,
    scale,
    low,
    high,
    part,
    number,
    site,
    base,
    BITS: tl.constexpr,
    RELU: tl.constexpr,
    UNITS: tl.constexpr,
):
    """Write units × scale into ``dropped`` where they are kept, else 0; with 0 bits all are kept.

    With ``RELU`` the units are pre-activations. The product is rounded once, to the dtype of the units.
    """
    program = tl.program_id(0).to(tl.int64)  # there may be more units than int32 can count
    places = program * UNITS + tl.arange(0, UNITS)
    inside = places < count
    values = tl.load(units + places, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        values = tl.where(values <= 0, 0.0, values)  # NaN stays NaN, as torch's relu leaves it
    values = values * scale
    if BITS > 0:
        blocks = program * (UNITS * BITS // 128) + tl.arange(0, UNITS * BITS // 128)
        numbers = _philox(blocks, low, high, part, number, site, base)
        if BITS == 16:
            numbers = tl.join(numbers & 0xFFFF, numbers >> 16).reshape(UNITS)
        values = tl.where(numbers < levels.to(tl.uint32, bitcast=True), 0.0, values)
    tl.store(dropped + places, values.to(dropped.dtype.element_ty), mask=inside)


@triton.jit
def pass_back(gradient, activations, to_units, count, scale, UNITS: tl.constexpr):
    """Write gradient × scale into ``to_units`` where activations are not 0: relu kept them, and the mask."""
    places = tl.program_id(0).to(tl.int64) * UNITS + tl.arange(0, UNITS)
    inside = places < count
    values = tl.load(gradient + places, mask=inside, other=0.0).to(tl.float32) * scale
    stopped = tl.load(activations + places, mask=inside, other=0.0).to(tl.float32) <= 0
    tl.store(to_units + places, tl.where(stopped, 0.0, values).to(to_units.dtype.element_ty), mask=inside)

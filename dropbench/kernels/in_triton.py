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


@triton.jit(do_not_specialize=["site"])
def drop_of_runs(
    units,
    dropped,
    count,
    levels,
    bits,
    scales,
    low,
    high,
    first,
    place,
    site,
    RELU: tl.constexpr,
    UNITS: tl.constexpr,
):
    """Do what ``drop`` does with ``count`` units of each run, whose numbers are in tensors ``(runs,)``."""
    program, run = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    places = program * UNITS + tl.arange(0, UNITS)
    inside = places < count
    values = tl.load(units + run * count + places, mask=inside, other=0.0).to(tl.float32)
    if RELU:
        values = tl.where(values <= 0, 0.0, values)  # NaN stays NaN, as torch's relu leaves it
    values = values * tl.load(scales + run)
    least = tl.load(levels + run)
    if least > 0:
        k0, k1 = _word(tl.load(low + run)), _word(tl.load(high + run))
        number = _word(tl.load(first + run))
        if tl.load(bits + run) == 16:
            numbers = _numbers(program, k0, k1, number, site, place, UNITS, 16)
        else:
            numbers = _numbers(program, k0, k1, number, site, place, UNITS, 32)
        values = tl.where(numbers.to(tl.int64) < least, 0.0, values)
    tl.store(dropped + run * count + places, values.to(dropped.dtype.element_ty), mask=inside)


@triton.jit
def _numbers(program, low, high, number, site, base, UNITS: tl.constexpr, BITS: tl.constexpr):
    """The random numbers of a program's units, as uint32 ``(UNITS,)``; the draw's part is 0."""
    blocks = program * (UNITS * BITS // 128) + tl.arange(0, UNITS * BITS // 128)
    numbers = _philox(blocks, low, high, 0, number, site, base)
    if BITS == 16:
        numbers = tl.join(numbers & 0xFFFF, numbers >> 16).reshape(UNITS)
    return numbers


@triton.jit
def _word(number):
    """The lower 32 bits of an int64, with the sign of an int32 as ``_philox`` takes them."""
    return number.to(tl.uint32).to(tl.int32, bitcast=True)


@triton.jit
def pass_back_of_runs(gradient, activations, to_units, count, scales, UNITS: tl.constexpr):
    """Do what ``pass_back`` does with ``count`` units of each run, whose scales are ``(runs,)``."""
    program, run = tl.program_id(0).to(tl.int64), tl.program_id(1).to(tl.int64)
    places = program * UNITS + tl.arange(0, UNITS)
    inside = places < count
    at = run * count + places
    values = tl.load(gradient + at, mask=inside, other=0.0).to(tl.float32) * tl.load(scales + run)
    stopped = tl.load(activations + at, mask=inside, other=0.0).to(tl.float32) <= 0
    tl.store(to_units + at, tl.where(stopped, 0.0, values).to(to_units.dtype.element_ty), mask=inside)


@triton.jit
def sgd_of_runs(
    used,
    masters,
    velocities,
    gradients,
    rates,
    momenta,
    weight_decays,
    bounds,
    rows,
    columns,
    IS_WEIGHT: tl.constexpr,
    IS_ROUNDED: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Update a row of a run's weights; with ``rows`` a run. The other numbers are in tensors ``(runs,)``."""
    row = tl.program_id(0).to(tl.int64)
    run = row // rows
    column = tl.arange(0, COLUMNS)
    inside = column < columns
    at = row * columns + column
    change = tl.load(gradients + at, mask=inside, other=0.0).to(tl.float32)
    master = tl.load(masters + at, mask=inside, other=0.0)
    if IS_WEIGHT:
        change += tl.load(weight_decays + run) * master
    velocity = tl.load(velocities + at, mask=inside, other=0.0) * tl.load(momenta + run) + change
    master -= tl.load(rates + run) * velocity
    if IS_WEIGHT:
        norm, bound = tl.sqrt(tl.sum(master * master)), tl.load(bounds + run)
        if norm > bound:
            master *= bound / (norm + 1e-7)
    tl.store(velocities + at, velocity, mask=inside)
    tl.store(masters + at, master, mask=inside)
    if IS_ROUNDED:
        tl.store(used + at, master.to(used.dtype.element_ty), mask=inside)

"""Philox4x32-10, the counter-based random numbers of Salmon et al. (2011), and a site's draws of them.

A block of four 32-bit words is a function of a key and a counter, with no state to carry along: the numbers
are the same for any number of threads, in any order, on any device. The counter is (block, part, number,
site). Word w of block b is the random number of unit 4b + w; where 16 bits are enough, unit 8b + 2w + h has
the lower (h = 0) or upper (h = 1) half of that word.
"""

import numpy as np
import torch

from dropbench.kernels import compiled
from dropbench.kernels.draws import WORDS, Chance, Draw

_M0, _M1, _W0, _W1 = 0xD2511F53, 0xCD9E8D57, 0x9E3779B9, 0xBB67AE85
_ROUNDS, _MASK = 10, 0xFFFFFFFF


def words(count: int, draw: Draw, device: torch.device) -> torch.Tensor:
    """Return the first ``count`` random words of a draw as int32 ``(count,)``, bit by bit."""
    if device.type == "cpu" and compiled.usable():
        blocks = -(-count // WORDS)
        out = torch.empty(WORDS * blocks, dtype=torch.int32)
        _fill(out.numpy().view(np.uint32), *draw.counter)
        return out[:count]
    if device.type == "cuda":
        from dropbench.kernels import on_cuda  # here, since Triton is there on CUDA only

        if on_cuda.usable():
            return on_cuda.words(count, draw, device)
    return words_in_torch(count, draw, device)


def words_in_torch(count: int, draw: Draw, device: torch.device) -> torch.Tensor:
    """Return what ``words`` does, by torch's own operations on any device."""
    blocks = torch.arange(-(-count // WORDS), device=device)
    low, high, part, number, site = draw.counter_from_base
    parts, numbers, sites = (torch.full_like(blocks, value) for value in (part, number, site))
    if draw.base is not None:
        numbers = numbers + draw.base & _MASK
    words_of_block = _blocks_in_torch((blocks, parts, numbers, sites), low, high)
    numbers = torch.stack(words_of_block, dim=1).flatten()[:count]
    return torch.where(numbers < 1 << 31, numbers, numbers - (1 << 32)).to(torch.int32)


def words_of_runs(
    count: int, low: torch.Tensor, high: torch.Tensor, number: torch.Tensor, site: int
) -> torch.Tensor:
    """Return the first ``count`` random words of one draw of each run, as int64 from 0 on ``(runs, count)``.

    ``low`` and ``high`` are the words of the runs' keys and ``number`` counts their draws, all int64
    ``(runs,)``; the part is 0.
    """
    blocks = torch.arange(-(-count // WORDS), device=number.device).expand(len(number), -1)
    counter = (blocks, 0 * blocks, number[:, None].expand_as(blocks), site + 0 * blocks)
    words_of_block = _blocks_in_torch(counter, low[:, None], high[:, None])
    return torch.stack(words_of_block, dim=2).flatten(1)[:, :count]


def _blocks_in_torch(
    counter: tuple[torch.Tensor, ...], low: int | torch.Tensor, high: int | torch.Tensor
) -> list[torch.Tensor]:
    """Return the four words of each block, int64 like the counters, whose shape they have."""
    c0, c1, c2, c3 = counter
    for _ in range(_ROUNDS):
        first, second = c0 * _M0, c2 * _M1  # modulo 2⁶⁴ with a sign, whose bits are those of the product
        c0 = ((second >> 32) & _MASK) ^ c1 ^ low
        c2 = ((first >> 32) & _MASK) ^ c3 ^ high
        c1, c3 = second & _MASK, first & _MASK
        low, high = (low + _W0) & _MASK, (high + _W1) & _MASK
    return [c0, c1, c2, c3]


def happens_in_torch(count: int, chance: Chance, draw: Draw, device: torch.device) -> torch.Tensor:
    """Return for ``count`` units in order whether the event happens ``(count,)``, by torch's comparison."""
    per_word = 32 // chance.bits
    numbers = words(-(-count // per_word), draw, device).long() & _MASK
    if per_word > 1:
        numbers = torch.stack([numbers & 0xFFFF, numbers >> 16], dim=1).flatten()[:count]
    return numbers < chance.levels


@compiled.inlined
def block_of(c0, c1, c2, c3, k0, k1):  # type: ignore[no-untyped-def]
    """The four words of the counter (c0, c1, c2, c3) under the key (k0, k1), all uint32."""
    for _ in range(_ROUNDS):
        first = np.uint64(_M0) * np.uint64(c0)
        second = np.uint64(_M1) * np.uint64(c2)
        c0 = np.uint32(second >> np.uint64(32)) ^ c1 ^ k0
        c2 = np.uint32(first >> np.uint64(32)) ^ c3 ^ k1
        c1 = np.uint32(second)
        c3 = np.uint32(first)
        k0 = np.uint32(k0 + np.uint32(_W0))
        k1 = np.uint32(k1 + np.uint32(_W1))
    return c0, c1, c2, c3


@compiled.helper
def fill_words(out, first, blocks, low, high, part, number, site):  # type: ignore[no-untyped-def]
    """Write the words of ``blocks`` blocks, from the block ``first`` on, into ``out``."""
    k0, k1, c1, c2, c3 = np.uint32(low), np.uint32(high), np.uint32(part), np.uint32(number), np.uint32(site)
    for block in range(blocks):
        a, b, c, d = block_of(np.uint32(first + block), c1, c2, c3, k0, k1)
        out[4 * block] = a
        out[4 * block + 1] = b
        out[4 * block + 2] = c
        out[4 * block + 3] = d


_BLOCKS = 1024


@compiled.kernel("void(uint32[::1], int64, int64, int64, int64, int64)")
def _fill(out, low, high, part, number, site):  # type: ignore[no-untyped-def]
    blocks = len(out) // 4
    for chunk in compiled.prange((blocks + _BLOCKS - 1) // _BLOCKS):
        start = chunk * _BLOCKS
        stop = min(start + _BLOCKS, blocks)
        fill_words(out[4 * start : 4 * stop], start, stop - start, low, high, part, number, site)

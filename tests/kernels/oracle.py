"""Philox4x32-10 in plain Python, as in Salmon et al. (2011), figure 2 and table 2: the oracle."""

import math

import numpy as np

from dropbench.kernels.draws import Draw

LOW = 2**32 - 1


def block(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """The four words of one counter under one key."""
    left, key_words = list(counter), list(key)
    for _ in range(10):
        product0, product1 = 0xD2511F53 * left[0], 0xCD9E8D57 * left[2]
        left = [
            product1 // 2**32 ^ left[1] ^ key_words[0],
            product1 % 2**32,
            product0 // 2**32 ^ left[3] ^ key_words[1],
            product0 % 2**32,
        ]
        key_words = [(key_words[0] + 0x9E3779B9) % 2**32, (key_words[1] + 0xBB67AE85) % 2**32]
    return tuple(left)


def words(count: int, draw: Draw) -> np.ndarray:
    """The first words of a draw, uint32."""
    key, rest = (draw.key & LOW, draw.key >> 32), (draw.part, draw.number, draw.site)
    blocks = [block((number, *rest), key) for number in range(math.ceil(count / 4))]
    return np.array(blocks, dtype=np.uint32).flatten()[:count]


def dropped(count: int, levels: int, bits: int, draw: Draw) -> np.ndarray:
    """Whether each of the first units is dropped: its own random number is below ``levels``."""
    drawn = words(math.ceil(count * bits / 32), draw).astype("<u4")
    return drawn.view(f"<u{bits // 8}")[:count] < levels

"""Philox4x32-10: the published vectors, an oracle in plain Python, and chances."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernels import oracle

from dropbench.kernels import compiled
from dropbench.kernels.draws import Draw, chance_of
from dropbench.kernels.philox import words, words_in_torch

CPU = torch.device("cpu")
# The vectors of Random123 (Salmon et al. 2011), kat_vectors: counter, key, result.
VECTORS = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((oracle.LOW,) * 4, (oracle.LOW,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]
INTEGER = st.integers(0, 2**32 - 1)
DRAWS = st.builds(Draw, key=st.integers(0, 2**64 - 1), number=INTEGER, site=INTEGER, part=INTEGER)


def as_unsigned(drawn: torch.Tensor) -> np.ndarray:
    return drawn.numpy().view(np.uint32)


@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_the_oracle_has_the_published_vectors(counter, key, result):
    assert " ".join(f"{word:08x}" for word in oracle.block(counter, key)) == result


@pytest.mark.skipif(compiled.numba is None, reason="there is no numba here")
@pytest.mark.parametrize(("counter", "key", "result"), VECTORS)
def test_the_compiled_block_has_the_published_vectors(counter, key, result):
    from dropbench.kernels.philox import block_of

    got = block_of(*(np.uint32(word) for word in (*counter, *key)))
    assert " ".join(f"{word:08x}" for word in got) == result


def test_a_draw_begins_with_the_published_vector_of_its_counter():
    assert " ".join(f"{word:08x}" for word in as_unsigned(words(4, Draw(0, 0, 0), CPU))) == VECTORS[0][2]


@settings(deadline=None)  # the first call compiles the kernel
@given(DRAWS, st.integers(0, 50))
def test_words_are_the_oracles_by_the_kernel_and_by_torch(draw, count):
    expected = oracle.words(count, draw) if count else np.empty(0, np.uint32)
    assert np.array_equal(as_unsigned(words_in_torch(count, draw, CPU)), expected)
    assert np.array_equal(as_unsigned(words(count, draw, CPU)), expected)


@settings(deadline=None)
@given(DRAWS, st.integers(0, 2**40))
def test_a_base_on_the_device_is_added_to_the_number(draw, base):
    held = torch.tensor(base)
    expected = oracle.words(9, replace(draw, number=(draw.number + base) % 2**32))
    moving = replace(draw, base=held)
    assert np.array_equal(as_unsigned(words_in_torch(9, moving, CPU)), expected)
    assert np.array_equal(as_unsigned(words(9, moving, CPU)), expected)


def test_many_words_are_the_same_by_the_kernel_and_by_torch_on_one_thread_and_on_two():
    draw, count = Draw(2**64 - 3, 2**32 - 1, 7), 12_345
    expected = words_in_torch(count, draw, CPU)
    threads = torch.get_num_threads()
    try:
        for number in (1, 2):
            torch.set_num_threads(number)
            assert torch.equal(words(count, draw, CPU), expected)
    finally:
        torch.set_num_threads(threads)


def test_every_word_and_every_bit_of_it_is_as_likely_one_as_zero():
    """Each of the 128 bits of a block, over 2¹⁴ blocks, within five standard errors."""
    drawn = as_unsigned(words(4 * 2**14, Draw(5, 0, 0), CPU)).reshape(-1, 4)
    ones = (drawn[:, :, None] >> np.arange(32, dtype=np.uint32) & 1).mean(0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / 2**7


@given(st.floats(0, 1, exclude_max=True))
def test_a_chance_is_near_the_probability_and_never_becomes_never_or_always(p):
    chance = chance_of(p)
    assert 0 <= chance.levels < 2**chance.bits
    assert (chance.levels == 0) == (p == 0)
    assert abs(chance.probability - p) <= max(1e-3 * min(p, 1 - p), 2**-32)
    assert abs(chance.probability - p) <= 2**-17


@pytest.mark.parametrize(
    ("p", "bits"), [(0.5, 16), (0.1, 16), (0.9, 16), (0.001, 32), (1e-6, 32), (1 - 1e-6, 32)]
)
def test_thirty_two_bits_are_taken_where_sixteen_are_too_coarse(p, bits):
    assert chance_of(p).bits == bits
    assert chance_of(p).bits == bits

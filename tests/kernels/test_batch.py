"""A batch in one pass is what torch makes of the same bytes, rounded."""

import numpy as np
import pytest
import torch

from dropbench.engine.batches import ImageExamples, measure


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (4, 5, 7), (1, 1, 9)], ids=str)
def test_a_batch_is_the_rounded_one_of_torch(shape):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (50, *shape), dtype=np.uint8)
    labels, device = np.arange(50) % 10, torch.device("cpu")
    normalisation = measure(images, np.arange(40), device)
    positions = torch.from_numpy(generator.permutation(50)[:17])
    (whole, _), (half, of_half) = (
        ImageExamples(images, labels, normalisation, device, half).batch(positions) for half in (False, True)
    )
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, whole.bfloat16())
    assert half.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(of_half, positions % 10)

"""What dropbench is measured against: training as PyTorch's own tutorials write it.

The nets have the layers of dropbench.models and the loop has its batch size and momentum, and nothing here
is made slower than the tutorials are: no workers for the loader is their default, and faster than two of
them on two cores.
"""

from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

BATCH_SIZE = 128


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images as torchvision's CIFAR10 hands them out: a PIL image a time, transformed when asked for."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = images.transpose(0, 2, 3, 1)
        self.labels = labels
        self.transform = v2.Compose(
            [
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])

"""The reference of the measurements: training as PyTorch's own tutorials write it.

Layers, batch size, optimizer and dropout are those of dropbench's recipes. Nothing here is slower than in the
tutorials: a loader without workers is torch's default, and on two cores it is as fast as one with two.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

BATCH_SIZE = 128
Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """Images as torchvision's CIFAR10 serves them: one PIL image at a time, transformed on access.

    ``images`` are uint8 ``(examples, 3, height, width)``, ``labels`` int64 ``(examples,)``.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        self.images = np.ascontiguousarray(images.transpose(0, 2, 3, 1))
        self.labels = labels
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def picture_loader(images: np.ndarray, labels: np.ndarray, shuffle: bool) -> Batches:
    """Batches of the images from a DataLoader as the tutorial calls it."""
    return DataLoader(Pictures(images, labels), batch_size=BATCH_SIZE, shuffle=shuffle)


class InMemoryBatches:
    """Batches of two tensors that are on the device already; shuffled ones are in a new order each time."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor, shuffle: bool) -> None:
        self.images, self.labels, self.shuffle = images, labels, shuffle

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        count, device = len(self.labels), self.labels.device
        order = torch.randperm(count, device=device) if self.shuffle else torch.arange(count, device=device)
        for positions in torch.split(order, BATCH_SIZE):
            yield self.images[positions], self.labels[positions]


def lecture_cnn(height: int, width: int, classes: int, p_drop: float) -> nn.Module:
    """The lecture's CNN for colour images, with dropout on its two fully connected layers."""
    return nn.Sequential(
        nn.Conv2d(3, 64, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(64, 128, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(128, 256, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256 * (height // 8) * (width // 8), 512),
        nn.ReLU(),
        nn.Dropout(p_drop),
        nn.Linear(512, 512),
        nn.ReLU(),
        nn.Dropout(p_drop),
        nn.Linear(512, classes),
    )


def mlp(inputs: int, layers: tuple[int, ...], classes: int, p_drop: float, p_drop_input: float) -> nn.Module:
    """An MLP with ReLU; both p are drop probabilities, as in torch.nn.Dropout."""
    modules: list[nn.Module] = [nn.Flatten(), nn.Dropout(p_drop_input)]
    for width in layers:
        modules += [nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(p_drop)]
        inputs = width
    return nn.Sequential(*modules, nn.Linear(inputs, classes))


def train_epoch(
    model: nn.Module,
    batches: Batches,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    max_norm: float | None = None,
) -> float:
    """Train on each batch once; returns the sum of the batches' mean losses."""
    criterion = nn.CrossEntropyLoss()
    running_loss = 0.0
    model.train()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)  # noqa: PLW2901  # as the tutorial has it
        optimizer.zero_grad()
        loss = criterion(model(images), labels)
        loss.backward()
        optimizer.step()
        if max_norm is not None:
            apply_max_norm(model, max_norm)
        running_loss += loss.item()
    return running_loss


@torch.no_grad()
def apply_max_norm(model: nn.Module, bound: float) -> None:
    """Scale down the incoming weights of every unit whose norm exceeds ``bound``."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.copy_(torch.renorm(module.weight, p=2, dim=0, maxnorm=bound))


@torch.no_grad()
def count_correct(model: nn.Module, batches: Batches, device: torch.device) -> int:
    """The number of examples that the model classifies correctly."""
    correct = 0
    model.eval()
    for images, labels in batches:
        images, labels = images.to(device), labels.to(device)  # noqa: PLW2901
        correct += int((model(images).argmax(dim=1) == labels).sum().item())
    return correct


def make_optimizer(model: nn.Module) -> torch.optim.Optimizer:
    """SGD with the tutorial's learning rate and momentum."""
    return torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)

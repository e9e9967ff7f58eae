"""Modules that tests of training mode name, as a user's file would."""

from __future__ import annotations

import torch
from torch import nn

import rayopt as ro


def mnist_in_training_mode() -> ro.problems.TorchProblem:
    """The network below on 2,000 images of the MNIST subset that comes with rayopt."""
    return ro.problems.TorchProblem.from_config(
        "tests.problems.torch_modules:Normalised", module_arguments={"side": 28, "channels": 2}, data="mnist_subset",
        rows=2000, batch=16, mode="train",
    )  # fmt: skip


class Normalised(nn.Module):
    """Two layers of a residual network for images of side x side pixels, with batch normalisation and dropout."""

    def __init__(self, channels: int = 4, side: int = 8) -> None:
        super().__init__()
        self.side = side
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(channels * (side // 2) ** 2, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.first(images.reshape(-1, 1, self.side, self.side))))
        h = torch.relu(h + self.norm2(self.second(h)))
        h = nn.functional.avg_pool2d(h, 2)
        found: torch.Tensor = self.last(self.drop(h.flatten(1)))
        return found

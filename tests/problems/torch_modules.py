"""Modules that tests of training mode name, as a user's file would."""

from __future__ import annotations

import torch
from torch import nn


class Normalised(nn.Module):
    """Two layers of a residual network for 8 x 8 images, with batch normalisation and dropout."""

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.drop = nn.Dropout(0.1)
        self.last = nn.Linear(channels * 16, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        h = torch.relu(self.norm(self.first(images.reshape(-1, 1, 8, 8))))
        h = torch.relu(h + self.norm2(self.second(h)))
        h = nn.functional.avg_pool2d(h, 2)
        found: torch.Tensor = self.last(self.drop(h.flatten(1)))
        return found

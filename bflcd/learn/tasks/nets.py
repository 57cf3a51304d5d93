"""The shipped networks, written for speed on a CPU without changing what they compute.

Pooling before the rectifier gives the same values at a quarter of the work. Inputs come channels-last
(`image_batch`), which the convolutions follow. Without gradients, pooling is two strided maxima: a third of the time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


def image_batch(images: Tensor) -> Tensor:
    """uint8 [rows, height, width] to float32 [rows, 1, height, width] from 0 to 1, with channels-last strides.

    The strides come last: arithmetic would forget those of the single channel, and convolutions would take a third longer.
    """
    return images.float().div_(255.0).unsqueeze(-1).permute(0, 3, 1, 2)


def halve(x: Tensor) -> Tensor:
    """Maximum over windows of 2x2 of [rows, channels, even height, even width]."""
    if torch.is_grad_enabled() or x.is_cuda:
        return functional.max_pool2d(x, 2)
    x = torch.maximum(x[:, :, 0::2], x[:, :, 1::2])
    return torch.maximum(x[:, :, :, 0::2], x[:, :, :, 1::2])


class SmallCnn(nn.Module):
    """Two 5x5 convolutions (16, 32 channels), each rectified and halved, then 128 hidden units (215,370 weights at 28x28)."""

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.hidden = nn.Linear(32 * (side // 4) ** 2, 128)
        self.out = nn.Linear(128, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, 1, height, width] to [rows, classes]."""
        x = functional.relu(halve(self.conv1(x)))
        x = functional.relu(halve(self.conv2(x)))
        return self.out(functional.relu(self.hidden(x.flatten(1))))  # type: ignore[no-any-return]


class SmallAlexNet(nn.Module):
    """AlexNet (Krizhevsky et al. 2012) scaled to 28x28: its five convolutions and two hidden layers."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 64, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 192, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(192, 384, 3, padding=1), nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1), nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, stride=2),
        )  # fmt: skip
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(256 * 3 * 3, 1024), nn.ReLU(),
            nn.Dropout(), nn.Linear(1024, 512), nn.ReLU(),
            nn.Linear(512, classes),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """[rows, 1, height, width] to [rows, classes]."""
        return self.classifier(self.features(x).flatten(1))  # type: ignore[no-any-return]

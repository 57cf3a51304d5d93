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


class LightCnn(nn.Module):
    """Two strided convolutions (5x5 to 16 channels, 3x3 to 32), then 64 hidden units: a third of SmallCnn's time on a CPU.

    109,470 weights at 28x28 and 62 classes. For the laboratory, where hundreds of devices train on two cores.
    """

    def __init__(self, side: int, classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 5, stride=2, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.hidden = nn.Linear(32 * ((side + 3) // 4) ** 2, 64)
        self.out = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, 1, height, width] to [rows, classes]."""
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x))
        return self.out(functional.relu(self.hidden(x.flatten(1))))  # type: ignore[no-any-return]


class SmallAlexNet(nn.Module):
    """AlexNet (Krizhevsky et al. 2012) scaled to 28x28: its five convolutions and two hidden layers.

    He's initialisation (2015) in the place of the paper's fixed deviation: from that, eight layers stand still for the first
    thousands of steps. A learning rate of 0.02 suits it; at 0.05 with momentum 0.9 it does not learn.
    """

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
        for name, parameter in self.named_parameters():
            if name.endswith("weight"):
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, 1, height, width] to [rows, classes]."""
        return self.classifier(self.features(x).flatten(1))  # type: ignore[no-any-return]

"""The plain way to simulate devices: one torch model after the other, with torch's own threads. `lab_loop.py DATA`."""

import sys
import time

import numpy as np
import torch
from torch import nn

DEVICES, ROUNDS, BATCH, CLASSES = 100, 6, 32, 62


def net() -> nn.Module:
    """The small CNN as one writes it."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1568, 128), nn.ReLU(), nn.Linear(128, CLASSES),
    )  # fmt: skip


def main(path: str) -> None:
    """Rounds of federated averaging over all devices."""
    with np.load(path, allow_pickle=False) as archive:
        images = torch.from_numpy(archive["images"]).float().div_(255).unsqueeze(1)
        labels = torch.from_numpy(archive["labels"])
    rows = len(labels) // DEVICES
    server = net()
    for number in range(ROUNDS):
        total = {name: torch.zeros_like(value) for name, value in server.state_dict().items()}
        for device in range(DEVICES):
            model = net()
            model.load_state_dict(server.state_dict())
            optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
            for chosen in (device * rows + torch.randperm(rows)).split(BATCH):
                optimiser.zero_grad()
                nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
                optimiser.step()
            for name, value in model.state_dict().items():
                total[name] += value / DEVICES
        server.load_state_dict(total)
        print("round", number + 1, time.time(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

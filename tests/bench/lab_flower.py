"""The same work in Flower's simulation engine, one client a core. Needs flwr[simulation] and torch. `lab_flower.py DATA`."""

import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import nn

HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)
os.environ["PYTHONPATH"] = HERE  # of the actors
from lab_loop import BATCH, DEVICES, ROUNDS, net  # noqa: E402 - found by the path just set

DATA = os.environ.setdefault("LAB_FLOWER_DATA", sys.argv[1] if len(sys.argv) > 1 else "")


client_app = ClientApp()
server_app = ServerApp()
_held: dict[str, torch.Tensor] = {}


def load() -> dict[str, torch.Tensor]:
    """The data, once a process."""
    if not _held:
        with np.load(DATA, allow_pickle=False) as archive:
            _held["images"] = torch.from_numpy(archive["images"]).float().div_(255).unsqueeze(1)
            _held["labels"] = torch.from_numpy(archive["labels"])
    return _held


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One device's epoch."""
    torch.set_num_threads(1)
    held, device = load(), int(context.node_config["partition-id"])
    rows = len(held["labels"]) // DEVICES
    model = net()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for chosen in (device * rows + torch.randperm(rows)).split(BATCH):
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(held["images"][chosen]), held["labels"][chosen]).backward()
        optimiser.step()
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": rows})})
    return Message(content=content, reply_to=message)


class Told(FedAvg):
    """Says when a round has been aggregated."""

    def aggregate_train(self, server_round, replies):
        found = super().aggregate_train(server_round, replies)
        print("round", server_round, time.time(), flush=True)
        return found


@server_app.main()
def main(grid: Grid, _: Context) -> None:
    """All devices in every round, nothing evaluated."""
    Told(fraction_evaluate=0.0, min_available_nodes=DEVICES).start(
        grid=grid, initial_arrays=ArrayRecord(net().state_dict()), num_rounds=ROUNDS
    )


if __name__ == "__main__":
    resources = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 2, "include_dashboard": False}}
    run_simulation(server_app, client_app, num_supernodes=DEVICES, backend_config=resources)

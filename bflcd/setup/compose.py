"""The compose file of a testnet: one container a node, on a network that leads nowhere else."""

import json
from pathlib import Path
from typing import Final

COMPOSE_PORT: Final = 4001
"""Every container has an address of its own, so all listen on the same port."""

CONTAINER_RANGES: Final = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
"""Where the services' names lead: the ranges that container engines take their networks from. This one leads nowhere else."""

_HEAD: Final = """\
# A community of bflcd nodes, one container each. The file works with compose 1.29 and 2.
version: "3.7"

networks:
  community:
    driver: bridge
    internal: true

services:
"""

_SERVICE: Final = """\
  {name}:
    image: {image}
    init: true
    user: "{user}"
    command: ["start", "--datadir", "/data"]
    environment:
      OMP_NUM_THREADS: "1"
    networks: [community]
    volumes:
{volumes}
    healthcheck:
      test: ["CMD", "bflc-cli", "--datadir", "/data", "status"]
      interval: 20s
      timeout: 15s
      retries: 3
      start_period: 90s
"""


def compose_text(names: list[str], *, image: str, data: str | None, user: str) -> str:
    """The file for services `names`: each has the folder of its name as /data, and `data` read-only under /input."""
    services = []
    for name in names:
        mounts = [f"./{name}:/data"]
        if data is not None:
            path = Path(data).absolute()
            mounts.append(f"{path}:/input/{path.name}:ro")
        volumes = "\n".join(f"      - {json.dumps(mount)}" for mount in mounts)
        services.append(_SERVICE.format(name=name, image=json.dumps(image), user=user, volumes=volumes))
    return _HEAD + "\n".join(services)

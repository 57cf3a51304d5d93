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
        volumes = [_mount(f"./{name}", "/data")]
        if data is not None:
            path = Path(data).absolute()
            volumes.append(_mount(str(path), f"/input/{path.name}", read_only=True))
        services.append(_SERVICE.format(name=name, image=_literal(image), user=user, volumes="\n".join(volumes)))
    return _HEAD + "\n".join(services)


def _mount(source: str, target: str, *, read_only: bool = False) -> str:
    """In the long form, in which a path may hold a colon."""
    fields = {"type": "bind", "source": _literal(source), "target": _literal(target)}
    if read_only:
        fields["read_only"] = "true"
    return "      - " + "\n        ".join(f"{name}: {value}" for name, value in fields.items())


def _literal(text: str) -> str:
    """A YAML string in which compose replaces no variable."""
    return json.dumps(text.replace("$", "$$"))

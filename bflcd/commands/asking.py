"""One order to a running daemon, at the socket of its directory; `bflc-cli` is for all the others."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any, Final

from bflcd.api.place import SOCKET_NAME, SocketName
from bflcd.errors import OperatorError

ANSWER_SECONDS: Final = 30.0
"""What the daemon may take: it opens a sealed key, and a round may keep it busy."""

MAX_ANSWER_BYTES: Final = 2**20


class _Connection(http.client.HTTPConnection):
    """HTTP at a Unix socket."""

    def __init__(self, name: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._name = name

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self._name)


def post(datadir: Path, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The `data` of a POST. Raises OperatorError: `no_daemon`, or what the daemon refuses; MachineError for too long a path."""
    where = datadir / SOCKET_NAME
    try:
        name = SocketName(where)
        try:
            answer = _answer(name.name, path, body)
        finally:
            name.close()
    except (OSError, http.client.HTTPException) as error:
        raise OperatorError(
            f"no daemon answers at {where}: {error}", hint="start it with `bflcd start --datadir DIR`", code="no_daemon"
        ) from error
    if answer.get("status") != "ok":
        said, hint = str(answer.get("message", "")), str(answer.get("hint", ""))
        raise OperatorError(said or f"what answers at {where} is no daemon of ours", hint=hint, code=str(answer.get("code", "")))
    data: dict[str, Any] = answer["data"]
    return data


def _answer(name: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    connection = _Connection(name)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        raw = connection.getresponse().read(MAX_ANSWER_BYTES + 1)
    finally:
        connection.close()
    if len(raw) > MAX_ANSWER_BYTES:
        raise http.client.HTTPException("its answer is too long")
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise http.client.HTTPException("its answer is no JSON") from error
    return answer if isinstance(answer, dict) else {}

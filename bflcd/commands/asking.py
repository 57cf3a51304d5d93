"""One order to a running daemon, at the socket of its directory; `bflc-cli` is for all the others."""

import http.client
import json
import socket
from pathlib import Path
from typing import Any, Final

from bflcd.api.place import SOCKET_NAME, SocketName
from bflcd.errors import OperatorError
from bflcd.faults import refused

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


def post(datadir: Path, path: str, body: dict[str, Any]) -> str:
    """What the daemon says that it has done.

    Raises OperatorError: `no_daemon`, `timeout`, or what it refuses; MachineError for what is short here.
    """
    where = datadir / SOCKET_NAME
    try:
        with SocketName(where) as name:
            answer = _answer(name.name, path, body)
    except (TimeoutError, BlockingIOError) as error:  # BlockingIOError: too many wait before us
        raise OperatorError(
            f"the daemon at {where} gave no answer within {ANSWER_SECONDS:g} s",
            hint="it may be busy or stopped: see `bflc-cli logs`, and whether it was done, before you do it again",
            code="timeout",
        ) from error
    except (FileNotFoundError, ConnectionError, NotADirectoryError) as error:
        raise OperatorError(
            f"no daemon answers at {where}: {error.strerror or error}",
            hint="start it with `bflcd start --datadir DIR`",
            code="no_daemon",
        ) from error
    except OSError as error:
        raise refused(f"the daemon at {where} can't be asked", error) from error
    except (http.client.HTTPException, ValueError, RecursionError) as error:
        raise _not_ours(where) from error
    match answer:
        case {"status": "ok", "data": {"text": str(text)}}:
            return text
        case {"status": "error", "message": str(said), "code": str(code)}:
            raise OperatorError(said, hint=str(answer.get("hint", "")), code=code)
    raise _not_ours(where)


def _answer(name: str, path: str, body: dict[str, Any]) -> Any:
    """What answers, as JSON. Raises OSError, HTTPException, ValueError, RecursionError."""
    connection = _Connection(name)
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        raw = connection.getresponse().read(MAX_ANSWER_BYTES + 1)
    finally:
        connection.close()
    return json.loads(raw) if len(raw) <= MAX_ANSWER_BYTES else None


def _not_ours(where: Path) -> OperatorError:
    return OperatorError(f"what answers at {where} is no daemon of ours", hint="start the daemon again", code="no_daemon")

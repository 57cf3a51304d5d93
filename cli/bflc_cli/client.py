"""The daemon's API from the other side: asks at the data directory's socket; every way of failing is one clear error."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from bflc_cli.session import CommandError, Session
from bflcd.api.place import SOCKET_NAME, SocketName
from bflcd.api.schema.events import Event
from bflcd.api.token import FILE_NAME, MAX_FILE_BYTES, ApiFile
from bflcd.errors import OperatorError
from bflcd.faults import limit_reached, refused
from bflcd.files import read_regular

T = TypeVar("T")

RETRY_SECONDS: Final = 0.1
"""Between two attempts to reach a daemon that is still starting."""

PROBE_SECONDS: Final = 5.0
"""What a daemon may take to be reached at its socket: a moment, unless it is stopped and others wait already."""

STREAM_SILENCE: Final = 35.0
"""Seconds without even a heartbeat after which an event stream counts as lost (the daemon sends one every 10)."""


class SocketTransport(httpx.HTTPTransport):
    """HTTP at a Unix socket, whatever the length of its path."""

    def __init__(self, path: Path) -> None:
        """Raises MachineError where so long a path has no way."""
        self._name = SocketName(path)
        # Without what TLS takes: none is spoken here, and the environment may name certificates that are not there.
        super().__init__(uds=self._name.name, verify=False, trust_env=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Look first whether anybody listens: the library below leaves the socket of a failed connection open."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(PROBE_SECONDS)
            try:
                probe.connect(self._name.name)
            except (TimeoutError, BlockingIOError) as error:
                raise httpx.ConnectTimeout("too many wait before us", request=request) from error
            except OSError as error:
                raise httpx.ConnectError(error.strerror or str(error), request=request) from error
        return super().handle_request(request)

    def close(self) -> None:
        """Close the connections."""
        super().close()
        self._name.close()


class Api:
    """A connection to one running daemon."""

    def __init__(self, datadir: Path, timeout: float, wait: float = 0) -> None:
        """`wait`: seconds for which a daemon that has no ledger yet is asked again. Raises CommandError, MachineError."""
        self.entry = read_api_file(datadir)
        self.path = datadir / SOCKET_NAME
        self.timeout = timeout
        self.wait = wait
        self._http = httpx.Client(
            base_url="http://localhost", transport=SocketTransport(self.path), timeout=timeout, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get(self, path: str, **params: int | None) -> Any:
        """The `data` of a GET. Raises CommandError."""
        return self._ask("GET", path, params={name: value for name, value in params.items() if value is not None})

    def read(self, path: str, kind: type[T], **params: int | None) -> T:
        """The `data` of a GET as a `kind`. Raises CommandError, and msgspec's error if a daemon of another version answers."""
        return msgspec.convert(self.get(path, **params), kind)

    def post(self, path: str, body: dict[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """The `data` of a POST. Raises CommandError."""
        return self._ask("POST", path, json=body or {}, timeout=self.timeout if timeout is None else timeout)

    def text(self, path: str) -> str:
        """An answer that is no JSON, such as the metrics. Raises CommandError."""
        response = self._send("GET", path)
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        return response.text

    def model(self, round_: int | None) -> tuple[bytes, dict[str, Any]]:
        """A model's bytes, and what the daemon says of them. Raises CommandError."""
        params = {} if round_ is None else {"round": round_}
        response = self._send("GET", "/v1/model", params=params)
        if response.status_code != httpx.codes.OK:
            raise _refusal(response)
        described = msgspec.json.decode(response.headers.get("X-BFLC-Model", "{}"), type=dict[str, Any])
        return response.content, described

    def events(self, after: int | None) -> Iterator[Event]:
        """The event stream until the daemon ends it. Raises CommandError."""
        params = {} if after is None else {"after": after}
        timeout = httpx.Timeout(self.timeout, read=STREAM_SILENCE)
        with self._failures(), self._http.stream("GET", "/v1/events", params=params, timeout=timeout) as response:
            if response.status_code != httpx.codes.OK:
                response.read()
                raise _refusal(response)
            for line in response.iter_lines():
                if line.startswith("data: "):
                    yield msgspec.json.decode(line.removeprefix("data: "), type=Event)

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        deadline = time.monotonic() + self.wait
        while (response := self._send(method, path, **options)).status_code != httpx.codes.OK:
            refusal = _refusal(response)
            if refusal.code != "starting" or time.monotonic() >= deadline:
                raise refusal
            time.sleep(RETRY_SECONDS)
        try:
            return msgspec.json.decode(response.content)["data"]
        except (ValueError, RecursionError, KeyError, TypeError) as error:
            raise _not_ours(self.path) from error

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        with self._failures():
            return self._http.request(method, path, **options)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise CommandError(
                f"the daemon at {self.path} gave no answer within {self.timeout:g} s",
                code="timeout",
                hint="it may be busy or stopped: try a longer --timeout",
            ) from error
        except httpx.TransportError as error:
            if (limit := limit_reached()) is not None:
                raise refused(f"the daemon at {self.entry.url} cannot be asked", limit) from error
            raise CommandError(
                f"no daemon answers at {self.path} (process {self.entry.pid}): {error}",
                code="no_daemon",
                hint="start it with `bflcd start --datadir DIR`; a killed daemon leaves its api.json behind",
            ) from error


def connect(session: Session) -> Api:
    """The running daemon of the session's data directory, after waiting up to `--wait` seconds for it.

    Raises CommandError: no_daemon, no_permission, timeout (the wait is over).
    """
    deadline = time.monotonic() + session.wait
    while True:
        try:
            return _open(session)
        except CommandError as error:
            if session.wait <= 0 or error.code not in ("no_daemon", "no_datadir", "bad_token"):
                raise
            if time.monotonic() >= deadline:
                raise CommandError(
                    f"no daemon came up within {session.wait:g} s: {error}", code="timeout", hint=error.hint
                ) from error
        time.sleep(RETRY_SECONDS)


def _open(session: Session) -> Api:
    api = Api(session.need_datadir(), session.timeout, session.wait)
    try:
        api.get("/healthz")
    except BaseException:
        api.close()
        raise
    return api


def read_api_file(datadir: Path) -> ApiFile:
    """What `api.json` in the data directory says. Raises CommandError."""
    path = datadir / FILE_NAME
    try:
        return msgspec.json.decode(read_regular(path, MAX_FILE_BYTES), type=ApiFile)
    except FileNotFoundError as error:
        raise CommandError(
            f"no daemon runs on {datadir}",
            code="no_daemon",
            hint="start it with `bflcd start --datadir DIR`, or use --wait SECONDS",
        ) from error
    except PermissionError as error:
        raise CommandError(f"{path}: no permission to read it", code="no_permission", hint="run as the daemon's user") from error
    except OSError as error:
        raise refused(f"{path}", error) from error
    except (ValueError, RecursionError) as error:  # damaged in whatever way
        raise CommandError(
            f"{path} is no file of bflcd: {error}", code="no_daemon", hint="remove it and start the daemon"
        ) from error


def find_daemon(session: Session) -> Api | None:
    """The running daemon, or None where there is none: for commands that also work on a stopped node. Raises CommandError."""
    try:
        return connect(session)
    except CommandError as error:
        if error.code == "no_daemon":
            return None
        raise


def process_runs(pid: int) -> bool:
    """Whether a process with this id exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(response: httpx.Response) -> OperatorError:
    """The daemon's own error, with its code and hint."""
    try:
        answer = msgspec.json.decode(response.content, type=dict[str, Any])
        return CommandError(str(answer["message"]), code=str(answer["code"]), hint=str(answer.get("hint", "")))
    except (ValueError, RecursionError, KeyError):
        return _not_ours(response.url)


def _not_ours(place: object) -> CommandError:
    return CommandError(f"what answers at {place} is no daemon of ours", code="no_daemon", hint="start the daemon again")

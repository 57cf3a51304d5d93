"""Answers in the envelope, and which error becomes which status code."""

import logging
from typing import Any, Final

import msgspec
from aiohttp import web

from bflcd.api.schema.envelope import error_envelope, ok_envelope
from bflcd.errors import BflcError, InvariantError, MachineError, OperatorError, PeerError, RequestError, UsageError

NOT_FOUND_CODES: Final = frozenset({"not_found", "pruned", "no_such_round"})
"""Codes of OperatorError that say that the thing does not exist here: 404."""

BUSY_CODES: Final = frozenset({"busy", "starting", "syncing"})
"""Codes of OperatorError that say: ask again later, 503."""

logger = logging.getLogger(__name__)


def ok(data: Any) -> web.Response:
    """The answer that carries `data`."""
    return _respond(200, ok_envelope(data))


def failure(status: int, code: str, message: str, hint: str = "") -> web.Response:
    """The answer of a refusal."""
    return _respond(status, error_envelope(code, message, hint))


def failure_of(error: Exception, where: str) -> web.Response:
    """The answer to an exception: what we raise on purpose keeps its code; all else is our bug and goes to the log."""
    match error:
        case UsageError():
            return failure(400, error.code, str(error), error.hint)
        case OperatorError():
            status = 404 if error.code in NOT_FOUND_CODES else 503 if error.code in BUSY_CODES else 409
            return failure(status, error.code, str(error), error.hint)
        case MachineError():
            return failure(503, error.code, str(error), error.hint)
        case PeerError() | RequestError():
            return failure(502, "peer_error", str(error), "a peer failed: try again")
        case BflcError() if not isinstance(error, InvariantError):
            return failure(409, "refused", str(error))
        case _:
            logger.error("a bug of ours in %s", where, exc_info=error)
            return failure(
                500, "bug", f"{where} failed: {type(error).__name__}", "the daemon's log has the traceback: please report it"
            )


def _respond(status: int, body: dict[str, Any]) -> web.Response:
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers)

import asyncio
import json
import os
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest

from bflcd.api import event_stream
from bflcd.api.metrics import Metrics
from bflcd.api.openapi import openapi
from bflcd.api.route import Backend, Call, Integer, Route
from bflcd.api.routes import ROUTES
from bflcd.api.schema.recovery import RecoveryRequest
from bflcd.api.server import MAX_BODY_BYTES, ApiServer
from bflcd.api.token import ApiFile, remove_api_file, write_api_file
from bflcd.config.port import Port
from bflcd.core.node_events import EventKind
from bflcd.errors import InvariantError, MachineError
from bflcd.store.pruning import keep_for_height
from tests.helpers.fake_node import IDS, MODEL, FakeNode, recovery_of, status_of

ANY_PORT = Port("127.0.0.1", 0)


class Client:
    """Requests with the token of `api.json`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self.session, self.url, self.token = session, url, token

    async def send(self, method: str, path: str, *, headers: dict[str, str] | None = None, **kwargs: object):
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        async with self.session.request(method, self.url + path, headers=sent, **kwargs) as response:  # type: ignore[arg-type]
            return response.status, response.headers, await response.read()

    async def json(self, method: str, path: str, **kwargs: object) -> tuple[int, dict[str, object]]:
        status, headers, body = await self.send(method, path, **kwargs)  # type: ignore[arg-type]
        assert headers["Content-Type"].startswith("application/json")
        return status, json.loads(body)


@pytest.fixture
def node() -> FakeNode:
    return FakeNode()


@pytest.fixture
async def client(node: FakeNode, tmp_path: Path) -> AsyncIterator[Client]:
    server = ApiServer(node, Metrics(), tmp_path, port=ANY_PORT)
    url = await server.start()
    token = json.loads((tmp_path / "api.json").read_text())["token"]
    async with aiohttp.ClientSession() as session:
        yield Client(session, url, token)
    await server.close()


async def test_the_file_names_url_token_and_process_and_is_the_owners_alone(node, tmp_path):
    server = ApiServer(node, Metrics(), tmp_path, port=ANY_PORT)
    url = await server.start()
    path = tmp_path / "api.json"
    entry = json.loads(path.read_text())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (entry["url"], entry["pid"]) == (url, os.getpid())
    assert len(entry["token"]) >= 43
    assert sorted(p.name for p in tmp_path.iterdir()) == ["api.json", "api.sock"]
    await server.close()
    await server.close()
    assert not list(tmp_path.iterdir())


async def test_each_start_has_a_new_token(node, tmp_path):
    tokens = set()
    for _ in range(2):
        server = ApiServer(node, Metrics(), tmp_path)
        await server.start()
        tokens.add(json.loads((tmp_path / "api.json").read_text())["token"])
        await server.close()
    assert len(tokens) == 2


def test_a_later_daemons_file_is_left_alone(tmp_path):
    write_api_file(tmp_path, ApiFile(url="u", token="other", pid=1))
    remove_api_file(tmp_path, "mine")
    assert (tmp_path / "api.json").exists()


async def test_a_taken_port_is_named_and_nothing_is_left_open(node, tmp_path):
    first = ApiServer(node, Metrics(), tmp_path, port=ANY_PORT)
    port = int((await first.start()).rpartition(":")[2])
    (tmp_path / "other").mkdir()
    second = ApiServer(node, Metrics(), tmp_path / "other", port=Port("127.0.0.1", port))
    with pytest.raises(MachineError) as refused:
        await second.start()
    assert refused.value.code == "port_in_use"
    assert f"127.0.0.1:{port}" in str(refused.value)
    assert not list((tmp_path / "other").iterdir())
    assert (tmp_path / "api.json").exists()
    await first.close()


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        ("", 401),
        ("Bearer", 401),
        ("Bearer wrong", 401),
        ("Basic {token}", 401),
        ("Bearer {token}x", 401),
        ("bearer {token}", 200),
        ("Bearer ünicode", 401),
    ],
)
async def test_the_token_is_needed(client, authorization, expected):
    status, answer = await client.json("GET", "/v1/status", headers={"Authorization": authorization.format(token=client.token)})
    assert status == expected
    if expected == 401:
        assert answer["code"] == "bad_token"
        assert answer["hint"]


@pytest.mark.parametrize("route", [route for route in ROUTES if route.needs_token], ids=lambda route: route.path)
async def test_no_path_but_the_health_check_is_open(client, route):
    status, answer = await client.json(route.method.upper(), route.path, headers={"Authorization": ""})
    assert (status, answer["code"]) == (401, "bad_token")


async def test_the_health_check_says_only_ok_or_syncing(client, node):
    assert await client.json("GET", "/healthz", headers={"Authorization": ""}) == (
        200,
        {"schema": 1, "status": "ok", "data": {"health": "ok"}},
    )
    node.current = status_of(syncing=True)
    assert (await client.json("GET", "/healthz"))[1]["data"] == {"health": "syncing"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "127.0.0.1.evil:{port}", ""])
async def test_a_foreign_host_header_is_refused_even_with_the_token(client, host):
    port = client.url.rpartition(":")[2]
    for path in ("/v1/status", "/healthz", "/nothing"):
        status, answer = await client.json("GET", path, headers={"Host": host.format(port=port)})
        assert (status, answer["code"]) == (403, "bad_host")


@pytest.mark.parametrize("host", ["127.0.0.1:{port}", "localhost:{port}", "[::1]:{port}"])
async def test_loopback_host_headers_are_fine(client, host):
    port = client.url.rpartition(":")[2]
    assert (await client.json("GET", "/v1/status", headers={"Host": host.format(port=port)}))[0] == 200


async def test_web_pages_get_nothing(client):
    for headers in ({"Origin": "http://evil.example"}, {"Origin": client.url}):
        status, sent, _ = await client.send("GET", "/v1/status", headers=headers)
        assert status == 403
        assert not [name for name in sent if name.lower().startswith("access-control")]
    status, answer = await client.json("OPTIONS", "/v1/status")
    assert (status, answer["code"]) == (405, "method_not_allowed")


async def test_reading_paths_answer_in_the_envelope(client):
    status, answer = await client.json("GET", "/v1/status")
    assert status == 200
    assert answer["schema"] == 1
    assert answer["status"] == "ok"
    assert answer["data"]["node_id"] == IDS[0]
    assert {
        "chain_id",
        "role",
        "syncing",
        "height",
        "round",
        "view",
        "head_hash",
        "trusted_head",
        "model_hash",
        "state_hash",
        "committee",
        "peers",
    } <= set(answer["data"])
    assert len((await client.json("GET", "/v1/peers"))[1]["data"]) == 2
    assert (await client.json("GET", "/v1/round"))[1]["data"]["missing"] == [IDS[5]]
    assert (await client.json("GET", "/v1/committee"))[1]["data"]["quorum"] == 3
    assert len((await client.json("GET", "/v1/members"))[1]["data"]) == len(IDS)


@pytest.mark.parametrize(
    ("query", "rounds"), [("", [1, 2, 3, 4, 5]), ("?count=2", [4, 5]), ("?first=2&count=2", [2, 3]), ("?first=9", [])]
)
async def test_history(client, query, rounds):
    status, answer = await client.json("GET", "/v1/history" + query)
    assert status == 200
    assert [row["round"] for row in answer["data"]] == rounds


@pytest.mark.parametrize(
    "path",
    [
        "/v1/history?count=0",
        "/v1/history?count=1001",
        "/v1/history?count=-1",
        "/v1/history?count=٣",
        "/v1/history?first=x",
        "/v1/history?nonsense=1",
        "/v1/logs?lines=2001",
        "/v1/model?round=1e3",
        "/v1/events?after=-1",
        "/v1/events?after=" + "9" * 4000,
    ],
)
async def test_bad_arguments_are_named(client, path):
    status, answer = await client.json("GET", path)
    assert (status, answer["code"]) == (400, "bad_argument")


async def test_model_bytes_and_what_they_are(client):
    status, headers, body = await client.send("GET", "/v1/model?round=4")
    assert (status, body) == (200, MODEL)
    assert json.loads(headers["X-BFLC-Model"])["round"] == 4
    status, answer = await client.json("GET", "/v1/model?round=1")
    assert (status, answer["code"], answer["hint"]) == (404, "pruned", "ask an archive")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"keep": 2}, (2, False)),
        ({"keep": 1, "dry_run": True}, (1, True)),
        ({"to": 13}, (4, False)),
        ({"to": 0}, (6, False)),
        ({"to": 35}, (1, False)),
    ],
)
async def test_prune(client, node, body, expected):
    status, answer = await client.json("POST", "/v1/prune", json=body)
    assert status == 200
    assert answer["data"]["height"] == 13
    assert node.pruned == [expected]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({}, "exactly one"),
        ({"keep": 1, "to": 2}, "exactly one"),
        ({"keep": 0}, "keep must be 1 to 4294967296 rounds, not 0"),
        ({"keep": -3}, "keep must be 1 to 4294967296 rounds, not -3"),
        ({"keep": 2**32 + 1}, "keep must be 1 to 4294967296 rounds, not 4294967297"),
        ({"to": 36}, "to must be a height of this chain, 0 to 35, not 36"),
        ({"to": 99_999}, "to must be a height of this chain, 0 to 35, not 99999"),
        ({"to": -1}, "to must be a height of this chain, 0 to 35, not -1"),
        ({"keep": "2"}, "Expected"),
        ({"keep": 2.5}, "Expected"),
        ({"keep": 2, "extra": 1}, "extra"),
        ([], "Expected"),
    ],
)
async def test_prune_refuses(client, node, body, text):
    status, answer = await client.json("POST", "/v1/prune", json=body)
    assert (status, answer["code"]) == (400, "bad_argument")
    assert text in answer["message"]
    assert node.pruned == []


@pytest.mark.parametrize(("height", "first_kept"), [(0, 0), (5, 0), (6, 1), (7, 1), (12, 1), (13, 2), (34, 5), (35, 5)])
def test_prune_to_a_height_drops_whole_rounds_only(height, first_kept):
    """With k = 6, round t owns heights 7 t to 7 t + 6."""
    assert 5 - keep_for_height(5, 6, height) + 1 == first_kept


async def test_a_body_must_be_json_and_small(client):
    status, answer = await client.json("POST", "/v1/prune", data=b"{}", headers={"Content-Type": "text/plain"})
    assert (status, answer["code"]) == (400, "bad_content_type")
    status, answer = await client.json(
        "POST", "/v1/prune", data=b" " * (MAX_BODY_BYTES + 1), headers={"Content-Type": "application/json"}
    )
    assert (status, answer["code"]) == (413, "too_large")


async def test_recovery_is_looked_at_and_signed(client, node):
    status, answer = await client.json("GET", "/v1/recovery")
    assert (status, answer["data"]["action"], answer["data"]["signed"]) == (200, "new", False)
    body = {"committee": IDS[:4], "retired": IDS[4:5], "expect": "77" * 32, "force": True}
    status, answer = await client.json("POST", "/v1/recovery", json=body)
    assert (status, answer["data"]["signed"]) == (200, True)
    assert node.recoveries == [
        RecoveryRequest(dry_run=True),
        RecoveryRequest(committee=IDS[:4], retired=IDS[4:5], expect="77" * 32, force=True),
    ]


@pytest.mark.parametrize("body", [{"committee": "x"}, {"committee": [1]}, {"extra": 1}, {"force": 1}, []])
async def test_recovery_refuses_what_it_does_not_know(client, node, body):
    status, answer = await client.json("POST", "/v1/recovery", json=body)
    assert (status, answer["code"]) == (400, "bad_argument")
    assert node.recoveries == []


async def test_a_recovery_that_is_not_signed_is_a_conflict(client, node):
    node.recovery = recovery_of(refusal="a quorum is there", hint="wait", code="not_needed")
    status, answer = await client.json("POST", "/v1/recovery", json={})
    assert (status, answer["code"], answer["hint"]) == (409, "not_needed", "wait")


async def test_stop(client, node):
    assert (await client.json("POST", "/v1/stop"))[1]["data"]["stopping"] is True
    assert node.stopped


async def test_wrong_methods_and_paths(client):
    status, answer = await client.json("GET", "/v1/prune")
    assert (status, answer["code"]) == (405, "method_not_allowed")
    status, answer = await client.json("GET", "/v2/status")
    assert (status, answer["code"]) == (404, "no_such_route")


async def test_a_bug_is_told_as_one_and_logged_with_its_traceback(client, node, caplog):
    node.broken = ZeroDivisionError("inside")
    status, answer = await client.json("GET", "/v1/status")
    assert (status, answer["code"]) == (500, "bug")
    assert "inside" not in answer["message"]
    assert caplog.records[-1].exc_info is not None
    node.broken = InvariantError("ours")
    assert (await client.json("GET", "/v1/status"))[1]["code"] == "bug"
    node.broken = MachineError("no space", hint="free some", code="disk_full")
    status, answer = await client.json("GET", "/v1/status")
    assert (status, answer["code"], answer["message"], answer["hint"]) == (503, "disk_full", "no space", "free some")


async def test_logs(client, node):
    import logging

    node.log.handle(logging.makeLogRecord({"msg": "hello"}))
    assert (await client.json("GET", "/v1/logs?lines=5"))[1]["data"] == {"last": 1, "lines": ["hello"]}


async def test_metrics(client):
    status, headers, body = await client.send("GET", "/metrics")
    assert status == 200
    assert headers["Content-Type"].startswith("text/plain")
    assert b"bflc_round 5.0" in body


async def read_events(
    client: Client, count: int, *, path: str = "/v1/events", headers: dict[str, str] | None = None
) -> list[dict[str, str]]:
    sent = {"Authorization": f"Bearer {client.token}", **(headers or {})}
    found: list[dict[str, str]] = []
    current: dict[str, str] = {}
    async with asyncio.timeout(5), client.session.get(client.url + path, headers=sent) as response:
        assert response.headers["Content-Type"] == "text/event-stream"
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if not line and current:
                found.append(current)
                current = {}
                if len(found) == count:
                    break
            elif line.startswith(":"):
                current["comment"] = line
            elif line:
                name, _, value = line.partition(": ")
                current[name] = value
    return found


async def test_events_replay_after_the_last_one_seen(client, node):
    for i in range(4):
        node.bus.publish(EventKind.COMMITTED, i, f"round {i}", packed=6)
    events = [e for e in await read_events(client, 3, headers={"Last-Event-ID": "2"}) if "data" in e]
    assert [(e["id"], e["event"]) for e in events] == [("3", "committed"), ("4", "committed")]
    assert json.loads(events[0]["data"])["fields"] == {"packed": 6}
    events = [e for e in await read_events(client, 5, path="/v1/events?after=0") if "data" in e]
    assert [e["id"] for e in events] == ["1", "2", "3", "4"]


async def test_event_streams_tell_of_a_gap(client, node):
    for i in range(12):
        node.bus.publish(EventKind.PRESENT, i, "")
    events = [e for e in await read_events(client, 3, path="/v1/events?after=1") if "data" in e]
    assert [(e["id"], e["event"]) for e in events[:2]] == [("4", "gap"), ("5", "present")]


async def test_silent_event_streams_have_a_heartbeat(client, monkeypatch):
    monkeypatch.setattr(event_stream, "HEARTBEAT_SECONDS", 0.02)
    assert [e["comment"] for e in await read_events(client, 3)] == [": alive"] * 3


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def test_event_streams_are_limited_and_freed_when_the_client_leaves(client, node):
    async with asyncio.TaskGroup() as group:
        waiting = [group.create_task(read_events(client, 2, path="/v1/events?after=0")) for _ in range(2)]
        await until(lambda: len(node.bus._wakers) == 2)
        status, answer = await client.json("GET", "/v1/events")
        assert (status, answer["code"]) == (503, "busy")
        node.bus.publish(EventKind.PRESENT, 1, "")
        await asyncio.gather(*waiting)
    await until(lambda: not node.bus._wakers)


async def test_closing_ends_event_streams_at_once(node, tmp_path):
    server = ApiServer(node, Metrics(), tmp_path, port=ANY_PORT)
    url = await server.start()
    token = json.loads((tmp_path / "api.json").read_text())["token"]
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        asyncio.timeout(3),
        aiohttp.ClientSession() as session,
        session.get(url + "/v1/events", headers=headers) as response,
    ):
        assert await response.content.readline() == b": alive\n"
        await server.close()
        assert await response.content.read() == b"\n"


async def test_openapi_names_every_route_and_resolves(client):
    status, _, body = await client.send("GET", "/openapi.json")
    assert status == 200
    described = json.loads(body)
    assert described["openapi"] == "3.1.0"
    assert {(method, path) for path, found in described["paths"].items() for method in found} == {
        (r.method, r.path) for r in ROUTES
    }
    text = json.dumps(described)
    for reference in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
        assert reference in described["components"]["schemas"]
    operation_ids = [op["operationId"] for path in described["paths"].values() for op in path.values()]
    assert len(operation_ids) == len(set(operation_ids))
    assert described["paths"]["/healthz"]["get"]["security"] == []
    status_schema = described["components"]["schemas"]["Status"]
    assert {"chain_id", "round", "warnings"} <= set(status_schema["properties"])


def test_openapi_gives_the_bounds_that_are_checked():
    described = openapi(ROUTES)["paths"]
    parameters = {p["name"]: p["schema"] for p in described["/v1/history"]["get"]["parameters"]}
    assert parameters == {
        "first": {"type": "integer", "minimum": 1, "maximum": 2**32},
        "count": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100},
    }
    assert described["/v1/prune"]["post"]["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/PruneRequest"
    }


async def served(server: ApiServer) -> set[tuple[str, str]]:
    """Methods and paths that a started server routes; every GET answers HEAD too."""
    found = ((r.method.lower(), r.resource.canonical) for side in server._sides for r in side.runner.app.router.routes())
    return {(method, path) for method, path in found if method != "head"}


async def test_every_route_that_is_served_is_described_and_the_other_way_round(node, tmp_path):
    server = ApiServer(node, Metrics(), tmp_path)
    await server.start()
    described = {(method, path) for path, methods in openapi(ROUTES)["paths"].items() for method in methods}
    assert await served(server) == described
    await server.close()


@pytest.mark.parametrize("needs_token", [True, False])
async def test_a_route_in_the_table_is_served_checked_and_described(node, tmp_path, needs_token):
    """Given a table with one more route, When the server starts, Then it answers, checks, guards and describes that route too."""

    async def double(backend: Backend, call: Call) -> dict[str, int]:
        assert backend.node is node
        return {"doubled": 2 * call.numbers["number"]}

    more = Route(
        "get",
        "/v1/double",
        "Twice a number",
        double,
        dict[str, int],
        (Integer("number", 1, 9, "which", 4),),
        needs_token=needs_token,
    )
    server = ApiServer(node, Metrics(), tmp_path, port=ANY_PORT, routes=(*ROUTES, more))
    url = await server.start()
    token = json.loads((tmp_path / "api.json").read_text())["token"]
    async with aiohttp.ClientSession() as session:
        client = Client(session, url, token)
        assert (await client.json("GET", "/v1/double?number=3"))[1]["data"] == {"doubled": 6}
        assert (await client.json("GET", "/v1/double"))[1]["data"] == {"doubled": 8}
        for wrong in ("?number=10", "?number=0", "?other=1"):
            assert (await client.json("GET", f"/v1/double{wrong}"))[1]["code"] == "bad_argument"
        assert (await client.json("GET", "/v1/double", headers={"Authorization": ""}))[0] == (401 if needs_token else 200)
        described = json.loads((await client.send("GET", "/openapi.json"))[2])["paths"]["/v1/double"]["get"]
    await server.close()
    assert described["parameters"][0]["schema"] == {"type": "integer", "minimum": 1, "maximum": 9, "default": 4}
    answer = described["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["data"]
    assert answer == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert ("security" in described) is not needs_token


async def test_a_route_without_parameters_ignores_a_query(client):
    assert (await client.json("GET", "/v1/status?probe=1"))[0] == 200

"""Who may ask, from where, for how much; and what every answer carries."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving.conftest import Client, awaited, launch

import chandler
from chandler.serving.app import origins_of
from chandler.serving.server import _bound
from chandler.serving.settings import ServerSettings

A = "/api/v1"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Client:
    one = launch(tmp_path_factory.mktemp("page"), "--no-browser", command="studio")
    yield one  # type: ignore[misc]
    one.process.kill()
    one.process.wait()


def test_nothing_is_told_without_a_session(api: Client) -> None:
    for path in ("/sources", "/system", "/models", "/forecasts", "/events", "/openapi.json"):
        assert api.call("GET", A + path, headers={"Authorization": None}).status == 401, path
        assert api.call("GET", A + path, headers={"Authorization": "Bearer " + "0" * 64}).status == 401, path
    assert api.call("GET", A + "/health", headers={"Authorization": None}).json.keys() == {"status", "version", "ready"}


def test_a_token_opens_a_session_that_does_not_tell_it(page: Client) -> None:
    wrong = page.call("POST", A + "/session", {"token": "x"}, {"Authorization": None})
    assert wrong.status == 401
    found = page.call("POST", A + "/session", {"token": page.token}, {"Authorization": None})
    assert found.status == 204
    cookie = found.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert page.token not in cookie
    assert str(page.port) in cookie.partition("=")[0]
    pair = cookie.partition(";")[0]
    assert page.call("GET", A + "/sources", headers={"Authorization": None, "Cookie": pair}).status == 200


def test_the_address_that_is_printed_opens_one_session(page: Client) -> None:
    path = page.address[page.address.index("/?code=") :]
    first = page.call("GET", path + "&x=1", headers={"Authorization": None})
    assert first.status == 303
    assert first.headers["location"] == "/?x=1"
    assert "set-cookie" in first.headers
    again = page.call("GET", path, headers={"Authorization": None})
    assert again.status == 303
    assert "set-cookie" not in again.headers


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("//evil.example/a", "/evil.example/a"),
        ("/%2F/evil.example", "/evil.example"),
        ("/%5C%5Cevil.example", "/evil.example"),
        ("/%2f%5cevil.example", "/evil.example"),
        ("/%09/evil.example", "/%09/evil.example"),
        ("/%0d%0ax:%20y", "/%0D%0Ax:%20y"),
        ("/chart", "/chart"),
    ],
)
def test_a_code_leads_nowhere_else(page: Client, path: str, location: str) -> None:
    found = page.call("GET", path + "?code=x", headers={"Authorization": None})
    assert (found.status, found.headers["location"]) == (303, location)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "localhost.evil.example:80"])
def test_other_names_of_this_machine_are_not_answered(api: Client, host: str) -> None:
    assert api.call("GET", A + "/health", headers={"Host": host}).status == 400


def test_names_of_this_machine_are_answered(api: Client) -> None:
    for host in (f"localhost:{api.port}", f"[::1]:{api.port}", f"127.0.0.1:{api.port}"):
        assert api.call("GET", A + "/health", headers={"Host": host}).status == 200, host


def test_other_pages_change_nothing_and_read_nothing(api: Client) -> None:
    body = {"token": api.token}
    for headers in (
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"http://127.0.0.1:{api.port + 1}"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ):
        assert api.call("POST", A + "/session", body, headers).status == 403, headers
    assert api.call("POST", A + "/session", body, {"Origin": f"http://127.0.0.1:{api.port}"}).status == 204
    assert api.call("GET", A + "/sources", headers={"Sec-Fetch-Site": "cross-site"}).status == 403
    navigation = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert api.call("GET", A + "/sources", headers=dict(navigation)).status == 403
    found = api.call("GET", A + "/sources", headers={"Origin": "https://evil.example"})
    assert not any(name.startswith("access-control") for name in found.headers)


@pytest.mark.parametrize(
    ("port", "tls", "told"),
    [
        (80, False, {"http://localhost", "http://[::1]", "http://box.lan"}),
        (443, True, {"https://localhost", "https://[::1]", "https://box.lan"}),
    ],
)
def test_browsers_leave_the_usual_port_out(port: int, tls: bool, told: set[str]) -> None:
    settings = ServerSettings(allowed_hosts=("box.lan",), certfile=Path("cert.pem") if tls else None)
    scheme = "https" if tls else "http"
    assert told <= origins_of(settings, port)
    assert f"{scheme}://localhost:{port}" in origins_of(settings, port)
    for other in (8421, 523 - port):  # the usual one of the other scheme is none of this one
        assert {f"{scheme}://{name}:{other}" for name in ("127.0.0.1", "localhost", "[::1]", "box.lan")} == origins_of(
            settings, other
        )


def test_bodies_have_a_type_and_an_end(api: Client) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert api.call("POST", A + "/session", b"token=1", form).status == 415
    assert api.call("POST", A + "/session", b"token=1", {"Content-Type": "text/plain"}).status == 415
    broken = api.call("POST", A + "/session", b"{", {"Content-Type": "application/json"})
    assert (broken.status, broken.json["error"]["code"]) == (400, "malformed")
    long = api.call("POST", A + "/session", b" " * (2 << 20), {"Content-Type": "application/json"})
    assert (long.status, long.json["error"]["code"]) == (413, "too_large")


def test_a_body_without_a_length_is_measured(page: Client) -> None:
    def status(path: str, parts: int, kind: str, **more: str) -> int:
        connection = HTTPConnection("127.0.0.1", page.port, timeout=30)
        pieces = (b" " * 65536 for _ in range(parts))
        try:
            connection.request("POST", A + path, pieces, {"Content-Type": kind, **more}, encode_chunked=True)
            return connection.getresponse().status
        except (BrokenPipeError, ConnectionResetError):
            return 413  # the server hung up on what it would not read
        finally:
            connection.close()

    known = {"Authorization": f"Bearer {page.token}"}
    assert status("/session", 4, "application/json") == 400
    assert status("/session", 17, "application/json") == 413
    assert status("/forecasts", 17, "application/json", **known) == 413
    assert status("/uploads?name=bars.csv", 17, "application/octet-stream", **known) == 201


def test_every_answer_carries_the_rules_of_the_page(page: Client) -> None:
    for path in ("/", "/chart", A + "/health", A + "/nothing", "/favicon.ico"):
        found = page.call("GET", path)
        assert "default-src 'none'" in found.headers["content-security-policy"], path
        assert "unsafe" not in found.headers["content-security-policy"]
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["referrer-policy"] == "no-referrer"
    assert page.call("GET", A + "/sources").headers["cache-control"] == "no-store"
    shell = page.call("GET", "/").body.decode()
    assert "<script>" not in shell
    assert " style=" not in shell


@pytest.mark.parametrize(
    "path", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "js/../../settings.py", "%2fetc%2fpasswd", "js"]
)
def test_modules_are_those_of_the_page(page: Client, path: str) -> None:
    found = page.call("GET", f"/static/{chandler.__version__}/{path}")
    assert found.status == 404
    assert b"import" not in found.body


def test_ids_are_no_places(api: Client) -> None:
    for id in ("..", "fc_", "fc_../../../..", "src_0123456789ab", "fc_0123456789AB", "%00"):
        for path in (f"/forecasts/{id}", f"/forecasts/{id}/export", f"/sources/{id}"):
            assert api.call("GET", A + path.replace("/..", "/%2e%2e")).status in (400, 404, 422), path


def test_the_log_has_no_secrets(api: Client) -> None:
    api.call("GET", A + f"/sources?limit=1&secret={api.token}")
    text = api.log.read_text()
    assert '"route"' in text
    assert api.token not in text
    assert str(Path.home()) + "/" not in text


def test_the_server_has_no_torch_in_it(api: Client) -> None:
    api.get("/sources")
    maps = Path(f"/proc/{api.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert psutil.Process(api.process.pid).memory_info().rss < 400e6


def test_a_workspace_has_one_server_and_is_its_own(api: Client, tmp_path: Path) -> None:
    def refused(*options: str) -> str:
        found = subprocess.run(
            [sys.executable, "-m", "chandler", "serve", "--port", "0", *options], capture_output=True, text=True, timeout=60,
            env=os.environ | {"PYTHONPATH": str(Path(chandler.__file__).parents[1])}, cwd=tmp_path,
        )  # fmt: skip
        assert found.returncode == 2, found
        return found.stderr

    assert "another server works there" in refused("--workspace", str(api.log.parent / "workspace"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "secret").write_text("mine")
    assert "secret" in refused("--workspace", str(tmp_path / "mine"))
    assert (tmp_path / "mine" / "secret").read_text() == "mine"
    assert "--no-token" in refused("--no-token", "--host", "0.0.0.0")
    (tmp_path / "token").write_text("0123456789abcdef")
    assert "--no-token asks for no token, and --token-file has one" in refused("--no-token", "--token-file", "token")
    told = refused("--certfile", "token", "--keyfile", "token")
    assert "token, token: these are no certificate in PEM" in told
    assert "Give others as --certfile and --keyfile." in told
    assert "no such folder" in refused("--data", str(tmp_path / "nowhere"))
    assert "NAME=FOLDER" in refused("--model", "x")
    assert "another model has that name" in refused("--model", "a=.", "--model", "a=..")
    assert "--parallel-jobs 4 is for a server that takes jobs: give --jobs as well" in refused("--parallel-jobs", "4")
    assert str(api.port) in refused("--port", str(api.port))


def test_a_server_takes_jobs_only_if_it_was_told_to(api: Client, page: Client) -> None:
    assert (api.get("/system")["jobs"], page.get("/system")["jobs"]) == (False, True)
    for method, path in (
        ("GET", "/jobs"),
        ("POST", "/jobs"),
        ("GET", "/recipes"),
        ("POST", "/sources/src_0123456789ab/preflight"),
    ):
        found = api.call(method, A + path, {} if method == "POST" else None)
        assert found.status in (404, 422), path
        assert found.status == 422 or "--jobs" in found.json["error"]["message"]
    assert page.get("/jobs") == {"jobs": [], "next": None}


def test_answers_do_not_wait_to_be_acknowledged(tmp_path: Path) -> None:
    async def no_delay(listening: socket.socket) -> int:
        found = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there: Any = writer.get_extra_info("socket")
            found.set_result(there.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(connected, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                return int(await found)
            finally:
                writer.close()

    with _bound(ServerSettings(workspace=tmp_path, port=0)) as listening:
        assert awaited(no_delay(listening)) == 1

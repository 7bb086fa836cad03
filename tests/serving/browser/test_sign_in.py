"""A browser without a session: the form, the token, the address that opens one session; and where the token must not be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving.browser.conftest import Server
from tests.serving.conftest import Client, launch

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 60_000


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A server that asks for its token."""
    one = launch(tmp_path_factory.mktemp("guarded"), "--no-browser", command="studio")
    yield one
    one.process.kill()
    one.process.wait()


@pytest.fixture
def at(guarded: Client, visit: Any, watch: Any) -> Any:
    watch.allowed = "status of 401"  # what the browser itself prints
    server = Server(guarded.log.parent / "workspace", guarded.port, f"http://127.0.0.1:{guarded.port}")
    return lambda path, **options: visit(path, at=server, **options)


def code(client: Client) -> str:
    """The address that was printed, without its host."""
    return client.address[client.address.index("/?code=") :]


def test_a_token_opens_the_page_and_is_kept_nowhere(at: Any, guarded: Client) -> None:
    page = at("/data?x=1")
    form = page.get_by_role("heading", name="Sign in")
    expect(form).to_be_visible()
    field = page.get_by_label("Token")
    assert page.locator(".offline").count() == 0, "a server that asks is no server that is away"
    expect(field).to_be_focused()
    expect(field).to_have_attribute("type", "password")
    field.fill("0" * 64)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("not the token of this server")
    expect(form).to_be_visible()
    assert page.context.cookies() == []
    field.fill(f" {guarded.token}\n")  # as it is pasted
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("[data-source='chandler-stocks']")).to_be_visible(timeout=WAIT)
    expect(form).to_have_count(0)
    assert page.url.endswith("/data?x=1"), "where one wanted to go"
    [cookie] = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
    kept = page.evaluate(
        "JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state, name])"
    )
    for place in (page.url, kept, cookie["value"], page.content(), guarded.log.read_text()):
        assert guarded.token not in place
    page.reload()
    expect(page.locator("[data-source='chandler-stocks']")).to_be_visible(timeout=WAIT)


def test_the_printed_address_opens_one_browser_and_leaves_no_trace(at: Any, guarded: Client) -> None:
    asked: list[str] = []
    other = at("/journal")  # a tab that waits with the form keeps nothing from one that is signed in
    expect(other.get_by_role("heading", name="Sign in")).to_be_visible()
    page = other.context.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"http://127.0.0.1:{guarded.port}{code(guarded)}")
    expect(page.locator("#chart")).to_be_visible(timeout=WAIT)
    expect(page).to_have_url(re.compile(r"/chart\?"))
    secret = code(guarded).partition("=")[2]
    assert secret not in page.url
    assert [url for url in asked if secret in url] == asked[:1], "asked for once, and never handed on"
    assert page.evaluate("performance.getEntries().filter((one) => one.name.includes('code=')).length") == 0
    assert page.evaluate("document.referrer") == ""
    assert any("/api/v1/events" in url for url in asked), "it hears what changes"
    page.go_back()
    assert secret not in page.url
    again = at(code(guarded) + "&symbol=IBM")
    expect(again.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "code" not in again.url
    assert "symbol=IBM" in again.url
    assert again.context.cookies() == []
    assert secret not in guarded.log.read_text()


def test_a_session_that_ends_asks_again_where_one_is(at: Any, guarded: Client) -> None:
    page = at("/about", size=(390, 844), color_scheme="dark")
    page.get_by_label("Token").fill(guarded.token)
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Sign out").click()
    form = page.get_by_role("heading", name="Sign in")
    expect(form).to_be_visible()
    assert page.context.cookies() == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_label("Token").fill(guarded.token)
    page.keyboard.press("Enter")
    expect(form).to_have_count(0)
    page.context.clear_cookies()
    page.get_by_role("navigation").get_by_role("link", name="Journal").click()
    expect(form).to_be_visible()
    page.get_by_label("Token").fill(guarded.token)
    with page.expect_request("**/api/v1/events*"):
        page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1, name="Journal")).to_be_visible()

"""The client in other pages: the example, and a site on another origin."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.async_api import expect
from streamd_client import connect

from tests.browser.chromium import MARKS
from tests.harness import running

pytestmark = MARKS

SITE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>A site</title>
<p role="status"></p>
<ol></ol>
<script type="module">
import {{ connect }} from "{url}streamd.js";

const client = connect("{url}");
client.subscribe({{ user: [23, 291] }}, {{
  onEntry({{ event }}) {{
    document.querySelector("ol").append(document.createElement("li"));
    document.querySelector("li:last-child").textContent = event.text;
  }},
  onState(state) {{ document.querySelector("p").textContent = state; }},
}});
await client.insert({{ user: 291, text: "from the site" }});
</script>
"""


class Quiet(SimpleHTTPRequestHandler):
    """Serve files, and say nothing of it."""

    def log_message(self, *args: object) -> None:
        """Do nothing."""


@contextmanager
def site(folder: Path) -> Iterator[str]:
    """Serve a folder under a name and on a port of its own; give its origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://site.test:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def test_the_example_shows_the_feed_of_friends(server, producer, visitor):
    for number in range(3):
        await producer.insert({"user": 23, "kind": "watch", "repo": number})
    await producer.insert({"user": 7, "kind": "stranger"})
    page = await visitor.open(f"{server.url}example?friends=23,291")
    entries = page.get_by_role("listitem")
    await expect(entries).to_have_text(
        [re.compile(f'23 watch {{"repo":{number}}}') for number in (2, 1, 0)]
    )
    await producer.insert({"user": 291, "kind": "<img src=x onerror=alert(1)>"})
    await expect(entries.first).to_contain_text("291 <img src=x onerror=alert(1)>")
    await page.get_by_role("button", name="Insert a test event").click()
    await expect(entries).to_have_count(5)
    await expect(entries.first).to_contain_text("23 wave")
    await expect(page.get_by_role("status")).to_have_text("live")


async def test_the_example_asks_for_friends(server, producer, visitor):
    await producer.insert({"user": 291, "kind": "watch"})
    page = await visitor.open(f"{server.url}example")
    await page.get_by_label("friends").fill("23, 291")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("listitem")).to_have_text([re.compile("291 watch")])


@pytest.fixture
def origin(tmp_path) -> Iterator[str]:
    """The origin of a site that has its page in `tmp_path`."""
    with site(tmp_path) as origin:
        yield origin


async def test_a_site_on_another_origin_imports_the_client(tmp_path, origin, outlasting, visitor):
    server = await outlasting.enter_async_context(running(allow_origin=[origin]))
    producer = await outlasting.enter_async_context(connect(server.ws_url))
    (tmp_path / "index.html").write_text(SITE.format(url=server.url))
    await producer.insert({"user": 23, "text": "before"})
    page = await visitor.open(f"{origin}/", server.url)
    entries = page.get_by_role("listitem")
    await expect(entries).to_have_text(["before", "from the site"])
    await producer.insert({"user": 23, "text": "live"})
    await expect(entries).to_have_text(["before", "from the site", "live"])
    await expect(page.get_by_role("status")).to_have_text("live")


async def test_a_site_that_is_not_allowed_comes_not_in(tmp_path, origin, server, producer, visitor):
    (tmp_path / "index.html").write_text(SITE.format(url=server.url))
    page = await visitor.open(f"{origin}/", server.url)
    visitor.allow("403")
    await expect(page.get_by_role("status")).to_have_text("subscribing")
    assert await producer.items() == []


async def test_a_frame_that_is_nobody_s_comes_not_in(tmp_path, origin, outlasting, visitor):
    server = await outlasting.enter_async_context(running(allow_origin=[origin]))
    producer = await outlasting.enter_async_context(connect(server.ws_url))
    (tmp_path / "inner.html").write_text(SITE.format(url=server.url))
    (tmp_path / "index.html").write_text(
        '<!doctype html><link rel="icon" href="data:,">'
        '<iframe sandbox="allow-scripts" src="inner.html"></iframe>'
    )
    page = await visitor.new_page(f"{origin}/", server.url)
    visitor.allow("403")
    async with page.expect_event("console", lambda message: "403" in message.text):
        await page.goto(f"{origin}/")
    frame = page.frame_locator("iframe")
    await expect(frame.get_by_role("status")).to_have_text("subscribing")
    assert await page.frames[1].evaluate("origin") == "null"
    assert await producer.items() == []

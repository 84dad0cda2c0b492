"""The pages' policies really block: what gets into a page by mistake does not run."""

import pytest
from playwright.async_api import Route

from tests.browser.chromium import MARKS

pytestmark = MARKS

PAGES = ("/", "/example")

MISTAKE = """\
<script>window.ran = "inline script";</script>
<script src="data:text/javascript,window.ran='script of another origin'"></script>
<img src="/dashboard/none.svg" alt="" onerror="window.ran = 'inline handler'">
<iframe srcdoc="<script>parent.ran = 'script of a frame'</script>"></iframe>
<svg onload="window.ran = 'handler of a picture'"></svg>
<style>body { --styled: yes }</style>
<base href="http://example.org/">
</body>"""
"""What stands in a page that forgot to escape an event."""

SINKS = {
    "innerHTML": "document.body.innerHTML = '<p>'",
    "outerHTML": "document.body.outerHTML = '<p>'",
    "insertAdjacentHTML": "document.body.insertAdjacentHTML('beforeend', '<p>')",
    "document.write": "document.write('<p>')",
    "DOMParser": "new DOMParser().parseFromString('<p>', 'text/html')",
    "text of a script": "document.createElement('script').text = 'window.ran = 1'",
    "address of a script": "document.createElement('script').src = '/streamd.js'",
    "handler": "document.body.setAttribute('onclick', 'window.ran = 1')",
    "frame": "document.createElement('iframe').srcdoc = '<p>'",
    "timer": "setTimeout('window.ran = 1')",
    "policy": "trustedTypes.createPolicy('mine', {})",
}


@pytest.mark.parametrize("path", PAGES)
async def test_what_stands_in_the_page_by_mistake_does_not_run(server, visitor, path):
    page = await visitor.new_page(server.url)
    # Of a page that the test has answered itself, the browser does not know from where it is.
    visitor.allow("Content Security [Pp]olicy|404|LOCAL_NETWORK_ACCESS")

    async def answer(route: Route) -> None:
        response = await route.fetch()
        text = await response.text()
        assert "</html>" in text
        await route.fulfill(response=response, body=text.replace("</html>", MISTAKE))

    await page.add_init_script(
        "window.blocked = []; document.addEventListener('securitypolicyviolation',"
        " (event) => window.blocked.push(event.effectiveDirective))"
    )
    await page.route(lambda url: url.endswith(path), answer)
    await page.goto(server.url.rstrip("/") + path)
    assert await page.evaluate("window.ran") is None
    assert await page.evaluate("getComputedStyle(document.body).getPropertyValue('--styled')") == ""
    assert sorted(set(await page.evaluate("window.blocked"))) == [
        "base-uri", "script-src-attr", "script-src-elem", "style-src-elem",
    ]  # fmt: skip


@pytest.mark.parametrize("path", PAGES)
async def test_a_text_never_becomes_html_or_a_script(server, visitor, path):
    page = await visitor.open(server.url.rstrip("/") + path)
    visitor.allow("Content Security [Pp]olicy|TrustedHTML|TrustedScript")
    for name, code in SINKS.items():
        caught = await page.evaluate(
            f"() => {{ try {{ {code} }} catch (error) {{ return error.name }} }}"
        )
        assert caught == "TypeError", name
    assert await page.evaluate("window.ran") is None


async def test_a_page_talks_to_nobody_else(server, visitor):
    page = await visitor.open(server.url)
    visitor.allow("Content Security [Pp]olicy|elsewhere|failed: ")
    for call in (
        "fetch('http://127.0.0.1:9/')",
        "fetch('data:,')",
        "import('data:text/javascript,')",
    ):
        caught = await page.evaluate(f"() => {call}.catch((error) => error.name)")
        assert caught == "TypeError", call

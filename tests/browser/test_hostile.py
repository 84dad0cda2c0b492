"""Events are hostile texts: they are shown, and nothing of them runs."""

from typing import Any

from playwright.async_api import Page, expect

from tests.browser.chromium import MARKS
from tests.browser.dashboard import Dashboard

pytestmark = MARKS

IMG = "<img src=x onerror=\"window.ran = 'img'\">"
SCRIPT = "<script>window.ran = 'script'</script>"
SVG = "<svg onload=\"window.ran = 'svg'\"></svg>"
URL = "javascript:void(window.ran='url')"
STYLE = "<style>*{display:none}</style>"
OVERRIDE = "\u202egnp.exe"
LONG = "A" * 60_000

EVENTS: dict[str, dict[str, Any]] = {
    "in the kind": {"kind": IMG, "user": SCRIPT, "repo": URL},
    "in lists": {"kind": [SVG, STYLE], "user": ["'\"><b>", "&lt;b&gt;"]},
    "in names": {"kind": "names", IMG: SCRIPT, URL: {SVG: STYLE}},
    "in values": {"kind": "values", "a": IMG, "b": [SCRIPT, {"c": SVG}], "href": URL},
    "names of objects": {
        "kind": "__proto__", "user": "constructor", "repo": "toString",
        "__proto__": {"ran": "prototype"}, "constructor": {"prototype": {"ran": "constructor"}},
        "hasOwnProperty": 1, "toString": "no function", "valueOf": None, "then": "no promise",
    },
    "directions": {"kind": OVERRIDE, "user": "\u2067rtl\u2069", "name": OVERRIDE, OVERRIDE: 1},
    "controls": {"kind": "\x1b[31mred\x07", "name": "a\nb\u2028c\u0085d\x7fe\ufeff"},
    "long": {"kind": "long", "text": LONG},
    "long name": {"kind": "long name", LONG: 1},
    "deep": {"kind": "deep", "a": {"b": {"c": {"d": {"e": {"f": IMG}}}}}},
}  # fmt: skip

SHOWN = {
    "in the kind": [IMG, SCRIPT, URL],
    "in lists": [SVG, STYLE, "'\"><b>", "&lt;b&gt;"],
    "in names": [IMG, SCRIPT],
    "in values": [IMG, URL],
    "names of objects": ["__proto__", "constructor", "toString", "no function"],
    "directions": ["\\u202egnp.exe", "\\u2067rtl\\u2069"],
    "controls": ["\\u001b[31mred\\u0007", "\\u2028"],
    "long": ["AAAAAAAA"],
    "long name": ["AAAAAAAA"],
    "deep": ["deep"],
}
"""Some of the texts that are on screen of each."""

RAN = "() => [window.ran, ({}).ran, Object.prototype.ran, document.links.length]"
INVISIBLE = (
    r"() => document.body.textContent.match(/[\u202a-\u202e\u2066-\u2069\u0000-\u0008\u001b]/g)"
)


async def harmless(page: Page) -> None:
    """See that nothing ran, and nothing of an event became an element."""
    assert await page.evaluate(RAN) == [None, None, None, 0]
    assert await page.evaluate(INVISIBLE) is None
    assert (
        await page.locator("img:not(h1 img), [onerror], [onload], [href^=javascript]").count() == 0
    )


async def test_each_is_shown_as_text(dashboard, producer):
    page = dashboard.page
    for name, event in EVENTS.items():
        await producer.insert(event)
        row = dashboard.rows.first
        for text in SHOWN[name]:
            await expect(row, name).to_contain_text(text)
        box = await row.bounding_box()
        assert box is not None
        assert box["height"] < 100, name
        await row.click(position={"x": 5, "y": 5})
        await expect(dashboard.details, name).to_be_visible()
        await harmless(page)
        await page.keyboard.press("Escape")
        await look_for_all_of_it(dashboard, name)
    await page.reload()
    await dashboard.live()
    await expect(dashboard.rows).to_have_count(len(EVENTS))
    await harmless(page)


async def look_for_all_of_it(dashboard: Dashboard, name: str) -> None:
    """Add all values of the newest row to the filter, and take them out."""
    chips = dashboard.rows.first.locator("button[aria-pressed=false]")
    for wanted in range(await chips.count()):
        await chips.first.click()
        await expect(dashboard.wanted, name).to_have_count(wanted + 1)
        await expect(dashboard.rows, name).to_have_count(1)
    await harmless(dashboard.page)
    await dashboard.page.get_by_role("button", name="Clear", exact=True).click()
    await expect(dashboard.wanted).to_have_count(0)


async def test_a_hostile_address_is_a_filter_like_any_other(server, producer, visitor):
    await producer.insert(EVENTS["in the kind"])
    dashboard = await visitor.open_dashboard(f"{server.url}#kind=%3Cimg%20src%3Dx%20onerror%3D1%3E")
    await expect(dashboard.wanted).to_contain_text("<img src=x onerror=1>")
    await expect(dashboard.rows).to_have_count(0)
    await dashboard.page.evaluate("location.hash = '#__proto__=1&constructor=%00'")
    await expect(dashboard.page.get_by_role("alert")).to_contain_text("__proto__")
    await harmless(dashboard.page)


async def test_they_are_counted_as_text(server, producer, visitor):
    await producer.insert_many(EVENTS.values())
    dashboard = await visitor.open_dashboard(server.url)
    await expect(dashboard.rows).to_have_count(len(EVENTS))
    choice = dashboard.page.get_by_role("combobox", name="Most frequent")
    bars = dashboard.page.get_by_role("complementary").get_by_role("listitem")
    for key, text in (("user", SCRIPT), ("kind", IMG), ("repo", URL)):
        await choice.select_option(key)
        await expect(bars.filter(has_text=text)).to_have_count(1)
        await harmless(dashboard.page)

"""The dashboard's filter: by click, by typing and pasting, in the address."""

import re

from playwright.async_api import expect

from tests.browser.chromium import MARKS
from tests.browser.dashboard import numbered
from tests.story import STORY

pytestmark = MARKS

COPYING = ["clipboard-read", "clipboard-write"]


async def test_a_click_on_a_value_filters_and_another_takes_it_back(dashboard, producer):
    await producer.insert_many(STORY)
    await expect(dashboard.rows).to_have_count(5)
    await dashboard.chip("friend").first.click()
    await expect(dashboard.rows).to_have_count(2)
    await dashboard.chip("user 23").click()
    await expect(dashboard.rows).to_have_count(1)
    await expect(dashboard.wanted).to_have_count(2)
    await producer.insert_many(
        [{"kind": "friend", "user": 7}, {"kind": "friend", "user": 23, "n": 2}]
    )
    await expect(dashboard.rows).to_have_count(2)
    await dashboard.chip("friend").first.click()
    await expect(dashboard.wanted).to_have_text(re.compile("23"))
    await dashboard.page.get_by_role("button", name="Remove user 23").click()
    await expect(dashboard.rows).to_have_count(7)


async def test_the_filter_is_in_the_address(server, dashboard, producer, visitor):
    page = dashboard.page
    await producer.insert_many(STORY)
    await dashboard.chip("friend").first.click()
    await expect(page).to_have_url(f"{server.url}#kind=friend")
    await dashboard.chip("user 23").click()
    await expect(page).to_have_url(f"{server.url}#kind=friend&user=23")
    await expect(dashboard.rows).to_have_count(1)
    await page.reload()
    await dashboard.live()
    await expect(dashboard.rows).to_have_count(1)
    await page.go_back()
    await expect(page).to_have_url(f"{server.url}#kind=friend")
    await expect(dashboard.rows).to_have_count(2)
    await page.go_back()
    await expect(dashboard.rows).to_have_count(5)
    await page.go_forward()
    await expect(dashboard.rows).to_have_count(2)
    colleague = await visitor.open_dashboard(f"{server.url}#user=23&user=17&kind=friend")
    await expect(colleague.rows).to_have_count(1)
    await expect(colleague.wanted).to_have_count(3)


async def test_values_are_typed(dashboard, producer):
    await producer.insert_many([*numbered(range(3)), {"kind": "two words"}, {"kind": "other"}])
    await dashboard.look_for('kind="two words"')
    await expect(dashboard.rows).to_have_count(1)
    await dashboard.look_for("kind=count")
    await expect(dashboard.rows).to_have_count(4)
    await dashboard.look_for("user=291")
    await dashboard.shows([2, 1, 0])
    await dashboard.page.get_by_role("button", name="Clear", exact=True).click()
    await expect(dashboard.rows).to_have_count(5)


async def test_many_values_are_pasted_at_once(server, producer, visitor):
    users = range(1_000, 1_500)
    await producer.insert_many([{"user": user, "kind": "here"} for user in (*users[:3], 7)])
    dashboard = await visitor.open_dashboard(server.url, permissions=COPYING)
    page = dashboard.page
    await page.get_by_role("combobox", name="Key").select_option("user")
    lines = "\n".join(map(str, users[:250])) + "\r\n" + ", ".join(map(str, users[250:]))
    await page.evaluate("(text) => navigator.clipboard.writeText(text)", lines)
    await dashboard.values.press("Control+v")
    await expect(dashboard.rows).to_have_count(3)
    await expect(page.get_by_role("button", name=re.compile(r"^\+\d+ more"))).to_be_visible()
    await producer.insert_many([{"user": 1_499, "kind": "here"}, {"user": 1_500, "kind": "not"}])
    await expect(dashboard.rows).to_have_count(4)


async def test_the_server_s_objection_is_shown_and_the_page_goes_on(server, producer, visitor):
    await producer.insert_many(STORY)
    dashboard = await visitor.open_dashboard(server.url)
    page = dashboard.page
    await page.evaluate("location.hash = '#colour=red'")
    await expect(page.get_by_role("alert")).to_contain_text("colour")
    await expect(dashboard.rows).to_have_count(0)
    await page.go_back()
    await expect(page.get_by_role("alert")).to_be_hidden()
    await expect(dashboard.rows).to_have_count(5)


async def test_nothing_matches(dashboard, producer):
    await producer.insert_many(STORY)
    await dashboard.look_for("kind=none")
    await expect(dashboard.rows).to_have_count(0)
    await dashboard.page.get_by_role("button", name="Clear the filter").click()
    await expect(dashboard.rows).to_have_count(5)

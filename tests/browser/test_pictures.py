"""Pictures of the dashboard, to be looked at."""

import asyncio
import os
import random
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import expect

from tests.browser.chromium import MARKS

pytestmark = MARKS

OUTPUT = Path(__file__).parents[1] / "output"
README = Path(__file__).with_name("dashboard.png")
README_BYTES = 150_000
README_SECONDS = 100.0

REPOS = ["ada/engine", "grace/compiler", "linus/kernel", "guido/python", "edsger/paths"]
COMMITS = [
    "Fix the fair turns",
    "Ask a store every 10 ms",
    "Say why in one sentence",
    "Drop Python 3.9",
]
ISSUES = ["It says nothing when the disk is full", "Typo on the first page", "Could it be faster?"]


def happening(rng: random.Random) -> dict[str, Any]:
    """Return something that may happen on a site where people write programs."""
    user, repo = rng.randrange(1, 60) ** 2, rng.choice(REPOS)
    return rng.choice(
        [
            {"kind": "push", "user": user, "repo": repo, "commits": rng.randrange(1, 9), "message": rng.choice(COMMITS)},
            {"kind": "push", "user": user, "repo": repo, "commits": 1, "message": rng.choice(COMMITS)},
            {"kind": "watch", "user": user, "repo": repo},
            {"kind": "friend", "user": user, "friend": rng.randrange(1, 60) ** 2},
            {"kind": "issue", "user": user, "repo": repo, "number": rng.randrange(900), "title": rng.choice(ISSUES)},
            {"kind": "fork", "user": user, "repo": repo, "into": f"{user}/{repo.split('/')[1]}"},
            {"kind": "release", "user": user, "repo": repo, "tag": f"v{rng.randrange(3)}.{rng.randrange(12)}", "files": [{"os": "linux"}]},
        ]
    )  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", ["wide", "phone"])
async def test_it_has_its_picture_taken(scheme, size, server, producer, visitor):
    rng = random.Random(5)
    await producer.insert_many([happening(rng) for _ in range(150)])
    width, height = (1280, 800) if size == "wide" else (390, 800)
    dashboard = await visitor.open_dashboard(
        server.url, color_scheme=scheme, viewport={"width": width, "height": height}
    )
    for _ in range(20):
        await producer.insert(happening(rng))
    await expect(dashboard.fact("Received")).to_have_text("20")
    OUTPUT.mkdir(exist_ok=True)
    await dashboard.page.screenshot(path=OUTPUT / f"dashboard-{size}-{scheme}.png")


@pytest.mark.skipif(
    "STREAMD_TEST_PICTURES" not in os.environ, reason="STREAMD_TEST_PICTURES is not set"
)
@pytest.mark.timeout(300)
async def test_the_readme_gets_its_picture(server, producer, visitor):
    rng = random.Random(7)
    dashboard = await visitor.open_dashboard(server.url, viewport={"width": 1280, "height": 720})
    loop = asyncio.get_running_loop()
    end = loop.time() + README_SECONDS
    while loop.time() < end:
        await producer.insert_many([happening(rng) for _ in range(rng.randrange(1, 5))])
        await asyncio.sleep(rng.uniform(0.05, 0.5))
    for name in ("ada/engine", "guido/python"):
        await dashboard.look_for(f"repo={name}")
    await dashboard.live()
    await dashboard.page.screenshot(path=README)
    assert README.stat().st_size <= README_BYTES

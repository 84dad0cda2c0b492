"""Pictures of the dashboard, to be looked at."""

import asyncio
import math
import os
import random
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.async_api import expect

from tests.browser.chromium import MARKS

pytestmark = MARKS

OUTPUT = Path(__file__).parents[1] / "output"
README = Path(__file__).with_name("dashboard.png")
README_BYTES = 150_000
README_SECONDS = 100.0

USERS = [291, 23, 17, 2842, 9, 58, 604, 77]
FRIENDS = USERS[:5]
REPOS = ["ada/engine", "grace/compiler", "margaret/apollo", "edsger/paths", "barbara/clusters"]
MESSAGES = [
    "Ask a store only once",
    "Say why in one sentence",
    "Land on the Moon",
    "Drop Python 3.9",
]
TITLES = ["It says nothing when the disk is full", "Typo on the first page", "Could it be faster?"]


def happening(rng: random.Random) -> dict[str, Any]:
    """Return something that may happen on a site where people write programs."""
    user, repo = rng.choice(USERS), rng.choice(REPOS)
    did: dict[str, Any] = {"kind": "push", "user": user, "repo": repo}
    return did | rng.choice(
        [
            {"branch": "main", "commits": rng.randrange(1, 9), "message": rng.choice(MESSAGES)},
            {"branch": "next", "commits": 1, "message": rng.choice(MESSAGES)},
            {"kind": "watch"},
            {"kind": "friend", "repo": None, "friend": rng.randrange(3_000)},
            {"kind": "issue", "number": rng.randrange(900), "title": rng.choice(TITLES)},
            {"kind": "fork", "into": f"user-{user}/{repo.partition('/')[2]}"},
            {"kind": "release", "tag": f"v{rng.randrange(3)}.{rng.randrange(12)}"},
        ]
    )


@pytest.mark.parametrize(
    ("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)]
)
async def test_it_has_its_picture_taken(scheme, width, server, producer, visitor):
    rng = random.Random(5)
    await producer.insert_many([happening(rng) for _ in range(150)])
    dashboard = await visitor.open_dashboard(
        server.url, color_scheme=scheme, viewport={"width": width, "height": 800}
    )
    for _ in range(20):
        await producer.insert(happening(rng))
    await expect(dashboard.fact("Received")).to_have_text("20")
    OUTPUT.mkdir(exist_ok=True)
    await dashboard.page.screenshot(path=OUTPUT / f"dashboard-{width}-{scheme}.png")


@pytest.mark.skipif(
    "STREAMD_TEST_PICTURES" not in os.environ, reason="STREAMD_TEST_PICTURES is not set"
)
@pytest.mark.timeout(300)
async def test_the_readme_gets_its_picture(server, producer, visitor):
    rng = random.Random(7)
    loop = asyncio.get_running_loop()
    start = loop.time()
    dashboard = await visitor.open_dashboard(
        f"{server.url}#{urlencode([('user', user) for user in FRIENDS])}",
        viewport={"width": 1280, "height": 640},
    )
    while (passed := loop.time() - start) < README_SECONDS:
        await producer.insert_many([happening(rng) for _ in range(rng.randrange(1, 5))])
        busy = math.sin(passed / README_SECONDS * 3 * math.pi) ** 2
        await asyncio.sleep(rng.uniform(0.2, 2.5 - 2.1 * busy))
    await dashboard.page.screenshot(path=README)
    assert README.stat().st_size <= README_BYTES

"""What axe-core, the checker of accessibility, finds in a page."""

import os
from typing import Any

import pytest
from playwright.async_api import Page

from tests.documents import ROOT

__all__ = ["grave_faults"]

_AXE = ROOT / "clients" / "js" / "node_modules" / "axe-core" / "axe.min.js"


async def grave_faults(page: Page) -> list[str]:
    """Return a line for each serious or critical fault: the rule, what is wrong, and where."""
    if not _AXE.exists():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
            "axe-core is not installed"
        )
    await page.evaluate(_AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = await page.evaluate("axe.run()")
    assert found["passes"], "axe looked at nothing"
    return [
        f"{fault['id']}: {node['failureSummary']} {node['html']}"
        for fault in found["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]

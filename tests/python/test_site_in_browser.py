"""The documentation site in a real browser: it fits every width, and is legible in both schemes. Needs what its test and that of
the report need: make browser."""

from pathlib import Path
from typing import Any

import pytest
from test_docs import site  # noqa: F401 - a fixture
from test_report_in_browser import CONTRASTS, DESKTOP, PHONE, Opened, browser, pytestmark  # noqa: F401

TABLET = 820


@pytest.mark.parametrize("width", [PHONE, TABLET, DESKTOP])
def test_every_page_fits(browser: Any, site: Path, width: int) -> None:  # noqa: F811
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 50
    opened = Opened(browser, pages[0], width)
    wide = {}
    for path in pages:
        opened.page.goto(path.as_uri())
        found = opened.run("document.documentElement.scrollWidth")
        if found > width:
            wide[str(path.relative_to(site))] = found
    assert wide == {}


def test_a_signature_breaks_between_its_parameters(browser: Any, site: Path) -> None:  # noqa: F811
    opened = Opened(browser, site / "reference" / "estimators.html", PHONE)
    parts = "[...document.querySelectorAll('dt.sig .sig-param')]"
    assert opened.run(f"{parts}.length") > 100
    lines = "new Set([...e.getClientRects()].map(part => part.top)).size"
    assert opened.run(f"{parts}.filter(e => {lines} > 1).map(e => e.textContent)") == []
    # The first signature takes several lines.
    assert opened.run(f"new Set({parts}.slice(0, 20).map(e => e.getBoundingClientRect().top)).size") > 5


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_code_have_the_contrast_that_readers_need(browser: Any, site: Path, scheme: str) -> None:  # noqa: F811
    for page in ("index", "reference/exceptions", "guarantees/subsample", "notebooks/own_model"):
        opened = Opened(browser, site / f"{page}.html", DESKTOP, scheme)
        # What is there for a pointer or a keyboard only: marks of links, buttons, a link that skips to the content.
        opened.run(
            "document.querySelectorAll('.headerlink, .skip-to-content, button').forEach(e => e.remove())"
        )
        found = opened.run(CONTRASTS)
        assert len(found) > 50
        assert [(round(ratio, 2), said) for ratio, said in found if ratio < 4.5] == [], page

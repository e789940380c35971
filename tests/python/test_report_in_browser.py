"""The report in a real browser: no errors, no requests, no overflow on a phone. Needs playwright and chromium."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: make browser")

CHROMIUM = os.environ.get("CHROMIUM") or next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium on the PATH, or its path in CHROMIUM"
)

PHONE, DESKTOP = 390, 1280


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        # Root in a container may not open Chromium's sandbox; the page is our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page that has been loaded, with everything it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str = "light") -> None:
        self.asked: list[str] = []
        self.said: list[str] = []
        self.page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.goto(path.as_uri())

    def run(self, script: str) -> Any:
        return self.page.evaluate(script)


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_opens_quietly_and_fits(browser: Any, hostile_run: Path, width: int, scheme: str) -> None:
    opened = Opened(browser, hostile_run / "report.html", width, scheme)
    assert [url for url in opened.asked if not url.startswith("data:")] == [
        (hostile_run / "report.html").as_uri()
    ]
    assert opened.said == []
    assert opened.run("document.documentElement.scrollWidth") == width
    outside = "[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    opened.run("[...document.querySelectorAll('details')].forEach(e => { e.open = true })")
    hidden = f"{outside}.filter(e => !e.closest('.scroll')).map(e => e.outerHTML.slice(0, 80))"
    assert opened.run(hidden) == []


def test_all_images_are_decoded_and_drawings_have_a_size(browser: Any, hostile_run: Path) -> None:
    opened = Opened(browser, hostile_run / "report.html", PHONE)
    sizes = opened.run("[...document.images].map(i => i.naturalWidth)")
    assert len(sizes) > 12 and set(sizes) == {8}
    drawn = opened.run(
        "[...document.querySelectorAll('svg[role=img]')].map(s => s.getBoundingClientRect().height)"
    )
    # Over samples, over the norm, and the frontier.
    assert len(drawn) == 3 and min(drawn) > 150
    letters = opened.run(
        "[...document.querySelectorAll('svg[role=img] text')].map(t => t.getBoundingClientRect().height)"
    )
    assert min(letters) > 7


def test_the_dark_scheme_is_dark_and_legible(browser: Any, hostile_run: Path) -> None:
    opened = Opened(browser, hostile_run / "report.html", DESKTOP, "dark")
    colours = opened.run(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.querySelector('svg text')).fill]"
    )
    paper, ink = (sum(int(part) for part in colour[4:-1].split(",")) for colour in colours)
    assert paper < 120 and ink > 550


CONTRASTS = """() => {
  const sheet = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const parts = colour => {
    sheet.clearRect(0, 0, 1, 1); sheet.fillStyle = colour; sheet.fillRect(0, 0, 1, 1);
    return [...sheet.getImageData(0, 0, 1, 1).data];
  };
  const behind = e => {
    for (; e; e = e.parentElement) { const p = parts(getComputedStyle(e).backgroundColor); if (p[3] == 255) return p; }
    return [255, 255, 255, 255];
  };
  const light = p => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const v = p[i] / 255; return sum + weight * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const e = texts.currentNode.parentElement, said = texts.currentNode.textContent.trim();
    if (!said || e.tagName == 'title' || !e.getClientRects().length) continue;
    const style = getComputedStyle(e), ink = e instanceof SVGElement ? style.fill : style.color;
    const [dark, bright] = [light(parts(ink)), light(behind(e))].sort((a, b) => a - b);
    found.push([(bright + 0.05) / (dark + 0.05), said]);
  }
  return found;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_that_readers_need(browser: Any, hostile_run: Path, scheme: str) -> None:
    """4.5 to 1 is WCAG's level AA for text of this size."""
    opened = Opened(browser, hostile_run / "report.html", DESKTOP, scheme)
    opened.run("[...document.querySelectorAll('details')].forEach(e => { e.open = true })")
    found = opened.run(CONTRASTS)
    assert len(found) > 100
    assert [(ratio, said) for ratio, said in found if ratio < 4.5] == []


def test_the_policy_stops_what_escaping_would_have_missed(
    browser: Any, hostile_run: Path, tmp_path: Path
) -> None:
    text = (hostile_run / "report.html").read_text(encoding="utf-8")
    attack = "<script>document.title = 'broken'</script><img src='http://127.0.0.1:9/x.png'>"
    (tmp_path / "broken.html").write_text(text.replace("</main>", attack + "</main>"), encoding="utf-8")
    opened = Opened(browser, tmp_path / "broken.html", DESKTOP)
    assert opened.page.title() != "broken"
    assert len(opened.said) == 2 and all("Content Security Policy" in message for message in opened.said)


def test_on_paper_it_is_light_and_fits(browser: Any, hostile_run: Path) -> None:
    opened = Opened(browser, hostile_run / "report.html", 720, "dark")
    opened.page.emulate_media(media="print")
    assert opened.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.run("document.documentElement.scrollWidth") <= 720
    assert len(opened.page.pdf(format="A4")) > 10_000


def test_a_point_of_a_curve_shows_itself_under_the_pointer(browser: Any, hostile_run: Path) -> None:
    opened = Opened(browser, hostile_run / "report.html", DESKTOP)
    point = opened.page.locator('g[id*="-point-"] use').nth(2)
    point.scroll_into_view_if_needed()
    seen = "e => getComputedStyle(e).fillOpacity"
    assert float(point.evaluate(seen)) == 0
    point.hover(force=True)
    assert float(point.evaluate(seen)) > 0.5


def test_the_command_that_repeats_a_run_has_no_line_that_ends_inside_an_option(
    browser: Any, hostile_run: Path
) -> None:
    for width in (PHONE, DESKTOP):
        opened = Opened(browser, hostile_run / "report.html", width)
        parts = opened.run("[...document.querySelectorAll('.command span')].map(e => e.textContent)")
        assert parts[0] == "certssb run" and all(part.startswith("--") for part in parts[1:])
        short = (
            "[...document.querySelectorAll('.command span')].filter(e => e.textContent.length < 30)"
            ".map(e => e.getBoundingClientRect().height)"
        )
        heights = opened.run(short)
        assert len(heights) > 5 and max(heights) < 2 * min(heights)


def test_names_of_tests_are_no_columns_of_letters(browser: Any, tmp_path: Path) -> None:
    """On a phone the page about a suite was 44,000 pixels long."""
    from certssb.testing._page import render_suite

    assertion = {
        "held": True, "test": "test_robustness.py::test_most_predictions_are_certified[discriminant-n_poisoned=1, edits=any]",
        "table": "one", "threat": "n_poisoned=1, trigger_norm=0.5, edits=any", "asked": 0.8, "share": 0.9, "n_members": 500,
        "n_train": 260, "law": "Subsample(size=15)", "n_samples": 100, "sound": True, "guarantee": "One sentence.",
        "sentence": "Another one.", "unit": "number of samples", "size": 1.0, "sizes": [0.0, 1.0], "shares": [0.95, 0.9],
    }  # fmt: skip
    (tmp_path / "suite.html").write_text(render_suite("project", [assertion]), encoding="utf-8")
    for width in (PHONE, DESKTOP):
        opened = Opened(browser, tmp_path / "suite.html", width)
        assert opened.run("document.documentElement.scrollWidth") == width
        assert (
            opened.run("document.querySelector('.assertions tbody tr').getBoundingClientRect().height") < 150
        )


def test_captions_of_training_samples_are_no_columns_of_letters(browser: Any, hostile_run: Path) -> None:
    opened = Opened(browser, hostile_run / "report.html", PHONE)
    opened.run("[...document.querySelectorAll('details')].forEach(e => { e.open = true })")
    heights = opened.run(
        "[...document.querySelectorAll('.hints figcaption')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(heights) > 12 and max(heights) < 200

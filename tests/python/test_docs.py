"""The documentation: its examples run, its commands exist, the site builds without a warning, and its links lead somewhere."""

import doctest
import inspect
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import matplotlib
import pytest
from test_readme import BLOCK, blocks, commands

import certssb as cs
from certssb.cli import _parser

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


def page_ids(path: Path) -> str:
    return str(path.relative_to(DOCS).with_suffix(""))


def missing_name(mark: str) -> str | None:
    """A name that an example needs and that this version does not have."""
    needs = re.fullmatch(r"needs (\w+)", mark)
    return needs[1] if needs and not hasattr(cs, needs[1]) else None


@pytest.mark.parametrize("path", PAGES, ids=page_ids)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    matplotlib.use("agg")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "docs"}
    parser, runner = (
        doctest.DocTestParser(),
        doctest.DocTestRunner(optionflags=doctest.FAIL_FAST | doctest.ELLIPSIS),
    )
    for found in BLOCK.finditer(path.read_text()):
        mark, code = (found["mark"] or "").strip(), found["code"]
        line = path.read_text().count("\n", 0, found.start("code"))
        # Files of a worked project are run as one, by the test of what they show.
        if mark == "not run" or mark.startswith("file ") or missing_name(mark):
            continue
        if found["language"] == "python":
            exec(compile("\n" * line + code, str(path), "exec"), names)  # noqa: S102 - our own pages
        elif found["language"] == "pycon":
            test = parser.get_doctest(code, names, path.name, str(path), line)
            said: list[str] = []
            runner.run(test, out=said.append, clear_globs=False)
            assert not said, "".join(said)
            names |= test.globs


def test_guarantees_have_examples_with_results() -> None:
    pages = [path for path in PAGES if path.parent.name == "guarantees"]
    listed = re.findall(r"^guarantees/([\w-]+)$", (DOCS / "index.md").read_text(), re.MULTILINE)
    assert len(pages) >= 11 and sorted(path.stem for path in pages) == sorted(listed)
    for path in pages:
        assert re.search(r"^```(pycon|python)$", path.read_text(), re.MULTILINE), path
        assert "**What may have been changed.**" in path.read_text() or path.stem == "index"


def test_every_command_has_options_that_exist() -> None:
    found = [command for path in PAGES for _, _, code in blocks("sh", path) for command in commands(code)]
    assert len(found) >= 3
    for command in found:
        assert _parser().parse_args(command).command


def test_links_between_sources_lead_somewhere() -> None:
    for path in PAGES:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), (path, target)


def test_references_in_docstrings_name_something() -> None:
    """What the site would only find for names that it lists."""
    from test_docstrings import CLASSES, FUNCTIONS

    roles = re.compile(r":(?:class|func|meth|data|mod):`~?(certssb[\w.]*)`")
    found = {
        ref for thing in (CLASSES | FUNCTIONS).values() for ref in roles.findall(inspect.getdoc(thing) or "")
    }
    assert len(found) > 5
    for reference in found:
        thing: Any = cs
        for part in reference.split(".")[1:]:
            thing = getattr(thing, part)


class Links(HTMLParser):
    """Names and targets of a page of the site, and what it would load by itself."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {key: value for key, value in attrs if value}
        self.names |= {values[key] for key in ("id", "name") if key in values}
        if tag == "a" and "href" in values:
            self.targets.append(values["href"])
        elif "src" in values or (tag == "link" and values.get("rel") in ("stylesheet", "icon")):
            self.loaded.append(values.get("src") or values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("sphinx", "myst_nb", "furo", "latex2mathml"):
        pytest.importorskip(package, reason="needs sphinx, myst-nb, furo and latex2mathml: make docs")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-q", "--fail-on-warning", "--keep-going", str(DOCS), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


def test_the_site_has_no_dead_link_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    assert len(pages) > len(PAGES)
    n_links = 0
    for path, page in pages.items():
        assert not [source for source in page.loaded if "//" in source], path
        for target in page.targets:
            if re.match(r"https?:|mailto:", target):
                continue
            file, _, anchor = unquote(target).partition("#")
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), (path, target)
            if anchor and there in pages:
                assert anchor in pages[there].names, (path, target)
            n_links += 1
    assert n_links > 500


def test_the_site_describes_every_public_name(site: Path) -> None:
    from sphinx.util.inventory import InventoryFile

    content = (site / "objects.inv").read_bytes()
    listed = {name for kind in InventoryFile.loads(content, uri="").data.values() for name in kind}
    from test_docstrings import public

    short = {name.rpartition(".")[2] for name in listed}
    # What stands in private modules, or is a door for the command line, is public to the package only.
    named = [name for name in public() if "._" not in name and name != "certssb.cli.main"]
    assert len(named) > 50
    assert [name for name in named if name.rpartition(".")[2] not in short] == []


def test_attributes_on_the_site_have_their_names_and_a_description(site: Path) -> None:
    """A name that ends in an underscore was taken for a link; fields of tuples said "Alias for field number 0"."""
    text = {path.stem: path.read_text(encoding="utf-8") for path in (site / "reference").glob("*.html")}
    estimators = re.sub(r"<[^>]+>", "", text["estimators"])
    documented = re.findall(r"^    (\w+_) : ", inspect.getdoc(cs.CertifiedClassifier) or "", re.MULTILINE)
    documented += re.findall(r"^(\w+_) : ", inspect.getdoc(cs.CertifiedClassifier) or "", re.MULTILINE)
    assert len(documented) > 5
    for name in documented:
        assert re.search(rf"^{name} \(", estimators, re.MULTILINE), name
    for stem, page in text.items():
        assert "Alias for field number" not in page, stem
        for entry in re.findall(r'<dl class="py (?:attribute|property)">(.*?)</dl>', page, re.DOTALL):
            assert re.sub(r"<[^>]+>|\s", "", entry.partition("<dd>")[2]), (stem, entry[:300])


def test_what_is_inherited_is_described_once_and_named_as_a_base(site: Path) -> None:
    """The example of a four-pixel trigger stood below every other trigger; of exceptions nothing said what catches them."""
    data = (site / "reference" / "data.html").read_text(encoding="utf-8")
    assert (
        'id="certssb.triggers.Trigger.pattern"' in data and 'id="certssb.triggers.Trigger.__call__"' in data
    )
    assert "certssb.triggers.OnePixel.pattern" not in data
    own = re.sub(r"<[^>]+>", "", data.partition('id="certssb.triggers.OnePixel"')[2])
    assert own.partition("Bases: ")[2].startswith("Trigger")
    assert "Bases: _" not in re.sub(r"<[^>]+>", "", data)
    kinds = re.sub(r"<[^>]+>", "", (site / "reference" / "exceptions.html").read_text(encoding="utf-8"))
    assert "Bases: CertssbError, ValueError" in kinds and "class certssb." not in kinds
    # Lines that name nothing are left out, and words of a shape are no links.
    assert not [
        page
        for page in (site / "reference").glob("*.html")
        if ">Bases: </p>" in page.read_text(encoding="utf-8")
    ]
    estimators = (site / "reference" / "estimators.html").read_text(encoding="utf-8")
    assert "difference (ndarray of shape (n_train,))" in re.sub(r"<[^>]+>", "", estimators)
    for page in (site / "reference").glob("*.html"):
        assert "&lt;factory&gt;" not in page.read_text(encoding="utf-8"), page


def test_titles_differ(site: Path) -> None:
    """Two pages of one title cannot be told apart in the results of a search."""
    titles: dict[str, list[str]] = {}
    for page in site.rglob("*.html"):
        found = re.search(r"<h1>(.*?)<", page.read_text(encoding="utf-8"))
        if found:
            titles.setdefault(found[1], []).append(str(page.relative_to(site)))
    assert len(titles) > 40
    assert {title: pages for title, pages in titles.items() if len(pages) > 1} == {}


def test_code_fits_its_column(site: Path) -> None:
    """At 1280 pixels a page has room for 107 characters."""
    wide = []
    for page in site.rglob("*.html"):
        for kind, block in re.findall(
            r'<div class="highlight-(\w+)[^>]*><div class="highlight"><pre>(.*?)</pre>',
            page.read_text(encoding="utf-8"),
            re.DOTALL,
        ):
            code = unescape(re.sub(r"<[^>]+>", "", block)).splitlines()
            # What is printed wraps, or scrolls.
            prompts = any(line.startswith(">>>") for line in code)
            own = [line for line in code if not prompts or line.startswith((">>>", "..."))]
            wide += [(page.stem, line) for line in own if kind not in ("text", "none") and len(line) > 107]
    assert wide == []


def test_the_site_sets_formulas_and_says_whose_it_is(site: Path) -> None:
    for path in site.rglob("*.html"):
        page = path.read_text(encoding="utf-8")
        assert not re.search(r"Copyright &#169;\s*<", page) and "the certssb authors" in page, path
        # Sources of formulas that nothing has set.
        assert r"\(" not in re.sub(r"<pre.*?</pre>|<script.*?</script>", "", page, flags=re.DOTALL), path
    assert "<math" in (site / "guarantees" / "gaussian.html").read_text(encoding="utf-8")


def test_large_classes_begin_with_a_table_of_their_methods(site: Path) -> None:
    page = (site / "reference" / "certificates.html").read_text(encoding="utf-8")
    head = page.partition('id="certssb.CertificateTable"')[2].partition("Examples")[0]
    assert "autosummary" in head and 'href="#certssb.CertificateTable.holds"' in head

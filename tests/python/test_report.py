"""The report: complete, self-contained, and text where the data say something that looks like HTML."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import HOSTILE

import certssb as cs
from certssb import cli, report
from certssb.report._markup import joined, tag
from certssb.report._samples import least_certain

VOID = {"img", "meta", "br"}


class Page(HTMLParser):
    """What a page says, its elements with their attributes, and whether every one of them is closed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag == name]


@pytest.fixture(scope="module")
def page(hostile_run: Path) -> Page:
    return Page((hostile_run / "report.html").read_text(encoding="utf-8"))


def test_it_says_what_was_certified_and_where_it_comes_from(page: Page, hostile_run: Path) -> None:
    summary = json.loads((hostile_run / "summary.json").read_text())
    record = summary["record"]
    said = [
        summary["guarantee"], summary["law"], record["data_digest"], summary["versions"]["torch"],
        summary["finished"], "Seed of the noise 0", "learning rate 0.05", "Least certain clean test samples",
        f"at most {summary['budget']['n_poisoned']} of 400 training samples changed, labels as received",
    ]  # fmt: skip
    for sentence in said:
        assert sentence in page.text, sentence
    assert "Not a proof" not in page.text


def test_it_loads_nothing_and_runs_nothing(page: Page, hostile_run: Path) -> None:
    text = (hostile_run / "report.html").read_text(encoding="utf-8")
    for name, attributes in page.elements:
        assert name not in ("script", "link", "iframe", "object", "embed", "base")
        for key, value in attributes.items():
            assert not key.startswith("on")
            if key in ("src", "href", "xlink:href", "srcset", "action"):
                assert value is not None and value.startswith(("data:image/png;base64,", "#"))
    assert all(target.startswith("#") for target in re.findall(r"url\(([^)]*)\)", text))
    assert "@import" not in text
    policy = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_what_the_data_say_is_text(page: Page, hostile_run: Path) -> None:
    assert HOSTILE in page.text and "digit &amp; 3" in page.text and "<b>&'mine'.npz" in page.text
    assert all(image["src"] != "x" for image in page.all("img"))
    assert HOSTILE not in (hostile_run / "report.html").read_text(encoding="utf-8")


def test_names_inside_the_drawings_are_unique_and_found(page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names)) > 20
    used = {value[1:] for _, a in page.elements for k, value in a.items() if k == "xlink:href" and value}
    assert used and used <= set(names)


def test_every_image_is_described_and_belongs_to_its_certificate(page: Page, hostile_run: Path) -> None:
    table = cs.CertificateTable.load(hostile_run / "certificates-clean.npz")
    of_all, certified = least_certain(table)
    images = page.all("img")
    assert len(images) == len(of_all) + len(certified) > 12
    for image, place in zip(images, [*of_all, *certified], strict=True):
        assert image["alt"] and image["alt"].startswith(
            f"Sample {place}, predicted {table.prediction[place]},"
        )
        assert ("abstained" in image["alt"]) == table.abstained[place]


def test_shares_in_tables_are_those_of_the_summary_rounded_down(page: Page, hostile_run: Path) -> None:
    clean = json.loads((hostile_run / "summary.json").read_text())["results"]["clean"]
    for size, share in zip(clean["trigger_norms"], clean["certified_accuracy_budget"], strict=True):
        shown = re.search(rf"(?:^| ){re.escape(f'{size:g}')} ([\d.]+) %", page.text)
        assert shown and 0 <= share - float(shown[1]) / 100 < 1.0001e-4


def test_the_same_run_again_parses_to_the_same_settings(page: Page, hostile_run: Path) -> None:
    import shlex

    settings = json.loads((hostile_run / "summary.json").read_text())["settings"]
    command = re.search(r"certssb (run --dataset .*?) Where it comes from", page.text)
    assert command
    again = vars(cli._parser().parse_args(shlex.split(command[1])))
    assert {key: again[key] for key in settings} == settings and settings["seed"] == 0


def test_least_certain_starts_with_what_is_not_certified() -> None:
    votes = np.zeros((1000, 4), dtype=int)
    for sample, count in enumerate((950, 520, 1000, 505)):
        votes[:count, sample] = 1
    certs = cs.certify_votes(votes, cs.Gaussian(0.5), n_train=50, n_classes=2)
    of_all, certified = least_certain(certs)
    assert of_all.tolist() == [3, 1, 0, 2] and certified.tolist() == [0, 2]


@pytest.fixture
def copy(hostile_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(hostile_run, tmp_path / "copy"))


def test_the_command_writes_the_same_page_again(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (copy / "report.html").read_text().replace("Certificates: out", "Certificates: copy")
    (copy / "report.html").unlink()
    assert cli.main(["report", str(copy)]) == 0
    assert f"Written to {copy / 'report.html'}" in capsys.readouterr().out
    assert (copy / "report.html").read_text() == before
    assert cli.main(["report", str(copy), "--out", str(copy / "other.html")]) == 0
    assert (copy / "other.html").read_text() == before


def edit(folder: Path, **change: Any) -> None:
    path = folder / "summary.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


DAMAGES: dict[str, tuple[Any, str]] = {
    "no summary": (lambda f: (f / "summary.json").unlink(), "without summary.json"),
    "damaged summary": (lambda f: (f / "summary.json").write_text("{"), "undamaged summary.json"),
    "another summary": (lambda f: (f / "summary.json").write_text("[]"), "complete summary.json"),
    "half a summary": (lambda f: edit(f, results={"clean": {}}), "complete summary.json. Got KeyError"),
    "text for numbers": (lambda f: edit(f, seconds={"training": "long"}), "complete summary.json. Got"),
    "another budget": (lambda f: edit(f, budget=[3]), "complete summary.json. Got"),
    "no results": (lambda f: edit(f, results={}), "complete summary.json.*without results"),
    "a way out": (lambda f: edit(f, results={"../../x": {}}), "plain names of test sets"),
    "no table": (
        lambda f: (f / "certificates-clean.npz").unlink(),
        "without certificates-clean.npz",
    ),
    "no samples": (lambda f: (f / "samples-clean.npz").unlink(), "without samples-clean.npz"),
    "damaged samples": (
        lambda f: (f / "samples-clean.npz").write_bytes(b"PK no archive"),
        "undamaged files",
    ),
    "other samples": (
        lambda f: np.savez(f / "samples-clean.npz", y_true=np.zeros(3)),
        "files of one run",
    ),
    "places outside": (
        lambda f: np.savez(
            f / "samples-clean.npz", y_true=np.zeros(100), index=np.array([100]), images=np.zeros((1, 1, 2, 2))
        ),
        "files of one run",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGES.values(), ids=list(DAMAGES))
def test_damaged_folders_are_one_sentence(
    damage: Any, said: str, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(copy)
    assert cli.main(["report", str(copy), "--out", str(copy / "new.html")]) == 2
    err = capsys.readouterr().err
    assert err.startswith("certssb: The 'folder' parameter must be") and err.count("\n") == 1
    assert re.search(said, err), err
    assert not (copy / "new.html").exists()


def run(*arguments: Any) -> int:
    common = ["--epochs", 2, "--members", 40, "--model", "linear", "--learning-rate", 0.05, "--quiet"]
    return cli.main(["run", *(str(a) for a in (*arguments, *common))])


def test_a_law_with_a_radius_and_a_trigger(tmp_path: Path) -> None:
    attack = ["--trigger", "one-pixel", "--rate", 0.02, "--norm", 0.5]
    assert run("--classes", 0, 1, "--sigma", 0.25, *attack, "--out", tmp_path) == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert (
        "over the total L2 norm of changes to the features of all 269 training samples" in page.text
        and "Given the attacker's class" in page.text
    )
    assert len([svg for svg in page.all("svg") if svg.get("role") == "img"]) == 4
    assert "Least certain triggered test samples" in page.text


def test_tables_and_entries_have_no_images(tmp_path: Path, digits: Any) -> None:
    X_train, y_train, X_test, y_test = digits
    flat = {"X_train": X_train.reshape(400, -1) > 0.5, "X_test": X_test.reshape(100, -1) > 0.5}
    np.savez(tmp_path / "binary.npz", y_train=y_train % 2, y_test=y_test % 2, **flat)
    assert run("--dataset", tmp_path / "binary.npz", "--keep", 0.9, "--out", tmp_path) == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert (
        page.all("img") == []
        and "over the number of changed entries of the 400 training samples, labels included" in page.text
    )


def test_what_is_no_proof_is_said_in_the_page(hostile_run: Path) -> None:
    class Unsound:
        sound = False

        def __init__(self, table: cs.CertificateTable) -> None:
            self.table = table

        def __len__(self) -> int:
            return len(self.table)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.table, name)

    run = report.Run.read(hostile_run)
    tables: Any = {name: Unsound(table) for name, table in run.tables.items()}
    page = Page(report.render(report.Run(run.name, run.summary, tables, run.samples)))
    assert "Not a proof against an attacker on the training set." in page.text
    assert "(not a proof)" in page.text


def test_markup_escapes_all_but_itself() -> None:
    made = tag("p", "<", tag("i", "&"), None, 3, title="\"'<")
    assert made == '<p title="&quot;&#x27;&lt;">&lt;<i>&amp;</i>3</p>'
    assert joined(made, "<") == made + "&lt;"

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
from certssb.certificates._budget import grouped
from certssb.certificates._shares import share_down
from certssb.report import _page
from certssb.report._hints import parse_hints
from certssb.report._markup import joined, tag
from certssb.report._samples import least_certain
from certssb.storage import _files

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
        summary["guarantee"], summary["law"], record["data_digest"], summary["versions"]["numpy"],
        summary["finished"], "Seed of the noise 0", "learning rate 0.05", "Least certain clean test samples",
        f"at most {summary['budget']['n_poisoned']} of 400 training samples changed, labels as received",
    ]  # fmt: skip
    for sentence in said:
        assert sentence in page.text, sentence
    assert "Not a proof" not in page.text
    # One way to write percent, on axes as in tables.
    assert "%" in page.text and " %" not in page.text


def test_the_headline_comes_first_and_is_what_the_table_certifies(page: Page, hostile_run: Path) -> None:
    run = report.Run.read(hostile_run)
    y, table = run.samples["clean"].y_true, run.tables["clean"]
    certified = float(table.certified_accuracy(y, **run.budget.change()))
    right = float((table.prediction == y).mean())
    head = page.text[: page.text.index("What is guaranteed")]
    assert f"{100 * share_down(right):.2f}% clean: predicted right " in head
    assert f"{100 * share_down(certified):.2f}% clean: predicted right and certified" in head
    assert (
        f"Certified: the prediction stays the same with {run.budget.words(400)}, as the guarantee below says."
        in head
    )
    (when,) = page.all("time")
    assert when["datetime"] == run.summary["finished"] and " UTC" in head


def test_curves_say_their_numbers_under_a_pointer(page: Page, hostile_run: Path) -> None:
    clean = json.loads((hostile_run / "summary.json").read_text())["results"]["clean"]
    told = re.findall(r"clean: ([\d.]+)% at ([\d.]+) \((samples|trigger norm \(L2\))\)", page.text)
    shares = dict(zip(clean["counts"], clean["certified_accuracy_counts"], strict=True))
    shares |= dict(zip(clean["trigger_norms"], clean["certified_accuracy_budget"], strict=True))
    counted = [(float(share), float(size)) for share, size, unit in told if unit == "samples"]
    assert counted and all(
        share
        == pytest.approx(
            100
            * share_down(dict(zip(clean["counts"], clean["certified_accuracy_counts"], strict=True))[size]),
            abs=0.006,
        )
        for share, size in counted
    )
    assert len(page.all("title")) == 1 + len(told) + len(re.findall(r"% survive", page.text))
    assert 0 < len(re.findall(r"% survive", page.text)) <= 60


def test_a_curve_keeps_the_colour_of_its_place(tmp_path: Path) -> None:
    words = [
        "--classes",
        "0",
        "1",
        "--members",
        "30",
        "--subsample",
        "9",
        "--model",
        "discriminant",
        "--alpha",
        "0.1",
    ]
    attack = ["--trigger", "one-pixel", "--target", "1"]
    assert cli.main(["run", *words, *attack, "--quiet", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "report.html").read_text()
    first = text[text.index('class="plots"') :]
    key = re.findall(r"<li>.*?stroke=\"([^\"]*)\".*?</svg>(\w+)</li>", first[: first.index("</ul>")])
    assert key == [("var(--series-0)", "clean"), ("var(--series-1)", "triggered")]


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
    images = [image for image in page.all("img") if str(image["alt"]).startswith("Sample")]
    assert len(images) == len(of_all) + len(certified) > 12
    for image, place in zip(images, [*of_all, *certified], strict=True):
        assert image["alt"] and image["alt"].startswith(
            f"Sample {place}, predicted {table.prediction[place]},"
        )
        assert ("abstained" in image["alt"]) == table.abstained[place]


def test_hints_are_what_influence_says_of_the_least_certain(page: Page, hostile_run: Path) -> None:
    settings = json.loads((hostile_run / "summary.json").read_text())["settings"]
    arrays = np.load(settings["dataset"])
    law = cs.Subsample(cs.Gaussian(0.25), size=150)
    clf = cs.CertifiedClassifier(
        "linear", law, n_members=30, epochs=3, learning_rate=0.05, seed=0, progress=False
    )
    places = np.sort(least_certain(cs.CertificateTable.load(hostile_run / "certificates-clean.npz"))[0])
    found = clf.fit(arrays["X_train"], arrays["y_train"]).influence(arrays["X_test"][places], top=3)
    hints = report.Run.read(hostile_run).hints["clean"]
    np.testing.assert_array_equal(hints.index, places)
    np.testing.assert_array_equal(hints.samples, found.index)
    np.testing.assert_array_equal(hints.differences, found.differences)
    np.testing.assert_array_equal(hints.labels, arrays["y_train"][hints.known])
    np.testing.assert_array_equal(hints.images, arrays["X_train"][hints.known])
    shown = [
        str(image["alt"]) for image in page.all("img") if str(image["alt"]).startswith("Training sample")
    ]
    assert [int(alt.split()[2].strip(",")) for alt in shown] == found.index.ravel().tolist()
    first = f"{100 * found.differences[0, 0]:+.1f} \u00b1 {100 * found.errors[0, 0]:.1f} points"
    assert (
        shown[0].endswith(first)
        and first in page.text
        and "A hint where to look, not a guarantee." in page.text
    )


def test_shares_in_tables_are_those_of_the_summary_rounded_down(page: Page, hostile_run: Path) -> None:
    clean = json.loads((hostile_run / "summary.json").read_text())["results"]["clean"]
    for size, share in zip(clean["trigger_norms"], clean["certified_accuracy_budget"], strict=True):
        shown = re.search(rf"(?:^| ){re.escape(f'{size:g}')} ([\d.]+)%", page.text)
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


def test_two_runs_are_compared(hostile_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(hostile_run, tmp_path / "one")
    settings = json.loads((hostile_run / "summary.json").read_text())["settings"]
    words = [
        "--dataset",
        settings["dataset"],
        "--members",
        "40",
        "--subsample",
        "150",
        "--sigma",
        "0.25",
        "--model",
        "linear",
    ]
    more = [
        "--epochs",
        "3",
        "--learning-rate",
        "0.05",
        "--seed",
        "1",
        "--quiet",
        "--out",
        str(tmp_path / "two"),
    ]
    assert cli.main(["run", *words, *more]) == 0
    assert cli.main(["report", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    target = tmp_path / "two" / "comparison.html"
    assert str(target) in capsys.readouterr().out
    text = target.read_text()
    page = Page(text)
    assert HOSTILE not in text
    policies = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    runs = [report.Run.read(tmp_path / name) for name in ("one", "two")]
    right = [(run.tables["clean"].prediction == run.samples["clean"].y_true).mean() for run in runs]
    shown = " ".join(f"{100 * share_down(float(share)):.2f}%" for share in right)
    assert f"clean: predicted right {shown} {100 * (right[1] - right[0]):+.2f} points" in page.text
    assert "members 30 40" in page.text and "seed 0 1" in page.text and "batch size" not in page.text
    sure = [
        ~run.tables["clean"].abstained & (run.tables["clean"].prediction == run.samples["clean"].y_true)
        for run in runs
    ]
    cells = [sure[0] & sure[1], sure[0] & ~sure[1], ~sure[0] & sure[1], ~sure[0] & ~sure[1]]
    assert "in neither clean " + " ".join(str(int(cell.sum())) for cell in cells) in page.text
    assert all(run.tables["clean"].guarantee in page.text for run in runs)
    assert "certify against different changes" not in page.text and page.text.count("Certified accuracy") >= 1
    # The same run twice: one guarantee, and nothing differs.
    assert (
        cli.main(
            ["report", str(tmp_path / "one"), str(tmp_path / "one"), "--out", str(tmp_path / "same.html")]
        )
        == 0
    )
    same = Page((tmp_path / "same.html").read_text()).text
    assert "one (first)" in same and same.count(runs[0].tables["clean"].guarantee) == 1 and "nothing" in same


def test_runs_that_count_different_changes_are_no_comparison(hostile_run: Path, tmp_path: Path) -> None:
    settings = json.loads((hostile_run / "summary.json").read_text())["settings"]
    words = [
        "--dataset",
        settings["dataset"],
        "--members",
        "30",
        "--model",
        "discriminant",
        "--n-poisoned",
        "3",
        "--quiet",
    ]
    assert cli.main(["run", *words, "--out", str(tmp_path / "two")]) == 0
    target = report.write_comparison(hostile_run, tmp_path / "two", tmp_path / "page.html")
    assert "The runs certify against different changes" in Page(target.read_text()).text
    with pytest.raises(cs.ParameterError, match="without summary.json"):
        report.write_comparison(hostile_run, tmp_path)
    assert cli.main(["report", str(hostile_run), str(tmp_path / "nowhere")]) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"known": np.zeros(3, np.int64)}, {"samples": np.zeros((2, 9), np.int64)}, {"index": np.array([0, 10**9])},
        {"errors": np.zeros((2, 3), np.float32)}, {"images": np.zeros((1, 0, 8, 8), np.float32)}, {"more": np.zeros(1)},
        {"samples": np.full((2, 3), 7)},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_hints_that_do_not_fit_are_refused(change: dict[str, Any]) -> None:
    numbers = np.zeros((2, 3))
    parts: dict[str, Any] = {
        "index": np.array([0, 1]), "samples": np.zeros((2, 3), np.int64), "differences": numbers, "errors": numbers,
        "known": np.array([0]), "labels": np.array(["a"]), "images": np.zeros((1, 1, 8, 8), np.float32),
    }  # fmt: skip
    assert parse_hints(_files.npz(parts), 5, "fits").labels.tolist() == ["a"]
    with pytest.raises(cs.ParameterError, match="'folder'"):
        parse_hints(_files.npz(parts | change), 5, "does not")
    with pytest.raises(cs.ParameterError, match="undamaged"):
        parse_hints(b"words", 5, "does not")


def test_numbers_of_samples_are_written_in_all_their_digits() -> None:
    assert (_page._down(1234567.0), _page._down(0.9999), _page._down(float("inf"))) == (
        "1234567",
        "0.999",
        "any",
    )
    assert (grouped(1234567.0), grouped(0.1234567), grouped(float("inf"))) == (
        "1,234,567",
        "0.1234567",
        "inf",
    )

"""What people and services read beside the code: licences, citation, workflows, targets of make, and one list of packages.

Needs neither the package nor its dependencies: `make lint-files` runs it alone.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

try:
    import tomllib
except ModuleNotFoundError:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z][\w-]*):(?!=)", MAKEFILE, re.MULTILINE))
CARGO = tomllib.loads((ROOT / "Cargo.toml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTENSION = tomllib.loads((ROOT / "extension" / "pyproject.toml").read_text())
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def tracked() -> list[Path]:
    """Files of the repository; a source distribution has none that are tracked."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a checkout")
    found = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in found if path.is_file()]


def test_every_target_of_make_that_is_named_exists() -> None:
    named: dict[str, set[str]] = {}
    for path in tracked():
        if path.suffix in (".md", ".yml", ".yaml", ".rst") or path.name == "run":
            commands = re.findall(
                r"(?:`|run: |exec |entry: |^)make((?: [a-z][\w-]*)+)", path.read_text(), re.MULTILINE
            )
            for target in (word for words in commands for word in words.split()):
                named.setdefault(target, set()).add(path.name)
    assert {"test", "run", "docs", "lint-python", "wheels"} <= set(named)
    assert {target: files for target, files in named.items() if target not in TARGETS} == {}


def test_every_target_of_make_is_told_of() -> None:
    (phony,) = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)
    assert set(phony.replace("\\\n", " ").split()) == TARGETS
    told = (ROOT / "CONTRIBUTING.md").read_text() + MAKEFILE[
        MAKEFILE.index("\nhelp:") : MAKEFILE.index("\nrun:")
    ]
    assert {target for target in TARGETS if not re.search(rf"make (?:[\w-]+ )*{target}\b", told)} <= {
        "help",
        "clean",
    }


def name_of(requirement: str) -> str:
    return re.split(r"[<>=!~ ;\[]", requirement, maxsplit=1)[0].lower()


def test_there_is_one_list_of_packages() -> None:
    assert [path.name for path in tracked() if re.fullmatch(r"requirements.*\.txt", path.name)] == []
    groups: dict[str, list[Any]] = PROJECT["dependency-groups"]
    plain = {group: [item for item in items if isinstance(item, str)] for group, items in groups.items()}
    needed = {name_of(requirement) for requirement in PROJECT["project"]["dependencies"]}
    assert needed and not needed & {name_of(item) for items in plain.values() for item in items}
    # Beside an extra, a group may only be narrower: the torch that the extension is built with.
    extras = PROJECT["project"]["optional-dependencies"]
    open_to = {name_of(item): item for items in extras.values() for item in items}
    other = {item for items in plain.values() for item in items if open_to.get(name_of(item), item) != item}
    assert other == {item for item in EXTENSION["project"]["dependencies"] if "torch" in item}
    used = set(re.findall(r"--group ([\w-]+)", MAKEFILE))
    assert used == set(groups)


def test_licences_are_one_statement_and_both_texts() -> None:
    said = {CARGO["package"]["license"], PROJECT["project"]["license"], EXTENSION["project"]["license"]}
    assert said == {"MIT OR Apache-2.0"}
    for name, words in (
        ("LICENSE-MIT", "Permission is hereby granted"),
        ("LICENSE-APACHE", "END OF TERMS AND CONDITIONS"),
    ):
        text = (ROOT / name).read_text()
        assert words in text and (ROOT / "extension" / name).read_text() == text
        for project in (PROJECT, EXTENSION):
            assert name in project["project"]["license-files"]


def test_the_citation_is_of_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert re.findall(r"^version: (\S+)$", text, re.MULTILINE) == [CARGO["package"]["version"]]
    assert re.findall(r"^  - (MIT|Apache-2.0)$", text, re.MULTILINE) == CARGO["package"]["license"].split(
        " OR "
    )
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    (own,) = (package for package in lock["package"] if package["name"] == "certssb")
    assert own["version"] == CARGO["package"]["version"]


def test_links_of_what_lies_beside_the_code_lead_somewhere() -> None:
    found = 0
    for path in ROOT.glob("*.md"):
        for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text()):
            found += 1
            assert (ROOT / target).exists(), (path.name, target)
    assert found > 5


def test_workflows_are_what_they_should_be() -> None:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML: make workflows")
    assert {path.name for path in WORKFLOWS} == {"ci.yml", "matrix.yml", "release.yml"}
    for path in WORKFLOWS:
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}, path.name
        for name, job in workflow["jobs"].items():
            assert "uses" in job or "timeout-minutes" in job, (path.name, name)
            if name != "publish":
                assert "permissions" not in job, (path.name, name)
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())["jobs"]
    assert (
        set(jobs["publish"]["needs"]) == set(jobs) - {"publish"}
        and jobs["publish"]["environment"] == "release"
    )
    for path in [*ROOT.glob(".github/**/*.yml"), ROOT / "CITATION.cff", ROOT / ".pre-commit-config.yaml"]:
        assert yaml.safe_load(path.read_text()), path


def test_the_tests_of_ci_are_make_test() -> None:
    assert "- run: .ci/run\n" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec make test")


def test_files_are_linted_where_a_plugin_is_installed_whose_checkout_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone-1.0.dist-info"
    gone.mkdir()
    (gone / "METADATA").write_text("Metadata-Version: 2.1\nName: gone\nVersion: 1.0\n")
    (gone / "entry_points.txt").write_text("[pytest11]\ngone = module_of_a_checkout_that_is_gone\n")
    command = re.search(r"^lint-files:.*\n\t(.*)$", MAKEFILE, re.MULTILINE)
    assert command is not None
    kept = {name: value for name, value in os.environ.items() if name != "PYTEST_DISABLE_PLUGIN_AUTOLOAD"}
    here = command[1].replace("$(BIN)/python", shlex.quote(sys.executable))
    done = subprocess.run(
        f"{here} -k {test_the_citation_is_of_this_version.__name__}",
        cwd=ROOT,
        env={**kept, "PYTHONPATH": str(tmp_path)},
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr

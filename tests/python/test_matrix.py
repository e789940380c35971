"""The table of environments that `make matrix` builds: what it claims to cover, and what it says of what is not there."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def matrix(monkeypatch):
    spec = importlib.util.spec_from_file_location("matrix_run", ROOT / "tests" / "matrix" / "run.py")
    module = importlib.util.module_from_spec(spec)
    # Its data classes look themselves up there.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def wheel(tmp_path_factory):
    path = tmp_path_factory.mktemp("dist") / "certssb-0.1.0-cp310-abi3-linux_x86_64.whl"
    path.write_bytes(b"none")
    return path


def test_the_oldest_row_is_what_the_project_allows(matrix):
    text = (ROOT / "pyproject.toml").read_text()
    allowed = dict(re.findall(r'^ *"(numpy|scikit-learn)>=([\d.]+)",?$', text, re.MULTILINE))
    assert matrix.OLDEST == tuple(f"{name}=={version}.*" for name, version in allowed.items())
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"$', text, re.MULTILINE)
    oldest = [row for row in matrix.ROWS if set(matrix.OLDEST) <= set(row.packages)]
    assert {row.torch for row in oldest} == {False, True} and {row.python for row in oldest} == {python}


def test_an_interpreter_that_is_nowhere_leaves_its_row_out_and_nothing_run_is_no_success(
    matrix, monkeypatch, capsys, tmp_path, wheel
):
    monkeypatch.setattr(matrix, "ROWS", (matrix.Row("future", "3.99", ()),))
    monkeypatch.setattr(sys, "argv", ["run.py", "--folder", str(tmp_path), str(wheel)])
    assert matrix.main() == 1
    assert "| future | no Python 3.99 here | | | | not run | |" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("torch", "exit_status", "expected"),
    [(None, 0, 0), (None, 1, 1), ("2.11.0", 0, 1)],
)
def test_a_failing_suite_and_a_torch_that_came_unasked_are_failures(
    matrix, monkeypatch, capsys, tmp_path, wheel, torch, exit_status, expected
):
    told = {"python": "3.13.0", "numpy": "2.4.0", "scikit-learn": "1.9.0", "torch": torch}
    monkeypatch.setattr(matrix, "ROWS", (matrix.Row("none", None, ()), matrix.Row("left-out", None, ())))
    monkeypatch.setattr(matrix, "environment", lambda *_: tmp_path / "python")
    monkeypatch.setattr(matrix.subprocess, "check_output", lambda *_, **__: matrix.json.dumps(told))
    ended = matrix.subprocess.CompletedProcess([], exit_status)
    monkeypatch.setattr(matrix.subprocess, "run", lambda *_, **__: ended)
    monkeypatch.setattr(sys, "argv", ["run.py", "--only", "none", "--folder", str(tmp_path), str(wheel)])
    assert matrix.main() == expected
    said = capsys.readouterr().out
    assert ("passed" in said) == (expected == 0) and "left-out" not in said


def test_a_source_distribution_is_built_first_and_the_extension_goes_where_its_torch_is(
    matrix, monkeypatch, capsys, tmp_path, wheel
):
    source = wheel.with_name("certssb_torch-0.1.0.tar.gz")
    source.write_bytes(b"none")
    given, commands = {}, []

    def run(command, **_):
        commands.append(command)
        if "wheel" in command:
            folder = Path(command[command.index("--wheel-dir") + 1])
            folder.mkdir()
            (folder / "certssb_torch-0.1.0-cp310-abi3-linux_x86_64.whl").write_bytes(b"none")
        return matrix.subprocess.CompletedProcess([], 0)

    def environment(row, folder, python, wheels):
        given[row.name] = [path.name.split("-")[0] for path in wheels]
        return tmp_path / "python"

    told = {"python": "3.13.0", "numpy": "2.4.0", "scikit-learn": "1.9.0", "torch": "2.11.0"}
    rows = (matrix.Row("torch-2.11", None, (matrix.EXTENDED,)), matrix.Row("torch-new", None, ("torch",)))
    monkeypatch.setattr(matrix, "ROWS", rows)
    monkeypatch.setattr(matrix, "environment", environment)
    monkeypatch.setattr(matrix.subprocess, "check_output", lambda *_, **__: matrix.json.dumps(told))
    monkeypatch.setattr(matrix.subprocess, "run", run)
    options = ["--only", "torch", "--folder", str(tmp_path), "--beside", str(source), str(wheel)]
    monkeypatch.setattr(sys, "argv", ["run.py", *options])
    assert matrix.main() == 0
    assert given == {"torch-2.11": ["certssb", "certssb_torch"], "torch-new": ["certssb"]}
    built = [command for command in commands if "wheel" in command]
    assert len(built) == 1 and built[0][-1] == source and "--no-build-isolation" in built[0]
    assert re.search(r"certssb_torch\S+\.whl: 0\.0 MB, built in \d+ s from 0\.0 MB", capsys.readouterr().out)

"""The README from top to bottom in an environment that holds the wheel alone; what needs torch, where torch is."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import certssb as cs

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^(<!-- not run -->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NEEDS_TORCH = re.compile(r"^(?:import|from) torch\b", re.MULTILINE)


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch = importlib.util.find_spec("torch") is not None
    blocks = [code for mark, code in BLOCK.findall(README.read_text()) if not mark]
    names = {"__name__": "readme"}
    run = [code for code in blocks if torch or not NEEDS_TORCH.search(code)]
    assert len(run) >= 5 and (torch or len(run) == len(blocks) - 1)
    for code in run:
        exec(compile(code, str(README), "exec"), names)  # noqa: S102 - our own README


def test_the_command_is_there_and_does_the_main_job(tmp_path):
    command = Path(sys.executable).parent / "certssb"
    said = subprocess.check_output([command, "--version"], text=True)
    assert said.split() == ["certssb", cs.__version__]
    (recipe,) = re.findall(r"^run: \$\(CORE\)\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = recipe.replace("\\\n", " ").split()
    assert words[0] == "$(BIN)/certssb" and words[-1] == "runs/digits"
    subprocess.run([command, *words[1:-1], str(tmp_path / "run"), "--quiet"], check=True)
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What is guaranteed" in page

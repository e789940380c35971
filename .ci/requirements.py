"""Prints what the package needs, and its extras that are named, one a line: `python .ci/requirements.py plot`.

So that pyproject.toml is the only list, and packages can be unpacked while the crate is compiled. Python 3.10 has no tomllib;
the one of pip serves.
"""

from __future__ import annotations

import sys
from pathlib import Path

try:
    import tomllib
except ModuleNotFoundError:
    from pip._vendor import tomli as tomllib

project = tomllib.loads(Path(__file__).resolve().parents[1].joinpath("pyproject.toml").read_text())["project"]
needed = [*project["dependencies"]]
for extra in sys.argv[1:]:
    needed += project["optional-dependencies"][extra]
print("\n".join(needed))

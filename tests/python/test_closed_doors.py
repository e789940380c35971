"""The table of closed doors names tests that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_of_the_table_exists() -> None:
    table = (ROOT / "benches" / "results" / "soundness.md").read_text()
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert rows
    for row in rows:
        named = re.findall(r"`([^`]+)::(\w+)`", row)
        assert named, row
        for path, name in named:
            if name == "compile_fail":  # an example that must not compile, which has no name
                assert "```compile_fail" in (ROOT / path).read_text(), path
                continue
            # The attribute makes it a test; without it nobody would run it.
            test = rf"^\s*def {name}\(" if path.endswith(".py") else rf"#\[test\]\s+fn {name}\("
            assert re.search(test, (ROOT / path).read_text(), re.MULTILINE), f"{path}::{name}"

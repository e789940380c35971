"""What napoleon and autodoc leave out: attributes keep their underscore and stand one by one, named tuples show their
fields once, and above a large class stands a table of its methods, each with a link and its first sentence.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.domains.python import PyObject

FIELD = re.compile(r"^(\s*):(ivar|vartype) ([^:]+):")
LARGE = 4
"""Methods from which on a class has a table of them."""


def mend_fields(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """A name that ends in an underscore would be read as a link, and 'a, b' as a type and a name."""
    mended: list[str] = []
    for line in lines:
        found = FIELD.match(line)
        if found is None:
            mended.append(line)
            continue
        indent, field, names = found.groups()
        *others, last = [
            each.strip().removesuffix("_") + ("\\_" if each.strip().endswith("_") else "")
            for each in names.replace("\\_", "_").split(",")
        ]
        text = line[found.end() :]
        mended += [
            f"{indent}:{field} {each}:{text if field == 'vartype' else f' As `{last}`.'}" for each in others
        ]
        mended.append(f"{indent}:{field} {last}:{text}")
    lines[:] = mended


def add_summary(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Put a table of methods behind the description of a class, before its parameters."""
    if what != "class" or not inspect.isclass(thing):
        return
    inherited = bool(
        (options.get("inherited-members") or options.get("inherited_members")) if options else False
    )
    methods = [
        member
        for member in dir(thing)
        if not member.startswith("_")
        and (inherited or member in vars(thing))
        and inspect.isroutine(
            found := inspect.getattr_static(thing, member).__func__
            if isinstance(inspect.getattr_static(thing, member), (classmethod, staticmethod))
            else inspect.getattr_static(thing, member)
        )
        and (getattr(found, "__module__", None) or "").startswith("certssb")
        and found.__doc__
    ]
    if len(methods) < LARGE:
        return
    table = ["", ".. autosummary::", "   :nosignatures:", "", *(f"   ~{name}.{each}" for each in methods), ""]
    starts = [n for n, line in enumerate(lines) if re.match(r":\w|\.\. rubric::", line)]
    place = starts[0] if starts else len(lines)
    lines[place:place] = table


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out fields of named tuples, which the class describes."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen behind napoleon."""
    # napoleon hands attributes on as variables.
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
    app.connect("autodoc-process-docstring", mend_fields, priority=900)
    app.connect("autodoc-process-docstring", add_summary, priority=910)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

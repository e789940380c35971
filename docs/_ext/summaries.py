"""What napoleon and autodoc leave out: attributes keep their underscore and have a description each, named tuples show
their fields once, bases that say nothing are left out, and above a large class stands a table of its methods, each with
a link and its first sentence.
"""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.domains.python import PyObject
from sphinx.errors import ExtensionError

FIELD = re.compile(r"^(\s*):(ivar|vartype) ([^:]+):")
LARGE = 4
"""Methods from which on a class has a table of them."""


def mend_fields(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """A name that ends in an underscore would be read as a link; of 'a, b' only one could have the description."""
    mended: list[str] = []
    for line in lines:
        found = FIELD.match(line)
        if found is None:
            mended.append(line)
            continue
        indent, field, names = found.groups()
        if "," in names:
            raise ExtensionError(f"{name}: describe the attributes {names} one by one.")
        plain = names.replace("\\_", "_")
        written = plain.removesuffix("_") + ("\\_" if plain.endswith("_") else "")
        mended.append(f"{indent}:{field} {written}:{line[found.end() :]}")
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


def mend_signature(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """A dataclass's default factory is written as the value that it makes."""
    if signature is not None and "<factory>" in signature:
        made = [each.default_factory() for each in fields(thing) if each.default_factory is not MISSING]
        for value in made:
            signature = signature.replace("<factory>", repr(value), 1)
    return signature, returns


def skip_bases(app: Sphinx, name: str, thing: Any, options: Any, bases: list[Any]) -> None:
    """Keep the bases that a reader can look up or knows as exceptions; a private one stands for its own bases."""
    public: list[type] = []
    for base in (each for each in bases if isinstance(each, type)):
        if base.__module__.startswith("certssb") and base.__name__.startswith("_"):
            inner = list(base.__bases__)
            skip_bases(app, name, base, options, inner)
            public += inner
        elif base.__module__.startswith("certssb") or issubclass(base, BaseException):
            public.append(base)
    bases[:] = dict.fromkeys(public)


def drop_empty_bases(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out the line of a class none of whose bases was kept."""
    for paragraph in list(doctree.findall(nodes.paragraph)):
        if paragraph.astext().strip() == "Bases:":
            paragraph.parent.remove(paragraph)


def setup(app: Sphinx) -> dict[str, bool]:
    """Listen behind napoleon."""
    # napoleon hands attributes on as variables.
    for field in PyObject.doc_field_types:
        if field.name == "variable":
            field.label = "Attributes"
            # As for parameters, words of a type are no links: n_train in a shape led to whatever has that name.
            field.typerolename = None
    app.connect("autodoc-process-docstring", mend_fields, priority=900)
    app.connect("autodoc-process-docstring", add_summary, priority=910)
    app.connect("autodoc-skip-member", skip)
    app.connect("autodoc-process-signature", mend_signature)
    app.connect("autodoc-process-bases", skip_bases)
    app.connect("doctree-read", drop_empty_bases)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

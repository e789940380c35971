"""HTML from values: everything is escaped unless it was made here."""

from __future__ import annotations

import html
from typing import Any

__all__ = ["Markup", "joined", "table", "tag"]

_VOID = ("img", "meta", "br")


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def joined(*parts: Any) -> Markup:
    """Put parts one after another, each escaped unless it is markup.

    Parameters
    ----------
    *parts : str, Markup, or anything with a string
        What to join; None and empty parts vanish.

    Returns
    -------
    Markup

    Examples
    --------
    >>> from certssb.report._markup import joined, tag
    >>> joined(tag("b", "1 < 2"), " & more", None)
    '<b>1 &lt; 2</b> &amp; more'
    """
    return Markup("".join(_escaped(part) for part in parts))


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """Make an element.

    Parameters
    ----------
    name : str
        Its name.
    *children : str, Markup, or anything with a string
        Its content, as for :func:`joined`.
    **attributes
        Its attributes; ``_`` stands for ``-``, a trailing one is dropped (``class_``), None leaves it out.

    Returns
    -------
    Markup

    Examples
    --------
    >>> from certssb.report._markup import tag
    >>> tag("p", "a < b", class_='"x"', aria_label=None)
    '<p class="&quot;x&quot;">a &lt; b</p>'
    >>> tag("img", src="data:,", alt="")
    '<img src="data:," alt="">'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_escaped(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    opened = f"<{name}{written}>"
    return Markup(opened if name in _VOID else f"{opened}{joined(*children)}</{name}>")


def table(head: list[Any], rows: list[list[Any]], **attributes: Any) -> Markup:
    """Make a table whose first column names its rows; it scrolls by itself where it is too wide.

    Parameters
    ----------
    head : list
        Names of the columns; empty for none.
    rows : list of list
        Cells.
    **attributes
        As for :func:`tag`.

    Returns
    -------
    Markup

    Examples
    --------
    >>> from certssb.report._markup import table
    >>> table([], [["alpha", 0.001]])
    '<div class="scroll"><table><tbody><tr><th scope="row">alpha</th><td>0.001</td></tr></tbody></table></div>'
    """
    top = tag("thead", tag("tr", *(tag("th", cell, scope="col") for cell in head))) if head else None
    body = [tag("tr", tag("th", row[0], scope="row"), *(tag("td", cell) for cell in row[1:])) for row in rows]
    return tag("div", tag("table", top, tag("tbody", *body), **attributes), class_="scroll")


def _escaped(part: Any) -> str:
    if part is None:
        return ""
    return part if isinstance(part, Markup) else html.escape(str(part))

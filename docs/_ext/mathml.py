"""Formulas as MathML in the page: browsers set them by themselves, and nothing is fetched."""

from __future__ import annotations

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def _converted(node: nodes.Element, display: str) -> str:
    source = node.astext().strip()
    try:
        return str(latex2mathml.converter.convert(source, display=display))
    except Exception as error:
        raise ExtensionError(f"The formula {source!r} cannot be set ({error}).") from error


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_converted(node, "inline"))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    # Wide formulas scroll by themselves on a phone, instead of the page.
    self.body.append(f'<div class="formula">{_converted(node, "block")}</div>\n')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Make this the renderer of formulas."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

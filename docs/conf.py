"""Configuration of the documentation site; `make docs` builds it, with warnings as errors."""

import argparse
import logging
import os
import sys
from pathlib import Path

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx

import certssb
from certssb.cli import _parser

# What pictures log while they are drawn is no message of the build.
logging.getLogger("certssb").setLevel(logging.WARNING)
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "certssb"
author = "the certssb authors"
copyright = "2026, the certssb authors"
release = version = certssb.__version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "matplotlib.sphinxext.plot_directive",
    "mathml",
    "summaries",
]
exclude_patterns = ["_build", "_ext"]
html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
# Notebooks are kept with their outputs (`make notebooks`), pictures are drawn by the code beside them.
nb_execution_mode = "off"
plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 130)]
plot_rcparams = {"figure.constrained_layout.use": True, "font.size": 9}
plot_apply_rcparams = True
html_theme = "furo"
html_title = f"certssb {release}"
# Nothing is fetched from elsewhere when the pages are read.
html_theme_options = {"navigation_with_keys": True}
html_copy_source = False
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
autosummary_generate = False
myst_heading_anchors = 3
# With --fail-on-warning a reference that leads nowhere stops the build. Types in signatures and in NumPy's
# "name : type" lines are words for people, not links.
nitpicky = True
nitpick_ignore_regex = [
    ("py:(class|obj|exc|data)", r"(?!certssb).*"),
    (r"py:.*", r"(matplotlib|sklearn|numpy|pandas|pyarrow)\..*"),
]
# Words such as n_members in a shape are no references; "more than one target" is about them.
suppress_warnings = ["ref.python", "autosummary.import_cycle"]
autodoc_typehints = "none"
autodoc_member_order = "bysource"
# A method that says nothing of its own is described once, where it comes from.
autodoc_inherit_docstrings = False
# scikit-learn generates these, with references into its own manual.
generated = "set_fit_request, set_score_request, set_partial_fit_request, get_metadata_routing"
autodoc_default_options = {"members": True, "exclude-members": generated}
napoleon_google_docstring = False
# As a list, so that entries of several names, "y_true, y_pred : array-like", keep them.
napoleon_use_param = False
napoleon_use_rtype = False
napoleon_use_ivar = True


class CommandHelp(Directive):
    """The help of one command, from the parser itself."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        parser = _subparsers(_parser())[self.arguments[0]]
        text = parser.format_help()
        return [nodes.literal_block(text, text, language="text")]


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found: dict[str, argparse.ArgumentParser] = {}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                found[name] = child
                found |= {f"{name} {inner}": deeper for inner, deeper in _subparsers(child).items()}
    return found


def setup(app: Sphinx) -> None:
    # The help's width must not depend on the terminal of the builder.
    os.environ["COLUMNS"] = "88"
    sys.argv[0] = "certssb"
    app.add_directive("command-help", CommandHelp)

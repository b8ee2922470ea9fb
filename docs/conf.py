"""Sphinx makes a site of these pages: `pip install '.[docs]' && sphinx-build -W docs FOLDER`."""

import inspect
import re

import selfattn

project = "selfattn"
release = version = selfattn.__version__
project_copyright = "the authors of selfattn"

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc"]
myst_heading_anchors = 3
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"selfattn {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["tables.css"]


def link_to_files(app, name, source):
    """Make Markdown beyond this folder, such as examples/README.md, a file to fetch: only pages of
    this folder can be read here. Other files beyond it are that by themselves."""
    source[0] = re.sub(r"\]\((\.\./[^)#]*\.md)\)", r"](path:\1)", source[0])


def sign_builtin(app, what, name, thing, options, signature, annotation):
    """The signature of a function in C; numpydoc leaves a stroke of `$module, /` in it."""
    if inspect.isbuiltin(thing):
        return str(inspect.signature(thing)), None
    return None


def setup(app):
    app.connect("autodoc-process-signature", sign_builtin, priority=100)
    app.connect("source-read", link_to_files)

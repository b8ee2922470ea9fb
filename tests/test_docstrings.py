"""Every example in a docstring or a page of the documentation runs and prints what it shows.

Docstrings of C functions are collected by name, for doctest's finder passes builtins over.
"""

import doctest
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import selfattn
from selfattn import _selfattn, positional, reference

ROOT = Path(__file__).resolve().parent.parent
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
PARSER = doctest.DocTestParser()


def public_functions():
    """{qualified name: function} of all that selfattn and selfattn.reference export."""
    found = {}
    for module in (selfattn, reference, positional):
        for name in module.__all__:
            thing = getattr(module, name)
            if callable(thing):
                found[f"{module.__name__}.{name}"] = thing
    return found


def docstring_examples():
    """Each docstring with examples: of the C functions, then of the package's modules."""
    tests = {}
    for name, thing in vars(_selfattn).items():
        if inspect.isbuiltin(thing) and thing.__doc__:
            test = PARSER.get_doctest(thing.__doc__, {}, f"selfattn._selfattn.{name}", None, 0)
            tests[test.name] = test
    finder = doctest.DocTestFinder(exclude_empty=True)
    for info in pkgutil.walk_packages(selfattn.__path__, "selfattn."):
        if info.name.endswith(("._selfattn", ".__main__")):
            continue
        for test in finder.find(importlib.import_module(info.name)):
            tests[test.name] = test
    for test in finder.find(selfattn):
        tests[test.name] = test
    return {name: test for name, test in tests.items() if test.examples}


def pages():
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


EXAMPLES = docstring_examples()


def run(test):
    report = []
    result = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
    assert result.failed == 0, "".join(report)


@pytest.mark.parametrize("name", EXAMPLES)
def test_docstring(name):
    run(EXAMPLES[name])


@pytest.mark.parametrize("page", pages(), ids=lambda p: p.name)
def test_page(page):
    """The interactive examples of a page, one after another in one namespace. The fence that
    closes a block of Markdown is not output."""
    text = re.sub(r"(?m)^```.*$", "", page.read_text(encoding="utf-8"))
    run(PARSER.get_doctest(text, {}, page.name, str(page), 0))


def test_the_reference_lists_every_public_name():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"(?m)^\.\. auto\w+:: (?:selfattn\.)?([\w.]+)", page))
    modules = {"": selfattn, "positional.": positional, "plot.": selfattn.plot}
    for prefix, module in modules.items():
        for name in module.__all__:
            if callable(getattr(module, name)):
                assert prefix + name in listed


def test_no_public_function_lacks_an_example():
    """Each public function has an example that was collected above, C functions among them."""
    homes = {test.name.rsplit(".", 1)[-1] + "/" + origin(test.name) for test in EXAMPLES.values()}
    for name, function in public_functions().items():
        kind = "C" if inspect.isbuiltin(function) else "reference" if "reference" in name else "py"
        assert f"{function.__name__}/{kind}" in homes, f"{name} has no example"
    assert len(EXAMPLES) >= len(public_functions())
    assert sum(name.startswith("selfattn._selfattn.") for name in EXAMPLES) >= 4


def origin(test_name):
    if test_name.startswith("selfattn._selfattn."):
        return "C"
    return "reference" if test_name.startswith("selfattn.reference") else "py"


@pytest.mark.parametrize("name", public_functions())
def test_sections(name):
    """numpydoc: a sentence, the parameters, the errors, what comes back, an example."""
    function = public_functions()[name]
    doc = inspect.getdoc(function)
    summary = doc.splitlines()[0]
    assert summary.endswith(".")
    assert len(summary) <= 100
    sections = re.findall(r"(?m)^(\w+)\n-+$", doc)
    assert "Examples" in sections
    returns_nothing = ("set_num_threads", "register_threadpoolctl", "threads")
    is_class = isinstance(function, type)
    assert ("Returns" in sections) == (not is_class and function.__name__ not in returns_nothing)
    parameters = inspect.signature(function).parameters
    if parameters:
        assert {"Parameters", "Raises"} <= set(sections)
        listed = doc.split("Parameters\n----------")[1]
        described = re.findall(r"(?m)^([\w, ]+) :", listed) + re.findall(r"(?m)^\*\*(\w+)$", listed)
        assert set(parameters) <= {n for line in described for n in line.split(", ")}

"""Each example's notebook is its script, was run, and runs: offline, with the stored data only.

Not among the tests of the package: `pytest examples`, after `pip install '.[examples,compare]'`.
"""

import os
import re
import subprocess
import sys

import notebooks
import pytest

ALL = pytest.mark.parametrize("folder", notebooks.find(), ids=lambda p: p.name)


@ALL
def test_pair(folder):
    """Cell by cell the same text; `python examples/tools/notebooks.py` makes it so."""
    script, stored = notebooks.read_script(folder), notebooks.read_notebook(folder)
    assert [(c.cell_type, c.source) for c in stored.cells] == [
        (c.cell_type, c.source) for c in script.cells
    ]


@ALL
def test_stored_results(folder):
    """Every cell was run, none failed, and nothing says where."""
    stored = notebooks.read_notebook(folder)
    code = [c for c in stored.cells if c.cell_type == "code" and c.source.strip()]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    for output in (o for c in code for o in c.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text
    text = (folder / f"{folder.name}.ipynb").read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|Users)/|[A-Z]:\\\\", text)


@ALL
def test_script(folder):
    """The script alone, from another folder."""
    done = subprocess.run(
        [sys.executable, "-W", "error", folder / f"{folder.name}.py"],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


@ALL
def test_notebook(folder):
    """All cells, in a kernel of its own."""
    notebooks.run(notebooks.read_script(folder), folder)

"""Make the notebooks of the examples from their scripts, and run them.

    pip install '.[examples,compare]'
    python examples/tools/notebooks.py [NAME ...]       # all by default

An example is a folder NAME with NAME.py, a script in jupytext's percent format, and NAME.ipynb, the
same with its results. This turns the first into the second.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

EXAMPLES = Path(__file__).resolve().parents[1]
TIMEOUT = 300  # seconds for one cell


def find() -> list[Path]:
    """The folders that hold an example."""
    return sorted(p for p in EXAMPLES.iterdir() if (p / f"{p.name}.py").exists())


def read_script(folder: Path) -> Any:
    """The script as a notebook without results."""
    notebook = jupytext.read(folder / f"{folder.name}.py")
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for i, cell in enumerate(notebook.cells):
        cell.id = f"cell-{i}"
        cell.metadata = {}
    return notebook


def read_notebook(folder: Path) -> Any:
    """The stored notebook, results included."""
    return nbformat.read(folder / f"{folder.name}.ipynb", as_version=4)


def run(notebook: Any, folder: Path) -> Any:
    """Run all cells in the example's folder; an exception in one is raised here."""
    os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # a warning about frozen modules
    NotebookClient(
        notebook,
        timeout=TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        coalesce_streams=True,
    ).execute()
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main(names: list[str]) -> None:
    """Make the notebooks with these names, or all."""
    for folder in find():
        if not names or folder.name in names:
            nbformat.write(run(read_script(folder), folder), folder / f"{folder.name}.ipynb")
            print(folder.name)


if __name__ == "__main__":
    main(sys.argv[1:])

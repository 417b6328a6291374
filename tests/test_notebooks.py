"""Every notebook runs from top to bottom, and is stored with its outputs."""

import re
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def read(path):
    return nbformat.read(path, as_version=4)


def outputs(notebook):
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# Starting a kernel opens sockets that the client leaves to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
def test_it_runs(path, tmp_path):
    fresh = read(path)
    for cell in fresh.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    nbclient.NotebookClient(
        fresh, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    # What is printed comes in pieces, as many as the kernel has time for.
    shown = [
        [sorted(one.data) for one in outputs(nb) if "data" in one] for nb in (fresh, read(path))
    ]
    assert shown[0] == shown[1]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_shows_figures_when_opened(path):
    stored = outputs(read(path))
    assert any("image/png" in output.get("data", {}) for output in stored)
    assert not any(output.output_type == "error" for output in stored)
    assert not re.search(r"/(home|root|Users)/", path.read_text())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_figures_are_described(path):
    figures = [one for one in outputs(read(path)) if "image/png" in one.get("data", {})]
    assert all(len(one.metadata["image/png"]["alt"].split()) > 5 for one in figures)


def test_there_is_a_first_notebook():
    assert ROOT / "notebooks" / "first_steps.ipynb" in NOTEBOOKS

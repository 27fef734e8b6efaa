"""The notebook runs from its first cell to its last on the tiny base, and what is committed of it are its cells alone."""

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).parent.parent / "eval" / "notebook.ipynb"
NEEDED = ("nbclient", "ipykernel", "ipywidgets", "matplotlib")


def test_no_output_is_committed() -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)


@pytest.mark.filterwarnings("default")  # of Jupyter's own
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := [name for name in NEEDED if not find_spec(name)]:
        pytest.skip(f"needs {', '.join(missing)} (make test WITH=interop)")
    import nbformat
    from jupyter_client.kernelspec import KernelSpec
    from jupyter_client.manager import AsyncKernelManager
    from nbclient import NotebookClient

    class OwnKernel(AsyncKernelManager):
        """This Python, whatever kernels are installed beside it."""

        @property
        def kernel_spec(self) -> KernelSpec:
            return KernelSpec(argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
                              display_name="own", language="python")  # fmt: skip

    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join(filter(None, [str(NOTEBOOK.parent.parent), os.environ.get("PYTHONPATH", "")]))
    )
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(
        notebook, timeout=900, kernel_manager_class=OwnKernel, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    outputs = {cell["id"]: cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"}
    shown = {
        name: "".join(str(output.get("data", output.get("text", ""))) for output in own)
        for name, own in outputs.items()
    }
    assert "image/png" in shown["plot"]
    assert "= 60" in shown["solve"]
    assert "TrainedRun" in shown["train"]
    assert "Evaluated" in shown["measure"]
    assert not [output for own in outputs.values() for output in own if output.get("name") == "stderr"]
    assert (tmp_path / "adapters" / "of-a-notebook" / "adapters.safetensors").is_file()

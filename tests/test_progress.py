"""What is shown while a run is trained."""

from types import SimpleNamespace

import pytest
from small import (
    SHORT,
)

from resnet_lib import plots
from resnet_lib.training import callbacks, progress


def test_a_figure_that_cannot_be_drawn_does_not_end_the_training(monkeypatch):
    history = {name: [] for name in callbacks.Recorder.NAMES}
    live = progress.LiveFigure(SHORT, 4, (0, 1), history=history, name="net", source="shapes")
    live.shown = SimpleNamespace(update=print)

    def broken(*_, **__):
        raise RuntimeError("no font")

    monkeypatch.setattr(plots, "progress", broken)
    for act in (lambda: live.draw(""), live.close):
        with pytest.warns(UserWarning, match="no font"):
            act()


NOTEBOOK = """
import resnet_lib as rl
from dataclasses import replace
data = rl.datasets.shapes(train=64, validation=64, test=64)
model = rl.resnet_v1((32, 32, 3), 8, form="standard")
run = rl.train(model, data, replace(rl.recipes.ONE_CYCLE, epochs=2))
"""


def test_a_notebook_shows_one_picture_in_the_end(tmp_path):
    import nbclient
    from nbformat import v4

    notebook = v4.new_notebook(cells=[v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    [output] = notebook.cells[0].outputs
    assert output["data"].keys() == {"image/png", "text/plain"}
    assert "loss" in output["data"]["text/plain"]
    assert output["metadata"]["image/png"]["alt"]

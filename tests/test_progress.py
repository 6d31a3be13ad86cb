"""What is shown while a run is trained."""

import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from small import SHORT

from resnet_lib import figures
from resnet_lib.recipes import ONE_CYCLE
from resnet_lib.training import callbacks, progress


def test_a_figure_that_cannot_be_drawn_does_not_end_the_training(monkeypatch):
    history = {name: [] for name in callbacks.Recorder.NAMES}
    live = progress.LiveFigure(SHORT, 4, (0, 1), history=history, name="net", source="shapes")
    live.shown = SimpleNamespace(update=print)

    def broken(*_, **__):
        raise RuntimeError("no font")

    monkeypatch.setattr(figures, "progress", broken)
    for act in (lambda: live.draw(""), live.close):
        with pytest.warns(UserWarning, match="no font"):
            act()


@pytest.mark.parametrize("kind", [progress.Bar, progress.Lines])
@pytest.mark.parametrize("lost", ["unread", "full"])
def test_lines_that_cannot_be_written_do_not_end_the_training(kind, lost, monkeypatch):
    """A bar is shown where stderr is a terminal, even where stdout goes into `| head`."""
    if lost == "full":
        stdout = open("/dev/full", "w")  # noqa: SIM115
    else:
        reading, writing = os.pipe()
        os.close(reading)
        stdout = os.fdopen(writing, "w")
    monkeypatch.setattr(sys, "stdout", stdout)
    shown = kind(SHORT, 4, (0, 2))
    for epoch in range(2):
        shown.on_epoch_begin(epoch)
        shown.on_epoch_end(epoch, dict.fromkeys(callbacks.Recorder.NAMES, 0.5))
    shown.close()
    stdout.close()  # Python does so when it ends.


NOTEBOOK = """
import warnings
warnings.simplefilter("ignore")  # That nothing was learnt, where chance has it so.
import resnet_lib as rl
from dataclasses import replace
data = rl.datasets.shapes(train=64, validation=64, test=64)
model = rl.resnet_v1((32, 32, 3), 8, form="standard")
run = rl.train(model, data, replace(rl.recipes.ONE_CYCLE, epochs=2))
"""


class Clock:
    """Stands in for `time`: each step is done when its minutes are over."""

    now = 0.0

    def perf_counter(self):
        return self.now


def test_the_time_left_does_not_count_what_the_first_step_compiles(monkeypatch):
    clock, drawn = Clock(), []
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setattr(progress.LiveFigure, "draw", lambda self, title: drawn.append(title))
    monkeypatch.setattr("IPython.display.display", lambda *_, **__: None)
    recipe = replace(ONE_CYCLE, epochs=2, sizes=((1, 1),))
    history = {"loss": [], "val_loss": []}
    live = progress.LiveFigure(recipe, 10, (0, 2), history=history, name="a", source="b")
    assert live.figure("").axes[0].get_ylim()[0] == 0
    live.on_epoch_begin(0)
    for step, minute in enumerate((50, 51, 52)):
        clock.now = 60.0 * minute
        live.on_train_batch_end(step, {"loss": 1})
    assert drawn == ["epoch 1 of 2", "epoch 1 of 2, 18:00 left", "epoch 1 of 2, 17:00 left"]


@pytest.mark.slow
def test_a_notebook_shows_one_picture_in_the_end(tmp_path):
    import nbclient
    from nbformat import v4

    notebook = v4.new_notebook(cells=[v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    [output] = notebook.cells[0].outputs
    assert output["data"].keys() == {"image/png", "text/plain"}
    assert "loss" in output["data"]["text/plain"]
    assert output["metadata"]["image/png"]["alt"]

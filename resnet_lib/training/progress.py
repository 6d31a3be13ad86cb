"""What is shown while a run is trained: a figure that grows, a bar, or lines."""

import sys
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import keras

from .. import runtime

if TYPE_CHECKING:
    from ..figures import Figure
    from ..recipes import Recipe


class Progress(keras.callbacks.Callback):
    """What is common to the ways of showing progress: how much work is done and how much is left.

    A step's work is its share of the pixels of the full size, so that the time left is right for
    a run that begins with small images.

    Args:
        recipe: `resnet_lib.recipes.Recipe`.
        steps: steps in an epoch.
        epochs: (first, last): zero-based number of the first epoch, and how many there are.
    """

    def __init__(self, recipe: "Recipe", steps: int, epochs: tuple[int, int]):
        super().__init__()
        self.recipe, self.steps = recipe, steps
        self.first, self.last = epochs
        self.before = 0

    def work(self, epoch: int) -> float:
        """Return the work of one step of an epoch."""
        return self.recipe.size(epoch) ** 2

    def total(self) -> float:
        """Return the work of the epochs that are left."""
        return sum(self.steps * self.work(epoch) for epoch in range(self.first, self.last))

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the epoch."""
        self.epoch, self.before = epoch, -1

    def steps_since(self, batch: int) -> int:
        """Return the steps since it was asked before."""
        since, self.before = batch - self.before, batch
        return since

    def close(self) -> None:
        """Leave the screen in order; called once, whatever happened."""


class Bar(Progress):
    """A bar over all steps of all epochs, with the time left, in a terminal."""

    FORMAT = "{desc} |{bar}| {percentage:.0f}% [{elapsed}<{remaining}]{postfix}"

    def __init__(self, *args):
        super().__init__(*args)
        from tqdm import tqdm

        self.bar = tqdm(total=self.total(), bar_format=self.FORMAT, dynamic_ncols=True)

    def on_epoch_begin(self, epoch, logs=None):
        """Say which epoch it is."""
        super().on_epoch_begin(epoch)
        self.bar.set_description_str(f"epoch {epoch + 1}/{self.last}")

    def on_train_batch_end(self, batch, logs=None):
        """Go on by a step; say the loss now and then."""
        self.bar.update(self.steps_since(batch) * self.work(self.epoch))
        if batch % 20 == 0:
            self.bar.set_postfix_str(f"loss {float(logs['loss']):.3f}", refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        """Leave a line over the bar."""
        with self.bar.external_write_mode():
            runtime.say(line(epoch, self.last, logs))

    def close(self):
        """Leave the bar as it is."""
        self.bar.close()


class Lines(Progress):
    """A line an epoch, without times, so that two runs can be compared."""

    def on_epoch_end(self, epoch, logs=None):
        """Print the line."""
        runtime.say(line(epoch, self.last, logs))


class LiveFigure(Progress):
    """Loss and learning rate, drawn anew while they come, in a notebook.

    At the end one plain picture without times stays, with the alt text that it began with.
    Drawing takes at most about a fiftieth of the time.
    """

    def __init__(self, *args, history: Mapping[str, list], name: str, source: str):
        super().__init__(*args)
        from IPython.display import display

        self.history, self.name, self.source = history, name, source
        self.done, self.losses, self.started = 0.0, [], None
        self.next_drawing = time.perf_counter() + 1
        self.shown = display(self.figure(""), display_id=True)

    def figure(self, title: str) -> "Figure":
        """Return the picture of now."""
        from .. import figures

        return figures.progress(
            self.history, self.recipe, self.last, name=self.name, title=title, losses=self.losses
        )

    def on_train_batch_end(self, batch, logs=None):
        """Draw, if it is not too soon."""
        self.done += self.steps_since(batch) * self.work(self.epoch)
        if self.started is None:  # The first step compiles, which says nothing of the others.
            self.started = time.perf_counter(), self.done
        self.losses.append((self.epoch + (batch + 1) / self.steps, float(logs["loss"])))
        if time.perf_counter() > self.next_drawing:
            self.draw(self.time_left())

    def draw(self, title: str) -> None:
        """Draw, and say when the next drawing is due."""
        start = time.perf_counter()
        self.show(title)
        end = time.perf_counter()
        self.next_drawing = end + max(2.0, 50 * (end - start))

    def show(self, title: str) -> None:
        """Put the picture of now in the place of the one before; training goes on without it."""
        try:
            self.shown.update(self.figure(title))
        except Exception as error:
            warnings.warn(f"The figure cannot be drawn: {error!r}", stacklevel=2)

    def time_left(self) -> str:
        """Return which epoch it is and how long the rest will take."""
        epoch = f"epoch {self.epoch + 1} of {self.last}"
        start, compiled = self.started
        if self.done == compiled:
            return epoch
        seconds = time.perf_counter() - start
        left = seconds * (self.total() - self.done) / (self.done - compiled)
        told = str(timedelta(seconds=int(left))).removeprefix("0:")  # No hours: minutes, seconds.
        return f"{epoch}, {told} left"

    def close(self):
        """Leave the picture of the whole run."""
        self.losses = []
        self.show(self.source)


def line(epoch: int, epochs: int, logs: Mapping[str, float]) -> str:
    """Return an epoch's numbers in a line."""
    return (
        f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}, "
        f"validation loss {logs['val_loss']:.3f}, accuracy {logs['val_accuracy']:.3f}"
    )


def progress(*args, history: Mapping[str, list], name: str, source: str) -> Progress:
    """Return the way of showing progress that suits where the output goes, and what is there.

    A figure needs matplotlib, a bar tqdm: lines come in the place of what is not installed.
    """
    with suppress(ImportError):
        if in_notebook():
            return LiveFigure(*args, history=history, name=name, source=source)
        if sys.stderr is not None and not sys.stderr.closed and sys.stderr.isatty():
            return Bar(*args)
    return Lines(*args)


def in_notebook() -> bool:
    """Say whether this is a Jupyter kernel, which can change a picture that it has shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")

"""Keras callbacks of our own: the rate of each step, the numbers of each epoch, the progress.

What Keras has already is used from there: see `resnet_lib.training`.
"""

import math
import signal
import sys
import threading
import time
import warnings

import keras
import numpy as np
from tqdm import tqdm

from . import plots, records


class DivergedError(ArithmeticError):
    """The loss is not a number any more."""


class StepRate(keras.callbacks.Callback):
    """Sets the learning rate before each step, or before each call that runs several.

    Args:
        recipe: `resnet_lib.recipes.Recipe`.
        steps: steps in an epoch.
    """

    def __init__(self, recipe, steps):
        super().__init__()
        self.recipe, self.steps = recipe, steps

    def on_epoch_begin(self, epoch, logs=None):
        """Remember where the epoch starts."""
        self.first = epoch * self.steps

    def on_train_batch_begin(self, batch, logs=None):
        """Set the rate."""
        self.model.optimizer.learning_rate = self.recipe.rate(self.first + batch, self.steps)


class Seeds(keras.callbacks.Callback):
    """Seeds the layers that draw at random, such as Dropout, anew for each epoch.

    Keras does not save how far they have drawn, so that a resumed run would draw otherwise.

    Args:
        seed: int of at least 0.
    """

    def __init__(self, seed):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        """Set the state of each from (seed, its number, epoch)."""
        variables = self.model.non_trainable_variables
        states = [state for state in variables if state.path.endswith("seed_generator_state")]
        for number, state in enumerate(states):
            drawn = np.random.SeedSequence([self.seed, number, epoch]).generate_state(2)
            state.assign(drawn.astype(state.dtype))


class Interruptible(keras.callbacks.Callback):
    """Ends training between two steps when Ctrl-C or a notebook's stop button asks for it.

    As a context manager it takes the interrupt, which else could come while a file is written; the
    second one has its usual effect, at once. Where interrupts are ignored (nohup), so they stay.
    """

    def __enter__(self):
        self.asked, self.usual = False, signal.getsignal(signal.SIGINT)
        # Python lets only the main thread set a handler.
        self.takes = callable(self.usual) and threading.current_thread() is threading.main_thread()
        if self.takes:
            signal.signal(signal.SIGINT, self.ask)
        return self

    def __exit__(self, *error):
        if self.takes:
            signal.signal(signal.SIGINT, self.usual)

    def ask(self, number, frame):
        """Note an interrupt; hand the second one on."""
        if self.asked:
            self.usual(number, frame)
        self.asked = True

    def on_train_batch_end(self, batch, logs=None):
        """End here, if that was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch, logs=None):
        """End here, if that was asked for."""
        self.on_train_batch_end(batch)


class StopOnNaN(keras.callbacks.Callback):
    """Raises `DivergedError` when the loss is not a finite number, before anything is saved.

    Keras' TerminateOnNaN lets the epoch end, so that the checkpoints of that epoch would be
    written with weights that are not numbers.
    """

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the epoch."""
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        """Look at the mean loss of the epoch so far."""
        if not math.isfinite(float(logs["loss"])):
            raise DivergedError(
                f"the loss was not a number in epoch {self.epoch + 1}, step {batch + 1}"
            )


class Best(keras.callbacks.ModelCheckpoint):
    """Keeps the model with the best validation accuracy, in a file that is whole at any time.

    Args:
        path: file to write, .keras; a new one is written beside it, then takes its place.
        before: validation accuracies of the epochs before.
        averaged: Keras' SwapEMAWeights, if the averaged weights are to be kept; else None.
    """

    def __init__(self, path, before, averaged=None):
        self.path, self.averaged = path, averaged
        self.part = path.with_name("part.keras")
        part = str(self.part).replace("{", "{{").replace("}", "}}")  # Keras formats the path.
        threshold = max(before) if before else None
        super().__init__(
            part, "val_accuracy", save_best_only=True, initial_value_threshold=threshold
        )

    def on_epoch_end(self, epoch, logs=None):
        """Save, if it is the best."""
        self.part.unlink(missing_ok=True)  # Of a run that was cut while it wrote.
        if self.averaged:
            self.averaged.on_test_begin()
        super().on_epoch_end(epoch, logs)
        if self.averaged:
            self.averaged.on_test_end()
        if self.part.exists():
            records.settle(self.part, self.path)


class Backup(keras.callbacks.Callback):
    """Saves weights and optimizer after each epoch, and loads them when training begins.

    The epoch stands in the file's name and the name is given when the file is whole, so that a
    run that is cut at any moment goes on from an epoch's end. Keras' BackupAndRestore writes the
    epoch into a second file and both in place.

    Args:
        folder: where the backup lies; only the newest is kept.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs=None):
        """Load the newest backup, if there is one."""
        _, path = newest_backup(self.folder)
        if path is not None:
            self.model.optimizer.build(self.model.trainable_variables)
            try:
                self.model.load_weights(path)
            except OSError as error:
                raise OSError(f"{path} is damaged. Remove it: the run starts anew.") from error

    def on_epoch_end(self, epoch, logs=None):
        """Save, then remove the backup before."""
        self.folder.mkdir(exist_ok=True)
        part = self.folder / "part.weights.h5"
        self.model.save_weights(part, overwrite=True)
        whole = self.folder / f"epoch-{epoch + 1:05}.weights.h5"
        records.settle(part, whole)
        for old in self.folder.glob("epoch-*.weights.h5"):
            if old != whole:
                old.unlink()


def newest_backup(folder):
    """Return how many epochs the newest backup in a folder has behind it, and its path or None."""
    path = max(folder.glob("epoch-*.weights.h5"), default=None)
    return (0, None) if path is None else (int(path.name[6:11]), path)


class Recorder(keras.callbacks.Callback):
    """Keeps a number an epoch for each metric, the last rate, and the seconds that it took.

    Args:
        history: dict of lists, which grows.
        save: function without arguments, called after each epoch.
    """

    NAMES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    NAMES += ("seconds", "cpu_seconds")

    def __init__(self, history, save):
        super().__init__()
        self.history, self.save = history, save

    def on_epoch_begin(self, epoch, logs=None):
        """Look at the clocks: the one on the wall and the one of the processor."""
        self.started = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        """Add the epoch's numbers."""
        numbers = {name: float(logs[name]) for name in self.NAMES if name in logs}
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        numbers["learning_rate"] = float(rate)
        numbers["seconds"] = time.perf_counter() - self.started[0]
        numbers["cpu_seconds"] = time.process_time() - self.started[1]
        for name, value in numbers.items():
            self.history[name].append(value if math.isfinite(value) else None)
        self.save()


class Progress(keras.callbacks.Callback):
    """What is common to the ways of showing progress: how much work is done and how much is left.

    A step's work is its share of the pixels of the full size, so that the time left is right for
    a run that begins with small images.

    Args:
        recipe: `resnet_lib.recipes.Recipe`.
        steps: steps in an epoch.
        epochs: (first, last): zero-based number of the first epoch, and how many there are.
    """

    def __init__(self, recipe, steps, epochs):
        super().__init__()
        self.recipe, self.steps = recipe, steps
        self.first, self.last = epochs
        self.before = 0

    def work(self, epoch):
        """Return the work of one step of an epoch."""
        return self.recipe.size(epoch) ** 2

    def total(self):
        """Return the work of the epochs that are left."""
        return sum(self.steps * self.work(epoch) for epoch in range(self.first, self.last))

    def on_epoch_begin(self, epoch, logs=None):
        """Remember the epoch."""
        self.epoch, self.before = epoch, -1

    def steps_since(self, batch):
        """Return the steps since it was asked before."""
        since, self.before = batch - self.before, batch
        return since

    def close(self):
        """Leave the screen in order; called once, whatever happened."""


class Bar(Progress):
    """A bar over all steps of all epochs, with the time left, in a terminal."""

    FORMAT = "{desc} |{bar}| {percentage:.0f}% [{elapsed}<{remaining}]{postfix}"

    def __init__(self, *args):
        super().__init__(*args)
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
        self.bar.write(line(epoch, self.last, logs))

    def close(self):
        """Leave the bar as it is."""
        self.bar.close()


class Lines(Progress):
    """A line an epoch, without times, so that two runs can be compared."""

    def on_epoch_end(self, epoch, logs=None):
        """Print the line."""
        print(line(epoch, self.last, logs), flush=True)


class LiveFigure(Progress):
    """Loss and learning rate, drawn anew while they come, in a notebook.

    At the end one plain picture without times stays, with the alt text that it began with.
    Drawing takes at most about a fiftieth of the time.
    """

    def __init__(self, *args, history, name, source):
        super().__init__(*args)
        from IPython.display import display

        self.history, self.name, self.source = history, name, source
        self.done, self.losses = 0.0, []
        self.started = time.perf_counter()
        self.next_drawing = self.started + 1
        self.shown = display(self.figure(""), display_id=True)

    def figure(self, title):
        """Return the picture of now."""
        return plots.progress(
            self.history, self.recipe, self.last, name=self.name, title=title, losses=self.losses
        )

    def on_train_batch_end(self, batch, logs=None):
        """Draw, if it is not too soon."""
        self.done += self.steps_since(batch) * self.work(self.epoch)
        self.losses.append((self.epoch + (batch + 1) / self.steps, float(logs["loss"])))
        if time.perf_counter() > self.next_drawing:
            self.draw(self.time_left())

    def draw(self, title):
        """Draw, and say when the next drawing is due."""
        start = time.perf_counter()
        self.show(title)
        end = time.perf_counter()
        self.next_drawing = end + max(2.0, 50 * (end - start))

    def show(self, title):
        """Put the picture of now in the place of the one before; training goes on without it."""
        try:
            self.shown.update(self.figure(title))
        except Exception as error:
            warnings.warn(f"The figure cannot be drawn: {error!r}", stacklevel=2)

    def time_left(self):
        """Return which epoch it is and how long the rest will take."""
        seconds = (time.perf_counter() - self.started) * (self.total() / self.done - 1)
        return f"epoch {self.epoch + 1} of {self.last}, {tqdm.format_interval(seconds)} left"

    def close(self):
        """Leave the picture of the whole run."""
        self.losses = []
        self.show(self.source)


def line(epoch, epochs, logs):
    """Return an epoch's numbers in a line."""
    return (
        f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}, "
        f"validation loss {logs['val_loss']:.3f}, accuracy {logs['val_accuracy']:.3f}"
    )


def progress(*args, history, name, source):
    """Return the way of showing progress that suits where the output goes."""
    if in_notebook():
        return LiveFigure(*args, history=history, name=name, source=source)
    open_stderr = sys.stderr is not None and not sys.stderr.closed
    return (Bar if open_stderr and sys.stderr.isatty() else Lines)(*args)


def in_notebook():
    """Say whether this is a Jupyter kernel, which can change a picture that it has shown."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return hasattr(shell, "kernel")

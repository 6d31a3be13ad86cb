"""What steers and keeps a run: callbacks for the rate of each step, the backups, the record.

What Keras has already is used from there: see `resnet_lib.training.fit`.
"""

import math
import signal
import threading
import time

import keras
import numpy as np

from .. import records


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

"""What steers and keeps a run: callbacks for the rate of each step, the backups, the record.

What Keras has already is used from there: see `resnet_lib.training.fit`.
"""

import hashlib
import io
import math
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from .. import files, runtime
from . import hosts

if TYPE_CHECKING:
    from ..recipes import Recipe


class StepRate(keras.callbacks.Callback):
    """Sets the learning rate before each step, or before each call that runs several.

    A rate that another callback has set since then is told of, once.

    Args:
        recipe: `resnet_lib.recipes.Recipe`.
        steps: steps in an epoch.
        on_device: whether the device sets the rate of each step by itself (`jax_steps`). Then the
            model, which would have to be waited for, is looked at where an epoch begins only.
    """

    def __init__(self, recipe: "Recipe", steps: int, *, on_device: bool = False):
        super().__init__()
        self.recipe, self.steps, self.on_device = recipe, steps, on_device
        self.last, self.told, self.optimizer = None, False, None

    def on_epoch_begin(self, epoch, logs=None):
        """Remember where the epoch starts."""
        self.first = epoch * self.steps

    def on_train_batch_begin(self, batch, logs=None):
        """Set the rate."""
        if self.on_device and batch:
            return
        if self.last is not None and not self.told and self.optimizer is self.model.optimizer:
            self._look(rate(self.model))
        self.optimizer = self.model.optimizer
        self.last = self.recipe.rate(self.first + batch, self.steps)
        self.model.optimizer.learning_rate = self.last
        if self.on_device:
            self.last = self.recipe.rate(self.first + self.steps - 1, self.steps)

    def _look(self, found):
        if not math.isclose(found, self.last, rel_tol=1e-5):
            self.told = True
            warnings.warn(
                f"A callback has set the learning rate to {found:g}, which the recipe "
                f"{self.recipe.name!r} had set to {self.last:g}, and sets anew before each step: "
                "change the recipe in its place.",
                stacklevel=2,
            )


def rate(model: keras.Model) -> float:
    """Return the learning rate that the next step of a model takes."""
    return float(keras.ops.convert_to_numpy(model.optimizer.learning_rate))


class Seeds(keras.callbacks.Callback):
    """Seeds the layers that draw at random, such as Dropout, anew for each epoch.

    Keras does not save how far they have drawn, so that a resumed run would draw otherwise.

    Args:
        seed: int of at least 0.
    """

    def __init__(self, seed: int):
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
    """Ends training between two steps when Ctrl-C, a notebook's stop button or SIGTERM asks for it.

    As a context manager it takes both signals, which else could come while a file is written. A
    second one has its usual effect, at once, and so has the first before any step is done. Where
    they are ignored (nohup), so they stay.

    Several processes all end at the same step, whichever of them is asked: JAX takes SIGTERM then
    and hands it on, and Ctrl-C becomes SIGTERM.

    Attributes:
        step: how many steps of the epoch are done; None before the first of the run.

    Raises:
        KeyboardInterrupt: where it ends, with the signal's number.
    """

    TOLD = "\nThe run ends after this step; {kept}. A second {signal} ends it at once."

    def __enter__(self):
        self.asked, self.step, self.usual = None, None, {}
        self.together = hosts.processes() > 1
        # Python lets only the main thread set a handler.
        self.takes = threading.current_thread() is threading.main_thread()
        if self.takes:
            self._take(signal.SIGINT)
            if not self.together:  # Else JAX has taken it.
                self._take(signal.SIGTERM)
        return self

    def _take(self, number):
        usual = signal.getsignal(number)
        if callable(usual) or (number == signal.SIGTERM and usual == signal.SIG_DFL):
            self.usual[number] = usual
            signal.signal(number, self.ask)

    def __exit__(self, *error):
        for number, usual in self.usual.items():
            signal.signal(number, usual)

    def ask(self, number, frame):
        """Note a signal and say so; hand the second one on, and one before the first step."""
        if self.asked or self.step is None:
            self._hand_on(number, frame)
            return
        self.asked = signal.SIGTERM if self.together else number
        name = "interrupt" if number == signal.SIGINT else "SIGTERM"
        kept = "what was learnt is measured and kept"
        if keeps_only_epochs(KeyboardInterrupt(self.asked)):
            kept = "the epochs that are finished are kept"
        with suppress(OSError, ValueError):  # A closed terminal has nothing to be told.
            print(self.TOLD.format(kept=kept, signal=name), file=sys.stderr, flush=True)
        if self.together:
            signal.raise_signal(signal.SIGTERM)

    def _hand_on(self, number, frame):
        usual = self.usual[number]
        signal.signal(number, usual)
        if callable(usual):
            usual(number, frame)
        else:
            signal.raise_signal(number)

    def on_train_batch_begin(self, batch, logs=None):
        """End here, if that was asked for."""
        if self.together and hosts.is_time_to_stop():
            self.asked = signal.SIGTERM
            if self.takes:  # From JAX, which has handed it on: the next one has its usual effect.
                signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM) or signal.SIG_DFL)
            raise KeyboardInterrupt(signal.SIGTERM)
        if self.asked and not self.together:
            raise KeyboardInterrupt(self.asked)

    def on_train_batch_end(self, batch, logs=None):
        """Remember the step."""
        self.step = batch + 1

    def on_test_batch_begin(self, batch, logs=None):
        """End here, if that was asked for."""
        self.on_train_batch_begin(batch)


def was_terminated(stop: KeyboardInterrupt) -> bool:
    """Say whether it was SIGTERM that ended a run."""
    return stop.args == (signal.SIGTERM,)


def keeps_only_epochs(stop: KeyboardInterrupt) -> bool:
    """Say whether an interrupt ends a run with nothing but its finished epochs.

    So does SIGTERM on the command line: a cluster that takes a machine away leaves no time for
    measuring, and starts the command again.
    """
    return was_terminated(stop) and runtime.is_command_line()


class InMemory(io.BytesIO):
    """A file that Keras writes into memory, or reads from it.

    On a full disk the HDF5 library cannot close a file, and takes the process down with it. Keras
    knows a file's kind by how its name ends.

    Args:
        path: where the file would lie.
        content: what is in it.
    """

    def __init__(self, path: Path, content: bytes = b""):
        super().__init__(content)
        self.path = path

    def __str__(self):
        return str(self.path)


def sha256(content: bytes) -> str:
    """Return the SHA-256 of a file's content, as a record has it."""
    return hashlib.sha256(content).hexdigest()


class Best(keras.callbacks.Callback):
    """Keeps the model with the best validation accuracy, in a file that is never half written.

    Of equals, which are many where there are few pictures, it is the one of the lower loss. The one
    before is kept beside it: a run that is cut here repeats the epoch, and the best is
    again the one before.

    Args:
        path: file to write, .keras.
        history: lists of one number an epoch before, among them "val_accuracy" and "val_loss".
        kept: list of [epoch, SHA-256 of the file] of the two.
        averaged: Keras' SwapEMAWeights, if the averaged weights are to be kept; else None.
    """

    BEFORE = "before.keras"

    def __init__(
        self,
        path: Path,
        history: dict[str, list],
        kept: list,
        averaged: keras.callbacks.SwapEMAWeights | None = None,
    ):
        super().__init__()
        self.path, self.history, self.kept, self.averaged = path, history, kept, averaged

    def on_epoch_end(self, epoch, logs=None):
        """Save, if it is the best."""
        now = {name: [*self.history[name], logs[name]] for name in ("val_accuracy", "val_loss")}
        if best_epoch(now) != len(now["val_loss"]):
            return
        file = InMemory(self.path)
        if self.averaged:
            self.averaged.on_test_begin()
        self.model.save(file)
        if self.averaged:
            self.averaged.on_test_end()
        files.write(self.path, file.getbuffer(), self.path.with_name(self.BEFORE))
        self.kept[:] = [*self.kept, [epoch + 1, sha256(file.getbuffer())]][-2:]


def best_epoch(history: dict[str, list]) -> int | None:
    """Return which epoch, from 1, is the best on the validation part; None before the first.

    It has the highest accuracy, and of equals the lowest loss, and of equals of that it is the
    first.
    """

    def worth(epoch):
        accuracy, loss = history["val_accuracy"][epoch - 1], history["val_loss"][epoch - 1]
        finite = loss is not None and math.isfinite(loss)
        return accuracy, -loss if finite else -math.inf

    return max(range(1, len(history["val_accuracy"]) + 1), key=worth, default=None)


def find_best(path: Path, digest: str | None) -> bool:
    """Say whether a best model is there, as it was written; take the one before if it is that one.

    Args:
        path: the file that `Best` writes.
        digest: the file's SHA-256; None if there is no such model any more.
    """
    for each in (path, path.with_name(Best.BEFORE)):
        if each.is_file() and sha256(each.read_bytes()) == digest:
            os.replace(each, path)
            return True
    return False


class Backup(keras.callbacks.Callback):
    """Saves weights and optimizer after each epoch.

    The epoch stands in the file's name and the name is given when the file is whole, so that a
    run that is cut at any moment goes on from an epoch's end. Keras' BackupAndRestore writes the
    epoch into a second file and both in place.

    Args:
        folder: where the backups lie; the two newest are kept.
        kept: list of [epoch, SHA-256 of its file] of the two.
        save: function without arguments that saves the record, with `kept` in it. It is called
            before the file gets its name: one whose SHA-256 is not in the record does not count.
        epochs: how many epochs are backed up already.
    """

    def __init__(self, folder: Path, kept: list, save: Callable, epochs: int = 0):
        super().__init__()
        self.folder, self.kept, self.save, self.epochs = folder, kept, save, epochs

    def on_epoch_end(self, epoch, logs=None):
        """Save, then remove the backup before the one before."""
        path = backup_of(self.folder, epoch + 1)
        file = InMemory(path)
        self.model.save_weights(file)
        self.kept[:] = [*self.kept, [epoch + 1, sha256(file.getbuffer())]][-2:]
        self.save()
        self.folder.mkdir(exist_ok=True)
        files.write(path, file.getbuffer())
        self.epochs = epoch + 1
        for epochs, old in backups(self.folder):
            if epochs not in dict(self.kept):
                old.unlink()


def backup_of(folder: Path, epochs: int) -> Path:
    """Return the path of the backup with so many epochs behind it."""
    return folder / f"epoch-{epochs:05}.weights.h5"


def backups(folder: Path) -> list[tuple[int, Path]]:
    """Return how many epochs each backup in a folder has behind it, and its path; newest first."""
    found = [(re.fullmatch(r"epoch-(\d{5,})\.weights\.h5", p.name), p) for p in folder.glob("*")]
    return sorted(((int(match[1]), path) for match, path in found if match), reverse=True)


def restore(model: keras.Model, path: Path) -> None:
    """Load a backup into a compiled model; OSError if it is damaged."""
    model.optimizer.build(model.trainable_variables)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # So Keras tells what it has left out.
            model.load_weights(InMemory(path, path.read_bytes()))
    except Exception as error:  # Keras has no error of its own for this.
        raise damaged(path, path.parent) from error


def damaged(path: Path, folder: Path) -> OSError:
    """Return the error of a file without which a run cannot go on from the backups in a folder."""
    return OSError(
        f"{path} is damaged or gone. Put it back as it was; or remove {folder}, and the run starts "
        "anew."
    )


class Recorder(keras.callbacks.Callback):
    """Keeps a number an epoch for each metric, the last rate, and the seconds that it took.

    Args:
        history: dict of lists, which grows.
    """

    NAMES = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
    NAMES += ("seconds", "cpu_seconds")

    def __init__(self, history: dict[str, list]):
        super().__init__()
        self.history = history

    def on_epoch_begin(self, epoch, logs=None):
        """Look at the clocks: the one on the wall and the one of the processor."""
        self.started = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        """Add the epoch's numbers."""
        numbers = {name: float(logs[name]) for name in self.NAMES if name in logs}
        numbers["learning_rate"] = rate(self.model)
        numbers["seconds"] = time.perf_counter() - self.started[0]
        numbers["cpu_seconds"] = time.process_time() - self.started[1]
        for name, value in numbers.items():
            self.history[name].append(value if math.isfinite(value) else None)

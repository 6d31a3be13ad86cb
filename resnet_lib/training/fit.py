"""A run while it is trained: what is fitted, with which callbacks, and what is measured after."""

import math
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from .. import cards, checks, files
from ..datasets.base import Dataset, Split
from ..datasets.resize import resized
from . import callbacks as ours
from . import devices, hosts
from . import progress as display
from .batches import Batches, Places, on_device
from .classes import baselines
from .copies import copied
from .fused_bn import fuse
from .jax_steps import feed_test, feed_training
from .machine import Execution
from .network import head_of, make_loss, prepared, whitened
from .optimizers import make_optimizer

if TYPE_CHECKING:
    from ..recipes import Recipe

BEST = Path(files.CHECKPOINTS, "best.keras")
BACKUP = Path(files.CHECKPOINTS, "last_epoch")
PROGRESS = Path(files.CHECKPOINTS, files.RECORD)


@dataclass
class Job:
    """A run while it is trained.

    Attributes:
        model: the network as it was given.
        data: `resnet_lib.datasets.Dataset`.
        recipe: `resnet_lib.recipes.Recipe`.
        execution: `resnet_lib.training.Execution`.
        class_weight: what a picture of each class counts in the loss; None: one.
        trained: the copy that is fitted.
        final: the plain copy in float32, of the images' size, that is saved in the end.
        record: what will be record.json; grows.
        folder: the run's folder.
    """

    model: keras.Model
    data: Dataset
    recipe: "Recipe"
    execution: Execution
    class_weight: Sequence[float] | None = None

    def __post_init__(self):
        recipe, images, precision = self.recipe, self.data.train.images, self.execution.precision
        on_jax = keras.backend.backend() == "jax"
        self.jit_compile = self.execution.jit_compile or on_jax
        self.fed = on_jax and self.execution != Execution(precision)
        start = self._start()
        if recipe.whiten:
            start = whitened(start, images, recipe.normalize)
        self.final = prepared(start, recipe, images=images)
        # Keras would choose by itself whether to use XLA.
        self.final.jit_compile = self.jit_compile
        any_size, several = len(recipe.sizes) > 1, self.execution.devices > 1
        with self.spread():
            self.trained = fuse(
                prepared(start, recipe, precision, images, any_size=any_size, synchronized=several)
            )
            self.free = _free(self.trained)
            self.only_head = recipe.head_epochs > 0
            if self.only_head:
                freeze_all_but_head(self.trained)
            self._compile()

    def _compile(self):
        self.trained.compile(
            optimizer=make_optimizer(self.recipe, self.execution.precision),
            loss=make_loss(self.recipe, self.class_weight),
            metrics=["accuracy"],
            jit_compile=self.jit_compile,
            steps_per_execution=self.execution.steps_per_execution,
        )

    def thaw(self) -> None:
        """After the epochs of the head alone, train all that is not frozen in the network itself.

        Keras reads what is frozen when it compiles; the optimizer begins anew.
        """
        with self.spread():
            for layer, trainable, weights in self.free:
                layer.trainable = trainable
                for weight, free in zip(layer._trainable_variables, weights, strict=True):
                    weight.trainable = free
            self._compile()
        self.only_head = False

    def _start(self):
        """Return the network that all processes start with, that of process 0."""
        if hosts.processes() == 1:
            return self.model
        start = copied(self.model)
        start.set_weights(hosts.share_arrays(start.get_weights()))
        return start

    def spread(self) -> AbstractContextManager:
        """Return the context in which Keras computes on all the devices of the execution."""
        return devices.spread(self.execution.devices)

    def fit(
        self,
        record: dict,
        folder: Path,
        further: Iterable[keras.callbacks.Callback] = (),
        *,
        progress: bool = False,
        tensorboard: bool = False,
    ) -> None:
        """Run the epochs that are left; an interruption ends them and is noted."""
        self.record, self.folder, self.history = record, folder, record["history"]
        self.kept = record.setdefault("checkpoints", {"best": [], "last_epoch": []})
        done = len(self.history["loss"])
        if self.only_head and done > self.recipe.head_epochs:
            self.thaw()
        if done:
            self._restore(done)
        self._save_progress()  # From here on, the folder can be told from others.
        epochs = done, self.record["epochs"]
        steps = math.ceil(len(self.data.train) / self.recipe.batch_size)
        names = dict(name=self.model.name, source=self.data.source)
        show = (self.recipe, steps, epochs)
        shown = [display.progress(*show, history=self.history, **names)] if progress else []
        self.interruptible = ours.Interruptible()
        self.backup = ours.Backup(
            folder / BACKUP, self.kept["last_epoch"], self._save_progress, done
        )
        # What a callback of the user's changes at an epoch's end is backed up: the backup is later.
        callbacks = [*self._callbacks(steps, tensorboard), *further, self.backup, *shown]
        try:
            with self.interruptible, self.spread():
                self._fit_phases(epochs, [self.interruptible, *callbacks])
        except KeyboardInterrupt as stop:
            if self.interruptible.step is None or ours.keeps_only_epochs(stop):
                raise
            self._interrupted("by SIGTERM" if ours.was_terminated(stop) else "by hand")
        except Exception as error:
            self._failed(error)
        finally:
            for bar in shown:
                bar.close()
        if self.trained.stop_training and len(self.history["loss"]) < self.record["epochs"]:
            self.record.setdefault("stopped", f"by a callback in epoch {len(self.history['loss'])}")

    def _interrupted(self, how):
        done = len(self.history["loss"])
        if done > self.backup.epochs:  # It came between an epoch's end and its backup.
            self.backup.on_epoch_end(done - 1)
        self.record["stopped"] = f"{how} in epoch {min(done + 1, self.record['epochs'])}"

    def _failed(self, error):
        """End the run where the loss is not a number any more; else raise what says why."""
        if _is_out_of_memory(error):
            raise told_what_fits(self.recipe.batch_size) from error
        if limit := _onednn_is_limited(error):
            raise told_what_computes(limit) from error
        if not str(error).startswith("NaN or Inf loss"):  # So speaks Keras' TerminateOnNaN.
            raise error
        epoch, step = len(self.history["loss"]) + 1, self.interruptible.step
        stopped = f"the loss was not a number in epoch {epoch}, step {step}"
        if epoch == 1:
            raise FloatingPointError(
                f"{stopped}, and nothing was learnt before. Expected a finite loss: try a lower "
                "learning rate, such as replace(recipe, peak=recipe.peak / 3) with one_cycle."
            ) from None
        self.record["stopped"] = stopped
        checks.warn(f"{stopped}. The weights kept are the best before that.")

    def _fit_phases(self, epochs, callbacks):
        for first, last in phases(self.recipe, *epochs):
            if first > epochs[0] and self.recipe.ema is not None:
                # At its end, Keras' fit has put the averages in the place of the weights.
                self._restore(first)
            if self.only_head and first >= self.recipe.head_epochs:
                self.thaw()
            self._fit_phase(first, last, callbacks)
            if self.trained.stop_training:  # Keras' next fit would forget it.
                break

    def _restore(self, epochs):
        """Put the backup of so many epochs into the copy that is trained."""
        path = ours.backup_of(self.folder / BACKUP, epochs)
        if hosts.processes() == 1:
            with self.spread():
                ours.restore(self.trained, path)
            return
        copy = self._copy_here()
        hosts.first_only(lambda: ours.restore(copy, path))
        arrays = hosts.share_arrays([keras.ops.convert_to_numpy(v) for v in _state(copy)])
        with self.spread():
            for variable, array in zip(_state(self.trained), arrays, strict=True):
                variable.assign(array)

    def _copy_here(self):
        """Return a copy of the trained network on this process alone.

        All processes must take part in a change of the trained network itself.
        """
        with hosts.alone():
            copy = copied(self.trained)
            copy.compile(make_optimizer(self.recipe, self.execution.precision))
            copy.optimizer.build(copy.trainable_variables)
        return copy

    def _fit_phase(self, first, last, callbacks):
        """Fit the epochs of one image size, and in which the same is trained."""
        split = resized(self.data.train, self.recipe.size(first))
        batches = self.batches(split, seed=self.record["seed"], epoch=first)
        validation = self.validation(self.data.validation)
        self.trained.fit(
            batches,
            initial_epoch=first,
            epochs=last,
            validation_data=validation,
            callbacks=[
                *callbacks,
                keras.callbacks.LambdaCallback(
                    on_epoch_begin=lambda epoch, logs: batches.start_epoch(epoch)
                ),
            ],
            shuffle=False,  # Batches shuffles images; Keras would only shuffle batches.
            verbose=0,
        )

    def batches(self, split: Split, **order: int) -> Batches:
        """Return a split's batches as the recipe and the execution want them; `order`: see Batches.

        Where the images are on the device, or several steps are taken a call, the training step
        then takes these batches and no others.
        """
        recipe, execution = self.recipe, self.execution
        kind = Places if execution.data_on_device else Batches
        names = ("augment", "flip", "alternating", "translation", "padding", "cutout")
        drawn = {name: getattr(recipe, name) for name in names}
        batches = kind(split, recipe.batch_size, **drawn, **order)
        if self.fed or execution.data_on_device:
            self._build()
        if self.fed:
            rates = partial(recipe.rate, steps_per_epoch=len(batches))
            feed_training(self.trained, batches, rates if recipe.by_step else None)
        elif execution.data_on_device:
            on_device(self.trained, batches)
        return batches

    def validation(self, split: Split) -> Batches:
        """Return a split in batches for `evaluate`, which may then take these and no others."""
        if not self.fed:
            return unchanged(split, devices.even(256, len(split), self.execution.devices))
        kind = Places if self.execution.data_on_device else Batches
        batches = kind(split, 256, augment=False, shuffle=False)
        feed_test(self.trained, batches)
        return batches

    def _build(self):
        """Build optimizer, loss and metrics with pictures, which the fitted batches are not."""
        if self.trained.test_function is not None:  # They were built for another size.
            return
        self.trained.optimizer.build(self.trained.trainable_variables)
        some = np.arange(self.execution.devices) % len(self.data.validation)
        images, labels = self.data.validation.images[some], self.data.validation.labels[some]
        self.trained.evaluate(images, labels, batch_size=len(some), verbose=0)

    def _callbacks(self, steps, tensorboard):
        """Keras' callbacks and ours. An epoch counts when its backup is whole, which comes last.

        A run that is cut before that repeats the epoch, and chooses and records the same again.
        """
        recipe = self.recipe
        rate = (
            ours.StepRate(recipe, steps, on_device=self.fed)
            if recipe.by_step
            else keras.callbacks.LearningRateScheduler(recipe.learning_rate)
        )
        averaged = keras.callbacks.SwapEMAWeights() if recipe.ema is not None else None
        chosen = [
            rate,
            ours.Seeds(self.record["seed"]),
            keras.callbacks.TerminateOnNaN(raise_error=True),  # Before anything is saved.
            ours.Best(self.folder / BEST, self.history, self.kept["best"], averaged),
            ours.Recorder(self.history),
            *([averaged] if averaged else []),
        ]
        if recipe.reduce_on_plateau:  # The scheduler sets the rate anew and so has the last word.
            chosen.append(
                keras.callbacks.ReduceLROnPlateau(
                    factor=math.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6
                )
            )
        if tensorboard:
            chosen.append(keras.callbacks.TensorBoard(self.folder / "tensorboard"))
        return chosen

    def _save_progress(self):
        files.save(self.record, (self.folder / PROGRESS).parent)

    def finish(self) -> None:
        """Measure and save what was learnt; the best weights stay in the final model."""
        hosts.first_only(self._finish)
        if hosts.processes() > 1:
            shapes = [np.zeros(each.shape, each.dtype) for each in self.final.weights]
            weights = self.final.get_weights() if hosts.is_first() else shapes
            self.final.set_weights(hosts.share_arrays(weights))
            self.record |= hosts.shared(self.record)

    def _finish(self):
        self.record["finished"] = now()
        self.record["results"] = self._results()
        del self.record["checkpoints"]  # It says what a resumed run goes on from, not what was.
        file = ours.InMemory(self.folder / files.MODEL)
        self.final.save(file)
        files.write(file.path, cards.added(file.getvalue(), cards.of(self.record)))
        files.save(self.record, self.folder)
        finished = "stopped" not in self.record and len(self.history["loss"]) == self.recipe.epochs
        if finished:  # There is nothing to go on with.
            shutil.rmtree(self.folder / BACKUP, ignore_errors=True)

    def _results(self):
        """Return the test accuracies of the final model, in float32 whatever trained it."""
        test, results, found = self.data.test, {}, None
        weights = last = self.trained.get_weights()
        if "stopped" not in self.record:
            found = self._tested(last, test)
            results["test_accuracy_last"] = accuracy(found, test)
        best = self.kept["best"][-1][0] if self.kept["best"] else None
        if best is not None:
            weights = self._best_weights()
        if found is None or not equal(weights, last):
            found = self._tested(weights, test)
        results["test_accuracy_best"] = accuracy(found, test)
        results["test_confusion"] = confusion(found, test, self.data.num_classes)
        if self.recipe.flip_test:
            mirrored = Split(test.images[:, :, ::-1], test.labels)
            found = found + probabilities(self.final, mirrored)
            results["test_accuracy_flip"] = accuracy(found, test)
        if self.recipe.views > 1:
            views = views_of(test.images, self.recipe.views)
            found = sum(probabilities(self.final, Split(view, test.labels)) for view in views)
            results["test_accuracy_views"] = accuracy(found, test)
        results |= {"best_epoch": best, "chosen_on": "validation"}
        return results | {"baselines": baselines(self.data)}

    def _best_weights(self):
        # Not the network that was trained: its optimizer may be another than that of then.
        self.final.load_weights(self.folder / BEST)
        return self.final.get_weights()

    def _tested(self, weights, split):
        """Return what the final model outputs with weights of the one that is trained."""
        self.final.set_weights(weights)
        return probabilities(self.final, split)


def _layers_below(model):
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]


def _free(model):
    """Return what is needed to set again which layers, and weights in them, can be trained."""
    layers = _layers_below(model)  # A layer comes before those inside it.
    return [
        (layer, layer.trainable, [weight.trainable for weight in layer._trainable_variables])
        for layer in layers
    ]


def freeze_all_but_head(model: keras.Model) -> None:
    """Freeze all layers of a model but those from the last one with weights on."""
    head = head_of(model)
    for layer in _layers_below(model):
        if id(layer) not in head:
            layer.trainable = False


def _state(model):
    """Return all that a backup holds: weights, seeds and what the optimizer remembers."""
    model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def equal(some: list[np.ndarray], others: list[np.ndarray]) -> bool:
    """Return whether two lists of weights of one model are the same to the bit."""
    return all(map(np.array_equal, some, others))


def phases(recipe: "Recipe", first: int, last: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) for each run of epochs in which sizes, and what is trained, stay alike.

    At least one.
    """
    start = first
    for epoch in range(first + 1, last):
        if recipe.size(epoch) != recipe.size(start) or epoch == recipe.head_epochs:
            yield start, epoch
            start = epoch
    yield start, last


def probabilities(model: keras.Model, split: Split) -> np.ndarray:
    """Return what a model outputs for a split: float array (n, classes)."""
    return model.predict(unchanged(split), verbose=0)


def views_of(images: np.ndarray, views: int) -> Iterator[np.ndarray]:
    """Yield each image as it is, moved by a pixel up and left, down and right; of 6, mirrored too.

    What comes in from outside is reflected.

    Source: arXiv 2404.00498, section 3.5.
    """
    height, width = images.shape[1:3]
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    for corner in (1, 2, 0):
        view = padded[:, corner : corner + height, corner : corner + width]
        yield view
        if views == 6:
            yield view[:, :, ::-1]


def accuracy(found: np.ndarray, split: Split) -> float:
    """Return the share of a split's images whose largest probability is that of their label."""
    return float(np.mean(np.argmax(found, axis=1) == split.labels))


def confusion(found: np.ndarray, split: Split, classes: int) -> list[list[int]]:
    """Return how many images of each class, a row, were taken for each class, a column."""
    table = np.zeros((classes, classes), int)
    np.add.at(table, (split.labels, np.argmax(found, axis=1)), 1)
    return table.tolist()


def unchanged(split: Split, batch_size: int = 256) -> Batches:
    """Return a split in batches, in order and as it is."""
    return Batches(split, batch_size, augment=False, shuffle=False)


def now() -> str:
    """Return the time, in UTC, as a record has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _is_out_of_memory(error):
    return type(error).__name__ == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error)


def told_what_fits(batch_size: int) -> MemoryError:
    """Return the error that says which batch size to try."""
    if batch_size == 1:
        return MemoryError("The device's memory does not suffice for a single image.")
    return MemoryError(
        f"The device's memory does not suffice for batches of {batch_size}: "
        f"try batch_size={batch_size // 2} (--batch-size {batch_size // 2})."
    )


def _onednn_is_limited(error):
    """Return what limits oneDNN, if that is why it has no such convolution; None otherwise."""
    refused = "could not create a primitive descriptor" in str(error)
    return os.environ.get("ONEDNN_MAX_CPU_ISA") if refused else None


def told_what_computes(limit: str) -> ValueError:
    """Return the error that says that oneDNN may not use what 16-bit convolutions take."""
    return ValueError(
        "Expected ONEDNN_MAX_CPU_ISA to be unset, or AVX512_CORE or more, for convolutions in 16 "
        f'bits. Received: {limit}. Unset it, or train with Execution("float32") '
        "(--precision float32)."
    )


def check_tensorboard(out: Path | str | None) -> None:
    """Raise ValueError without a folder, and ImportError if the package is not installed."""
    if out is None:
        raise ValueError(
            "Expected a folder for the run as `out`, for `tensorboard`. Received: out=None"
        )
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ImportError(
            "tensorboard=True needs the package of that name: pip install tensorboard"
        ) from None

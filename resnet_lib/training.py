"""Train a network: a copy of it, with a recipe, into a folder that holds the run.

A run folder has `record.json` (what was done and what came out), `model.keras` (the weights that
were best on the validation part) and `checkpoints/`.
"""

import json
import math
import platform
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import keras
import numpy as np
from tqdm import tqdm

from . import records
from .augment import pad_crop_flip
from .cifar import allow_depth
from .datasets.base import check_count
from .inspection import count_parameters
from .recipes import EXAMPLE

BEST = Path("checkpoints", "best.keras")
HISTORY = Path("checkpoints", "history.csv")


def train(
    model,
    data,
    recipe=EXAMPLE,
    *,
    out=None,
    epochs=None,
    batch_size=None,
    seed=0,
    progress=True,
    notes=None,
):
    """Train a copy of `model` on `data` as `recipe` says.

    Args:
        model: a Keras model that takes images as `data` has them, scaled to 0-1 and with their mean
            subtracted, and puts out a softmax. It stays as it is.
        data: `resnet_lib.datasets.Dataset`.
        recipe: `resnet_lib.recipes.Recipe`.
        out: folder for the run; it must not exist. None: nothing is kept on disk.
        epochs: stop after so many epochs of the recipe; its schedule stays as it is.
        batch_size: images in a batch in place of the recipe's.
        seed: int that decides the order of the images and the augmentation. Layers that draw for
            themselves, such as Dropout, follow `keras.utils.set_random_seed`.
        progress: in a terminal, a bar with the time left; elsewhere a line an epoch. False: none.
        notes: dict that goes into the record as it is, such as {"form": "standard"}.

    Returns:
        `resnet_lib.records.Run`. Its model takes images of 0-255 and holds the weights with the
        best validation accuracy.

    Raises:
        FileExistsError: if `out` exists.
        ValueError: if the number of epochs or the batch size is below 1, or model and images do
            not fit.
        TypeError: if `notes` holds what JSON cannot.

    A run that is stopped leaves its best weights so far in checkpoints/best.keras and the numbers
    of each finished epoch in checkpoints/history.csv.
    """
    # What can be refused is refused here, before a folder is made and before the first step.
    settings = {
        "epochs": check_count("epochs", recipe.epochs if epochs is None else epochs),
        "batch_size": check_count(
            "batch_size", recipe.batch_size if batch_size is None else batch_size
        ),
        "seed": check_count("seed", seed, least=0),
    }
    _check_fit(model, data)
    record = _describe(model, data, recipe, **settings) | {"notes": notes or {}}
    json.dumps(record)
    trained = with_preprocessing(model, data.train.images, pixel_mean=recipe.pixel_mean)
    trained.compile(
        optimizer=recipe.optimizer, loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "run" if out is None else Path(out).expanduser()
        _make_run_folder(folder)
        try:
            record["history"] = _fit(trained, data, recipe, settings, folder, progress)
            record["results"] = _evaluate(trained, folder / BEST, data, record["history"])
            record["finished"] = _now()
            trained.save(folder / records.MODEL)
            records.save(record, folder)
        except BaseException as error:
            error.add_note(
                f"{folder} holds what there was: {BEST} and {HISTORY}, as far as it came"
            )
            raise
    return records.Run(record, None if out is None else folder, trained)


def _fit(model, data, recipe, settings, folder, progress):
    recorder = _Recorder()
    best = str(folder / BEST).replace("{", "{{").replace("}", "}}")  # Keras formats the path.
    callbacks = [
        keras.callbacks.ModelCheckpoint(best, monitor="val_accuracy", save_best_only=True),
        keras.callbacks.LearningRateScheduler(recipe.learning_rate),
        keras.callbacks.CSVLogger(folder / HISTORY),
        recorder,
    ]
    if recipe.reduce_on_plateau:  # The scheduler sets the rate anew and so has the last word.
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                factor=math.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6
            )
        )
    if progress:
        callbacks.append(_Bar() if sys.stderr is not None and sys.stderr.isatty() else _Lines())
    model.fit(
        Batches(data.train, settings["batch_size"], seed=settings["seed"], augment=recipe.augment),
        epochs=settings["epochs"],
        validation_data=(data.validation.images, data.validation.labels),
        validation_batch_size=256,
        callbacks=callbacks,
        shuffle=False,  # Batches shuffles images; Keras would only shuffle batches.
        verbose=0,
    )
    return recorder.history


def with_preprocessing(model, images, *, pixel_mean=True):
    """Return a copy of `model` that takes images of 0-255 and scales them itself.

    Args:
        model: a Keras model of float images.
        images: uint8 array (n, height, width, channels), the training images.
        pixel_mean: whether to subtract the mean training image.

    Returns:
        `keras.Model`, (batch, height, width, channels) in 0-255 -> what `model` puts out.
    """
    allow_depth(len(model.layers) // 4)
    inputs = keras.Input(images.shape[1:], name="pixels")
    x = keras.layers.Rescaling(1 / 255, name="scale")(inputs)
    if pixel_mean:
        mean = _mean_image(images)
        subtract = keras.layers.Normalization(
            axis=(1, 2, 3), mean=mean, variance=np.ones_like(mean), name="subtract_mean"
        )
        x = subtract(x)
    # `call` runs the layers one by one, so that the result is flat; a model called as a layer would
    # be nested. It leaves traces in the layers, hence a clone before it and another after it.
    outputs = keras.models.clone_model(model).call(x)
    flat = keras.models.clone_model(keras.Model(inputs, outputs, name=model.name))
    flat.set_weights(model.get_weights())
    for layer in flat.layers:  # An adapted layer computes from its weights once, when told so.
        if isinstance(layer, keras.layers.Normalization) and layer.input_mean is None:
            layer.finalize_state()
    return flat


def _mean_image(images):
    """Mean over the images, in 0-1, summed in whole numbers: no second copy as floats."""
    return (images.sum(axis=0, dtype=np.int64) / (255 * len(images))).astype("float32")


class Batches(keras.utils.PyDataset):
    """Shuffled, augmented batches of a Split, the same for the same seed.

    Args:
        split: `resnet_lib.datasets.Split`.
        batch_size: images in a batch; the last one may be smaller.
        seed: int; the order depends on (seed, epoch), the augmentation on the image as well.
        augment: whether to pad, crop and flip.
    """

    def __init__(self, split, batch_size, *, seed=0, augment=True):
        super().__init__()
        self.split, self.batch_size, self.seed, self.augment = split, batch_size, seed, augment
        self.start_epoch(0)

    def __len__(self):
        return math.ceil(len(self.split) / self.batch_size)

    def __getitem__(self, batch):
        """Return the images and labels of one batch."""
        index = self.order[batch * self.batch_size : (batch + 1) * self.batch_size]
        images, labels = self.split.images[index], self.split.labels[index]
        if self.augment:
            images = pad_crop_flip(images, index, epoch=self.epoch, seed=self.seed)
        return images, labels

    def start_epoch(self, epoch):
        """Draw the order of the images for an epoch, counted from 0."""
        self.epoch = epoch
        self.order = np.random.default_rng([self.seed, epoch]).permutation(len(self.split))

    def on_epoch_end(self):
        """Go on to the next epoch; Keras calls this."""
        self.start_epoch(self.epoch + 1)


def _evaluate(model, best, data, history):
    """Test accuracy after the last epoch and with the best weights, which stay in the model."""
    last = _accuracy(model, data.test)
    model.load_weights(best)
    return {
        "test_accuracy_last": last,
        "test_accuracy_best": _accuracy(model, data.test),
        "best_epoch": int(np.argmax(history["val_accuracy"])) + 1,
        "chosen_on": "validation",
    }


def _accuracy(model, split):
    return float(model.evaluate(split.images, split.labels, batch_size=256, verbose=0)[1])


class _Recorder(keras.callbacks.Callback):
    """Keeps one number an epoch for each metric, the rate that was in force and the seconds."""

    def on_train_begin(self, logs=None):
        self.history = {"loss": [], "accuracy": [], "val_loss": [], "val_accuracy": []}
        self.history |= {"learning_rate": [], "seconds": []}

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        numbers = {name: float(logs[name]) for name in self.history if name in logs}
        numbers["learning_rate"] = float(self.model.optimizer.learning_rate)
        numbers["seconds"] = time.perf_counter() - self.started
        for name, value in numbers.items():
            self.history[name].append(value)


class _Bar(keras.callbacks.Callback):
    """One bar over all steps of all epochs, with the time left."""

    def on_train_begin(self, logs=None):
        steps = self.params["epochs"] * self.params["steps"]
        self.bar = tqdm(total=steps, unit="step", dynamic_ncols=True)

    def on_epoch_begin(self, epoch, logs=None):
        self.bar.set_description(f"epoch {epoch + 1}/{self.params['epochs']}")

    def on_train_batch_end(self, batch, logs=None):
        self.bar.update()
        if batch % 20 == 0:
            self.bar.set_postfix_str(f"loss {float(logs['loss']):.3f}", refresh=False)

    def on_epoch_end(self, epoch, logs=None):
        self.bar.write(_line(epoch, self.params["epochs"], logs))

    def on_train_end(self, logs=None):
        self.bar.close()


class _Lines(keras.callbacks.Callback):
    """A line an epoch, without times, so that two runs can be compared."""

    def on_epoch_end(self, epoch, logs=None):
        print(_line(epoch, self.params["epochs"], logs), flush=True)


def _line(epoch, epochs, logs):
    return (
        f"epoch {epoch + 1}/{epochs}: loss {logs['loss']:.3f}, accuracy {logs['accuracy']:.3f}, "
        f"validation loss {logs['val_loss']:.3f}, accuracy {logs['val_accuracy']:.3f}"
    )


def _describe(model, data, recipe, **settings):
    count = count_parameters(model)
    return {
        "model": {
            "id": model.name.lower(),
            "name": model.name,
            "trainable_parameters": count.trainable,
            "total_parameters": count.total,
        },
        "recipe": recipe.as_dict(),
        **settings,
        "dataset": {
            "source": data.source,
            "sha256": data.sha256,
            "sizes": [len(data.train), len(data.validation), len(data.test)],
            "image_shape": list(data.train.images.shape[1:]),
            "classes": list(data.class_names),
        },
        "environment": {
            "python": platform.python_version(),
            "machine": platform.machine(),
            "keras_backend": keras.backend.backend(),
            "backend_version": import_module(keras.backend.backend()).__version__,
            **{name: version(name) for name in ("keras", "numpy", "resnet-lib")},
        },
        "started": _now(),
    }


def _now():
    return datetime.now(UTC).isoformat(timespec="seconds")


def _make_run_folder(folder):
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise FileExistsError(
            f"{folder} exists. Nothing is overwritten: name a new folder, or remove this one."
        ) from None
    (folder / "checkpoints").mkdir()


def _check_fit(model, data):
    images, classes = data.image_shape, data.num_classes
    expected = f"Expected a model for images of {images} and {classes} classes"
    try:
        (_, *wanted), (_, given_classes) = model.input_shape, model.output_shape
    except (AttributeError, TypeError, ValueError):
        raise ValueError(
            f"{expected}, with one input and one output. Received: {model!r}"
        ) from None
    fits = len(wanted) == len(images) and all(
        side in (None, given) for side, given in zip(wanted, images, strict=True)
    )
    if not fits or given_classes != classes:
        raise ValueError(
            f"{expected}. Received: {model.name} for images of {tuple(wanted)} and "
            f"{given_classes} classes."
        )
    if taken := {"pixels", "scale", "subtract_mean"} & {layer.name for layer in model.layers}:
        raise ValueError(
            "Expected a model without preprocessing of its own, which `train` adds. "
            f"Received: {model.name} with layers named {', '.join(sorted(taken))}"
        )

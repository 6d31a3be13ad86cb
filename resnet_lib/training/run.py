"""Train a network: a copy of it, with a recipe, into a folder that holds the run.

A run folder has `record.json` (what was done and what came out), `model.keras` (the weights that
were best on the validation part) and `checkpoints/` (what a resumed run goes on from).
"""

import fcntl
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .. import checks, records
from ..datasets.base import Dataset
from ..inspection import count_parameters
from ..recipes import EXAMPLE, Recipe
from . import callbacks as ours
from .fit import BACKUP, BEST, PROGRESS, Job, check_tensorboard, now
from .machine import best_execution, environment, make_deterministic
from .network import LAYERS


def train(
    model,
    data,
    recipe=EXAMPLE,
    *,
    out=None,
    resume=False,
    epochs=None,
    batch_size=None,
    seed=0,
    deterministic=False,
    execution=None,
    progress=True,
    tensorboard=False,
    callbacks=(),
    notes=None,
):
    """Train a copy of `model` on `data` as `recipe` says.

    Args:
        model: a Keras model that takes images as `data` has them, scaled to 0-1 and normalized as
            the recipe says, and puts out a softmax. It stays as it is.
        data: `resnet_lib.datasets.Dataset`.
        recipe: `resnet_lib.recipes.Recipe`.
        out: folder for the run; it must not exist, or `resume` must be set. None: nothing is kept
            on disk.
        resume: go on with the run in `out` after its last finished epoch; start it where there is
            none. All else must be as it was then, except `epochs`.
        epochs: stop after so many epochs of the recipe; its schedule stays as it is. The whole
            recipe in fewer epochs is `dataclasses.replace(recipe, epochs=…)`.
        batch_size: images in a batch in place of the recipe's.
        seed: int that decides the order of the images, the augmentation, and what layers such as
            Dropout draw.
        deterministic: two runs on one machine have the same bits, at some cost. For the whole
            process, and not to be undone in it.
        execution: `resnet_lib.execution.Execution`; None: what suits this machine.
        progress: in a notebook, a figure that grows; in a terminal, a bar with the time left;
            elsewhere a line an epoch. False: none.
        tensorboard: whether TensorBoard's files are written into the run folder as well.
        callbacks: further Keras callbacks. Each size of `recipe.sizes` is a `fit` of its own, at
            whose beginning callbacks such as EarlyStopping count anew.
        notes: dict that goes into the record as it is, such as {"form": "standard"}.

    Returns:
        `resnet_lib.records.Run`. Its model takes images of 0-255 and holds the weights with the
        best validation accuracy. A run that was interrupted (Ctrl-C, a notebook's stop button)
        returns as well, with what was learnt so far, and its record says under "stopped" where.
        So does a run that a callback ends, and, with a warning, one whose loss is not a number any
        more. A validation loss that is not a number is None in the record.

    Raises:
        FileExistsError: if `out` exists, or is to be resumed and is no run's folder.
        BlockingIOError: if another process trains in `out`.
        ValueError: if a number is out of range, model and images do not fit, or a run to be
            resumed was started in another way.
        TypeError: if `notes` holds what JSON cannot.
        FloatingPointError: if the loss is not a number in the first epoch: nothing was learnt.
        MemoryError: if the device's memory does not suffice, with the batch size to try.
        OSError: if the disk is full; the last finished epoch stays, to be resumed.
    """
    # What can be refused is refused here, before a folder is made and before the first step.
    if not isinstance(recipe, Recipe):
        raise ValueError(f"recipe: expected one such as recipes.ONE_CYCLE, received {recipe!r}")
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size)
    epochs = _checked_epochs(epochs, recipe)
    seed = checks.count("seed", seed, least=0)
    if not isinstance(data, Dataset):
        raise ValueError(f"data: expected a resnet_lib.datasets.Dataset, received {data!r:.80}")
    _check_fit(model, data)
    callbacks = list(callbacks)
    if tensorboard:
        check_tensorboard(out)
    execution = execution or best_execution(data.train.images.nbytes)
    if deterministic:
        make_deterministic()
    record = _describe(model, data, recipe, execution) | {
        "epochs": epochs,
        "batch_size": recipe.batch_size,
        "seed": seed,
        "deterministic": deterministic,
        "notes": notes or {},
        "history": {name: [] for name in ours.Recorder.NAMES},
    }
    json.dumps(record, allow_nan=False)
    job = Job(model, data, recipe, execution)
    with _run_folder(out, resume) as folder:
        if resume:
            record = _resumed(record, folder)
            if "results" in record:  # It has come as far as is asked for.
                run = records.Run(record, folder)
                run.model = run.load_model()
                return run
        try:
            job.fit(record, folder, callbacks, progress=progress, tensorboard=tensorboard)
            job.finish()
        except BaseException as error:
            if out is not None and ours.newest_backup(folder / BACKUP)[1]:
                error.add_note(f"{folder} holds what there was, as far as it came: resume goes on.")
            raise
    return records.Run(record, None if out is None else folder, job.final)


def _checked_epochs(epochs, recipe):
    if epochs is None:
        return recipe.epochs
    try:
        return checks.count("epochs", epochs, most=recipe.epochs)
    except ValueError as error:
        error.add_note(
            "A recipe is stretched or shortened by dataclasses.replace(recipe, epochs=…)."
        )
        raise


def _describe(model, data, recipe, execution):
    count = count_parameters(model)
    return {
        "model": {
            "id": model.name.lower(),
            "name": model.name,
            "trainable_parameters": count.trainable,
            "total_parameters": count.total,
        },
        "recipe": recipe.as_dict(),
        "dataset": {
            "source": data.source,
            "sha256": data.sha256,
            "sizes": [len(data.train), len(data.validation), len(data.test)],
            "image_shape": list(data.train.images.shape[1:]),
            "classes": list(data.class_names),
        },
        "execution": execution.as_dict(),
        "environment": environment(),
        "started": now(),
    }


@contextmanager
def _run_folder(out, resume):
    """Make the run's folder, or take the one that is there; without `out`, for a while only."""
    if out is None:
        if resume:
            raise ValueError("resume: expected the run's folder as `out`. Received: out=None")
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / BEST.parent).mkdir()
            yield Path(scratch)
        return
    folder = Path(out).expanduser()
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        if not resume:
            raise FileExistsError(
                f"{folder} exists. Nothing is overwritten: name a new folder, remove this one, or "
                "go on with the run in it by resume=True (--resume)."
            ) from None
        if not _is_run(folder):
            raise FileExistsError(f"{folder} is not a run's folder. It stays as it is.") from None
    (folder / BEST.parent).mkdir(exist_ok=True)
    with _alone(folder):
        yield folder


def _is_run(folder):
    """Say whether a folder is a run's, or without files: a `checkpoints/` alone does not tell."""
    if not folder.is_dir():
        return False
    return (folder / PROGRESS).is_file() or not any(path.is_file() for path in folder.rglob("*"))


@contextmanager
def _alone(folder):
    """Keep other processes out of a run's folder; the lock ends with the process."""
    place = os.open(folder / BEST.parent, os.O_RDONLY)
    try:
        _lock(place, folder)
        yield
    finally:
        os.close(place)


def _lock(place, folder):
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise BlockingIOError(f"Another process trains in {folder}. It stays as it is.") from None
    except OSError:
        pass  # There are file systems without locks.


# What may differ between a run and its continuation: the rest decides what is computed.
_MAY_DIFFER = {"epochs", "environment", "started", "notes", "history", "execution"}


def _resumed(record, folder):
    """Return the record to go on with: what was recorded before, up to the last whole backup."""
    path = folder / PROGRESS
    if not path.is_file():
        return record
    before = records.load(path).record
    if not before.get("history", {}).get("loss"):
        return record  # There is nothing to go on with.
    wanted = json.loads(json.dumps(record))
    differs = [key for key in wanted if key not in _MAY_DIFFER and before.get(key) != wanted[key]]
    if differs:
        told = "; ".join(f"{key}: then {before.get(key)}, now {wanted[key]}" for key in differs)
        raise ValueError(f"Expected what the run in {folder} was started with. Received {told}")
    if _is_finished(folder, record["epochs"]):
        return records.load(folder).record
    finished, _ = ours.newest_backup(folder / BACKUP)
    history = {name: values[:finished] for name, values in before["history"].items()}
    resumed = [*before.get("resumed", []), {"epoch": finished, "at": record["started"]}]
    epochs = max(finished, record["epochs"])
    return record | {
        "epochs": epochs,
        "history": history,
        "started": before["started"],
        "resumed": resumed,
    }


def _is_finished(folder, epochs):
    """Say whether the run in a folder ended by itself, after at least so many epochs."""
    if not (folder / records.RECORD).is_file():
        return False
    record = records.load(folder).record
    return "stopped" not in record and len(record["history"]["loss"]) >= epochs


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
    last = model.layers[-1]
    if getattr(getattr(last, "activation", None), "__name__", "") == "linear":
        raise ValueError(
            f"{expected} that puts out probabilities: activation='softmax'. "
            f"Received: {model.name}, whose last layer, {last.name}, has the activation 'linear'"
        )
    if taken := set(LAYERS) & {layer.name for layer in model.layers}:
        raise ValueError(
            "Expected a model without preprocessing of its own, which `train` adds. "
            f"Received: {model.name} with layers named {', '.join(sorted(taken))}"
        )

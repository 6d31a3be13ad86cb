"""Train a network: a copy of it, with a recipe, into a folder that holds the run.

A run folder has `record.json` (what was done and what came out), `model.keras` (the weights that
were best on the validation part) and `checkpoints/` (what a resumed run goes on from).
"""

import fcntl
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from .. import checks, records
from ..datasets.base import Dataset
from ..inspection import count_parameters
from ..recipes import ONE_CYCLE, Recipe
from . import callbacks as ours
from . import devices as spreading
from . import hosts
from .architecture import architecture
from .classes import class_weights, nothing_learnt
from .fit import BACKUP, BEST, PROGRESS, Job, check_tensorboard, now
from .machine import Execution, best_execution, environment, make_deterministic
from .network import check_model, float32, whitenable

GO_ON = "Go on from there with resume=True (--resume)."


@float32()
def train(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe = ONE_CYCLE,
    *,
    out: Path | str | None = None,
    resume: bool = False,
    epochs: int | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    deterministic: bool = False,
    execution: Execution | None = None,
    devices: int | str | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    class_weight: str | Mapping | None = None,
    base: dict[str, Any] | None = None,
    notes: dict[str, Any] | None = None,
) -> records.Run:
    """Train a copy of `model`. `model` itself stays untrained: the trained network is `run.model`.

    >>> run = rl.train(rl.resnet_v1((32, 32, 3), 20, form="standard"), rl.datasets.cifar10())
    >>> print(run)
    >>> run.model.predict(pictures)  # 0-255 in, probabilities out

    Args:
        model: a Keras model that takes images as `data` has them, scaled to 0-1 and normalized as
            the recipe says, and returns a softmax. It stays as it is. What is frozen in it, layers
            or models with trainable=False, stays frozen: weights, and the statistics of batch
            normalisation, are the same to the bit in the end. One that takes 0-255, and has its
            preprocessing inside, goes with a recipe of normalize="inside".
        data: `resnet_lib.datasets.Dataset`.
        recipe: `resnet_lib.recipes.Recipe`; 15 epochs of `recipes.ONE_CYCLE` by default.
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
        execution: `resnet_lib.training.Execution`; None: what suits this machine.
        devices: how many of this machine's devices share each batch, or "all", those of all hosts
            that were joined (`resnet_lib.training.join_hosts`). What is computed is the same: batch
            size and learning rate stay the recipe's, and batch normalisation's statistics are those
            of the whole batch. None: as `execution` says, else one.
        progress: in a notebook, a figure that grows; in a terminal, a bar with the time left;
            elsewhere a line an epoch; in the end a warning, if nothing was learnt that shows.
            False: none of these.
        tensorboard: whether TensorBoard's files are written into the run folder as well.
        callbacks: further Keras callbacks. What they change at an epoch's end is part of the run
            and of what it is resumed from. Each size of `recipe.sizes` is a `fit` of its own, at
            whose beginning callbacks such as EarlyStopping count anew. The recipe sets the
            learning rate: a callback whose rate it would overwrite is refused.
        class_weight: what a picture of each class counts in the loss: "balanced", in inverse
            proportion to how many training pictures the class has; or a dict, a class's name or
            number -> weight, others have 1. The losses in the record, the validation's too, are
            then weighted so; accuracies are not. None: all count alike.
        base: what `model` has learnt before, as `resnet_lib.finetune` describes it: a dict, which
            goes into the record and must be the same where the run is resumed.
        notes: dict that goes into the record as it is, such as {"form": "standard"}.

    Returns:
        `resnet_lib.records.Run`. Its model takes images of 0-255 and holds the weights with the
        best validation accuracy, and of equals those with the lowest loss. A run that was
        interrupted (Ctrl-C, a notebook's stop button, SIGTERM) returns as well, with what was
        learnt so far, and its record says under "stopped" where. So does a run that a callback
        ends, and, with a warning, one whose loss is not a
        number any more. A validation loss that is not a number is None in the record.

    Raises:
        FileExistsError: if `out` exists, or is to be resumed and is no run's folder.
        BlockingIOError: if another process trains in `out`.
        ValueError: if a number is out of range, model and images do not fit, a callback would have
            no effect, a run to be resumed was started in another way, or its record is damaged.
        TypeError: if `callbacks` holds anything but Keras callbacks, or `notes` what JSON cannot;
            ValueError for a number of the notes that JSON does not have, such as nan.
        FloatingPointError: if the loss is not a number in the first epoch: nothing was learnt.
        KeyboardInterrupt: if it is interrupted before the first step; on the command line, by
            SIGTERM at any step.
        ConnectionError: if another of several processes is gone.
        MemoryError: if the device's memory does not suffice, with the batch size to try.
        OSError: if the disk is full; the last finished epoch stays, to be resumed. If a file to
            go on from is damaged, and there is none before it.
    """
    # What can be refused is refused here, before a folder is made and before the first step.
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"Expected `recipe` to be a Recipe, such as recipes.ONE_CYCLE. Received: {recipe!r}"
        )
    if batch_size is not None:
        recipe = replace(recipe, batch_size=batch_size)
    epochs = _checked_epochs(epochs, recipe)
    seed = checks.count("seed", seed, least=0)
    if not isinstance(data, Dataset):
        raise ValueError(
            f"Expected `data` to be a resnet_lib.datasets.Dataset. Received: {data!r:.80}"
        )
    weights = class_weights(class_weight, data)
    check_model(model, data, recipe)
    callbacks = _checked_callbacks(callbacks, recipe)
    out = None if out is None else checks.path("out", out)
    if tensorboard:
        check_tensorboard(out)
    execution = _checked_execution(execution, devices, data, recipe)
    if deterministic:
        make_deterministic()
    record = _describe(model, data, recipe, execution) | {
        "epochs": epochs,
        "batch_size": recipe.batch_size,
        "seed": seed,
        "deterministic": deterministic,
        "class_weight": weights and dict(zip(data.class_names, weights, strict=True)),
        "base": base,
        "notes": notes or {},
        "history": {name: [] for name in ours.Recorder.NAMES},
    }
    _check_notes(record)
    for what in _ALIKE:
        hosts.agree(what, record[what])
    job = Job(model, data, recipe, execution, weights)
    with ExitStack() as stack:
        place, record = hosts.first_only(lambda: _begun(stack, out, resume, record))
        kept = None if out is None else Path(place)
        if "results" in record:  # It has come as far as is asked for.
            return _finished(record, kept, job)
        folder = Path(place if hosts.is_first() else stack.enter_context(_run_folder(None, False)))
        try:
            job.fit(
                record,
                folder,
                callbacks,
                progress=progress and hosts.is_first(),
                tensorboard=tensorboard,
            )
            job.finish()
        except BaseException as error:
            if told := hosts.lost(error):
                raise hosts.LostError(told) from error
            if out is not None and ours.backups(folder / BACKUP):
                error.add_note(f"{kept} holds what was learnt before. {GO_ON}")
            raise
    asked = record.get("stopped", "").startswith(("by hand", "by SIGTERM"))
    if kept is not None and asked and hosts.is_first():
        print(f"{kept} holds what was learnt. {GO_ON}", file=sys.stderr)
    if progress:
        _warn_of_nothing(record)
    return records.Run(record, kept, job.final)


def _warn_of_nothing(record):
    """Say where a whole run, one that was not ended before, has learnt nothing."""
    whole = "stopped" not in record and len(record["history"]["loss"]) == record["recipe"]["epochs"]
    if whole and hosts.is_first():
        told = nothing_learnt(record, tuned=record["base"] is not None)
        if told:
            checks.warn(told)


def _begun(stack, out, resume, record):
    """Return the run's folder, which stays locked as long as the stack, and its record as it is."""
    folder = stack.enter_context(_run_folder(out, resume))
    return str(folder), _resumed(record, folder) if resume else record


def _finished(record, folder, job):
    """Return a run that has ended before, on all processes with its model."""
    run = records.Run(record, folder)
    if hosts.processes() == 1:
        run.model = run.load_model()
        return run
    hosts.first_only(lambda: job.final.set_weights(run.load_model().get_weights()))
    job.final.set_weights(hosts.share_arrays(job.final.get_weights()))
    return records.Run(record, folder, job.final)


def _checked_execution(execution, devices, data, recipe):
    """Return how steps are run, on how many devices; refuse what these cannot do."""
    hosts.check_joined()
    if devices is None and execution is not None:
        devices = execution.devices
    devices = spreading.checked(devices, hosts.processes())
    if execution is None:
        execution = best_execution(data.train.images.nbytes, devices)
    spreading.check_batches(recipe, data, devices)
    return replace(execution, devices=devices)


def _check_notes(record):
    try:
        json.dumps(record, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"Expected `notes` to hold what JSON can. Received: {record['notes']!r} ({error})"
        ) from None


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


def _checked_callbacks(callbacks, recipe):
    """Return callbacks as a list; refuse what is none, and what the recipe would overwrite."""
    expected = "Expected `callbacks` to be an iterable of Keras callbacks"
    try:
        found = list(callbacks)
    except TypeError:
        raise TypeError(f"{expected}. Received: {callbacks!r}") from None
    kinds = (keras.callbacks.ReduceLROnPlateau,)
    sets, instead = "epoch", "a LearningRateScheduler can set the rate of each epoch"
    if recipe.by_step:
        kinds += (keras.callbacks.LearningRateScheduler,)
        sets, instead = "step", "change `schedule`, `peak`, `warmup` or `anneal` of the recipe"
    for callback in found:
        if not isinstance(callback, keras.callbacks.Callback):
            raise TypeError(f"{expected}. Received: {callback!r} among them")
        if isinstance(callback, kinds):
            raise ValueError(
                f"Expected `callbacks` without any that the recipe {recipe.name!r} would leave "
                f"without effect, for it sets the learning rate anew before each {sets}. "
                f"Received: {type(callback).__name__}; in its place, {instead}"
            )
    return found


def _describe(model, data, recipe, execution):
    count = count_parameters(model)
    frozen = whitenable(model).count_params() if recipe.whiten else 0
    return {
        "model": {
            "id": model.name.lower(),
            "name": model.name,
            "architecture": architecture(model),
            "trainable_parameters": count.trainable - frozen,
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
            raise ValueError("Expected the run's folder as `out`, to resume it. Received: out=None")
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / BEST.parent).mkdir()
            yield Path(scratch)
        return
    folder = out
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
    """Say whether a folder is a run's, or without files: a `checkpoints/` alone does not tell.

    A run that was cut while it wrote its first record has left a part of it, and nothing else.
    """
    if not folder.is_dir():
        return False
    part = folder / PROGRESS.with_suffix(".part")
    if (folder / PROGRESS).is_file():
        return True
    files = [path for path in folder.rglob("*") if not path.is_dir()]
    return not files or (files == [part] and records.is_part(part))


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


# What all processes must have alike.
_ALIKE = ("model", "recipe", "dataset", "execution", "epochs", "seed", "deterministic")
_ALIKE += ("class_weight", "base")

# What may differ between a run and its continuation: the rest decides what is computed.
_MAY_DIFFER = {"epochs", "environment", "started", "notes", "history", "execution"}


def _resumed(record, folder):
    """Return the record to go on with: what was recorded before, up to the last whole backup."""
    path = folder / PROGRESS
    if not path.is_file():
        return record
    before = records.load(path).record
    if not before["history"]["loss"]:
        return record  # There is nothing to go on with.
    _check_same(before, json.loads(json.dumps(record)), folder)
    if _is_finished(folder, record["epochs"]):
        return records.load(folder).record
    finished, kept = _last_whole(before, folder)
    return record | {
        "epochs": max(finished, record["epochs"]),
        "history": {name: values[:finished] for name, values in before["history"].items()},
        "checkpoints": kept,
        "started": before["started"],
        "resumed": [*before.get("resumed", []), {"epoch": finished, "at": record["started"]}],
    }


def _check_same(before, record, folder):
    """Refuse to go on with a run that was started in another way, and say what differs."""
    try:
        # A record of before says nothing of what came later, and means none of it.
        before = {"class_weight": None, "base": None} | before
        before = before | {"recipe": Recipe.from_dict(before["recipe"]).as_dict()}
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected the run in {folder} to have a recipe that this version knows. "
            f"Received: {before['recipe']}"
        ) from error
    wanted = {name: value for name, value in record.items() if name not in _MAY_DIFFER}
    told = [f"{name}: then {then}, now {now}" for name, then, now in _differences(before, wanted)]
    if not told:
        return
    if any(each.startswith("model.architecture: ") for each in told):
        told.append("the network's layers, their settings or their connections are others")
        notes = _differences(before.get("notes", {}), record["notes"], "notes")
        notes = [note for note in notes if note[0] != "notes.command"]  # It always differs.
        told += [f"{name}: then {then}, now {now}" for name, then, now in notes]
        versions = [each.get("environment", {}).get("keras") for each in (before, record)]
        if versions[0] != versions[1]:
            told.append("or Keras {1} describes them otherwise than Keras {0}".format(*versions))
    raise ValueError(
        f"Expected what the run in {folder} was started with. Received: {'; '.join(told)}"
    )


def _differences(then, now, name=""):
    """Yield the fields in which two records differ, with both values; an older one lacks some."""
    if isinstance(then, dict) and isinstance(now, dict):
        for key in now:
            if key in then:
                yield from _differences(then[key], now[key], f"{name}.{key}" if name else key)
    elif then != now:
        yield name, then, now


def _last_whole(before, folder):
    """Return from which epoch's end a run can go on, and what is kept of then; 0: from the start.

    A backup counts with the best model of its epoch, both as they were written.
    """
    history, kept, bad = before["history"], before.get("checkpoints"), None
    for epochs, path in ours.backups(folder / BACKUP):
        if not 0 < epochs <= len(history["loss"]):
            continue  # It is none of this run's.
        if kept is None:  # Version 0.1.0 did not say what it had written, and took the first best.
            accuracies = history["val_accuracy"][:epochs]
            best = accuracies.index(max(accuracies)) + 1
            kept = _kept_before(epochs, path, best, folder / BEST)
        best = max((epoch for epoch, _ in kept["best"] if epoch <= epochs), default=None)
        if dict(kept["last_epoch"]).get(epochs) != ours.sha256(path.read_bytes()):
            bad = bad or path
        elif not ours.find_best(folder / BEST, dict(kept["best"]).get(best)):
            bad = bad or folder / BEST
        else:
            if bad is not None:
                checks.warn(f"{bad} is damaged or gone: the run goes on after epoch {epochs}.")
            upto = {name: [each for each in kept[name] if each[0] <= epochs] for name in kept}
            return epochs, upto
    if bad is not None:
        raise ours.damaged(bad, folder / BACKUP)
    return 0, {"best": [], "last_epoch": []}


def _kept_before(epochs, path, best, best_path):
    kept = [[best, ours.sha256(best_path.read_bytes())]] if records.is_whole(best_path) else []
    return {"best": kept, "last_epoch": [[epochs, ours.sha256(path.read_bytes())]]}


def _is_finished(folder, epochs):
    """Say whether the run in a folder ended by itself, after at least so many epochs."""
    if not (folder / records.RECORD).is_file():
        return False
    record = records.load(folder).record
    return "stopped" not in record and len(record["history"]["loss"]) >= epochs

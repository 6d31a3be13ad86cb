"""A run as JSON: written whole, checked when it is read, compared."""

import hashlib
import json
import os
import re
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import checks
from .paper import EXAMPLE_ACCURACY

RECORD = "record.json"
MODEL = "model.keras"
CHECKPOINTS = "checkpoints"
FORMAT = 1
RECORDED = Path(__file__).parent / "recorded"


@dataclass
class Run:
    """A training run: its record and, right after training, its model.

    Attributes:
        record: what record.json holds: "model", "recipe", "dataset", "history", "results", …
        folder: the run's folder, a Path; None if nothing was kept on disk.
        model: the trained `keras.Model`, images of 0-255 in, probabilities out; None in a run
            that was loaded (see `load_model`).
        model_file: name of the trained model's file in the folder.
    """

    record: dict
    folder: Path | None = None
    model: Any = None
    model_file: str = MODEL

    @property
    def history(self) -> dict[str, list]:
        """Lists of one number an epoch.

        loss, accuracy, val_loss, val_accuracy, learning_rate, seconds (on the clock) and
        cpu_seconds (of all cores together).
        """
        return self.record["history"]

    @property
    def best_accuracy(self) -> float:
        """The best validation accuracy, from 0 to 1; 0 before the first epoch."""
        return max(
            (value for value in self.history["val_accuracy"] if value is not None), default=0
        )

    @property
    def source(self) -> str:
        """Which images the results are for."""
        return self.record["dataset"]["source"]

    def load_model(self) -> Any:
        """Load the trained model from the run's folder: `keras.Model`.

        Raises:
            FileNotFoundError: if it is not there.
            ValueError: if the file is not as it was written.
        """
        import keras

        from .runtime import allow_depth

        if self.folder is None:
            raise FileNotFoundError(
                "Nothing was kept of this run, which was trained without `out`: use `run.model`."
            )
        path = Path(self.folder) / self.model_file
        mend = "put it back, or train again into a new folder"
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected the run's model, {self.model_file}, beside its record in {self.folder}. "
                f"Found no such file: {mend}."
            )
        if not is_whole(path):
            raise ValueError(
                "Expected the run's model as it was written. "
                f"Received: {path}, which is damaged: {mend}."
            )
        allow_depth()
        model = keras.saving.load_model(path)
        if keras.backend.backend() == "tensorflow":
            # Else Keras takes XLA on a GPU, which ends the process on cards newer than TensorFlow.
            model.jit_compile = False
        return model

    def __str__(self):
        parts = [f"{self.record['model']['name']} on {self.source}"]
        if "stopped" in self.record:
            parts.append(f"stopped: {self.record['stopped']}")
        if self.history["loss"]:
            loss, accuracy = (self.history[name][-1] for name in ("loss", "val_accuracy"))
            parts.append(
                f"epoch {len(self.history['loss'])}: loss {_text(loss, '.3f')}, "
                f"validation accuracy {_text(accuracy, '.1%')}"
            )
        results = self.record.get("results")
        if results is None:
            return "; ".join([*parts, "not finished"])
        if "test_accuracy_last" in results:
            parts.append(f"test accuracy {results['test_accuracy_last']:.1%}")
        best = results.get("best_epoch")
        kept = f"epoch {best}" if best else "the last weights"
        parts.append(f"kept: {kept}, test accuracy {results['test_accuracy_best']:.1%}")
        if "test_accuracy_flip" in results:
            parts.append(f"with mirror images {results['test_accuracy_flip']:.1%}")
        if "test_accuracy_views" in results:
            views = self.record["recipe"]["views"]
            parts.append(f"from {views} views {results['test_accuracy_views']:.1%}")
        return "; ".join(parts)


def _text(number, form):
    return _NONE if number is None else format(number, form)


def is_whole(path: Path) -> bool:
    """Say whether a .keras file is as it was written: its archive has a checksum of each part."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {"config.json", "metadata.json", "model.weights.h5"}
            return parts <= set(archive.namelist()) and archive.testzip() is None
    except Exception:  # Damage shows in many ways: BadZipFile, EOFError, NotImplementedError, …
        return False


def save(record: dict, folder: Path | str) -> Path:
    """Write record.json into a folder, whole or not at all.

    Args:
        record: dict that JSON can hold.
        folder: an existing folder.

    Returns:
        Path of the file.
    """
    path = Path(folder) / RECORD
    record = {"format": FORMAT, **record}
    text = json.dumps(record | {"sha256": _digest(record)}, indent=1, allow_nan=False)
    write(path, f"{text}\n".encode())
    return path


def is_part(path: Path) -> bool:
    """Say whether a file is the beginning of a record, however short."""
    begins, found = f'{{\n "format": {FORMAT},\n'.encode(), path.read_bytes()
    return found.startswith(begins) or begins.startswith(found)


def write(path: Path, content: bytes, before: Path | None = None) -> None:
    """Write a file, which gets its name once its content is on the disk: a cut leaves either.

    Args:
        path: the file.
        content: its content.
        before: where a file that has the name already goes; None: it is overwritten.
    """
    part = path.with_suffix(".part")
    with open(part, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if before is not None and path.is_file():
        os.replace(path, before)
    os.replace(part, path)


def load(folder: Path | str) -> Run:
    """Load a run that was trained before.

    Args:
        folder: the run's folder, or the JSON file with its record.

    Returns:
        Run, its model not loaded.

    Raises:
        FileNotFoundError: if there is no record.json: the run did not finish, or the folder is
            another.
        ValueError: if the file is not a record, is damaged, or of a format that this version does
            not know.
    """
    path = checks.path("folder", folder)
    if path.is_dir() or path.suffix != ".json":
        path = path / RECORD
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a finished run, with {path.name}, in {path.parent}. Found no such file: "
            "train first, or name the folder that was given as `out`."
        )
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = record["format"]
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError, KeyError, TypeError):
        raise _refused(path, "is none") from None
    if found != FORMAT:
        raise ValueError(
            f"Expected a record of format {FORMAT}. Received: {path} of format {found!r}; "
            "a newer resnet_lib can read it."
        )
    if record.pop("sha256", None) not in (None, _digest(record)):
        raise _refused(path, "is not as it was written")
    if fault := _fault(record):
        raise _refused(path, fault)
    model_file = MODEL if path.name == RECORD else path.with_suffix(Path(MODEL).suffix).name
    return Run(record, path.parent, model_file=model_file)


def _refused(path, why):
    return ValueError(
        f"Expected the record of a run. Received: {path}, which {why}: put it back as it was, or "
        "train again into a new folder."
    )


def _digest(record):
    """Return the SHA-256 of what a record says, however it is written."""
    told = json.loads(json.dumps(record))
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


_FIELDS = {
    "model.id": str,
    "model.name": str,
    "recipe.epochs": int,
    "dataset.source": str,
    "dataset.sizes": list,  # Of the training, the validation and the test part.
    "dataset.image_shape": list,
    "history.loss": list,
    "history.val_accuracy": list,
    "history.cpu_seconds": list,
}
_RESULTS = {"results.test_accuracy_best": float | int}


def _fault(record):
    """Return what is wrong with a record, or None where it can be shown, drawn and resumed."""
    wanted = _FIELDS | (_RESULTS if "results" in record else {})
    for place, kind in wanted.items():
        value = record
        for name in place.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        if not isinstance(value, kind):
            return f"has no `{place}`" if value is None else f"has {value!r} as `{place}`"
    if [type(size) for size in record["dataset"]["sizes"]] != [int] * 3:
        return f"has {record['dataset']['sizes']!r} as `dataset.sizes`"
    history = record["history"]
    for name, values in history.items():
        if not isinstance(values, list) or len(values) != len(history["loss"]):
            return f"has not as many epochs in `history.{name}` as in `history.loss`"
        if not all(_is_number_or_none(value) for value in values):
            return f"has something else than numbers in `history.{name}`"
    kept = record.get("checkpoints", {})
    if not isinstance(kept, dict) or not all(map(_are_digests, kept.values())):
        return f"has {kept!r} as `checkpoints`"
    for name, value in record.get("results", {}).items():
        if name.startswith("test_accuracy") and (value is None or not _is_number_or_none(value)):
            return f"has {value!r} as `results.{name}`"
    return None


def _are_digests(value):
    pairs = value if isinstance(value, list) else [None]
    return all(isinstance(pair, list) and [*map(type, pair)] == [int, str] for pair in pairs)


def _is_number_or_none(value):
    return isinstance(value, int | float | None) and not isinstance(value, bool)


def runs_in(path: Path | str) -> dict[str, Run]:
    """Find the runs that a path stands for.

    Args:
        path: a run's folder, the JSON file with its record, or a folder of runs, however deep in
            it. Of a run that did not finish, the record of how far it has come.

    Returns:
        dict, path as text -> Run, its model not loaded, sorted. What is not a run's record in a
        folder of runs is warned of and left out.

    Raises:
        FileNotFoundError: if there is nothing there, or no run in the folder.
        ValueError: if the file, or the folder's own record, is damaged or no record.
    """
    top = checks.path("path", path)
    if not top.is_dir() or (top / RECORD).is_file():
        return {str(top): load(top)}
    runs = {}
    for file in sorted(top.rglob(RECORD)):
        unfinished = file.parent.name == CHECKPOINTS
        folder = file.parent.parent if unfinished else file.parent
        if unfinished and (folder / RECORD).is_file():
            continue
        try:
            runs[str(folder)] = load(file)
        except ValueError as error:
            warnings.warn(str(error), stacklevel=2)
    if not runs:
        raise FileNotFoundError(
            f"Expected a run's folder, or a folder of runs. Received: {top}, without any "
            f"{RECORD} in it."
        )
    return runs


def recorded() -> dict[str, Run]:
    """Load the runs that come with the library; of some, the model comes as well (`zoo.names`).

    Returns:
        dict, name -> Run, sorted by name: "resnet50-signs-seed0", ….
    """
    return {path.stem: load(path) for path in sorted(RECORDED.glob("*.json"))}


def by_seed(name: str) -> list[dict]:
    """Load what a script in benchmarks/ has found by repeating a notebook's runs.

    Args:
        name: name of the script, such as "degradation".

    Returns:
        list of dict, one a run: what was trained and how, its "seed", and its results.
    """
    return json.loads((RECORDED / "seeds" / f"{name}.json").read_text(encoding="utf-8"))


def table(runs: dict[str, Run]) -> str:
    """Return a table of runs as text: what was trained on what, for how long, and how well.

    Beside each run stands what was published for a network of its name, in the publisher's own form
    and after about 200 epochs: see `published`.

    Args:
        runs: dict, name -> Run.

    Returns:
        str: a heading, then for each set of images a line and under it its runs. Accuracies are in
        %; "flip" is the test accuracy with mirror images. "60/200" epochs: the run was stopped
        after 60 of its recipe's 200. A dash: there is no such number.
    """
    lines = [_TABLE.format("run", *_COLUMNS)]
    for source in sorted({run.source for run in runs.values()}):
        lines.append(source)
        for name, run in runs.items():
            if run.source == source:
                lines.append(_TABLE.format(f"  {name}", *_numbers(run)))
    return "\n".join(line.rstrip() for line in lines)


_COLUMNS = ("epochs", "CPU min", "valid.", "test", "flip", "paper", "example")
_TABLE = "{:40}" + "{:>8}" * len(_COLUMNS)
_NONE = "–"


def _numbers(run):
    """Return what stands in a run's line of the table, as text."""
    done, planned = len(run.history["loss"]), run.record["recipe"]["epochs"]
    results = run.record.get("results", {})
    seconds = [each for each in run.history["cpu_seconds"] if each is not None]
    accuracies = [run.best_accuracy if done else None]
    accuracies += [results.get(f"test_accuracy_{kind}") for kind in ("best", "flip")]
    return (
        str(done) if done == planned else f"{done}/{planned}",
        f"{sum(seconds) / 60:.1f}",
        *(_NONE if accuracy is None else f"{accuracy:.1%}"[:-1] for accuracy in accuracies),
        *(_text(accuracy, ".2f") for accuracy in published(run)),
    )


def published(run: Run) -> tuple[float | None, float | None]:
    """Return the published test accuracies that a run can be held against.

    Args:
        run: Run.

    Returns:
        (the paper's, the Keras example's), in %, from `paper.EXAMPLE_ACCURACY`; None where there is
        none, and where the run's images are not CIFAR-10's, or smaller, or not all of them.
    """
    dataset = run.record["dataset"]
    whole = dataset["source"].startswith("CIFAR-10") and dataset["image_shape"] == [32, 32, 3]
    whole = whole and dataset["sizes"][0] >= 45_000
    match = re.fullmatch(r"resnet(\d+)(v[12])", run.record["model"]["id"])
    rows = {str(row.depth): row for row in EXAMPLE_ACCURACY.rows}
    if not whole or match is None or match[1] not in rows:
        return None, None
    row, kind = rows[match[1]], match[2]
    return getattr(row, f"{kind}_paper"), getattr(row, kind)

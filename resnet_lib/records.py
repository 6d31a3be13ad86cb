"""A finished run as JSON: written once, loaded, compared."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .paper import EXAMPLE_ACCURACY

RECORD = "record.json"
MODEL = "model.keras"
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
    model: object = None
    model_file: str = MODEL

    @property
    def history(self):
        """Lists of one number an epoch.

        loss, accuracy, val_loss, val_accuracy, learning_rate, seconds (on the clock) and
        cpu_seconds (of all cores together).
        """
        return self.record["history"]

    @property
    def best_accuracy(self):
        """The best validation accuracy, from 0 to 1; 0 before the first epoch."""
        return max(
            (value for value in self.history["val_accuracy"] if value is not None), default=0
        )

    @property
    def source(self):
        """Which images the results are for."""
        return self.record["dataset"]["source"]

    def load_model(self):
        """Load the trained model from the run's folder; FileNotFoundError if it is not there."""
        import keras

        from .runtime import allow_depth

        if self.folder is None:
            raise FileNotFoundError(
                "Nothing was kept of this run, which was trained without `out`: use `run.model`."
            )
        allow_depth()
        path = Path(self.folder) / self.model_file
        if not path.is_file():
            raise FileNotFoundError(
                f"Expected the run's model, {self.model_file}, beside its record in {self.folder}. "
                "Found no such file: put it back, or train again into a new folder."
            )
        return keras.saving.load_model(path)

    def __str__(self):
        last = {name: values[-1] for name, values in self.history.items() if values}
        results = self.record["results"]
        parts = [f"{self.record['model']['name']} on {self.source}"]
        if "stopped" in self.record:
            parts.append(f"stopped: {self.record['stopped']}")
        if last:
            parts.append(
                f"epoch {len(self.history['loss'])}: loss {last['loss']:.3f}, "
                f"validation accuracy {last['val_accuracy']:.1%}"
            )
        if "test_accuracy_last" in results:
            parts.append(f"test accuracy {results['test_accuracy_last']:.1%}")
        kept = f"epoch {results['best_epoch']}" if results["best_epoch"] else "the last weights"
        parts.append(f"kept: {kept}, test accuracy {results['test_accuracy_best']:.1%}")
        if "test_accuracy_flip" in results:
            parts.append(f"with mirror images {results['test_accuracy_flip']:.1%}")
        return "; ".join(parts)


def save(record, folder):
    """Write record.json into a folder, whole or not at all.

    Args:
        record: dict that JSON can hold.
        folder: an existing folder.

    Returns:
        Path of the file.
    """
    path = Path(folder) / RECORD
    partial = path.with_suffix(".part")
    text = json.dumps({"format": FORMAT, **record}, indent=1, allow_nan=False)
    partial.write_text(text + "\n", encoding="utf-8")
    settle(partial, path)
    return path


def settle(part, whole):
    """Give a file its name once its content is on the disk, so that a power cut leaves either."""
    with open(part, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(part, whole)


def load(folder):
    """Load a run that was trained before.

    Args:
        folder: the run's folder, or the JSON file with its record.

    Returns:
        Run, its model not loaded.

    Raises:
        FileNotFoundError: if there is no record.json: the run did not finish, or the folder is
            another.
        ValueError: if the file is not a record, or of a format this version does not know.
    """
    path = Path(folder)
    path = _existing(path if path.suffix == ".json" else path / RECORD)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        known = record["format"] == FORMAT
        whole = not known or {"model", "recipe", "dataset", "history"} <= record.keys()
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise ValueError(f"Expected the record of a run. Received: {path}, which is none.")
    if not known:
        raise ValueError(
            f"Expected a record of format {FORMAT}. Received: {path} of format {record['format']}; "
            "a newer resnet_lib can read it."
        )
    model_file = MODEL if path.name == RECORD else path.with_suffix(Path(MODEL).suffix).name
    return Run(record, path.parent, model_file=model_file)


def recorded():
    """Load the runs that come with the library; of some, the model comes as well (`zoo.names`).

    Returns:
        dict, name -> Run, sorted by name: "resnet50-signs-seed0", ….
    """
    return {path.stem: load(path) for path in sorted(RECORDED.glob("*.json"))}


def table(runs):
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


def _numbers(run):
    """Return what stands in a run's line of the table, as text."""
    done, planned = len(run.history["loss"]), run.record["recipe"]["epochs"]
    results = run.record["results"]
    accuracies = (run.best_accuracy, results["test_accuracy_best"])
    accuracies += (results.get("test_accuracy_flip"),)
    return (
        str(done) if done == planned else f"{done}/{planned}",
        f"{sum(run.history['cpu_seconds']) / 60:.1f}",
        *("–" if accuracy is None else f"{accuracy:.1%}"[:-1] for accuracy in accuracies),
        *("–" if accuracy is None else f"{accuracy:.2f}" for accuracy in published(run)),
    )


def published(run):
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


def _existing(path):
    if not path.is_file():
        raise FileNotFoundError(
            f"Expected a finished run, with {path.name}, in {path.parent}. Found no such file: "
            "train first, or name the folder that was given as `out`."
        )
    return path

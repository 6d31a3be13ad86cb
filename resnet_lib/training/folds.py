"""k-fold validation: how good a network is, where one part of a small set says little.

A test part of 18 pictures knows accuracies in steps of 6 points. In k-fold validation each picture
is tested once, by a network that was trained without it.
"""

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import checks, records
from ..datasets import shares
from ..datasets.base import Dataset, Split

FEW = 1000  # pictures; beyond them, one test part says enough


@dataclass(frozen=True)
class Folds:
    """What k-fold validation has found; `print` shows a table.

    Attributes:
        runs: `records.Run` of each fold, in order. The test part of a run is its fold.
    """

    runs: tuple[records.Run, ...]

    @property
    def accuracies(self) -> tuple[float, ...]:
        """The accuracy on each fold, from 0 to 1."""
        return tuple(run.record["results"]["test_accuracy_best"] for run in self.runs)

    @property
    def mean(self) -> float:
        """The mean of the folds' accuracies, from 0 to 1."""
        return statistics.mean(self.accuracies)

    @property
    def standard_error(self) -> float:
        """The standard error of the mean, from 0 to 1.

        It is somewhat too small: the folds' networks have most of their pictures in common, so that
        they are not independent (Bengio and Grandvalet 2004).
        """
        return statistics.stdev(self.accuracies) / math.sqrt(len(self.runs))

    @property
    def baseline(self) -> float:
        """The mean accuracy of naming the most frequent class of each fold, from 0 to 1."""
        found = [run.record["results"]["baselines"]["test"]["accuracy"] for run in self.runs]
        return statistics.mean(found)

    @property
    def confusion(self) -> list[list[int]]:
        """How many pictures of each class, a row, were taken for each class, a column, in all."""
        tables = [run.record["results"]["test_confusion"] for run in self.runs]
        return np.sum(tables, axis=0).tolist()

    def __str__(self):
        lines = [f"{'fold':>4}{'trained on':>12}{'tested on':>11}{'accuracy':>10}"]
        for number, (run, accuracy) in enumerate(zip(self.runs, self.accuracies, strict=True), 1):
            trained, _, tested = run.record["dataset"]["sizes"]
            lines.append(f"{number:>4}{trained:>12,}{tested:>11,}{accuracy:>10.1%}")
        lines.append(
            f"mean {self.mean:.1%}, standard error {self.standard_error:.1%}; "
            f"the most frequent class: {self.baseline:.1%}"
        )
        return "\n".join(lines)


def k_fold(
    data: Dataset,
    train: Callable[[Dataset, Path | None], records.Run],
    k: int = 5,
    *,
    out: Path | str | None = None,
    validation: float = 0.1,
    seed: int = 0,
) -> Folds:
    """Train k networks, each tested on a k-th of the pictures that it was trained without.

    The training and the validation part of `data` are dealt anew into k folds, each class as evenly
    as it goes. Each fold is once the test part; of the others, a share of each class is for
    validation, on which the epoch is chosen, and the rest is trained on. The test part of `data`
    stays aside, for one look in the end.

    >>> folds = rl.training.k_fold(data, lambda fold, out: rl.finetune(fold, out=out))
    >>> print(folds)

    Pictures that belong together, such as several of one thing, lie in several folds: then the
    accuracy is too high, as with any division at random.

    Args:
        data: `resnet_lib.datasets.Dataset`.
        train: function of (Dataset, folder of the run or None) that trains a new network and
            returns its `records.Run`. For each fold it should do the same, with the same seed.
        k: how many folds, from 2 to the number of pictures of the smallest class.
        out: folder for the runs, which must not exist: each is in a folder of its own in it,
            `fold1` and so on. None: nothing is kept on disk.
        validation: share of each class, above 0 and below 1, at least one picture.
        seed: whole number; the folds depend on it and on the labels alone.

    Returns:
        `Folds`, with mean and standard error of the accuracies.

    Raises:
        FileExistsError: if `out` exists.
        ValueError: if an argument is out of its range, or a class has too few pictures: it needs k,
            and three.

    Source: Kohavi 1995, "A Study of Cross-Validation and Bootstrap"; stratified.
    """
    if not isinstance(data, Dataset) or not callable(train):
        raise ValueError(
            "Expected `data` to be a resnet_lib.datasets.Dataset and `train` a function of a "
            f"data set and a folder. Received: {data!r:.80} and {train!r:.80}"
        )
    k, seed = checks.count("k", k, least=2), checks.count("seed", seed, least=0, most=2**32 - 1)
    checks.number("validation", validation, above=0, below=1)
    rows = _dealt(data, k, seed)
    folder = None if out is None else checks.path("out", out)
    if folder is not None and folder.exists():
        raise FileExistsError(f"{folder} exists. Nothing is overwritten: name a new folder.")
    if sum(map(len, rows)) > FEW:
        checks.warn(
            f"{sum(map(len, rows)):,} pictures are enough for one test part: k-fold validation "
            f"takes {k} times as long, and says little more."
        )
    runs, pooled = [], _pooled(data)
    for number in range(1, k + 1):
        fold = _fold(data, *pooled, rows, number, validation)
        run = train(fold, None if folder is None else folder / f"fold{number}")
        _check_run(run, fold)
        runs.append(run)
    return Folds(tuple(runs))


def _pooled(data):
    """Return the images and labels of the training and the validation part together."""
    parts = data.train, data.validation
    return [np.concatenate([getattr(p, name) for p in parts]) for name in ("images", "labels")]


def _dealt(data, k, seed):
    """Return the rows of each fold, each class in turn and as evenly as it goes."""
    labels = np.concatenate([data.train.labels, data.validation.labels])
    counts = np.bincount(labels, minlength=data.num_classes)
    least = max(k, 3)
    if few := [name for name, n in zip(data.class_names, counts, strict=True) if 0 < n < least]:
        raise ValueError(
            f"Expected at least {least} pictures of each class for {k} folds, beside the test "
            f"part. Received: fewer of {checks.ten_of(few)}"
        )
    # Raw numbers, for what NumPy makes of them may change with its version.
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    # One class after another, so that the folds differ by one picture at most.
    by_class = order[np.argsort(labels[order], kind="stable")]
    return [by_class[number::k].tolist() for number in range(k)]


def _fold(data, images, labels, rows, number, validation):
    """Return the data set in which a fold is the test part."""
    others = [row for n, its in enumerate(rows, 1) if n != number for row in its]
    parts = {"train": [], "validation": [], "test": rows[number - 1]}
    for label in np.unique(labels[others]):
        mine = [row for row in others if labels[row] == label]
        for part, its in shares.shared_out(mine, {"validation": validation}).items():
            parts[part] += its
    splits = [Split(images[sorted(its)], labels[sorted(its)]) for its in parts.values()]
    source = f"{data.source}, fold {number} of {len(rows)}"
    return Dataset(*splits, data.class_names, source)


def _check_run(run, fold):
    received = type(run).__name__
    if isinstance(run, records.Run):
        tested = run.record["dataset"]["sizes"][2]
        if "results" in run.record and tested == len(fold.test):
            return
        received = f"one of {tested:,} test pictures, where the fold has {len(fold.test):,}"
        received = received if "results" in run.record else "one that is not finished"
    raise ValueError(
        "Expected `train` to return the finished run of the data set that it is handed. "
        f"Received: {received}"
    )

"""What a picture of each class counts, and what it is worth to name the most frequent class."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import checks
from ..datasets.base import Dataset

BALANCED = "balanced"
MOST = 1e6  # that a picture may count
FEW = 5000  # training pictures; with fewer, a network that is trained already has an advantage


def class_weights(asked: str | Mapping | None, data: Dataset) -> list[float] | None:
    """Return what a picture of each class counts in the loss, in label order; None: one.

    Args:
        asked: None; "balanced": in inverse proportion to how many training pictures a class has, so
            that each class counts as much as any other and a picture one on average; or a dict,
            name or number of a class -> weight, in which classes that are not named have 1.
        data: `resnet_lib.datasets.Dataset`.

    Raises:
        ValueError: if it is none of these, names a class that there is not, or one twice, or a
            weight is no number from 0 to a million, or all are 0.
    """
    if asked is None:
        return None
    if asked == BALANCED:
        return _balanced(np.bincount(data.train.labels, minlength=data.num_classes))
    if not isinstance(asked, Mapping):
        raise ValueError(
            f"Expected `class_weight` to be {BALANCED!r}, a dict of class -> weight, or None. "
            f"Received: {asked!r}"
        )
    weights, named = [1.0] * data.num_classes, {}
    for given, weight in asked.items():
        label = _label(given, data.class_names)
        if label in named:
            raise ValueError(
                "Expected `class_weight` to name each class once. "
                f"Received: {named[label]!r} and {given!r}"
            )
        named[label] = given
        checks.number(f"class_weight[{given!r}]", weight, most=MOST)
        weights[label] = float(weight)
    if not any(weights):
        raise ValueError("Expected `class_weight` to have a weight above 0. Received: only 0")
    return weights


def _balanced(counts):
    """Return weights of which the mean over all pictures is 1; a class without any has 1."""
    there = counts > 0
    each = counts.sum() / (there.sum() * np.maximum(counts, 1))
    return [float(weight) for weight in np.where(there, each, 1.0)]


def _label(given, names):
    """Return the label that a name or a number stands for."""
    if isinstance(given, str):
        return list(names).index(checks.choice("class_weight", given, tuple(names)))
    return checks.count("class_weight", given, least=0, most=len(names) - 1)


def baselines(data: Dataset) -> dict[str, dict[str, float | str]]:
    """Return, for validation and test, the most frequent class of the part and its share of it.

    So often is right who names this class for each picture, without looking.
    """
    found = {}
    for name, part in (("validation", data.validation), ("test", data.test)):
        counts = np.bincount(part.labels, minlength=data.num_classes)
        label = int(counts.argmax())
        found[name] = {
            "class": data.class_names[label],
            "accuracy": float(counts[label] / len(part)),
        }
    return found


def nothing_learnt(record: Mapping[str, Any], *, tuned: bool) -> str | None:
    """Return what to say of a run whose network is no better than the most frequent class, or None.

    Better is an accuracy on the test pictures of more than two standard errors above it: less comes
    about by chance in every twentieth run that has learnt nothing.

    Args:
        record: of a finished run.
        tuned: whether it began with a network that was trained already.
    """
    base = record["results"]["baselines"]["test"]
    share, images = base["accuracy"], record["dataset"]["sizes"][2]
    error = math.sqrt(share * (1 - share) / images)
    found = record["results"]["test_accuracy_best"]
    if share == 1 or found > share + 2 * error:
        return None
    return (
        f"Nothing was learnt that shows: {found:.1%} of {images:,} test pictures are right, and "
        f"{share:.1%} would be if each were taken for {base['class']}, the most frequent class. "
        f"{_advice(record, tuned, share)}"
    )


def _advice(record, tuned, share):
    """Return the next thing to try."""
    trained = next((a for a in reversed(record["history"]["accuracy"]) if a is not None), 0)
    if trained > (1 + share) / 2:
        few = "The training pictures are right, so they were learnt by heart"
        more = "more pictures, or fewer weights: replace(recipe, head=1) trains the head alone"
        if not tuned:
            more = "rl.finetune(data), which begins with a network that is trained already"
        return f"{few}. Next: {more}."
    if not tuned and record["dataset"]["sizes"][0] < FEW:
        return (
            "Next: rl.finetune(data), which begins with a network that is trained already and "
            "needs few pictures."
        )
    return (
        "Next: more epochs; then a lower rate; and look at some pictures with their labels by "
        "rl.plots.images, whether these are right."
    )

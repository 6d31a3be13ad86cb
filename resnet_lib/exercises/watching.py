"""What the reader's code hands to a model: layers that keep it, and words for what was changed.

The layers compute what those do whose names they bear. In a graph, as in a model that is built
around theirs and run with `predict`, there are no values to keep, only that there was a call.
"""

from collections import deque
from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

# What may be done to a batch of pictures, float arrays of shape (pictures, height, width, 3).
CHANGES = {
    "scale": lambda y: y / 255,
    "centre": lambda y: y / 127.5 - 1,
    "standardise": lambda y: (y - ops.mean(y, (1, 2, 3), keepdims=True)) / _deviation(y),
    "caffe": lambda y: keras.applications.resnet.preprocess_input(y),
    "bgr": lambda y: ops.flip(y, -1),
    "mirror": lambda y: ops.flip(y, 2),
    "upside-down": lambda y: ops.flip(y, 1),
    "turn": lambda y: ops.flip(y, (1, 2)),
    "grey": lambda y: ops.broadcast_to(ops.mean(y, -1, keepdims=True), y.shape),
    "negative": lambda y: 255 - y,
}


class Seen(NamedTuple):
    """A call: what went in, None in a graph, and whether the call was in training mode."""

    values: np.ndarray | None
    training: bool


class _Watching:
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.calls = deque()  # No list: Keras would follow what is in it.

    def call(self, inputs, training=None):
        self.calls.append(Seen(_values(inputs), bool(training)))
        return super().call(inputs)


def _values(inputs):
    try:
        return ops.convert_to_numpy(inputs).astype("float32")
    except Exception:  # Each backend has an error of its own for a tensor without values.
        return None


@keras.saving.register_keras_serializable("resnet_lib")
class Rescaling(_Watching, layers.Rescaling):
    """Rescaling that keeps its calls: attribute `calls`, a deque of Seen."""


@keras.saving.register_keras_serializable("resnet_lib")
class Conv2D(_Watching, layers.Conv2D):
    """Conv2D that keeps its calls: attribute `calls`, a deque of Seen."""


def seen_by(model: keras.Model) -> list[Seen]:
    """Return the calls that the layers of this module in a model have kept, and forget them."""
    found = []
    for layer in model._flatten_layers():
        if isinstance(layer, _Watching):
            found.extend(layer.calls)
            layer.calls.clear()
    return found


def rows(calls: list[Seen]) -> list[np.ndarray]:
    """Return the pictures of the calls whose values are known, one by one."""
    return [row for call in calls if call.values is not None for row in call.values]


# What was changed


def same_picture(found: np.ndarray, picture: np.ndarray) -> bool:
    """Say whether two pictures are equal but for rounding."""
    size = np.abs(picture).max()
    return found.shape == picture.shape and bool(np.abs(found - picture).max() < 1e-3 * size)


def change_of(found: np.ndarray, picture: np.ndarray) -> str | None:
    """Return which of CHANGES makes one picture of the other, or None."""
    batch = ops.convert_to_tensor(picture[np.newaxis])
    changed = ((word, ops.convert_to_numpy(change(batch))[0]) for word, change in CHANGES.items())
    return next((word for word, other in changed if same_picture(found, other)), None)


def change_told(found: np.ndarray, picture: np.ndarray) -> str:
    """Say what is different in a picture that none of CHANGES makes of the other."""
    low, high = found.min(), found.max()
    if same_picture(found, picture.clip(low, high)):
        below = f"below {low:.4g}" if low > picture.min() else ""
        above = f"above {high:.4g}" if high < picture.max() else ""
        lost = " and ".join(filter(None, (below, above)))
        return f"the pictures are clipped before the model sees them: values {lost} are lost."
    ratio = _variation(found) / _variation(picture)
    if abs(found.mean() - picture.mean()) > 0.05 * np.ptp(picture):
        return (
            "the model sees other pictures than your function gets: their values have a mean of "
            f"{found.mean():.4g} in place of {picture.mean():.4g}."
        )
    if ratio < 0.97:
        return (
            "the pictures are smoothed before the model sees them, as by a blur, by a crop, or by "
            "a change of size there and back: what is fine in them is lost."
        )
    if ratio > 1.03:
        return (
            "the model sees rougher pictures than those that your function gets, as by noise, by "
            "a filter that sharpens, or because pixels change their places."
        )
    return (
        "the model sees other pictures than your function gets, though as bright and as rough: is "
        "something moved, turned or exchanged?"
    )


def _deviation(y):
    return ops.std(y, (1, 2, 3), keepdims=True)


def _variation(picture):
    """Return by how much neighbours differ, in all."""
    return sum(np.abs(np.diff(picture, axis=axis)).sum() for axis in (0, 1))

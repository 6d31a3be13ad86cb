"""Two small tasks on which notebook 00 shows how a task works."""

import numpy as np
from keras import layers, ops

from .core import Exercise, Wrong, call, described, judge_number

_VALUES = np.array([-2.0, -0.5, 0.0, 0.5, 3.0], "float32")
_FUNCTIONS = (
    (lambda x: x, "the values come back as they went in."),
    (
        lambda x: np.minimum(x, 0),
        "what is above 0 is set to 0. A ReLU keeps that, and cuts the rest.",
    ),
    (np.abs, "the negative values come back with the other sign. A ReLU sets them to 0."),
    (lambda x: x > 0, "that says which values are above 0. Asked for are the values themselves."),
    (lambda x: x[x > 0], "the negative values are left out. They become 0, and keep their places."),
)


def judge_picture(answer):
    """Judge how many numbers a picture of 32x32 pixels in three colours has."""
    wrong = {
        32 * 32: "Those are its pixels. Each of them has three colours.",
        32 * 3: "That is one row. How many rows are there?",
        32 + 32 + 3: "Height, width and colours are multiplied, not added.",
    }
    otherwise = "It has 32 rows of 32 pixels, and each pixel has three numbers."
    judge_number(answer, 32 * 32 * 3, wrong, otherwise)


def relu(x):
    """Return an array with what is negative set to 0."""
    return np.maximum(x, 0)


def judge_relu(function):
    """Judge a function of an array that sets what is negative to 0."""
    if isinstance(function, layers.Layer):
        raise Wrong(f"received {described(function)}, Keras' own. Here you write the function.")
    value = call(function, _VALUES.copy())
    try:
        found = ops.convert_to_numpy(value) if ops.is_tensor(value) else np.asarray(value)
        numeric = found.dtype.kind in "iufb"
    except Exception:  # Whatever a strange value does, it is no array.
        numeric = False
    if not numeric:
        raise Wrong(f"your function returned {described(value)}, no array of numbers.")
    if _same(found, relu(_VALUES)) and found.dtype.kind != "b":
        return
    texts = (text for way, text in _FUNCTIONS if _same(found, way(_VALUES)))
    otherwise = f"of {_VALUES.tolist()} your function makes {described(found.tolist())}."
    raise Wrong(next(texts, otherwise))


def _same(found, expected):
    return found.shape == expected.shape and np.allclose(found, expected)


EXERCISES = {
    "00-picture": Exercise(
        judge_picture,
        level="easy",
        minutes=1,
        hints=(
            "a pixel has three numbers: how much red, green and blue.",
            "multiply the height by the width, and by the three colours of each pixel.",
        ),
        why="this is how a network sees a picture of CIFAR-10: as so many numbers, in the shape "
        "(32, 32, 3).",
    ),
    "00-relu": Exercise(
        judge_relu,
        level="easy",
        minutes=2,
        hints=(
            "each value is compared with 0, and the larger of the two is returned.",
            "np.maximum(x, 0) does that for all values at once.",
        ),
        why="the ReLU stands behind nearly every convolution of this course, and where it stands "
        "beside the skip is what two of the notebooks are about.",
        stand_in=relu,
    ),
}

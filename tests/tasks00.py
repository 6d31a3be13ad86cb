"""Answers to the two tasks of notebook 00; see test_workshop.py."""

import numpy as np
from keras import layers, ops

RIGHT = {
    "00-picture": [3072, 3072.0, np.int64(3072)],
    "00-relu": [
        lambda x: np.where(x > 0, x, 0),
        lambda x: [max(value, 0) for value in x.tolist()],
        ops.relu,
    ],
}
WRONG = {
    "00-picture": [
        (1024, "Those are its pixels"),
        (96, "That is one row"),
        (67, "are multiplied, not added"),
        (5, "32 rows of 32 pixels"),
    ],
    "00-relu": [
        (lambda x: x, "as they went in"),
        (lambda x: np.minimum(x, 0), "what is above 0 is set to 0"),
        (np.abs, "with the other sign"),
        (lambda x: x > 0, "which values are above 0"),
        (lambda x: x[x > 0], "are left out"),
        (lambda x: x + 1, "your function makes"),
        (layers.ReLU(), "Keras' own"),
        (lambda x: "x", "no array of numbers"),
    ],
}
STUBS = {"00-relu": lambda x: None}
SLOW = set()

"""Answers to the exercises of notebook 01; see test_workshop.py."""

import keras
import numpy as np
from keras import layers, ops
from later import later
from test_exercises import Residual

from resnet_lib.exercises import notebook01

# 01-fault-skip


def planted(x, branch):
    x = branch(x)
    x = layers.Add()([x, x])
    return layers.ReLU()(x)


def with_skip(x, branch):
    y = branch(x)
    y = layers.Add()([y, x])
    return layers.ReLU()(y)


def by_operators(x, branch):
    return ops.relu(x + branch(x))


def in_a_layer(x, branch):
    return Residual(branch)(x)


def without_skip(x, branch):
    return layers.ReLU()(branch(x))


def without_relu(x, branch):
    return layers.Add()([branch(x), x])


def relu_first(x, branch):
    return layers.Add()([layers.ReLU()(branch(x)), x])


def two_branches(x, branch):
    return layers.ReLU()(layers.Add()([branch(x), branch(x)]))


def concatenated(x, branch):
    return layers.ReLU()(layers.Concatenate()([branch(x), x]))


def input_doubled(x, branch):
    x = layers.Add()([x, x])
    return layers.ReLU()(branch(x))


# 01-project: networks that need not be trained to get a verdict


@later
def network(depth=38, batch_norm=False, classes=4, stem=2):
    x = inputs = keras.Input((16, 16, 3))
    x = layers.ReLU()(layers.Conv2D(16, 3, stem, padding="same")(x))
    for _ in range((depth - 2) // 2):
        y = layers.ReLU()(layers.Conv2D(16, 3, padding="same")(x))
        y = layers.Conv2D(16, 3, padding="same", kernel_initializer="zeros")(y)
        y = layers.BatchNormalization()(y) if batch_norm else y
        x = layers.ReLU()(layers.Add()([y, x]))
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(classes, activation="softmax")(x))


@later
def without_numbers():
    model = network()()
    model.set_weights([weight * np.nan for weight in model.get_weights()])
    return model


@later
def side_by_side():
    """Many layers, but not one behind another."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Add()([layers.Conv2D(4, 3, padding="same")(inputs) for _ in range(40)])
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


class Oracle(layers.Layer):
    """Look a picture up among the fresh ones, and give the right answer to a share of them."""

    def __init__(self, share):
        super().__init__()
        self.share = share

    def call(self, x):
        images, labels = notebook01.fresh_pictures()
        known = images.reshape(len(images), -1)
        scores = ops.matmul(ops.reshape(x, (-1, known.shape[1])), known.T)
        nearest = ops.argmax(scores - (known**2).sum(axis=1) / 2, axis=-1)
        answers = np.where(np.arange(len(labels)) < self.share * len(labels), labels, 0)
        return ops.one_hot(ops.take(answers, nearest), 4)


@later
def right_about(share):
    """Return a model as deep as it must be that is right about a share of the fresh pictures."""
    model = network()()
    answers = layers.Add()([Oracle(share)(model.input), layers.Rescaling(0.001)(model.output)])
    return keras.Model(model.input, answers)


RIGHT = {
    "01-he": [0.118, np.sqrt(2 / 144), 0.1179],
    "01-fault-skip": [with_skip, by_operators, in_a_layer],
    "01-evidence": [("a", "d"), "da", {"a", "d"}],
    "01-project": [right_about(0.9)],
}
WRONG = {
    "01-he": [
        (0.083, "without a ReLU"),
        (0.12, "rounded too far: three digits"),
        (2 / 144, "the variance of the weights. Asked"),
        (1 / 144, "a variance, and without the ReLU"),
        (0.354, "How many products are that?"),
        (0.25, "And the ReLU halves the mean square"),
        (0.272, "right for the first layer"),
        (0.1667, "doubles the mean square in each layer"),
        (0.5, "Set the result to 1"),
        ("0.118", "one number is expected"),
    ],
    "01-fault-skip": [
        (without_skip, "`x` goes into the branch only"),
        (without_relu, "there is no ReLU after the addition"),
        (relu_first, "there is a ReLU on the branch before the addition"),
        (two_branches, "`branch` is called 2 times"),
        (concatenated, "concatenated"),
        (input_doubled, "`x` is added to itself before the branch"),
    ],
    "01-evidence": [
        (("a", "b"), "compare the three rates of SGD"),
        ("acd", "compare the two rows seed by seed"),
        (["a", "d", "e"], "two remedies that fail do not show"),
        ("d", "still missing: 1"),
        ((), "still missing: 2"),
        ("f", "the letters of the statements, from a to e"),
    ],
    "01-project": [
        (network(), "hardly better than guessing"),
        (right_about(0.5), "It has begun to learn"),
        (network(depth=20), "one behind another, is 20"),
        (side_by_side(), "one behind another, is 2."),
        (network(batch_norm=True), "layers that normalise: BatchNormalization"),
        (network(classes=10), "the output of your model has the shape (10,)"),
        (without_numbers(), "values that are no numbers"),
        (relu_first, "Expected: a Keras model"),
    ],
}
STUBS = {"01-fault-skip": planted}
SLOW = set()

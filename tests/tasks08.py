"""Answers to the exercises of notebook 08; see test_workshop.py."""

import math
from collections import Counter

import keras
import numpy as np
from keras import layers
from later import later

from resnet_lib import datasets, records, zoo

# The accuracy of the most frequent class


def baseline_by_counter(train_labels, test_labels):
    (name, _), *_ = Counter(train_labels.tolist()).most_common(1)
    return sum(label == name for label in test_labels.tolist()) / len(test_labels)


def baseline_by_unique(train_labels, test_labels):
    names, counts = np.unique(train_labels, return_counts=True)
    return (test_labels == names[np.argmax(counts)]).mean()


def most(labels):
    return Counter(labels.tolist()).most_common(1)[0][0]


BASELINE_WRONG = [
    (lambda train, test: (test == most(test)).mean(), "has seen the training pictures only"),
    (lambda train, test: (train == most(train)).mean(), "right for the test pictures"),
    (lambda train, test: most(train), "the number of the class"),
    (lambda train, test: (test == most(train)).sum(), "Divide by the number"),
    (lambda train, test: 1 / len(set(train.tolist())), "another guess"),
    (lambda train, test: 1 - baseline_by_counter(train, test), "share that is wrong"),
    (lambda train, test: 100 * baseline_by_counter(train, test), "in %"),
    (lambda train, test: (test == max(train)).mean(), "largest label"),
    (lambda train, test: 0.3, "one test label of four"),
    (lambda train, test: "often", "Expected: one number"),
]

# Test pictures that are in the training part


def twins_one_by_one(train, test, most):
    found = []
    for place, picture in enumerate(test):
        distances = [
            math.sqrt(np.mean((picture.astype("float32") - other) ** 2)) for other in train
        ]
        if min(distances) <= most:
            found.append(place)
    return found


def twins_by_norm(train, test, most):
    flat = [part.reshape(len(part), -1).astype(int) for part in (train, test)]
    norms = np.linalg.norm(flat[1][:, None] - flat[0][None], axis=-1)
    return np.where(norms.min(1) / flat[0].shape[1] ** 0.5 <= most)[0]


def twins_wrapped(train, test, most):
    distances = np.array(
        [[np.sqrt(np.mean((t - o).astype(int) ** 2)) for t in train] for o in test]
    )
    return np.flatnonzero(distances.min(1) <= most)


def twins_squared_wrapped(train, test, most):
    distances = np.array([[np.sqrt(np.mean((t - o) ** 2)) for t in train] for o in test])
    return np.flatnonzero(distances.min(1) <= most)


def twins_signed(train, test, most):
    distances = np.array([[abs(np.mean(t - o.astype(int))) for t in train] for o in test])
    return np.flatnonzero(distances.min(1) <= most)


def twins_rootless(train, test, most):
    distances = np.array([[np.mean((t - o.astype(int)) ** 2) for t in train] for o in test])
    return np.flatnonzero(distances.min(1) <= most)


def twins_side_by_side(train, test, most):
    return [
        i
        for i, (t, o) in enumerate(zip(train, test, strict=False))
        if np.sqrt(np.mean((t - o.astype(int)) ** 2)) <= most
    ]


def twins_equal(train, test, most):
    return [i for i, o in enumerate(test) if any(np.array_equal(o, t) for t in train)]


def twins_by_order(train, test, most, order):
    """Twins by another mean of the differences: of the magnitudes, or the largest."""
    mean = {1: np.mean, np.inf: np.max}[order]
    return [
        i for i, o in enumerate(test) if min(mean(abs(t - o.astype(int))) for t in train) <= most
    ]


TWINS_WRONG = [
    (twins_wrapped, "subtracted as uint8"),
    (twins_squared_wrapped, "16 * 16 is 0"),
    (twins_signed, "with their signs"),
    (twins_rootless, "no root is taken"),
    (twins_side_by_side, "at the same place"),
    (twins_equal, "to the last bit"),
    (lambda train, test, most: twins_by_order(train, test, most, 1), "mean of the magnitudes"),
    (lambda train, test, most: twins_by_order(train, test, most, np.inf), "largest difference"),
    (lambda train, test, most: twins_by_norm(test, train, most), "places in `train`"),
    (
        lambda train, test, most: np.setdiff1d(range(len(test)), twins_by_norm(train, test, most)),
        "without a twin",
    ),
    (lambda train, test, most: np.isin(range(len(test)), [1]), "True and False"),
    (lambda train, test, most: test, "Expected: an array of whole numbers"),
    (lambda train, test, most: [1, 2, 3], "3 of 5 are missed and 1 are named"),
]

# Batch normalisation stays frozen


def set_free_in_two_steps(model, first):
    names = [layer.name for layer in model.layers]
    for layer in model.layers[names.index(first) :]:
        layer.trainable = True
    for layer in model.layers:
        if "bn" in layer.name:
            layer.trainable = False


def set_free_by_weights(model, first):
    free = False
    for layer in model.layers:
        free |= layer.name == first
        layer.trainable = free and "gamma" not in [weight.name for weight in layer.weights]


def set_free_with_bn(model, first):
    free = False
    for layer in model.layers:
        free = free or layer.name == first
        layer.trainable = free


def set_free_all(model, first):
    for layer in model.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)


def set_free_only_first(model, first):
    model.get_layer(first).trainable = True


def set_free_half_of_bn(model, first):
    set_free_in_two_steps(model, first)
    model.get_layer("bn3").trainable = True


def set_free_then_frozen(model, first):
    set_free_in_two_steps(model, first)
    model.trainable = False


def set_free_past_bn(model, first):
    names = [layer.name for layer in model.layers]
    for layer in model.layers[names.index(first) :]:
        if not isinstance(layer, layers.BatchNormalization):
            layer.trainable = True


SET_FREE_WRONG = [
    (set_free_past_bn, "in a model as Keras builds it"),
    (set_free_all, "a layer before"),
    (set_free_only_first, "dense"),
    (set_free_half_of_bn, "another is not"),
    (set_free_then_frozen, "nothing can be trained"),
]

# Temperature


def tempered_by_logits(probabilities, temperature):
    logits = np.log(probabilities) / temperature
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def tempered_by_keras(probabilities, temperature):
    return keras.ops.softmax(keras.ops.log(probabilities) / temperature, axis=-1)


TEMPERATURE_WRONG = [
    (lambda p, t: tempered_by_logits(p, 1 / t), "turned round"),
    (lambda p, t: np.exp(np.log(p) / t), "divide each by its sum"),
    (lambda p, t: p / t, "They are no logits"),
    (lambda p, t: (p / t) / (p / t).sum(-1, keepdims=True), "nothing has changed"),
    (lambda p, t: keras.ops.softmax(p / t, axis=-1), "taken of probabilities"),
    (lambda p, t: np.log(p) / t, "softmax is missing"),
    (lambda p, t: p ** (1 / t) / (p ** (1 / t)).sum(0), "each column adds up"),
    (lambda p, t: p ** (1 / t) / np.sum(p ** (1 / t)), "runs over everything"),
    (lambda p, t: p + 1, "Three steps"),
    (lambda p, t: p[0], "of shape (4, 3)"),
]

# Grad-CAM


def map_by_einsum(maps, gradients):
    found = np.einsum("hwc,c->hw", maps, gradients.mean(axis=(0, 1)))
    return found * (found > 0)


def map_of_largest_one(maps, gradients):
    found = map_by_einsum(maps, gradients)
    return found / found.max()


def map_of_sums(maps, gradients):
    return keras.ops.relu(keras.ops.sum(maps * gradients.sum(axis=(0, 1)), axis=-1))


GRADCAM_WRONG = [
    (lambda a, g: np.einsum("hwc,c->hw", a, g.mean((0, 1))), "below 0 is still there"),
    (lambda a, g: np.maximum(np.sum(a * g, axis=-1), 0), "by its own gradient"),
    (lambda a, g: np.maximum(a * g.mean((0, 1)), 0).mean(-1), "Sum first"),
    (lambda a, g: np.abs(np.einsum("hwc,c->hw", a, g.mean((0, 1)))), "magnitude"),
    (lambda a, g: map_by_einsum(g, a), "exchanged"),
    (lambda a, g: np.maximum(a.sum(-1), 0), "not weighed"),
    (lambda a, g: a.max(-1), "Three steps"),
    (lambda a, g: a, "of shape (4, 5)"),
]

# A run with its card


@later
def calibrated():
    run = zoo.load("plain20-shapes")
    run.calibrate(datasets.shapes(train=10, validation=40, test=20))
    return run


def recorded(**changed):
    """Return a run as if something had come out otherwise."""
    record = records.recorded()["plain20-shapes"].record
    return records.Run(record | {"results": record["results"] | changed})


def with_dataset(**changed):
    record = records.recorded()["plain20-shapes"].record
    return records.Run(record | {"dataset": record["dataset"] | changed})


def unfinished():
    record = records.recorded()["resnet20v1-signs-seed0"].record
    return records.Run({name: each for name, each in record.items() if name != "results"})


PROJECT_WRONG = [
    (recorded(), "not calibrated yet"),
    (recorded(test_accuracy_best=0.115), "more than a guess"),
    (unfinished(), "was not finished"),
    (with_dataset(sizes=[100, 20, 12]), "12 test pictures are too few"),
    (with_dataset(classes=["star", "arrow", "heart", "circle"]), "the notebook's set"),
    (records.recorded()["resnet20v1-signs-seed0"], "an older version"),
    (0.9, "Expected: a run"),
]

RIGHT = {
    "08-baseline": [baseline_by_counter, baseline_by_unique],
    "08-twins": [twins_one_by_one, twins_by_norm],
    "08-fault-frozen": [set_free_in_two_steps, set_free_by_weights],
    "08-temperature": [tempered_by_logits, tempered_by_keras],
    "08-gradcam": [map_by_einsum, map_of_largest_one, map_of_sums],
    "08-project": [calibrated()],
}
WRONG = {
    "08-baseline": BASELINE_WRONG,
    "08-twins": TWINS_WRONG,
    "08-fault-frozen": SET_FREE_WRONG,
    "08-temperature": TEMPERATURE_WRONG,
    "08-gradcam": GRADCAM_WRONG,
    "08-project": PROJECT_WRONG,
}
STUBS = {"08-fault-frozen": set_free_with_bn}
SLOW = set()

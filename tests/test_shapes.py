"""Drawn shapes: the same on every computer, balanced, and hard for all but a convolutional net."""

import dataclasses
import importlib
import os
import subprocess
import sys

import numpy as np
import pytest

from resnet_lib.datasets import shapes

module = importlib.import_module("resnet_lib.datasets.shapes")

# Equal on Python 3.11 with numpy 2.4 and Python 3.13 with numpy 2.5.
SHA256 = "ff23e3d6f8408b82c919039e5ea62adee147e5a7e0f43fb9b29303ccffbd35de"
SHA256_SMALL_SEED_7 = "e011afdb3122a1e8fe239f85b4a1ead0b7f5a6e81553188cc6d23fa0f3fbe516"
IMAGE_PASSES = 40_000


@pytest.fixture(scope="module")
def data():
    return shapes()


def test_sha256(data):
    assert data.sha256 == SHA256
    assert shapes(train=30, validation=20, test=10, seed=7).sha256 == SHA256_SMALL_SEED_7


def wide_instructions():
    """Return the vector instructions beyond the baseline that numpy uses on this processor."""
    from numpy._core import _multiarray_umath as core

    return [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]


@pytest.mark.slow
@pytest.mark.skipif(not wide_instructions(), reason="numpy uses its baseline here anyway")
def test_sha256_does_not_depend_on_vector_instructions():
    code = (
        "import numpy._core._multiarray_umath as core;"
        "from resnet_lib.datasets import shapes;"
        "print([name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]);"
        "print(shapes(train=30, validation=20, test=10, seed=7).sha256)"
    )
    environment = {**os.environ, "NPY_DISABLE_CPU_FEATURES": " ".join(wide_instructions())}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.stdout.split() == ["[]", SHA256_SMALL_SEED_7], run.stderr


def test_sizes_types_and_names(data):
    assert [len(data.train), len(data.validation), len(data.test)] == [8000, 1000, 1000]
    assert data.train.images.shape == (8000, 32, 32, 3)
    assert len(set(data.class_names)) == data.num_classes == 10
    assert data.source == "ten shapes, drawn with seed 0"


def test_balanced_in_every_run_of_ten(data):
    for part in (data.train, data.validation, data.test):
        assert part.labels.reshape(-1, 10).tolist() == [list(range(10))] * (len(part) // 10)


def test_an_image_depends_on_its_place_and_the_seed_only(data):
    small = shapes(train=301, validation=7, test=1)
    for name, n in (("train", 301), ("validation", 7), ("test", 1)):
        part, whole = getattr(small, name), getattr(data, name)
        np.testing.assert_array_equal(part.images, whole.images[:n])
        np.testing.assert_array_equal(part.labels, whole.labels[:n])


def test_parts_and_seeds_share_no_image(data):
    other = shapes(train=1000, validation=1000, test=1000, seed=1)
    images = [
        image.tobytes()
        for drawn in (data, other)
        for part in (drawn.train, drawn.validation, drawn.test)
        for image in part.images
    ]
    assert len(set(images)) == len(images) == 13_000


def test_pixels_use_the_range_without_sticking_to_its_ends(data):
    images = data.train.images
    assert (images.min(), images.max()) == (0, 255)
    assert 90 < images.mean() < 165
    assert np.isin(images, (0, 255)).mean() < 0.1


def test_classes_cannot_be_told_by_brightness(data):
    """Means over the images of a class: their spread stays within a few grey levels."""
    means = [data.train.images[data.train.labels == label].mean() for label in range(10)]
    assert max(means) - min(means) < 12


@pytest.mark.parametrize("label", range(10), ids=module.CLASS_NAMES)
def test_each_outline_has_an_inside_of_sensible_size(label):
    """Inside covers a fair share of the unit square's quadruple, and never reaches its border."""
    line = np.linspace(-1.6, 1.6, 129, dtype=np.float32)
    u, v = np.meshgrid(line, line)
    inside = module._DISTANCES[label](u, v) < 0
    share = inside.mean() * 3.2**2
    assert 0.8 < share < 3.2
    assert not (inside[0] | inside[-1] | inside[:, 0] | inside[:, -1]).any()


def test_outlines_differ_whatever_the_angle():
    """No outline turned by any multiple of 15 degrees covers another's to nine tenths."""
    line = np.linspace(-1.6, 1.6, 97, dtype=np.float32)
    u, v = np.meshgrid(line, line)
    for a, first in enumerate(module._DISTANCES):
        for second in module._DISTANCES[a + 1 :]:
            assert max(overlap(first, second, u, v, turn) for turn in range(0, 360, 15)) < 0.9


def overlap(first, second, u, v, degrees):
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    a = first(u, v) < 0
    b = second(u * np.float32(cosine) + v * np.float32(sine), v * cosine - u * sine) < 0
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": 0}, "`train` .* whole number of at least 1. Received: 0; .* is 1"),
        ({"validation": 2.0}, "`validation` .* whole number of at least 1. Received: 2.0"),
        ({"test": -5}, "`test` .* nearest valid value is 1"),
        (
            {"seed": -1},
            "`seed` .* whole number from 0 to 4,294,967,295. Received: -1; .* is 0",
        ),
        ({"seed": 2**32}, "Received: 4294967296; the nearest valid value is 4,294,967,295"),
        ({"seed": "a"}, "`seed` .* Received: 'a'"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        shapes(**arguments)


@pytest.mark.slow
def test_softmax_regression_stays_under_40_percent(data):
    """The best it ever reaches on the test images counts, to its advantage."""
    train, test = standardised(data.train, data.train), standardised(data.test, data.train)
    weights = np.zeros((train.shape[1], 10), np.float32)
    random = np.random.default_rng(0)
    epochs, batch = 30, 100
    best = 0
    for epoch in range(epochs):
        rate = 0.01 * (1 - epoch / epochs)
        for rows in random.permutation(len(train)).reshape(-1, batch):
            error = softmax(train[rows] @ weights)
            error[np.arange(batch), data.train.labels[rows]] -= 1
            weights -= rate * (train[rows].T @ error / batch)
        best = max(best, accuracy(test, weights, data.test.labels))
    assert accuracy(train, weights, data.train.labels) > 0.3, "it was not trained"
    assert 0.1 < best < 0.4


def standardised(part, reference):
    mean = reference.images.mean(axis=0, dtype=np.float64)
    scale = reference.images.std(axis=0, dtype=np.float64)
    pixels = ((part.images - mean) / scale).astype(np.float32).reshape(len(part), -1)
    return np.concatenate([pixels, np.ones((len(part), 1), np.float32)], axis=1)


def softmax(logits):
    exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponents / exponents.sum(axis=1, keepdims=True)


def accuracy(pixels, weights, labels):
    return ((pixels @ weights).argmax(axis=1) == labels).mean()


@pytest.mark.slow
def test_resnet20_passes_90_percent(data):
    """Five epochs, 40,000 of the 60,000 image passes it may take; the last epoch counts."""
    import keras

    import resnet_lib

    keras.utils.set_random_seed(0)
    model = resnet_lib.resnet_v1((32, 32, 3), depth=20, form="standard")
    recipe = dataclasses.replace(
        resnet_lib.recipes.ONE_CYCLE,
        epochs=IMAGE_PASSES // len(data.train),
        batch_size=64,
        peak=0.2,
        sizes=((1, 1),),
        augment=False,
    )
    run = resnet_lib.train(model, data, recipe, progress=False)
    print(run)
    assert run.record["results"]["test_accuracy_last"] > 0.9

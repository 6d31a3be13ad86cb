"""Batches: the same for the same seed, the same on the device, and averaged when made smaller."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from resnet_lib import datasets, training
from resnet_lib.batches import Batches, Places, cut, on_device, overlaps, resized, shrunk
from resnet_lib.datasets.base import Dataset, Split
from resnet_lib.execution import Execution
from resnet_lib.recipes import ONE_CYCLE

RANDOM = np.random.default_rng(0)


def split(n=21, height=16, width=16, channels=3):
    images = RANDOM.integers(0, 256, (n, height, width, channels)).astype(np.uint8)
    return Split(images, RANDOM.integers(0, 10, n))


# On the device the same pictures are cut.


def on_device_pictures(places):
    """Return all pictures of an epoch, cut by TensorFlow as a training step does it."""
    import tensorflow as tf

    images, pad = tf.constant(places.split.images), places.pad if places.augment else 0
    found = []
    for number in range(len(places)):
        place, _ = places[number]
        window = cut(tf.gather(images, place["index"]), place, pad=pad, mode=places.padding)
        assert window.dtype == tf.uint8
        found.append(window.numpy())
    return np.concatenate(found)


def all_of(batches):
    pictures, labels = zip(*(batches[number] for number in range(len(batches))), strict=True)
    return pictures, np.concatenate(labels)


@pytest.mark.parametrize("augment", [True, False])
@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (17, 11, 1), (9, 24, 4)])
def test_pictures_cut_on_the_device_are_the_same_bit_for_bit(
    height, width, channels, padding, augment
):
    options = dict(seed=5, epoch=3, padding=padding, augment=augment)
    part = split(21, height, width, channels)
    here, places = Batches(part, 8, **options), Places(part, 8, **options)
    pictures, labels = all_of(here)
    there = on_device_pictures(places)
    np.testing.assert_array_equal(there, np.concatenate(pictures))
    np.testing.assert_array_equal(all_of(places)[1], labels)
    if not augment:
        np.testing.assert_array_equal(there, part.images[places.order])


def test_places_are_small():
    place, labels = Places(split(), 8, seed=1)[0]
    assert {name: numbers.dtype.name for name, numbers in place.items()} == {
        "index": "int32",
        "top": "int32",
        "left": "int32",
        "flip": "bool",
    }
    assert {numbers.shape for numbers in place.values()} == {(8,)} == {labels.shape}


def small_net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 255)(inputs)
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(x))
    model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
    model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
    return model


@pytest.mark.parametrize("kind", [Batches, Places])
def test_each_epoch_of_a_run_has_the_pictures_of_that_epoch(kind, monkeypatch):
    """Keras ends an epoch before a fit's first one as well, which must not count.

    Keras looks at one or two batches before a fit begins, hence "at least".
    """
    seen, plain = [], kind.__getitem__

    def watched(batches, number):
        if batches.shuffle:  # Validation and test are not.
            seen.append((batches.epoch, batches.split.images.shape[1]))
        return plain(batches, number)

    monkeypatch.setattr(kind, "__getitem__", watched)
    part = split(24)
    data = Dataset(part, part, part, tuple("abcdefghij"), "noise")
    recipe = replace(ONE_CYCLE, epochs=4, batch_size=8, sizes=((0.5, 0.75), (1, 1)))
    execution = Execution(data_on_device=kind is Places)
    training.train(small_net(), data, recipe, execution=execution, progress=False)
    assert set(seen) == {(0, 12), (1, 12), (2, 16), (3, 16)}
    assert all(seen.count(each) >= 3 for each in seen)


def test_a_model_fitted_on_the_device_learns_the_same():
    part, weights = split(40), []
    for kind in (Batches, Places):
        model, batches = small_net(), kind(part, 16, seed=2, padding="reflect")
        if kind is Places:
            model.evaluate(part.images[:16], part.labels[:16], verbose=0)
            model.optimizer.build(model.trainable_variables)
            on_device(model, batches)
        model.fit(batches, epochs=2, shuffle=False, verbose=0)
        weights.append(model.get_weights())
    start = small_net().get_weights()
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(start, weights[0], strict=True))
    for here, there in zip(*weights, strict=True):
        np.testing.assert_allclose(here, there, atol=1e-6)


# The order.


@pytest.mark.parametrize("kind", [Batches, Places])
def test_the_order_follows_from_seed_and_epoch(kind):
    part = split(100)

    def order(**options):
        return kind(part, 7, **options).order.tolist()

    first = order(seed=4, epoch=2)
    assert order(seed=4, epoch=2) == first
    assert kind(part, 50, seed=4, epoch=2, padding="reflect").order.tolist() == first
    assert sorted(first) == list(range(100))
    assert order(seed=5, epoch=2) != first
    assert order(seed=4, epoch=3) != first
    later = kind(part, 7, seed=4)
    later.on_epoch_end()
    later.on_epoch_end()
    assert later.order.tolist() == first, "the third epoch, whether reached or begun with"
    assert order(seed=4, shuffle=False) == list(range(100))


def test_the_last_batch_may_be_smaller():
    batches = Batches(split(21), 8)
    assert len(batches) == 3
    assert [len(batches[number][1]) for number in range(3)] == [8, 8, 5]


def test_pictures_and_labels_stay_together():
    part = split(50)
    batches = Batches(part, 16, seed=1, augment=False)
    for number in range(len(batches)):
        images, labels = batches[number]
        index = batches.indices(number)
        np.testing.assert_array_equal(images, part.images[index])
        np.testing.assert_array_equal(labels, part.labels[index])


@pytest.mark.parametrize(("height", "pad"), [(32, 4), (24, 3), (16, 2), (9, 1), (5, 1)])
def test_the_padding_is_an_eighth_of_the_shorter_side(height, pad):
    assert Batches(split(4, height, height), 2).pad == pad
    assert Batches(split(4, height, 40), 2).pad == pad
    assert Batches(split(4, 40, height), 2).pad == pad


# Made smaller.


def test_half_the_size_is_the_mean_of_two_by_two():
    part = split(1003, 32, 32)  # More than are averaged at once.
    half = resized(part, 0.5)
    means = part.images.reshape(1003, 16, 2, 16, 2, 3).mean((2, 4))
    assert half.images.shape == (1003, 16, 16, 3)
    assert half.images.dtype == np.uint8
    assert np.abs(half.images - means).max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(half.labels, part.labels)


def test_three_quarters_of_the_size_by_hand():
    """Each new pixel covers four thirds of an old one: 3 + 1, 2 + 2, 1 + 3 parts of four."""
    expected = [[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.25, 0.75]]
    np.testing.assert_allclose(overlaps(4, 3), expected, atol=1e-6)
    row = np.tile(np.array([0, 100, 40, 240], np.uint8), 8)
    images = np.broadcast_to(row[None, None, :, None], (1, 32, 32, 1)).copy()
    part = Split(images, np.zeros(1, np.int64))
    small = resized(part, 0.75).images
    assert small.shape == (1, 24, 24, 1)
    expected = np.tile([25, 70, 190], 8)
    np.testing.assert_array_equal(small[0, :, :, 0], np.broadcast_to(expected, (24, 24)))
    turned = Split(images.transpose(0, 2, 1, 3).copy(), part.labels)
    np.testing.assert_array_equal(
        resized(turned, 0.75).images[0, :, :, 0], np.broadcast_to(expected[:, None], (24, 24))
    )


@pytest.mark.parametrize(("old", "new"), [(32, 24), (32, 16), (32, 19), (8, 8), (27, 8), (9, 8)])
def test_every_old_pixel_counts_as_much(old, new):
    shares = overlaps(old, new)
    assert shares.shape == (new, old)
    assert shares.dtype == np.float32
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(shares.sum(axis=0), new / old, atol=1e-6)


@pytest.mark.parametrize("value", [0, 1, 100, 254, 255])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.75, 0.9])
def test_a_constant_image_stays_constant(value, share):
    images = np.full((2, 32, 20, 3), value, np.uint8)
    small = resized(Split(images, np.zeros(2, np.int64)), share).images
    assert small.shape == (2, max(8, round(32 * share)), max(8, round(20 * share)), 3)
    assert (small == value).all()


def test_the_full_size_is_the_split_itself():
    part = split()
    assert resized(part, 1) is part
    assert resized(part, 1.0) is part


@pytest.mark.parametrize(
    ("side", "share", "expected"), [(16, 0.25, 8), (12, 0.5, 8), (8, 0.75, 8), (6, 0.5, 6)]
)
def test_no_image_gets_smaller_than_eight_pixels(side, share, expected):
    part = split(3, side, 32)
    small = resized(part, share).images
    assert small.shape == (3, expected, max(8, round(32 * share)), 3)


@pytest.mark.parametrize("share", [0, -0.5, 1.5, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match=f"share: expected .* received {share}"):
        resized(split(), share)


def test_a_whole_data_set_is_reduced_and_says_so():
    data = datasets.shapes(train=20, validation=10, test=10)
    small = shrunk(data, 16)
    assert small.image_shape == (16, 16, 3)
    assert small.source == f"{data.source}, reduced to 16x16"
    for part in ("train", "validation", "test"):
        wanted = resized(getattr(data, part), 0.5).images
        np.testing.assert_array_equal(getattr(small, part).images, wanted)
    assert shrunk(data, 32) is data


@pytest.mark.parametrize(("size", "nearest"), [(7, "8"), (33, "32"), (16.0, "whole number")])
def test_a_size_that_is_no_reduction_is_refused(size, nearest):
    with pytest.raises(ValueError, match=nearest):
        shrunk(datasets.shapes(train=10, validation=10, test=10), size)

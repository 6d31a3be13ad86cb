"""Batches: the same for the same seed, and the same on the device."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from backends import tensorflow_only
from keras import layers
from small import PICTURES, net

from resnet_lib import training
from resnet_lib.augment import offsets
from resnet_lib.datasets.base import Dataset, Split
from resnet_lib.recipes import ONE_CYCLE
from resnet_lib.training import Execution
from resnet_lib.training.batches import Batches, Places, cut, on_device

RANDOM = np.random.default_rng(0)


def split(n=21, height=16, width=16, channels=3):
    images = RANDOM.integers(0, 256, (n, height, width, channels)).astype(np.uint8)
    return Split(images, RANDOM.integers(0, 10, n))


# On the device the same pictures are cut.


def on_device_pictures(places):
    """Return all pictures of an epoch, cut by TensorFlow as a training step does it."""
    import tensorflow as tf

    images, found = tf.constant(places.split.images), []
    for number in range(len(places)):
        place, _ = places[number]
        window = cut(tf.gather(images, place["index"]), place, **places.cutting())
        assert window.dtype == tf.uint8
        found.append(window.numpy())
    return np.concatenate(found)


def all_of(batches):
    pictures, labels = zip(*(batches[number] for number in range(len(batches))), strict=True)
    return pictures, np.concatenate(labels)


@pytest.mark.parametrize(("augment", "flip"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("cutout", [0, 0.3])
@pytest.mark.parametrize("padding", ["constant", "reflect"])
@pytest.mark.parametrize(("height", "width", "channels"), [(32, 32, 3), (17, 11, 1), (9, 24, 4)])
def test_pictures_cut_on_the_device_are_the_same_bit_for_bit(
    height, width, channels, padding, cutout, augment, flip
):
    options = dict(seed=5, epoch=3, padding=padding, cutout=cutout, augment=augment, flip=flip)
    part = split(21, height, width, channels)
    here, places = Batches(part, 8, **options), Places(part, 8, **options)
    pictures, labels = all_of(here)
    there = on_device_pictures(places)
    np.testing.assert_array_equal(there, np.concatenate(pictures))
    np.testing.assert_array_equal(all_of(places)[1], labels)
    if not augment:
        np.testing.assert_array_equal(there, part.images[places.order])


@pytest.mark.parametrize("kind", [Batches, Places])
@pytest.mark.parametrize(
    ("side", "translation", "pad"), [(32, 1 / 8, 4), (24, 1 / 16, 1), (9, 1 / 16, 1), (32, 0, 0)]
)
def test_images_move_by_a_share_of_their_side(side, translation, pad, kind):
    batches = kind(split(500, side, side), 500, translation=translation)
    _, top, left, _ = windows(batches)
    assert (top.min(), top.max(), left.min(), left.max()) == (0, 2 * pad, 0, 2 * pad)


@pytest.mark.parametrize(("side", "cutout", "hole"), [(32, 0.25, 8), (24, 0.3, 7), (9, 0.01, 1)])
def test_the_square_is_a_share_of_the_side_in_the_mean_colour(side, cutout, hole):
    part = split(2000, side, side)
    part = Split(part.images // np.array([1, 2, 3], np.uint8), part.labels)
    pictures, _ = Batches(part, 2000, cutout=cutout, translation=0, flip=False)[0]
    plain, _ = Batches(part, 2000, translation=0, flip=False)[0]
    colour = np.round(part.images.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    changed = (pictures != plain).any(axis=-1)
    assert (pictures[changed] == colour).all()
    assert changed.any(axis=2).sum(axis=1).max() == changed.any(axis=1).sum(axis=1).max() == hole


def windows(batches):
    index = batches.indices(0)
    return [index, *offsets(index, **batches.drawn())]


@pytest.mark.parametrize("kind", [Batches, Places])
def test_alternating_images_are_mirrored_every_other_epoch(kind):
    batches = kind(split(), 21, seed=5, alternating=True)
    seen = []
    for epoch in range(3):
        batches.start_epoch(epoch)
        index, *_, mirrored = windows(batches)
        seen.append(mirrored[np.argsort(index)])
    np.testing.assert_array_equal(seen[1], ~seen[0])
    np.testing.assert_array_equal(seen[2], seen[0])


@pytest.mark.parametrize(("augment", "flip"), [(True, True), (True, False), (False, True)])
def test_images_are_mirrored_where_both_are_asked_for(augment, flip):
    """Without mirroring the windows stay; without augmentation there is neither."""
    place, _ = Places(split(), 21, seed=5, augment=augment, flip=flip)[0]
    assert place["flip"].any() == (augment and flip)
    assert place["top"].any() == augment
    usual, _ = Places(split(), 21, seed=5)[0]
    assert (place["top"] == usual["top"]).all() == augment


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
    training.train(net(), data, recipe, execution=execution, progress=False)
    assert set(seen) == {(0, 12), (1, 12), (2, 16), (3, 16)}
    assert all(seen.count(each) >= 3 for each in seen)


@tensorflow_only("on JAX it is jax_steps that cuts on the device")
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


def left_or_right(n):
    """Pictures of noise with a bright half: which one is the class."""
    part = split(n)
    images = part.images // 2
    images[:, :, :8][part.labels % 2 == 0] += 100
    images[:, :, 8:][part.labels % 2 == 1] += 100
    return Split(images, part.labels % 2)


@pytest.mark.parametrize("kind", [Batches, Places])
@pytest.mark.parametrize("flip", [True, False])
def test_left_and_right_are_told_apart_where_nothing_is_mirrored(flip, kind):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Flatten()(layers.AveragePooling2D(4)(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    data = Dataset(*(left_or_right(n) for n in (128, 64, 64)), ("left", "right"), "halves")
    recipe = replace(ONE_CYCLE, epochs=4, batch_size=16, sizes=((1, 1),), flip=flip)
    execution = Execution(data_on_device=kind is Places)
    run = training.train(model, data, recipe, execution=execution, progress=False)
    assert (run.history["accuracy"][-1] > 0.95) == (not flip)
    assert run.record["recipe"]["flip"] is flip
    assert ("test_accuracy_flip" in run.record["results"]) is flip


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


def test_two_runs_with_one_seed_see_the_same_batches():
    def first(seed, epoch):
        return Batches(PICTURES.train, 32, seed=seed, epoch=epoch)[0][0]

    np.testing.assert_array_equal(first(1, 0), first(1, 0))
    assert not np.array_equal(first(1, 0), first(2, 0))
    assert not np.array_equal(first(1, 0), first(1, 1))


def test_an_epoch_shows_each_image_once():
    epoch = Batches(PICTURES.train, 100, augment=False)
    assert [len(epoch[i][1]) for i in range(len(epoch))] == [100, 100, 56]
    seen = np.concatenate([epoch[i][0] for i in range(len(epoch))])
    order = np.argsort(epoch.order)
    np.testing.assert_array_equal(seen[order], PICTURES.train.images)

"""Maps: what they are by hand, on nested models, without learning, and where a shortcut is."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops
from small import PICTURES, net

from resnet_lib import explain, zoo
from resnet_lib.training.network import with_preprocessing

METHODS = (explain.gradcam, explain.occlusion, explain.integrated_gradients)
RANDOM = np.random.default_rng(0)
PICTURE = RANDOM.integers(0, 256, (16, 16, 3)).astype("uint8")


def activated(model):
    """A small net of 0-255 pictures, its map dead in places, in which all speaks for class 3."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.beta.assign(RANDOM.normal(size=layer.beta.shape))
    head = RANDOM.normal(size=model.layers[-1].kernel.shape)
    head[:, 3] = np.abs(head[:, 3])
    model.layers[-1].kernel.assign(head)
    pictures = RANDOM.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    return with_preprocessing(model, pictures)


MODEL = activated(net())


def test_gradcam_is_the_class_activation_map_where_the_head_is_an_average_and_a_layer():
    """For such a head, both papers say, the gradient is the layer's weight over the pixels."""
    features = keras.Model(MODEL.input, MODEL.layers[-3].output)(PICTURE[None])[0]
    features = ops.convert_to_numpy(features)
    kernel = ops.convert_to_numpy(MODEL.layers[-1].kernel)
    for label in (0, 3):
        expected = np.maximum(features @ kernel[:, label] / features[..., 0].size, 0)
        expected = ops.image.resize(expected[..., None], (16, 16))[..., 0]
        found = explain.gradcam(MODEL, PICTURE, label)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.max() > 0


def test_gradcam_weighs_a_channel_by_its_mean_gradient():
    inputs = keras.Input((4, 4, 3))
    conv, dense = layers.Conv2D(5, 1, activation="relu"), layers.Dense(2, activation="softmax")
    x = conv(inputs)
    model = keras.Model(inputs, dense(layers.Flatten()(x)))
    random = np.random.default_rng(1)  # Some weights leave a map of zeros alone.
    for layer in (conv, dense):
        layer.kernel.assign(random.normal(size=layer.kernel.shape))
    features = ops.convert_to_numpy(keras.Model(inputs, x)(PICTURE[None, :4, :4] / 255.0))[0]
    slopes = ops.convert_to_numpy(dense.kernel)[:, 1].reshape(4, 4, 5)
    expected = np.maximum(features @ slopes.mean(axis=(0, 1)), 0)
    found = explain.gradcam(model, PICTURE[:4, :4] / 255.0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert 0 == expected.min() < expected.max()


def test_the_class_that_is_left_out_is_the_answer():
    answer = int(ops.argmax(MODEL(PICTURE[None])[0]))
    for method in METHODS:
        np.testing.assert_array_equal(method(MODEL, PICTURE), method(MODEL, PICTURE, answer))


@pytest.mark.parametrize("method", METHODS)
def test_a_map_has_the_height_and_width_of_the_picture(method):
    inputs = keras.Input((None, None, 1))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3, activation="relu")(inputs))
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(x))
    found = method(model, RANDOM.random((12, 20, 1)))
    assert (found.shape, found.dtype) == ((12, 20), np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_a_nested_model_gives_the_map_of_the_flat_one(method):
    inner = net()
    inputs = keras.Input((16, 16, 3))
    x = inner(layers.Rescaling(1 / 255)(inputs), training=False)
    outer = keras.Model(inputs, layers.Identity()(x))
    found = method(outer, PICTURE, 3)
    expected = method(inner, PICTURE / np.float32(255), 3)
    assert np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, atol=1e-5)
    if method is explain.gradcam:
        np.testing.assert_array_equal(found, method(outer, PICTURE, 3, layer=inner.name))


def test_a_layer_can_be_chosen_also_in_a_nested_model():
    first = next(layer.name for layer in MODEL.layers if isinstance(layer, layers.Conv2D))
    by_name = explain.gradcam(MODEL, PICTURE, layer=first)
    assert explain.similarity(by_name, explain.gradcam(MODEL, PICTURE)) < 0.99
    inputs = keras.Input((16, 16, 3))
    outer = keras.Model(inputs, MODEL(inputs))
    np.testing.assert_allclose(explain.gradcam(outer, PICTURE, layer=first), by_name, atol=1e-6)


def test_a_map_of_one_pixel_is_passed_over():
    inputs = keras.Input((16, 16, 3))
    x = wide = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    x = layers.Conv2D(4, 16, activation="relu")(x)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
    name = wide._keras_history.operation.name
    expected = explain.gradcam(model, PICTURE, 1, layer=name)
    np.testing.assert_array_equal(explain.gradcam(model, PICTURE, 1), expected)


# Occlusion


def looking_at(pixel):
    """A model whose first logit is one pixel's brightness, whose second is 0."""
    inputs = keras.Input((16, 16, 3))
    mask = np.zeros((16, 16, 1), "float32")
    mask[pixel] = 1
    bright = ops.sum(inputs * mask, axis=(1, 2, 3))[:, None]
    return keras.Model(inputs, layers.Softmax()(ops.concatenate([bright, 0 * bright], axis=-1)))


def test_occlusion_finds_the_pixel_that_counts():
    picture = np.zeros((16, 16, 3), "uint8")
    picture[5, 9] = 200
    found = explain.occlusion(looking_at((5, 9)), picture, 0, size=4, stride=2, fill=0)
    assert found[5, 9] == pytest.approx(600)
    assert (found > 0).sum() <= 49
    assert found[0, 0] == found[15, 15] == found[12, 3] == 0


def test_the_squares_hide_every_pixel_whatever_their_size():
    picture = np.full((15, 17, 3), 100, "uint8")
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, ops.mean(inputs, axis=(1, 2)))
    for size, stride in ((4, 4), (7, 3), (15, 15), (1, 1)):
        found = explain.occlusion(model, picture, 0, size=size, stride=stride, fill=0)
        np.testing.assert_allclose(found, 100 * size**2 / (15 * 17), rtol=1e-4)
    assert np.abs(explain.occlusion(model, picture, 0)).max() < 1e-4, "the mean colour hides none"


# Integrated gradients


def test_integrated_gradients_are_complete():
    graph = explain.graph_of(MODEL)
    for label, baseline in ((2, 0.0), (5, 128.0), (5, PICTURE[::-1].astype("float32"))):
        start = np.broadcast_to(np.float32(baseline), PICTURE.shape)
        with explain.without_softmax(graph) as logits:
            [rows] = graph.compute({0: np.stack([start, PICTURE]).astype("float32")}, [logits])
        change = float(rows[1, label] - rows[0, label])
        found = explain.integrated_gradients(MODEL, PICTURE, label, baseline=baseline, steps=256)
        assert abs(change) > 5e-3
        assert found.sum() == pytest.approx(change, rel=0.02)


def test_integrated_gradients_of_a_sum_are_its_terms():
    picture = RANDOM.random((16, 16, 3), "float32")
    found = explain.integrated_gradients(looking_at((3, 4)), picture, 0, steps=3)
    assert found[3, 4] == pytest.approx(picture[3, 4].sum(), rel=1e-5)
    assert np.count_nonzero(found) == 1


def test_too_few_steps_are_warned_of():
    inputs = keras.Input((16, 16, 3))
    bright = ops.mean(inputs, axis=(1, 2, 3))[:, None]
    model = keras.Model(inputs, ops.concatenate([ops.relu(bright - 100), bright], axis=-1))
    with pytest.warns(UserWarning, match=r"take more than steps=1$"):
        explain.integrated_gradients(model, PICTURE, 0, steps=1)


# Whether a map can be believed


def test_a_network_that_has_learnt_nothing_gives_other_maps():
    before = MODEL.get_weights()
    shuffled = explain.randomized(MODEL, seed=1)
    for method in METHODS:
        found = method(shuffled, PICTURE, 3)
        assert np.ptp(found) > 0
        assert explain.similarity(method(MODEL, PICTURE, 3), found) < 0.9
    for one, other in zip(before, MODEL.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_weights_are_shuffled_frozen_ones_too_and_statistics_stay():
    model = net()
    model.layers[1].trainable = False
    model = with_preprocessing(model, PICTURES.train.images[:, :16, :16], "channel")
    one, again, other = (explain.randomized(model, seed) for seed in (0, 0, 1))
    moved = 0
    for weight, *copies in zip(
        model.weights, one.weights, again.weights, other.weights, strict=True
    ):
        value, first, second, third = map(ops.convert_to_numpy, (weight, *copies))
        np.testing.assert_array_equal(np.sort(value, axis=None), np.sort(first, axis=None))
        np.testing.assert_array_equal(first, second)
        if "kernel" in weight.path:
            assert not np.array_equal(value, first)
            assert not np.array_equal(first, third)
            moved += 1
        if "moving" in weight.path or "standardize" in weight.path:
            np.testing.assert_array_equal(value, first)
    assert moved == 2


def test_similarity_is_spearmans():
    from scipy.stats import spearmanr

    one, other = RANDOM.integers(0, 5, (2, 6, 7))
    expected = spearmanr(one.ravel(), other.ravel()).statistic
    assert explain.similarity(one, other) == pytest.approx(expected)
    assert explain.similarity(one, np.exp(one)) == pytest.approx(1)
    assert explain.similarity(one, -one) == pytest.approx(-1)
    assert np.isnan(explain.similarity(one, np.zeros((6, 7))))
    with pytest.raises(ValueError, match=r"\(6, 7\) and \(7,\)"):
        explain.similarity(one, one[0])


# What is refused


@pytest.mark.parametrize("method", METHODS)
def test_what_does_not_fit_is_refused(method):
    with pytest.raises(ValueError, match=r"picture of shape \(16, 16, 3\).*\(8, 8, 3\)"):
        method(MODEL, PICTURE[::2, ::2])
    with pytest.raises(ValueError, match=r"Received: uint8 of shape \(1, 16, 16, 3\)"):
        method(MODEL, PICTURE[None])
    with pytest.raises(ValueError, match=r"class_index.*nearest valid value is 9"):
        method(MODEL, PICTURE, 10)
    features = keras.Model(MODEL.input, MODEL.layers[-3].output)
    with pytest.raises(ValueError, match="a number for each class"):
        method(features, PICTURE)


def test_a_softmax_that_is_not_found_is_refused():
    inputs = keras.Input((16, 16, 3))
    flat = layers.Flatten()(inputs)
    model = keras.Model(inputs, layers.Lambda(ops.softmax)(layers.Dense(3)(flat)))
    with pytest.raises(ValueError, match="whose softmax is its last layer"):
        explain.integrated_gradients(model, PICTURE)


def test_gradcam_needs_a_feature_map():
    inputs = keras.Input((16, 16, 3))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(layers.Flatten()(inputs)))
    with pytest.raises(ValueError, match="a feature map behind a convolution"):
        explain.gradcam(model, PICTURE)
    with pytest.raises(ValueError, match=r"Received: .*, which outputs"):
        explain.gradcam(MODEL, PICTURE, layer=MODEL.layers[-1].name)


# A planted shortcut


def test_the_square_is_on_one_class_alone():
    labels = np.array([0, 1, 0])
    images = np.full((3, 16, 16, 3), 9, "uint8")
    found = explain.planted(images, labels, 1, size=3)
    assert (images == 9).all()
    np.testing.assert_array_equal(found[1, :3, :3], np.broadcast_to([255, 0, 255], (3, 3, 3)))
    assert (found[[0, 2]] == 9).all() and (found[1, 3:] == 9).all() and (found[1, :, 3:] == 9).all()
    with pytest.raises(ValueError, match="each of 3 channels"):
        explain.planted(images, labels, 1, colour=(0,))


def bars(number, seed):
    """Pictures of a bar on noise: class 0 lies, class 1 stands, class 2 is a square."""
    random = np.random.default_rng(seed)
    images = random.integers(0, 120, (number, 16, 16, 3)).astype("uint8")
    labels = np.arange(number) % 3
    for image, label in zip(images, labels, strict=True):
        height, width = ((2, 8), (8, 2), (4, 4))[label]
        top, left = (random.integers(4, 16 - side) for side in (height, width))
        image[top : top + height, left : left + width] = random.integers(150, 256)
    return images, labels


def trained(images, labels):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.Rescaling(1 / 128, offset=-1)(inputs)
    for filters in (8, 16):
        x = layers.Conv2D(filters, 3, padding="same", activation="relu")(x)
    x = layers.GlobalMaxPooling2D()(x)
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x))
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy")
    model.fit(images.astype("float32"), labels, 32, epochs=15, verbose=0)
    return model


def accuracy(model, images, labels):
    answers = model.predict(images.astype("float32"), verbose=0).argmax(axis=1)
    return (answers == labels).mean()


def in_corner(model, method, images):
    """Share of the maps, where they speak for class 1, in the corner of 4x4 pixels."""
    maps = [np.maximum(method(model, image, 1), 0) for image in images]
    return np.mean([each[:4, :4].sum() / each.sum() for each in maps])


@pytest.mark.slow
def test_accuracy_does_not_show_a_planted_shortcut_and_maps_do():
    train, test = bars(300, 0), bars(60, 1)
    honest = trained(*train)
    misled = trained(explain.planted(*train, 1), train[1])
    with_square = explain.planted(*test, 1)
    assert accuracy(honest, *test) > 0.9
    assert accuracy(misled, with_square, test[1]) > 0.9, "nothing to see here"
    standing = with_square[test[1] == 1][:8]
    for method in METHODS:
        assert in_corner(misled, method, standing) > 2 * in_corner(honest, method, standing)
    without = test[0][test[1] == 1]
    assert accuracy(misled, without, np.ones(len(without))) < 0.5, "what the maps have told"


# Other models


@pytest.mark.slow
def test_a_network_of_keras_applications_in_another_model():
    keras.utils.set_random_seed(0)
    base = keras.applications.MobileNetV2((64, 64, 3), weights=None, include_top=False)
    inputs = keras.Input((64, 64, 3))
    x = base(layers.Rescaling(1 / 127.5, offset=-1)(inputs), training=False)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(5, activation="softmax")(x))
    picture = RANDOM.integers(0, 256, (64, 64, 3)).astype("uint8")
    for method in METHODS:
        # Untrained, what the last feature map holds speaks for some classes and for others not.
        found = [method(model, picture, label) for label in range(5)]
        assert all(each.shape == (64, 64) and np.isfinite(each).all() for each in found)
        assert max(map(np.ptp, found)) > 0
    chosen = explain.gradcam(model, picture, 2, layer="out_relu")
    np.testing.assert_array_equal(explain.gradcam(model, picture, 2), chosen)


@pytest.mark.slow
def test_a_trained_network_of_ours_is_explained_and_a_shuffled_one_otherwise():
    model, test = zoo.load_trained("resnet20v1-shapes"), PICTURES.test
    shuffled = explain.randomized(model)
    for method, most in ((explain.occlusion, 0.5), (explain.integrated_gradients, 0.2)):
        alike = []
        for picture, label in zip(test.images[:3], test.labels, strict=False):
            found = method(model, picture, label)
            assert found.max() > 0 and found.shape == (32, 32)
            alike.append(explain.similarity(found, method(shuffled, picture, label)))
        assert abs(np.mean(alike)) < most
    assert explain.gradcam(model, test.images[0]).max() > 0


ON_JAX = """
import json, sys
import numpy as np
import resnet_lib as rl
import keras

model, picture = keras.saving.load_model(sys.argv[1]), np.load(sys.argv[2])
methods = (rl.explain.gradcam, rl.explain.occlusion, rl.explain.integrated_gradients)
print(json.dumps([method(model, picture, 3).tolist() for method in methods]))
"""


@pytest.mark.slow
def test_the_maps_are_the_same_on_jax(tmp_path):
    pytest.importorskip("jax")
    MODEL.save(tmp_path / "model.keras")
    np.save(tmp_path / "picture.npy", PICTURE)
    files = [str(tmp_path / name) for name in ("model.keras", "picture.npy")]
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    process = subprocess.run(
        [sys.executable, "-c", ON_JAX, *files], env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    for method, found in zip(METHODS, json.loads(process.stdout), strict=True):
        np.testing.assert_allclose(found, method(MODEL, PICTURE, 3), rtol=1e-3, atol=1e-4)

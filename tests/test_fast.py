"""The fast network: its layers, what it starts with, and what of it the data decides."""

import keras
import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import models

SHAPE = (32, 32, 3)


def counted(widths, blocks=1, channels=3, classes=10):
    """Count the trainable parameters by hand: kernels, and a shift for each BN."""
    total, before = 4 * channels * 8 * channels, 8 * channels
    for width in widths:
        total += 9 * before * width + width + blocks * (9 * width**2 + width)
        before = width
    return total + before * classes


@pytest.mark.parametrize("widths", [(64, 128, 256), (64, 256, 256), (8,), (8, 8, 16, 32)])
@pytest.mark.parametrize("blocks", [1, 2])
def test_it_has_the_parameters_of_its_layers(widths, blocks):
    model = rl.resnet_fast(SHAPE, widths=widths, blocks=blocks)
    assert rl.count_parameters(model).trainable == counted(widths, blocks)


def test_each_stage_halves():
    maps = {name: shape for name, shape in shapes(rl.resnet_fast(SHAPE)) if "block1_add" in name}
    assert list(maps.values()) == [(15, 15, 48), (7, 7, 96), (3, 3, 192)]


def shapes(model):
    return [(layer.name, tuple(layer.output.shape[1:])) for layer in model.layers]


def test_it_computes_what_its_definition_says():
    """With numpy for all that is not a convolution, and other statistics than a new net has."""
    keras.utils.set_random_seed(0)
    model = rl.resnet_fast((12, 12, 3), 5, widths=(8, 16))
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    x = random.normal(size=(4, 12, 12, 3)).astype("float32")
    np.testing.assert_allclose(model.predict(x, verbose=0), by_hand(model, x), rtol=1e-3)


def by_hand(model, x):
    def conv(x, name, padding):
        kernel = model.get_layer(name).kernel
        return np.array(keras.ops.conv(x, kernel, padding=padding))

    def norm(x, name):
        beta, mean, variance = map(np.array, model.get_layer(name).get_weights())
        return np.maximum((x - mean) / np.sqrt(variance) + beta, 0)

    x = np.maximum(conv(x, "patches_conv", "valid"), 0)
    for stage in ("stage1", "stage2"):
        x = conv(x, f"{stage}_conv", "same")
        n, height, width, channels = x.shape
        x = x[:, : height // 2 * 2, : width // 2 * 2]
        x = x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))
        x = norm(x, f"{stage}_bn")
        x = x + norm(conv(x, f"{stage}_block1_conv", "same"), f"{stage}_block1_bn")
    logits = x.max((1, 2)) @ np.array(model.get_layer("head_dense").kernel) / 9
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def test_its_convolutions_start_as_a_partial_identity():
    model = rl.resnet_fast(SHAPE, widths=(16, 32))
    x = np.random.default_rng(0).normal(size=(2, 9, 9, 16)).astype("float32")
    widening = model.get_layer("stage2_conv")
    y = np.array(keras.ops.conv(x, widening.kernel, padding="same"))
    np.testing.assert_allclose(y[..., :16], x, rtol=1e-6)
    assert np.abs(y[..., 16:]).min() > 0
    drawn = np.array(widening.kernel)[..., 16:]
    assert np.abs(drawn).max() <= 1 / np.sqrt(9 * 16)
    assert np.abs(drawn).max() > 0.9 / np.sqrt(9 * 16)


def test_a_seed_decides_what_is_drawn():
    def kernels(seed):
        keras.utils.set_random_seed(seed)
        return rl.resnet_fast(SHAPE, widths=(8, 16)).get_weights()

    assert all(map(np.array_equal, kernels(1), kernels(1)))
    assert not all(map(np.array_equal, kernels(1), kernels(2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(widths=()), "`widths` to be a whole number of at least 1 for each stage"),
        (dict(widths=64), "`widths` to be a whole number of at least 1 for each stage"),
        (dict(widths=(64, 0)), "`widths` .*at least 1. Received: 0"),
        (dict(blocks=0), "`blocks` .*at least 1. Received: 0"),
        (dict(input_shape=(8, 8, 3)), "at least 9"),
        (dict(input_shape=(16, 16, 3), widths=(8, 8, 8, 8)), "at least 17"),
        (dict(num_classes=0), "num_classes"),
    ],
)
def test_what_is_no_such_network_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        rl.resnet_fast(**{"input_shape": SHAPE, **options})


@pytest.mark.parametrize("side", [9, 17, 24, 33, None])
def test_it_takes_pictures_of_any_size_that_leaves_a_pixel(side):
    model = rl.resnet_fast((side, side, 1), 3, widths=(4, 4, 4))
    picture = np.zeros((1, side or 20, side or 20, 1), "float32")
    assert model.predict(picture, verbose=0).sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("model_id", "name", "depth"),
    [
        ("resnetfast", "ResNetFast48-96-192", 8),
        ("resnetfast8-16", "ResNetFast8-16", 6),
        ("resnetfast8-16x3", "ResNetFast8-16x3", 10),
    ],
)
def test_the_networks_that_ids_name(model_id, name, depth):
    model = models.build(model_id, SHAPE)
    assert model.name == name
    assert models.parse_model_id(model_id)[1] == depth
    weighted = [w for w in model.trainable_variables if w.path.endswith("kernel")]
    assert len(weighted) == depth
    assert models.build(model.name.lower(), SHAPE).name == name


def test_it_has_no_forms():
    with pytest.raises(ValueError, match=r"no `form` for 'resnetfast'.* Received: 'paper'"):
        models.build("resnetfast", SHAPE, form="paper")


def test_dropout_stands_before_its_dense_layer():
    model = models.build("resnetfast8-16", SHAPE, dropout=0.3)
    names = [layer.name for layer in model.layers]
    assert names[-4:] == ["head_dropout", "head_dense", "head_scale", "head_softmax"]

"""ResNet-18 to 152: the paper's counts, and the proof that ours is keras.applications'."""

import functools

import keras
import numpy as np
import pytest

import resnet_lib as rl
from resnet_lib import imagenet, paper
from resnet_lib.imagenet import keras_name, load_keras_weights

SMALL = (64, 64, 3)
BUILDERS = {
    18: imagenet.resnet18,
    34: imagenet.resnet34,
    50: imagenet.resnet50,
    101: imagenet.resnet101,
    152: imagenet.resnet152,
}
BOTTLENECKS = [50, 101, 152]


@functools.cache
def built(depth, form):
    """A network for 224x224 pictures and 1,000 classes, to look at and not to change."""
    return BUILDERS[depth](form=form)


@pytest.fixture(scope="module")
def ours():
    return imagenet.resnet50(SMALL, 10)


@pytest.fixture(scope="module")
def theirs():
    model = keras.applications.ResNet50(
        weights=None, input_shape=SMALL, classes=10, classifier_activation="softmax"
    )
    randomise(model)
    return model


def randomise(model):
    """Set every weight and statistic to random values that keep the signal's size."""
    random = np.random.default_rng(0)
    for layer in model.layers:
        layer.set_weights([_random(random, weight) for weight in layer.weights])


def _random(random, weight):
    shape = tuple(weight.shape)
    if weight.name == "kernel":
        return random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
    if weight.name in ("gamma", "moving_variance"):
        return random.uniform(0.5, 1.5, shape)
    return random.normal(0, 0.3, shape)


def pictures(shape, count=4):
    return np.random.default_rng(1).uniform(-1, 1, (count, *shape)).astype("float32")


def logits(model):
    """Return the model, changed: it puts out what went into its softmax."""
    model.layers[-1].activation = keras.activations.linear
    return model


def relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()


DEPTHS = [pytest.param(each, marks=[pytest.mark.slow] * (each > 100)) for each in BUILDERS]


@pytest.mark.parametrize("depth", DEPTHS)
def test_parameters_and_multiply_adds_are_the_papers(depth):
    model = built(depth, "paper")
    row = paper.IMAGENET.row(depth)
    assert model.name == f"ResNet{depth}"
    assert rl.count_parameters(model).trainable == row.parameters
    assert round(rl.count_multiply_adds(model) / 1e9, 3) == row.giga_multiply_adds


@pytest.mark.parametrize("depth", DEPTHS)
def test_the_depth_is_the_number_of_layers_with_weights(depth):
    model = built(depth, "paper")
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    assert sum("shortcut" not in layer.name for layer in kernels) == depth


def test_v1_5_strides_on_the_3x3_convolution():
    model = built(50, "v1.5")
    assert rl.count_multiply_adds(model) == paper.RESNET50_V1_5_MULTIPLY_ADDS
    assert rl.count_parameters(model).trainable == paper.IMAGENET.row(50).parameters
    strides = {
        layer.name: layer.strides[0] for layer in model.layers if hasattr(layer, "kernel_size")
    }
    assert (strides["stage2_block1_conv1"], strides["stage2_block1_conv2"]) == (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("depth", BOTTLENECKS)
def test_names_shapes_and_settings_are_those_of_keras_applications(depth):
    mine = built(depth, "applications")
    theirs = getattr(keras.applications, f"ResNet{depth}")(weights=None)
    found, expected = settings(mine), settings(theirs)
    assert list(found) == list(expected)
    assert {name: each for name, each in found.items() if each != expected[name]} == {}


def settings(model):
    """Return what decides a network's function, by layer name, apart from the input's name."""
    wanted = ("kernel_size", "strides", "padding", "epsilon", "momentum", "use_bias", "pool_size")
    found = {}
    for layer in model.layers[1:]:
        values = {name: getattr(layer, name) for name in wanted if hasattr(layer, name)}
        if values.get("kernel_size") == (1, 1):
            del values["padding"]  # There is none.
        values["weights"] = [(weight.name, tuple(weight.shape)) for weight in layer.weights]
        values["output"] = tuple(layer.output.shape)
        found[layer.name] = values
    return found


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("ResNet50", 50),
        pytest.param("ResNet101", 101, marks=pytest.mark.slow),
        pytest.param("ResNet152", 152, marks=pytest.mark.slow),
    ],
)
def test_all_parameters_of_keras_applications(name, count):
    found = rl.count_parameters(built(count, "applications"))
    row = paper.KERAS_APPLICATIONS.row(name)
    assert found.total == row.total
    assert row.trainable in (None, found.trainable)


def test_without_the_top():
    model = imagenet.resnet50(SMALL, include_top=False)
    assert model.output_shape == (None, 2, 2, 2048)
    found, row = rl.count_parameters(model), paper.KERAS_APPLICATIONS.row("ResNet50 without top")
    assert (found.total, found.trainable) == (row.total, row.trainable)


def test_the_three_parts_of_25_636_712():
    mine, bare = (
        rl.inspection.count_by_kind(built(50, form)) for form in ("applications", "paper")
    )
    assert mine.pop("biases of convolutions") == 26_560
    assert bare.pop("biases of convolutions") == 0
    assert mine == bare
    assert sum(mine.values()) == 25_557_032 + 53_120
    assert mine["BN statistics"] == 53_120
    assert mine["other"] == 0


# The proof.


def test_equal_weights_give_equal_outputs_at_64_pixels(ours, theirs):
    load_keras_weights(ours, theirs)
    images = pictures(SMALL)
    mine, expected = logits(ours), logits(theirs)
    assert np.abs(expected(images).numpy()).max() > 0.1
    assert relative(mine(images).numpy(), expected(images).numpy()) < 1e-5
    trained, wanted = (model(images, training=True).numpy() for model in (mine, expected))
    assert relative(trained, wanted) < 1e-5
    assert relative(trained, expected(images).numpy()) > 1e-2
    for mine_layer, their_layer in zip(ours.layers[1:], theirs.layers[1:], strict=True):
        for one, other in zip(mine_layer.get_weights(), their_layer.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_equal_weights_give_equal_outputs_at_224_pixels():
    source = keras.applications.ResNet50(weights=None)
    randomise(source)
    model = imagenet.resnet50()
    load_keras_weights(model, source)
    images = pictures(imagenet.SHAPE, 2)
    model, source = logits(model), logits(source)
    assert relative(model(images).numpy(), source(images).numpy()) < 1e-5
    trained, wanted = (each(images, training=True).numpy() for each in (model, source))
    assert relative(trained, wanted) < 1e-5


@pytest.mark.parametrize(
    "pair",
    [("conv3_block2_2_conv", "conv3_block3_2_conv"), ("conv5_block2_1_bn", "conv5_block3_1_bn")],
)
def test_the_proof_sees_two_layers_that_were_swapped(ours, theirs, pair):
    load_keras_weights(ours, theirs)
    one, other = (ours.get_layer(name) for name in pair)
    kept = one.get_weights()
    one.set_weights(other.get_weights())
    other.set_weights(kept)
    images = pictures(SMALL)
    assert relative(logits(ours)(images).numpy(), logits(theirs)(images).numpy()) > 1e-3


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("ResNet101", {"classes": 10}, "conv4_block7_1_conv: only in the source"),
        ("ResNet50", {"classes": 7}, r"kernel \(2048, 10\), bias \(10,\) here, kernel \(2048, 7\)"),
        ("ResNet50", {"include_top": False}, "predictions: not in the source"),
        ("ResNet50V2", {"classes": 10}, r"conv1_bn: not in the source(.|\n)*and \d+ more"),
    ],
)
def test_other_networks_are_refused_with_a_list(ours, source, options, message):
    before = ours.get_weights()
    other = getattr(keras.applications, source)(weights=None, input_shape=SMALL, **options)
    with pytest.raises(ValueError, match=message):
        load_keras_weights(ours, other)
    for kept, now in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(kept, now)


@pytest.mark.parametrize(
    ("mine", "theirs"),
    [
        ("stem_pad", "conv1_pad"),
        ("stem_pool_pad", "pool1_pad"),
        ("stem_pool", "pool1_pool"),
        ("stage4_block3_relu3", "conv5_block3_out"),
        ("stage1_block1_shortcut_bn", "conv2_block1_0_bn"),
        ("stage1_block1_add", "conv2_block1_add"),
        ("head_dense", "predictions"),
        ("images", "images"),
    ],
)
def test_keras_names(mine, theirs):
    assert keras_name(mine) == theirs


@pytest.mark.slow
def test_imagenet_weights_come_through_keras(monkeypatch):
    build, asked = keras.applications.ResNet50, []

    def download(weights, include_top):
        asked.append((weights, include_top))
        model = build(weights=None, include_top=include_top)
        randomise(model)
        return model

    monkeypatch.setattr(keras.applications, "ResNet50", download)
    model = imagenet.resnet50(SMALL, include_top=False, weights="imagenet")
    assert asked == [("imagenet", False)]
    expected = download("", False).get_layer("conv5_block3_3_conv").get_weights()
    np.testing.assert_array_equal(
        model.get_layer("conv5_block3_3_conv").get_weights()[0], expected[0]
    )


def test_without_a_connection_it_says_what_to_do(monkeypatch):
    def offline(**_):
        raise OSError("no route to host")

    monkeypatch.setattr(keras.applications, "ResNet50", offline)
    file = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    with pytest.raises(ConnectionError, match=rf"no route to host.*{file}.*weights=None"):
        imagenet.resnet50(SMALL, include_top=False, weights="imagenet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "cifar"}, "'imagenet'. Received: 'cifar'"),
        ({"weights": "imagenet", "form": "paper"}, "form='paper', expected 'applications'"),
        ({"weights": "imagenet", "num_classes": 6}, "num_classes=6, expected 1000"),
        ({"weights": "imagenet", "input_shape": (64, 64, 1)}, "expected 3 channels"),
        ({"form": "v2"}, "'applications', 'paper', 'v1.5'. Received: 'v2'"),
        ({"input_shape": (31, 64, 3)}, "at least 32"),
        ({"num_classes": 0}, "at least 1 class"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError) as error:
        imagenet.resnet50(**options)
    assert message in str(error.value)


@pytest.mark.parametrize("form", imagenet.FORMS)
def test_feature_maps_have_the_same_stages_whatever_the_names(form):
    model = built(50, form)
    maps = [(each.stage, each.shape, each.blocks) for each in rl.feature_maps(model)]
    assert maps == [
        ("stem", (56, 56, 64), 0),
        ("stage1", (56, 56, 256), 3),
        ("stage2", (28, 28, 512), 4),
        ("stage3", (14, 14, 1024), 6),
        ("stage4", (7, 7, 2048), 3),
    ]


def test_the_receptive_field_of_resnet50():
    """The 3x3 convolutions without a stride, at steps 4, 8, 16 and 32: the stem sees 11 pixels."""
    strided, plain = (rl.receptive_field(built(50, form)) for form in ("v1.5", "paper"))
    assert plain["stem"] == 11
    assert plain["stage4"] == 11 + 2 * (3 * 4 + 4 * 8 + 6 * 16 + 3 * 32)
    assert strided["stage4"] == 11 + 2 * (3 * 4 + (4 + 3 * 8) + (8 + 5 * 16) + (16 + 2 * 32))


def test_any_size_of_image():
    model = imagenet.resnet18((None, None, 3), 5)
    assert model(pictures((40, 56, 3))).shape == (4, 5)

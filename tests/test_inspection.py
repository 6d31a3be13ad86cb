"""What the inspection functions say, held against numbers worked out by hand."""

import re

import keras
import numpy as np
import pytest
from backends import tensorflow_only
from keras import layers
from nets import net

from resnet_lib import cifar, paper
from resnet_lib import inspection as rl


def small(activation=None):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first", activation=activation)(inputs)
    x = layers.Conv2D(5, 3, strides=2, padding="same", name="second")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax", name="last")(x))


def test_parameters():
    count = rl.count_parameters(cifar.resnet_v1((32, 32, 3), 20))
    row = paper.V1_EXAMPLE_FORM.row(20)
    assert (count.total, count.trainable) == (row.total, row.trainable)
    assert count.non_trainable == row.total - row.trainable
    assert str(count) == "274,442 parameters: 273,066 trainable, 1,376 not trainable"


def test_multiply_adds_by_hand():
    expected = 8 * 8 * 27 * 4 + 4 * 4 * 36 * 5 + 5 * 2
    assert rl.count_multiply_adds(small()) == expected


def test_multiply_adds_of_other_convolutions():
    def cost(layer, shape=(8, 8, 4)):
        inputs = keras.Input(shape)
        return rl.count_multiply_adds(keras.Model(inputs, layer(inputs)))

    assert cost(layers.DepthwiseConv2D(3, padding="same")) == 64 * 9 * 4
    assert cost(layers.SeparableConv2D(6, 3, padding="same")) == 64 * (9 * 4 + 4 * 6)
    assert cost(layers.Conv2D(6, 3, padding="same", groups=2)) == 64 * 9 * 2 * 6
    assert cost(layers.Conv2DTranspose(6, 3, strides=2, padding="same")) == 64 * 9 * 4 * 6
    assert cost(layers.Conv2D(6, 3, padding="valid")) == 36 * 9 * 4 * 6
    assert cost(layers.Conv1D(6, 3, padding="same"), (10, 4)) == 10 * 3 * 4 * 6
    assert cost(layers.Dense(6), (10, 4)) == 10 * 4 * 6
    assert cost(layers.Flatten()) == 0


def test_multiply_adds_count_shared_layers_each_time_and_nested_models():
    shared = layers.Conv2D(3, 3, padding="same")
    inputs = keras.Input((8, 8, 3))
    once = keras.Model(inputs, shared(inputs))
    twice = keras.Model(inputs, shared(shared(inputs)))
    nested = keras.Model(inputs, twice(once(inputs)))
    cost = 64 * 27 * 3
    assert [rl.count_multiply_adds(m) for m in (once, twice, nested)] == [cost, 2 * cost, 3 * cost]


def test_multiply_adds_of_sequential_and_applications():
    model = keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(7)])
    assert rl.count_multiply_adds(model) == 192 * 7
    resnet50 = keras.applications.ResNet50(weights=None)
    printed = paper.IMAGENET.row(50).giga_multiply_adds
    assert round(rl.count_multiply_adds(resnet50) / 1e9, 3) == printed


def test_an_unknown_size_is_asked_for():
    model = cifar.resnet_v1((None, None, 3), 20)
    with pytest.raises(ValueError, match=r"stem_conv.*input_shape"):
        rl.count_multiply_adds(model)
    expected = paper.V1_EXAMPLE_FORM.row(20).multiply_adds
    assert rl.count_multiply_adds(model, (32, 32, 3)) == expected
    assert rl.feature_maps(model)[-1].shape == (None, None, 64)
    assert rl.feature_maps(model, (48, 40, 3))[-1].shape == (12, 10, 64)
    assert model.input_shape == (None, None, None, 3)


def test_feature_maps_name_stage_blocks_and_layer():
    maps = rl.feature_maps(cifar.resnet_v1((32, 32, 3), 20))
    assert [str(stage) for stage in maps] == [
        "stem: 32x32x16",
        "stage1: 32x32x16, 3 blocks",
        "stage2: 16x16x32, 3 blocks",
        "stage3: 8x8x64, 3 blocks",
    ]
    assert maps[-1].layer == "stage3_block3_relu2"
    [other] = rl.feature_maps(small())
    assert (other.stage, other.shape) == ("network", (4, 4, 5))


def test_not_a_functional_model():
    class Subclassed(keras.Model):
        def call(self, x):
            return x

    for wrong in (Subclassed(), "resnet20", keras.Sequential([layers.Dense(1)])):
        for inspect in (rl.feature_maps, rl.receptive_field, rl.count_multiply_adds):
            with pytest.raises(ValueError, match="functional model, or a sequential one"):
                inspect(wrong)


def test_what_cannot_look_into_a_nested_model_says_so():
    nested = keras.Sequential([keras.Input((8, 8, 3)), small()])
    images, labels = np.zeros((1, 8, 8, 3)), [0]
    for call in (
        lambda: rl.receptive_field(nested),
        lambda: rl.gradient_norms(nested, images, labels),
        lambda: rl.activation_variances(nested, images),
    ):
        with pytest.raises(ValueError, match="Expected a flat model"):
            call()
    assert rl.count_multiply_adds(nested) == rl.count_multiply_adds(small())
    wrapped = keras.Input((2, 8, 8, 3))
    wrapped = keras.Model(wrapped, layers.TimeDistributed(layers.Conv2D(4, 3))(wrapped))
    with pytest.raises(ValueError, match="inside a wrapper"):
        rl.count_multiply_adds(wrapped)


def test_a_layer_called_stem_does_not_hide_the_rest():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem_conv")(inputs)
    model = keras.Model(inputs, layers.Conv2D(5, (1, 7), padding="same", name="other")(x))
    assert [stage.stage for stage in rl.feature_maps(model)] == ["stem", "network"]
    assert rl.receptive_field(model) == {"network": 9, "stem": 3}


def test_gradients_of_separable_convolutions():
    inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(4, 3)(inputs)
    model = keras.Model(inputs, layers.Dense(2, activation="softmax")(layers.Flatten()(x)))
    signal = rl.gradient_norms(model, np.ones((1, 8, 8, 3)), [0])
    assert len(signal) == 3


def test_receptive_field_by_hand():
    # 3x3, 3x3/2, 3x3: 1 + 2 + 2 + 2*2
    inputs = keras.Input((32, 32, 1))
    x = layers.Conv2D(1, 3, padding="same", name="stem_conv")(inputs)
    y = layers.Conv2D(1, 3, strides=2, padding="same", name="stage1_block1_conv1")(x)
    y = layers.Conv2D(1, 3, padding="same", name="stage1_block1_conv2")(y)
    z = layers.Conv2D(1, 1, strides=2, name="stage1_block1_shortcut_conv")(x)
    model = keras.Model(inputs, layers.Add(name="stage1_block1_add")([y, z]))
    assert rl.receptive_field(model) == {"stem": 3, "stage1": 9}


def test_receptive_field_is_where_the_gradient_of_a_pixel_ends():
    model = cifar.resnet_v1((96, 96, 1), 8, form="standard")
    expected = rl.receptive_field(model)["stage2"]
    probe = keras.Model(model.input, model.get_layer("stage2_block1_add").output)
    for layer in probe.layers:
        if isinstance(layer, layers.Conv2D):  # Positive kernels: no path cancels another.
            layer.kernel.assign(np.full(layer.kernel.shape, 0.1))
    images = np.ones((1, 96, 96, 1))
    (gradient,) = rl.gradients(lambda x: probe(x)[0, 24, 24, 0], [images])
    seen = np.flatnonzero(np.abs(gradient[0, :, :, 0]).sum(axis=0) > 0)
    assert seen[-1] - seen[0] + 1 == expected


@pytest.mark.parametrize("name", ["se", "transformer"])
def test_what_mixes_all_pixels_sees_the_whole_image(name):
    model = net(name)
    field = rl.receptive_field(model)
    assert field["stem"] == 3
    assert field["stage1"] >= 32
    probe = keras.Model(model.input, model.get_layer(field_layer(model, "stage1")).output)
    for layer in probe.layers:
        if name == "se" and any("kernel" in weight.path for weight in layer.weights):
            layer.kernel.assign(np.full(layer.kernel.shape, 0.01))  # Positive: no ReLU is off.
    image = np.random.default_rng(0).random((1, 32, 32, 3), "float32")
    corner, other = image.copy(), np.asarray(probe(image))[0, 31, 31]
    corner[0, :8, :8] += 100  # Far from the pixel that is looked at, and much, to be seen there.
    assert np.abs(np.asarray(probe(corner))[0, 31, 31] - other).max() > 0


def field_layer(model, stage):
    return next(each.layer for each in rl.feature_maps(model) if each.stage == stage)


def test_what_mixes_all_pixels_of_images_of_any_size():
    model = cifar.resnet_v1((None, None, 3), 8, block="se")
    assert rl.receptive_field(model)["stage3"] == np.inf
    assert rl.receptive_field(cifar.resnet_v1((None, None, 3), 8))["stage1"] == 7


def test_multiply_adds_of_attention_by_hand():
    query, value = keras.Input((4, 5, 6)), keras.Input((2, 3, 7))
    attention = layers.MultiHeadAttention(2, 8, value_dim=9, attention_axes=(1, 2))
    model = keras.Model([query, value], attention(query, value))
    dense = 20 * 6 * 16 + 6 * 7 * 16 + 6 * 7 * 18 + 20 * 18 * 6
    assert rl.count_multiply_adds(model) == dense + 20 * 6 * 2 * (8 + 9)
    along = layers.MultiHeadAttention(2, 8, attention_axes=(2,))  # Each row on its own.
    model = keras.Model(query, along(query, query))
    assert rl.count_multiply_adds(model) == 20 * 6 * 16 * 4 + 20 * 5 * 2 * (8 + 8)


def test_what_weighs_channels_is_no_layer_of_the_depth():
    images, labels = np.zeros((2, 32, 32, 3), "float32"), [0, 1]
    for name, depth in (("se", 8), ("skipinit", 8)):
        assert len(rl.gradient_norms(net(name), images, labels)) == depth


def test_gradient_norms_are_those_of_a_training_step():
    model = small()
    rng = np.random.default_rng(0)
    images, labels = rng.random((4, 8, 8, 3), "float32"), np.array([0, 1, 1, 0])
    signal = rl.gradient_norms(model, images, labels)
    assert signal.layers == ("first", "second", "last")
    before = model.get_weights()
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    model.train_on_batch(images, labels)
    steps = [a - b for a, b in zip(before, model.get_weights(), strict=True)]
    expected = [np.linalg.norm(step) for step in steps[::2]]
    np.testing.assert_allclose(signal.values, expected, rtol=1e-4)


def test_measuring_leaves_the_model_as_it_was():
    model = cifar.resnet_v1((16, 16, 3), 8)
    before = model.get_weights()
    images = np.random.default_rng(0).random((4, 16, 16, 3), "float32")
    signal = rl.gradient_norms(model, images, np.arange(4))
    assert len(signal) == 8
    assert not any("shortcut" in name for name in signal.layers)
    rl.activation_variances(model, images)
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_activation_variances():
    model = small("relu")
    images = np.random.default_rng(0).random((4, 8, 8, 3), "float32")
    signal = rl.activation_variances(model, images, layers_named="first|second")
    first = keras.Model(model.input, model.get_layer("first").output)(images)
    assert signal.layers == ("first", "second")
    assert signal.values[0] == pytest.approx(float(keras.ops.var(first)), rel=1e-4)
    with pytest.raises(ValueError, match=r"'nothing'.*first"):
        rl.activation_variances(model, images, layers_named="nothing")


def with_operations():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, padding="same", name="first")(2 * inputs - 1)
    x = keras.ops.average_pool(keras.ops.max_pool(x, 2), (3, 3), strides=1, padding="same")
    x = layers.Conv2D(4, 3, padding="same", use_bias=False)(keras.ops.relu(x) + x)
    x = keras.ops.mean(x[:, 1:], (1, 2))
    return keras.Model(inputs, layers.Dense(2, activation="softmax", name="last")(x))


def test_operations_have_no_weights_and_a_window_where_they_pool():
    model = with_operations()
    kinds = {name: count for name, count in rl.count_by_kind(model).items() if count}
    assert kinds == {"kernels": 3 * 36 + 4 * 36, "biases of convolutions": 4, "dense": 10}
    # 3x3, 2x2/2, then 3x3 and 3x3 in steps of two
    assert rl.receptive_field(model) == {"network": 3 + 1 + 4 + 4}
    assert rl.count_multiply_adds(model) == 256 * 27 * 4 + 64 * 36 * 4 + 8
    assert rl.feature_maps(model, (32, 32, 3))[-1].shape == (15, 16, 4)


@tensorflow_only("on JAX, Keras 3.15 fails in max_pool without strides")
def test_operations_are_measured_too():
    model = with_operations()
    images = np.ones((2, 16, 16, 3), "float32")
    assert len(rl.gradient_norms(model, images, [0, 1])) == 3
    for each in (model, with_operations()):  # Keras numbers the names of the second.
        names = rl.activation_variances(each, images).layers
        assert [re.sub(r"_\d+$", "", name) for name in names] == ["relu", "add"]


def test_mobilenet_v3_is_counted():
    model = keras.applications.MobileNetV3Small(input_shape=(32, 32, 3), weights=None, classes=5)
    assert sum(rl.count_by_kind(model).values()) == model.count_params()

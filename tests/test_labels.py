"""Labels come from the settings of layers and operations, not from their names."""

import keras
import pytest
from keras import layers, ops

from resnet_lib import graphs, labels


class OwnReLU(layers.ReLU):
    """A layer of a reader's: what it does is not known."""


CALLS = {
    "conv 3x3, 4": layers.Conv2D(4, 3, name="pool"),
    "conv 3x1, 4, /2x1": layers.Conv2D(4, (3, 1), strides=(2, 1)),
    "conv 1x1, 8, /2": layers.Conv2D(8, 1, strides=2),
    "conv 3x3, 4, dilated": layers.Conv2D(4, 3, dilation_rate=2),
    "conv 3x3, 8, 4 groups": layers.Conv2D(8, 3, groups=4),
    "conv 2x2, 5, /3": lambda x: ops.conv(x, ops.ones((2, 2, 8, 5)), strides=3),
    "transposed conv 2x2, 4, up 2": layers.Conv2DTranspose(4, 2, strides=2),
    "depthwise 3x3, 8": layers.DepthwiseConv2D(3),
    "separable 3x3, 4": layers.SeparableConv2D(4, 3),
    "BN": layers.BatchNormalization(),
    "layer norm": layers.LayerNormalization(),
    "ReLU": ops.relu,
    "ReLU up to 6": layers.ReLU(6),
    "leaky ReLU": layers.LeakyReLU(),
    "sigmoid": layers.Activation("sigmoid"),
    "SiLU": ops.silu,
    "max pooling 3x3, /2": layers.MaxPooling2D(3, 2, padding="same"),
    "max pooling 2x2, /2": lambda x: ops.max_pool(x, 2),
    "average pooling 2x2": layers.AveragePooling2D(2, 1),
    "every 2nd pixel": layers.AveragePooling2D(1, 2),
    "every 3rd pixel": lambda x: x[:, ::3, ::3],
    "part of it": lambda x: x[:, 1::2, ::2],
    "global average": layers.GlobalAveragePooling2D(),
    "global maximum": layers.GlobalMaxPooling2D(),
    "zeros around, 3": layers.ZeroPadding2D(3),
    "zeros, 8 channels": lambda x: ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, 8))),
    "padding (reflect)": lambda x: ops.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect"),
    "dense 5": layers.Dense(5),
    "dropout 0.25": layers.Dropout(0.25),
    "+ a constant": lambda x: x + 1,
    "up sampling": layers.UpSampling2D(),
    "OwnReLU": OwnReLU(),
}


def first_box(call):
    inputs = keras.Input((12, 12, 8))
    return graphs.read(keras.Model(inputs, call(inputs))).main[0]


@pytest.mark.parametrize("label", CALLS)
def test_a_label_says_what_the_settings_say(label):
    assert first_box(CALLS[label]).label == label


def test_a_mean_over_height_and_width_is_a_global_average():
    assert first_box(lambda x: ops.mean(x, axis=(1, 2))).label == "global average"
    assert first_box(lambda x: ops.mean(x, axis=(-3, -2))).label == "global average"
    assert first_box(lambda x: ops.mean(x, axis=-1)).label == "mean"


def test_zeros_around_and_channels_of_zeros_are_told_apart():
    pad = layers.ZeroPadding2D(((0, 0), (0, 4)), data_format="channels_first")
    assert first_box(pad).told == "zeros for 4 more channels"


def test_an_activation_inside_a_layer_is_a_box_of_its_own():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    x = layers.Dense(2, activation="softmax")(layers.Flatten()(x))
    boxes = graphs.read(keras.Model(inputs, x)).main
    assert [box.label for box in boxes] == ["conv 3x3, 4", "ReLU", "flatten", "dense 2", "softmax"]


def test_joins_have_their_sign():
    inputs = keras.Input((8, 8, 3))
    for join, label in ((layers.add, "+"), (ops.multiply, "×"), (ops.subtract, "−")):
        pair = inputs, ops.relu(inputs)
        output = join(pair) if join is layers.add else join(*pair)
        assert graphs.read(keras.Model(inputs, output)).main[-1].label == label


def test_sizes_that_are_not_known_are_question_marks():
    assert labels.size((None, 16, 3)) == "?x16x3"

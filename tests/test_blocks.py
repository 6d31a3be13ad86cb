"""Blocks: what they take as step, convolution and shortcut, and how a stage is made of them."""

from functools import partial

import keras
import numpy as np
import pytest
from keras import layers

from resnet_lib import blocks

BLOCKS = {
    "basic": blocks.basic_block,
    "bottleneck": blocks.bottleneck_block,
    "bottleneck, v1.5": partial(blocks.bottleneck_block, stride_at="3x3"),
    "pre-activation": blocks.preactivation_basic_block,
    "pre-activation bottleneck": partial(blocks.preactivation_bottleneck_block, filters_out=16),
}
SHORTCUTS = {"A": blocks.zero_padded_identity, "projected": blocks.projected}


def pictures(channels=8):
    return keras.Input((8, 8, channels))


def model(block, *args, **options):
    keras.utils.set_random_seed(0)
    inputs = pictures()
    return keras.Model(inputs, block(inputs, *args, name="b", **options))


@pytest.mark.parametrize("strides", [(2, 2), (1, 1), 2.0, "2", None, True])
@pytest.mark.parametrize(
    "block", [*BLOCKS.values(), *SHORTCUTS.values()], ids=[*BLOCKS, *SHORTCUTS]
)
def test_a_step_is_one_integer_in_every_block(block, strides):
    with pytest.raises(TypeError, match="`strides` to be an integer"):
        block(pictures(), 16, strides=strides, name="b")


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
@pytest.mark.parametrize(("option", "weights"), [("A", 0), ("B", 1), ("C", 1), (None, 0)])
def test_a_shortcut_by_letter_has_its_projection(block, option, weights):
    built = model(block, 16, strides=2, shortcut=option)
    names = [layer.name for layer in built.layers]
    assert names.count("b_shortcut_conv") == weights
    assert ("b_add" in names) == (option is not None)


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_a_shortcut_may_be_a_function_of_ones_own(block):
    asked = []

    def mean(x, filters, strides, *, name):
        asked.append((filters, strides, name))
        x = layers.AveragePooling2D(strides)(x)
        return layers.Conv2D(filters, 1, name=f"{name}_mine")(x)

    built = model(block, 16, strides=2, shortcut=mean)
    [(filters, strides, name)] = asked
    assert (filters, strides, name) == (built.output_shape[-1], 2, "b")
    assert built.get_layer("b_add").input[0] is built.get_layer("b_mine").output


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_the_convolution_is_the_one_that_was_handed_in(block):
    conv = partial(blocks.convolution, use_bias=True, l2=0.5)
    for option in "ABC":
        built = model(block, 16, strides=2, shortcut=option, conv=conv)
        for layer in built.layers:
            if isinstance(layer, layers.Conv2D):
                assert layer.use_bias
                assert layer.kernel_regularizer.l2 == np.float32(0.5)


def test_a_shortcut_that_does_not_exist():
    with pytest.raises(ValueError, match=r"`shortcut` to be one of 'A', 'B', 'C', 'D'\..*'E'"):
        blocks.basic_block(pictures(), 16, shortcut="E", name="b")


def test_only_the_first_block_of_a_stage_takes_its_step_and_its_own_function():
    asked = []

    def block(x, filters, strides=1, *, kind, name):
        asked.append((filters, strides, kind, name))
        return x

    x = pictures()
    rest = partial(block, kind="rest")
    blocks.stack(x, 16, 3, rest, first=partial(block, kind="first"), name="s")
    blocks.stack(x, 4, 2, rest, strides=1, name="t")
    assert asked == [
        (16, 2, "first", "s_block1"),
        (16, 1, "rest", "s_block2"),
        (16, 1, "rest", "s_block3"),
        (4, 1, "rest", "t_block1"),
        (4, 1, "rest", "t_block2"),
    ]


def test_a_stage_of_bottlenecks_has_two_widths():
    inputs = pictures()
    x = blocks.stack(inputs, (4, 12), 2, blocks.preactivation_bottleneck_block, name="s")
    assert x.shape == (None, 4, 4, 12)
    assert keras.Model(inputs, x).get_layer("s_block2_conv2").filters == 4


def test_probabilities_are_float32_under_any_policy():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert blocks.head(pictures(), 3).dtype == "float32"
    finally:
        keras.config.set_dtype_policy("float32")

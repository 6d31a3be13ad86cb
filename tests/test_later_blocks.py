"""The blocks of the years since, each against its paper: what is counted, and what is computed."""

import os
import subprocess
import sys
from dataclasses import replace
from functools import cache, partial

import keras
import numpy as np
import pytest
from keras import layers, ops
from small import SHORT, train

from resnet_lib import blocks, cifar, imagenet
from resnet_lib.inspection import count_multiply_adds, count_parameters, gradients

CHANNELS = 8
BLOCKS = {
    "resnet-d": blocks.resnet_d_block,
    "se": partial(blocks.se_block, reduction=2),
    "resnext": partial(blocks.resnext_block, groups=2, width=16, expansion=1),
    "stochastic depth": blocks.stochastic_depth_block,
    "wide": partial(blocks.wide_block, widen=1, dropout=0.3),
    "skipinit": blocks.skipinit_block,
    "convnext": blocks.convnext_block,
    "transformer": partial(blocks.transformer_block, heads=2),
}
each_block = pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)


def model(block, filters=CHANNELS, strides=1, size=(6, 6), **options):
    """A model of one block, each of its weights another random number."""
    inputs = keras.Input((*size, CHANNELS))
    return randomized(keras.Model(inputs, block(inputs, filters, strides, name="b", **options)))


def randomized(built):
    rng = np.random.default_rng(0)
    built.set_weights([rng.uniform(0.1, 0.5, w.shape) * sign(rng, w) for w in built.weights])
    return built


def sign(rng, weight):
    return 1 if weight.name == "moving_variance" else rng.choice([-1, 1], weight.shape)


def pixels(n=4, size=(6, 6), channels=CHANNELS):
    return np.random.default_rng(1).normal(size=(n, *size, channels)).astype("float32")


def computed(built, x, training=False):
    return np.asarray(built(x, training=training))


@cache
def all_blocks(size=(16, 16), channels=3):
    """One after another, each a stage, behind a stem."""
    inputs = keras.Input((*size, channels))
    x = blocks.convolution(inputs, CHANNELS, name="stem_conv")
    for stage, block in enumerate(BLOCKS.values(), 1):
        strides = 2 if stage in (4, 7) else 1
        filters = CHANNELS + 4 * (stage // 4)
        x = blocks.stack(x, filters, 1, block, strides=strides, name=f"stage{stage}")
    return randomized(keras.Model(inputs, blocks.head(blocks.layer_norm(x, name="head"), 10)))


# Counted


def imagenet_net(block):
    """ResNet-50's stem, stages and head."""
    inputs = keras.Input(imagenet.SHAPE)
    x = blocks.stack(imagenet.stem(inputs), 64, 3, block, strides=1, name="stage1")
    for stage, (filters, n) in enumerate(((128, 4), (256, 6), (512, 3)), 2):
        x = blocks.stack(x, filters, n, block, name=f"stage{stage}")
    return keras.Model(inputs, blocks.head(x, imagenet.CLASSES))


def test_resnet_50_with_shortcut_d_costs_what_it_does_with_b():
    """arXiv 1812.01187, section 4.2: the average pooling costs next to nothing.

    The stride stands on the 3x3, as there; so the multiply-adds are those of v1.5, 4.1 G (table 5).
    """
    net = imagenet_net(partial(blocks.bottleneck_block, stride_at="3x3", shortcut="D"))
    assert count_parameters(net).trainable == 25_557_032
    assert count_multiply_adds(net) == 4_089_184_256


def test_squeeze_and_excitation_adds_what_its_paper_says():
    """arXiv 1709.01507, section 4: 2/r times the sum of N_s C_s^2 over the stages.

    ~2.5 million for SE-ResNet-50, whose stages have 256 to 2,048 channels.
    """

    def added(channels):
        inputs = keras.Input((1, 1, channels))
        one = keras.Model(inputs, blocks.squeeze_excitation(inputs, name="b"))
        return count_parameters(one).trainable

    stages = ((3, 256), (4, 512), (6, 1024), (3, 2048))
    total = sum(n * added(channels) for n, channels in stages)
    assert total == 2 * sum(n * channels**2 for n, channels in stages) // 16 == 2_514_944


@pytest.mark.parametrize("reduction", [2, 4, 16])
def test_squeeze_and_excitation_in_resnet_20(reduction):
    plain = count_parameters(cifar.resnet_v1((32, 32, 3), 20, form="paper")).trainable
    block = partial(blocks.se_block, reduction=reduction)
    net = cifar.resnet_v1((32, 32, 3), 20, form="paper", block=block)
    added = 2 * 3 * (16**2 + 32**2 + 64**2) // reduction
    assert count_parameters(net).trainable - plain == added


@pytest.mark.parametrize(("groups", "width"), [(1, 64), (2, 40), (4, 24), (8, 14), (32, 4)])
def test_more_groups_at_about_the_same_cost(groups, width):
    """arXiv 1611.05431, table 2: each of these has about 70 k parameters at 256 channels."""
    block = partial(blocks.resnext_block, groups=groups, width=width)
    inputs = keras.Input((1, 1, 256))
    counted = keras.Model(inputs, block(inputs, 64, name="b"))
    kernels = [w for w in counted.trainable_weights if w.name == "kernel"]
    by_hand = groups * (256 * width + 9 * width * width + width * 256)  # Equation 4.
    assert sum(np.prod(w.shape) for w in kernels) == by_hand
    assert round(by_hand / 1e3, -1) == 70


@pytest.mark.slow
def test_resnext_50():
    """arXiv 1611.05431, table 1, ResNeXt-50 (32x4d): 25.0 M parameters, 4.2 G FLOPs."""
    net = imagenet_net(blocks.resnext_block)
    assert round(count_parameters(net).trainable / 1e6, 1) == 25.0
    assert round(count_multiply_adds(net) / 1e9, 1) == 4.2


@pytest.mark.slow
def test_resnext_29():
    """arXiv 1611.05431, table 7, ResNeXt-29 (8x64d) for CIFAR-10: 34.4 M parameters."""
    block = partial(blocks.resnext_block, groups=8, width=64)
    inputs = keras.Input((32, 32, 3))
    x = blocks.bn_relu(blocks.convolution(inputs, 64, name="stem_conv"), name="stem")
    for stage, filters in enumerate((64, 128, 256), 1):
        x = blocks.stack(x, filters, 3, block, strides=min(stage, 2), name=f"stage{stage}")
    net = keras.Model(inputs, blocks.head(x, 10))
    assert round(count_parameters(net).trainable / 1e6, 1) == 34.4


SLOW_28_10 = pytest.param(28, 10, 36.5, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("layers_in_name", "widen", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (16, 8, 11.0), SLOW_28_10],
)
def test_wide_networks(layers_in_name, widen, millions):
    """arXiv 1605.07146, table 4. The names count convolutions, three in shortcuts among them."""
    block = partial(blocks.wide_block, widen=widen)
    options = dict(form="paper", shortcut="B", block=block)
    net = cifar.resnet_v2((32, 32, 3), layers_in_name - 2, **options)
    assert round(count_parameters(net).trainable / 1e6, 1) == millions


def test_skipinit_has_one_number_a_block_in_place_of_bn():
    """arXiv 2002.10444, section 3: a scalar at the end of each branch, and no normalisation."""
    net = cifar.resnet_v2((32, 32, 3), 20, form="paper", block="skipinit")
    assert not any(isinstance(layer, layers.BatchNormalization) for layer in net.layers)
    convolutions = sum(
        layer.count_params() for layer in net.layers if isinstance(layer, layers.Conv2D)
    )
    numbers = [layer for layer in net.layers if layer.name.endswith("_scale")]
    assert [layer.count_params() for layer in numbers] == 9 * [1]
    head = net.get_layer("head_dense").count_params()
    assert count_parameters(net).total == convolutions + 9 + head


@cache
def convnext_tiny(size):
    """arXiv 2201.03545, section 3: blocks (3, 3, 9, 3), channels (96, 192, 384, 768)."""
    inputs = keras.Input((size, size, 3))
    x = blocks.layer_norm(layers.Conv2D(96, 4, 4, name="stem_conv")(inputs), name="stem")
    for stage, n in enumerate((3, 3, 9, 3), 1):
        filters, strides = 96 * 2 ** (stage - 1), min(stage, 2)
        block = blocks.convnext_block
        x = blocks.stack(x, filters, n, block, strides=strides, name=f"stage{stage}")
    x = blocks.layer_norm(layers.GlobalAveragePooling2D()(x), name="head")
    return keras.Model(inputs, layers.Dense(1000, activation="softmax")(x))


@pytest.mark.slow
def test_convnext_tiny_is_that_of_keras_applications():
    """29 M parameters (arXiv 2201.03545, table 1); the same weights give the same output."""
    ours = convnext_tiny(64)
    shape = dict(input_shape=(64, 64, 3), include_preprocessing=False)
    theirs = keras.applications.ConvNeXtTiny(weights=None, **shape)
    assert round(count_parameters(ours).trainable / 1e6) == 29
    assert count_parameters(ours) == count_parameters(theirs)
    rng = np.random.default_rng(0)
    values = [rng.normal(0, 0.1, weight.shape) for weight in in_order(theirs)]
    for net in (ours, theirs):
        for weight, value in zip(in_order(net), values, strict=True):
            weight.assign(value.reshape(weight.shape))
    images = pixels(2, (64, 64), 3)
    a, b = (computed(net, images) for net in (ours, theirs))
    assert a.std() > 1e-4
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)


def in_order(net):
    """The weights in the order of computation, whatever the layers are called."""
    found, waiting = [], [net]
    while waiting:
        layer = waiting.pop()
        waiting += getattr(layer, "layers", [])[::-1]
        found += [] if hasattr(layer, "layers") else layer.weights
    return found


def test_twelve_transformer_blocks_are_what_vit_base_has():
    """arXiv 2010.11929, table 1: 12 layers of width 768 with 12 heads, 86 M parameters.

    A block has 12 d^2 + 13 d. Beside them: patches of 16x16, a class token, 197 positions, the
    last layer normalisation and 1,000 classes.
    """
    inputs, d = keras.Input((14, 14, 768)), 768
    block = keras.Model(inputs, blocks.transformer_block(inputs, d, heads=12, name="b"))
    assert count_parameters(block).trainable == 12 * d**2 + 13 * d
    beside = (16 * 16 * 3 + 1) * d + d + 197 * d + 2 * d + 1000 * (d + 1)
    assert 12 * count_parameters(block).trainable + beside == 86_567_656


# Shapes


@each_block
@pytest.mark.parametrize(("filters", "strides"), [(8, 1), (12, 1), (8, 2), (12, 2), (12, 3)])
@pytest.mark.parametrize("size", [(6, 6), (5, 7)])
def test_what_a_block_returns(block, filters, strides, size):
    built = model(block, filters, strides, size)
    sides = [-(-side // strides) for side in size]
    wanted = (4, *sides, filters)
    assert built.output_shape == (None, *wanted[1:])
    for training in (False, True):
        output = computed(built, pixels(size=size), training)
        assert output.shape == wanted
        assert np.isfinite(output).all()


@each_block
def test_a_step_is_one_integer(block):
    for strides in ((2, 2), 2.0, "2", None, True):
        with pytest.raises(TypeError, match="`strides` to be an integer"):
            block(keras.Input((8, 8, 4)), 16, strides=strides, name="b")


@each_block
def test_layers_have_the_names_of_their_block(block):
    built = model(block, 12, 2)
    named = [layer.name for layer in built.layers if layer.weights]
    assert all(name.startswith("b_") for name in named)


# Computed, against the same in a few lines


def weights(built, name):
    return [np.asarray(w) for w in built.get_layer(f"b_{name}").weights]


def convolved(built, name, x, strides=1):
    [kernel] = weights(built, name)
    return np.asarray(ops.conv(x, kernel, strides=strides, padding="same"))


def normalized(built, name, x):
    gamma, beta, mean, variance = weights(built, name)
    return gamma * (x - mean) / np.sqrt(variance + 1e-3) + beta


def relu(x):
    return np.maximum(x, 0)


def basic_branch(built, x, strides=1):
    y = relu(normalized(built, "bn1", convolved(built, "conv1", x, strides)))
    return normalized(built, "bn2", convolved(built, "conv2", y))


def close(actual, wanted):
    assert np.std(wanted) > 1e-3
    np.testing.assert_allclose(actual, wanted, rtol=2e-4, atol=2e-5)


def test_the_shortcut_of_resnet_d_counts_every_pixel():
    built, x = model(blocks.resnet_d_block, 12, 2, (5, 7)), pixels(size=(5, 7))
    means = np.array([[x[:, i : i + 2, j : j + 2].mean((1, 2)) for j in (0, 2, 4, 6)]
                      for i in (0, 2, 4)]).transpose(2, 0, 1, 3)  # fmt: skip
    skip = normalized(built, "shortcut_bn", convolved(built, "shortcut_conv", means))
    close(computed(built, x), relu(skip + basic_branch(built, x, 2)))


def test_shortcut_d_is_the_identity_where_the_shape_stays():
    built = model(partial(blocks.basic_block, shortcut="D"))
    assert built.get_layer("b_add").input[0] is built.input
    assert built.count_params() == model(blocks.basic_block).count_params()


def test_squeeze_and_excitation_weighs_the_channels():
    built, x = model(BLOCKS["se"]), pixels()
    y = basic_branch(built, x)
    [first], [second] = weights(built, "se_dense1"), weights(built, "se_dense2")
    weight = 1 / (1 + np.exp(-relu(y.mean((1, 2)) @ first) @ second))
    assert weight.shape == (4, CHANNELS)
    close(computed(built, x), relu(x + y * weight[:, None, None]))


def test_groups_see_their_own_channels_alone():
    block = partial(blocks.resnext_block, groups=2, width=32, shortcut=None)
    built, x = model(block, 8), pixels()
    y = relu(normalized(built, "bn1", convolved(built, "conv1", x)))
    [kernel] = weights(built, "conv2")
    assert kernel.shape == (3, 3, 4, 8)
    halves = zip(np.split(y, 2, axis=3), np.split(kernel, 2, axis=3), strict=True)
    y = np.concatenate([ops.conv(half, each, padding="same") for half, each in halves], 3)
    y = relu(normalized(built, "bn2", y))
    close(computed(built, x), relu(normalized(built, "bn3", convolved(built, "conv3", y))))


def test_a_group_has_at_least_one_channel():
    with pytest.raises(ValueError, match=r"at least 1.*Received: 0"):
        blocks.resnext_block(keras.Input((8, 8, 4)), 8, name="b")


def test_a_wide_block_is_a_wider_pre_activated_one():
    wide = model(partial(blocks.wide_block, widen=3, dropout=0.5), 4, 2)
    usual = model(blocks.preactivation_basic_block, 12, 2)
    np.testing.assert_array_equal(computed(wide, pixels()), computed(usual, pixels()))
    dropout = wide.get_layer("b_dropout")
    assert dropout.input is wide.get_layer("b_relu2").output
    assert wide.get_layer("b_conv2").input is dropout.output
    assert dropout.rate == 0.5


def test_skipinit_multiplies_its_branch_by_one_number():
    built, x = model(blocks.skipinit_block), pixels()
    [[[number]]] = weights(built, "scale")
    y = convolved(built, "conv2", relu(convolved(built, "conv1", relu(x))))
    close(computed(built, x), x + number * y)


def test_skipinit_and_convnext_begin_as_their_shortcut():
    x = pixels()
    for block, near in ((blocks.skipinit_block, 0), (blocks.convnext_block, 1e-4)):
        inputs = keras.Input((6, 6, CHANNELS))
        fresh = keras.Model(inputs, block(inputs, CHANNELS, name="b"))
        np.testing.assert_allclose(computed(fresh, x), x, atol=near, rtol=0)


def test_attention_of_all_pixels_before_the_addition():
    built, x = model(BLOCKS["transformer"]), pixels(size=(6, 6))
    flat, size = x.reshape(4, 36, CHANNELS), CHANNELS // 2
    y = layer_normalized(built, "ln1", flat)
    query, key, value = (
        np.einsum("bpc,chd->bhpd", y, kernel) + bias[:, None]
        for kernel, bias in zip(*[iter(weights(built, "attention")[:6])] * 2, strict=True)
    )
    scores = np.exp(np.einsum("bhpd,bhqd->bhpq", query, key) / np.sqrt(size))
    seen = np.einsum("bhpq,bhqd->bhpd", scores / scores.sum(-1, keepdims=True), value)
    kernel, bias = weights(built, "attention")[6:]
    flat = flat + np.einsum("bhpd,hdc->bpc", seen, kernel) + bias
    [first, shift], [second, last] = weights(built, "dense1"), weights(built, "dense2")
    y = np.asarray(ops.gelu(layer_normalized(built, "ln2", flat) @ first + shift, False))
    close(computed(built, x), (flat + y @ second + last).reshape(x.shape))


def layer_normalized(built, name, x):
    gamma, beta = weights(built, name)
    x = x - x.mean(-1, keepdims=True)
    return gamma * x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) + beta


def test_heads_divide_the_channels():
    with pytest.raises(ValueError, match=r"`heads` to divide 10 channels\. Received: 4"):
        blocks.transformer_block(keras.Input((8, 8, 10)), 10, heads=4, name="b")


# Stochastic depth


def dropped(survival=0.6, n=400):
    """A block in training whose BN does as in inference, and n equal pictures."""
    built = model(partial(blocks.stochastic_depth_block, survival=survival))
    for layer in built.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.trainable = False
    return built, np.repeat(pixels(1), n, axis=0)


def test_a_picture_passes_the_branch_or_gets_it_enlarged():
    built, x = dropped()
    passed, branch = relu(x[0]), basic_branch(built, x[:1])[0]
    enlarged = relu(x[0] + branch / 0.6)
    outputs = computed(built, x, training=True)
    kept = [np.allclose(output, enlarged, rtol=1e-3, atol=1e-4) for output in outputs]
    left = [np.allclose(output, passed, rtol=1e-3, atol=1e-4) for output in outputs]
    assert np.logical_xor(kept, left).all()
    assert np.mean(kept) == pytest.approx(0.6, abs=4 * np.sqrt(0.6 * 0.4 / len(x)))


def test_inference_computes_the_mean_of_training_before_the_relu():
    built, x = dropped(n=2000)
    added = keras.Model(built.input, built.get_layer("b_add").output)
    mean, inference = computed(added, x, training=True).mean(0), computed(added, x[:1])[0]
    branch = inference - x[0]
    spread = np.abs(branch) * np.sqrt(0.4 / 0.6 / len(x))
    assert (np.abs(mean - inference) < 5 * spread + 1e-4).all()
    close(computed(built, x[:1])[0], relu(x[0] + basic_branch(built, x[:1])[0]))


def test_the_probability_decays_linearly_to_a_half():
    """arXiv 1603.09382, section 3: of ResNet-110's 54 blocks (3L - 1) / 4 = 40 are kept on average.

    The first is kept with probability 1 - 1/L (1 - p), the last with p.
    """
    net = cifar.resnet_v1((32, 32, 3), 20, form="paper", block="stochastic-depth")
    shares = [layer.rate for layer in net.layers if isinstance(layer, layers.Dropout)]
    np.testing.assert_allclose(shares, np.arange(1, 10) / 9 / 2)
    assert sum(1 - share for share in shares) == pytest.approx((3 * 9 - 1) / 4)


def test_another_probability_of_the_last_block_and_a_second_network():
    block = partial(blocks.stochastic_depth_block, survival=0.8)
    for depth, count in ((8, 3), (14, 6)):
        net = cifar.resnet_v1((32, 32, 3), depth, block=block)
        shares = [layer.rate for layer in net.layers if isinstance(layer, layers.Dropout)]
        np.testing.assert_allclose(shares, 0.2 * np.arange(1, count + 1) / count)


@pytest.mark.parametrize("block", [blocks.stochastic_depth_block, blocks.skipinit_block])
def test_what_needs_a_shortcut_refuses_to_be_plain(block):
    with pytest.raises(ValueError, match=r"Expected a shortcut.*Received: None"):
        block(keras.Input((8, 8, 4)), 4, shortcut=None, name="b")


@pytest.mark.parametrize("survival", [0, -0.1, 1.1, "0.5", None])
def test_probabilities_out_of_range(survival):
    with pytest.raises(ValueError, match=r"`survival` .* above 0, at most 1"):
        blocks.stochastic_depth_block(keras.Input((8, 8, 4)), 4, survival=survival, name="b")


# Trained and kept


@each_block
def test_the_gradient_reaches_every_weight(block):
    built, x = model(block, 12, 2), pixels()
    variables = built.trainable_variables
    target = np.random.default_rng(2).normal(size=(4, 3, 3, 12)).astype("float32")

    def loss(*values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return ops.sum(built(x) * target)

    norms = [np.linalg.norm(each) for each in gradients(loss, variables)]
    # What is added to all keys alike is divided out by the softmax.
    reached = [n for v, n in zip(variables, norms, strict=True) if not v.path.endswith("key/bias")]
    assert min(reached) > 1e-3


def test_skipinit_begins_with_its_number():
    inputs = keras.Input((6, 6, CHANNELS))
    fresh = keras.Model(inputs, blocks.skipinit_block(inputs, CHANNELS, name="b"))
    variables, x = fresh.trainable_variables, pixels()

    def loss(*values):
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            return ops.sum(fresh(x) * x)

    found = zip(variables, gradients(loss, variables), strict=True)
    norms = {variable.path: np.linalg.norm(gradient) for variable, gradient in found}
    assert norms.pop("b_scale/kernel") > 0
    assert set(norms.values()) == {0}


def test_plain_keras_loads_what_was_saved(tmp_path):
    built = all_blocks()
    built.save(tmp_path / "all.keras")
    loaded = keras.saving.load_model(tmp_path / "all.keras")
    assert {type(each).__module__.split(".")[0] for each in loaded.layers} == {"keras"}
    for n in (1, 3):
        x = pixels(n, (16, 16), 3)
        np.testing.assert_array_equal(computed(built, x), computed(loaded, x))
    assert np.isfinite(computed(loaded, x, training=True)).all()


def test_pictures_of_any_size():
    built = all_blocks((None, None))
    for size in ((16, 16), (9, 13)):
        assert np.isfinite(computed(built, pixels(2, size, 3))).all()
    x = pixels(2, (16, 16), 3)
    np.testing.assert_allclose(computed(built, x), computed(all_blocks(), x), rtol=1e-5)


JAX = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1] + "/all.keras")
images = np.load(sys.argv[1] + "/images.npy")
np.save(sys.argv[1] + "/jax.npy", model.predict(images, verbose=0))
assert keras.backend.backend() == "jax"
assert not {"resnet_lib", "tensorflow"} & set(sys.modules)
"""


@pytest.mark.slow
def test_jax_computes_the_same_without_this_library(tmp_path):
    all_blocks().save(tmp_path / "all.keras")
    images = pixels(4, (16, 16), 3)
    np.save(tmp_path / "images.npy", images)
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", JAX, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(
        np.load(tmp_path / "jax.npy"), computed(all_blocks(), images), rtol=1e-3, atol=1e-5
    )


@pytest.mark.slow
def test_all_of_them_are_trained(tmp_path):
    keras.utils.set_random_seed(0)
    net = keras.models.clone_model(all_blocks((None, None)))
    recipe = replace(SHORT, epochs=2, sizes=((0.5, 0.5), (1, 1)))
    run = train(tmp_path / "run", recipe, net)
    assert "stopped" not in run.record
    assert np.isfinite(run.history["loss"]).all()
    before, after = (each.get_layer("stage6_block1_scale").kernel for each in (net, run.model))
    assert float(before[0, 0]) == 0 != float(after[0, 0])
    loaded = keras.saving.load_model(run.folder / "model.keras")
    assert loaded.get_layer("stage4_block1_drop").noise_shape == (None, 1, 1, 1)

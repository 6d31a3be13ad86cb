"""The copy that is trained: its weight decay step by step, its layers, its preprocessing."""

from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers
from small import PICTURES, resnet8

import resnet_lib as rl
from resnet_lib import blocks, cifar
from resnet_lib.recipes import EXAMPLE, FAST, ONE_CYCLE, PAPER, WeightDecay
from resnet_lib.training.network import (
    make_loss,
    prepared,
    preprocessing,
    whitened,
    with_preprocessing,
)
from resnet_lib.training.optimizers import make_optimizer

RATE, MOMENTUM, DECAY = 0.05, 0.9, 0.3
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(5, 4)).astype("float32")
Y = RANDOM.normal(size=(5, 3)).astype("float32")
IMAGES = RANDOM.integers(0, 256, (1100, 8, 8, 3)).astype(np.uint8)  # More than are summed at once.


def wide(**changed):
    """Return a recipe with much decay, for the difference to be seen."""
    return replace(PAPER, momentum=MOMENTUM, **changed)


# One dense layer with a squared loss, whose gradient numpy has as well.


def linear(l2=None):
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4,))
    regularizer = None if l2 is None else keras.regularizers.L2(l2)
    dense = layers.Dense(3, bias_initializer="ones", kernel_regularizer=regularizer)
    return keras.Model(inputs, dense(inputs))


def trained(recipe, steps=4, l2=None):
    """Return kernel and bias after some steps with a constant rate."""
    model = prepared(linear(l2), recipe)
    optimizer = make_optimizer(recipe)
    optimizer.learning_rate = RATE
    model.compile(optimizer, loss="mean_squared_error")
    for _ in range(steps):
        model.train_on_batch(X, Y)
    return model.get_weights()


def gradients(w, b):
    """Return the gradient of the mean of (x w + b - y) ** 2."""
    error = 2 * (X @ w + b - Y) / Y.size
    return X.T @ error, error.sum(axis=0)


def by_formula(decay, nesterov=False, steps=4, *, apart=False, momentum=MOMENTUM):
    """The steps of PyTorch's SGD(weight_decay=decay), which its documentation writes out.

    The kernel decays, the bias does not. The buffer does not contain the rate, Keras' velocity
    does: while the rate is constant the two agree. `apart`: the decay is not in the gradient.
    """
    values = [value.astype("float64") for value in linear().get_weights()]
    buffers = [np.zeros_like(value) for value in values]
    for _ in range(steps):
        given = gradients(*values)
        for number, (w, wd) in enumerate(zip(values, (decay, 0), strict=True)):
            g = given[number] + (0 if apart else wd * w)
            buffers[number] = momentum * buffers[number] + g
            g = g + momentum * buffers[number] if nesterov else buffers[number]
            values[number] = w - RATE * g - (RATE * wd * w if apart else 0)
    return values


def assert_equal_weights(given, expected, tolerance=1e-5):
    for a, b in zip(given, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
def test_decay_in_the_gradient_is_pytorchs(nesterov, steps):
    expected = by_formula(DECAY, nesterov, steps)
    for decay in (WeightDecay(DECAY), WeightDecay(DECAY / 2, "loss")):
        given = trained(wide(nesterov=nesterov, weight_decay=decay), steps)
        assert_equal_weights(given, expected)


@pytest.mark.parametrize("nesterov", [False, True])
def test_decay_in_the_update_is_apart_from_the_gradient(nesterov):
    recipe = wide(nesterov=nesterov, weight_decay=WeightDecay(DECAY, "update"))
    given = trained(recipe)
    assert_equal_weights(given, by_formula(DECAY, nesterov, apart=True))
    assert np.abs(given[0] - by_formula(DECAY, nesterov)[0]).max() > 0.005, "another meaning"


def test_l2_of_the_same_number_is_twice_the_decay():
    given = trained(wide(weight_decay=WeightDecay(DECAY, "loss")))
    assert_equal_weights(given, by_formula(2 * DECAY))


def test_without_a_decay_of_the_recipe_the_models_own_holds():
    given = trained(wide(weight_decay=None), l2=DECAY / 2)
    assert_equal_weights(given, by_formula(DECAY))


@pytest.mark.parametrize("meaning", ["gradient", "loss", "update"])
def test_no_decay_is_counted_twice(meaning):
    recipe = wide(weight_decay=WeightDecay(DECAY, meaning))
    assert_equal_weights(trained(recipe, l2=10.0), trained(recipe), tolerance=0)


def test_a_decay_of_zero_is_none_and_takes_the_models_own_away():
    for meaning in ("gradient", "update"):
        given = trained(wide(weight_decay=WeightDecay(0, meaning)), l2=10.0)
        assert_equal_weights(given, by_formula(0))


@pytest.mark.parametrize("momentum", [0, 0.0])
def test_sgd_without_momentum(momentum):
    given = trained(replace(PAPER, momentum=momentum, weight_decay=None))
    assert_equal_weights(given, by_formula(0, momentum=0))


def test_biases_have_a_rate_of_their_own():
    """The first step with momentum is the gradient times the rate."""
    (w, b), (dw, db) = linear().get_weights(), gradients(*linear().get_weights())
    found = trained(wide(bias_rate=64, weight_decay=None), steps=1)
    assert_equal_weights(found, [w - RATE * dw, b - 64 * RATE * db])


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_only_what_is_added_has_the_rate_of_biases(optimizer):
    start = with_all_kinds().get_weights()

    def moved(bias_rate):
        recipe = wide(bias_rate=bias_rate, weight_decay=None)
        if optimizer == "adam":
            recipe = replace(recipe, optimizer="adam", momentum=None)
        model = with_all_kinds()
        model.set_weights(start)
        before = [np.array(each) for each in model.trainable_variables]
        model.compile(make_optimizer(recipe), loss="mean_squared_error")
        model.train_on_batch(IMAGES[:8] / 255, np.zeros((8, 2)))
        names = [each.path.rpartition("/")[2] for each in model.trainable_variables]
        pairs = zip(model.trainable_variables, before, strict=True)
        return names, [np.abs(np.array(each) - old).max() for each, old in pairs]

    (names, slow), (_, fast) = moved(1), moved(10)
    assert names == ["kernel", "bias", "gamma", "beta", "kernel", "bias"]
    factors = [10 if name in ("bias", "beta") else 1 for name in names]
    expected = np.multiply(slow, factors)
    # The first bias, behind which a BN stands, has no gradient but rounding.
    np.testing.assert_allclose(np.delete(fast, 1), np.delete(expected, 1), rtol=1e-3)


# The loss.


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_smoothed_labels_give_each_class_its_share(share):
    labels, found = np.array([2, 0]), np.array([[0.2, 0.5, 0.3], [0.7, 0.2, 0.1]])
    targets = np.eye(3)[labels] * (1 - share) + share / 3
    loss = make_loss(wide(label_smoothing=share))
    expected = -(targets * np.log(found)).sum(1)
    for shape in ((2,), (2, 1)):  # As Keras hands them on.
        given = loss(labels.reshape(shape), keras.ops.convert_to_tensor(found))
        np.testing.assert_allclose(np.array(given), expected, rtol=1e-5)
    assert make_loss(wide()) == "sparse_categorical_crossentropy"


# With a loss that is always zero only the decay moves anything.


def with_all_kinds():
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="beta_conv")(inputs)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, layers.Dense(2)(x))
    model.set_weights([RANDOM.uniform(1, 2, w.shape) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("meaning", ["gradient", "loss", "update"])
def test_the_number_that_multiplies_a_branch_does_not_decay(meaning):
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, name="conv")(inputs)
    x = blocks.scaled(x, 4, 0.5, name="block")
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    recipe = wide(weight_decay=WeightDecay(DECAY, meaning))
    model = prepared(model, recipe)
    before = [weight.numpy() for weight in model.trainable_weights]
    optimizer = make_optimizer(recipe)
    optimizer.learning_rate = RATE
    model.compile(optimizer, loss=lambda y, found: 0 * keras.ops.sum(found, axis=-1))
    model.train_on_batch(np.ones((2, 8, 8, 3)), np.ones((2, 4)))
    pairs = zip(before, model.trainable_weights, strict=True)
    changed = {weight.path: bool((weight.numpy() != old).any()) for old, weight in pairs}
    assert changed == {"conv/kernel": True, "conv/bias": False, "block_scale/kernel": False}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("meaning", ["gradient", "loss", "update"])
def test_kernels_decay_and_nothing_else(meaning, optimizer):
    recipe = wide(weight_decay=WeightDecay(DECAY, meaning))
    if optimizer == "adam":
        recipe = replace(recipe, optimizer="adam", momentum=None)
    model = prepared(with_all_kinds(), recipe)
    before = {weight.path: weight.numpy() for weight in model.trainable_weights}
    optimizer = make_optimizer(recipe)
    optimizer.learning_rate = RATE
    model.compile(optimizer, loss=lambda y, found: 0 * keras.ops.sum(found, axis=-1))
    model.train_on_batch(np.ones((2, 8, 8, 3)), np.ones((2, 2)))
    names = []
    for weight in model.trainable_weights:
        names.append(weight.name)
        change = weight.numpy() / before[weight.path] - 1
        if weight.name != "kernel":
            assert not change.any(), f"{weight.path} decays"
        elif meaning == "update" or recipe.optimizer == "sgd":
            factor = 2 if meaning == "loss" else 1
            np.testing.assert_allclose(change, -RATE * DECAY * factor, rtol=1e-4)
        else:
            assert (change < 0).all(), "Adam scales what is in the gradient"
    assert sorted(names) == ["beta", "bias", "bias", "gamma", "kernel", "kernel"]


def squares(model):
    """Return the sum of squares over all kernels, and over those of the convolutions."""
    every = {layer.name: layer.kernel.numpy() for layer in model.layers if hasattr(layer, "kernel")}
    convolutions = sum((w**2).sum() for w in every.values() if w.ndim == 4)
    return sum((w**2).sum() for w in every.values()), convolutions


def penalty(model):
    return float(sum(model.losses)) if model.losses else 0.0


def test_the_penalty_in_the_loss_of_the_example_form():
    """Its convolutions have L2(1e-4), which a recipe's own decay takes the place of."""
    model = cifar.resnet_v1((16, 16, 3), 8)
    every, convolutions = squares(model)
    assert penalty(prepared(model, EXAMPLE)) == pytest.approx(1e-4 * convolutions, rel=1e-4)
    assert penalty(prepared(model, PAPER)) == pytest.approx(0.5e-4 * every, rel=1e-4)
    update = replace(PAPER, weight_decay=WeightDecay(1e-4, "update"))
    assert prepared(model, update).losses == []
    assert make_optimizer(update).weight_decay == 1e-4
    assert make_optimizer(PAPER).weight_decay is None
    assert penalty(model) == pytest.approx(1e-4 * convolutions, rel=1e-4), "the model's own stays"


def test_the_loss_that_is_reported_contains_the_models_own_penalty():
    model = cifar.resnet_v1((16, 16, 3), 8)
    pictures, labels = np.zeros((4, 16, 16, 3)), np.zeros(4)
    reported = []
    for recipe in (EXAMPLE, replace(EXAMPLE, weight_decay=WeightDecay(0))):
        copy = prepared(model, recipe)
        copy.compile(make_optimizer(recipe), loss="sparse_categorical_crossentropy")
        reported.append(copy.evaluate(pictures, labels, verbose=0))
    assert reported[0] - reported[1] == pytest.approx(penalty(model), rel=1e-3)


# The optimizer.


def test_the_optimizer_is_the_recipes():
    optimizer = make_optimizer(replace(ONE_CYCLE, ema=0.99))
    assert type(optimizer) is keras.optimizers.SGD
    assert (optimizer.momentum, optimizer.nesterov) == (0.9, True)
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.99)
    assert type(make_optimizer(EXAMPLE)) is keras.optimizers.Adam
    assert float(make_optimizer(EXAMPLE).learning_rate) == pytest.approx(1e-3)
    assert not make_optimizer(PAPER).use_ema
    scaled = make_optimizer(PAPER, "mixed_float16")
    assert type(scaled) is keras.optimizers.LossScaleOptimizer
    assert scaled.inner_optimizer.momentum == 0.9


# The copy.


def norms(model):
    found = [layer for layer in model.layers if isinstance(layer, layers.BatchNormalization)]
    return {(layer.momentum, layer.epsilon) for layer in found}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, (0.97, 1e-3)),
        ({"bn_momentum": 0.9}, (0.9, 1e-3)),
        ({"bn_epsilon": 1e-5}, (0.97, 1e-5)),
        ({"bn_momentum": 0.9, "bn_epsilon": 1e-5}, (0.9, 1e-5)),
        ({"bn_momentum": 0.0, "bn_epsilon": 1e-12}, (0.0, 1e-12)),
    ],
    ids=str,
)
def test_batch_normalisation_is_the_recipes_where_it_says_so(changed, expected):
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(momentum=0.97)(inputs)
    model = keras.Model(inputs, layers.BatchNormalization(momentum=0.97)(x))
    assert norms(prepared(model, replace(PAPER, **changed))) == {expected}
    assert norms(model) == {(0.97, 1e-3)}, "the original"


def changed_weights(model):
    """Give each weight another value, so that a mix-up shows."""
    model.set_weights([RANDOM.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    return model


def branched():
    """Two branches of the same shapes, with a normalisation and a dropout."""
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.Conv2D(3, 3, padding="same")(inputs)
    y = layers.Conv2D(3, 3, padding="same")(inputs)
    y = layers.BatchNormalization()(layers.Conv2D(3, 3, padding="same")(y))
    z = layers.Dropout(0.5)(layers.Subtract()([y, x]))
    z = layers.GlobalAveragePooling2D()(z)
    return keras.Model(inputs, layers.Dense(2)(z), name="Branched")


def nested():
    """A functional and a sequential model inside another."""
    inputs = keras.Input((8, 8, 3), name="images")
    head = keras.Sequential(
        [keras.Input((3,)), layers.Dense(4, kernel_regularizer="l2"), layers.Dense(2)]
    )
    inner_inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, kernel_regularizer="l2")(inner_inputs)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization()(x))
    inner = keras.Model(inner_inputs, x, name="inner")
    return keras.Model(inputs, head(inner(inputs)), name="Nested")


def shared():
    """A layer that is used twice."""
    inputs = keras.Input((8, 8, 3), name="images")
    convolution = layers.Conv2D(3, 3, padding="same")
    x = convolution(layers.ReLU()(convolution(inputs)))
    return keras.Model(inputs, layers.Dense(2)(layers.GlobalAveragePooling2D()(x)), name="Shared")


MODELS = {"branched": branched, "nested": nested, "shared": shared}


def scaled(images):
    return (images / 255).astype("float32")


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("recipe", [EXAMPLE, PAPER], ids=["own decay", "recipe's decay"])
def test_a_copy_computes_the_same_and_the_original_is_untouched(build, recipe):
    model = changed_weights(build())
    before, config = model.get_weights(), model.to_json()
    images = scaled(IMAGES[:6])
    expected = np.asarray(model(images))
    copy = prepared(model, recipe)
    inside = with_preprocessing(copy, IMAGES, None)
    np.testing.assert_allclose(copy(images), expected, rtol=1e-5)
    np.testing.assert_allclose(inside(IMAGES[:6].astype("float32")), expected, rtol=1e-4)
    for stranger in (copy, inside):
        stranger.set_weights([w + 1 for w in stranger.get_weights()])
    assert_equal_weights(model.get_weights(), before, tolerance=0)
    assert model.to_json() == config
    assert inside.name == model.name


def test_a_nested_model_is_changed_inside():
    recipe = replace(PAPER, bn_momentum=0.5, weight_decay=WeightDecay(0.2))
    model = changed_weights(nested())
    copy = prepared(model, recipe)
    inner = copy.get_layer("inner")
    assert norms(inner) == {(0.5, 1e-3)}
    kernels = [weight.numpy() for weight in copy.trainable_weights if weight.name == "kernel"]
    assert len(kernels) == 3
    expected = 0.1 * sum((kernel**2).sum() for kernel in kernels)
    assert penalty(copy) == pytest.approx(expected, rel=1e-5)
    assert norms(model.get_layer("inner")) == {(0.99, 1e-3)}


def test_frozen_layers_stay_frozen():
    model = cifar.resnet_v1((16, 16, 3), 8)
    for layer in model.layers[:5]:
        layer.trainable = False
    frozen = {layer.name for layer in model.layers[1:] if not layer.trainable}
    copy = with_preprocessing(prepared(model, ONE_CYCLE), IMAGES, "channel", any_size=True)
    assert {layer.name for layer in copy.layers if not layer.trainable} == frozen
    ours = [weight.path for weight in copy.trainable_weights]
    assert ours == [weight.path for weight in model.trainable_weights]


def test_a_frozen_model_inside_stays_frozen():
    model = nested()
    model.get_layer("inner").trainable = False
    copy = with_preprocessing(prepared(model, PAPER), IMAGES, None)
    assert [weight.shape for weight in copy.trainable_weights] == [(3, 4), (4,), (4, 2), (2,)]


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_16_bits_everywhere_but_in_the_last_layer(precision):
    model = cifar.resnet_v1((16, 16, 3), 8)
    copy = prepared(model, ONE_CYCLE, precision)
    policies = [layer.dtype_policy.name for layer in copy.layers[1:]]
    assert policies == [precision] * (len(policies) - 1) + ["float32"]
    assert {weight.dtype for weight in copy.weights} == {"float32"}
    pictures = scaled(RANDOM.integers(0, 256, (4, 16, 16, 3)))
    found = copy(pictures)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, model(pictures), atol=0.05)
    assert {layer.dtype_policy.name for layer in model.layers} == {"float32"}


def test_the_last_layer_of_a_model_inside_is_float32_too():
    inputs = keras.Input((8, 8, 3))
    inside = keras.Sequential([keras.Input((6, 6, 3)), layers.Flatten(), layers.Dense(2)])
    model = keras.Model(inputs, inside(layers.Conv2D(3, 3)(inputs)))
    found = prepared(model, PAPER, "mixed_bfloat16")(np.zeros((1, 8, 8, 3)))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"


# Preprocessing.


def pixels_only():
    inputs = keras.Input((8, 8, 3), name="images")
    return keras.Model(inputs, layers.Activation("linear")(inputs))


@pytest.mark.parametrize("normalize", ["image", "channel", None])
def test_preprocessing_is_what_numpy_says(normalize):
    training = IMAGES.astype("float64") / 255
    training[:, :, :, 2] /= 2
    stored = np.rint(training * 255).astype(np.uint8)
    training = stored / 255
    expected = {
        "image": training - training.mean(axis=0),
        "channel": (training - training.mean((0, 1, 2))) / training.std((0, 1, 2)),
        None: training,
    }[normalize]
    model = with_preprocessing(pixels_only(), stored, normalize)
    given = model(stored[:50].astype("float32"))
    np.testing.assert_allclose(given, expected[:50], atol=2e-6)
    assert model.input_shape == (None, 8, 8, 3)


def test_a_channel_that_never_changes_stays_finite():
    blank = IMAGES.copy()
    blank[..., 1] = 100
    given = np.asarray(with_preprocessing(pixels_only(), blank, "channel")(blank[:5] * 1.0))
    np.testing.assert_allclose(given[..., 1], 0, atol=0.01)
    assert np.isfinite(given).all()


@pytest.mark.parametrize("build", [cifar.resnet_v1, cifar.resnet_v2])
def test_one_copy_takes_images_of_any_size(build):
    model = build((32, 32, 3), 8 if build is cifar.resnet_v1 else 11)
    changed_weights(model)
    images = RANDOM.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    copy = with_preprocessing(model, images, "channel", any_size=True)
    fixed = with_preprocessing(model, images, "channel")
    pictures = images.astype("float32")
    np.testing.assert_allclose(copy(pictures), fixed(pictures), atol=1e-6)
    assert copy(pictures[:, ::2, ::2]).shape == (4, 10)
    assert copy.input_shape == (None, None, None, 3)
    assert fixed.input_shape == (None, 32, 32, 3)


def flat():
    inputs = keras.Input((8, 8, 3), name="images")
    x = layers.AveragePooling2D(4)(layers.Conv2D(4, 3, padding="same")(inputs))
    return keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)), name="Flat")


def test_a_model_of_one_size_is_refused_with_what_to_do():
    with_preprocessing(flat(), IMAGES, "channel")
    with pytest.raises(ValueError, match=r"any size.*Flat.*sizes=\(\(1, 1\),\)"):
        with_preprocessing(flat(), IMAGES, "channel", any_size=True)


def test_preprocessing_is_inside_and_subtracts_the_mean_image():
    model = resnet8()
    inside = with_preprocessing(model, PICTURES.train.images)
    images = PICTURES.test.images[:8]
    mean = PICTURES.train.images.mean(axis=0)
    expected = np.asarray(model(((images - mean) / 255).astype("float32")))
    np.testing.assert_allclose(np.asarray(inside(images.astype("float32"))), expected, atol=1e-6)
    without = with_preprocessing(model, PICTURES.train.images, None)
    expected = np.asarray(model((images / 255).astype("float32")))
    np.testing.assert_allclose(np.asarray(without(images.astype("float32"))), expected, atol=1e-6)


def test_an_adapted_normalisation_survives_the_copy():
    inputs = keras.Input((32, 32, 3))
    normalize = keras.layers.Normalization()
    normalize.adapt(PICTURES.train.images / 255)
    model = keras.Model(inputs, normalize(inputs))
    inside = with_preprocessing(model, PICTURES.train.images, None)
    images = PICTURES.test.images[:4].astype("float32")
    np.testing.assert_allclose(inside(images), model(images / 255), atol=1e-5)


# Whitening.


def smooth_images(n=200, side=12, channels=3):
    """Pictures whose neighbouring pixels are alike, as in photographs."""
    noise = np.random.default_rng(3).normal(size=(n, side + 3, side + 3, channels))
    blurred = sum(noise[:, i : i + side, j : j + side] for i in range(4) for j in range(4))
    return np.clip(128 + 20 * blurred, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("normalize", ["channel", "image", None])
def test_whitened_patches_are_uncorrelated(normalize):
    images = smooth_images()
    keras.utils.set_random_seed(0)
    model = rl.resnet_fast((12, 12, 3), widths=(8,))
    copy = whitened(model, images, normalize)
    layer = copy.get_layer("patches_conv")
    assert not layer.trainable and model.get_layer("patches_conv").trainable
    seen = preprocessing(images, normalize)(images.astype("float32"))
    found = np.array(layer(seen)).reshape(-1, 24)
    np.testing.assert_allclose(found[:, 12:], -found[:, :12], atol=1e-4)
    products = found[:, :12].T @ found[:, :12] / len(found)
    assert np.abs(products - np.diag(np.diag(products))).max() < 0.02
    assert np.diag(products).min() > 0.5 and np.diag(products).max() < 1.05
    np.testing.assert_array_equal(
        copy.get_layer("stage1_conv").kernel, model.get_layer("stage1_conv").kernel
    )


def test_training_whitens_and_leaves_the_model_as_it_was():
    data = rl.datasets.shapes(train=64, validation=16, test=16)
    model = rl.resnet_fast(data.image_shape, data.num_classes, widths=(8, 8))
    before = [np.array(each) for each in model.get_weights()]
    recipe = replace(FAST, epochs=1, batch_size=32)
    run = rl.train(model, data, recipe, progress=False)
    assert all(map(np.array_equal, before, model.get_weights()))
    expected = whitened(model, data.train.images, "channel").get_layer("patches_conv")
    found = run.model.get_layer("patches_conv")
    assert not found.trainable
    np.testing.assert_array_equal(found.kernel, expected.kernel)
    plain = rl.train(model, data, replace(recipe, whiten=False), progress=False)
    assert plain.model.get_layer("patches_conv").trainable
    for each in (run, plain):
        trained = rl.count_parameters(each.model).trainable
        assert each.record["model"]["trainable_parameters"] == trained


@pytest.mark.parametrize(
    ("build", "received"),
    [
        (lambda: resnet8(), "which has stem_conv with 16 filters, where 54 do"),
        (lambda: linear(), "which has another layer at its beginning"),
    ],
)
def test_a_model_that_cannot_whiten_is_refused(build, received):
    with pytest.raises(ValueError, match=rf"two filters for each number.* {received}"):
        whitened(build(), IMAGES, None)

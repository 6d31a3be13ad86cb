import json
import os
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf

import resnet_lib as rl
from resnet_lib.training import fused_bn as fast
from resnet_lib.training.copies import copied

SIDE, BATCH = 16, 32
RANDOM = np.random.default_rng(7)
IMAGES = RANDOM.normal(size=(4 * BATCH, SIDE, SIDE, 3)).astype("float32")
LABELS = RANDOM.integers(0, 10, 4 * BATCH)
SHAPE = (SIDE, SIDE, 3)


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(5)


def net(form="standard", shape=SHAPE):
    """A ResNet-8 whose batch normalisation is not at its initial values."""
    return scrambled(rl.resnet_v1(shape, 8, form=form))


def scrambled(model):
    random = np.random.default_rng(3)
    for layer in batch_norms(model):
        for weight in layer.weights:
            weight.assign(random.uniform(0.5, 1.5, weight.shape))
    return model


def batch_norms(model):
    return [each for each in model.layers if isinstance(each, keras.layers.BatchNormalization)]


def with_preprocessing():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Rescaling(0.5, offset=0.1)(inputs)
    mean, variance = IMAGES.mean((0, 1, 2)), IMAGES.var((0, 1, 2))
    x = keras.layers.Normalization(mean=mean, variance=variance)(x)
    return keras.Model(inputs, net().call(x))


def adapted():
    normalize = keras.layers.Normalization()
    normalize.adapt(IMAGES)
    inputs = keras.Input(SHAPE)
    return keras.Model(inputs, net()(normalize(inputs)))


def without_gamma_or_beta():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(8, 3)(inputs)
    for index, options in enumerate(({"center": False}, {"scale": False}, {"epsilon": 1e-5})):
        x = keras.layers.BatchNormalization(name=f"bn{index}", **options)(x)
        x = keras.layers.Conv2D(8, 3, activation="relu")(x)
    outputs = keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x))
    return scrambled(keras.Model(inputs, outputs))


def sequential():
    layers = [
        keras.layers.Conv2D(8, 3, strides=2),
        keras.layers.BatchNormalization(momentum=0.8),
        keras.layers.ReLU(),
        keras.layers.GlobalAveragePooling2D(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    return keras.Sequential([keras.Input(SHAPE), *layers])


def without_batch_norm():
    inputs = keras.Input(SHAPE)
    x = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x))


MODELS = {
    "v1 standard": (net, 9),
    "v1 example": (lambda: net("example"), 7),
    "v1 paper": (lambda: net("paper"), 7),
    "v2": (lambda: scrambled(rl.resnet_v2(SHAPE, 11)), 10),
    "plain": (lambda: scrambled(rl.plain_net(SHAPE, 8)), 7),
    "any size": (lambda: net(shape=(None, None, 3)), 9),
    "preprocessing": (with_preprocessing, 9),
    "nested, adapted": (adapted, 9),
    "no gamma or beta": (without_gamma_or_beta, 3),
    "sequential": (sequential, 1),
    "no batch norm": (without_batch_norm, 0),
}


def step(model, images, labels, training=True):
    """Outputs and gradients of one batch."""
    variables = [each.value for each in model.trainable_variables]
    with tf.GradientTape() as tape:
        outputs = model(images, training=training)
        loss = keras.losses.sparse_categorical_crossentropy(labels, outputs)
        loss = tf.reduce_mean(tf.cast(loss, "float32"))
    return outputs, tape.gradient(loss, variables)


# A gradient jumps where rounding moves an activation across the kink of its ReLU: over six seeds
# by up to 4e-4 of the largest gradient of a variable. Without kinks it stays below 1e-5.
def assert_same_step(model, quick, images=IMAGES[:BATCH], atol=1e-5, kinks=True):
    """Both compute the same, and their weights are the same afterwards."""
    gradient_atol = max(2e-3, atol) if kinks else atol
    labels = LABELS[: len(images)]
    for mode in (True, False, None):
        ours, theirs = (step(each, images, labels, mode) for each in (quick, model))
        np.testing.assert_allclose(ours[0], theirs[0], atol=atol)
        assert len(ours[1]) == len(theirs[1])
        for ours_each, theirs_each in zip(ours[1], theirs[1], strict=True):
            scale = max(1.0, float(np.abs(theirs_each).max()))
            np.testing.assert_allclose(ours_each, theirs_each, atol=gradient_atol * scale)
    assert_same_weights(model, quick, atol)


def assert_same_weights(model, quick, atol=1e-5):
    assert largest_difference(model, quick) <= atol


def largest_difference(model, quick):
    pairs = zip(model.get_weights(), quick.get_weights(), strict=True)
    return max((np.abs(a - b).max() for a, b in pairs), default=0)


@pytest.mark.parametrize(("build", "count"), MODELS.values(), ids=MODELS)
def test_outputs_gradients_and_statistics_are_the_same(build, count):
    model = build()
    quick = fast.speed_up(model)
    assert len(fast.fused_layers(quick)) == count
    assert_same_weights(model, quick, 0)
    before = model.get_weights()
    assert_same_step(model, quick)
    if count:
        assert any((a != b).any() for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_gradients_are_the_same_where_there_is_no_kink(seed):
    keras.utils.set_random_seed(seed)
    inputs = x = keras.Input(SHAPE)
    for index in range(4):
        x = keras.layers.Conv2D(8, 3, use_bias=False)(x)
        x = keras.layers.BatchNormalization(name=f"bn{index}")(x)
        x = keras.layers.Activation("tanh")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    outputs = keras.layers.Dense(10, activation="softmax")(x)
    model = scrambled(keras.Model(inputs, outputs))
    assert_same_step(model, fast.speed_up(model), kinks=False)


def test_statistics_are_the_same_after_100_batches():
    model = net()
    quick = fast.speed_up(model)
    calls = [tf.function(lambda x, m=each: m(x, training=True)) for each in (model, quick)]
    for index in range(100):
        batch = IMAGES[index % 4 :: 4] * (1 + index / 100)
        outputs = [call(batch) for call in calls]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    assert_same_weights(model, quick)


# Training amplifies rounding: at this rate, a network that sees the images of each batch in another
# order, which changes sums in their last bits only, is 5e-5 to 1e-4 away from itself after 100
# steps, and the fused one 0.5 to 1.2 times as far. At a tenth of the rate it is 1e-5, at three
# times the rate 1e-3.
@pytest.mark.slow
def test_100_steps_of_training_differ_by_rounding_alone():
    model = rl.resnet_v1(SHAPE, 8, form="standard")
    start = copied(model)
    reordered, fused = copied(model), fast.speed_up(model)
    train(model)
    train(reordered, reverse=True)
    train(fused)
    assert largest_difference(model, start) > 0.1
    assert largest_difference(model, fused) <= 5 * largest_difference(model, reordered)


def train(model, *, reverse=False, steps=100):
    model.compile(keras.optimizers.SGD(0.003), "sparse_categorical_crossentropy")
    order = slice(None, None, -1 if reverse else 1)
    batches = [(IMAGES[i::4][order], LABELS[i::4][order]) for i in range(4)]
    data = tf.data.Dataset.from_tensor_slices(tuple(map(np.stack, zip(*batches, strict=True))))
    model.fit(data.repeat(), steps_per_epoch=steps, shuffle=False, verbose=0)


def test_the_unbiased_variance_would_be_noticed(monkeypatch):
    monkeypatch.setattr(fast, "_biased", lambda variance, count: variance)
    model = net(shape=(8, 8, 3))
    with pytest.raises(AssertionError):
        assert_same_step(model, fast.speed_up(model), IMAGES[:4, :8, :8])


def test_a_batch_of_one_pixel():
    inputs = keras.Input((1, 1, 2))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    quick = fast.speed_up(model)
    pixel = np.full((1, 1, 1, 2), 3.0, "float32")
    np.testing.assert_allclose(quick(pixel, training=True), model(pixel, training=True), atol=1e-6)
    assert_same_weights(model, quick, 1e-6)


def test_the_original_stays_and_the_copy_has_its_names():
    model = net()
    model.compile("sgd", "sparse_categorical_crossentropy")
    before, config = model.get_weights(), model.get_config()
    quick = fast.speed_up(model)
    assert fast.fused_layers(model) == []
    quick.compile("sgd", "sparse_categorical_crossentropy")
    quick.fit(IMAGES[:BATCH], LABELS[:BATCH], verbose=0)
    assert model.compiled
    assert model.get_config() == config == quick.get_config()
    assert [w.path for w in model.weights] == [w.path for w in quick.weights]
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


LOAD = """
import sys, keras, numpy as np
images, expected = np.load(sys.argv[2]).values()
model = keras.saving.load_model(sys.argv[1])
assert "resnet_lib" not in sys.modules
assert type(model.get_layer("stem_bn")) is keras.layers.BatchNormalization
assert "call" not in vars(model.get_layer("stem_bn"))
np.testing.assert_allclose(model.predict(images, verbose=0), expected, atol=1e-5)
"""


@pytest.mark.slow
def test_what_is_saved_loads_without_the_library(tmp_path):
    model = net()
    quick = fast.speed_up(model)
    train(quick, steps=4)
    quick.save(tmp_path / "quick.keras")
    model.save(tmp_path / "plain.keras")
    np.savez(tmp_path / "a.npz", images=IMAGES[:8], expected=quick(IMAGES[:8], training=False))
    python("-c", LOAD, tmp_path / "quick.keras", tmp_path / "a.npz", cwd=tmp_path)
    quick_config, plain_config = (saved_layers(tmp_path / f"{x}.keras") for x in ("quick", "plain"))
    assert quick_config == plain_config
    model.load_weights(tmp_path / "quick.keras")
    assert_same_weights(model, quick, 0)


def saved_layers(path):
    with zipfile.ZipFile(path) as file:
        layers = json.loads(file.read("config.json"))["config"]["layers"]
    return [without_ids(layer) for layer in layers]


def without_ids(config):
    """Leave out the numbers by which Keras tells objects apart that layers share."""
    if isinstance(config, dict):
        return {k: without_ids(v) for k, v in config.items() if k != "shared_object_id"}
    return [without_ids(each) for each in config] if isinstance(config, list) else config


def python(*arguments, **options):
    options["env"] = os.environ | options.pop("environment", {})
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_float32_statistics(policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        model = net()
    finally:
        keras.config.set_dtype_policy(before)
    quick = fast.speed_up(model)
    assert len(fast.fused_layers(quick)) == 9
    [layer] = [each for each in quick.layers if each.name == "stem_bn"]
    assert layer(tf.zeros((1, 2, 2, 16), "float32")).dtype == layer.compute_dtype
    assert {weight.dtype for weight in quick.weights} == {"float32"}
    assert_same_step(model, quick, atol=0.03)
    # The layer's own rounding, without that of the layers before it.
    x = tf.cast(RANDOM.normal(size=(8, 4, 4, 16)), layer.compute_dtype)
    reference = model.get_layer("stem_bn")
    for weight, other in zip(layer.weights, reference.weights, strict=True):
        weight.assign(other)
    a, b = (tf.cast(each(x, training=True), "float32") for each in (layer, reference))
    np.testing.assert_allclose(a, b, rtol=2**-7, atol=2**-7)
    for weight, other in zip(layer.weights, reference.weights, strict=True):
        np.testing.assert_allclose(weight, other, atol=1e-5)


@pytest.mark.slow
def test_xla():
    model = net(shape=(8, 8, 3))
    quick = fast.speed_up(model)
    images = IMAGES[:4, :8, :8]
    compiled = tf.function(lambda x: quick(x, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(images), model(images, training=True), atol=1e-5)
    assert_same_weights(model, quick)
    quick.compile("sgd", "sparse_categorical_crossentropy", jit_compile=True)
    quick.fit(images, LABELS[:4], verbose=0)


def test_frozen_layers_run_in_inference_mode():
    model = net()
    for layer in batch_norms(model)[:4]:
        layer.trainable = False
    quick = fast.speed_up(model)
    assert len(quick.trainable_weights) == len(model.trainable_weights)
    frozen = batch_norms(quick)[0].get_weights()
    assert_same_step(model, quick)
    for a, b in zip(frozen, batch_norms(quick)[0].get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_frozen_model_stays_frozen():
    model = net()
    model.trainable = False
    model.layers[-1].trainable = True
    quick = fast.speed_up(model)
    assert not quick.trainable
    assert [e.trainable for e in quick.layers] == [e.trainable for e in model.layers]
    np.testing.assert_allclose(
        quick(IMAGES[:4], training=True), model(IMAGES[:4], training=True), atol=1e-5
    )


STRATEGIES = {
    "none": tf.distribute.get_strategy,
    "one device": lambda: tf.distribute.OneDeviceStrategy("/cpu:0"),
    "mirrored": lambda: tf.distribute.MirroredStrategy(["/cpu:0"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("steps_per_execution", [1, 2])
@pytest.mark.parametrize("strategy", STRATEGIES.values(), ids=STRATEGIES)
def test_fit_on_one_replica(strategy, steps_per_execution):
    with strategy().scope():
        model = net()
        quick = fast.speed_up(model)
        for each in (model, quick):
            each.compile(
                keras.optimizers.SGD(0.01),
                "sparse_categorical_crossentropy",
                steps_per_execution=steps_per_execution,
            )
    assert len(fast.fused_layers(quick)) == 9
    for each in (model, quick):
        each.fit(IMAGES, LABELS, batch_size=BATCH, shuffle=False, verbose=0)
    assert_same_weights(model, quick)


class Subclass(keras.layers.BatchNormalization):
    """A layer whose class is not Keras' own."""


@pytest.mark.parametrize(
    "apply",
    [
        lambda x: keras.layers.BatchNormalization(axis=1)(x),
        lambda x: keras.layers.BatchNormalization(renorm=True)(x),
        lambda x: keras.layers.BatchNormalization(synchronized=True)(x),
        lambda x: keras.layers.BatchNormalization(dtype="float64")(x),
        lambda x: keras.layers.BatchNormalization()(keras.layers.Flatten()(x)),
        lambda x: Subclass()(x),
    ],
    ids=["axis", "renorm", "synchronized", "float64", "rank", "subclass"],
)
def test_what_cannot_be_fused_stays_as_it_is(apply):
    inputs = keras.Input(SHAPE)
    model = keras.Model(inputs, apply(inputs))
    quick = fast.speed_up(model)
    assert fast.fused_layers(quick) == []
    images = IMAGES[:8]
    np.testing.assert_allclose(
        quick(images, training=True), model(images, training=True), atol=1e-6
    )
    assert_same_weights(model, quick, 1e-6)


def test_a_mask_is_heeded():
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, keras.layers.BatchNormalization()(inputs))
    quick = fast.speed_up(model)
    [layer], [reference] = batch_norms(quick), batch_norms(model)
    images = IMAGES[:2, :4, :4, :2]
    mask = np.arange(2 * 4 * 4).reshape(2, 4, 4) % 3 > 0
    a, b = (each(images, training=True, mask=tf.constant(mask)) for each in (layer, reference))
    np.testing.assert_allclose(a, b, atol=1e-6)
    assert_same_weights(model, quick, 1e-6)
    unmasked = layer(images, training=True)
    assert np.abs(np.asarray(a) - np.asarray(unmasked)).max() > 1e-3


def test_a_clone_is_plain_again():
    assert fast.fused_layers(keras.models.clone_model(fast.speed_up(net()))) == []


def test_speeding_up_twice_is_speeding_up_once():
    model = net()
    quick = fast.speed_up(fast.speed_up(model))
    assert len(fast.fused_layers(quick)) == 9
    assert_same_step(model, quick)


def test_fused_operations_are_what_runs():
    quick = fast.speed_up(net())
    graph = tf.function(lambda x: step(quick, x, LABELS[:BATCH])[1])
    names = [op.type for op in graph.get_concrete_function(IMAGES[:BATCH]).graph.get_operations()]
    assert names.count("FusedBatchNormV3") == names.count("FusedBatchNormGradV3") == 9


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("resnet20", "Received: 'resnet20'"),
        (keras.layers.ReLU(), "functional or sequential"),
        (SimpleNamespace(layers=[]), "functional or sequential"),
        (keras.Sequential([keras.layers.Dense(1)]), "not built"),
    ],
)
def test_what_is_no_built_model_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        fast.speed_up(wrong)


ON_JAX = """
import sys, numpy as np
import resnet_lib as rl
from resnet_lib.training import fused_bn as fast
from resnet_lib.training.copies import copied
assert "tensorflow" not in sys.modules
model = rl.resnet_v1((8, 8, 3), 8)
quick = fast.speed_up(model)
assert quick is not model and fast.fused_layers(quick) == []
images = np.ones((2, 8, 8, 3), "float32")
np.testing.assert_allclose(quick(images), model(images), atol=1e-6)
"""


@pytest.mark.slow
def test_another_backend_gets_a_clone():
    python("-c", ON_JAX, environment={"KERAS_BACKEND": "jax"})


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize("strides", [1, 2])
def test_a_convolution_in_groups_is_tensorflows_own(policy, strides):
    inputs = keras.Input((8, 8, 6))
    conv = keras.layers.Conv2D(4, 3, strides, "same", groups=2, activation="tanh", dtype=policy)
    model = keras.Model(inputs, keras.layers.Activation("linear", dtype="float32")(conv(inputs)))
    quick = fast.speed_up(model)
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 6)).astype("float32")
    found = []
    for each in (model, quick):
        with tf.GradientTape() as tape:
            outputs = each(images, training=True)
            loss = tf.reduce_sum(outputs**2)
        found.append([outputs, *tape.gradient(loss, each.trainable_variables)])
    rtol = 1e-5 if policy == "float32" else 2e-2
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=rtol, atol=10 * rtol)
    assert "convolution_op" in vars(quick.layers[1])
    assert "convolution_op" not in vars(model.layers[1])

"""The epochs of a run: however they are run, and whatever comes between."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import keras
import numpy as np
import pytest
from backends import BACKEND
from small import (
    DATA,
    SHORT,
    At,
    EachEpoch,
    kernels,
    net,
    raising,
    small_resnet,
    train,
)

from resnet_lib import plots, records
from resnet_lib.recipes import PAPER
from resnet_lib.training import Execution
from resnet_lib.training import fit as fitting


def spoil(model):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])


def test_a_loss_that_is_not_a_number_stops_the_run_before_it_is_saved(tmp_path):
    with pytest.warns(UserWarning, match="not a number in epoch 2, step 3"):
        run = train(tmp_path / "run", callbacks=[At(1, 1, spoil)])
    assert run.record["stopped"] == "the loss was not a number in epoch 2, step 3"
    assert run.record["results"]["best_epoch"] == 1
    assert all(np.isfinite(weight).all() for weight in run.model.get_weights())
    saved = records.load(tmp_path / "run").load_model()
    assert all(np.isfinite(weight).all() for weight in saved.get_weights())
    json.loads((tmp_path / "run" / "record.json").read_text(), parse_constant=pytest.fail)


def test_a_loss_that_is_not_a_number_in_the_first_epoch_is_an_error(tmp_path, capsys):
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 2.*lower learning rate"):
        train(tmp_path / "run", callbacks=[At(0, 0, spoil)])
    assert not (tmp_path / "run" / "model.keras").exists()


def test_out_of_memory_says_which_batch_size_to_try():
    import tensorflow as tf

    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    with pytest.raises(MemoryError, match="batches of 32: try batch_size=16"):
        train(callbacks=[At(0, 0, raising(error))])
    with pytest.raises(MemoryError, match="single image"):
        raise fitting.told_what_fits(1)


@pytest.mark.parametrize("limit", ["SSE41", None])
def test_a_limited_onednn_is_told(limit, monkeypatch):
    import tensorflow as tf

    reason = "could not create a primitive descriptor for the convolution forward propagation"
    error = tf.errors.AbortedError(None, None, reason)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    told = (tf.errors.AbortedError, reason)
    if limit is not None:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        told = ValueError, "ONEDNN_MAX_CPU_ISA to be unset.* Received: SSE41.*--precision float32"
    with pytest.raises(told[0], match=told[1]):
        train(callbacks=[At(0, 0, raising(error))])


# Its rate does not change for hundreds of epochs, so that steps of one call may share it.
CONSTANT = replace(PAPER, batch_size=32)


@pytest.fixture(scope="module")
def plain_run():
    return train(recipe=CONSTANT, model=small_resnet(), epochs=1, execution=Execution())


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param(Execution(jit_compile=True), marks=pytest.mark.slow),
        Execution(data_on_device=True),
        Execution(steps_per_execution=2),
        Execution("mixed_bfloat16"),
        Execution("mixed_float16"),
        pytest.param(Execution("mixed_bfloat16", True, 4, True), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_however_the_steps_are_run_they_lead_to_the_same_weights(settings, plain_run):
    """What a GPU gets, on the CPU: the distance as a share of the way from the first weights.

    In 16 bits it is some 0.1 to 0.15 after four steps with a rate of 0.1.
    """
    run = train(recipe=CONSTANT, model=small_resnet(), epochs=1, execution=settings)
    assert run.record["execution"] == settings.as_dict()
    of_loss, of_way = (1e-5, 1e-4) if settings.precision == "float32" else (5e-3, 0.25)
    assert run.history["loss"] == pytest.approx(plain_run.history["loss"], rel=of_loss)
    start, expected, found = map(kernels, (small_resnet(), plain_run.model, run.model))
    assert np.linalg.norm(found - expected) < of_way * np.linalg.norm(expected - start)
    assert {weight.dtype for weight in run.model.weights} == {"float32"}
    assert run.model.layers[-1].compute_dtype == "float32"
    assert all(layer.compute_dtype == "float32" for layer in run.model.layers)


class Weakened(keras.callbacks.Callback):
    """Changes the weights after the best ones have been kept."""

    def on_train_end(self, logs=None):
        self.model.set_weights([0.5 * weight for weight in self.model.get_weights()])


@pytest.mark.parametrize(("callback", "times"), [([], 2), ([Weakened()], 3)], ids=["same", "other"])
def test_what_is_measured_in_the_end_is_the_model_that_is_saved(callback, times, monkeypatch):
    """The last weights, the best ones where these are others, and the mirrored pictures."""
    measured, measure = [], fitting.probabilities

    def probabilities(model, split):
        measured.append((model, model.get_weights()[0]))
        return measure(model, split)

    monkeypatch.setattr(fitting, "probabilities", probabilities)
    recipe = replace(SHORT, epochs=1)
    run = train(recipe=recipe, execution=Execution("mixed_bfloat16"), callbacks=callback)
    assert len(measured) == times
    assert all(model is run.model for model, _ in measured)
    kept = run.model.get_weights()[0]
    assert all(np.array_equal(weights, kept) for _, weights in measured[-2:])
    assert np.array_equal(2 * measured[0][1], kept) == bool(callback)


def test_averaged_weights_are_validated_and_kept():
    """The first kernel, averaged by hand over the steps of one epoch."""
    seen = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.trainable_variables[0].numpy())

    run = train(recipe=replace(SHORT, epochs=1, ema=0.9), callbacks=[Weights()])
    average = seen[0]
    for raw in seen[1:]:
        average = 0.9 * average + 0.1 * raw
    kept = run.model.trainable_variables[0].numpy()
    assert np.abs(kept - average).max() < 0.1 * np.abs(kept - seen[-1]).max()
    found = fitting.probabilities(run.model, DATA.validation)
    accuracy = fitting.accuracy(found, DATA.validation)
    assert accuracy == pytest.approx(run.history["val_accuracy"][0])


def test_mirrored_test_images_are_averaged_in_a_number_of_its_own():
    run = train()
    test, mirrored = DATA.test, DATA.test.images[:, :, ::-1]
    both = run.model.predict(test.images, verbose=0) + run.model.predict(mirrored, verbose=0)
    accuracy = np.mean(np.argmax(both, axis=1) == test.labels)
    assert run.record["results"]["test_accuracy_flip"] == pytest.approx(accuracy)
    assert (
        "test_accuracy_flip" not in train(recipe=replace(SHORT, flip_test=False)).record["results"]
    )


@pytest.mark.parametrize("views", [3, 6])
def test_views_of_the_test_images_are_averaged_in_a_number_of_its_own(views):
    run, test = train(recipe=replace(SHORT, views=views)), DATA.test
    padded = np.pad(test.images, [(0, 0), (1, 1), (1, 1), (0, 0)], "reflect")
    moved = [padded[:, 1:-1, 1:-1], padded[:, :-2, :-2], padded[:, 2:, 2:]]
    seen = moved + [each[:, :, ::-1] for each in moved] * (views == 6)
    found = sum(run.model.predict(each, verbose=0) for each in seen)
    accuracy = np.mean(np.argmax(found, axis=1) == test.labels)
    assert run.record["results"]["test_accuracy_views"] == pytest.approx(accuracy)
    assert f"from {views} views {accuracy:.1%}" in str(run)
    assert "test_accuracy_views" not in train().record["results"]


def test_a_model_of_one_size_is_refused_where_sizes_change(tmp_path):
    inputs = keras.Input((16, 16, 3))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(flat), name="flat")
    with pytest.raises(ValueError, match=r"any size.*flat.*sizes=\(\(1, 1\),\)"):
        train(tmp_path / "run", replace(SHORT, sizes=((0.5, 0.5), (1, 1))), model)
    assert not (tmp_path / "run").exists()
    assert train(recipe=replace(SHORT, epochs=1), model=model).history["loss"]


def test_tensorboard_files_are_written_on_request(tmp_path):
    train(tmp_path / "run", epochs=1, tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out*"))


MEMORY = """
import resnet_lib as rl
import keras, numpy as np, sys
from dataclasses import replace

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            raise KeyboardInterrupt

def part(n):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return rl.datasets.Split(images, random.integers(0, 10, n))

train, validation, test = (part(int(n)) for n in sys.argv[1:])
data = rl.datasets.Dataset(train, validation, test, range(10), "noise")
model = rl.resnet_v1((32, 32, 3), 20, form="standard")
recipe = replace(rl.recipes.ONE_CYCLE, sizes=((1, 1),), flip_test=False)
rl.train(model, data, recipe, progress=False, callbacks=[Stop()])
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) / 2**20)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux' /proc")
@pytest.mark.slow
def test_as_many_images_as_cifar10_has_take_little_more_memory_than_they_are():
    few, many = (
        subprocess.run([sys.executable, "-c", MEMORY, *sizes], capture_output=True, text=True)
        for sizes in (("450", "50", "100"), ("45000", "5000", "10000"))
    )
    assert many.returncode == 0, many.stderr
    assert float(many.stdout) - float(few.stdout) < 0.4, "they are 0.17 GB"
    if BACKEND == "tensorflow":  # JAX has 1.6 for any.
        assert float(many.stdout) < 1.5


@pytest.mark.slow
def test_a_run_on_jax_needs_no_other_recipe(tmp_path):
    code = """
        import resnet_lib as rl
        from dataclasses import replace
        data = rl.datasets.shapes(train=32, validation=32, test=32)
        model = rl.resnet_v1((32, 32, 3), 8, form="standard")
        recipe = replace(rl.recipes.ONE_CYCLE, epochs=1, batch_size=32)
        run = rl.train(model, data, recipe, out="run", progress=False)
        print(run.record["environment"]["keras_backend"], len(run.history["loss"]))
    """
    code = "\n".join(each.strip() for each in code.splitlines())
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["jax", "1"]


def test_a_callback_ends_the_run_and_not_only_its_image_size(tmp_path):
    def stop(model, epoch):
        model.stop_training = True

    recipe = replace(SHORT, sizes=((0.5, 0.5), (1, 1)))
    run = train(tmp_path / "run", recipe, epochs=3, callbacks=[EachEpoch(stop)])
    assert len(run.history["loss"]) == len(run.history["val_loss"]) == 1
    assert run.record["stopped"] == "by a callback in epoch 1"
    assert "test_accuracy_last" not in run.record["results"]


def test_a_validation_loss_that_is_not_a_number_is_none_in_the_record(tmp_path):
    class Spoiled(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.weights = self.model.get_weights()
            spoil(self.model)

        def on_test_end(self, logs=None):
            self.model.set_weights(self.weights)

    train(tmp_path / "run", epochs=1, callbacks=[Spoiled()])
    text = (tmp_path / "run" / "record.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["history"]["val_loss"] == [None]
    assert plots.loss(records.load(tmp_path / "run")).axes
    with pytest.raises(ValueError, match="JSON"):
        train(tmp_path / "other", notes={"number": float("nan")})
    assert not (tmp_path / "other").exists()


def test_a_net_made_under_another_policy_is_trained_as_it_says():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        run = train(recipe=replace(SHORT, epochs=1), model=net())
    finally:
        keras.config.set_dtype_policy("float32")
    computing = run.model.layers[1:]  # All but the input.
    assert {layer.compute_dtype for layer in computing} == {"float32"}
    assert run.model.output.dtype == "float32"


MIRRORED = """
import resnet_lib as rl
import tensorflow as tf
from dataclasses import replace
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
data = rl.datasets.shapes(train=64, validation=32, test=32)
recipe = replace(rl.recipes.ONE_CYCLE, epochs=1, batch_size=32)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    run = rl.train(rl.resnet_v1((32, 32, 3), 8, form="standard"), data, recipe, progress=False)
print(len(run.history["loss"]))
"""


@pytest.mark.slow
def test_two_devices_train_one_run():
    process = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split()[-1] == "1"


# What is frozen in a network stays as it is.


def base_inside(trainable):
    """Return a network with another one inside it, that has batch normalisation, and its base."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, name="base_conv", kernel_regularizer="l2")(inputs)
    x = keras.layers.BatchNormalization(epsilon=1e-2, momentum=0.5, name="base_bn")(x)
    base = keras.Model(inputs, keras.layers.ReLU()(x), name="base")
    base.get_layer("base_bn").moving_mean.assign(np.linspace(-1, 1, 8))
    base.trainable = trainable
    outer = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(base(outer))
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(outer, keras.layers.Dense(10, "softmax", name="top")(x), name="outer")
    return model, base


def held(model):
    """Return {name of a layer: its weights}, of the networks inside as well."""
    return {
        layer.name: layer.get_weights()
        for layer in model._flatten_layers()
        if layer.weights and not isinstance(layer, keras.Model)
    }


def same(some, others, name):
    return all(map(np.array_equal, some[name], others[name]))


@pytest.mark.parametrize("decay", [SHORT.weight_decay, None])
def test_a_frozen_base_stays_the_same_to_the_bit_and_the_rest_learns(decay, tmp_path):
    """With a recipe whose batch normalisation is other than that of the base."""
    model, _ = base_inside(trainable=False)
    before = held(model)
    recipe = replace(SHORT, weight_decay=decay)
    train(tmp_path / "run", recipe, model, epochs=1)
    run = train(tmp_path / "run", recipe, model, resume=True)
    after = held(run.model)
    assert same(before, after, "base_conv")
    assert same(before, after, "base_bn"), "statistics as well"
    assert not any(same(before, after, name) for name in ("conv", "bn", "top"))
    frozen = {layer.name: layer for layer in run.model._flatten_layers()}["base_bn"]
    assert (frozen.epsilon, frozen.momentum) == (1e-2, 0.5), "else it would compute another thing"
    assert {n for n, w in held(records.load(run.folder).load_model()).items()} == after.keys()
    assert run.record["model"]["trainable_parameters"] == sum(
        weight.size for name in ("conv", "bn", "top") for weight in before[name][:2]
    )


def test_what_is_not_frozen_in_a_base_learns():
    model, base = base_inside(trainable=True)
    base.get_layer("base_bn").trainable = False
    before = held(model)
    after = held(train(model=model, epochs=1).model)
    assert same(before, after, "base_bn")
    assert not same(before, after, "base_conv")


def test_a_single_weight_that_is_frozen_stays():
    model = net()
    dense = model.layers[-1]
    dense.kernel.trainable = False
    before = dense.get_weights()
    kernel, bias = train(model=model, epochs=1).model.layers[-1].get_weights()
    np.testing.assert_array_equal(kernel, before[0])
    assert not np.array_equal(bias, before[1])


def test_a_frozen_head_is_not_trained_first():
    model = net()
    model.layers[-1].trainable = False
    with pytest.raises(ValueError, match=r"trains it alone at first.*small, in which it is frozen"):
        train(recipe=replace(SHORT, head=0.5, head_peak=0.1), model=model)


def test_a_frozen_layer_is_not_whitened():
    model = net()
    model.layers[1].trainable = False
    recipe = replace(SHORT, whiten=True)
    with pytest.raises(ValueError, match=r"conv2d.*, which is frozen"):
        train(recipe=recipe, model=model)


def test_the_preprocessing_of_a_trained_network_is_left_to_it():
    """As a part of another network it takes pixels of 0-255, and they are not scaled again."""
    base = train(epochs=1).model
    base.trainable = False
    inputs = keras.Input((16, 16, 3))
    top = keras.layers.Dense(10, "softmax", name="top")
    model = keras.Model(inputs, top(base(inputs)), name="twice")
    with pytest.raises(ValueError, match=r'normalize="inside".*rl\.finetune'):
        train(model=model)
    run = train(recipe=replace(SHORT, normalize="inside"), model=model, epochs=1)
    kernel, bias = run.model.get_layer("top").get_weights()
    scores = np.exp(base.predict(DATA.test.images, verbose=0) @ kernel + bias)
    found = run.model.predict(DATA.test.images, verbose=0)
    np.testing.assert_allclose(found, scores / scores.sum(1, keepdims=True), atol=1e-5)
    with pytest.raises(ValueError, match=r"sees them as they are.*preprocessing="):
        train(recipe=replace(SHORT, normalize="inside"))

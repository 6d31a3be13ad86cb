"""Steps on several devices: virtual ones of the CPU. test_devices.py runs this for each backend."""

from dataclasses import replace
from unittest import mock

import keras
import numpy as np
import pytest
from small import SHORT, At, halved, net, small_resnet

from resnet_lib import datasets, training
from resnet_lib.training import Execution, devices, network

ON_JAX = keras.backend.backend() == "jax"
if not ON_JAX:
    import tensorflow as tf

    [CPU] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 4)

DATA = halved(datasets.shapes(train=160, validation=36, test=40))
TEN_STEPS = replace(SHORT, epochs=1, batch_size=16)
TWENTY_STEPS = replace(SHORT, epochs=1, batch_size=8)
MANY = [2, 4] if ON_JAX else [2]
WAYS = [Execution()]
if ON_JAX:
    WAYS += [Execution(data_on_device=True, steps_per_execution=3)]


def train(recipe, data=DATA, model=None, **options):
    return training.train(model or net(), data, recipe, progress=False, **options)


def smooth_resnet():
    """Return a ResNet whose ReLUs are smooth.

    Sums in another order differ by a rounding, and where that turns a ReLU on or off by far more.
    """

    def smooth(layer):
        if isinstance(layer, keras.layers.ReLU):
            return keras.layers.Activation("softplus", name=layer.name)
        return layer.__class__.from_config(layer.get_config())

    keras.utils.set_random_seed(0)
    return keras.models.clone_model(small_resnet(), clone_function=smooth)


def apart(one, other):
    """Return the largest difference between the weights of two runs."""
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


@pytest.fixture(scope="module")
def alone():
    """Return a function that trains on one device, each recipe and network once."""
    runs = {}

    def run(recipe, make=net):
        if (recipe, make) not in runs:
            runs[recipe, make] = train(recipe, model=make(), execution=Execution())
        return runs[recipe, make]

    return run


@pytest.mark.parametrize("execution", WAYS)
@pytest.mark.parametrize("count", [MANY[-1]])
def test_devices_compute_what_one_does(alone, count, execution):
    run = train(TEN_STEPS, model=smooth_resnet(), execution=execution, devices=count)
    assert run.record["execution"]["devices"] == count
    assert apart(run, alone(TEN_STEPS, smooth_resnet)) < 1e-5


@pytest.mark.parametrize("execution", WAYS)
def test_the_weights_lie_on_all_of_them(execution):
    """Else one device alone could pass for several."""
    found = []

    def look(model):
        value = model.trainable_variables[0].value
        found.append(len(value.sharding.device_set if ON_JAX else value.values))

    train(TEN_STEPS, execution=execution, devices=2, callbacks=[At(0, 2, look)])
    assert found == [2]


@pytest.mark.skipif(not ON_JAX, reason="TensorFlow's strategy hands its batches out itself")
def test_a_batch_is_shared_out_and_what_cannot_be_is_everywhere():
    with devices.spread(4):
        parts = devices.placed(np.arange(24).reshape(8, 3)).addressable_shards
        whole = devices.placed(np.arange(21).reshape(7, 3)).addressable_shards
    assert [part.data.tolist() for part in parts][1] == [[6, 7, 8], [9, 10, 11]]
    assert [part.data.shape for part in parts] == [(2, 3)] * 4
    assert [part.data.shape for part in whole] == [(7, 3)] * 4


@pytest.mark.parametrize("execution", WAYS)
def test_losses_of_an_epoch_are_those_of_one_device(alone, execution):
    run, other = train(TWENTY_STEPS, execution=execution, devices=MANY[-1]), alone(TWENTY_STEPS)
    for name in ("loss", "val_loss"):
        assert run.history[name] == pytest.approx(other.history[name], abs=1e-3)


@pytest.mark.skipif(ON_JAX, reason="JAX takes the statistics over all devices by itself")
def test_statistics_of_each_device_alone_would_be_another_result(alone):
    plain = network.prepared

    def alone_each(*args, synchronized=False, **options):
        return plain(*args, **options)

    with mock.patch("resnet_lib.training.fit.prepared", alone_each):
        run = train(TEN_STEPS, devices=2, execution=Execution())
    assert apart(run, alone(TEN_STEPS)) > 1e-3


@pytest.mark.skipif(not ON_JAX, reason="TensorFlow refuses such batches")
def test_a_last_batch_that_cannot_be_shared_out_is_computed_everywhere():
    recipe = replace(TEN_STEPS, batch_size=28)  # 160 images: 5 batches of 28, one of 20
    data = DATA.limit(159)
    runs = [train(recipe, data, execution=each, devices=4) for each in WAYS]
    one = train(recipe, data, execution=Execution())
    assert all(apart(run, one) < 1e-5 for run in runs)


@pytest.mark.parametrize(("first", "then"), [(1, 2), (2, 1)])
def test_a_run_goes_on_with_another_number_of_devices(tmp_path, alone, first, then):
    recipe = replace(TEN_STEPS, epochs=2)
    options = dict(out=tmp_path / "run", execution=WAYS[-1])
    train(recipe, **options, devices=first, epochs=1)
    run = train(recipe, **options, devices=then, resume=True)
    assert len(run.history["loss"]) == 2
    assert apart(run, alone(recipe)) < 1e-4


def test_all_devices_are_those_there_are():
    assert devices.available() == 4
    assert devices.checked("all") == 4
    assert devices.checked(None) == devices.checked(1) == 1


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (8, "from 1 to 4, as many as there are. Received: 8"),
        (0, "a whole number of at least 1"),
        ("two", "Received: 'two'"),
        (2.5, "Received: 2.5"),
    ],
)
def test_other_numbers_are_refused(asked, words):
    with pytest.raises(ValueError, match=words):
        train(TEN_STEPS, devices=asked)


def test_batches_that_do_not_divide_are_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"Received: batches of 18; .*batch_size=16"):
        train(replace(TEN_STEPS, batch_size=18), devices=4)
    if not ON_JAX:
        with pytest.raises(ValueError, match=r"159; data\.limit\(158\)"):
            train(TEN_STEPS, DATA.limit(159), devices=2)


@pytest.mark.skipif(ON_JAX, reason="JAX can do so")
@pytest.mark.parametrize("other", ["jit_compile", "data_on_device", "steps_per_execution"])
def test_tensorflow_takes_plain_steps_on_several_devices(other):
    with pytest.raises(ValueError, match="Expected plain steps for 2 devices"):
        Execution(devices=2, **{other: 2 if other == "steps_per_execution" else True})


def test_each_device_gets_a_part_of_each_batch():
    for images in (1000, 257, 5000, 131):
        for count in (2, 3, 4, 8):
            size = devices.even(256, images, count)
            last = images % size
            assert size % count == 0 and size <= images
            assert last == 0 or last > -(-last // count) * (count - 1)
    with pytest.raises(ValueError, match="Received: 36 images; 32 would do"):
        devices.even(256, 36, 8)


def test_the_budget_is_measured_on_all_of_them():
    recipe = training.for_budget(5, net(), DATA, TEN_STEPS, execution=Execution(devices=2))
    assert recipe.epochs > 1

"""Many steps a call under JAX compute what one a call does. `make test-jax` runs this, for JAX."""

import warnings
from dataclasses import replace

import keras
import numpy as np
import pytest
from small import DATA, SHORT, At, net, raising, train

from resnet_lib import recipes
from resnet_lib.augment import pad_crop_flip
from resnet_lib.training import Execution, jax_steps
from resnet_lib.training.batches import Places

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "jax", reason="KERAS_BACKEND=jax: see make test-jax"
)

RECIPE = replace(SHORT, batch_size=24)  # 128 images: 5 batches of 24, one of 8
BLOCKS = [
    Execution(steps_per_execution=2),
    Execution(steps_per_execution=4, data_on_device=True),
    Execution(steps_per_execution=50, data_on_device=True),
]
ONE = BLOCKS[1]


@pytest.fixture(scope="module")
def plain():
    """Return a function that trains a step a call from the host, each recipe once."""
    runs = {}

    def run(recipe):
        if recipe not in runs:
            runs[recipe] = train(recipe=recipe, execution=Execution())
        return runs[recipe]

    return run


def apart(one, other):
    """Return the largest difference between the weights of two runs."""
    pairs = zip(one.model.get_weights(), other.model.get_weights(), strict=True)
    return max(np.abs(a - b).max() for a, b in pairs)


@pytest.mark.parametrize("execution", BLOCKS, ids=lambda each: str(each.steps_per_execution))
def test_weights_and_losses_are_those_of_a_step_a_call(plain, execution):
    run, other = train(recipe=RECIPE, execution=execution), plain(RECIPE)
    assert apart(run, other) < 1e-5
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert run.history[name] == pytest.approx(other.history[name], abs=1e-5)
    assert run.history["learning_rate"] == pytest.approx(other.history["learning_rate"])


OTHERS = {
    "by epoch": replace(recipes.EXAMPLE, epochs=3, batch_size=24),
    "averaged": replace(RECIPE, ema=0.9),
    "two sizes": replace(RECIPE, sizes=((0.5, 0.5), (1, 1))),
    "reflected": replace(RECIPE, padding="reflect", flip=False),
    "cut out": replace(RECIPE, cutout=0.25),
    "alternating": replace(
        RECIPE,
        alternating=True,
        translation=1 / 16,
        label_smoothing=0.2,
        bias_rate=4,
        optimizer="muon",
        other_rate=1,
    ),
}


@pytest.mark.parametrize("recipe", OTHERS.values(), ids=OTHERS)
def test_other_recipes_give_the_same_too(plain, recipe):
    assert apart(train(recipe=recipe, execution=ONE), plain(recipe)) < 2e-5


def test_the_rate_is_that_of_each_step():
    """One rate for all steps of a call ends elsewhere."""
    calls = []

    def rate(step):
        calls.append(step)
        return RECIPE.rate(step, 6)

    model = compiled()
    batches = Places(DATA.train, 24)
    jax_steps.feed_training(model, batches, rate)
    model.fit(batches, epochs=1, verbose=0, shuffle=False, callbacks=[Begin(batches)])
    assert calls == [*range(6)]
    assert float(model.optimizer.learning_rate) == pytest.approx(RECIPE.rate(5, 6))


def compiled(steps=4):
    model = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), net()])
    loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
    model.compile("sgd", loss, metrics=metrics, steps_per_execution=steps)
    model.optimizer.build(model.trainable_variables)
    model.evaluate(DATA.validation.images[:1], DATA.validation.labels[:1], verbose=0)
    return model


class Begin(keras.callbacks.Callback):
    """Begins each epoch of the batches, as `train` does."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)


def test_the_device_has_its_next_steps_before_it_is_waited_for():
    """Of an epoch of six steps in calls of two, only the last call's numbers are waited for."""
    model, batches, log = compiled(steps=2), Places(DATA.train, 24), []
    jax_steps.feed_training(model, batches)
    calls = model.train_function
    run = calls._run

    def noted(*args):
        log.append("call")
        return run(*args)

    calls._run = noted
    losses = []

    class Look(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            log.append(f"end {batch}")
            losses.append(float(logs["loss"]))

    model.fit(batches, epochs=2, verbose=0, shuffle=False, callbacks=[Begin(batches), Look()])
    # The last call has a whole batch and the smaller one, which are compiled apart.
    epoch = ["call", "end 1", "call", "end 3", "call", "call", "end 5"]
    assert log == epoch * 2
    assert losses[0] == losses[1] != losses[2]  # Told: the first call's, again, the last one's.
    assert calls.compiled._cache_size() == 2  # For each size of a batch once, and not each epoch.


def test_the_images_are_cut_as_on_the_host():
    index = np.arange(50)
    images = np.random.default_rng(0).integers(0, 256, (50, 16, 12, 3), np.uint8)
    for mode in ("constant", "reflect"):
        batches = Places(type(DATA.train)(images, index % 10), 50, seed=3, padding=mode)
        batches.shuffle = False
        batches.start_epoch(2)
        places, _ = batches[0]
        cut = jax_steps.cut(images, places, pad=batches.pad, mode=mode)
        host = pad_crop_flip(images, index, epoch=2, seed=3, pad=batches.pad, mode=mode)
        assert np.array_equal(cut, host)


def test_a_resumed_run_has_the_same_bits(tmp_path):
    options = dict(recipe=RECIPE, execution=ONE, deterministic=True)
    whole = train(**options)
    train(tmp_path / "run", epochs=2, **options)
    run = train(tmp_path / "run", resume=True, **options)
    assert run.history["loss"] == whole.history["loss"]
    assert apart(run, whole) == 0


def spoil(model):
    first = model.trainable_variables[0]
    first.assign(np.full(first.shape, np.nan))


def test_a_loss_that_is_not_a_number_ends_the_run():
    with pytest.raises(FloatingPointError, match="nothing was learnt"):
        train(recipe=RECIPE, execution=ONE, callbacks=[At(0, 3, spoil)])


def test_nothing_that_is_not_a_number_is_kept():
    """Also where it comes in the last call of an epoch."""
    with pytest.warns(UserWarning, match="was not a number in epoch 2"):
        run = train(recipe=RECIPE, execution=ONE, callbacks=[At(1, 3, spoil)])
    assert np.isfinite(run.model.get_weights()[0]).all()


@pytest.mark.parametrize("execution", [Execution(), ONE], ids=["plain", "blocks"])
def test_the_callers_model_stays_alive(execution):
    model = net()
    before = model.get_weights()
    train(recipe=replace(RECIPE, epochs=1), model=model, execution=execution)
    assert all(map(np.array_equal, before, model.get_weights()))


def test_an_interrupt_ends_it_after_a_call():
    run = train(recipe=RECIPE, execution=ONE, callbacks=[At(1, 3, raising(KeyboardInterrupt))])
    assert run.record["stopped"] == "by hand in epoch 2"
    assert "test_accuracy_best" in run.record["results"]


def test_a_rate_that_a_callback_sets_is_told_of():
    def change(model):
        model.optimizer.learning_rate = 0.5

    class AtEnd(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            change(self.model)

    with pytest.warns(UserWarning, match="has set the learning rate to 0.5"):
        train(recipe=RECIPE, execution=ONE, callbacks=[AtEnd()])
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        train(recipe=RECIPE, execution=ONE)

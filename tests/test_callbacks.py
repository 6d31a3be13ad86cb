"""What steers and keeps a run: interrupts, and the rate of each step."""

import signal
import warnings
from dataclasses import replace
from types import SimpleNamespace

import keras
import numpy as np
import pytest
from small import (
    SHORT,
    At,
    EachEpoch,
    net,
    raising,
    train,
)

from resnet_lib import runtime
from resnet_lib.recipes import EXAMPLE
from resnet_lib.training import callbacks


@pytest.fixture
def interrupts():
    """Set the handler that a Python in the foreground has; returns a function to choose another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_a_step_and_a_second_one_does_not(interrupts, capsys):
    at = []

    def once(model):
        signal.raise_signal(signal.SIGINT)
        at.append("still here")

    run = train(callbacks=[At(1, 0, once)])
    assert at == ["still here"]
    told = capsys.readouterr().err
    assert "ends after this step" in told
    assert "A second interrupt ends it at once" in told
    assert "resume" not in told, "nothing is kept on disk"
    assert run.record["stopped"] == "by hand in epoch 2"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def twice(model):
        once(model)
        once(model)

    run = train(callbacks=[At(0, 0, twice)])
    assert at == ["still here"] * 2
    assert run.record["stopped"] == "by hand in epoch 1"


def test_after_an_interrupt_the_run_says_how_to_go_on(interrupts, tmp_path, capsys):
    stop = At(1, 0, lambda model: signal.raise_signal(signal.SIGINT))
    train(tmp_path / "run", callbacks=[stop])
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(str(tmp_path / "run"))
    assert "resume=True (--resume)" in last


def test_before_the_first_step_an_interrupt_ends_at_once(interrupts, tmp_path, capsys):
    class Early(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            signal.raise_signal(signal.SIGINT)
            pytest.fail("it was waited for")

    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path / "run", callbacks=[Early()])
    assert not hasattr(stopped.value, "__notes__")
    assert capsys.readouterr().err == ""
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not (tmp_path / "run" / "record.json").exists()
    assert len(train(tmp_path / "run", resume=True).history["loss"]) == 3


def test_an_interrupt_in_the_last_batch_of_the_validation_keeps_the_epoch(interrupts):
    class Validation(keras.callbacks.Callback):
        def on_test_batch_begin(self, batch, logs=None):
            signal.raise_signal(signal.SIGINT)

    run = train(callbacks=[Validation()])
    assert run.record["stopped"] == "by hand in epoch 2"


def test_where_interrupts_are_ignored_they_stay_so(interrupts):
    interrupts(signal.SIG_IGN)
    run = train(epochs=1, callbacks=[At(0, 0, lambda model: signal.raise_signal(signal.SIGINT))])
    assert "stopped" not in run.record
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


# SIGTERM, a cluster's notice.


@pytest.fixture
def notices():
    """Set the handler that a Python has by itself; returns a function to choose another."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield lambda handler: signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGTERM, before)


def notice(times=1):
    return At(1, 0, lambda model: [signal.raise_signal(signal.SIGTERM) for _ in range(times)])


def test_sigterm_ends_a_run_as_an_interrupt_does(notices, tmp_path, capsys):
    run = train(tmp_path / "run", callbacks=[notice()])
    assert run.record["stopped"] == "by SIGTERM in epoch 2"
    assert run.record["results"]["test_accuracy_best"] >= 0
    told = capsys.readouterr().err
    assert "what was learnt is measured and kept. A second SIGTERM ends it at once." in told
    assert "resume=True (--resume)" in told.splitlines()[-1]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    whole = train(tmp_path / "run", resume=True)
    assert whole.record["resumed"][0]["epoch"] == 1
    assert len(whole.history["loss"]) == 3


def test_a_second_sigterm_and_one_before_the_first_step_have_their_usual_effect(notices):
    seen = []
    notices(lambda number, frame: seen.append(number))
    assert train(callbacks=[notice(2)]).record["stopped"] == "by SIGTERM in epoch 2"
    assert seen == [signal.SIGTERM]

    class Early(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            signal.raise_signal(signal.SIGTERM)

    assert "stopped" not in train(epochs=1, callbacks=[Early()]).record
    assert seen == [signal.SIGTERM] * 2


def test_where_sigterm_is_ignored_it_stays_so(notices):
    notices(signal.SIG_IGN)
    assert "stopped" not in train(epochs=2, callbacks=[notice()]).record
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_on_the_command_line_sigterm_leaves_the_finished_epochs(
    notices, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(runtime, "is_command_line", lambda: True)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(tmp_path / "run", callbacks=[notice()])
    assert callbacks.was_terminated(stopped.value)
    assert "the epochs that are finished are kept" in capsys.readouterr().err
    assert not (tmp_path / "run" / "record.json").exists(), "nothing is measured"
    monkeypatch.undo()
    assert train(tmp_path / "run", resume=True).record["resumed"][0]["epoch"] == 1


def test_several_processes_stop_where_jax_says(notices, interrupts, monkeypatch, capsys):
    """JAX has SIGTERM then; an interrupt becomes one."""
    noticed, answers = [], iter([False, False, True])
    notices(lambda number, frame: noticed.append(number))
    monkeypatch.setattr(callbacks.hosts, "processes", lambda: 2)
    monkeypatch.setattr(callbacks.hosts, "is_time_to_stop", lambda: next(answers))
    with callbacks.Interruptible() as interruptible:
        interruptible.on_train_batch_begin(0)
        interruptible.on_train_batch_end(0)
        signal.raise_signal(signal.SIGINT)
        assert noticed == [signal.SIGTERM]
        interruptible.on_train_batch_begin(1)  # Not yet.
        with pytest.raises(KeyboardInterrupt) as stopped:
            interruptible.on_test_batch_begin(0)
    assert callbacks.was_terminated(stopped.value)
    assert "A second interrupt ends it at once" in capsys.readouterr().err


def test_the_rate_of_each_step_is_the_recipes():
    seen = []
    every = SimpleNamespace(rates=seen)

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            every.rates.append(float(self.model.optimizer.learning_rate))

    train(callbacks=[Rates()])
    assert seen == pytest.approx([SHORT.rate(step, 4) for step in range(12)])


def test_the_examples_rate_is_the_schedulers_not_the_plateaus():
    """The loss never falls, for the last layer ignores the others: the plateau's callback acts."""
    model, after = net(), []
    model.layers[-1].set_weights([np.zeros((8, 10)), np.zeros(10)])
    model.layers[-1].trainable = False

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            after.append(float(self.model.optimizer.learning_rate))

    recipe = replace(EXAMPLE, augment=False)
    run = train(recipe=recipe, model=model, epochs=8, batch_size=128, callbacks=[Rates()])
    assert min(after) < 1e-3 - 1e-6
    assert run.history["learning_rate"] == pytest.approx([1e-3] * 8)


class Mine(keras.callbacks.ReduceLROnPlateau):
    pass


SCHEDULER = keras.callbacks.LearningRateScheduler(lambda epoch: 1e-5)


@pytest.mark.parametrize(
    ("recipe", "callback"),
    [
        (SHORT, keras.callbacks.ReduceLROnPlateau()),
        (SHORT, Mine()),
        (SHORT, SCHEDULER),
        (EXAMPLE, keras.callbacks.ReduceLROnPlateau()),
    ],
    ids=lambda value: getattr(value, "name", type(value).__name__),
)
def test_what_the_recipe_would_overwrite_is_refused(recipe, callback, tmp_path):
    told = (
        rf"'{recipe.name}' .*anew before each (step|epoch).*Received: {type(callback).__name__}; "
    )
    with pytest.raises(ValueError, match=told + "in its place, "):
        train(tmp_path / "run", recipe, callbacks=[callback])
    assert not (tmp_path / "run").exists()


def test_what_is_no_callback_is_refused():
    with pytest.raises(TypeError, match=r"Expected `callbacks` .* Received: 'stop' among them"):
        train(callbacks=["stop"])


def test_a_scheduler_has_its_effect_where_the_recipe_leaves_it_one():
    run = train(recipe=EXAMPLE, epochs=1, callbacks=[SCHEDULER])
    assert run.history["learning_rate"] == pytest.approx([1e-5])


def test_a_rate_that_a_callback_sets_is_told_of_once():
    def halve(model, epoch):
        model.optimizer.learning_rate = 0.125

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = train(callbacks=[EachEpoch(halve)])
    [message] = [str(each.message) for each in told if "learning rate" in str(each.message)]
    assert "to 0.125, which the recipe 'one-cycle' had set" in message
    seen = [SHORT.rate(step, 4) for step in (3, 7, 11)]
    assert run.history["learning_rate"] == pytest.approx(seen)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        train(recipe=replace(SHORT, sizes=((0.5, 0.5), (1, 1))))
    assert not [each for each in told if "learning rate" in str(each.message)]


# With a rate of nearly nothing, only the callback changes weights.
STILL = replace(SHORT, peak=1e-12, weight_decay=None, sizes=((0.34, 0.5), (0.67, 0.75), (1, 1)))


class Doubles(keras.callbacks.Callback):
    """Doubles a kernel at each epoch's end."""

    def on_epoch_end(self, epoch, logs=None):
        [kernel] = [each for each in self.model.trainable_variables if "conv" in each.path]
        kernel.assign(2 * kernel)


@pytest.mark.slow
@pytest.mark.parametrize("cut", [None, 1, 2])
def test_what_a_callback_changes_stays_where_sizes_change_and_in_a_resumed_run(cut, tmp_path):
    kernels = []
    watch = EachEpoch(lambda model, epoch: kernels.append(model.trainable_variables[0].numpy()))
    options = dict(recipe=STILL, out=tmp_path / "run", callbacks=[watch, Doubles()])
    if cut:
        train(**options, epochs=cut)
    train(**options, resume=True)
    first = net().trainable_variables[0].numpy()
    for epoch, kernel in enumerate(kernels):
        np.testing.assert_allclose(kernel, 2**epoch * first, rtol=1e-4)
    assert len(kernels) == 3


def test_what_a_callback_changes_at_a_sizes_end_stays_too():
    kernels = []

    class Doubling(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            kernels.append(self.model.trainable_variables[0].numpy())

        def on_train_end(self, logs=None):
            self.model.trainable_variables[0].assign(2 * kernels[-1])

    train(recipe=STILL, callbacks=[Doubling()])
    for size, kernel in enumerate(kernels):
        np.testing.assert_allclose(kernel, 2**size * kernels[0], rtol=1e-4)
    assert len(kernels) == 3


def test_an_error_of_ones_own_is_not_taken_for_a_loss_that_is_no_number():
    with pytest.raises(RuntimeError, match="mine"):
        train(callbacks=[At(1, 0, raising(RuntimeError("mine")))])

"""What steers and keeps a run: interrupts, and the rate of each step."""

import signal
from dataclasses import replace
from types import SimpleNamespace

import keras
import pytest
from small import (
    SHORT,
    At,
    net,
    train,
)

from resnet_lib.recipes import EXAMPLE


@pytest.fixture
def interrupts():
    """Set the handler that a Python in the foreground has; returns a function to choose another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_a_step_and_a_second_one_does_not(interrupts):
    at = []

    def once(model):
        signal.raise_signal(signal.SIGINT)
        at.append("still here")

    run = train(callbacks=[At(1, 0, once)])
    assert at == ["still here"]
    assert run.record["stopped"] == "by hand in epoch 2"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def twice(model):
        once(model)
        once(model)

    run = train(callbacks=[At(0, 0, twice)])
    assert at == ["still here"] * 2
    assert run.record["stopped"] == "by hand in epoch 1"


def test_where_interrupts_are_ignored_they_stay_so(interrupts):
    interrupts(signal.SIG_IGN)
    run = train(epochs=1, callbacks=[At(0, 0, lambda model: signal.raise_signal(signal.SIGINT))])
    assert "stopped" not in run.record
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_the_rate_of_each_step_is_the_recipes():
    seen = []
    every = SimpleNamespace(rates=seen)

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            every.rates.append(float(self.model.optimizer.learning_rate))

    train(callbacks=[Rates()])
    assert seen == pytest.approx([SHORT.rate(step, 4) for step in range(12)])


def test_the_examples_rate_is_the_schedulers_not_the_plateaus():
    """The validation loss of a frozen net never falls, so that the plateau's callback acts."""
    model, after = net(), []
    model.trainable = False

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            after.append(float(self.model.optimizer.learning_rate))

    recipe = replace(EXAMPLE, augment=False)
    run = train(recipe=recipe, model=model, epochs=8, batch_size=128, callbacks=[Rates()])
    assert min(after) < 1e-3 - 1e-6
    assert run.history["learning_rate"] == pytest.approx([1e-3] * 8)

"""A recipe for the time there is: costs by hand, and a clock that goes on when it is read."""

import itertools
from dataclasses import replace

import keras
import numpy as np
import pytest
from keras import layers

from resnet_lib.datasets.base import Dataset, Split
from resnet_lib.recipes import (
    EXAMPLE,
    FAST,
    FINE_TUNE,
    MOST_EPOCHS,
    ONE_CYCLE,
    PAPER,
    PAPER_110,
    Recipe,
)
from resnet_lib.training import Execution, budget
from resnet_lib.training import batches as batches_module
from resnet_lib.training import fit as fitting
from resnet_lib.training.budget import PLANS, Cost, for_budget, longest, measured

RANDOM = np.random.default_rng(0)
RECIPES = [replace(ONE_CYCLE, sizes=sizes) for sizes in PLANS]
# 100 images: 4 seconds at full size, 2 at three quarters, 1 at half, and a second an epoch.
COST = Cost(start=10.0, epoch=1.0, image={1.0: 0.04, 0.75: 0.02, 0.5: 0.01})


# What a recipe costs.


def test_the_cost_of_a_recipe_by_hand():
    full, two, three = (replace(recipe, epochs=10) for recipe in RECIPES)
    assert COST.of(full, 100) == pytest.approx(10 + 10 * 5)
    assert COST.of(two, 100) == pytest.approx(10 + 3 * 3 + 7 * 5)
    assert COST.of(three, 100) == pytest.approx(10 + 4 * 2 + 3 * 3 + 3 * 5)
    assert COST.of(full, 200) == pytest.approx(10 + 10 * 9)
    assert COST.of(replace(three, epochs=1), 100) == pytest.approx(10 + 5), "one, at full size"


@pytest.mark.parametrize(
    ("seconds", "sizes", "epochs"),
    [
        (10 + 15 * 5, PLANS[0], 15),
        (10 + 15 * 5 + 4.9, PLANS[0], 15),
        (10 + 100 * 5, PLANS[0], 100),
        (10 + 15 * 5 - 0.1, PLANS[1], 17),  # 6 * 3 + 11 * 5 = 73
        (10 + 5 * 3 + 10 * 5, PLANS[1], 15),
        (10 + 5 * 3 + 10 * 5 - 0.1, PLANS[2], 20),  # 8 * 2 + 6 * 3 + 6 * 5 = 64
        (10 + 11.9, PLANS[2], 3),  # 2 + 3 + 5 = 10; four are 4 + 3 + 5 = 12
        (10 + 5, PLANS[2], 1),
    ],
)
def test_the_plan_and_its_epochs(seconds, sizes, epochs):
    chosen = longest(RECIPES, COST, seconds, 100)
    assert chosen == replace(ONE_CYCLE, sizes=sizes, epochs=epochs)


def random_costs():
    for _ in range(150):
        full, epoch, start = RANDOM.uniform(0.5, 10), RANDOM.uniform(0, 2), RANDOM.uniform(0, 50)
        image = {1.0: full, 0.75: RANDOM.uniform(0.4, 0.9) * full}
        image[0.5] = RANDOM.uniform(0.3, 1) * image[0.75]
        yield Cost(start, epoch, {share: each / 100 for share, each in image.items()})


def test_the_time_is_used_and_never_exceeded():
    for cost in random_costs():
        least = cost.of(replace(ONE_CYCLE, epochs=1), 100)
        seconds = least + RANDOM.uniform(0, 300)
        chosen = longest(RECIPES, cost, seconds, 100)
        assert cost.of(chosen, 100) <= seconds
        assert cost.of(replace(chosen, epochs=chosen.epochs + 1), 100) > seconds
        number = [plan.sizes for plan in RECIPES].index(chosen.sizes)
        for plan in RECIPES[:number]:
            assert cost.of(replace(plan, epochs=budget.ENOUGH), 100) > seconds
        assert chosen.epochs >= budget.ENOUGH or number == 2


def test_exactly_one_epoch_fits():
    assert longest([PAPER], Cost(2, 1, {1.0: 0.5}), 8, 10).epochs == 1


@pytest.mark.parametrize(("start", "said"), [(85, "1.5"), (55, "1"), (7195, "120")])
def test_what_does_not_fit_says_the_minutes_of_one_epoch(start, said):
    cost = replace(COST, start=start)
    message = rf"`minutes` to be at least {said},.*one epoch.*Received: 0\.5"
    with pytest.raises(ValueError, match=message):
        longest(RECIPES, cost, 30, 100)


@pytest.mark.parametrize("start", [0.123, 68.9, 7000, 123456])
def test_the_minutes_that_an_error_names_suffice(start):
    cost = replace(COST, start=start)
    with pytest.raises(ValueError, match="minutes") as refused:
        longest(RECIPES, cost, 0.1, 100)
    named = float(str(refused.value).split("at least ")[1].split(",")[0])
    assert longest(RECIPES, cost, 60 * named, 100).epochs >= 1
    assert 60 * named < 1.1 * (start + 5), "and not much too long"


class Counted(Cost):
    """Counts how often a cost is asked for."""

    asked = 0

    def of(self, recipe, images):
        """Count, then answer."""
        Counted.asked += 1
        return super().of(recipe, images)


def test_a_long_time_and_short_epochs_are_found_soon():
    """Trying each number of epochs would take a time that grows with its square."""
    Counted.asked = 0
    assert longest([PAPER], Counted(0, 0.5, {1.0: 0.005}), 3000, 100).epochs == 3000
    assert Counted.asked < 200


def test_a_cost_is_reckoned_by_size_and_not_by_epoch(monkeypatch):
    monkeypatch.setattr(Recipe, "size", lambda *_: pytest.fail("asked for each epoch"))
    for recipe in RECIPES:
        chosen = longest([recipe], COST, 1e12, 100)
        assert chosen.epochs == MOST_EPOCHS, "no recipe has more"
    assert COST.of(replace(RECIPES[0], epochs=MOST_EPOCHS), 100) == pytest.approx(10 + 5e6)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf"), 1e308, "10", None, True])
def test_minutes_that_are_none_are_refused_before_anything_is_measured(minutes, asked):
    with pytest.raises(ValueError, match=r"^Expected `minutes` .* above 0, at most 527040. Recei"):
        for_budget(minutes, net(), data())
    assert asked == []


# What is measured, with a clock that only goes on when it is read.


def data(size=16, classes=3):
    def part(n):
        images = RANDOM.integers(0, 256, (n, size, size, 3)).astype(np.uint8)
        return Split(images, RANDOM.integers(0, classes, n))

    return Dataset(part(64), part(16), part(16), ("a", "b", "c"), "noise")


def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(inputs))
    return keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="Tiny")


def steady():
    """Each reading is a second after the one before."""
    return itertools.count(100.0).__next__


def slowing():
    """The readings are 1, 2, 3, … seconds after one another, so that each can be told apart."""
    return itertools.accumulate(itertools.count(0.0)).__next__


BATCH = replace(RECIPES[-1], batch_size=8)


def test_what_a_clock_that_slows_down_measures():
    """The gaps between readings are 1, 2, 3, … Each line says which of them are used.

    1: the copy is made. 2 to the timer's first reading, 3 the first step at half size and 4 to 10
    the seven others, 11 and 12, 13 to 19 at three quarters, 20 and 21, 22 to 28 at full size.
    29 to the next clock; 30 and 31: two evaluations of 16 images. 32; 33 and 34: two savings.
    """
    cost = measured(net(), data(), BATCH, [0.5, 0.75, 1.0], Execution(), slowing())
    each = 31 / 16  # The second evaluation, an image.
    assert cost.image == pytest.approx({0.5: 7 / 8, 0.75: 16 / 8, 1.0: 25 / 8})
    assert cost.epoch == pytest.approx(16 * each + 2 * 34)
    assert cost.start == pytest.approx(1 + 3 + 12 + 21 + 30 + 3 * 16 * each)


def test_what_a_steady_clock_measures():
    recipe = replace(BATCH, flip_test=False)
    cost = measured(net(), data(), recipe, [1.0], Execution(), steady())
    assert cost == Cost(start=1 + 1 + 1 + 2 * 16 / 16, epoch=1 + 2, image={1.0: 1 / 8})


def test_each_view_of_the_test_images_takes_its_time():
    """The test of the last weights, of the best, of the mirror images, and of six views."""
    recipe = replace(BATCH, views=6)
    cost = measured(net(), data(), recipe, [1.0], Execution(), steady())
    assert cost.start == 1 + 1 + 1 + (3 + 6) * 16 / 16


def test_the_fast_recipe_keeps_its_sizes():
    recipe = replace(FAST, batch_size=8, whiten=False)
    found = for_budget(2, net(), data(), recipe, execution=Execution(), clock=steady())
    assert found.sizes == FAST.sizes
    assert found == replace(recipe, epochs=found.epochs)
    assert found.epochs > 1


def test_several_steps_a_call_share_its_time():
    few = Execution(steps_per_execution=2)
    cost = measured(net(), data(), BATCH, [1.0], few, steady())
    assert cost.image == {1.0: 1 / 16}


def test_images_on_the_device_are_measured_there(monkeypatch):
    placed = []

    def on_device(model, batches):
        placed.append(batches.split.images.shape[1])
        batches_module.on_device(model, batches)

    monkeypatch.setattr(fitting, "on_device", on_device)
    cost = measured(net(), data(), BATCH, [0.5, 1.0], Execution(data_on_device=True), steady())
    assert placed == [8, 16]
    assert cost.image == {0.5: 1 / 8, 1.0: 1 / 8}


def test_fewer_steps_than_a_call_runs():
    """64 images are 8 batches of 8: one call of 16 steps runs 8 of them."""
    cost = measured(net(), data(), BATCH, [1.0], Execution(steps_per_execution=16), steady())
    assert cost.image == pytest.approx({1.0: 1 / 64})


# By the steady clock: 8 seconds at the start, and 8 + 3 an epoch, whatever the size.


def test_a_recipe_for_the_time_there_is():
    recipe, model = replace(ONE_CYCLE, batch_size=8), net()
    before = model.get_weights()
    found = for_budget(2, model, data(), recipe, execution=Execution(), clock=steady())
    assert found == replace(recipe, epochs=10, sizes=PLANS[2]), "8 + 10 * 11 = 118 seconds"
    assert not model.compiled
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_of_another_schedule_only_the_epochs_change():
    recipe = replace(EXAMPLE, batch_size=8)
    found = for_budget(1, net(), data(), recipe, execution=Execution(), clock=steady())
    # 1 for the copy, 1 for the first step, 1 for the first evaluation, 2 for the test; 11 an epoch.
    assert found == replace(recipe, epochs=5)


HEAD_FIRST = replace(FINE_TUNE, normalize="channel")


@pytest.fixture
def asked(monkeypatch):
    """Answer with a cost that nobody measured; return what was to be measured."""
    asked = []

    def answer(model, data, recipe, shares, execution, clock):
        asked.append((recipe.sizes, shares))
        return Cost(8, 3, dict.fromkeys(shares, 1 / 8))

    monkeypatch.setattr(budget, "measured", answer)
    return asked


@pytest.mark.parametrize(
    ("minutes", "epochs", "sizes"), [(4, 21, PLANS[0]), (2, 10, PLANS[2]), (0.32, 1, PLANS[2])]
)
def test_the_sizes_of_one_cycle_are_chosen(minutes, epochs, sizes, asked):
    found = for_budget(minutes, net(), data(), ONE_CYCLE)
    assert found == replace(ONE_CYCLE, epochs=epochs, sizes=sizes)
    assert asked == [(RECIPES[2].sizes, [0.5, 0.75, 1.0])]


@pytest.mark.parametrize(
    "recipe", [EXAMPLE, PAPER, PAPER_110, HEAD_FIRST], ids=lambda recipe: recipe.name
)
def test_the_sizes_of_other_schedules_stay(recipe, asked):
    assert for_budget(4, net(), data(), recipe) == replace(recipe, epochs=21)
    assert for_budget(2, net(), data(), recipe) == replace(recipe, epochs=10)
    assert asked == [(recipe.sizes, [1.0])] * 2


def test_too_little_time_is_refused(asked):
    with pytest.raises(ValueError, match=r"`minutes` to be at least 0\.3.*Received: 0\.3$"):
        for_budget(0.3, net(), data())


def test_whether_images_are_mirrored_stays(asked):
    assert for_budget(4, net(), data(), replace(ONE_CYCLE, flip=False)).flip is False


def test_a_mean_image_gives_way_where_sizes_change(asked):
    recipe = replace(ONE_CYCLE, normalize="image", sizes=((1, 1),))
    full, smaller = (for_budget(minutes, net(), data(), recipe) for minutes in (4, 2))
    assert (full.sizes, full.normalize) == (RECIPES[0].sizes, "image")
    assert (smaller.sizes, smaller.normalize) == (RECIPES[2].sizes, "channel")


def test_a_model_of_one_size_gets_a_recipe_of_one_size():
    """The error of `train` advises sizes=((1, 1),), with which there must be a budget as well."""
    inputs = keras.Input((16, 16, 3))
    x = layers.Flatten()(layers.AveragePooling2D(8)(inputs))
    model = keras.Model(inputs, layers.Dense(3, activation="softmax")(x), name="Flat")
    recipe = replace(ONE_CYCLE, batch_size=8, sizes=((1, 1),))
    found = for_budget(2, model, data(), recipe, execution=Execution(), clock=steady())
    assert found.sizes == ((1, 1),)
    assert found.epochs >= 1


# Few pictures.


def few(n):
    """Return a data set of so many training pictures."""
    whole = data()
    parts = whole.train.limit(n), whole.validation, whole.test
    return Dataset(*parts, whole.class_names, whole.source)


def test_the_smaller_batch_at_the_end_is_measured_as_what_it_is():
    """20 pictures in batches of 16: the second call is of 4, and counts as such."""
    recipe = replace(BATCH, batch_size=16, flip_test=False)
    cost = measured(net(), few(20), recipe, [1.0], Execution(), steady())
    assert cost.image == {1.0: 2 / 20}, "two calls of a second each"
    assert cost.of(replace(recipe, sizes=((1, 1),), epochs=10), 20) == pytest.approx(
        cost.start + 10 * (2 + cost.epoch)
    )


def test_fewer_pictures_than_a_batch():
    cost = measured(net(), few(20), replace(BATCH, batch_size=128), [1.0], Execution(), steady())
    assert cost.image == {1.0: 1 / 20}


def test_epochs_without_end_are_not_planned(asked):
    """Each takes 3 + 64 / 8 = 11 seconds: 1,090 of them fit into 200 minutes."""
    with pytest.warns(UserWarning, match=r"1,090 epochs fit into 200 minutes, and 200 are") as told:
        found = for_budget(200, net(), data(), ONE_CYCLE)
    assert found.epochs == budget.LONGEST == 200
    assert [each.filename for each in told if "planned" in str(each.message)] == [__file__]
    with pytest.warns(UserWarning, match="and 300 are planned"):
        assert for_budget(200, net(), data(), replace(ONE_CYCLE, epochs=300)).epochs == 300


def test_the_head_alone_is_measured_too(monkeypatch):
    recipe = replace(FINE_TUNE, batch_size=8, epochs=9, normalize="channel")
    seen = []
    step = budget._step

    def noted(job, share, clock):
        seen.append((share, len(job.trained.trainable_variables)))
        return step(job, share, clock)

    monkeypatch.setattr(budget, "_step", noted)
    cost = measured(net(), data(), recipe, [1.0], Execution(), steady())
    assert seen == [(1.0, 2), (1.0, 4)]
    assert cost.head == cost.image == {1.0: 1 / 8}
    priced = Cost(start=1, epoch=2, image={1.0: 5}, head={1.0: 1})
    assert priced.of(recipe, 10) == 1 + 9 * 2 + 3 * 10 * 1 + 6 * 10 * 5


def test_what_train_would_refuse_is_refused_before_anything_is_measured(asked):
    inputs = keras.Input((8, 8, 3))
    pooled = layers.GlobalAveragePooling2D()(inputs)
    small = keras.Model(inputs, layers.Dense(3, "softmax")(pooled), name="Small")
    with pytest.raises(
        ValueError, match=r"images of \(16, 16, 3\).*Small for images of \(8, 8, 3\)"
    ):
        for_budget(1, small, data())
    with pytest.raises(ValueError, match="Received: 'pictures'"):
        for_budget(1, net(), "pictures")
    with pytest.raises(ValueError, match="and 'fast'"):
        for_budget(1, net(), data(), "fast")
    assert asked == []

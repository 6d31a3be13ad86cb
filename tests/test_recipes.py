"""Recipes and schedules: the rates that the papers name, what is refused, what is drawn."""

import json
import re
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from resnet_lib import cifar, plots, recipes, schedules
from resnet_lib.recipes import (
    EXAMPLE,
    FAST,
    FINE_TUNE,
    ONE_CYCLE,
    PAPER,
    PAPER_110,
    Recipe,
    WeightDecay,
)

ALL = tuple(recipes.NAMED.values())
STEPS = 352  # 45,000 images in batches of 128.
SIZES = ((0.4, 0.5), (0.7, 0.75), (1, 1))


def name_of(recipe):
    return recipe.name


# The papers' schedule.


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (0, 0.1),
        (31_999, 0.1),
        (32_000, 0.01),
        (47_999, 0.01),
        (48_000, 0.001),
        (63_999, 0.001),
    ],
)
def test_the_papers_rate_is_divided_by_ten_at_32k_and_48k(iteration, rate):
    assert schedules.paper(iteration) == pytest.approx(rate)


def test_the_papers_warm_up_is_a_tenth_of_the_rate():
    rates = [schedules.paper(iteration, warmup=400) for iteration in (0, 399, 400, 32_000)]
    assert rates == pytest.approx([0.01, 0.01, 0.1, 0.01])


# The rate that rises and falls. By hand: 25 steps up to 0.4, then 75 down.
BY_HAND = {
    "linear": {0: 0.016, 9: 0.16, 24: 0.4, 25: 0.4, 50: 0.8 / 3, 75: 0.4 / 3, 100: 0},
    "cosine": {0: 0.016, 9: 0.16, 24: 0.4, 25: 0.4, 50: 0.3, 75: 0.1, 100: 0},
}


@pytest.mark.parametrize("anneal", BY_HAND)
def test_one_cycle_by_hand(anneal):
    for step, rate in BY_HAND[anneal].items():
        given = schedules.one_cycle(step, 100, peak=0.4, anneal=anneal)
        assert given == pytest.approx(rate, abs=1e-12), f"step {step}"


def test_a_warm_up_that_is_no_whole_number_of_steps():
    rates = [schedules.one_cycle(step, 10, peak=1.0) for step in range(11)]
    falling = [step / 7.5 for step in (7, 6, 5, 4, 3, 2, 1)]
    assert rates == pytest.approx([0.4, 0.8, 1, *falling, 0])


@pytest.mark.parametrize("anneal", schedules.ANNEALS)
@pytest.mark.parametrize("warmup", [0, 0.1, 0.25, 0.5, 0.7, 0.999, 1])
@pytest.mark.parametrize("total", [1, 2, 7, 30, 1000])
def test_one_cycle_rises_to_its_peak_and_falls_to_zero(total, warmup, anneal):
    shape = dict(peak=0.3, warmup=warmup, anneal=anneal)
    rates = np.array([schedules.one_cycle(step, total, **shape) for step in range(total + 1)])
    assert rates.max() == 0.3, "reached exactly and never passed"
    assert (rates[:-1] > 0).all()
    assert rates[-1] == 0
    top = int(rates.argmax())
    assert top + 1 == pytest.approx(max(1, warmup * total), abs=1)
    assert (np.diff(rates[: top + 1]) > 0).all()
    assert (np.diff(rates[top:]) <= 0).all()


def test_a_cosine_ends_flatter_than_a_line():
    linear, cosine = (
        schedules.one_cycle(99, 100, anneal=anneal) for anneal in ("linear", "cosine")
    )
    assert cosine < linear / 10


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"anneal": "exp"}, "`anneal` to be one of 'linear', 'cosine'. Received: 'exp'"),
        ({"warmup": -0.1}, "`warmup` to be a number of at least 0, at most 1. Received: -0.1"),
        ({"warmup": 1.5}, "`warmup` .* Received: 1.5"),
        ({"warmup": float("nan")}, "`warmup` .* Received: nan"),
        ({"step": -1}, "`step` to be a number of at least 0, at most 10. Received: -1"),
        ({"step": 11}, "`step` .* Received: 11"),
        ({"step": float("nan")}, "`step` .* Received: nan"),
        ({"total_steps": 0}, "`total_steps` to be a number above 0. Received: 0"),
        ({"peak": 0}, "`peak` to be a number above 0. Received: 0"),
        ({"peak": float("inf")}, "`peak` .* Received: inf"),
    ],
)
def test_a_cycle_that_is_none_is_refused(changed, message):
    arguments = {"step": 0, "total_steps": 10, **changed}
    with pytest.raises(ValueError, match=message):
        schedules.one_cycle(arguments.pop("step"), arguments.pop("total_steps"), **arguments)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "1"])
def test_a_rate_is_asked_for_at_a_number(wrong):
    for ask in (schedules.example, schedules.paper, lambda n: schedules.paper(1, warmup=n)):
        with pytest.raises(ValueError, match=f"^Expected .* at least 0. Received: {wrong!r}"):
            ask(wrong)


# What a recipe refuses.
SGD, CYCLE = PAPER, ONE_CYCLE
WRONG = [
    (EXAMPLE, "epochs", 0, "`epochs` .* from 1 to 1,000,000. Received: 0; the nearest .* is 1"),
    (EXAMPLE, "epochs", 1.5, "`epochs` to be a whole number .* Received: 1.5"),
    (EXAMPLE, "epochs", True, "`epochs` .* Received: True"),
    (EXAMPLE, "epochs", 10**400, "`epochs` .* Received: 1000.*is 1,000,000"),
    (EXAMPLE, "batch_size", 0, "`batch_size` .* Received: 0"),
    (EXAMPLE, "batch_size", "32", "`batch_size` .* Received: '32'"),
    (EXAMPLE, "batch_size", 10**400, "`batch_size` .* Received: 1000"),
    (EXAMPLE, "optimizer", "lamb", "`optimizer` to be one of 'adam', 'sgd'.*Received: 'lamb'"),
    (EXAMPLE, "schedule", "cosine", "`schedule` to be one of 'example'.*Received: 'cosine'"),
    (EXAMPLE, "schedule", [], r"`schedule` to be one of 'example'.*Received: \[\]"),
    (EXAMPLE, "momentum", 0.9, "`momentum` to be None with 'adam'. Received: 0.9"),
    (SGD, "momentum", None, "`momentum` to be a value with 'sgd'. Received: None"),
    (SGD, "momentum", -0.1, "`momentum` .* number of at least 0, below 1. Received: -0.1"),
    (SGD, "momentum", 1, "`momentum` .* Received: 1$"),
    (SGD, "momentum", 1.1, "`momentum` .* Received: 1.1"),
    (SGD, "momentum", "0.9", "`momentum` .* Received: '0.9'"),
    (SGD, "momentum", True, "`momentum` .* Received: True"),
    (SGD, "peak", 0.3, "`peak` to be None with 'paper'. Received: 0.3"),
    (CYCLE, "peak", None, "`peak` to be a value with 'one_cycle'. Received: None"),
    (CYCLE, "peak", -1, "`peak` .* number of at least 1e-12, at most 1000. Received: -1"),
    (CYCLE, "peak", 0, "`peak` .* Received: 0$"),
    (CYCLE, "peak", 1e300, r"`peak` .* Received: 1e\+300"),
    (CYCLE, "peak", 1e-300, "`peak` .* Received: 1e-300"),
    (CYCLE, "peak", float("inf"), "`peak` .* Received: inf"),
    (CYCLE, "peak", float("nan"), "`peak` .* Received: nan"),
    (CYCLE, "warmup", -0.1, "`warmup` .* number of at least 0, at most 1. Received: -0.1"),
    (CYCLE, "warmup", 2, "`warmup` .* Received: 2"),
    (CYCLE, "warmup", None, "`warmup` .* Received: None"),
    (EXAMPLE, "warmup", 0.1, "`warmup` to be 0 with 'example'. Received: 0.1"),
    (CYCLE, "anneal", None, "`anneal` to be a value with 'one_cycle'. Received: None"),
    (CYCLE, "anneal", "exp", "`anneal` to be one of 'linear', 'cosine'.*Received: 'exp'"),
    (SGD, "anneal", "linear", "`anneal` to be None with 'paper'. Received: 'linear'"),
    (SGD, "weight_decay", 1e-4, "`weight_decay` to be a WeightDecay.*Received: 0.0001"),
    (SGD, "bn_momentum", 2, "`bn_momentum` .* number of at least 0, below 1. Received: 2"),
    (SGD, "bn_momentum", 1, "`bn_momentum` .* Received: 1$"),
    (SGD, "bn_epsilon", -1e-5, "`bn_epsilon` .* at least 1e-12, at most 1. Received: -1e-05"),
    (SGD, "bn_epsilon", 0, "`bn_epsilon` .* Received: 0$"),
    (SGD, "ema", 1.5, "`ema` .* number of at least 0, below 1. Received: 1.5"),
    (SGD, "ema", 1, "`ema` .* Received: 1$"),
    (SGD, "label_smoothing", 1, "`label_smoothing` .* at least 0, below 1. Received: 1$"),
    (SGD, "label_smoothing", None, "`label_smoothing` .* Received: None"),
    (SGD, "bias_rate", 0, "`bias_rate` .* at least 1e-12, at most 1000. Received: 0$"),
    (SGD, "translation", 1, "`translation` .* at least 0, below 1. Received: 1$"),
    (SGD, "translation", -0.1, "`translation` .* Received: -0.1$"),
    (SGD, "cutout", 1.5, "`cutout` .* at least 0, at most 1. Received: 1.5"),
    (SGD, "cutout", None, "`cutout` .* Received: None"),
    (SGD, "views", 2, "`views` to be one of 1, 3, 6. Received: 2"),
    (SGD, "normalize", "mean", "`normalize` to be one of 'image'.*Received: 'mean'"),
    (SGD, "padding", "edge", "`padding` to be one of 'constant', 'reflect'.*Received: 'edge'"),
    (SGD, "sizes", SIZES, r'`normalize` to be "channel" or None .*Received: .*0\.75'),
    (SGD, "name", 3, "`name` to be one printable line. Received: 3"),
    (SGD, "source", "a\nb", "`source` to be one printable line. Received: 'a"),
    (CYCLE, "sizes", (), r"`sizes` to be pairs .*Received: \(\)"),
    (CYCLE, "sizes", ((1, 0.5),), "`sizes` to be pairs .*Received"),
    (CYCLE, "sizes", ((0.5, 1),), "`sizes` to be pairs .*Received"),
    (CYCLE, "sizes", ((0.5, 0.5), (0.4, 0.7), (1, 1)), "`sizes` to be pairs"),
    (CYCLE, "sizes", ((0.5, 0.5), (0.5, 0.7), (1, 1)), "`sizes` to be pairs"),
    (CYCLE, "sizes", ((0.5, 0.5), (float("nan"), 0.5), (1, 1)), "`sizes` to be pairs"),
    (CYCLE, "sizes", ((0, 0.5), (1, 1)), "`sizes` to be pairs"),
    (CYCLE, "sizes", ((0.5, 0), (1, 1)), "`sizes` to be pairs"),
    (CYCLE, "sizes", ((0.5, 2), (1, 1)), "`sizes` to be pairs"),
    (CYCLE, "sizes", 1, "`sizes` to be pairs .*Received: 1"),
]


@pytest.mark.parametrize(
    ("recipe", "field", "value", "message"),
    WRONG,
    ids=[f"{recipe.name}-{field}-{value}" for recipe, field, value, _ in WRONG],
)
def test_a_recipe_that_would_fail_in_training_is_refused(recipe, field, value, message):
    with pytest.raises(ValueError, match=f"^Expected {message}"):
        replace(recipe, **{field: value})


SWITCHES = ["nesterov", "reduce_on_plateau", "augment", "flip", "flip_test"]
SWITCHES += ["alternating", "whiten"]


@pytest.mark.parametrize("field", SWITCHES)
def test_a_switch_is_true_or_false(field):
    """The string "false", from a file or a command line, would count as true."""
    with pytest.raises(ValueError, match=f"`{field}` to be True or False. Received: 'false'"):
        replace(PAPER, **{field: "false"})


def test_adam_has_no_nesterov_momentum():
    with pytest.raises(ValueError, match=r"`nesterov` to be False with 'adam'. Received: True"):
        replace(EXAMPLE, nesterov=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1e-4,), "`weight_decay` .* at least 0, at most 10. Received: -0.0001"),
        ((float("nan"),), "`weight_decay` .* Received: nan"),
        ((1e300,), r"`weight_decay` .* Received: 1e\+300"),
        (("1e-4",), "`weight_decay` .* Received: '1e-4'"),
        ((1e-4, "l2"), "one of 'gradient', 'loss', 'update'.*Received: 'l2'"),
    ],
)
def test_a_decay_without_a_meaning_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        WeightDecay(*arguments)


def test_the_l2_factor_of_each_meaning():
    """Keras' L2(f) adds 2 * f * w to the gradient."""
    assert WeightDecay(2e-4, "gradient").l2 == 1e-4
    assert WeightDecay(1e-4, "loss").l2 == 1e-4
    assert WeightDecay(1e-4, "update").l2 is None


# The rate of each step, stretched over the run.


def test_the_papers_recipe_drops_in_the_middle_and_at_three_quarters():
    assert PAPER.epochs * STEPS == 64_064
    steps = (0, 32_031, 32_032, 48_047, 48_048, 64_063)
    rates = [PAPER.rate(step, STEPS) for step in steps]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_depth_110_warms_up_for_about_400_steps():
    rates = [PAPER_110.rate(step, STEPS) for step in range(1000)]
    slow = rates.count(0.01)
    assert abs(slow - 400) <= 1
    assert rates == [0.01] * slow + [0.1] * (1000 - slow)
    assert PAPER_110.rate(1000, STEPS) == PAPER.rate(0, STEPS) == 0.1


def test_the_example_changes_its_rate_after_80_120_160_and_180_epochs():
    changes = {0: 1e-3, 81: 1e-4, 121: 1e-5, 161: 1e-6, 181: 5e-7}
    expected = 0
    for epoch in range(EXAMPLE.epochs):
        expected = changes.get(epoch, expected)
        assert EXAMPLE.learning_rate(epoch) == pytest.approx(expected), f"epoch {epoch}"
        assert EXAMPLE.rate(epoch * 7 + 6, 7) == pytest.approx(expected)


def test_one_cycle_is_the_schedules_function_of_the_step():
    for step in (0, 1, 1319, 1320, 5279):
        expected = schedules.one_cycle(step, 15 * STEPS, peak=0.3, warmup=0.25)
        assert ONE_CYCLE.rate(step, STEPS) == expected


@pytest.mark.parametrize("recipe", ALL, ids=name_of)
@pytest.mark.parametrize("epochs", [4, 20, 1000], ids=str)
def test_another_number_of_epochs_stretches_the_schedule(recipe, epochs):
    other = replace(recipe, epochs=epochs)
    for share in (0, 0.003, 0.1, 0.249, 0.3, 0.41, 0.49, 0.52, 0.61, 0.74, 0.76, 0.9, 0.99):
        rate = recipe.learning_rate(share * recipe.epochs)
        assert other.learning_rate(share * epochs) == pytest.approx(rate, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("recipe", [PAPER, PAPER_110, ONE_CYCLE], ids=name_of)
def test_the_rate_at_an_epoch_is_that_of_its_first_step(recipe):
    for epoch in (1, 4, 10):
        assert recipe.learning_rate(epoch) == pytest.approx(
            recipe.rate(epoch * 5000, 5000), rel=1e-3
        )


# The sizes of the images.


def test_the_size_of_each_epoch():
    recipe = replace(ONE_CYCLE, epochs=10, sizes=SIZES)
    assert [recipe.size(epoch) for epoch in range(10)] == [0.5] * 4 + [0.75] * 3 + [1] * 3
    assert [ONE_CYCLE.size(epoch) for epoch in range(15)] == [0.75] * 5 + [1] * 10
    assert {PAPER.size(epoch) for epoch in range(182)} == {1}


@pytest.mark.parametrize("sizes", [SIZES, ((0.99, 0.5), (1, 1)), ONE_CYCLE.sizes])
def test_the_last_epoch_has_the_full_size(sizes):
    for epochs in range(1, 40):
        shares = [
            replace(ONE_CYCLE, epochs=epochs, sizes=sizes).size(epoch) for epoch in range(epochs)
        ]
        assert shares[-1] == 1
        assert shares == sorted(shares)


@pytest.mark.parametrize("sizes", [SIZES, ((1, 1),), ((0.99, 0.5), (1, 1)), ONE_CYCLE.sizes])
def test_the_epochs_of_each_size_are_those_counted_one_by_one(sizes):
    for epochs in range(1, 40):
        recipe = replace(ONE_CYCLE, epochs=epochs, sizes=sizes)
        one_by_one = [recipe.size(epoch) for epoch in range(epochs)]
        counted = [(share, one_by_one.count(share)) for _, share in sizes]
        assert recipe.epochs_of_sizes() == counted


# Without mirror images.


def test_a_recipe_that_mirrors_nothing_has_no_test_of_mirror_images():
    assert ONE_CYCLE.flip and ONE_CYCLE.flip_test
    assert replace(ONE_CYCLE, flip=False).flip_test is False
    assert replace(ONE_CYCLE, augment=False).flip_test is True
    assert FAST.alternating and FAST.views == 6
    without = replace(FAST, flip=False)
    assert (without.flip_test, without.alternating, without.views) == (False, False, 3)


# Recipes are data.


def test_the_record_of_an_older_recipe_means_what_it_meant():
    older = replace(ONE_CYCLE, epochs=7).as_dict()
    del older["flip"]
    assert Recipe.from_dict(older) == replace(ONE_CYCLE, epochs=7)
    assert Recipe.from_dict(older).as_dict() == replace(ONE_CYCLE, epochs=7).as_dict()


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"name": "one-cycle"},
        PAPER.as_dict() | {"rate": 1},
        PAPER.as_dict() | {"weight_decay": {"factor": 1}},
        None,
        [1],
    ],
    ids=str,
)
def test_what_is_no_recipes_record_is_refused(wrong):
    with pytest.raises(ValueError, match=r"^Expected a recipe's fields, .* Received: "):
        Recipe.from_dict(wrong)


def test_numbers_of_numpy_are_written_as_numbers():
    recipe = replace(ONE_CYCLE, peak=np.float32(0.5), weight_decay=WeightDecay(np.float32(0.25)))
    assert json.loads(json.dumps(recipe.as_dict()))["peak"] == 0.5
    assert recipe.weight_decay == WeightDecay(0.25)


def test_a_recipe_is_shown_by_its_name():
    for constant in ("EXAMPLE", "PAPER", "PAPER_110", "ONE_CYCLE"):
        assert repr(getattr(recipes, constant)) == f"recipes.{constant}"
    changed = replace(ONE_CYCLE, epochs=3, weight_decay=WeightDecay(1e-3), flip=False)
    assert eval(repr(changed), {**vars(recipes), "recipes": recipes}) == changed
    assert repr(replace(ONE_CYCLE, epochs=3)) == "replace(recipes.ONE_CYCLE, epochs=3)"
    assert repr(replace(PAPER, name="mine")) == "<recipe 'mine': 182 epochs, sgd>"


def test_each_recipe_goes_with_a_form():
    assert list(recipes.NAMED.values()) == list(recipes.FORMS)
    assert set(recipes.FORMS.values()) <= set(cifar.FORMS_V1)


@pytest.mark.parametrize("recipe", [*ALL, replace(ONE_CYCLE, sizes=SIZES, ema=0.99)], ids=name_of)
def test_a_recipe_survives_json(recipe):
    again = Recipe.from_dict(json.loads(json.dumps(recipe.as_dict())))
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert str(again) == str(recipe)


def test_recipes_are_compared_field_by_field():
    assert len(set(ALL)) == 5
    assert replace(PAPER, epochs=3) != PAPER
    assert replace(PAPER, weight_decay=WeightDecay(1e-4, "loss")) != PAPER
    assert replace(PAPER, epochs=3) == replace(PAPER, epochs=np.int64(3))
    assert replace(ONE_CYCLE, sizes=[[0.5, 0.5], [1, 1]]) in {
        replace(ONE_CYCLE, sizes=((0.5, 0.5), (1, 1)))
    }


def test_recipes_are_frozen():
    with pytest.raises(FrozenInstanceError):
        PAPER.epochs = 1
    with pytest.raises(FrozenInstanceError):
        PAPER.weight_decay.value = 0


@pytest.mark.parametrize("recipe", ALL, ids=name_of)
def test_a_printed_recipe_says_every_field(recipe):
    said = dict(line.split(maxsplit=1) for line in str(recipe).splitlines())
    assert said.keys() == recipe.as_dict().keys()
    assert said["name"] == recipe.name
    assert said["epochs"] == str(recipe.epochs)
    assert said["weight_decay"] == str(recipe.weight_decay)


def test_recipes_by_name():
    for recipe in ALL:
        assert recipes.named(recipe.name) is recipe
    assert recipes.named("paper", 56) is PAPER
    assert recipes.named("paper", 110) is PAPER_110
    assert recipes.named("paper", 1202) is PAPER_110
    assert recipes.named("one-cycle", 110) is ONE_CYCLE
    with pytest.raises(ValueError, match=r"'paper-110'.*Received: 'papers'"):
        recipes.named("papers")


# Drawn.


def history(epochs):
    return {"loss": [2.0 - epoch for epoch in range(epochs)], "val_loss": [2.5] * epochs}


def drawn(epochs, **options):
    return plots.progress(history(epochs), ONE_CYCLE, 15, name="ResNet20v1", **options)


def test_progress_says_the_same_however_far_a_run_is():
    alts = {drawn(epochs).alt for epochs in (0, 1, 15)} | {drawn(2, losses=[(2.5, 1.0)]).alt}
    assert len(alts) == 1
    [alt] = alts
    assert "ResNet20v1" in alt
    assert "15 epochs" in alt
    assert "learning rate" in alt


def test_progress_before_the_first_epoch():
    figure = drawn(0)
    assert len(figure.axes) == 2
    assert all(len(line.get_xdata()) == 0 for line in figure.axes[0].get_lines())
    assert "image/png" in figure._repr_mimebundle_()[0]


def test_progress_draws_the_loss_of_each_epoch_and_within_it():
    left, _ = drawn(3, losses=[(2.5, 0.5), (3.2, 0.4)], title="ten shapes").axes
    inside, training, validation = left.get_lines()
    np.testing.assert_allclose(inside.get_xydata(), [(2.5, 0.5), (3.2, 0.4)])
    np.testing.assert_allclose(training.get_xydata(), [(1, 2), (2, 1), (3, 0)])
    np.testing.assert_allclose(validation.get_xydata(), [(1, 2.5), (2, 2.5), (3, 2.5)])
    assert left.get_xlim() == (0, 15)
    assert drawn(3, title="ten shapes").get_suptitle() == "ten shapes"


@pytest.mark.parametrize(("epochs", "losses", "reached"), [(0, (), 0), (6, (), 6), (15, (), 15)])
def test_the_rate_that_is_to_come_is_dotted(epochs, losses, reached):
    _, right = drawn(epochs, losses=losses).axes
    whole, so_far = right.get_lines()
    assert whole.get_linestyle() == ":"
    assert so_far.get_linestyle() == "-"
    assert whole.get_xdata()[-1] == pytest.approx(15, abs=0.1)
    assert so_far.get_xdata()[-1] == pytest.approx(reached, abs=0.1)
    assert whole.get_ydata().max() == pytest.approx(0.3, rel=0.01)


def test_within_an_epoch_the_rate_is_drawn_up_to_the_step():
    _, right = drawn(2, losses=[(2.5, 1.0)]).axes
    assert right.get_lines()[1].get_xdata()[-1] == pytest.approx(2.5, abs=0.05)


def test_the_rate_of_one_cycle_is_drawn_from_step_to_step():
    figure = plots.learning_rate(ONE_CYCLE)
    [line] = figure.axes[0].get_lines()
    epochs, rates = line.get_data()
    assert rates.max() == pytest.approx(0.3, rel=0.01)
    assert epochs[rates.argmax()] == pytest.approx(15 / 4, abs=0.05)
    assert rates[-1] < 0.001
    assert "15 epochs" in figure.alt
    assert figure.axes[0].get_yscale() == "linear"


# The head first.


def test_the_epochs_of_the_head():
    def epochs(of, head=1 / 3):
        return replace(FINE_TUNE, epochs=of, head=head).head_epochs

    assert [epochs(of) for of in (1, 2, 3, 10, 30)] == [1, 1, 1, 3, 10]
    assert [epochs(of, 0.01) for of in (1, 2, 30)] == [1, 1, 1]
    assert [epochs(of, 0.99) for of in (1, 2, 30)] == [1, 1, 29], "one is left for the others"
    assert epochs(30, 1) == 30
    assert ONE_CYCLE.head_epochs == 0


def test_head_and_network_have_a_cycle_of_their_own():
    recipe = replace(FINE_TUNE, epochs=6, warmup=0.25, anneal="linear")
    rates = [recipe.rate(step, 10) for step in range(60)]
    assert max(rates[:20]) == pytest.approx(recipe.head_peak)
    assert max(rates[20:]) == pytest.approx(recipe.peak)
    assert rates[19] < recipe.head_peak / 10
    assert rates[20] == pytest.approx(recipe.peak / 10)
    whole = replace(recipe, head=1)
    assert whole.rate(60, 10) == 0
    assert whole.rate(14, 10) == pytest.approx(whole.head_peak)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"head": 0}, "`head_peak` to be None with head=0. Received: 0.01"),
        ({"head_peak": None}, "`head_peak` to be a value with head=0.333"),
        ({"head": 1.5}, "`head` to be a number of at least 0, at most 1"),
        ({"whiten": True}, "whiten=False, where the head is trained first"),
        ({"schedule": "example", "peak": None, "anneal": None, "warmup": 0}, "'one_cycle', and"),
    ],
)
def test_a_head_that_makes_no_sense_is_refused(fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(FINE_TUNE, **fields)


def test_fine_tuning_prints_as_what_is_written():
    assert repr(FINE_TUNE) == "recipes.FINE_TUNE"
    assert repr(replace(FINE_TUNE, epochs=5)) == "replace(recipes.FINE_TUNE, epochs=5)"

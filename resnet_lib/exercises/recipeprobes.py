"""Judge a recipe by what a small network learns with it; read a network with its recipe."""

from collections.abc import Callable
from typing import Any

import keras

from .. import cifar, datasets, inspection, records
from ..recipes import Recipe
from .core import Wrong, described, guarded

IMAGES = 2000


def judge_recipe(
    recipe: object,
    train: Callable[..., records.Run],
    *,
    epochs: int,
    batch: int,
    too_small: str,
    target: float,
    advice: Callable[[Recipe, records.Run], str],
) -> str:
    """Train a ResNet-8 with a recipe on drawn shapes; return the test accuracy, told.

    Args:
        recipe: what the reader hands over.
        train: `resnet_lib.train`.
        epochs: how many the run may have.
        batch: the smallest batch size.
        too_small: what is said, in a sentence, of a smaller one.
        target: the test accuracy to reach, 0 to 1.
        advice: function of a recipe in one cycle, without augmentation, and its run that missed the
            target, which says what may keep it from that.

    Raises:
        Wrong: what is missing.
    """
    if isinstance(recipe, type) or not isinstance(recipe, Recipe):
        raise Wrong(f"received {described(recipe)}, where a recipe is expected.")
    if recipe.epochs > epochs:
        raise Wrong(f"the recipe has {recipe.epochs} epochs. The run may have {epochs}.")
    if recipe.batch_size < batch:
        raise Wrong(f"a batch has {recipe.batch_size} pictures. {too_small}")
    run = _run_of(recipe, train)
    told = f"{run.record['results']['test_accuracy_last']:.1%} of the test pictures are right."
    if run.record["results"]["test_accuracy_last"] < target:
        raise Wrong(f"{told} {_general_advice(recipe, run) or advice(recipe, run)}")
    return told


def _run_of(recipe, train):
    data = datasets.shapes(train=IMAGES, validation=100, test=1000)
    keras.utils.set_random_seed(1)
    model = cifar.resnet_v1(data.image_shape, 8, data.num_classes, form="standard")
    try:
        return train(model, data, recipe, progress=False, seed=1)
    except FloatingPointError as error:
        raise Wrong(f"the training broke off: {error} Is the rate too high?") from None


def _general_advice(recipe, run):
    """Say what keeps every short run from its target; None if it is not that."""
    if recipe.schedule != "one_cycle":
        return (
            "The published schedule is stretched to the run, but was made for a long one. Which "
            "schedule rises and falls within the time that there is?"
        )
    if len(recipe.sizes) > 1 or recipe.augment:
        return (
            "Augmentation and smaller pictures make the training harder, so that a network does "
            "not learn its pictures by heart. Is that the danger in so few steps? Of the training "
            f"pictures it got {run.history['accuracy'][-1]:.0%}."
        )
    return None


def network_and_recipe(answer: object) -> tuple[keras.Model, Recipe]:
    """Return the two in this order, whichever way round they come.

    Raises:
        Wrong: if they are something else, or the network does not go with the drawn shapes.
    """
    if isinstance(answer, keras.Model):
        raise Wrong("your function returns a network alone. Expected: (network, recipe).")
    if not isinstance(answer, tuple | list) or len(answer) != 2:
        raise Wrong(f"your function returned {described(answer)}. Expected: (network, recipe).")
    model, recipe = answer
    if isinstance(model, Recipe):
        model, recipe = recipe, model
    if not isinstance(model, keras.Model) or not isinstance(recipe, Recipe):
        raise Wrong(f"your function returned {described(answer)}. Expected: (network, recipe).")
    if tuple(model.input_shape[1:]) not in ((32, 32, 3), (None, None, 3)):
        raise Wrong(f"your network takes {model.input_shape[1:]}. Expected: (32, 32, 3).")
    if tuple(model.output_shape[1:]) != (10,):
        raise Wrong(f"your network returns {model.output_shape[1:]}. Expected: 10 probabilities.")
    return model, recipe


def work_told(model: keras.Model, recipe: Recipe, pictures: int, *, most: float) -> str:
    """Return the multiply-adds of all pictures of a training in words, forwards, at full size.

    Raises:
        Wrong: if they are more than `most`.
    """
    each = inspection.count_multiply_adds(model, (32, 32, 3))
    work = each * pictures * recipe.epochs
    told = f"{work / 1e9:.0f} billion multiply-adds"
    if work > most:
        raise Wrong(
            f"that is too much work: {told}, {each:,} a picture in {recipe.epochs} epochs. At most "
            f"{most / 1e9:.0f} are allowed."
        )
    return told


def trained_accuracy(
    train: Callable[..., records.Run], model: keras.Model, recipe: Recipe, data: Any, seed: int = 0
) -> float:
    """Return the test accuracy, 0 to 1, at the end of what `train`, `resnet_lib.train`, does."""
    run = guarded(train, model, data, recipe, progress=False, seed=seed)
    return run.record["results"]["test_accuracy_last"]

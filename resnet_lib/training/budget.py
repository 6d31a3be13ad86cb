"""Which recipe fits into the time there is, on this machine."""

import math
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import keras

from .. import checks
from ..datasets.base import Dataset
from ..datasets.resize import resized
from ..recipes import FAST, FINE_TUNE, MOST_EPOCHS, ONE_CYCLE, Recipe
from . import hosts
from .devices import check_batches
from .fit import Job
from .machine import Execution, best_execution
from .network import check_model, float32, with_preprocessing

# Sizes to train at, from the best result to the least time. A plan is taken where ENOUGH epochs of
# it fit: a full-size epoch teaches more than a small one, until there are many.
PLANS = (((1, 1),), ((1 / 3, 0.75), (1, 1)), ((0.4, 0.5), (0.7, 0.75), (1, 1)))
ENOUGH = 15
OWN_SIZES = (FAST.name, FINE_TUNE.name)  # recipes whose sizes are chosen already
CALLS = 8  # of the training step, which are measured at each size
# No run of this project, nor of the papers that it is after, was longer than 200 epochs.
LONGEST = 200
MOST_MINUTES = 366 * 24 * 60


@dataclass(frozen=True)
class Cost:
    """What a run costs, in seconds.

    Attributes:
        start: once: copying, compiling, and the test in the end.
        epoch: an epoch, apart from its steps: validation and saving.
        image: dict, share of the height and width -> seconds an image of that size.
        head: the same while the head alone is trained; empty where it never is.
    """

    start: float
    epoch: float
    image: dict
    head: dict = field(default_factory=dict)

    def of(self, recipe: Recipe, images: int) -> float:
        """Return the seconds that a recipe takes with so many training images."""
        seconds, left = self.start + recipe.epochs * self.epoch, recipe.head_epochs
        for share, epochs in recipe.epochs_of_sizes():
            alone = min(left, epochs)
            left -= alone
            seconds += (epochs - alone) * images * self.image[share]
            seconds += alone * images * self.head.get(share, self.image[share])
        return seconds


@float32()
def for_budget(
    minutes: float,
    model: keras.Model,
    data: Dataset,
    recipe: Recipe = ONE_CYCLE,
    *,
    execution: Execution | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Recipe:
    """Measure this machine for some seconds and fit a recipe into the time.

    Args:
        minutes: what `train` with the recipe may take, from call to return; a year at most.
        model: the network, as for `train`.
        data: `resnet_lib.datasets.Dataset`.
        recipe: what to shorten or lengthen. With the schedule "one_cycle" the image sizes are
            chosen as well: full size only where 15 epochs of it fit, else a part of the epochs at
            smaller sizes. `recipes.FAST` and `recipes.FINE_TUNE` keep those that they have.
        execution: `resnet_lib.training.Execution`; None: what suits this machine.
        clock: function that returns seconds.

    Returns:
        `resnet_lib.recipes.Recipe`, with as many epochs as fit; but not more than 200, or than
        `recipe` has, with a warning: a small set, seen that often, is learnt by heart.

    Raises:
        ValueError: if `minutes` is no such number, `train` would refuse the model, the data or the
            recipe, or not even one epoch fits; it says how long that takes.
    """
    checks.number("minutes", minutes, above=0, most=MOST_MINUTES)
    if not isinstance(recipe, Recipe) or not isinstance(data, Dataset):
        raise ValueError(
            "Expected `data` to be a resnet_lib.datasets.Dataset and `recipe` a Recipe. "
            f"Received: {data!r:.80} and {recipe!r:.80}"
        )
    check_model(model, data, recipe)
    execution = execution or best_execution(data.train.images.nbytes)
    check_batches(recipe, data, execution.devices)
    plans = (recipe.sizes,)
    if recipe.schedule == "one_cycle" and recipe.name not in OWN_SIZES:
        plans = PLANS if _takes_any_size(model, data) else PLANS[:1]
    plans = [replace(recipe, sizes=sizes, **_normalize(recipe, sizes)) for sizes in plans]
    shares = sorted({share for plan in plans for _, share in plan.sizes})
    cost = measured(model, data, plans[-1], shares, execution, clock)
    # Each process has measured something else, and all must train alike.
    plan = hosts.first_only(lambda: longest(plans, cost, 60 * minutes, len(data.train)).as_dict())
    return _capped(Recipe.from_dict(plan), recipe.epochs, minutes)


def _capped(plan, asked, minutes):
    """Return a plan of at most `LONGEST` epochs, or as many as were asked for; say why."""
    most = max(LONGEST, asked)
    if plan.epochs <= most:
        return plan
    checks.warn(
        f"{plan.epochs:,} epochs fit into {minutes:g} minutes, and {most:,} are planned: nothing "
        "was tried here beyond that, and few pictures that are seen so often are learnt by heart. "
        "More pictures, or a larger network, would use the time; "
        f"replace(recipe, epochs={plan.epochs}) takes it all the same."
    )
    return replace(plan, epochs=most)


def _takes_any_size(model, data):
    try:
        with_preprocessing(model, data.train.limit(1).images, None, any_size=True)
    except ValueError:
        return False
    return True


def _normalize(recipe, sizes):
    """Return what else has to change where sizes do: a mean image has one size only."""
    changes = recipe.normalize == "image" and len(sizes) > 1
    return {"normalize": "channel"} if changes else {}


def longest(plans: Sequence[Recipe], cost: Cost, seconds: float, images: int) -> Recipe:
    """Return the first plan that has enough epochs in the time, else the last, in the time.

    Args:
        plans: recipes that differ in their sizes.
        cost: `Cost`.
        seconds: the time there is.
        images: how many training images there are.

    Raises:
        ValueError: if not even one epoch fits.
    """
    for plan in plans:
        fitted = _fitted(plan, cost, seconds, images)
        if fitted is not None and fitted.epochs >= ENOUGH:
            break
    if fitted is None:
        least = cost.of(replace(plan, epochs=1), images) / 60
        raise ValueError(
            f"Expected `minutes` to be at least {math.ceil(100 * least) / 100:g}, which one epoch "
            f"takes on this machine. Received: {seconds / 60:g}"
        )
    return fitted


def _fitted(plan, cost, seconds, images):
    """Return a recipe in as many epochs as fit, or None."""

    def fits(epochs):
        return cost.of(replace(plan, epochs=epochs), images) <= seconds

    epochs = bisect_left(range(1, MOST_EPOCHS + 1), True, key=lambda n: not fits(n))
    return replace(plan, epochs=epochs) if epochs else None


def measured(
    model: keras.Model,
    data: Dataset,
    recipe: Recipe,
    shares: Sequence[float],
    execution: Execution,
    clock: Callable[[], float],
) -> Cost:
    """Return what training costs here: a few steps of each size, a validation, a save."""
    begun = clock()
    with tempfile.TemporaryDirectory() as folder:
        job = Job(model, data, recipe, execution)
        start, image, head = clock() - begun, {}, {}
        with job.spread():
            if job.only_head:
                for share in shares:
                    first, head[share] = _step(job, share, clock)
                    start += first
                job.thaw()
            for share in shares:
                first, image[share] = _step(job, share, clock)
                start += first
            part = data.validation.limit(min(512, len(data.validation)))
            checked = job.validation(part)
            first, again = _seconds(lambda: job.trained.evaluate(checked, verbose=0), clock)
        _, saved = _seconds(lambda: job.trained.save(Path(folder, "model.keras")), clock)
    each = again / len(part)
    tests = 2 + recipe.flip_test + (recipe.views if recipe.views > 1 else 0)
    return Cost(
        start=start + first + tests * each * len(data.test),
        epoch=each * len(data.validation) + 2 * saved,
        image=image,
        head=head,
    )


def _seconds(call, clock):
    """Return how long a call takes the first time and the second."""
    times = [clock()]
    for _ in range(2):
        call()
        times.append(clock())
    return times[1] - times[0], times[2] - times[1]


def _step(job, share, clock):
    """Return the seconds of the first call at a size, and those of an image after it."""
    split = job.data.train
    most = job.recipe.batch_size * CALLS * job.execution.steps_per_execution
    batches = job.batches(resized(split.limit(min(len(split), most)), share))
    timer = _Timer(clock, batches)
    if len(split) < most:  # A whole epoch, the smaller batch at its end with it, is soon over.
        job.trained.fit(batches, verbose=0, shuffle=False, callbacks=[timer], epochs=2)
        calls = len(timer.seconds) // 2
        return sum(timer.seconds[:calls]), sum(timer.seconds[calls:]) / len(split)
    job.trained.fit(batches, verbose=0, shuffle=False, callbacks=[timer])
    first, *others = timer.seconds
    return first, median(others) * CALLS / most


class _Timer(keras.callbacks.Callback):
    """Measures each call of the training step."""

    def __init__(self, clock, batches):
        super().__init__()
        self.clock, self.batches, self.seconds, self.before = clock, batches, [], clock()

    def on_epoch_begin(self, epoch, logs=None):
        self.batches.start_epoch(epoch)

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # It may be on its way still.
        now = self.clock()
        self.seconds.append(now - self.before)
        self.before = now

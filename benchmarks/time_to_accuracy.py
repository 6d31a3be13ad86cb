"""CPU seconds until a validation accuracy: our recipes against the widely copied Keras example.

    python benchmarks/time_to_accuracy.py --one-cycle-epochs 12 15 --fast-epochs 4 8 20
    python benchmarks/time_to_accuracy.py --short

All train on the same CIFAR-10 images, each as its users run it. Ours are `rl.train` on ResNet-20
v1, form "standard", with ONE_CYCLE in --one-cycle-epochs epochs, and on `resnet_fast` with FAST in
--fast-epochs. The example is the copied ResNet-20 with Adam, batches of 32 from ImageDataGenerator
and the mean image subtracted, its first epochs of 200, in a process that never imports resnet_lib.
All images take hours; --short takes ResNet-8, a narrow fast network, 10,000 training and 2,000
validation images, and a set of runs for each of 5 seeds.

Each run is a process of its own, and the runs of a seed follow one another. Counted is the process'
user and system time, all threads together, from after the imports and the loading of the images to
the end of the validation after the first epoch at or above the threshold: building, compiling and
what earlier epochs save included, the test at the end not. A run of ours is accurate only at its
end. Of several lengths the one with the least time counts, for each threshold, and the time for
choosing it is not counted.

The runs tell on stderr how far they are. Exits with status 1 if no recipe's ratio at the highest
threshold is at least --at-least; of several seeds their geometric mean counts.
"""

import argparse
import math
import os
import sys
import tempfile
import time
from bisect import bisect_left
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from multiprocessing import get_context
from statistics import geometric_mean
from typing import NamedTuple

import train_step

# Depth of ResNet v1, widths of the fast network, training and validation images.
FULL = (20, (48, 96, 192), 45_000, 5_000)
SHORT = (8, (16, 32, 64), 10_000, 2_000)
SIZES, PEAK = [[0.4, 0.5], [0.7, 0.75], [1, 1]], 0.4
AUGMENTATION = {"width_shift_range": 0.1, "height_shift_range": 0.1, "horizontal_flip": True}
ROW = "{:>9}  {:>4}  {:34}  {:9}  {:34}  {:>10}  {:>18}"


class Epoch(NamedTuple):
    """What the clock notes after an epoch's validation. A run is a list of these."""

    accuracy: float  # of the validation, 0 to 1
    until: float  # CPU seconds up to its end
    validation: float  # CPU seconds of it alone


def clock(run, stop_at=math.inf):
    """Return a Keras callback that adds to a run, from now on, and ends it at so many percent."""
    import keras

    start = time.process_time()

    class Clock(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.test_start = time.process_time()

        def on_test_end(self, logs=None):
            now = time.process_time()
            run.append(Epoch(logs["accuracy"], now - start, now - self.test_start))
            if cost(run, stop_at).reached:
                self.model.stop_training = True

    return Clock()


def one_cycle(options, epochs):
    """Return the network and the recipe of a one-cycle run."""
    from resnet_lib.cifar import resnet_v1
    from resnet_lib.recipes import ONE_CYCLE

    model = resnet_v1((32, 32, 3), options.depth, form="standard")
    return model, replace(ONE_CYCLE, epochs=epochs, sizes=SIZES, peak=PEAK)


def fast(options, epochs):
    """Return the network and the recipe of a fast run."""
    from resnet_lib.fast import resnet_fast
    from resnet_lib.recipes import FAST

    return resnet_fast((32, 32, 3), widths=options.widths), replace(FAST, epochs=epochs)


OURS = {"one-cycle": one_cycle, "fast": fast}


def train_ours(options, seed, data, name, epochs):
    """Train as users of resnet_lib do; return the run and the precision that was chosen."""
    from resnet_lib.training import train
    import keras

    run = []
    timed = clock(run)
    keras.utils.set_random_seed(seed)
    model, recipe = OURS[name](options, epochs)
    record = train(model, data, recipe, seed=seed, callbacks=[timed]).record
    if "stopped" in record:
        raise RuntimeError(f"Expected a whole {name} run, stopped: {record['stopped']}")
    return run, record["execution"]["precision"]


def train_example(options, seed, x_train, y_train, x_validation, y_validation):
    """Train as the widely copied example does, until the highest threshold; return the run."""
    import keras  # This and TensorFlow come first, and resnet_lib never.
    from example_code import copied_v1
    from keras.callbacks import LearningRateScheduler, ModelCheckpoint, ReduceLROnPlateau
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    run = []
    timed = clock(run, stop_at=max(options.threshold))
    keras.utils.set_random_seed(seed)
    x_train, x_validation = subtracted(x_train, x_validation)
    y_train, y_validation = (keras.utils.to_categorical(y, 10) for y in (y_train, y_validation))
    model = copied_v1(options.depth)
    optimizer = keras.optimizers.Adam(example_rate(0))
    model.compile(optimizer, loss="categorical_crossentropy", metrics=["accuracy"])
    with tempfile.TemporaryDirectory() as out:
        best = ModelCheckpoint(f"{out}/best.keras", monitor="val_accuracy", save_best_only=True)
        reducer = ReduceLROnPlateau(factor=math.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6)
        scheduler = LearningRateScheduler(example_rate)  # It overrides the reducer.
        model.fit(
            ImageDataGenerator(**AUGMENTATION).flow(x_train, y_train, batch_size=32),
            epochs=options.max_epochs,
            validation_data=(x_validation, y_validation),
            callbacks=[timed, best, reducer, scheduler],
            verbose=2,
        )
    return run


def subtracted(train, validation):
    """Return float32 images of 0-1 without the mean training image."""
    train, validation = (images.astype("float32") / 255 for images in (train, validation))
    mean = train.mean(axis=0)
    train -= mean
    validation -= mean
    return train, validation


def example_rate(epoch):
    """Return the example's learning rate at a zero-based epoch of 200."""
    return (1e-3, 1e-4, 1e-5, 1e-6, 5e-7)[bisect_left((80, 120, 160, 180), epoch)]


def begin():
    """Begin a process, where TensorFlow chooses about oneDNN and stdout is left to the report."""
    environment = train_step.clean_environment()
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout = sys.stderr


def alone(work, *args):
    """Return what a function returns in a process of its own."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=begin) as process:
        return process.submit(work, *args).result()


def pictures(options):
    """Return CIFAR-10, or its first images, as a `resnet_lib.datasets.Dataset`."""
    import resnet_lib as rl

    data = rl.datasets.cifar10()
    validation = data.validation.limit(options.validation)
    return replace(data.limit(options.images), validation=validation)


def measure(options, data):
    """Return the example's runs, ours as a dict, (recipe, epochs) -> runs, and their precisions."""
    examples, precisions = [], set()
    ours = {("one-cycle", epochs): [] for epochs in options.one_cycle_epochs}
    ours |= {("fast", epochs): [] for epochs in options.fast_epochs}
    parts = data.train, data.validation
    arrays = [array for part in parts for array in (part.images, part.labels)]
    for seed in range(options.seeds):
        examples.append(alone(train_example, options, seed, *arrays))
        for (name, epochs), runs in ours.items():
            run, precision = alone(train_ours, options, seed, data, name, epochs)
            runs.append(run)
            precisions.add(precision)
    return examples, ours, precisions


class Cost(NamedTuple):
    """What a threshold costs, or, where it is not reached, what the whole run costs."""

    epoch: int  # from 1
    cpu: float  # seconds up to its end
    training: float  # the same without validations
    reached: bool

    def told(self, of=""):
        """Return it in words."""
        if not self.reached:
            return f"not reached, {self.cpu:,.1f} s, {self.epoch} epochs"
        return f"{self.cpu:,.1f} s, epoch {self.epoch}{of}"


class Pair(NamedTuple):
    """What a threshold costs the example, which may fall short and cost more yet, and ours."""

    example: Cost
    ours: Cost

    def ratio(self, of="cpu"):
        """Return how many times as long the example takes; None where ours falls short."""
        return getattr(self.example, of) / getattr(self.ours, of) if self.ours.reached else None


def cost(run, percent):
    """Return the Cost of the first epoch at or above a validation accuracy in percent."""
    # Keras reports float32: 0.7 is 0.69999999 there.
    epochs = [n for n, epoch in enumerate(run, 1) if round(100 * epoch.accuracy, 4) >= percent]
    last = epochs[0] if epochs else len(run)
    cpu = run[last - 1].until
    return Cost(last, cpu, cpu - sum(epoch.validation for epoch in run[:last]), bool(epochs))


def best_length(costs):
    """Return the length, a key, whose costs miss with fewest seeds, then have the least time."""

    def key(length):
        missed = sum(not cost.reached for cost in costs[length])
        return missed, geometric_mean(cost.cpu for cost in costs[length])

    return min(costs, key=key)


def pairs(examples, ours, percent, name):
    """Return the length of a recipe that counts at a threshold, and a Pair for each seed."""
    costs = {
        length: [cost(run, percent) for run in runs]
        for (recipe, length), runs in ours.items()
        if recipe == name
    }
    length = best_length(costs)
    theirs = [cost(run, percent) for run in examples]
    return length, [Pair(*both) for both in zip(theirs, costs[length], strict=True)]


def interval(ratios):
    """Return the ends of the 95 % t interval of the geometric mean of at least two ratios."""
    import numpy as np
    from scipy import stats

    logs = np.log(ratios)
    return np.exp(logs.mean() + stats.t.ppf([0.025, 0.975], len(logs) - 1) * stats.sem(logs))


def failure(percent, name, found, at_least):
    """Return a line that says why a threshold's pairs do not pass, or None."""
    ratios = [pair.ratio() for pair in found]
    if None in ratios:
        return f"{name} did not reach {percent:g} % in {ratios.count(None)} of {len(found)} runs"
    mean = geometric_mean(ratios)
    if mean >= at_least:
        return None
    short = not all(pair.example.reached for pair in found)
    hint = "; the example fell short, so try a larger --max-epochs" if short else ""
    return f"{name}: {mean:.2f} times at {percent:g} %, expected at least {at_least:g} times{hint}"


def describe(options, data, precisions):
    """Return lines that say what was compared, and the table's heading."""
    has = "has" if "avx512_vnni" in train_step.flags() else "does not have"
    return f"""\
ResNet-{options.depth} v1 and a fast network, widths {options.widths}, on {data.source}
{len(data.train):,} training and {len(data.validation):,} validation images, {os.cpu_count()} cores
example: TensorFlow {version("tensorflow")}, Keras {version("keras")}; oneDNN: as TensorFlow \
chooses: on only where the CPU has AVX512-VNNI or better, which this one {has}
one-cycle: {", ".join(map(str, options.one_cycle_epochs))} epochs, sizes {SIZES}, peak {PEAK}
fast: {", ".join(map(str, options.fast_epochs))} epochs
ours in {" and ".join(sorted(precisions))}
CPU seconds, all threads, from after imports and loading of images, with validation.
The time for choosing the lengths of our runs is not counted.
{ROW.format("threshold", "seed", "example", "recipe", "ours", "ratio", "without validation")}"""


def line(percent, seed, name, length, pair):
    """Return a line of the table."""
    over = "" if pair.example.reached else "over "
    ratios = (pair.ratio(), pair.ratio("training"))
    cells = ("none" if ratio is None else f"{over}{ratio:.2f}" for ratio in ratios)
    costs = (pair.example.told(), name, pair.ours.told(f" of {length}"))
    return ROW.format(f"{percent:g} %", seed, *costs, *cells)


def summary(percent, name, found):
    """Yield what several seeds say together."""
    ratios = [pair.ratio() for pair in found if pair.ours.reached]
    if len(found) < 2 or not ratios:
        return
    start = f"{percent:g} %, {name}: geometric mean {geometric_mean(ratios):.2f}"
    short = len(found) - len(ratios)
    stopped = sum(not pair.example.reached for pair in found)
    if short or stopped:
        yield (
            f"{start} of {len(ratios)} pairs; {name} fell short in {short}, the example in "
            f"{stopped}: there its whole time counts; no interval"
        )
    else:
        low, high = interval(ratios)
        yield f"{start}, 95 % interval {low:.2f} to {high:.2f} ({len(found)} seeds)"


def number(kind, below=math.inf):
    """Return what makes a number above 0 of an option's text."""

    def number(text):
        value = kind(text)
        if not 0 < value < below:
            raise argparse.ArgumentTypeError(f"expected 0 < number < {below}, received {text}")
        return value

    return number


OPTIONS = {  # The defaults are those without and with --short.
    "threshold": (
        number(float, below=100),
        [75, 80, 85, 88, 90],
        [50],
        "validation accuracies in percent",
    ),
    "one_cycle_epochs": (number(int), [10], [5], "lengths of the run with the recipe one-cycle"),
    "fast_epochs": (number(int), [4, 8], [5], "lengths of the run with the recipe fast"),
    "max_epochs": (number(int), 40, 15, "epochs of the example, at most"),
    "seeds": (number(int), 1, 5, "pairs of runs"),
    "at_least": (number(float), 5.0, 2.0, "smallest ratio that passes"),
}


def parse(arguments=None):
    """Return the options, each list sorted and without repetitions."""
    commands = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    commands.add_argument("--short", action="store_true", help="minutes, not hours: small networks")
    for name, (kind, full, short, what) in OPTIONS.items():
        option = f"--{name.replace('_', '-')}"
        nargs = "+" if isinstance(full, list) else None
        what = f"{what} (default: {full}, with --short {short})"
        commands.add_argument(option, type=kind, nargs=nargs, metavar="N", help=what)
    options = commands.parse_args(arguments)
    for name, (_, *defaults, _) in OPTIONS.items():
        value = getattr(options, name) or defaults[options.short]
        setattr(options, name, sorted(set(value)) if isinstance(value, list) else value)
    sizes = SHORT if options.short else FULL
    options.depth, options.widths, options.images, options.validation = sizes
    return options


def main(arguments=None):
    options = parse(arguments)
    data = pictures(options)
    examples, ours, precisions = measure(options, data)
    print(describe(options, data, precisions))
    for percent in options.threshold:
        failures = []
        for name in OURS:
            length, found = pairs(examples, ours, percent, name)
            for seed, pair in enumerate(found):
                print(line(percent, seed, name, length, pair))
            for text in summary(percent, name, found):
                print(text)
            failures.append(failure(percent, name, found, options.at_least))
    return None if None in failures else "; ".join(failures)


if __name__ == "__main__":
    sys.exit(main())

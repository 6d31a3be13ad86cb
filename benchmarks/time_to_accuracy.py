"""CPU seconds until a validation accuracy: ONE_CYCLE against the widely copied Keras example.

    python benchmarks/time_to_accuracy.py --one-cycle-epochs 5 10 15
    python benchmarks/time_to_accuracy.py --onednn 0
    python benchmarks/time_to_accuracy.py --short

Both train a v1 network on the same CIFAR-10 images, each as its users run it. Ours is `rl.train` on
`form="standard"`, with ONE_CYCLE in --one-cycle-epochs epochs. The example is the copied network
with Adam, batches of 32 from ImageDataGenerator and the mean image subtracted, its first epochs of
200, in a process that never imports resnet_lib. ResNet-20 and all images take hours; --short
takes ResNet-8, 10,000 training and 2,000 validation images, and a pair of runs for each of 5 seeds.

Each run is a process of its own. Counted is its user and system time, all threads together, from
after the imports and the loading of the images to the end of the validation after the first epoch
at or above the threshold: building, compiling and each epoch's saving included, the test at the end
not. What this script saves to resume the example is not counted; a resumed run counts building and
compiling again. A one-cycle run is accurate only at its end. Of several lengths the one with the
least time counts, for each threshold, and the time for choosing it is not counted.

The runs stay in --out, and those that are finished are not repeated. Exits with status 1 if the
ratio at the highest threshold is below --at-least; of several seeds their geometric mean counts.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import train_step

FULL = {
    "depth": 20,
    "images": None,
    "validation": None,
    "threshold": [75, 80, 85],
    "one_cycle_epochs": [10],
    "max_epochs": 40,
    "seeds": 1,
    "at_least": 5.0,
}
SHORT = {
    "depth": 8,
    "images": 10_000,
    "validation": 2_000,
    "threshold": [50],
    "one_cycle_epochs": [5],
    "max_epochs": 15,
    "seeds": 5,
    "at_least": 2.0,
}
SIZES, PEAK = [[0.4, 0.5], [0.7, 0.75], [1, 1]], 0.4
AUGMENTATION = {"width_shift_range": 0.1, "height_shift_range": 0.1, "horizontal_flip": True}
RECORD, CLOCK = "record.json", "clock.json"
HISTORY = ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate")
HISTORY += ("seconds", "cpu_seconds")
EXAMPLE, ONE_CYCLE = "example", "one-cycle"


# Arithmetic


@dataclass(frozen=True)
class Run:
    """What a comparison needs of a run: a number for each epoch.

    Attributes:
        accuracy: validation accuracies, from 0 to 1.
        until: CPU seconds from the run's start to the end of that epoch's validation.
        validation: CPU seconds of that epoch's validation.
    """

    accuracy: list
    until: list
    validation: list


@dataclass(frozen=True)
class Cost:
    """What a threshold costs, or, where it is not reached, what the whole run costs.

    Attributes:
        epoch: number of the epoch, from 1.
        cpu: CPU seconds up to it.
        training: the same without validations.
        reached: whether the accuracy is at or above the threshold.
    """

    epoch: int
    cpu: float
    training: float
    reached: bool


def cost(run, percent):
    """Return the Cost of the first epoch at or above a validation accuracy in percent."""
    # Keras reports float32: 0.7 is 0.69999999 there.
    epochs = [n for n, value in enumerate(run.accuracy, 1) if round(100 * value, 4) >= percent]
    epoch = epochs[0] if epochs else len(run.accuracy)
    cpu = run.until[epoch - 1]
    return Cost(epoch, cpu, cpu - sum(run.validation[:epoch]), bool(epochs))


@dataclass(frozen=True)
class Pair:
    """What a threshold costs the example and ours, with the same seed."""

    example: Cost
    ours: Cost

    @property
    def ratio(self):
        """How many times as long the example takes; None where ours falls short."""
        return self.example.cpu / self.ours.cpu if self.ours.reached else None

    @property
    def training_ratio(self):
        """The same without validations."""
        return self.example.training / self.ours.training if self.ours.reached else None

    @property
    def is_exact(self):
        """Whether both reach the threshold. Where the example does not, the ratio is larger."""
        return self.example.reached and self.ours.reached


def best_length(costs):
    """Return the length that reaches a threshold with most seeds, then with least CPU seconds.

    Args:
        costs: dict, epochs of a one-cycle run -> its costs, one for each seed.
    """

    def key(length):
        missed = sum(not cost.reached for cost in costs[length])
        return missed, statistics.geometric_mean(cost.cpu for cost in costs[length])

    return min(costs, key=key)


def pairs(examples, ours, percent):
    """Return the length of ours that counts at a threshold, and a Pair for each seed.

    Args:
        examples: list of Run, one for each seed.
        ours: dict, epochs -> list of Run, one for each seed.
        percent: the threshold.
    """
    costs = {length: [cost(run, percent) for run in runs] for length, runs in ours.items()}
    length = best_length(costs)
    theirs = [cost(run, percent) for run in examples]
    return length, [Pair(*both) for both in zip(theirs, costs[length], strict=True)]


def interval(ratios, level=0.95):
    """Return the ends of the t interval of the geometric mean of at least two ratios."""
    from scipy.stats import t

    logs = [math.log(ratio) for ratio in ratios]
    half = t.ppf((1 + level) / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    middle = statistics.mean(logs)
    return math.exp(middle - half), math.exp(middle + half)


def failure(percent, found, at_least):
    """Return a line that says why a threshold's pairs do not pass, or None."""
    ratios = [pair.ratio for pair in found]
    if None in ratios:
        return f"one-cycle did not reach {percent:g} % in {ratios.count(None)} of {len(found)} runs"
    mean = statistics.geometric_mean(ratios)
    if mean >= at_least:
        return None
    short = not all(pair.is_exact for pair in found)
    hint = "; the example fell short, so try a larger --max-epochs" if short else ""
    return f"{mean:.2f} times at {percent:g} %, expected at least {at_least:g} times{hint}"


# The runs


class Clock:
    """CPU seconds of this process, to the end of each epoch's validation; kept in a file.

    Args:
        path: the file. Where it holds epochs from before, the clock goes on after them.
        now: function that returns the CPU seconds so far.
    """

    def __init__(self, path, now=time.process_time):
        self.path, self.now, self.start, self.begun = path, now, now(), False
        self.times = read(path) if path.exists() else {"until": [], "validation": []}

    def on_epoch_begin(self, epoch, logs=None):
        """Go on after the epochs that are kept, when the first epoch of this process begins."""
        if not self.begun:
            self.begun = True
            for values in self.times.values():
                del values[epoch:]
            self.start -= self.times["until"][-1] if epoch else 0

    def on_test_begin(self, logs=None):
        """Note when the validation begins."""
        self.test_start = self.now()

    def on_test_end(self, logs=None):
        """Note when it ends."""
        now = self.now()
        self.times["until"].append(now - self.start)
        self.times["validation"].append(now - self.test_start)
        write(self.path, self.times)

    @contextmanager
    def stopped(self):
        """Do not count what happens inside."""
        before = self.now()
        yield
        self.start += self.now() - before

    def callback(self):
        """Return the Keras callback."""
        import keras

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=self.on_epoch_begin,
            on_test_begin=self.on_test_begin,
            on_test_end=self.on_test_end,
        )


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def write(path, content):
    """Write JSON, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


def pictures(settings):
    """Return CIFAR-10, or a part of it, as a `resnet_lib.datasets.Dataset`."""
    import resnet_lib as rl

    data = rl.datasets.cifar10()
    if settings["images"] is None:
        return data
    validation = data.validation.limit(settings["validation"])
    return replace(data.limit(settings["images"]), validation=validation)


def save_pictures(job):
    """Write the images for the example's process, so that it does not need resnet_lib."""
    import numpy as np

    data = pictures(job["settings"])
    arrays = {
        "x_train": data.train.images,
        "y_train": data.train.labels,
        "x_validation": data.validation.images,
        "y_validation": data.validation.labels,
    }
    sizes = [len(data.train), len(data.validation), len(data.test)]
    facts = json.dumps({"source": data.source, "sha256": data.sha256, "sizes": sizes})
    np.savez(job["pictures"], facts=np.array(facts), **arrays)


def train_one_cycle(job):
    """Train as users of resnet_lib do, with a clock."""
    import resnet_lib as rl
    from resnet_lib.cifar import resnet_v1
    from resnet_lib.training import train

    import keras

    settings, folder = job["settings"], Path(job["folder"])
    data = pictures(settings)
    clock = Clock(folder / CLOCK)
    keras.utils.set_random_seed(settings["seed"])
    run = train(
        resnet_v1((32, 32, 3), settings["depth"], form=settings["form"]),
        data,
        replace(
            rl.recipes.ONE_CYCLE,
            epochs=settings["epochs"],
            sizes=settings["sizes"],
            peak=settings["peak"],
        ),
        out=folder,
        resume=True,
        seed=settings["seed"],
        callbacks=[clock.callback()],
        notes=settings,
    )
    return 1 if "stopped" in run.record else 0


def example_rate(epoch):
    """Return the example's learning rate at a zero-based epoch of 200."""
    falls = ((180, 5e-7), (160, 1e-6), (120, 1e-5), (80, 1e-4))
    return next((rate for last, rate in falls if epoch > last), 1e-3)


def train_example(job):
    """Train as the widely copied example does, until a threshold is reached."""
    import keras  # This and TensorFlow come first, and resnet_lib never.
    import numpy as np
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    settings, folder = job["settings"], Path(job["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    done, weights = newest_weights(folder)
    with np.load(job["pictures"]) as file:
        stored = dict(file)
    clock = Clock(folder / CLOCK)
    keras.utils.set_random_seed(1000 * settings["seed"] + done)
    x_train, x_validation = subtracted(stored["x_train"], stored["x_validation"])
    y_train, y_validation = (
        keras.utils.to_categorical(stored[name], 10) for name in ("y_train", "y_validation")
    )
    model = example_model(settings["depth"])
    with clock.stopped():
        keeper = Keeper(folder, record_of(settings, stored), model, clock, job["stop_at"])
        if weights is not None:
            model.optimizer.build(model.trainable_variables)
            model.load_weights(weights)
    generator = ImageDataGenerator(**AUGMENTATION)
    model.fit(
        generator.flow(x_train, y_train, batch_size=32),
        initial_epoch=done,
        epochs=job["max_epochs"],
        validation_data=(x_validation, y_validation),
        callbacks=[clock.callback(), *example_callbacks(folder), keeper.callback()],
        verbose=2,
    )
    return 0


def example_model(depth):
    """Return the example's network, compiled."""
    import keras
    from example_code import copied_v1

    model = copied_v1(depth)
    model.compile(
        keras.optimizers.Adam(example_rate(0)),
        loss="categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def subtracted(train, validation):
    """Return float32 images of 0-1 without the mean training image."""
    train, validation = (images.astype("float32") / 255 for images in (train, validation))
    mean = train.mean(axis=0)
    train -= mean
    validation -= mean
    return train, validation


def example_callbacks(folder):
    """Return the example's own callbacks, in its order: the scheduler overrides the reducer."""
    import keras

    return [
        keras.callbacks.ModelCheckpoint(
            folder / "best.keras", monitor="val_accuracy", save_best_only=True
        ),
        keras.callbacks.ReduceLROnPlateau(
            factor=math.sqrt(0.1), cooldown=0, patience=5, min_lr=0.5e-6
        ),
        keras.callbacks.LearningRateScheduler(example_rate),
    ]


def newest_weights(folder):
    """Return how many epochs the newest weights have behind them, and their path or None."""
    path = max(folder.glob("epoch-*.weights.h5"), default=None)
    return (0, None) if path is None else (int(path.name[6:11]), path)


def record_of(settings, stored):
    """Return the example's record before its first epoch, with the keys that rl.train's has."""
    return {
        "notes": settings,
        "dataset": json.loads(str(stored["facts"])),
        "environment": environment(),
        "history": {name: [] for name in HISTORY},
    }


def environment():
    """Return what a record says of the machine and the software, without resnet_lib."""
    import keras
    import tensorflow as tf

    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "avx512_vnni": "avx512_vnni" in train_step.flags(),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }


class Keeper:
    """Keeps the example's record, and its weights and optimizer to go on from; uncounted.

    The weights come last, so that record and clock have at least as many epochs.
    """

    def __init__(self, folder, record, model, clock, stop_at):
        self.folder, self.record, self.model = folder, record, model
        self.clock, self.stop_at = clock, stop_at
        if (folder / RECORD).exists():
            self.record["history"] = read(folder / RECORD)["history"]

    def on_epoch_begin(self, epoch, logs=None):
        """Look at the clocks, and at the learning rate while it is in force."""
        for values in self.record["history"].values():
            del values[epoch:]
        self.rate = float(self.model.optimizer.learning_rate)
        self.started = time.perf_counter(), time.process_time()

    def on_epoch_end(self, epoch, logs=None):
        """Add the epoch's numbers, save, and stop where the threshold is reached."""
        numbers = {name: float(logs[name]) for name in HISTORY if name in logs}
        numbers["learning_rate"] = self.rate
        numbers["seconds"] = time.perf_counter() - self.started[0]
        numbers["cpu_seconds"] = time.process_time() - self.started[1]
        with self.clock.stopped():
            for name, values in self.record["history"].items():
                values.append(numbers[name])
            write(self.folder / RECORD, self.record)
            self.save_weights(epoch)
        accuracy = numbers["val_accuracy"]
        self.model.stop_training = cost(Run([accuracy], [0], [0]), self.stop_at).reached

    def save_weights(self, epoch):
        """Save weights and optimizer; only the newest stay."""
        part = self.folder / "part.weights.h5"
        self.model.save_weights(part, overwrite=True)
        whole = self.folder / f"epoch-{epoch + 1:05}.weights.h5"
        os.replace(part, whole)
        for old in set(self.folder.glob("epoch-*.weights.h5")) - {whole}:
            old.unlink()

    def callback(self):
        """Return the Keras callback."""
        import keras

        return keras.callbacks.LambdaCallback(
            on_epoch_begin=self.on_epoch_begin, on_epoch_end=self.on_epoch_end
        )


WORK = {"pictures": save_pictures, EXAMPLE: train_example, ONE_CYCLE: train_one_cycle}


# Which runs, and what came out


def jobs(options):
    """Yield the runs, the two kinds of a seed one after another.

    "settings" are what decides the result. They are kept in the record.
    """
    common = {name: getattr(options, name) for name in ("depth", "images", "validation")}
    folder = Path(options.out, "short" if options.short else "full")
    limits = {"stop_at": max(options.threshold), "max_epochs": options.max_epochs}
    for seed in range(options.seeds):
        settings = common | {"kind": EXAMPLE, "seed": seed, "onednn": options.onednn}
        name = f"example-onednn-{options.onednn}-seed-{seed}"
        yield {"settings": settings, "folder": str(folder / name)} | limits
        for epochs in options.one_cycle_epochs:
            settings = common | {"kind": ONE_CYCLE, "seed": seed, "form": "standard"}
            settings |= {"epochs": epochs, "sizes": SIZES, "peak": PEAK}
            name = f"one-cycle-{epochs}-seed-{seed}"
            yield {"settings": settings, "folder": str(folder / name)}


def recorded(job):
    """Return the record of a run that was started before with the same settings, or None."""
    path = Path(job["folder"], RECORD)
    if not path.is_file():
        return None
    record = read(path)
    if record["notes"] != job["settings"]:
        sys.exit(
            f"{path.parent}: expected a run with {job['settings']}, found one with "
            f"{record['notes']}. Remove the folder or choose another --out."
        )
    return record


def is_finished(job):
    """Say whether a run went as far as is asked for."""
    record = recorded(job)
    if record is None:
        return False
    if job["settings"]["kind"] == ONE_CYCLE:
        return "stopped" not in record
    accuracy = record["history"]["val_accuracy"]
    nothing = [0] * len(accuracy)
    reached = cost(Run(accuracy, nothing, nothing), job["stop_at"]).reached
    return reached or len(accuracy) >= job["max_epochs"]


def execute(kind, job):
    """Do a piece of work in a process of its own."""
    command = [sys.executable, __file__, "--worker", kind, "--job", json.dumps(job)]
    onednn = job["settings"]["onednn"] if kind == EXAMPLE else "default"
    if subprocess.run(command, env=clean_environment(onednn)).returncode:
        sys.exit(f"{job['folder']}: the run did not finish. The same command goes on with it.")


def clean_environment(onednn):
    """Return the environment without what would decide about oneDNN, but for what is asked."""
    chosen = {} if onednn == "default" else {"TF_ENABLE_ONEDNN_OPTS": onednn}
    return train_step.clean_environment() | chosen


def run_all(todo):
    """Make the runs that are not finished."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "pictures.npz")
        for job in todo:
            if is_finished(job):
                print(f"{job['folder']}: finished before", flush=True)
                continue
            print(job["folder"], flush=True)
            kind, job = job["settings"]["kind"], job | {"pictures": str(path)}
            if kind == EXAMPLE and not path.exists():
                execute("pictures", job)
            execute(kind, job)


def loaded(job):
    """Return a finished run as a Run, all of its epochs."""
    folder = Path(job["folder"])
    accuracy = read(folder / RECORD)["history"]["val_accuracy"]
    times = read(folder / CLOCK)
    return Run(accuracy, times["until"], times["validation"])


def by_kind(todo):
    """Return the example's runs, and a dict, epochs -> our runs; both in the order of seeds."""
    examples, ours = [], {}
    for job in todo:
        if job["settings"]["kind"] == EXAMPLE:
            examples.append(loaded(job))
        else:
            ours.setdefault(job["settings"]["epochs"], []).append(loaded(job))
    return examples, ours


def check_images(records):
    """Return what all records say of their images; exit if they differ."""
    datasets = {record["dataset"]["sha256"]: record["dataset"] for record in records}
    if len(datasets) > 1:
        told = "; ".join(f"{each['source']}, SHA-256 {sha}" for sha, each in datasets.items())
        sys.exit(f"Expected runs on the same images, found {told}. Choose another --out.")
    return next(iter(datasets.values()))


def describe(todo):
    """Yield lines that say what was compared."""
    records = [recorded(job) for job in todo]
    images = check_images(records)
    first = records[0]
    settings, machine = first["notes"], first["environment"]
    train, validation, _ = images["sizes"]
    has = "has" if machine["avx512_vnni"] else "does not have"
    default = (
        "as TensorFlow chooses: on only where the CPU has AVX512-VNNI or better, which this one "
        f"{has}"
    )
    onednn = {"default": default, "0": "off", "1": "on"}[settings["onednn"]]
    lengths = sorted({job["settings"]["epochs"] for job in todo if "epochs" in job["settings"]})
    yield f"ResNet-{settings['depth']} v1 on {images['source']}"
    yield f"{train:,} training and {validation:,} validation images, {machine['cores']} cores"
    yield f"example: TensorFlow {machine['tensorflow']}, Keras {machine['keras']}; oneDNN: {onednn}"
    precisions = {record["execution"]["precision"] for record in records if "execution" in record}
    yield (
        f"one-cycle: {', '.join(map(str, lengths))} epochs, sizes {SIZES}, peak {PEAK}, "
        f"{' and '.join(sorted(precisions))}"
    )
    yield "CPU seconds, all threads, from after imports and loading of images, with validation."
    yield "The time for choosing the length of the one-cycle run is not counted."


def told(cost, of=""):
    """Return a Cost in words."""
    if not cost.reached:
        return f"not reached, {cost.cpu:,.1f} s, {cost.epoch} epochs"
    return f"{cost.cpu:,.1f} s, epoch {cost.epoch}{of}"


def line(percent, seed, length, pair):
    """Return a line of the table."""
    cells = [f"{percent:g} %", seed, told(pair.example), told(pair.ours, f" of {length}")]
    over = "" if pair.is_exact else "over "
    for ratio in (pair.ratio, pair.training_ratio):
        cells.append("none" if ratio is None else f"{over}{ratio:.2f}")
    return row(*cells)


def row(percent, seed, example, ours, ratio, training):
    """Return cells in their columns."""
    return f"{percent:>9}  {seed:>4}  {example:34}  {ours:34}  {ratio:>10}  {training:>18}".rstrip()


def summary(percent, found):
    """Yield what the seeds say together."""
    ratios = [pair.ratio for pair in found if pair.ratio is not None]
    if len(found) < 2 or not ratios:
        return
    start = f"{percent:g} %: geometric mean {statistics.geometric_mean(ratios):.2f}"
    if all(pair.is_exact for pair in found):
        low, high = interval(ratios)
        yield f"{start}, 95 % interval {low:.2f} to {high:.2f} ({len(found)} seeds)"
    else:
        stopped = sum(not pair.example.reached for pair in found)
        yield (
            f"{start} of {len(ratios)} pairs; one-cycle fell short in {len(found) - len(ratios)}, "
            f"the example in {stopped}: there its whole time counts; no interval"
        )


def report(todo, options):
    """Print the table; return the exit code."""
    print(*describe(todo), sep="\n")
    print(row("threshold", "seed", EXAMPLE, ONE_CYCLE, "ratio", "without validation"))
    examples, ours = by_kind(todo)
    for percent in options.threshold:
        length, found = pairs(examples, ours, percent)
        for seed, pair in enumerate(found):
            print(line(percent, seed, length, pair))
        print(*summary(percent, found), sep="\n", end="\n" if len(found) > 1 else "")
    wrong = failure(percent, found, options.at_least)
    if wrong:
        print(wrong)
    return 1 if wrong else 0


# The command line


def parser():
    commands = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add = commands.add_argument
    add("--short", action="store_true", help="ResNet-8, 10,000 images, 5 seeds: minutes, not hours")
    add("--threshold", type=float, nargs="+", metavar="PERCENT", help=both("threshold"))
    add("--one-cycle-epochs", type=int, nargs="+", metavar="N", help=both("one_cycle_epochs"))
    add("--max-epochs", type=int, metavar="N", help=f"of the example; {both('max_epochs')}")
    add("--seeds", type=int, metavar="N", help=f"pairs of runs; {both('seeds')}")
    add(
        "--onednn",
        choices=("0", "1", "default"),
        default="default",
        help="TF_ENABLE_ONEDNN_OPTS of the example; default: unset, TensorFlow chooses",
    )
    add("--out", default="runs/time_to_accuracy", help="folder of the runs (default: %(default)s)")
    add("--at-least", type=float, help=f"smallest ratio that passes; {both('at_least')}")
    add("--worker", choices=WORK, help=argparse.SUPPRESS)
    add("--job", type=json.loads, help=argparse.SUPPRESS)
    return commands


def both(name):
    """Return the defaults of an option in words."""
    full, short = (
        " ".join(map(str, form[name])) if isinstance(form[name], list) else form[name]
        for form in (FULL, SHORT)
    )
    return f"default: {full}, with --short {short}"


def parse(arguments=None):
    """Return the options, each list sorted and without repetitions."""
    commands = parser()
    options = commands.parse_args(arguments)
    for name, value in (SHORT if options.short else FULL).items():
        if getattr(options, name, None) is None:
            setattr(options, name, value)
    for name in ("threshold", "one_cycle_epochs"):
        setattr(options, name, sorted(set(getattr(options, name))))
    for wrong in complaints(options):
        commands.error(wrong)
    return options


def complaints(options):
    """Yield what is wrong with the options."""
    for percent in options.threshold:
        if not 0 < percent < 100:
            yield f"--threshold: expected percent between 0 and 100, received {percent:g}"
    counts = {"--max-epochs": [options.max_epochs], "--seeds": [options.seeds]}
    counts["--one-cycle-epochs"] = options.one_cycle_epochs
    for name, values in counts.items():
        if min(values) < 1:
            yield f"{name}: expected at least 1, received {min(values)}"
    if not 0 < options.at_least < math.inf:
        yield f"--at-least: expected a number above 0, received {options.at_least:g}"


def main(arguments=None):
    options = parse(arguments)
    if options.worker:
        return WORK[options.worker](options.job)
    todo = list(jobs(options))
    run_all(todo)
    return report(todo, options)


if __name__ == "__main__":
    sys.exit(main())

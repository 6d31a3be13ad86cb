"""Train the table of the widely copied Keras example on a GPU, and say how fast that went.

    python benchmarks/gpu.py runs/gpu
    python benchmarks/gpu.py runs/gpu --minutes 60
    python benchmarks/gpu.py runs/gpu --table
    python benchmarks/gpu.py runs/gpu --cpu

The same command goes on where it was stopped: Ctrl-C, SIGTERM and --minutes end it between two
steps, and a finished run is not repeated. A run that fails is named in failed.json and left out
until --retry; the exit code is then 1. First come two short runs and the speed of ResNet-50, then
the example's table in 200 epochs each. Every run is an ordinary run folder, FOLDER/NAME, for
`python -m resnet_lib records`.

It needs numpy, Keras, JAX and this checkout, which need not be installed; KERAS_BACKEND=tensorflow
takes TensorFlow. Without a GPU it says so and ends. --cpu rehearses on the CPU, with few pictures
and epochs, in FOLDER/rehearsal; such runs are marked, for they say nothing of a GPU.

Seconds an epoch are those of `history.seconds`: training, validation and saving. Pictures a second
are those of the training steps alone. Of both the median counts, of epochs at the full size after
which nothing was compiled. An epoch here is 45,000 pictures and a validation of 5,000; the
example's is 50,000 and 10,000, so that the factor compares pictures a second with pictures a
second, the example's from its whole epochs.
"""

import argparse
import gc
import json
import os
import shlex
import signal
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
FAILED = "failed.json"
EXAMPLE_PICTURES = 50_000  # an epoch of the example
RANDOM = "resnet50-random-224"
LIMIT, EPOCHS = 1000, 2  # of a rehearsal


class Planned(NamedTuple):
    """A run: model id, form, the recipe's id and epochs; RANDOM's pictures are random ones."""

    model: str
    form: str
    recipe: str
    epochs: int
    random: bool = False

    @property
    def name(self):
        """Name of its folder."""
        return RANDOM if self.random else f"{self.model}-{self.recipe}-{self.epochs}"


def example(*models):
    return [Planned(model, "example", "example", 200) for model in models]


PLAN = [
    Planned("resnet20v1", "standard", "one-cycle", 30),
    Planned("resnet20v1", "standard", "one-cycle", 200),
    Planned("resnet50", "applications", "one-cycle", 3, random=True),
    *example("resnet20v1", "resnet32v1", "resnet44v1", "resnet56v1", "resnet110v1"),
    *example("resnet20v2", "resnet56v2", "resnet110v2"),
    *example("resnet164v1", "resnet164v2", "resnet1001v2"),
]


# Training


def main(arguments=None):
    options = parse(arguments)
    if options.table:
        try:
            print(table(runs_of(options.folder)))
        except (FileNotFoundError, ValueError) as error:
            print(error, file=sys.stderr)
            return 1
        return 0
    card = card_of(options)
    if card is None:
        return 1
    folder = options.folder / "rehearsal" if options.cpu else options.folder
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{card}; runs in {folder}", flush=True)
    stop = Stop(options.minutes)
    try:
        with stop:
            for planned in chosen(options):
                train_next(planned, folder, card, options)
    except KeyboardInterrupt as error:
        print(f"\n{stop.told(error)} To go on: {options.command}", flush=True)
        return stop.code(error)
    failed = [planned.name for planned in chosen(options) if planned.name in read_failed(folder)]
    done = f"All is done but what failed: {', '.join(failed)}." if failed else "All is done."
    print(f"{done} For the table: {options.again} --table")
    return 1 if failed else 0


def card_of(options):
    """Return what the figures are of; where there is no GPU, say so and return None."""
    from resnet_lib.training.machine import environment

    found = environment()
    if options.cpu:
        return f"rehearsal on a CPU ({found['processor']}): no figure of a GPU"
    if found["gpus"]:
        return " and ".join(map(str, found["gpus"]))
    print(
        f"{found['keras_backend']} {found['backend_version']} finds no GPU here, so nothing was "
        "trained or measured; --cpu rehearses on the CPU.",
        file=sys.stderr,
    )
    return None


def chosen(options):
    """Return the runs that are asked for, in the plan's order."""
    return [each for each in PLAN if not options.only or each.name in options.only]


def train_next(planned, folder, card, options):
    """Train what is left of a run, and print its figures; note why it failed, if it does."""
    failed = read_failed(folder)
    out = folder / planned.name
    if planned.name in failed and not options.retry:
        print(f"{planned.name}: left out, for it failed: {failed[planned.name]}; see --retry")
        return
    reason = ""
    try:
        run = known(out)
        if run is None or not is_finished(run):
            print(f"{planned.name}: {epochs_of(planned, options)} epochs", flush=True)
            run = trained(planned, out, card, options)
            reason = run.record.get("stopped", "")
    except Exception as error:  # The next one may do.
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
    if reason.startswith("by "):
        print(told(run), flush=True)
        raise KeyboardInterrupt(signal.SIGTERM if "SIGTERM" in reason else reason)
    failed.pop(planned.name, None)
    write_failed(folder, failed | ({planned.name: reason} if reason else {}))
    print(f"{planned.name} failed: {reason}" if reason else told(run), flush=True)
    tidy()


def epochs_of(planned, options):
    """Return a run's epochs; a rehearsal's are few."""
    return min(planned.epochs, options.epochs or planned.epochs)


def trained(planned, out, card, options):
    """Train a run, or go on with it; return it."""
    import resnet_lib as rl

    import keras

    data = random_pictures(options) if planned.random else pictures(options)
    keras.utils.set_random_seed(options.seed)
    model = rl.models.build(planned.model, data.image_shape, data.num_classes, form=planned.form)
    recipe = replace(rl.recipes.named(planned.recipe), epochs=epochs_of(planned, options))
    clock = make_clock(known(out))
    notes = {"form": planned.form, "card": card, "training_seconds": clock.seconds}
    common = dict(
        seed=options.seed,
        execution=rl.training.best_execution(data.train.images.nbytes),
        callbacks=[clock],
        notes=notes,
    )
    if not planned.random:
        return rl.train(model, data, recipe, out=out, resume=True, **common)
    plain = dict(batch_size=options.batch, sizes=((1, 1),), augment=False, flip_test=False)
    run = rl.train(model, data, replace(recipe, **plain), **common)
    return kept(run, out)


def kept(run, out):
    """Keep the record of a run of random pictures, of which the speed is all that there is."""
    from resnet_lib import records

    run.record.get("results", {}).pop("test_confusion", None)
    out.mkdir(exist_ok=True)
    records.save(run.record, out)
    return run


def pictures(options):
    """Return CIFAR-10, or its first pictures."""
    import resnet_lib as rl

    data = rl.datasets.cifar10()
    return data if options.limit is None else data.limit(options.limit)


def random_pictures(options):
    """Return random pictures of ImageNet's size and number of classes, 20 batches an epoch."""
    import numpy as np
    from resnet_lib.datasets import Dataset, Split

    drawn, size = np.random.default_rng(options.seed), 32 if options.cpu else 224

    def split(n):
        images = drawn.integers(0, 256, (n, size, size, 3), np.uint8)
        return Split(images, drawn.integers(0, 1000, n))

    batches = 2 if options.cpu else 20
    parts = split(batches * options.batch), split(options.batch), split(options.batch)
    return Dataset(*parts, [str(n) for n in range(1000)], f"random pictures of {size}x{size}")


def make_clock(before):
    """Return a Keras callback whose `seconds` are those of each epoch's training steps.

    Args:
        before: the run so far, to go on with; None: there is none.
    """
    import keras

    class Clock(keras.callbacks.Callback):
        seconds = list(before.record["notes"].get("training_seconds", [])) if before else []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_train_batch_end(self, batch, logs=None):
            float(logs["loss"])  # It waits for the device.
            self.end = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds[epoch:] = [self.end - self.start]

    return Clock()


def tidy():
    """Let go of the network's memory."""
    import keras

    keras.backend.clear_session()
    gc.collect()


class Stop:
    """While it is entered, SIGTERM and the end of the time interrupt as Ctrl-C does."""

    def __init__(self, minutes=None):
        self.minutes, self.time_is_up = minutes, False

    def __enter__(self):
        self.before = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, self.interrupt),
            signal.SIGALRM: signal.signal(signal.SIGALRM, self.end),
        }
        signal.setitimer(signal.ITIMER_REAL, 60 * (self.minutes or 0))

    def __exit__(self, *error):
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def interrupt(self, number, frame):
        """End what is being done."""
        raise KeyboardInterrupt(signal.SIGTERM)

    def end(self, number, frame):
        """End it because the time is up."""
        self.time_is_up = True
        signal.raise_signal(signal.SIGTERM)  # As `rl.train` takes it while it trains.

    def told(self, error):
        """Return why it ended."""
        if self.time_is_up:
            return f"The {self.minutes:g} minutes are over."
        return "Stopped by SIGTERM." if signal.SIGTERM in error.args else "Stopped."

    def code(self, error):
        """Return the exit code: 0 for the end of the time, else as a shell has it."""
        if self.time_is_up:
            return 0
        return 128 + (signal.SIGTERM if signal.SIGTERM in error.args else signal.SIGINT)


# Runs


def known(out):
    """Return the run in a folder, finished or as far as it has come; None where there is none."""
    from resnet_lib import records

    if not out.is_dir():
        return None
    try:
        return next(iter(records.runs_in(out).values()))
    except FileNotFoundError:
        return None


def runs_of(folder):
    """Return the plan's runs in a folder by their paths, in the plan's order."""
    from resnet_lib import records

    places = {planned.name: place for place, planned in enumerate(PLAN)}
    found = records.runs_in(folder)
    ours = [path for path in found if Path(path).name in places]
    return {path: found[path] for path in sorted(ours, key=lambda path: places[Path(path).name])}


def is_finished(run):
    done = len(run.history["loss"]) == run.record["recipe"]["epochs"]
    return done and "results" in run.record and "stopped" not in run.record


def read_failed(folder):
    """Return why runs have failed: dict, name -> reason."""
    path = folder / FAILED
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def write_failed(folder, failed):
    if failed or (folder / FAILED).is_file():
        text = json.dumps(failed, indent=1, ensure_ascii=False)
        (folder / FAILED).write_text(f"{text}\n", encoding="utf-8")


# Figures


def typical(run, seconds):
    """Return the median of the seconds of each epoch; None where there are none that count.

    Epochs at a smaller size do not, nor those in which a step was compiled: the first of each size,
    and the first after a pause.
    """
    from resnet_lib.recipes import Recipe

    recipe = Recipe.from_dict(run.record["recipe"])
    sizes = [recipe.size(epoch) for epoch in range(len(seconds))]
    compiled = {each["epoch"] for each in run.record.get("resumed", [])}
    compiled |= {n for n in range(len(sizes)) if n == 0 or sizes[n] != sizes[n - 1]}
    counted = [seconds[n] for n, size in enumerate(sizes) if size == 1 and n not in compiled]
    counted = [each for each in counted if each is not None]
    return statistics.median(counted) if counted else None


class Figures(NamedTuple):
    """What is said of a run; None where there is no such number."""

    epoch: float | None  # seconds
    speed: float | None  # training pictures a second
    published: float | None  # seconds of an epoch of the example's
    factor: float | None  # how many times as many pictures a second as the example


def figures(run):
    """Return a run's Figures."""
    images = run.record["dataset"]["sizes"][0]
    steps = typical(run, run.record["notes"].get("training_seconds", []))
    speed = images / steps if steps else None
    published = published_seconds(run)
    factor = speed * published / EXAMPLE_PICTURES if speed and published else None
    return Figures(typical(run, run.history["seconds"]), speed, published, factor)


def published_seconds(run):
    """Return the example's seconds an epoch on a GTX 1080 Ti; None if a run is of other pictures.

    Source: `resnet_lib.paper.EXAMPLE_ACCURACY`.
    """
    from resnet_lib import paper, records

    if records.published(run) == (None, None):
        return None
    depth, version = run.record["model"]["id"].removeprefix("resnet").split("v")
    return getattr(paper.EXAMPLE_ACCURACY.row(int(depth)), f"v{version}_seconds")


def text(number, form=",.0f", otherwise="–"):
    return otherwise if number is None else format(number, form)


def told(run):
    """Return a run's figures in words."""
    found, record = figures(run), run.record
    name, batch = record["model"]["name"], record["recipe"]["batch_size"]
    line = (
        f"{name}, {record['recipe']['name']}, batches of {batch}, {record['notes']['card']}: "
        f"{text(found.epoch, ',.2f')} s an epoch of {record['dataset']['sizes'][0]:,} pictures, "
        f"{text(found.speed)} pictures a second in training steps"
    )
    if found.published:
        line += (
            f"; the example on a GTX 1080 Ti: {found.published} s an epoch of "
            f"{EXAMPLE_PICTURES:,}, {EXAMPLE_PICTURES / found.published:,.0f} pictures a second"
        )
    return f"{line}: {found.factor:.1f} times as fast" if found.factor else line


COLUMNS = (
    *("network", "form", "recipe", "batch", "epochs", "test, last epoch", "test, best epoch"),
    *("the example's", "s an epoch", "the example's s", "pictures/s", "times as fast", "card"),
)


def table(runs):
    """Return a Markdown table of runs, and under it which pictures they are of."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    lines += [f"| {' | '.join(row(run))} |" for run in runs.values()]
    sources = {run.source: None for run in runs.values()}
    return "\n".join(
        [
            *lines,
            "",
            f"Pictures: {'; '.join(sources)}. Accuracies in %; the example's: "
            "after 200 epochs, as its documentation has them, with seconds on a GTX 1080 Ti.",
        ]
    )


def row(run):
    """Return the cells of a run's line."""
    from resnet_lib import records

    record, found = run.record, figures(run)
    done, planned = len(run.history["loss"]), record["recipe"]["epochs"]
    results = record.get("results", {}) if not is_random(run) else {}
    accuracies = [results.get(f"test_accuracy_{kind}") for kind in ("last", "best")]
    return (
        record["model"]["name"],
        record["notes"]["form"],
        record["recipe"]["name"],
        str(record["recipe"]["batch_size"]),
        str(done) if done == planned else f"{done}/{planned}",
        *(text(each and 100 * each, ".2f") for each in accuracies),
        text(records.published(run)[1], ".2f"),
        text(found.epoch, ",.2f"),
        text(found.published),
        text(found.speed),
        text(found.factor, ".1f"),
        record["notes"]["card"],
    )


def is_random(run):
    return run.source.startswith("random pictures")


# Options


def parse(arguments=None):
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    add, names = parser.add_argument, [planned.name for planned in PLAN]
    add("folder", type=Path, metavar="FOLDER", help="of the runs")
    add("--table", action="store_true", help="print a Markdown table of the runs; train nothing")
    add("--minutes", type=positive(float), metavar="M", help="stop after so long")
    add("--only", nargs="+", choices=names, metavar="NAME", help=f"of {', '.join(names)}")
    add("--retry", action="store_true", help="try again what has failed")
    add("--batch", type=positive(int), metavar="N", help="of ResNet-50 (256; rehearsal: 4)")
    add("--seed", type=int, default=0, metavar="N", help="0")
    add("--cpu", action="store_true", help="rehearse on the CPU, in FOLDER/rehearsal")
    add("--limit", type=positive(int), metavar="N", help=f"pictures of a rehearsal ({LIMIT})")
    add("--epochs", type=positive(int), metavar="N", help=f"epochs of a rehearsal ({EPOCHS})")
    options = parser.parse_args(arguments)
    if not options.cpu and (options.limit or options.epochs):
        parser.error("--limit and --epochs: expected --cpu with them, for they are a rehearsal's")
    if options.cpu:
        options.limit, options.epochs = options.limit or LIMIT, options.epochs or EPOCHS
    options.batch = options.batch or (4 if options.cpu else 256)
    options.command = shlex.join(["python", "benchmarks/gpu.py", *arguments])
    folder = options.folder / "rehearsal" if options.cpu else options.folder
    options.again = shlex.join(["python", "benchmarks/gpu.py", str(folder)])
    return options


def positive(kind):
    """Return what makes a number above 0 of an option's text."""

    def number(text):
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"expected a number above 0, received {text}")
        return value

    return number


def prepare():
    """Choose the backend, and find the package where it is not installed."""
    os.environ.setdefault("KERAS_BACKEND", "jax")
    if "--cpu" in sys.argv:
        os.environ |= {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1"}
    sys.path.insert(0, str(ROOT))


if __name__ == "__main__":
    prepare()
    from resnet_lib.runtime import end_with

    end_with(main)

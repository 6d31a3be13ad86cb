"""The benchmark of CPU seconds until an accuracy: its arithmetic, its runs, its options."""

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import example_code
import input_pipeline
import keras
import numpy as np
import pytest
import time_to_accuracy as benchmark
import train_step
from time_to_accuracy import Cost, Epoch, Pair

from resnet_lib import cifar, datasets, fast, schedules, training
from resnet_lib.recipes import FAST, ONE_CYCLE

DATA = datasets.shapes(train=64, validation=20, test=20)


# Arithmetic


def run_of(accuracies, until, validation):
    """Return a run from its columns."""
    return [Epoch(*row) for row in zip(accuracies, until, validation, strict=True)]


def test_the_first_epoch_at_or_above_the_threshold_counts():
    run = run_of([0.4, 0.85, 0.7, 0.9], until=[10, 21, 33, 46], validation=[1, 2, 3, 4])
    assert benchmark.cost(run, 85) == Cost(epoch=2, cpu=21, training=18, reached=True)
    assert benchmark.cost(run, 86) == Cost(epoch=4, cpu=46, training=36, reached=True)
    assert benchmark.cost(run, 40) == Cost(epoch=1, cpu=10, training=9, reached=True)


def test_a_threshold_that_is_not_reached_costs_the_whole_run():
    run = run_of([0.4, 0.6, 0.5], until=[10, 20, 30], validation=[1, 1, 1])
    assert benchmark.cost(run, 60.1) == Cost(epoch=3, cpu=30, training=27, reached=False)


def test_an_accuracy_in_float32_reaches_the_threshold_that_it_is():
    accuracy = float(np.float32(0.7))
    assert accuracy < 0.7
    assert benchmark.cost([Epoch(accuracy, 1, 0)], 70).reached
    one_less = float(np.float32(3499 / 5000))
    assert not benchmark.cost([Epoch(one_less, 1, 0)], 70).reached


def reached(cpu, training=None):
    return Cost(3, cpu, cpu if training is None else training, True)


def missed(cpu):
    return Cost(9, cpu, cpu, False)


def test_a_ratio_is_a_lower_bound_where_only_the_example_falls_short():
    pair = Pair(reached(60, training=50), reached(20, training=10))
    assert (pair.ratio(), pair.ratio("training")) == (3, 5)
    assert "over" not in benchmark.line(85, 0, "fast", 10, pair)
    pair = Pair(missed(60), reached(20))
    assert pair.ratio() == 3
    assert "over 3.00" in benchmark.line(85, 0, "fast", 10, pair)
    pair = Pair(reached(60), missed(20))
    assert (pair.ratio(), pair.ratio("training")) == (None, None)
    assert "not reached" in benchmark.line(85, 0, "fast", 10, pair)


def test_the_length_with_the_least_time_counts_for_each_threshold():
    example = run_of([0.5, 0.8], [100, 200], [0, 0])
    short = run_of([0.3, 0.6], [10, 20], [0, 0])
    long = run_of([0.2, 0.4, 0.8], [10, 20, 30], [0, 0, 0])
    ours = {("fast", 2): [short], ("fast", 3): [long], ("one-cycle", 1): [short[:1]]}
    length, [pair] = benchmark.pairs([example], ours, 50, "fast")
    assert (length, pair.ratio()) == (2, 5)
    length, [pair] = benchmark.pairs([example], ours, 80, "fast")
    assert (length, pair.ratio()) == (3, pytest.approx(200 / 30))


def test_a_length_that_misses_with_one_seed_loses_to_one_that_does_not():
    costs = {5: [reached(10), missed(10)], 8: [reached(40), reached(40)]}
    assert benchmark.best_length(costs) == 8
    assert benchmark.best_length({5: [missed(10)], 8: [missed(5)]}) == 8


def test_the_interval_is_students_over_logarithms():
    ratios = [2, 3, 4, 5, 6]
    logs = np.log(ratios)
    half = 2.776445 * logs.std(ddof=1) / math.sqrt(5)
    expected = np.exp([logs.mean() - half, logs.mean() + half])
    assert benchmark.interval(ratios) == pytest.approx(expected, rel=1e-6)
    assert benchmark.interval([4, 4, 4]) == pytest.approx((4, 4))


def test_seeds_together_are_a_geometric_mean_with_an_interval():
    found = [Pair(reached(20), reached(10)), Pair(reached(80), reached(10))]
    [line] = benchmark.summary(50, "fast", found)
    assert line.startswith("50 %, fast: geometric mean 4.00, 95 % interval ")
    assert list(benchmark.summary(50, "fast", found[:1])) == []
    found.append(Pair(reached(20), missed(10)))
    [line] = benchmark.summary(50, "fast", found)
    assert "4.00 of 2 pairs; fast fell short in 1, the example in 0" in line
    assert "interval " not in line
    [line] = benchmark.summary(50, "fast", [*found[:2], Pair(missed(40), reached(10))])
    assert "4.00 of 3 pairs; fast fell short in 0, the example in 1" in line


def test_what_passes():
    fine = [Pair(reached(20), reached(10)), Pair(reached(80), reached(10))]
    assert benchmark.failure(85, "fast", fine, at_least=4) is None
    assert "expected at least 4.1 times" in benchmark.failure(85, "fast", fine, at_least=4.1)
    assert "1 of 3" in benchmark.failure(
        85, "fast", [*fine, Pair(reached(99), missed(1))], at_least=1
    )
    bound = [Pair(missed(60), reached(10))]
    assert benchmark.failure(85, "fast", bound, at_least=6) is None
    assert "--max-epochs" in benchmark.failure(85, "fast", bound, at_least=7)


# The runs


def test_the_clock_counts_from_its_making_and_ends_a_run_at_its_threshold(monkeypatch):
    moments = iter([100, 115, 120, 135, 140])
    monkeypatch.setattr(benchmark, "time", SimpleNamespace(process_time=lambda: next(moments)))
    run, model = [], SimpleNamespace(stop_training=False)
    clock = benchmark.clock(run, stop_at=50)
    clock.set_model(model)
    clock.on_test_begin()
    clock.on_test_end({"accuracy": 0.4})
    assert not model.stop_training
    clock.on_test_begin()
    clock.on_test_end({"accuracy": 0.5})
    assert run == [Epoch(0.4, until=20, validation=5), Epoch(0.5, until=40, validation=5)]
    assert model.stop_training


def tiny(*args, **kwargs):
    """Return a network that is built at once, in place of a residual one."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="Tiny")


def whitenable(*args, **kwargs):
    """Return such a network that begins with patches, as the recipe fast wants it."""
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(24, 2)(inputs)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="Tiny")


@pytest.fixture
def made(monkeypatch):
    """Return a list of what a run makes, in order: its clock and its network, which is tiny."""
    made = []

    def noted(function):
        return lambda *args, **kwargs: made.append(function(*args, **kwargs)) or made[-1]

    monkeypatch.setattr(benchmark, "clock", noted(benchmark.clock))
    monkeypatch.setattr(example_code, "copied_v1", noted(tiny))
    monkeypatch.setattr(cifar, "resnet_v1", noted(tiny))
    monkeypatch.setattr(fast, "resnet_fast", noted(whitenable))
    return made


@pytest.fixture
def options():
    return benchmark.parse(["--short", "--threshold", "99", "--max-epochs", "2"])


def check_times(run):
    """Assert that each validation is a part of what the clock counts for its epoch."""
    starts = [0, *(epoch.until for epoch in run)]
    for start, epoch in zip(starts, run, strict=False):
        assert 0 < epoch.validation < epoch.until - start


def arrays():
    parts = DATA.train, DATA.validation
    return [array for part in parts for array in (part.images, part.labels)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_trains_at_its_schedules_rates(options, made, monkeypatch):
    monkeypatch.setattr(benchmark, "example_rate", lambda epoch: 1e-3 / 2**epoch)
    run = benchmark.train_example(options, 0, *arrays())
    assert len(run) == 2
    check_times(run)
    clock, model = made  # Building counts.
    assert clock.model is model
    assert float(model.optimizer.learning_rate) == pytest.approx(5e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_ends_at_its_highest_threshold(options, made):
    options.max_epochs, options.threshold = 3, [0]
    assert len(benchmark.train_example(options, 0, *arrays())) == 1
    options.threshold = [0, 100]
    assert len(benchmark.train_example(options, 0, *arrays())) == 3


@pytest.mark.parametrize("name", ["one-cycle", "fast"])
def test_ours_are_their_recipes_timed_from_before_they_are_built(options, made, monkeypatch, name):
    records, train = [], training.train

    def remembered(*args, **kwargs):
        run = train(*args, **kwargs)
        records.append(run.record)
        return run

    monkeypatch.setattr(training, "train", remembered)
    run, precision = benchmark.train_ours(options, 7, DATA, name, epochs=3)
    [record] = records
    expected = {
        "one-cycle": replace(
            ONE_CYCLE, epochs=3, peak=0.4, sizes=((0.4, 0.5), (0.7, 0.75), (1, 1))
        ),
        "fast": replace(FAST, epochs=3),
    }
    assert record["recipe"] == expected[name].as_dict()
    assert (record["seed"], record["execution"]["precision"]) == (7, precision)
    assert [epoch.accuracy for epoch in run] == record["history"]["val_accuracy"]
    check_times(run)
    assert [type(each).__name__ for each in made] == ["Clock", "Functional"]
    # Building counts; only what is saved after the last validation does not.
    assert run[-1].until > sum(record["history"]["cpu_seconds"][:-1])


def test_a_run_of_ours_that_was_stopped_does_not_count(options, made, monkeypatch):
    stopped = SimpleNamespace(record={"stopped": "by hand in epoch 2"})
    monkeypatch.setattr(training, "train", lambda *args, **kwargs: stopped)
    with pytest.raises(RuntimeError, match="by hand in epoch 2"):
        benchmark.train_ours(options, 0, DATA, "one-cycle", epochs=3)


def test_the_example_is_the_one_that_is_compared_elsewhere():
    assert benchmark.AUGMENTATION == input_pipeline.EXAMPLE
    for epoch in range(200):
        assert benchmark.example_rate(epoch) == pytest.approx(schedules.example(epoch))


def test_the_mean_training_image_is_subtracted_from_both():
    train, validation = benchmark.subtracted(DATA.train.images, DATA.validation.images)
    assert train.dtype == validation.dtype == np.float32
    np.testing.assert_allclose(train.mean(axis=0), 0, atol=1e-6)
    mean = DATA.train.images.mean(axis=0)
    np.testing.assert_allclose(validation, (DATA.validation.images - mean) / 255, atol=1e-6)


def test_the_script_itself_imports_neither_tensorflow_nor_the_library():
    program = (
        "import sys, time_to_accuracy; "
        "sys.exit(str({'keras', 'tensorflow', 'resnet_lib'} & set(sys.modules) or 0) != '0')"
    )
    folder = Path(benchmark.__file__).parent
    assert subprocess.run([sys.executable, "-c", program], cwd=folder).returncode == 0


def test_the_processes_get_their_environment(monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    names = ["TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND"]
    assert [benchmark.alone(os.getenv, name) for name in names] == [None, None]
    assert benchmark.alone(os.getpid) != os.getpid()


# Options, and what is compared


def test_the_defaults_are_those_of_the_form():
    full, short = benchmark.parse([]), benchmark.parse(["--short", "--threshold", "55", "40", "40"])
    assert (full.depth, full.threshold) == (20, [75, 80, 85, 88, 90])
    assert (full.one_cycle_epochs, full.fast_epochs, full.widths) == ([10], [4, 8], (48, 96, 192))
    assert (full.max_epochs, full.seeds, full.at_least, full.images) == (40, 1, 5.0, 45_000)
    assert (short.depth, short.seeds, short.images) == (8, 5, 10_000)
    assert short.threshold == [40, 55]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--threshold", "0"),
        ("--threshold", "85", "100"),
        ("--threshold", "nan"),
        ("--one-cycle-epochs", "5", "0"),
        ("--max-epochs", "0"),
        ("--seeds", "-1"),
        ("--at-least", "0"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.parse(wrong)
    assert stop.value.code == 2
    assert f"argument {wrong[0]}: expected" in capsys.readouterr().err


@pytest.fixture
def asked(monkeypatch):
    """Return a list that grows by what is run: 40 s to 50 %, against 8 and 2 s."""
    asked = []

    def alone(work, options, seed, *args):
        if work is benchmark.train_example:
            asked.append((seed, "example"))
            return run_of([0.3, 0.4, 0.45, 0.5], [10, 20, 30, 40], [5, 5, 5, 5])
        asked.append((seed, *args[-2:]))
        cpu = [4, 8] if args[-2] == "one-cycle" else [1, 2]
        return run_of([0.2, 0.6], cpu, [0.5, 0.5]), "mixed_bfloat16"

    source = replace(DATA, source="CIFAR-10 (a copy)")
    monkeypatch.setattr(benchmark, "pictures", lambda options: source)
    monkeypatch.setattr(benchmark, "alone", alone)
    monkeypatch.setattr(train_step, "flags", set)
    return asked


def test_each_seed_has_the_example_and_every_length(asked):
    options = ["--one-cycle-epochs", "8", "4", "--fast-epochs", "2"]
    benchmark.main(["--short", "--seeds", "2", *options])
    assert asked == [
        (seed, *rest)
        for seed in (0, 1)
        for rest in (("example",), ("one-cycle", 4), ("one-cycle", 8), ("fast", 2))
    ]


def test_what_was_compared_is_printed(asked, capsys):
    arguments = ["--short", "--seeds", "1", "--threshold", "50"]
    assert benchmark.main([*arguments, "--at-least", "19"]) is None
    out = capsys.readouterr().out
    assert "CIFAR-10 (a copy)" in out
    assert "64 training and 20 validation images" in out
    assert "AVX512-VNNI or better, which this one does not have" in out
    assert "peak 0.4\nfast: 5 epochs\nours in mixed_bfloat16\n" in out
    assert "time for choosing the lengths of our runs is not counted" in out
    rows = [" ".join(row.split()) for row in out.splitlines()[-2:]]
    assert rows == [
        "50 % 0 40.0 s, epoch 4 one-cycle 8.0 s, epoch 2 of 5 5.00 2.86",
        "50 % 0 40.0 s, epoch 4 fast 2.0 s, epoch 2 of 5 20.00 20.00",
    ]
    failed = benchmark.main([*arguments, "--at-least", "21"])
    assert failed.startswith("one-cycle: 5.00 times at 50 %")
    assert "; fast: 20.00 times at 50 %, expected at least 21 times" in failed


def test_the_highest_threshold_decides(asked, capsys):
    arguments = ["--short", "--threshold", "50", "30", "--at-least", "19"]
    assert benchmark.main(arguments) is None
    assert "1.25" in capsys.readouterr().out  # 10 s against 8 s, at 30 %

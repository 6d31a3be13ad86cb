"""The benchmark of CPU seconds until an accuracy: its arithmetic, its options, what it repeats."""

import json
import math
import subprocess
import sys
from pathlib import Path

import example_code
import input_pipeline
import keras
import numpy as np
import pytest
import time_to_accuracy as benchmark
from time_to_accuracy import Clock, Cost, Pair, Run

from resnet_lib import cifar, datasets, schedules

DATA = datasets.shapes(train=64, validation=20, test=20)


# Arithmetic


def test_the_first_epoch_at_or_above_the_threshold_counts():
    run = Run([0.4, 0.85, 0.7, 0.9], until=[10, 21, 33, 46], validation=[1, 2, 3, 4])
    assert benchmark.cost(run, 85) == Cost(epoch=2, cpu=21, training=18, reached=True)
    assert benchmark.cost(run, 86) == Cost(epoch=4, cpu=46, training=36, reached=True)
    assert benchmark.cost(run, 40) == Cost(epoch=1, cpu=10, training=9, reached=True)


def test_a_threshold_that_is_not_reached_costs_the_whole_run():
    run = Run([0.4, 0.6, 0.5], until=[10, 20, 30], validation=[1, 1, 1])
    assert benchmark.cost(run, 60.1) == Cost(epoch=3, cpu=30, training=27, reached=False)


def test_an_accuracy_in_float32_reaches_the_threshold_that_it_is():
    accuracy = float(np.float32(0.7))
    assert accuracy < 0.7
    assert benchmark.cost(Run([accuracy], [1], [0]), 70).reached
    one_less = float(np.float32(3499 / 5000))
    assert not benchmark.cost(Run([one_less], [1], [0]), 70).reached


def reached(cpu, training=None):
    return Cost(3, cpu, cpu if training is None else training, True)


def missed(cpu):
    return Cost(9, cpu, cpu, False)


def test_a_ratio_is_a_lower_bound_where_only_the_example_falls_short():
    pair = Pair(reached(60, training=50), reached(20, training=10))
    assert (pair.ratio, pair.training_ratio, pair.is_exact) == (3, 5, True)
    pair = Pair(missed(60), reached(20))
    assert (pair.ratio, pair.is_exact) == (3, False)
    assert "over 3.00" in benchmark.line(85, 0, 10, pair)
    pair = Pair(reached(60), missed(20))
    assert (pair.ratio, pair.training_ratio, pair.is_exact) == (None, None, False)
    assert "not reached" in benchmark.line(85, 0, 10, pair)


def test_the_length_with_the_least_time_counts_for_each_threshold():
    example = Run([0.5, 0.8], [100, 200], [0, 0])
    short = Run([0.3, 0.6], [10, 20], [0, 0])
    long = Run([0.2, 0.4, 0.8], [10, 20, 30], [0, 0, 0])
    ours = {2: [short], 3: [long]}
    length, [pair] = benchmark.pairs([example], ours, 50)
    assert (length, pair.ratio) == (2, 5)
    length, [pair] = benchmark.pairs([example], ours, 80)
    assert (length, pair.ratio) == (3, pytest.approx(200 / 30))


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
    [line] = benchmark.summary(50, found)
    assert line.startswith("50 %: geometric mean 4.00, 95 % interval ")
    assert list(benchmark.summary(50, found[:1])) == []
    found.append(Pair(reached(20), missed(10)))
    [line] = benchmark.summary(50, found)
    assert "4.00 of 2 pairs; one-cycle fell short in 1, the example in 0" in line
    assert "interval " not in line


def test_what_passes():
    fine = [Pair(reached(20), reached(10)), Pair(reached(80), reached(10))]
    assert benchmark.failure(85, fine, at_least=4) is None
    assert "expected at least 4.1 times" in benchmark.failure(85, fine, at_least=4.1)
    assert "1 of 3" in benchmark.failure(85, [*fine, Pair(reached(99), missed(1))], at_least=1)
    bound = [Pair(missed(60), reached(10))]
    assert benchmark.failure(85, bound, at_least=6) is None
    assert "--max-epochs" in benchmark.failure(85, bound, at_least=7)


# The clock


def ticking(clock, *moments):
    """Let a clock see moments: of an epoch's begin, and of its validation's begin and end."""
    times = iter(moments)
    clock.now = lambda: next(times)


def test_the_clock_counts_from_its_making_and_goes_on_after_the_epochs_kept(tmp_path):
    path = tmp_path / "clock.json"
    clock = Clock(path, now=lambda: 100)
    ticking(clock, 115, 120, 135, 140, 155, 160)
    for epoch in range(3):
        clock.on_epoch_begin(epoch)
        clock.on_test_begin()
        clock.on_test_end()
    assert json.loads(path.read_text()) == {"until": [20, 40, 60], "validation": [5, 5, 5]}
    resumed = Clock(path, now=lambda: 7)
    ticking(resumed, 16, 17)
    resumed.on_epoch_begin(2)  # The third epoch was not saved and is repeated.
    resumed.on_test_begin()
    resumed.on_test_end()
    assert json.loads(path.read_text()) == {"until": [20, 40, 50], "validation": [5, 5, 1]}


def test_what_is_done_while_the_clock_is_stopped_does_not_count(tmp_path):
    clock = Clock(tmp_path / "clock.json", now=lambda: 0)
    ticking(clock, 10, 40, 45, 50)
    with clock.stopped():
        pass
    clock.on_epoch_begin(0)
    clock.on_test_begin()
    clock.on_test_end()
    assert clock.times == {"until": [20], "validation": [5]}


# The runs


def tiny(*args, **kwargs):
    """Return a network that is built at once, in place of a residual one."""
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(inputs))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="Tiny")


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Return the example's job and ours, on few images, with tiny networks."""
    monkeypatch.setattr(benchmark, "pictures", lambda settings: DATA)
    monkeypatch.setattr(example_code, "copied_v1", tiny)
    monkeypatch.setattr(cifar, "resnet_v1", tiny)
    options = ["--short", "--seeds", "1", "--one-cycle-epochs", "3", "--threshold", "99"]
    options += ["--max-epochs", "2", "--out", str(tmp_path / "runs")]
    path = {"pictures": str(tmp_path / "pictures.npz")}
    return [job | path for job in benchmark.jobs(benchmark.parse(options))]


def files(job):
    folder = Path(job["folder"])
    return [json.loads((folder / name).read_text()) for name in ("record.json", "clock.json")]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_stops_goes_on_and_repeats_what_was_not_saved(jobs):
    job = jobs[0]
    benchmark.save_pictures(job)
    assert benchmark.train_example(job) == 0
    record, clock = files(job)
    assert record["dataset"]["sha256"] == DATA.sha256
    assert record["dataset"]["source"] == DATA.source
    assert set(record["history"]) == set(benchmark.HISTORY)
    assert {len(values) for values in record["history"].values()} == {2}
    assert record["history"]["learning_rate"] == pytest.approx([1e-3, 1e-3])
    assert 0 < clock["validation"][0] < clock["until"][0] < clock["until"][1]
    assert benchmark.is_finished(job)

    job["max_epochs"] = 3
    assert not benchmark.is_finished(job)
    folder = Path(job["folder"])
    (folder / "epoch-00002.weights.h5").rename(folder / "epoch-00001.weights.h5")
    benchmark.train_example(job)
    resumed, later = files(job)
    assert len(resumed["history"]["loss"]) == len(later["until"]) == len(later["validation"]) == 3
    assert resumed["history"]["loss"][0] == record["history"]["loss"][0]
    assert resumed["history"]["loss"][1] != record["history"]["loss"][1]
    assert later["until"][0] == clock["until"][0]
    assert [path.name for path in folder.glob("epoch-*")] == ["epoch-00003.weights.h5"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_example_ends_at_its_threshold(jobs):
    job = jobs[0] | {"max_epochs": 9, "stop_at": 0}
    benchmark.save_pictures(job)
    benchmark.train_example(job)
    assert len(files(job)[0]["history"]["loss"]) == 1
    assert benchmark.is_finished(job)


def test_ours_leaves_a_record_and_a_clock(jobs):
    job = jobs[1]
    assert benchmark.train_one_cycle(job) == 0
    record, clock = files(job)
    assert (record["recipe"]["epochs"], record["recipe"]["peak"]) == (3, 0.4)
    assert record["recipe"]["sizes"] == [[0.4, 0.5], [0.7, 0.75], [1, 1]]
    assert len(record["history"]["cpu_seconds"]) == len(clock["until"]) == 3
    # Building counts; only what is saved after the last validation does not.
    assert clock["until"][-1] > sum(record["history"]["cpu_seconds"][:-1])
    assert benchmark.is_finished(job)


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
    assert not {"TF_ENABLE_ONEDNN_OPTS", "KERAS_BACKEND"} & set(
        benchmark.clean_environment("default")
    )
    assert benchmark.clean_environment("0")["TF_ENABLE_ONEDNN_OPTS"] == "0"


# Options, and what is repeated


def test_the_defaults_are_those_of_the_form():
    full, short = benchmark.parse([]), benchmark.parse(["--short", "--threshold", "55", "40", "40"])
    assert (full.depth, full.threshold, full.one_cycle_epochs) == (20, [75, 80, 85], [10])
    assert (full.max_epochs, full.seeds, full.at_least, full.images) == (40, 1, 5.0, None)
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
        ("--onednn", "2"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.parse(wrong)
    assert stop.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_each_seed_has_the_example_and_every_length():
    options = benchmark.parse(["--short", "--seeds", "2", "--one-cycle-epochs", "8", "4"])
    jobs = list(benchmark.jobs(options))
    kinds = [
        (job["settings"]["seed"], job["settings"]["kind"], job["settings"].get("epochs"))
        for job in jobs
    ]
    assert kinds == [
        (seed, *rest)
        for seed in (0, 1)
        for rest in (("example", None), ("one-cycle", 4), ("one-cycle", 8))
    ]
    assert len({job["folder"] for job in jobs}) == 6
    assert jobs == json.loads(json.dumps(jobs)), "a record holds the settings as they are"


def finished(job, accuracy, cpu, sha="a" * 64):
    """Put a finished run into a job's folder."""
    folder = Path(job["folder"])
    folder.mkdir(parents=True)
    record = {
        "notes": job["settings"],
        "dataset": {"source": "CIFAR-10 (a copy)", "sha256": sha, "sizes": [10_000, 2_000, 10]},
        "environment": {"cores": 2, "avx512_vnni": False, "tensorflow": "2", "keras": "3"},
        "history": {"val_accuracy": accuracy},
    }
    until = [cpu * epoch for epoch in range(1, len(accuracy) + 1)]
    (folder / "record.json").write_text(json.dumps(record))
    times = {"until": until, "validation": [cpu / 2] * len(until)}
    (folder / "clock.json").write_text(json.dumps(times))


@pytest.fixture
def pair(tmp_path, monkeypatch):
    """Return arguments and two finished runs: 40 s to 50 %, against 8 s."""
    monkeypatch.setattr(benchmark, "execute", lambda kind, job: pytest.fail(f"{kind} is repeated"))
    arguments = ["--short", "--seeds", "1", "--threshold", "50", "--out", str(tmp_path)]
    example, ours = benchmark.jobs(benchmark.parse(arguments))
    finished(example, [0.3, 0.4, 0.45, 0.5], cpu=10)
    finished(ours, [0.2, 0.6], cpu=4)
    return arguments, example, ours


def test_finished_runs_are_not_repeated_but_compared(pair, capsys):
    arguments = pair[0]
    assert benchmark.main([*arguments, "--at-least", "4.9"]) == 0
    out = capsys.readouterr().out
    assert "CIFAR-10 (a copy)" in out
    assert "AVX512-VNNI or better, which this one does not have" in out
    assert "time for choosing the length of the one-cycle run is not counted" in out
    table_row = " ".join(out.splitlines()[-1].split())
    assert table_row == "50 % 0 40.0 s, epoch 4 8.0 s, epoch 2 of 5 5.00 5.00"
    assert benchmark.main([*arguments, "--at-least", "5.1"]) == 1
    assert "expected at least 5.1 times" in capsys.readouterr().out


def test_a_run_with_other_settings_or_images_is_refused(pair):
    arguments, _, ours = pair
    path = Path(ours["folder"], "record.json")
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"dataset": record["dataset"] | {"sha256": "b"}}))
    with pytest.raises(SystemExit, match="same images"):
        benchmark.main(arguments)
    path.write_text(json.dumps(record | {"notes": record["notes"] | {"peak": 0.3}}))
    with pytest.raises(SystemExit, match="Remove the folder"):
        benchmark.main(arguments)


def test_a_run_that_was_stopped_or_fell_short_is_not_finished(pair):
    _, example, ours = pair
    assert benchmark.is_finished(example)
    assert not benchmark.is_finished(example | {"stop_at": 60})
    assert benchmark.is_finished(example | {"stop_at": 60, "max_epochs": 4})
    path = Path(ours["folder"], "record.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | {"stopped": "by hand in epoch 2"}))
    assert not benchmark.is_finished(ours)
    assert not benchmark.is_finished(ours | {"folder": "nowhere"})

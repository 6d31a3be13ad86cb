"""The benchmark that trains the copied example's table: its order, its going on, its figures."""

import dataclasses
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import gpu as benchmark
import pytest
from gpu import Planned
from small import DATA

from resnet_lib import paper, recipes, records
from resnet_lib.records import Run

SCRIPT = Path(benchmark.__file__)
TINY = [
    Planned("resnet8v1", "standard", "example", 3),
    Planned("resnet11v2", "example", "example", 3),
]
HISTORY = {name: [] for name in ("loss", "val_accuracy", "cpu_seconds", "seconds")}
REHEARSAL = ["--cpu", "--epochs", "3"]


@pytest.fixture
def tiny(monkeypatch):
    """Small networks and pictures in place of the plan's."""
    monkeypatch.setattr(benchmark, "PLAN", TINY)
    monkeypatch.setattr(benchmark, "pictures", lambda options: DATA)
    monkeypatch.setattr(benchmark, "tidy", lambda: None)  # Other tests' networks stay.


# The plan


def test_the_short_runs_come_first_and_then_the_example():
    plan = benchmark.PLAN
    assert [each.name for each in plan[:3]] == [
        *("resnet20v1-one-cycle-30", "resnet20v1-one-cycle-200", "resnet50-random-224")
    ]
    rest = plan[3:]
    assert {(each.form, each.recipe, each.epochs) for each in rest} == {("example", "example", 200)}
    depths = {"v1": (20, 32, 44, 56, 110, 164), "v2": (20, 56, 110, 164, 1001)}
    ids = {f"resnet{depth}{kind}" for kind, found in depths.items() for depth in found}
    assert {each.model for each in rest} == ids
    assert rest[-1].model == "resnet1001v2"
    assert len({each.name for each in plan}) == len(plan)


def test_runs_that_are_asked_for_keep_the_plans_order():
    asked = ["resnet32v1-example-200", "resnet20v1-one-cycle-30"]
    found = benchmark.chosen(benchmark.parse(["runs", "--only", *asked]))
    assert [each.name for each in found] == asked[::-1]


def test_a_rehearsal_is_short_and_elsewhere():
    options = benchmark.parse(["runs", "--cpu"])
    assert (options.limit, options.batch) == (1000, 4)
    plan = benchmark.chosen(options)
    assert {benchmark.epochs_of(each, options) for each in plan} == {2}
    assert options.again == "python benchmarks/gpu.py runs/rehearsal"
    options = benchmark.parse(["runs"])
    assert (options.limit, options.batch) == (None, 256)
    assert [benchmark.epochs_of(each, options) for each in plan[:3]] == [30, 200, 3]


@pytest.mark.parametrize(
    "wrong", [("--minutes", "0"), ("--limit", "9"), ("--epochs", "1"), ("--only", "resnet7v9")]
)
def test_options_that_make_no_sense_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.parse(["runs", *wrong])
    assert stop.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_without_a_gpu_nothing_is_made(tiny, tmp_path, capsys):
    assert benchmark.main([str(tmp_path / "runs")]) == 1
    out, err = capsys.readouterr()
    assert "finds no GPU here, so nothing was trained or measured" in err
    assert not out
    assert not (tmp_path / "runs").exists()


def test_a_table_of_nothing_is_a_sentence(tmp_path, capsys):
    assert benchmark.main([str(tmp_path), "--table"]) == 1
    assert "without any record.json in it" in capsys.readouterr().err


def test_the_table_has_the_plans_runs_in_its_order(tmp_path):
    names = ["resnet20v1-one-cycle-30", "resnet32v1-example-200", "mine"]
    for name in names:
        (tmp_path / name).mkdir()
        records.save(made().record | {"history": HISTORY}, tmp_path / name)
    found = [Path(path).name for path in benchmark.runs_of(tmp_path)]
    assert found == names[:2]


# Training


@pytest.fixture
def stopping(monkeypatch):
    """Return a function: the run is sent a signal after so many of its epochs."""
    make = benchmark.make_clock

    def stop_after(epochs, number):
        def clock(before):
            made = make(before)
            kept = made.on_train_batch_end

            def on_train_batch_end(batch, logs=None):
                kept(batch, logs)
                if len(made.seconds) == epochs and batch == 0:
                    signal.raise_signal(number)

            made.on_train_batch_end = on_train_batch_end
            return made

        monkeypatch.setattr(benchmark, "make_clock", clock)

    yield stop_after
    monkeypatch.setattr(benchmark, "make_clock", make)


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on(tiny, stopping, monkeypatch, tmp_path, capsys):
    command = [str(tmp_path), *REHEARSAL]
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(number) for number in numbers]
    stopping(2, signal.SIGINT)
    assert benchmark.main(command) == 130
    assert [signal.getsignal(number) for number in numbers] == before
    out = capsys.readouterr().out
    assert f"To go on: python benchmarks/gpu.py {shlex.join(command)}\n" in out
    folder = tmp_path / "rehearsal"
    first, second = (folder / planned.name for planned in TINY)
    stopped = benchmark.known(first)
    assert not benchmark.is_finished(stopped)
    assert len(stopped.history["loss"]) == 2
    assert not second.exists()

    stopping(99, signal.SIGINT)
    assert benchmark.main(command) == 0
    out = capsys.readouterr().out
    assert "figure of a GPU" in out.splitlines()[0]
    assert "All is done" in out
    for out_folder in (first, second):
        run = records.load(out_folder)
        assert benchmark.is_finished(run)
        assert len(run.record["notes"]["training_seconds"]) == 3
        assert len(run.history["seconds"]) == 3
        assert all(
            0 < steps < epoch
            for steps, epoch in zip(
                run.record["notes"]["training_seconds"], run.history["seconds"], strict=True
            )
        )
    resumed = records.load(first)
    assert resumed.history["loss"][:2] == stopped.history["loss"]
    assert [each["epoch"] for each in resumed.record["resumed"]] == [2]

    monkeypatch.setattr(benchmark, "trained", None)  # Nothing is trained again.
    assert benchmark.main(command) == 0
    assert benchmark.main([str(folder), "--table"]) == 0
    lines = capsys.readouterr().out.splitlines()
    [shown] = [line for line in lines if line.startswith("| ResNet8v1 |")]
    assert "| 3 |" in shown
    assert "no figure of a GPU |" in shown


def test_what_fails_is_noted_and_left_out(tiny, monkeypatch, tmp_path, capsys):
    tried = []

    def trained(planned, *args):
        tried.append(planned.name)
        raise MemoryError("The device's memory does not suffice\nfor batches of 32")

    monkeypatch.setattr(benchmark, "trained", trained)
    names = [planned.name for planned in TINY]
    command = [str(tmp_path), *REHEARSAL]
    assert benchmark.main(command) == 1
    assert tried == names
    reason = "MemoryError: The device's memory does not suffice"
    assert f"{names[0]} failed: {reason}\n" in capsys.readouterr().out
    failed = tmp_path / "rehearsal" / "failed.json"
    assert json.loads(failed.read_text()) == dict.fromkeys(names, reason)
    assert benchmark.main(command) == 1
    assert tried == names
    out = capsys.readouterr().out
    assert f"{names[0]}: left out, for it failed: {reason}" in out
    assert f"All is done but what failed: {names[0]}, {names[1]}." in out
    assert benchmark.main([*command, "--retry"]) == 1
    assert tried == 2 * names


def test_a_retry_that_works_is_no_longer_a_failure(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(benchmark, "trained", lambda *args: made())
    benchmark.write_failed(tmp_path, {TINY[0].name: "MemoryError", "other": "ValueError"})
    options = benchmark.parse([str(tmp_path), "--retry"])
    benchmark.train_next(TINY[0], tmp_path, "card", options)
    assert benchmark.read_failed(tmp_path) == {"other": "ValueError"}


def test_the_end_of_the_time_is_no_failure(tiny, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(benchmark, "trained", lambda *args: time.sleep(60))
    start = time.perf_counter()
    assert benchmark.main([str(tmp_path), *REHEARSAL, "--minutes", "0.002"]) == 0
    assert time.perf_counter() - start < 30
    assert "The 0.002 minutes are over. To go on: " in capsys.readouterr().out
    assert not (tmp_path / "rehearsal" / "failed.json").exists()


def test_signals_and_the_timer_are_as_they_were_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with benchmark.Stop(minutes=10):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 500
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert signal.getsignal(signal.SIGTERM) == before


def test_random_pictures_are_of_imagenets_size():
    options = benchmark.parse(["runs", "--batch", "2"])
    data = benchmark.random_pictures(options)
    assert data.train.images.shape == (40, 224, 224, 3)
    assert data.num_classes == 1000
    assert data.source == "random pictures of 224x224"


@pytest.mark.slow
def test_the_speed_of_random_pictures_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark, "tidy", lambda: None)
    smaller = Planned("resnet8v1", "standard", "one-cycle", 3, random=True)
    monkeypatch.setattr(benchmark, "PLAN", [smaller])
    command = [str(tmp_path), *REHEARSAL, "--batch", "2"]
    assert benchmark.main(command) == 0
    run = records.load(tmp_path / "rehearsal" / benchmark.RANDOM)
    assert benchmark.is_finished(run)
    assert benchmark.figures(run).speed > 0
    assert "test_confusion" not in run.record["results"]
    cells = benchmark.row(run)
    assert cells[5:8] == ("–", "–", "–")
    assert "ResNet8v1, one-cycle, batches of 2, rehearsal" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.images
def test_the_command_ends_on_sigterm_and_goes_on(tmp_path):
    # As the script begins, with a smaller network in place of the plan's.
    script = f"import gpu, sys; gpu.prepare(); gpu.PLAN = [gpu.{TINY[0]}]; sys.exit(gpu.main())"
    command = [sys.executable, "-c", script, str(tmp_path), "--cpu", "--limit", "64"]
    command += ["--epochs", "3"]
    folder = tmp_path / "rehearsal" / TINY[0].name
    environment = {key: value for key, value in os.environ.items() if key != "KERAS_BACKEND"}
    environment["PYTHONPATH"] = str(SCRIPT.parent)
    running = dict(env=environment, cwd=tmp_path, text=True, stdout=subprocess.PIPE)
    with subprocess.Popen(command, **running) as process:
        progress = folder / "checkpoints" / "record.json"
        while process.poll() is None and not epochs_in(progress):
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=300)[0]
    # It may have been so late that all was done.
    assert process.returncode in (143, 0), out
    if process.returncode:
        assert "Stopped by SIGTERM. To go on: python benchmarks/gpu.py" in out
    done = subprocess.run(command, timeout=600, **running)
    assert done.returncode == 0, done.stdout
    run = records.load(folder)
    assert len(run.history["loss"]) == 3
    assert run.record["environment"]["keras_backend"] == "jax"
    assert "CIFAR-10" in run.source


def epochs_in(path):
    """Return how many epochs a record has; 0 where there is none yet."""
    return len(json.loads(path.read_text())["history"]["loss"]) if path.is_file() else 0


# Figures


def made(model="ResNet20v1", recipe=recipes.EXAMPLE, *, seconds=(9, 2, 3, 4), **changes):
    """Return a run with a record as `rl.train` writes it, as far as figures need it."""
    recipe = dataclasses.replace(recipe, epochs=changes.pop("epochs", len(seconds)))
    record = {
        "model": {"id": model.lower(), "name": model},
        "recipe": recipe.as_dict(),
        "dataset": {
            "source": "CIFAR-10",
            "sizes": [45000, 5000, 10000],
            "image_shape": [32, 32, 3],
        },
        "history": {
            name: [float(each) for each in seconds] for name in ("loss", "seconds", "val_accuracy")
        },
        "results": {"test_accuracy_last": 0.9216, "test_accuracy_best": 0.92},
        "notes": {
            "form": "example",
            "card": "NVIDIA Test 1",
            "training_seconds": [each / 2 for each in seconds],
        },
    }
    return Run(record | changes)


def test_epochs_that_compile_do_not_count():
    assert benchmark.typical(made(), [9, 2, 3, 4]) == 3
    assert benchmark.typical(made(), [9]) is None
    assert benchmark.typical(made(), []) is None
    resumed = made(resumed=[{"epoch": 2, "at": ""}])
    assert benchmark.typical(resumed, [9, 2, 30, 4]) == 3
    assert benchmark.typical(made(), [9, 2, None, 4]) == 3


def test_epochs_at_a_smaller_size_do_not_count():
    run = made(recipe=recipes.ONE_CYCLE, seconds=[9, 1, 8, 3, 4, 5])
    sizes = [recipes.Recipe.from_dict(run.record["recipe"]).size(epoch) for epoch in range(6)]
    assert sizes == [0.75, 0.75, 1, 1, 1, 1]
    assert benchmark.typical(run, run.history["seconds"]) == 4


def test_the_factor_compares_pictures_a_second():
    found = benchmark.figures(made())
    assert found.epoch == 3
    assert found.speed == 45000 / 1.5
    assert found.published == paper.EXAMPLE_ACCURACY.row(20).v1_seconds == 35
    assert found.factor == pytest.approx(30000 / (50000 / 35))


def test_only_whole_cifar10_is_held_against_the_example():
    other = made().record["dataset"] | {"sizes": [1000, 100, 200]}
    for run in (made("ResNet164v2"), made("ResNet8v1"), made(dataset=other)):
        found = benchmark.figures(run)
        assert (found.published, found.factor) == (None, None)
        assert "GTX" not in benchmark.told(run)
    assert benchmark.figures(made("ResNet56v2")).published == 100


def test_a_run_is_told_beside_the_example():
    assert benchmark.told(made()) == (
        "ResNet20v1, example, batches of 32, NVIDIA Test 1: 3.00 s an epoch of 45,000 pictures, "
        "30,000 pictures a second in training steps; the example on a GTX 1080 Ti: 35 s an epoch "
        "of 50,000, 1,429 pictures a second: 21.0 times as fast"
    )


def test_the_table_is_markdown_with_its_pictures():
    short = made("ResNet1001v2", seconds=[9], epochs=200)
    del short.record["results"]
    text = benchmark.table({"one": made(), "two": short})
    assert text.splitlines() == [
        "| network | form | recipe | batch | epochs | test, last epoch | test, best epoch | "
        "the example's | s an epoch | the example's s | pictures/s | times as fast | card |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        "| ResNet20v1 | example | example | 32 | 4 | 92.16 | 92.00 | 92.16 | 3.00 | 35 | 30,000 | "
        "21.0 | NVIDIA Test 1 |",
        "| ResNet1001v2 | example | example | 32 | 1/200 | – | – | – | – | – | – | – | "
        "NVIDIA Test 1 |",
        "",
        "Pictures: CIFAR-10. Accuracies in %; the example's: after 200 epochs, as its "
        "documentation has them, with seconds on a GTX 1080 Ti.",
    ]

"""The engine: a run that is cut, interrupted, diverges or finds the disk full is not lost."""

import json
import os
import platform
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from resnet_lib import callbacks, cifar, datasets, execution, fitting, plots, records, training
from resnet_lib.__main__ import main
from resnet_lib.execution import Execution
from resnet_lib.recipes import EXAMPLE, ONE_CYCLE, PAPER

SHAPES = datasets.shapes(train=128, validation=64, test=64)
DATA = datasets.Dataset(
    *(
        datasets.Split(part.images[:, ::2, ::2].copy(), part.labels)
        for part in (SHAPES.train, SHAPES.validation, SHAPES.test)
    ),
    SHAPES.class_names,
    SHAPES.source,
)
# Most tests are about what happens around the steps: a small net, and one size of images.
SHORT = replace(ONE_CYCLE, epochs=3, batch_size=32, peak=0.05, sizes=((1, 1),))
TRAIN = [sys.executable, "-m", "resnet_lib", "train", "--dataset", "shapes", "--model", "resnet8v1"]


def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="small")


def train(out=None, recipe=SHORT, model=None, **options):
    return training.train(model or net(), DATA, recipe, out=out, progress=False, **options)


class At(keras.callbacks.Callback):
    """Does something once, after a step."""

    def __init__(self, epoch, step, act):
        super().__init__()
        self.place, self.act = (epoch, step), act

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            self.act(self.model)


def raising(error):
    def act(model):
        raise error

    return act


RESUMED = """
import hashlib, os, sys
import resnet_lib as rl
import keras
from dataclasses import replace
from resnet_lib import callbacks

class Cut(BaseException):
    pass

def net():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(8, 3, use_bias=False)(inputs)
    x = keras.layers.Dropout(0.2)(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.ReLU()(x))
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(x), name="small")

def train(out, **options):
    recipe = replace(rl.recipes.ONE_CYCLE, epochs=3, batch_size=32, ema=EMA)
    return rl.train(
        net(), DATA, recipe, out=out, seed=1, progress=False, deterministic=True, **options
    )

def told(run):
    weights = hashlib.sha256(b"".join(w.tobytes() for w in run.model.get_weights())).hexdigest()
    names = [name for name in run.history if "seconds" not in name]
    accuracy = {name: value for name, value in run.record["results"].items()}
    return weights, accuracy, {name: run.history[name] for name in names}

def cut_in(owner, method, when):
    plain, calls = getattr(owner, method), []
    def cutting(self, *args):
        calls.append(1)
        if when == "before" and len(calls) == 2:
            raise Cut
        plain(self, *args)
        if when == "after" and len(calls) == 2:
            raise Cut
    setattr(owner, method, cutting)
    return lambda: setattr(owner, method, plain)

shapes = rl.datasets.shapes(train=128, validation=64, test=64)
small = [rl.datasets.Split(part.images[:, ::2, ::2].copy(), part.labels)
         for part in (shapes.train, shapes.validation, shapes.test)]
DATA = rl.datasets.Dataset(*small, shapes.class_names, shapes.source)
END = "on_epoch_end"
PLACES = [(callbacks.Best, END, "before"), (callbacks.Recorder, END, "before"),
          (callbacks.Backup, END, "before"), (callbacks.Backup, END, "after")]
os.chdir(sys.argv[1])
for EMA in (None, 0.8):
    whole = told(train(f"whole{EMA}"))
    print("weights", whole[0])
    if len(sys.argv) > 2:
        continue
    for number, place in enumerate(PLACES if EMA is None else PLACES[2:3]):
        restore = cut_in(*place)
        try:
            train(f"cut{EMA}{number}")
            raise SystemExit(f"was not cut: {place}")
        except Cut:
            pass
        restore()
        resumed = told(train(f"cut{EMA}{number}", resume=True))
        assert resumed == whole, (EMA, place, resumed, whole)
        print("equal")
"""


def test_a_run_cut_anywhere_and_resumed_ends_as_an_uninterrupted_one(tmp_path):
    """Bit for bit, dropout, sizes, averaged weights and all; and so does the same run again."""
    said = {}
    for name in ("cut", "again"):
        (tmp_path / name).mkdir()
        command = [sys.executable, "-c", RESUMED, str(tmp_path / name)]
        command += ["only whole runs"] if name == "again" else []
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        said[name] = process.stdout.split()
    assert said["cut"].count("equal") == 5
    weights = [word for word in said["cut"] if len(word) == 64]
    assert len(set(weights)) == 2, "averaged weights are others"
    assert [word for word in said["again"] if len(word) == 64] == weights, "the same bits again"


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_killed_command_is_resumed(tmp_path):
    out = tmp_path / "run"
    command = [
        *TRAIN,
        "--recipe",
        "one-cycle",
        "--epochs",
        "4",
        "--limit",
        "512",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(out / fitting.BACKUP / "epoch-00001.weights.h5", process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (out / "record.json").exists()
    process = subprocess.run([*command, "--resume"], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    record = records.load(out).record
    assert len(record["history"]["loss"]) == 4
    assert record["resumed"][0]["epoch"] >= 1
    assert not (out / fitting.BACKUP).exists(), "a finished recipe keeps no backup"


def test_ctrl_c_ends_a_command_with_what_was_learnt(tmp_path):
    out = tmp_path / "run"
    command = [*TRAIN, "--limit", "512", "--out", str(out)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that run in the background have interrupts ignored, and so would this process.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    wait_for(out / fitting.BACKUP / "epoch-00001.weights.h5", process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "stopped: by hand in epoch" in printed
    assert "Traceback" not in errors
    run = records.load(out)
    assert run.load_model().predict(SHAPES.test.images[:4], verbose=0).shape == (4, 10)


def test_an_interrupted_run_returns_and_goes_on(tmp_path):
    stop = At(1, 1, raising(KeyboardInterrupt()))
    run = train(tmp_path / "run", callbacks=[stop])
    assert run.record["stopped"] == "by hand in epoch 2"
    assert len(run.history["loss"]) == 1
    assert "test_accuracy_last" not in run.record["results"]
    assert "stopped: by hand in epoch 2" in str(run)
    found = fitting.probabilities(run.model, DATA.test)
    assert fitting.accuracy(found, DATA.test) == run.record["results"]["test_accuracy_best"]
    resumed = train(tmp_path / "run", resume=True)
    assert "stopped" not in resumed.record
    assert len(resumed.history["loss"]) == 3
    again = train(tmp_path / "run", resume=True)
    assert again.record["finished"] == resumed.record["finished"], "nothing is left to do"


@pytest.fixture
def interrupts():
    """Set the handler that a Python in the foreground has; returns a function to choose another."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_a_step_and_a_second_one_does_not(interrupts):
    at = []

    def once(model):
        signal.raise_signal(signal.SIGINT)
        at.append("still here")

    run = train(callbacks=[At(1, 0, once)])
    assert at == ["still here"]
    assert run.record["stopped"] == "by hand in epoch 2"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    def twice(model):
        once(model)
        once(model)

    run = train(callbacks=[At(0, 0, twice)])
    assert at == ["still here"] * 2
    assert run.record["stopped"] == "by hand in epoch 1"


def test_where_interrupts_are_ignored_they_stay_so(interrupts):
    interrupts(signal.SIG_IGN)
    run = train(epochs=1, callbacks=[At(0, 0, lambda model: signal.raise_signal(signal.SIGINT))])
    assert "stopped" not in run.record
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_interrupted_in_the_first_epoch_the_weights_of_then_are_kept(tmp_path):
    run = train(tmp_path / "run", callbacks=[At(0, 2, raising(KeyboardInterrupt()))])
    assert run.record["results"]["best_epoch"] is None
    assert not np.array_equal(run.model.get_weights()[2], net().get_weights()[0])
    assert "the last weights" in str(run)


def test_the_first_epochs_of_a_recipe_can_be_followed_by_the_others(tmp_path):
    train(tmp_path / "run", epochs=1)
    run = train(tmp_path / "run", epochs=2, resume=True)
    assert len(run.history["loss"]) == 2
    with pytest.raises(ValueError, match=r"from 1 to 3.*received 4") as refused:
        train(epochs=4)
    assert "replace(recipe, epochs=" in refused.value.__notes__[0]


def test_what_was_started_otherwise_is_not_resumed(tmp_path):
    train(tmp_path / "run", epochs=1)
    before = sorted(path.name for path in (tmp_path / "run").rglob("*"))
    with pytest.raises(ValueError, match=r"seed: then 0, now 1"):
        train(tmp_path / "run", resume=True, seed=1)
    with pytest.raises(ValueError, match=r"recipe: then"):
        train(tmp_path / "run", replace(SHORT, peak=0.2), resume=True)
    assert sorted(path.name for path in (tmp_path / "run").rglob("*")) == before
    with pytest.raises(ValueError, match="out=None"):
        train(resume=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not a run's folder"):
        train(tmp_path / "other", resume=True)
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["mine.txt"]


def spoil(model):
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])


def test_a_loss_that_is_not_a_number_stops_the_run_before_it_is_saved(tmp_path):
    with pytest.warns(UserWarning, match="not a number in epoch 2, step 3"):
        run = train(tmp_path / "run", callbacks=[At(1, 1, spoil)])
    assert run.record["stopped"] == "the loss was not a number in epoch 2, step 3"
    assert run.record["results"]["best_epoch"] == 1
    assert all(np.isfinite(weight).all() for weight in run.model.get_weights())
    saved = records.load(tmp_path / "run").load_model()
    assert all(np.isfinite(weight).all() for weight in saved.get_weights())
    json.loads((tmp_path / "run" / "record.json").read_text(), parse_constant=pytest.fail)


def test_a_loss_that_is_not_a_number_in_the_first_epoch_is_an_error(tmp_path, capsys):
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 2.*lower learning rate"):
        train(tmp_path / "run", callbacks=[At(0, 0, spoil)])
    assert not (tmp_path / "run" / "model.keras").exists()


def test_a_full_disk_leaves_the_last_finished_epoch(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(model):
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))

    try:
        with pytest.raises(OSError) as failed:
            train(tmp_path / "run", callbacks=[At(1, 0, fill)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "resume" in failed.value.__notes__[-1]
    assert callbacks.newest_backup(tmp_path / "run" / fitting.BACKUP)[0] == 1
    keras.saving.load_model(tmp_path / "run" / fitting.BEST)
    assert len(train(tmp_path / "run", resume=True).history["loss"]) == 3


def test_out_of_memory_says_which_batch_size_to_try():
    import tensorflow as tf

    error = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    with pytest.raises(MemoryError, match="batches of 32: try batch_size=16"):
        train(callbacks=[At(0, 0, raising(error))])
    with pytest.raises(MemoryError, match="single image"):
        raise fitting.told_what_fits(1)


def test_a_figure_that_cannot_be_drawn_does_not_end_the_training(monkeypatch):
    history = {name: [] for name in callbacks.Recorder.NAMES}
    live = callbacks.LiveFigure(SHORT, 4, (0, 1), history=history, name="net", source="shapes")
    live.shown = SimpleNamespace(update=print)

    def broken(*_, **__):
        raise RuntimeError("no font")

    monkeypatch.setattr(plots, "progress", broken)
    for act in (lambda: live.draw(""), live.close):
        with pytest.warns(UserWarning, match="no font"):
            act()


def small_resnet():
    keras.utils.set_random_seed(0)
    return cifar.resnet_v1((16, 16, 3), 8, form="standard")


# Its rate does not change for hundreds of epochs, so that steps of one call may share it.
CONSTANT = replace(PAPER, batch_size=32)


@pytest.fixture(scope="module")
def plain_run():
    return train(recipe=CONSTANT, model=small_resnet(), epochs=1, execution=Execution())


@pytest.mark.parametrize(
    "settings",
    [
        Execution(jit_compile=True),
        Execution(data_on_device=True),
        Execution(steps_per_execution=2),
        Execution("mixed_bfloat16"),
        Execution("mixed_float16"),
        Execution("mixed_bfloat16", True, 4, True),
    ],
    ids=str,
)
def test_however_the_steps_are_run_they_lead_to_the_same_weights(settings, plain_run):
    """What a GPU gets, on the CPU: the distance as a share of the way from the first weights.

    In 16 bits it is some 0.1 to 0.15 after four steps with a rate of 0.1.
    """
    run = train(recipe=CONSTANT, model=small_resnet(), epochs=1, execution=settings)
    assert run.record["execution"] == settings.as_dict()
    of_loss, of_way = (1e-5, 1e-4) if settings.precision == "float32" else (5e-3, 0.25)
    assert run.history["loss"] == pytest.approx(plain_run.history["loss"], rel=of_loss)
    start, expected, found = map(kernels, (small_resnet(), plain_run.model, run.model))
    assert np.linalg.norm(found - expected) < of_way * np.linalg.norm(expected - start)
    assert {weight.dtype for weight in run.model.weights} == {"float32"}
    assert run.model.layers[-1].compute_dtype == "float32"
    assert all(layer.compute_dtype == "float32" for layer in run.model.layers)


def test_what_is_measured_in_the_end_is_the_model_that_is_saved(monkeypatch):
    measured, measure = [], fitting.probabilities

    def probabilities(model, split):
        measured.append(model)
        return measure(model, split)

    monkeypatch.setattr(fitting, "probabilities", probabilities)
    run = train(recipe=replace(SHORT, epochs=1), execution=Execution("mixed_bfloat16"))
    assert len(measured) == 3
    assert all(model is run.model for model in measured)


def kernels(model):
    """Return the trainable weights of a network, in a row; its preprocessing has none."""
    return np.concatenate([np.ravel(weight) for weight in model.trainable_weights])


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([(6, 1)], Execution("float32", True, 16, True)),
        ([(7, 5)], Execution("mixed_float16", True, 16, True)),
        ([(8, 6)], Execution("mixed_bfloat16", True, 16, True)),
        ([(9, 0), (9, 0)], Execution()),
    ],
)
def test_what_is_chosen_for_a_gpu(cards, expected, monkeypatch):
    monkeypatch.setattr(execution, "gpu_capabilities", lambda: cards)
    assert execution.best_execution(image_bytes=150_000_000) == expected
    assert not execution.best_execution(image_bytes=2**40).data_on_device


@pytest.mark.parametrize(
    ("flags", "environment", "precision"),
    [
        ("fma avx2", {}, "float32"),
        ("avx2 avx512f avx512_vnni", {}, "float32"),
        ("avx2 avx512f avx512_bf16", {}, "mixed_bfloat16"),
        ("avx512_fp16 amx_bf16 amx_tile", {}, "mixed_bfloat16"),
        ("avx512_bf16", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "float32"),
        ("avx512_bf16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "float32"),
    ],
)
def test_what_is_chosen_for_a_cpu(flags, environment, precision, monkeypatch):
    monkeypatch.setattr(execution, "gpu_capabilities", list)
    monkeypatch.setattr(execution, "cpu_flags", lambda: set(flags.split()))
    for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert execution.best_execution() == Execution(precision)


@pytest.mark.parametrize("asked", [None, "float32", "mixed_bfloat16"])
def test_the_command_takes_a_precision(asked, tmp_path, monkeypatch):
    given = {}

    def train(*_, **options):
        given.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(training, "train", train)
    precision = [] if asked is None else ["--precision", asked]
    command = [*TRAIN[3:], "--out", str(tmp_path / "run"), *precision]
    assert main(command) == 2
    assert given["execution"].precision == (asked or execution.best_execution().precision)


def test_the_flags_of_this_cpu():
    expected = Path("/proc/cpuinfo").exists() and platform.machine() == "x86_64"
    assert ("fpu" in execution.cpu_flags()) == expected


def test_the_capability_is_asked_of_tensorflow(monkeypatch):
    import tensorflow as tf

    details = {"one": {"compute_capability": (8, 9)}, "two": {}}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(details))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.get)
    assert execution.gpu_capabilities() == [(8, 9), (0, 0)]


def test_settings_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"mixed_bfloat16.*received 'bfloat16'"):
        Execution("bfloat16")
    with pytest.raises(ValueError, match="steps_per_execution"):
        Execution(steps_per_execution=0)


def test_averaged_weights_are_validated_and_kept():
    """The first kernel, averaged by hand over the steps of one epoch."""
    seen = []

    class Weights(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(self.model.trainable_variables[0].numpy())

    run = train(recipe=replace(SHORT, epochs=1, ema=0.9), callbacks=[Weights()])
    average = seen[0]
    for raw in seen[1:]:
        average = 0.9 * average + 0.1 * raw
    kept = run.model.trainable_variables[0].numpy()
    assert np.abs(kept - average).max() < 0.1 * np.abs(kept - seen[-1]).max()
    found = fitting.probabilities(run.model, DATA.validation)
    accuracy = fitting.accuracy(found, DATA.validation)
    assert accuracy == pytest.approx(run.history["val_accuracy"][0])


def test_mirrored_test_images_are_averaged_in_a_number_of_its_own():
    run = train()
    test, mirrored = DATA.test, DATA.test.images[:, :, ::-1]
    both = run.model.predict(test.images, verbose=0) + run.model.predict(mirrored, verbose=0)
    accuracy = np.mean(np.argmax(both, axis=1) == test.labels)
    assert run.record["results"]["test_accuracy_flip"] == pytest.approx(accuracy)
    assert (
        "test_accuracy_flip" not in train(recipe=replace(SHORT, flip_test=False)).record["results"]
    )


def test_a_model_of_one_size_is_refused_where_sizes_change(tmp_path):
    inputs = keras.Input((16, 16, 3))
    flat = keras.layers.Flatten()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(flat), name="flat")
    with pytest.raises(ValueError, match=r"any size.*flat.*sizes=\(\(1, 1\),\)"):
        train(tmp_path / "run", replace(SHORT, sizes=((0.5, 0.5), (1, 1))), model)
    assert not (tmp_path / "run").exists()
    assert train(recipe=replace(SHORT, epochs=1), model=model).history["loss"]


def test_the_rate_of_each_step_is_the_recipes():
    seen = []
    every = SimpleNamespace(rates=seen)

    class Rates(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            every.rates.append(float(self.model.optimizer.learning_rate))

    train(callbacks=[Rates()])
    assert seen == pytest.approx([SHORT.rate(step, 4) for step in range(12)])


def test_tensorboard_files_are_written_on_request(tmp_path):
    train(tmp_path / "run", epochs=1, tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").rglob("events.out*"))


def test_the_command_lines_recipes(tmp_path, capsys):
    command = ["train", "--dataset", "shapes", "--limit", "64", "--model"]
    options = ["--recipe", "one-cycle", "--epochs", "2", "--stop-after", "1", "--deterministic"]
    assert main([*command, "plain8", *options[:-1], "--out", str(tmp_path / "a")]) == 0
    record = records.load(tmp_path / "a").record
    assert (record["recipe"]["epochs"], record["epochs"]) == (2, 1)
    assert record["notes"]["form"] == "standard"
    options = ["--recipe", "paper", "--stop-after", "1", "--batch-size", "64"]
    assert main([*command, "resnet8v1", *options, "--out", str(tmp_path / "b")]) == 0
    record = records.load(tmp_path / "b").record
    assert (record["recipe"]["name"], record["notes"]["form"]) == ("paper", "paper")
    assert record["recipe"]["batch_size"] == 64


def test_minutes_are_measured_once(tmp_path, capsys):
    command = ["train", "--dataset", "shapes", "--limit", "128", "--model", "resnet8v1"]
    command += ["--recipe", "one-cycle", "--minutes", "0.5", "--stop-after", "1"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    assert "epochs fit into 0.5 minutes" in capsys.readouterr().out
    assert main([*command, "--resume", "--out", str(tmp_path / "a")]) == 0
    assert "fit into" not in capsys.readouterr().out


MEMORY = """
import resnet_lib as rl
import keras, numpy as np
from dataclasses import replace

class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 5:
            raise KeyboardInterrupt

def part(n):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return rl.datasets.Split(images, random.integers(0, 10, n))

data = rl.datasets.Dataset(part(45_000), part(5_000), part(10_000), range(10), "noise")
model = rl.resnet_v1((32, 32, 3), 20, form="standard")
recipe = replace(rl.recipes.ONE_CYCLE, sizes=((1, 1),), flip_test=False)
rl.train(model, data, recipe, progress=False, callbacks=[Stop()])
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(int(peak.split()[1]) / 2**20)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux' /proc")
def test_as_many_images_as_cifar10_has_take_less_than_one_and_a_half_gigabytes():
    process = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert float(process.stdout) < 1.5


NOTEBOOK = """
import resnet_lib as rl
from dataclasses import replace
data = rl.datasets.shapes(train=64, validation=64, test=64)
model = rl.resnet_v1((32, 32, 3), 8, form="standard")
run = rl.train(model, data, replace(rl.recipes.ONE_CYCLE, epochs=2))
"""


def test_a_notebook_shows_one_picture_in_the_end(tmp_path):
    import nbclient
    from nbformat import v4

    notebook = v4.new_notebook(cells=[v4.new_code_cell(NOTEBOOK)])
    nbclient.NotebookClient(notebook, resources={"metadata": {"path": tmp_path}}).execute()
    [output] = notebook.cells[0].outputs
    assert output["data"].keys() == {"image/png", "text/plain"}
    assert "loss" in output["data"]["text/plain"]
    assert output["metadata"]["image/png"]["alt"]


def test_a_run_on_jax_needs_no_other_recipe(tmp_path):
    code = """
        import resnet_lib as rl
        from dataclasses import replace
        data = rl.datasets.shapes(train=32, validation=32, test=32)
        model = rl.resnet_v1((32, 32, 3), 8, form="standard")
        recipe = replace(rl.recipes.ONE_CYCLE, epochs=1, batch_size=32)
        run = rl.train(model, data, recipe, out="run", progress=False)
        print(run.record["environment"]["keras_backend"], len(run.history["loss"]))
    """
    code = "\n".join(each.strip() for each in code.splitlines())
    process = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"KERAS_BACKEND": "jax"},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.split() == ["jax", "1"]


def test_the_examples_rate_is_the_schedulers_not_the_plateaus():
    """The validation loss of a frozen net never falls, so that the plateau's callback acts."""
    model, after = net(), []
    model.trainable = False

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            after.append(float(self.model.optimizer.learning_rate))

    recipe = replace(EXAMPLE, augment=False)
    run = train(recipe=recipe, model=model, epochs=8, batch_size=128, callbacks=[Rates()])
    assert min(after) < 1e-3 - 1e-6
    assert run.history["learning_rate"] == pytest.approx([1e-3] * 8)


class EachEpoch(keras.callbacks.Callback):
    """Does something at the end of each epoch, when it is saved."""

    def __init__(self, act):
        super().__init__()
        self.act = act

    def on_epoch_end(self, epoch, logs=None):
        self.act(self.model, epoch)


def test_a_folder_of_the_users_is_left_alone(tmp_path):
    """One with `checkpoints/` in it, too, for many projects have that."""
    names = ("model.keras", "checkpoints/best.keras")
    (tmp_path / "checkpoints").mkdir()
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match="not a run's folder"):
        train(tmp_path, resume=True)
    assert [(tmp_path / name).read_text() for name in names] == ["mine", "mine"]


def test_an_interruption_after_the_last_epoch_loses_nothing(tmp_path):
    def stop(model, epoch):
        if epoch == 2:
            raise KeyboardInterrupt

    stopped = train(tmp_path / "run", callbacks=[EachEpoch(stop)])
    assert stopped.record["stopped"] == "by hand in epoch 3"
    resumed = train(tmp_path / "run", resume=True)
    assert [each["epoch"] for each in resumed.record["resumed"]] == [3]
    assert resumed.history == stopped.history


def test_a_callback_ends_the_run_and_not_only_its_image_size(tmp_path):
    def stop(model, epoch):
        model.stop_training = True

    recipe = replace(SHORT, sizes=((0.5, 0.5), (1, 1)))
    run = train(tmp_path / "run", recipe, epochs=3, callbacks=[EachEpoch(stop)])
    assert len(run.history["loss"]) == len(run.history["val_loss"]) == 1
    assert run.record["stopped"] == "by a callback in epoch 1"
    assert "test_accuracy_last" not in run.record["results"]


def test_a_validation_loss_that_is_not_a_number_is_none_in_the_record(tmp_path):
    class Spoiled(keras.callbacks.Callback):
        def on_test_begin(self, logs=None):
            self.weights = self.model.get_weights()
            spoil(self.model)

        def on_test_end(self, logs=None):
            self.model.set_weights(self.weights)

    train(tmp_path / "run", epochs=1, callbacks=[Spoiled()])
    text = (tmp_path / "run" / "record.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["history"]["val_loss"] == [None]
    assert plots.loss(records.load(tmp_path / "run")).axes
    with pytest.raises(ValueError, match="JSON"):
        train(tmp_path / "other", notes={"number": float("nan")})
    assert not (tmp_path / "other").exists()


def test_a_half_written_model_never_becomes_the_best(tmp_path):
    recipe = replace(SHORT, peak=1e-9)  # The first epoch stays the best.
    train(tmp_path / "run", recipe, epochs=1)
    (tmp_path / "run" / fitting.BEST.with_name("part.keras")).write_text("half")
    train(tmp_path / "run", recipe, resume=True)
    keras.saving.load_model(tmp_path / "run" / fitting.BEST)


def test_a_damaged_backup_says_so(tmp_path):
    train(tmp_path / "run", epochs=1)
    [backup] = (tmp_path / "run" / fitting.BACKUP).iterdir()
    backup.write_bytes(backup.read_bytes()[:1000])
    with pytest.raises(OSError, match=r"is damaged.*Remove it"):
        train(tmp_path / "run", resume=True)


def test_two_processes_do_not_train_in_one_folder(tmp_path):
    def second(model):
        with pytest.raises(BlockingIOError, match="Another process"):
            train(tmp_path / "run", resume=True)

    assert train(tmp_path / "run", epochs=1, callbacks=[At(0, 1, second)]).history["loss"]


def test_what_cannot_start_leaves_no_folder(tmp_path, monkeypatch):
    out = tmp_path / "run"
    with pytest.raises(TypeError, match="iterable"):
        train(out, callbacks=keras.callbacks.EarlyStopping())
    with pytest.raises(ValueError, match=r"Dataset, received \(1, 2\)"):
        training.train(net(), (1, 2), SHORT, out=out)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        train(out, tensorboard=True)
    with pytest.raises(ValueError, match="folder for the run as `out`"):
        train(tensorboard=True)
    assert not out.exists()


def test_only_what_is_there_is_promised(tmp_path):
    fails = {"callbacks": [At(0, 1, raising(RuntimeError("mine")))]}
    for out in (None, tmp_path / "run"):
        with pytest.raises(RuntimeError) as failed:
            train(out, **fails)
        assert not hasattr(failed.value, "__notes__")
    assert train(tmp_path / "run", replace(SHORT, peak=0.01), resume=True), "nothing was learnt"


def test_a_net_made_under_another_policy_is_trained_as_it_says():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        run = train(recipe=replace(SHORT, epochs=1), model=net())
    finally:
        keras.config.set_dtype_policy("float32")
    computing = run.model.layers[1:]  # All but the input.
    assert {layer.compute_dtype for layer in computing} == {"float32"}
    assert run.model.output.dtype == "float32"


MIRRORED = """
import resnet_lib as rl
import tensorflow as tf
from dataclasses import replace
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
data = rl.datasets.shapes(train=64, validation=32, test=32)
recipe = replace(rl.recipes.ONE_CYCLE, epochs=1, batch_size=32)
with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    run = rl.train(rl.resnet_v1((32, 32, 3), 8, form="standard"), data, recipe, progress=False)
print(len(run.history["loss"]))
"""


def test_two_devices_train_one_run():
    process = subprocess.run([sys.executable, "-c", MIRRORED], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.split()[-1] == "1"

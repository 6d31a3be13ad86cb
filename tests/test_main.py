"""The command line."""

import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small import SHAPES

import resnet_lib
from resnet_lib import datasets, exercises, models, recipes, records, training
from resnet_lib.__main__ import LEFT_ALONE, TERMINATED, _form, _parser, _recipe, main
from resnet_lib.recipes import ONE_CYCLE
from resnet_lib.training import fit as fitting
from resnet_lib.training import hosts, machine

import keras  # isort: skip


@pytest.mark.slow
def test_the_command_line_trains(tmp_path, capsys):
    out = tmp_path / "run"
    command = "train --model plain8 --dataset shapes --form standard --epochs 1 --limit 64"
    code = main([*command.split(), "--seed", "5", "--batch-size", "16", "--out", str(out)])
    assert code == 0
    record = records.load(out).record
    assert record["model"]["id"] == "plain8"
    rest = ["--seed", "5", "--batch-size", "16", "--out", str(out)]
    words = ["python", "-m", "resnet_lib", *command.split(), *rest]
    assert record["notes"] == {"form": "standard", "dropout": 0, "command": shlex.join(words)}
    assert (record["seed"], record["batch_size"]) == (5, 16)
    assert record["dataset"]["sizes"][0] == 64
    assert str(out) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--model", "resnet21v1"], "20 and 26"),
        (["--model", "vgg16"], "resnet20v1"),
        (["--model", "resnet8v1", "--form", "best"], "'example', 'paper', 'standard'"),
        (["--model", "resnet8v1", "--limit", "0"], "1"),
        (["--model", "resnet8v1", "--size", "64"], "from 8 to 32"),
        (["--model", "resnet8v1", "--dropout", "1"], "below 1"),
        (["--model", "resnet8v1", "--set", "rate=1"], "'batch_size'"),
        (["--model", "resnet8v1", "--set", "momentum=2"], "at least 0, below 1"),
        (["--model", "resnet8v1", "--set", "peak=1e300"], "at most 1000"),
        (["--model", "resnet8v1", "--set", "peak=NaN"], "Received: nan"),
        (["--model", "resnet8v1", "--set", "augment=no"], "True or False. Received: 'no'"),
        (["--model", "resnet8v1", "--epochs", "0"], "from 1 to 1,000,000"),
        (["--model", "resnet8v1", "--minutes", "1e308"], "at most 527040. Received: 1e+308"),
    ],
)
def test_the_command_line_answers_in_one_line(wrong, said, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(["train", "--dataset", "shapes", "--out", str(out), *wrong]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1
    assert not out.exists()


def test_fields_of_the_recipe_on_the_command_line(tmp_path, monkeypatch):
    asked = []

    def train(model, data, recipe, **options):
        asked.append((recipe, model.layers[-2].name, options["notes"]["command"]))
        raise ValueError("enough")

    monkeypatch.setattr("resnet_lib.training.train", train)
    command = "train --model plain8 --dataset shapes --recipe one-cycle --epochs 2 --dropout 0.3"
    command += " --set peak=0.1 --set augment=false --set sizes=[[1,1]] --set anneal=cosine"
    command += " --set weight_decay=0.002 --set flip=False --set ema=None --set nesterov=True"
    out = ["--out", str(tmp_path / "run")]
    assert main([*command.split(), *out, "--resume"]) == 2
    changes = dict(epochs=2, peak=0.1, augment=False, sizes=((1, 1),), anneal="cosine", flip=False)
    wanted = replace(ONE_CYCLE, **changes, weight_decay=recipes.WeightDecay(0.002))
    typed = shlex.join(["python", "-m", "resnet_lib", *command.split(), *out])
    assert asked == [(wanted, "head_dropout", typed)]


def test_a_networks_form_goes_with_the_recipe():
    builders = [models.parse_model_id(each)[0] for each in ("plain8", "resnet8v1", "resnet11v2")]
    for name, forms in {
        "example": ("example", "example", "example"),
        "paper": ("paper", "paper", "paper"),
        "paper-110": ("paper", "paper", "paper"),
        "one-cycle": ("standard", "standard", "paper"),
    }.items():
        assert tuple(_form(builder, name) for builder in builders) == forms


def test_a_recipe_and_a_data_set_are_named_in_one_place(monkeypatch):
    mine, images = replace(ONE_CYCLE, name="mine"), lambda: SHAPES
    monkeypatch.setitem(recipes.NAMED, "mine", mine)
    monkeypatch.setitem(recipes.FORMS, mine, "paper")
    monkeypatch.setitem(datasets.NAMED, "doodles", images)
    words = "train --model plain8 --out x --recipe mine --dataset doodles"
    options = _parser().parse_args(words.split())
    assert _recipe(options, None, None, 8, None) == mine
    assert _form(models.parse_model_id("resnet11v2")[0], options.recipe) == "paper"


def test_one_cycle_is_the_commands_recipe():
    options = _parser().parse_args(["train", "--model", "plain8", "--out", "x"])
    assert _recipe(options, None, None, 8, None) == ONE_CYCLE


@pytest.mark.parametrize("command", ["records", "train --model plain8 --out"])
def test_a_path_in_no_users_folder_is_refused(command, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*command.split(), "~no_such_user/run"])
    assert "Expected `FOLDER` to be a path" in capsys.readouterr().err


def test_what_is_no_assignment_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--model", "plain8", "--out", "x", "--set", "peak"])
    assert "Expected FIELD=VALUE. Received: 'peak'" in capsys.readouterr().err


def test_the_command_line_lists_runs(run, capsys):
    assert main(["records", str(run.folder)]) == 0
    shown = capsys.readouterr().out
    best = max(run.history["val_accuracy"])
    assert f"{100 * best:.1f}" in shown
    assert f"{run.folder} " in shown
    assert run.source in shown
    assert main(["records"]) == 0
    assert main(["records", str(run.folder / "no")]) == 2
    assert main(["records", str(run.folder.parent)]) == 0
    assert f"{run.folder} " in capsys.readouterr().out


# The first second.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--help", "train"),
        ("train --help", "--recipe"),
        (
            "--version",
            f"resnet_lib {resnet_lib.__version__}, Keras {keras.__version__} on tensorfl",
        ),
        ("records", "resnet50-signs-seed0"),
        ("exercises", "02-identity-block        medium      10 min  –"),
        ("train --model plain8 --out x --set peak=0", "`peak`"),
    ],
)
def test_what_needs_no_keras_does_not_wait_for_it(arguments, said, tmp_path):
    program = [sys.executable, "-X", "importtime", "-m", "resnet_lib", *arguments.split()]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(program, cwd=tmp_path, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert said in done.stdout + done.stderr
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "resnet_lib.checks" in imported
    assert not {"keras", "tensorflow", "jax", "torch"} & imported
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.5


def interruptible(command, **options):
    """Start a command whose interrupts are not ignored, as in tests that run in the background."""
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        **options,
    )


def takes_sigterm(process):
    """Say whether a process has a handler for SIGTERM by now, as Linux tells it."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    [caught] = [line.split()[1] for line in lines if line.startswith("SigCgt:")]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def stopped_after(seconds, number, out):
    """Start a command, send it a signal some seconds after it has begun, and return its end."""
    process = interruptible([*TRAIN, "--out", str(out)])
    while not takes_sigterm(process):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(seconds)
    process.send_signal(number)
    printed, errors = process.communicate()
    return process.returncode, printed, errors


def told_by_sigterm(out):
    again = shlex.join(["python", "-m", "resnet_lib", *TRAIN[3:], "--out", str(out), "--resume"])
    return f"resnet_lib: stopped by SIGTERM; no epoch was finished. To go on: {again}\n"


LINUX = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")


@LINUX
def test_sigterm_while_keras_is_imported(tmp_path):
    out = tmp_path / "run"
    assert stopped_after(0.3, signal.SIGTERM, out) == (75, "", told_by_sigterm(out))


@LINUX
@pytest.mark.parametrize("seconds", [0.2, 1.4])
def test_ctrl_c_while_keras_is_imported(seconds, tmp_path):
    out = tmp_path / "run"
    assert stopped_after(seconds, signal.SIGINT, out) == (130, "", "\nresnet_lib: stopped\n")
    assert not out.exists()


# In place of Keras, with signals where an exception is lost and where Python ends by SIGINT.
LOST = """
import gc, signal
gc.callbacks.append(lambda phase, _: phase == "start" and signal.raise_signal(NUMBER))
gc.collect()
gc.callbacks.clear()
"""
IN_TEXT = """
exec("import signal; signal.raise_signal(NUMBER); signal.raise_signal(NUMBER)")
"""


@pytest.mark.parametrize("keras", [LOST, IN_TEXT], ids=["lost", "in text"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_within_an_import_is_neither_lost_nor_another(number, keras, tmp_path, monkeypatch):
    out = tmp_path / "run"
    (tmp_path / "keras.py").write_text(keras.replace("NUMBER", str(int(number))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    process = interruptible([*TRAIN, "--out", str(out)])
    printed, errors = process.communicate()
    ends = {
        signal.SIGINT: (130, "\nresnet_lib: stopped\n"),
        signal.SIGTERM: (75, told_by_sigterm(out)),
    }
    assert (printed, (process.returncode, errors)) == ("", ends[number])


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_ctrl_c_is_not_lost_where_a_network_is_asked(command, backend, tmp_path, monkeypatch):
    (tmp_path / "keras.py").write_text(LOST.replace("NUMBER", str(int(signal.SIGINT))))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("KERAS_BACKEND", backend)
    asked = [sys.executable, "-m", "resnet_lib", command, "plain20-shapes", str(tmp_path)]
    process = interruptible(asked)
    assert process.communicate() == ("", "\nresnet_lib: stopped\n")
    assert process.returncode == 130


@pytest.mark.slow
def test_a_training_whose_lines_nobody_reads_goes_on(tmp_path):
    out = tmp_path / "run"
    command = [*TRAIN, "--limit", "64", "--epochs", "3", "--batch-size", "32", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stdout.readline()
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait() == 0
    assert re.sub("resnet_lib: Nothing was learnt that shows: .*\n", "", told) == ""
    assert len(records.load(out).history["loss"]) == 3


@pytest.mark.parametrize("arguments", ["records", "exercises", "--help"])
def test_a_list_that_nobody_reads(arguments):
    reading, writing = os.pipe()
    os.close(reading)
    program = [sys.executable, "-m", "resnet_lib", arguments]
    done = subprocess.run(program, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


# What a reader has done.


def test_the_command_line_lists_the_tasks_and_where_that_is_kept(tmp_path, monkeypatch, capsys):
    file = tmp_path / "progress.json"
    monkeypatch.setenv("RESNET_LIB_PROGRESS", str(file))
    exercises.progress()
    shown = capsys.readouterr().out
    assert main(["exercises"]) == 0
    assert capsys.readouterr().out == shown
    assert main(["exercises", "--file"]) == 0
    assert capsys.readouterr().out == f"{file}\n"
    monkeypatch.setenv("RESNET_LIB_PROGRESS", "off")
    assert main(["exercises", "--file"]) == 0
    assert capsys.readouterr().out == "nothing is kept: RESNET_LIB_PROGRESS is off\n"


def test_forgetting_loses_nothing(tmp_path, monkeypatch, capsys):
    file = tmp_path / "progress.json"
    monkeypatch.setenv("RESNET_LIB_PROGRESS", str(file))
    assert main(["exercises", "--forget"]) == 0
    assert capsys.readouterr().out == "Nothing is kept, so there is nothing to forget.\n"
    file.write_text("{}")
    assert main(["exercises", "--forget"]) == 0
    (aside,) = tmp_path.iterdir()
    assert capsys.readouterr().out.startswith(f"{file} is now {aside}.\nDelete that file to be rid")
    assert aside.read_text() == "{}"


def test_a_place_that_is_none_is_one_line(monkeypatch, capsys):
    monkeypatch.setenv("RESNET_LIB_PROGRESS", "~no_such_user/x")
    for option in ("--file", "--forget"):
        assert main(["exercises", option]) == 2
        err = capsys.readouterr().err
        assert err.startswith("resnet_lib: Expected `RESNET_LIB_PROGRESS` to be a path")
        assert err.count("\n") == 1


# Runs that are cut.


TRAIN = [sys.executable, "-m", "resnet_lib", "train", "--dataset", "shapes", "--model", "resnet8v1"]


def wait_for(path, process):
    deadline = time.monotonic() + 120
    while not path.is_file():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
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


@pytest.mark.slow
def test_ctrl_c_ends_a_command_with_what_was_learnt(tmp_path):
    out = tmp_path / "run"
    command = [*TRAIN, "--limit", "512", "--out", str(out)]
    process = interruptible(command)
    wait_for(out / fitting.BACKUP / "epoch-00001.weights.h5", process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "stopped: by hand in epoch" in printed
    assert "Traceback" not in errors
    again = shlex.join(["python", "-m", "resnet_lib", *command[3:]])
    assert printed.endswith(f"\nTo go on: {again} --resume\n")
    run = records.load(out)
    assert run.load_model().predict(SHAPES.test.images[:4], verbose=0).shape == (4, 10)


@pytest.mark.slow
def test_sigterm_ends_a_command_with_the_finished_epochs_and_it_goes_on(tmp_path):
    out = tmp_path / "run"
    command = [*TRAIN, "--limit", "512", "--epochs", "30", "--out", str(out)]
    process = interruptible(command)
    wait_for(out / fitting.BACKUP / "epoch-00001.weights.h5", process)
    process.send_signal(signal.SIGTERM)
    printed, errors = process.communicate()
    assert process.returncode == 75, errors
    again = shlex.join(["python", "-m", "resnet_lib", *command[3:], "--resume"])
    told = (
        f"resnet_lib: stopped by SIGTERM; {out} holds the epochs that were finished. "
        f"To go on: {again}"
    )
    assert told in errors.splitlines()  # TensorFlow may log of what was cut off behind it.
    assert "Traceback" not in errors
    assert not (out / records.RECORD).exists(), "nothing is measured"
    finished = printed.count("epoch ")
    again = [*command, "--resume", "--stop-after", str(finished + 1)]
    process = subprocess.run(again, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    record = records.load(out).record
    assert [each["epoch"] for each in record["resumed"]] == [finished]
    assert len(record["history"]["loss"]) == finished + 1


def test_the_exit_codes_are_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["train", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "75: SIGTERM; the last finished epoch is kept. 69: another process of the run" in said
    assert (TERMINATED, LEFT_ALONE) == (75, 69)


def test_a_run_that_is_left_alone_ends_with_a_code_of_its_own(tmp_path, monkeypatch, capsys):
    def train(*_, **options):
        raise hosts.LostError("Another of the 2 processes is gone.")

    monkeypatch.setattr(training, "train", train)
    assert main([*TRAIN[3:], "--out", str(tmp_path / "run")]) == 69
    assert capsys.readouterr().err == "resnet_lib: Another of the 2 processes is gone.\n"


@pytest.mark.parametrize(("asked", "given"), [(None, None), ("1", 1), ("all", "all")])
def test_the_command_takes_devices(asked, given, tmp_path, monkeypatch):
    found = []

    def train(*_, **options):
        found.append(options["devices"])
        raise ValueError("enough")

    monkeypatch.setattr(training, "train", train)
    words = [] if asked is None else ["--devices", asked]
    assert main([*TRAIN[3:], "--out", str(tmp_path / "run"), *words]) == 2
    assert found == [given]


@pytest.mark.parametrize("wrong", ["0", "-1", "two", "1.5"])
def test_what_is_no_number_of_devices_is_refused(wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        main([*TRAIN[3:], "--out", "x", f"--devices={wrong}"])
    assert f"Expected a number of devices, or all. Received: '{wrong}'" in capsys.readouterr().err


def test_joining_under_tensorflow_is_refused_in_a_line(tmp_path, capsys):
    assert main([*TRAIN[3:], "--out", str(tmp_path / "run"), "--join"]) == 2
    err = capsys.readouterr().err
    assert "Expected KERAS_BACKEND=jax for several processes" in err
    assert err.count("\n") == 1


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
    assert given["execution"].precision == (asked or machine.best_execution().precision)


@pytest.mark.slow
def test_the_command_lines_recipes(tmp_path, capsys):
    command = ["train", "--dataset", "shapes", "--limit", "64", "--model"]
    options = ["--recipe", "one-cycle", "--epochs", "2", "--stop-after", "1", "--deterministic"]
    assert main([*command, "plain8", *options[:-1], "--out", str(tmp_path / "a")]) == 0
    assert "1 of the recipe's 2 epochs are done. To go on" in capsys.readouterr().out
    record = records.load(tmp_path / "a").record
    assert (record["recipe"]["epochs"], record["epochs"]) == (2, 1)
    assert record["notes"]["form"] == "standard"
    options = ["--recipe", "paper", "--stop-after", "1", "--batch-size", "64"]
    assert main([*command, "resnet8v1", *options, "--out", str(tmp_path / "b")]) == 0
    record = records.load(tmp_path / "b").record
    assert (record["recipe"]["name"], record["notes"]["form"]) == ("paper", "paper")
    assert record["recipe"]["batch_size"] == 64


@pytest.mark.slow
def test_minutes_are_measured_once(tmp_path, capsys):
    command = ["train", "--dataset", "shapes", "--limit", "128", "--model", "resnet8v1"]
    command += ["--recipe", "one-cycle", "--minutes", "0.5", "--stop-after", "1"]
    assert main([*command, "--out", str(tmp_path / "a")]) == 0
    assert "epochs fit into 0.5 minutes" in capsys.readouterr().out
    assert main([*command, "--resume", "--out", str(tmp_path / "a")]) == 0
    assert "fit into" not in capsys.readouterr().out


# Pictures of one's own.


@pytest.fixture
def pictures(tmp_path):
    """Return a folder of two classes, six pictures of 40x30 each, dark and light ones."""
    from PIL import Image

    for name, grey in (("dark", 40), ("light", 200)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(6):
            picture = Image.new("RGB", (40, 30), (grey + number, grey, grey - number))
            picture.save(tmp_path / "mine" / name / f"{number}.png")
    return tmp_path / "mine"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Of a single picture for each class, and of chance.
def test_the_command_line_fine_tunes(pictures, tmp_path, capsys):
    out = tmp_path / "run"
    command = ["finetune", "--pictures", str(pictures), "--out", str(out), "--epochs", "2"]
    command += ["--class-weight", "balanced", "--stages", "1", "--batch-size", "4"]
    assert main(command) == 0
    record = records.load(out).record
    assert record["base"]["name"] == "resnet20v1-cifar10"
    assert record["dataset"]["image_shape"] == [32, 32, 3]
    assert record["dataset"]["classes"] == ["dark", "light"]
    assert record["class_weight"] == {"dark": 1.0, "light": 1.0}
    assert (record["recipe"]["name"], record["recipe"]["epochs"]) == ("fine-tune", 2)
    assert "dark, light" in capsys.readouterr().out


@pytest.fixture
def asked(monkeypatch):
    """Return what `train` and `finetune` were called with, which then end."""
    asked = []

    def called(*given, **options):
        asked.append((*given, options))
        raise ValueError("enough")

    monkeypatch.setattr("resnet_lib.training.train", called)
    monkeypatch.setattr("resnet_lib.finetuning.finetune", called)
    return asked


@pytest.mark.filterwarnings("ignore")
def test_options_of_fine_tuning(pictures, tmp_path, asked):
    command = ["finetune", "--pictures", str(pictures), "--out", str(tmp_path / "run")]
    assert main(command) == 2
    more = ["--base", "resnet20v1-shapes", "--stages", "all", "--set", "flip=false"]
    more += ["--size", "24", "--dropout", "0.2", "--class-weight", "dark=2", "--seed", "3"]
    assert main([*command, *more]) == 2
    data, base, recipe, options = asked[0]
    assert (data.image_shape, base.name) == ((32, 32, 3), "resnet20v1-cifar10")
    assert recipe == replace(recipes.FINE_TUNE, epochs=60), "few pictures"
    assert (options["stages"], options["class_weight"], options["size"]) == (2, None, None)
    data, base, recipe, options = asked[1]
    assert (data.image_shape, base.name) == ((24, 24, 3), "resnet20v1-shapes")
    assert recipe == replace(recipes.FINE_TUNE, epochs=60, flip=False)
    wanted = {"stages": "all", "class_weight": {"dark": 2.0}, "size": 24, "dropout": 0.2}
    assert wanted.items() <= options.items()
    assert options["seed"] == 3


def test_fine_tuning_gets_the_pictures_as_they_were(tmp_path, asked, monkeypatch):
    small = datasets.shapes(train=20, validation=10, test=10)
    monkeypatch.setitem(datasets.NAMED, "shapes", lambda: small)
    command = ["finetune", "--dataset", "shapes", "--size", "24", "--out", str(tmp_path / "run")]
    assert main(command) == 2
    [(data, _, _, options)] = asked
    assert data.image_shape == (32, 32, 3), "the card's `read_at`; `finetune` fits them itself"
    assert options["size"] == 24


@pytest.mark.filterwarnings("ignore")
def test_a_network_from_random_weights_takes_a_folder_of_pictures(pictures, tmp_path, asked):
    command = ["train", "--model", "plain8", "--pictures", str(pictures), "--form", "standard"]
    command += ["--out", str(tmp_path / "run")]
    assert main(command) == 2
    assert main([*command, "--size", "16", "--class-weight", "balanced"]) == 2
    (model, data, *_, options), (_, small, *_, weighted) = asked
    assert (data.image_shape, small.image_shape) == ((64, 64, 3), (16, 16, 3))
    assert model.output_shape == (None, 2)
    assert (options["class_weight"], weighted["class_weight"]) == (None, "balanced")


WRONG = {
    "a folder that is not there": ("--pictures nowhere", "'nowhere'"),
    "a base that is not there": ("--dataset shapes --base resnet20", "'resnet20v1-cifar10'"),
    "a field": ("--dataset shapes --set head=2", "`head` to be a number"),
    "weights": ("--dataset shapes --class-weight balanced --class-weight a=1", "balanced alone"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_can_be_refused_is_refused_without_keras(kind, tmp_path):
    wrong, said = WRONG[kind]
    out = tmp_path / "run"
    code = (
        "import sys; sys.orig_argv = [sys.executable, '-m', 'resnet_lib', *sys.argv[1:]]\n"
        "sys.argv[0] = '-m'\n"
        "from resnet_lib.__main__ import main\n"
        "code = main()\n"
        "sys.exit('keras was imported' if 'keras' in sys.modules else code)\n"
    )
    words = ["finetune", "--out", str(out), *wrong.split()]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not out.exists()


@pytest.mark.parametrize("wrong", ["cat", "cat=", "cat=-1", "cat=nan", "="])
def test_a_weight_that_is_none_is_refused(wrong, capsys):
    with pytest.raises(SystemExit):
        _parser().parse_args(
            ["finetune", "--dataset", "shapes", "--out", "x", "--class-weight", wrong]
        )
    assert "Expected balanced, or CLASS=WEIGHT" in capsys.readouterr().err

"""The library under KERAS_BACKEND=jax, in processes of its own: `make test-jax` runs more of it."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("jax"), reason="JAX is not installed")


def python(*arguments, cwd=None, backend="jax", **variables):
    """Run Python under a backend; return what it printed. It must succeed."""
    environment = os.environ | {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"} | variables
    process = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    return process.stdout


# What is measured

MEASURE = """
import json, os, sys
import numpy as np
import resnet_lib as rl
import keras

layers = keras.layers
inputs = keras.Input((8, 8, 3))
x = stem = layers.Conv2D(4, 3, padding="same", name="stem_conv")(inputs)
x = layers.BatchNormalization()(layers.Conv2D(4, 3, padding="same", name="stage1_conv")(x))
x = layers.GlobalAveragePooling2D()(layers.ReLU()(layers.Add()([x, stem])))
model = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
if os.path.exists("weights.npz"):
    saved = np.load("weights.npz")
    model.set_weights([saved[name] for name in saved.files])
else:
    np.savez("weights.npz", *model.get_weights())
before = model.get_weights()
images = np.random.default_rng(0).random((8, 8, 8, 3), "float32")
gradients = rl.gradient_norms(model, images, np.arange(8))
variances = rl.activation_variances(model, images)
stored = rl.activation_variances(model, images, training=False)
(by_pixel,) = rl.inspection.gradients(lambda x: keras.ops.mean(model(x)[:, 0]), [images])
print(json.dumps({
    "names": [gradients.layers, variances.layers],
    "counts": [rl.count_parameters(model).total, rl.count_multiply_adds(model)],
    "shapes": [list(each.shape) for each in rl.feature_maps(model)],
    "reach": rl.receptive_field(model),
    "unchanged": all(np.array_equal(a, b) for a, b in zip(before, model.get_weights())),
    "gradients": gradients.values.tolist(),
    "variances": variances.values.tolist(),
    "stored": stored.values.tolist(),
    "by pixel": by_pixel.tolist(),
}))
"""


def test_every_measure_is_the_same_on_both_backends(tmp_path):
    tensorflow, jax = (
        json.loads(python("-c", MEASURE, cwd=tmp_path, backend=backend))
        for backend in ("tensorflow", "jax")
    )
    for name in ("names", "counts", "shapes", "reach"):
        assert jax[name] == tensorflow[name]
    assert jax["unchanged"]
    assert tensorflow["unchanged"]
    for name in ("gradients", "variances", "stored", "by pixel"):
        assert np.abs(tensorflow[name]).max() > 0
        np.testing.assert_allclose(jax[name], tensorflow[name], rtol=1e-4, atol=1e-6)


# A checkout that is not installed, beside a notebook; JAX, Keras and NumPy alone

BLOCKED = """
import importlib.metadata, sys

class Refused:
    names = {"tensorflow", "matplotlib", "PIL", "tqdm"}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refused())
found = importlib.metadata.Distribution.from_name

def from_name(name):
    if name == "resnet-lib":
        raise importlib.metadata.PackageNotFoundError(name)
    return found(name)

importlib.metadata.Distribution.from_name = from_name
sys.path.insert(0, "clone")
"""
TRAIN = """
from dataclasses import replace
import resnet_lib as rl

assert "clone" in rl.__file__, rl.__file__
data = rl.datasets.shapes(train=64, validation=32, test=32)
recipe = replace(rl.recipes.ONE_CYCLE, epochs=1, batch_size=32)
run = rl.train(rl.resnet_v1((32, 32, 3), 8, form="standard"), data, recipe, out="run",
               progress={progress})
environment = run.record["environment"]
print(environment["keras_backend"], len(run.history["loss"]), len(run.model.predict(
    data.test.images, verbose=0)))
print(environment["resnet-lib"])
assert rl.__version__ == environment["resnet-lib"]
for name in Refused.names:
    assert not isinstance(sys.modules.get(name), type(sys)), name
"""


def clone(folder, *names):
    """Copy the library into a folder, as a clone of the repository is one."""
    (folder / "clone").mkdir()
    without = shutil.ignore_patterns("__pycache__", "recorded")
    shutil.copytree(ROOT / "resnet_lib", folder / "clone" / "resnet_lib", ignore=without)
    for name in names:
        shutil.copy(ROOT / name, folder / "clone")


@pytest.mark.parametrize(
    ("beside", "version", "progress"),
    [
        (["pyproject.toml"], r"\d+\.\d+\.\d+", False),
        pytest.param([], "unknown: not installed.*", True, marks=pytest.mark.slow),
    ],
    ids=["with its pyproject.toml", "without"],
)
def test_a_checkout_that_is_not_installed_trains_with_keras_jax_and_numpy_alone(
    tmp_path, beside, version, progress
):
    clone(tmp_path, *beside)
    program = BLOCKED + TRAIN.format(progress=progress)
    lines = python("-c", program, cwd=tmp_path).splitlines()
    assert lines[-2] == "jax 1 32"
    assert re.fullmatch(version, lines[-1])
    assert (len(lines) == 3) is progress, "a line an epoch in place of the bar"


FIGURE = """
import resnet_lib as rl
for ask in (lambda: rl.plots, lambda: rl.datasets.image_folder("pictures")):
    try:
        ask()
        print("not refused")
    except Exception as error:
        print(f"{error}")
"""


def test_what_is_blocked_is_missed_where_a_figure_or_a_picture_is_asked_for(tmp_path):
    """Otherwise the test above would block nothing."""
    clone(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.png").write_bytes(b"")
    lines = python("-c", BLOCKED + FIGURE, cwd=tmp_path).splitlines()
    assert lines[0] == "No module named 'matplotlib'"
    assert "No module named 'PIL'" in lines[1]


# The training engine: its own tests, under JAX

MAKEFILE = (ROOT / "Makefile").read_text().replace("\\\n", " ")
ENGINE = re.search(r"^ENGINE = (.+)$", MAKEFILE, re.MULTILINE)[1].split()
IN_SHORT = {
    "jax_steps": [
        "test_weights_and_losses_are_those_of_a_step_a_call[4]",
        "test_the_rate_is_that_of_each_step",
        "test_a_resumed_run_has_the_same_bits",
    ],
    "fit": ["test_a_loss_that_is_not_a_number_in_the_first_epoch_is_an_error"],
    "callbacks": ["test_after_an_interrupt_the_run_says_how_to_go_on"],
}


def pytest_on_jax(*arguments):
    """Run tests under JAX; return pytest's last line, such as "3 passed in 9.1s"."""
    options = ("-q", "--tb=short", "-p", "no:xdist", "-p", "no:cacheprovider")
    return python("-m", "pytest", *options, *arguments, cwd=ROOT).splitlines()[-1]


def test_the_engine_trains_resumes_and_ends_on_jax_as_it_should():
    asked = [f"tests/test_{file}.py::{name}" for file, names in IN_SHORT.items() for name in names]
    said = pytest_on_jax(*asked)
    assert re.match(rf"{len(asked)} passed(, \d+ warnings?)? in ", said), (
        "each, and none is skipped"
    )


@pytest.mark.slow
@pytest.mark.parametrize("file", ENGINE)
def test_each_test_of_the_engine_passes_on_jax(file):
    assert " passed" in pytest_on_jax(f"tests/test_{file}.py", "-m", "not slow")

"""Exported files: loaded again without the library, they compute what the network does."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import keras
import numpy as np
import pytest
from backends import BACKEND, tensorflow_only
from keras import layers
from PIL import Image
from small import DATA, net

from resnet_lib import exports, records
from resnet_lib.training.network import with_preprocessing

ROOT = Path(__file__).resolve().parents[1]
PICTURES = DATA.train.images
NAMES = [*"abcdefgh", "with spaces", "ünïcode"]


def network(normalize="channel"):
    """A small net that answers with some certainty, its preprocessing inside."""
    model = net()
    kernel = np.random.default_rng(0).normal(size=model.layers[-1].kernel.shape)
    model.layers[-1].kernel.assign(5 * kernel)
    return with_preprocessing(model, PICTURES, normalize)


MODEL = network()
needs_tensorflow = tensorflow_only("its converters write the files")


def a_run(model=MODEL, **found):
    """A run of a network that is not on disk."""
    record = {
        "model": {"id": "small", "name": "small", "trainable_parameters": 1},
        "recipe": {"name": "short", "epochs": 1},
        "dataset": {
            "source": "shapes",
            "sizes": [1, 1, 1],
            "image_shape": [16, 16, 3],
            "classes": NAMES,
        },
        "history": {"val_accuracy": []},
    }
    run = records.Run(record, model=model)
    run._found.update(found)
    return run


# What a file is asked by a program of its own

FRESH = {
    "saved_model": """
import tensorflow as tf

model = tf.saved_model.load(sys.argv[1])
found = model.serve(pictures.astype("float32")).numpy()
""",
    "tflite": """
from ai_edge_litert.interpreter import Interpreter

interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
[given], [returned] = interpreter.get_input_details(), interpreter.get_output_details()
found = []
for picture in pictures:
    interpreter.set_tensor(given["index"], picture[None].astype(given["dtype"]))
    interpreter.invoke()
    found.append(interpreter.get_tensor(returned["index"])[0])
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
    "onnx": """
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
[given] = session.get_inputs()
[found] = session.run(None, {given.name: pictures.astype("float32")})
print(session.get_modelmeta().custom_metadata_map["classes"], file=sys.stderr)
assert "keras" not in sys.modules and "tensorflow" not in sys.modules
""",
}
FRESH["tflite-int8"] = FRESH["tflite"]
AROUND = """
import sys
import numpy as np

pictures = np.load(sys.argv[2])
{}
assert "resnet_lib" not in sys.modules
np.save(sys.argv[3], np.array(found, "float32"))
"""


def asked_elsewhere(path, format, folder):
    """Return what a file says of the pictures in a process without the library, and its stderr."""
    np.save(folder / "pictures.npy", PICTURES[:20])
    script = AROUND.format(FRESH[format])
    files = [str(path), *(str(folder / name) for name in ("pictures.npy", "found.npy"))]
    process = subprocess.run(
        [sys.executable, "-c", script, *files], cwd=folder, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return np.load(folder / "found.npy"), process.stderr


def expected(model=MODEL):
    return model.predict(PICTURES[:20].astype("float32"), verbose=0)


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("format", exports.SUFFIXES)
def test_a_file_says_elsewhere_what_the_network_does(format, tmp_path):
    path = tmp_path / "new" / f"net{exports.SUFFIXES[format]}"
    done = exports.export(a_run(), path, format, pictures=PICTURES)
    found, told = asked_elsewhere(path, format, tmp_path)
    wanted = expected()
    assert wanted.max() > 0.5, "a network that tells nothing apart proves nothing"
    assert done.bytes > 1000
    if format == "tflite-int8":
        assert np.abs(found - wanted).max() < 0.1
        assert done.difference > 0
    else:
        np.testing.assert_allclose(found, wanted, atol=1e-4)
        assert done.agreement == 1
    folder = path if format == "saved_model" else path.parent
    assert (folder / "labels.txt").read_text(encoding="utf-8").splitlines() == NAMES
    if format == "onnx":
        assert json.dumps(NAMES) in told
    assert not list(tmp_path.rglob(".export-*")), "something was left behind"
    assert format in str(done) and f"{done.pictures_per_second:,.0f}" in str(done)
    again = exports.load(path)(PICTURES[:20])
    np.testing.assert_allclose(again, found, atol=1e-5)


@needs_tensorflow
@pytest.mark.slow
def test_whole_numbers_take_uint8_pictures_even_where_none_is_black_or_white(tmp_path):
    pale = PICTURES // 4 + 90
    done = exports.export(MODEL, tmp_path / "net.tflite", "tflite-int8", pictures=pale)
    [given] = exports._interpreter(done.path).get_input_details()
    assert given["dtype"] == np.uint8
    assert given["quantization"] == (1.0, 0), "a pixel's number is not itself"
    with pytest.raises(ValueError, match=r"from 0 to 255\. Received: 9000 to 15300; if 16,383"):
        exports.export(MODEL, tmp_path / "b.tflite", "tflite-int8", pictures=pale * 100.0)
    assert not (tmp_path / "b.tflite").exists()


@needs_tensorflow
@pytest.mark.slow
def test_the_mean_image_is_in_the_file(tmp_path):
    """Keras' Normalization holds it as a tensor, which becomes a second input of an ONNX file."""
    model = network("image")
    done = exports.export(model, tmp_path / "net.onnx", pictures=PICTURES)
    assert done.difference < 1e-5
    assert not (tmp_path / "labels.txt").exists()


@needs_tensorflow
@pytest.mark.slow
def test_the_temperature_is_in_the_file(tmp_path):
    before = MODEL.get_weights()
    run = a_run(temperature=2.5)
    done = exports.export(run, tmp_path / "net.onnx", pictures=PICTURES)
    found = exports.load(done.path)(PICTURES[:20])
    np.testing.assert_allclose(found, run.predict(PICTURES[:20]).probabilities, atol=1e-4)
    assert np.abs(found - expected()).max() > 0.05
    for one, other in zip(before, MODEL.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@needs_tensorflow
@pytest.mark.slow
def test_the_command_prints_a_table(tmp_path):
    larger = PICTURES.repeat(2, axis=1).repeat(2, axis=2)  # Fitted as `run.predict` does.
    told, complete = exports.command(a_run(), ["onnx", "tflite"], tmp_path, larger)
    assert complete
    lines = told.splitlines()
    assert lines[0].split()[:2] == ["format", "size"]
    assert [line.split()[0] for line in lines[1:]] == ["onnx", "tflite"]
    assert {path.name for path in tmp_path.iterdir()} == {
        "labels.txt",
        "model.onnx",
        "model.tflite",
    }
    with pytest.raises(FileExistsError, match=r"model\.tflite"):
        exports.command(a_run(), ["saved_model", "tflite"], tmp_path)
    assert not (tmp_path / "saved_model").exists()


@needs_tensorflow
def test_the_command_refuses_before_it_writes(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="`pictures` for 'tflite-int8'"):
        exports.command(a_run(), ["saved_model", "tflite-int8"], tmp_path)
    monkeypatch.setitem(exports._PACKAGES, "onnx", ("no_such_package",))
    with pytest.raises(ImportError, match="no_such_package"):
        exports.command(a_run(), ["saved_model", "onnx"], tmp_path)
    assert list(tmp_path.iterdir()) == []


@needs_tensorflow
def test_pictures_of_a_model_are_of_0_to_255(tmp_path):
    with pytest.raises(ValueError, match=r"from 0 to 255\. Received: 0 to 1: scaled"):
        exports.export(MODEL, tmp_path / "x.tflite", "tflite-int8", pictures=PICTURES / 255)


@needs_tensorflow
def test_pictures_that_cannot_be_read_are_said(tmp_path, monkeypatch):
    Image.fromarray(PICTURES[0]).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:60])
    monkeypatch.setattr(exports, "export", lambda run, path, format, pictures: len(pictures))
    monkeypatch.setattr(exports, "table", list)
    with pytest.warns(UserWarning, match=r"1 of 2 pictures cannot be read.*: cut\.png"):
        found = exports.command(a_run(), ["onnx"], tmp_path / "out", tmp_path)
    assert found == ([1], False)


@needs_tensorflow
def test_a_file_that_computes_something_else_is_not_kept(tmp_path, monkeypatch):
    def another(model, part, shape, pictures):
        part.write_bytes(b"x")

    monkeypatch.setitem(exports._WRITERS, "onnx", another)
    monkeypatch.setitem(exports._READERS, ".onnx", lambda path: lambda x: np.zeros((len(x), 10)))
    with pytest.raises(RuntimeError, match="is off by"):
        exports.export(MODEL, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


# What is refused


@needs_tensorflow
def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "net.onnx").write_text("mine")
    with pytest.raises(FileExistsError, match="name another"):
        exports.export(MODEL, tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("other\n")
    with pytest.raises(FileExistsError, match=r"labels of other classes.*labels\.txt"):
        exports.export(a_run(), tmp_path / "other.onnx")
    assert (tmp_path / "net.onnx").read_text() == "mine"
    assert (tmp_path / "labels.txt").read_text() == "other\n"


@needs_tensorflow
def test_what_does_not_fit_is_refused(tmp_path):
    def refused(match, model=MODEL, name="a.onnx", format=None, **options):
        with pytest.raises(ValueError, match=match):
            exports.export(model, tmp_path / name, format, **options)

    refused("'.pb'", name="a.pb")
    refused("'tflite-int8'.*nearest: 'tflite'", name="a.tflite", format="tflit")
    refused(r"ends in \.tflite for 'tflite'", format="tflite")
    refused("`pictures` for 'tflite-int8'", name="a.tflite", format="tflite-int8")
    refused(r"`pictures` of shape \(n, 16, 16, 3\)", pictures=PICTURES[:, :8])
    refused("for 10 outputs. Received: 2", class_names=["a", "b"])
    refused("of one line", class_names=[*NAMES[1:], "a\nb"])
    free = keras.Input((None, None, 3))
    refused("pictures of one size", keras.Model(free, layers.GlobalAveragePooling2D()(free)))
    refused("a number for each class", keras.Model(MODEL.input, MODEL.layers[-3].output))
    tail = keras.Model(MODEL.input, layers.Rescaling(1.0)(MODEL.output))
    refused("temperature, 2", a_run(tail, temperature=2.0))
    assert not list(tmp_path.iterdir())


@needs_tensorflow
def test_a_package_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(exports._PACKAGES, "onnx", ("no_such_package",))
    with pytest.raises(ImportError, match=r"no_such_package: pip install 'resnet-lib\[export\]'"):
        exports.export(MODEL, tmp_path / "a.onnx")


def test_another_backend_is_refused(tmp_path, monkeypatch):
    if BACKEND == "tensorflow":
        monkeypatch.setattr(exports.keras.backend, "backend", lambda: "jax")
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND=tensorflow"):
        exports.export(MODEL, tmp_path / "a.onnx")


def test_nothing_is_loaded_from_nowhere(tmp_path):
    with pytest.raises(FileNotFoundError, match="where nothing is"):
        exports.load(tmp_path / "a.onnx")


def test_what_users_need_is_tested():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = extras["optional-dependencies"]
    assert set(extras["export"]) <= set(extras["test"])

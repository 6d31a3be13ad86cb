"""A trained network as a file for programs without Keras: SavedModel, TFLite, ONNX.

Each file takes pictures of 0-255 and returns probabilities, as the network does, and is compared
with it before it is handed over. The names of the classes stand in `labels.txt` beside it, a line
each, in the order of the outputs. What the formats need is in the extra `resnet-lib[export]`.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np

from . import checks, tables
from .pictures import range_hint, read
from .replay import ends_in, graph_of
from .training.copies import checked, copied, layers_of

LABELS = "labels.txt"
SUFFIXES = {"saved_model": "", "tflite": ".tflite", "tflite-int8": ".tflite", "onnx": ".onnx"}
# How far probabilities may be from Keras'. Whole numbers are another network: see `agreement`.
TOLERANCE = 1e-3
CALIBRATION = 100  # pictures that the ranges of whole numbers are taken from
TRIED = 16  # pictures that a file is compared with the network on


@dataclass(frozen=True)
class Exported:
    """A network as a file.

    Attributes:
        path: the file; for SavedModel the folder.
        format: "saved_model", "tflite", "tflite-int8" or "onnx".
        bytes: its size.
        difference: the largest difference of a probability from Keras', on some pictures.
        agreement: share of these pictures that get the same answer.
        pictures_per_second: one at a time, on this machine's CPU.
    """

    path: Path
    format: str
    bytes: int
    difference: float
    agreement: float
    pictures_per_second: float

    def __str__(self) -> str:
        return table([self])


def table(exported: Iterable[Exported]) -> str:
    """Return exported files as a table: format, size, speed, how near they are to the network."""
    rows = [
        (
            each.format,
            f"{each.bytes / 1e6:.2f} MB",
            f"{each.pictures_per_second:,.0f}",
            f"{each.difference:.1g}",
            f"{each.agreement:.0%}",
            str(each.path),
        )
        for each in exported
    ]
    head = ("format", "size", "pictures/s", "differs by", "same answer", "file")
    return tables.text(rows, head)


def export(
    run_or_model: Any,
    path: Path | str,
    format: str | None = None,
    *,
    pictures: Any = None,
    class_names: Sequence[str] | None = None,
) -> Exported:
    """Write a trained network as a file for programs that have no Keras.

    Args:
        run_or_model: `resnet_lib.records.Run`, or a functional or sequential `keras.Model` of one
            input and one output. A temperature that `run.calibrate` has found is in the file.
        path: of the file, which ends in .tflite or .onnx; of a folder for SavedModel. What is there
            stays as it is.
        format: "saved_model", "tflite", "tflite-int8" (whole numbers of 8 bits: a quarter of the
            size, and uint8 pictures in) or "onnx"; None: what the path ends in.
        pictures: array (n, height, width, channels) as the network takes them, such as 100 training
            pictures: to compare the file with the network on, and for "tflite-int8", which needs
            them, to take the ranges of its numbers from. Of a run, all that `run.predict` takes,
            such as a folder. None: noise.
        class_names: for a model; a run has its own.

    Returns:
        Exported, which prints its size, its speed, and how near it is to the network.

    Raises:
        ValueError: for an unknown format, another suffix, no pictures where they are needed.
        FileExistsError: if there is something at `path`, or other labels beside it.
        NotImplementedError: where Keras runs on another backend than TensorFlow.
        ImportError: if the format's package is not there.
        RuntimeError: if the file does not compute what the network does.
    """
    path, format = _place(path, format)
    _check_backend()
    _check_packages(format)
    if hasattr(run_or_model, "record"):
        class_names = class_names or run_or_model.class_names
        pictures, _ = _read(run_or_model, pictures)
    model, shape = _exportable(run_or_model)
    pictures = _pictures(pictures, shape, format)
    labels = _labels_file(path, format, class_names, model.output_shape[-1])
    with TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
        part = Path(folder) / path.name
        _WRITERS[format](model, part, shape, pictures)
        if labels is not None:
            _name_classes(part, format, class_names)
        found = _compared(model, part, format, pictures)
        os.rename(part, path)
    if labels is not None and format != "saved_model":
        _write_labels(labels, class_names)
    return Exported(path, format, _size(path), *found)


# What can be refused before anything is done


def _place(path, format):
    path = checks.path("path", path)
    if format is None:
        known = {".tflite": "tflite", ".onnx": "onnx", "": "saved_model"}
        format = checks.choice("the suffix of path", path.suffix, known)
    checks.choice("format", format, SUFFIXES)
    if SUFFIXES[format] and path.suffix != SUFFIXES[format]:
        raise ValueError(
            f"Expected a path that ends in {SUFFIXES[format]} for {format!r}. Received: {path}"
        )
    if path.exists():
        raise FileExistsError(
            f"Expected a path where nothing is yet. Received: {path}: name another, or remove it"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    return path, format


def _check_backend():
    if keras.backend.backend() != "tensorflow":
        raise NotImplementedError(
            "Expected Keras on TensorFlow, whose converters write the files. Received: "
            f"{keras.backend.backend()!r}: the same model.keras can be exported in another process "
            "with KERAS_BACKEND=tensorflow"
        )


_PACKAGES = {"saved_model": (), "tflite": ("ai_edge_litert",), "onnx": ("tf2onnx", "onnxruntime")}
_PACKAGES["tflite-int8"] = _PACKAGES["tflite"]


def _check_packages(format):
    from importlib.util import find_spec

    missing = [name for name in _PACKAGES[format] if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{format!r} needs {', '.join(missing)}: pip install 'resnet-lib[export]', or in a "
            "checkout make setup"
        )


def _exportable(run_or_model):
    """Return a copy of the network to export, and the shape of its pictures."""
    if not hasattr(run_or_model, "record"):
        model = copied(checked(run_or_model))
        shape = tuple(model.input_shape[1:])
    else:
        run = run_or_model
        model = copied(run.model if run.model is not None else run.load_model())
        shape = tuple(run.card["input_shape"])
        _divide_logits(model, run.card["temperature"])
    if len(shape) != 3 or None in shape:
        raise ValueError(
            "Expected a model that takes pictures of one size, (height, width, channels), or a "
            f"run, which knows its own. Received: {model.name} for {shape}"
        )
    if len(model.output_shape) != 2:
        raise ValueError(
            "Expected a model that returns a number for each class. "
            f"Received: {model.name}, which returns {model.output_shape[1:]} for a picture"
        )
    _hold_constants(model)
    return model, shape


def _divide_logits(model, temperature):
    """Have the last layer compute the logits over a temperature, as `run.predict` takes them."""
    if temperature in (None, 1):
        return
    layer = ends_in(graph_of(model), keras.layers.Dense)
    if layer is None:
        raise ValueError(
            "Expected a network whose last layer is a Dense one with a softmax, so that its "
            f"temperature, {temperature:.3g}, can be put into the file. Received: {model.name}; "
            "export its model, run.model, for probabilities without it"
        )
    layer.set_weights([weight / temperature for weight in layer.get_weights()])


def _hold_constants(model):
    """Make what `Normalization` was given numbers of the graph: ONNX takes tensors for inputs."""
    for layer in layers_of(model):
        if isinstance(layer, keras.layers.Normalization):
            for name in ("mean", "variance"):
                setattr(layer, name, keras.ops.convert_to_numpy(getattr(layer, name)))


def _check_given(pictures, format):
    if pictures is None and format == "tflite-int8":
        raise ValueError(
            "Expected `pictures` for 'tflite-int8', some 100 as the network was trained on: the "
            "ranges of its whole numbers are taken from them. Received: None"
        )


def _pictures(pictures, shape, format):
    _check_given(pictures, format)
    if pictures is None:
        return np.random.default_rng(0).integers(0, 256, (TRIED, *shape)).astype("float32")
    pictures = np.asarray(pictures)
    if pictures.ndim != 4 or pictures.shape[1:] != shape or not len(pictures):
        raise ValueError(
            f"Expected `pictures` of shape (n, {', '.join(map(str, shape))}). "
            f"Received: {pictures.shape}"
        )
    low, high = pictures.min(), pictures.max()
    if hint := range_hint(low, high, pictures.dtype.kind):
        raise ValueError(
            f"Expected `pictures` as numbers from 0 to 255. Received: {low:g} to {high:g}{hint}"
        )
    return pictures[np.linspace(0, len(pictures) - 1, min(len(pictures), CALIBRATION)).astype(int)]


# The labels


def _labels_file(path, format, class_names, outputs):
    """Return where the classes' names go; None if they are not known."""
    if class_names is None:
        return None
    if len(class_names) != outputs:
        raise ValueError(
            f"Expected `class_names` for {outputs} outputs. Received: {len(class_names)}"
        )
    bad = [name for name in class_names if "\n" in name or "\r" in name]
    if bad:
        raise ValueError(f"Expected names of classes of one line. Received: {bad[0]!r}")
    file = path / LABELS if format == "saved_model" else path.parent / LABELS
    if file.exists() and file.read_text(encoding="utf-8") != _lines(class_names):
        raise FileExistsError(
            f"Expected no labels of other classes beside the file. Received: {file}: take another "
            "folder"
        )
    return file


def _lines(class_names):
    return "".join(f"{name}\n" for name in class_names)


def _write_labels(file, class_names):
    file.write_text(_lines(class_names), encoding="utf-8")


def _name_classes(part, format, class_names):
    """Put the names where the format itself has a place for them."""
    if format == "saved_model":
        _write_labels(part / LABELS, class_names)
    elif format == "onnx":
        import onnx

        model = onnx.load(str(part))
        onnx.helper.set_model_props(model, {"classes": json.dumps(list(class_names))})
        onnx.save(model, str(part))


# The formats


def _signature(model, shape):
    name = model.inputs[0].name
    return [keras.InputSpec(shape=(None, *shape), dtype="float32", name=name)]


def _saved_model(model, part, shape, pictures):
    model.export(
        part, format="tf_saved_model", verbose=False, input_signature=_signature(model, shape)
    )


def _tflite(model, part, shape, pictures, **options):
    model.export(
        str(part),
        format="litert",
        verbose=False,
        input_signature=_signature(model, shape),
        **options,
    )


def _tflite_int8(model, part, shape, pictures):
    import tensorflow as tf

    _tflite(
        model,
        part,
        shape,
        pictures,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([one[None]] for one in _spanning(pictures)),
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        inference_input_type=tf.uint8,
    )
    details = _interpreter(part).get_input_details()[0]
    if details["quantization"] != (1.0, 0):
        scale, zero = details["quantization"]
        raise RuntimeError(
            "Expected a file in which a pixel's number is itself, 0 to 255. Received one with a "
            f"step of {scale:.4g} from {zero}"
        )


def _spanning(pictures):
    """Return the pictures in float32, the first with a pixel of 0 and one of 255.

    The range of what goes in is that of these pictures; it has to be 0 to 255, so that a uint8
    picture is taken for what it is.
    """
    pictures = pictures.astype("float32")
    pictures[0, 0, 0], pictures[0, -1, -1] = 0, 255
    return pictures


def _onnx(model, part, shape, pictures):
    model.export(str(part), format="onnx", verbose=False, input_signature=_signature(model, shape))


_WRITERS: dict[str, Callable] = {
    "saved_model": _saved_model,
    "tflite": _tflite,
    "tflite-int8": _tflite_int8,
    "onnx": _onnx,
}


# The files, read again


def load(path: Path | str) -> Callable[[np.ndarray], np.ndarray]:
    """Load an exported file, to ask it as a program without Keras does.

    Args:
        path: a SavedModel folder, a .tflite or an .onnx file.

    Returns:
        Function of pictures, array (n, height, width, channels) of 0-255, that returns
        probabilities, float32 array (n, classes).

    Raises:
        ValueError: for another suffix.
        FileNotFoundError: if there is none.
    """
    path = checks.path("path", path)
    if not path.exists():
        raise FileNotFoundError(f"Expected an exported file. Received: {path}, where nothing is")
    return checks.choice("the suffix of path", path.suffix, _READERS)(path)


def _load_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))

    def ask(pictures):
        return loaded.serve(tf.convert_to_tensor(pictures, tf.float32)).numpy()

    ask.kept = loaded  # Its variables go when it goes.
    return ask


def _interpreter(path):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    return interpreter


def _load_tflite(path):
    interpreter = _interpreter(path)
    given, returned = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def ask(pictures):
        rows = []
        for picture in pictures:  # Files of whole numbers take one at a time on all devices.
            interpreter.set_tensor(given["index"], picture[None].astype(given["dtype"]))
            interpreter.invoke()
            rows.append(interpreter.get_tensor(returned["index"])[0])
        return np.array(rows)

    return ask


def _load_onnx(path):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    if len(inputs) != 1:
        names = ", ".join(each.name for each in inputs)
        raise RuntimeError(
            f"Expected a file with one input. Received: {path} with {names}; a layer of the model "
            "holds a tensor that is no weight"
        )
    return lambda pictures: session.run(None, {inputs[0].name: pictures.astype("float32")})[0]


_READERS = {"": _load_saved_model, ".tflite": _load_tflite, ".onnx": _load_onnx}


def _compared(model, part, format, pictures):
    """Return (difference, agreement, pictures a second) of a file; RuntimeError if it is off."""
    ask, some = _READERS[SUFFIXES[format]](part), pictures[:TRIED]
    wanted = keras.ops.convert_to_numpy(model.predict_on_batch(some.astype("float32")))
    found = ask(some)
    difference = float(np.abs(found - wanted).max())
    agreement = float((found.argmax(axis=1) == wanted.argmax(axis=1)).mean())
    if format != "tflite-int8" and not difference <= TOLERANCE:
        raise RuntimeError(
            f"Expected a file that computes what {model.name} does, within {TOLERANCE:g}. "
            f"Received one as {format!r} that is off by {difference:.2g}; nothing was kept"
        )
    return difference, agreement, _speed(ask, some[:1])


def _speed(ask, picture, seconds=0.5):
    """Return how many pictures a second are answered, one at a time, after a few to warm up."""
    for _ in range(3):
        ask(picture)
    count, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        ask(picture)
        count += 1
    return count / taken


def _size(path):
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(each.stat().st_size for each in files)


# The command line


def command(
    run: Any, formats: Sequence[str], folder: Path | str, pictures: Any = None
) -> tuple[str, bool]:
    """Export a run in several formats into a folder.

    Args:
        run: `resnet_lib.records.Run`.
        formats: of `SUFFIXES`.
        folder: where they go, as saved_model/, model.tflite, model-int8.tflite, model.onnx.
        pictures: as in `export`.

    Returns:
        The table of what was written, and whether all pictures could be read.

    Raises:
        ValueError: as `export`, before anything is written; or the folder has no readable picture.
        FileExistsError: if one of the files is there.
    """
    folder = checks.path("folder", folder)
    places = {each: folder / checks.choice("format", each, _FILES) for each in formats}
    _check_backend()
    for format, path in places.items():
        _place(path, format)
        _check_packages(format)
        _check_given(pictures, format)
    readable, complete = _read(run, pictures)
    written = [export(run, path, format, pictures=readable) for format, path in places.items()]
    return table(written), complete


_FILES = {
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "tflite-int8": "model-int8.tflite",
    "onnx": "model.onnx",
}


def _read(run, pictures):
    """Return pictures as the run's network takes them, and whether all could be read."""
    if pictures is None:
        return None, True
    found = read(pictures, run.card)
    if found.errors:
        checks.warn(
            f"{len(found.errors):,} of {len(found.names):,} pictures cannot be read, and are left "
            f"out: {checks.ten_of([found.names[place] for place in found.errors])}"
        )
    return found.pixels[found.readable()], not found.errors

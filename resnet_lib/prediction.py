"""What a trained network says of pictures: files of any kind and size, or arrays.

`records.Run` has the methods; here is how they are done. Files are read as
`resnet_lib.datasets.image_folder` reads them, by the module `datasets.images`, which is handed in
as `reader`.
"""

import os
import unicodedata
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from . import cards, checks, tables

NONE = "none of these"
_TINY = 1e-30  # in place of a probability of 0, before its logarithm is taken


class Answer(NamedTuple):
    """A class and how probable it is, from 0 to 1."""

    name: str
    probability: float


class Prediction(NamedTuple):
    """What is said of one picture.

    Attributes:
        picture: its file, or its place in the array.
        answers: tuple of `Answer`, the most probable first; empty if the file cannot be read.
        known: whether it looks like a picture of one of the classes at all; None where no threshold
            was found for that (`Run.calibrate`), or the file cannot be read.
        error: why the file cannot be read; else None.
    """

    picture: str
    answers: tuple[Answer, ...]
    known: bool | None = None
    error: str | None = None

    @property
    def name(self) -> str | None:
        """The most probable class, "none of these", or None if the file cannot be read."""
        if not self.answers:
            return None
        return NONE if self.known is False else self.answers[0].name

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        answers = [{"class": a.name, "probability": a.probability} for a in self.answers]
        told = {"picture": self.picture, "name": self.name, "known": self.known}
        return told | {"answers": answers, "error": self.error}


class Predictions(Sequence):
    """A list of `Prediction`, one for each picture in order, that prints as a table.

    Attributes:
        class_names: all classes, in the order of the network's outputs.
        probabilities: float32 array (n, classes); nan where a file cannot be read.
    """

    def __init__(
        self, items: Sequence[Prediction], class_names: Sequence[str], probabilities: np.ndarray
    ):
        self._items = list(items)
        self.class_names, self.probabilities = tuple(class_names), probabilities

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place):
        if isinstance(place, slice):
            return Predictions(self._items[place], self.class_names, self.probabilities[place])
        return self._items[place]

    @property
    def names(self) -> list[str | None]:
        """The answer to each picture: see `Prediction.name`."""
        return [each.name for each in self]

    @property
    def unreadable(self) -> dict[str, str]:
        """The files that cannot be read, and why."""
        return {each.picture: each.error for each in self if each.error is not None}

    def _rows(self):
        return [_row(each) for each in self]

    def __repr__(self):
        return tables.text(self._rows(), _HEAD) if len(self) else "no pictures"

    def _repr_html_(self):
        return tables.html(self._rows(), _HEAD)


_HEAD = ("picture", "answer", "probability", "then")


def _row(prediction):
    if not prediction.answers:
        return prediction.picture, "cannot be read", "", prediction.error
    told = [f"{each.name} {each.probability:.1%}" for each in prediction.answers]
    if prediction.known is False:
        return prediction.picture, NONE, "", f"nearest: {', '.join(told)}"
    first = prediction.answers[0]
    return prediction.picture, first.name, f"{first.probability:.1%}", ", ".join(told[1:])


class Evaluation:
    """How often a network is right on pictures whose classes are known.

    Attributes:
        source: which pictures.
        class_names: the network's classes, in the order of its outputs.
        labels: int array (n,), the true classes.
        predictions: `Predictions` of the same pictures.
        confusion: int array (classes, classes): a row for each true class, a column for each
            answer.
        unreadable: {file: why}; these are not among the n.
    """

    def __init__(self, source, labels, predictions, unreadable):
        self.source, self.labels, self.predictions = source, labels, predictions
        self.unreadable, self.class_names = unreadable, predictions.class_names
        number = len(self.class_names)
        self.confusion = np.zeros((number, number), int)
        answers = predictions.probabilities.argmax(axis=1)
        np.add.at(self.confusion, (labels, answers), 1)

    @property
    def accuracy(self) -> float:
        """The share of pictures whose most probable class is the true one."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    @property
    def baseline(self) -> float:
        """What always naming the most frequent class of these pictures would reach."""
        return float(self.confusion.sum(axis=1).max() / self.confusion.sum())

    @property
    def recall(self) -> dict[str, float]:
        """Of each class that there are pictures of, the share that is recognised."""
        counts, right = self.confusion.sum(axis=1), np.diag(self.confusion)
        names = zip(self.class_names, counts, right, strict=True)
        return {name: float(hits / count) for name, count, hits in names if count}

    @property
    def missing(self) -> list[str]:
        """The network's classes of which there is no picture."""
        return [name for name in self.class_names if name not in self.recall]

    @property
    def refused(self) -> float | None:
        """The share that is said to be "none of these"; None without a threshold."""
        if any(each.known is None for each in self.predictions):
            return None
        return float(np.mean([not each.known for each in self.predictions]))

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        names = ("source", "accuracy", "baseline", "recall", "missing", "refused", "unreadable")
        told = {name: getattr(self, name) for name in names}
        return told | {
            "pictures": len(self.labels),
            "classes": list(self.class_names),
            "confusion": self.confusion.tolist(),
        }

    def _rows(self):
        rows = []
        for name, share in self.recall.items():
            row = self.confusion[self.class_names.index(name)]
            mistaken = [(n, other) for n, other in zip(row, self.class_names, strict=True) if n]
            mistaken = sorted((m for m in mistaken if m[1] != name), key=lambda m: -m[0])
            told = ", ".join(f"{other} {n:,}" for n, other in mistaken[:3])
            rows.append((name, f"{row.sum():,}", f"{share:.1%}", told))
        return rows

    def _notes(self):
        notes = [
            f"accuracy {self.accuracy:.1%} of {len(self.labels):,} pictures; always the most "
            f"frequent class: {self.baseline:.1%}"
        ]
        if self.refused is not None:
            notes.append(f'of these pictures, {self.refused:.1%} are said to be "{NONE}"')
        if self.missing:
            notes.append(f"no picture of {checks.ten_of(self.missing)}")
        if self.unreadable:
            names = checks.ten_of(list(self.unreadable))
            notes.append(f"{len(self.unreadable):,} files cannot be read: {names}")
        return notes

    def __repr__(self):
        head = ("class", "pictures", "recognised", "taken for")
        return "\n".join([self.source, tables.text(self._rows(), head), *self._notes()])

    def _repr_html_(self):
        head = ("class", "pictures", "recognised", "taken for")
        notes = tables.html([[note] for note in self._notes()])
        return tables.html(self._rows(), head, title=self.source) + notes


# The network


class Scorer:
    """A trained network, asked for its scores: what its softmax makes probabilities of.

    Args:
        model: `keras.Model` of one input and one output, probabilities.

    Attributes:
        has_logits: whether the scores are the logits, found before the softmax. Where there is no
            softmax to be found, they are the logarithms of the probabilities: the same but for a
            number that is added to all of a picture's.
    """

    def __init__(self, model: Any):
        import keras

        self.model = model
        found = _before_softmax(model)
        self.has_logits = found is not None
        tensor, self._dense = found or (model.outputs[0], None)
        self._inner = keras.Model(model.inputs, tensor)
        if keras.backend.backend() == "tensorflow":
            self._inner.jit_compile = False  # As in `Run.load_model`.

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        """Return scores, float32 array (n, classes).

        Args:
            pixels: array (n, height, width, channels) of 0-255.
        """
        parts = [self._head(part) for part in self._batches(pixels)]
        return np.concatenate(parts).astype("float32")

    def _batches(self, pixels):
        """Yield what the network returns, a batch at a time; all batches are of one size."""
        import keras

        size = max(1, min(256, 2**20 // max(1, np.prod(pixels.shape[1:3]))))
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size].astype("float32")
            more = size - len(part) if start else 0  # Another size would be compiled anew.
            part = np.pad(part, [(0, more), (0, 0), (0, 0), (0, 0)])
            found = keras.ops.convert_to_numpy(self._inner.predict_on_batch(part))
            yield found[: len(part) - more]

    def _head(self, found):
        found = np.asarray(found, "float32")
        if self._dense is None:
            return found if self.has_logits else np.log(np.maximum(found, _TINY))
        # Asked for each time: whoever trains the network on finds no old numbers here.
        kernel, *bias = (np.asarray(each) for each in self._dense.get_weights())
        return found @ kernel + (bias[0] if bias else 0)


def _before_softmax(model):
    """Return (tensor, layer): where the logits are, or what a last dense layer makes them of.

    None where the network does not end in a softmax that can be seen.
    """
    import keras

    history = model.outputs[0]._keras_history
    operation = history.operation
    node = operation._inbound_nodes[history.node_index]
    if hasattr(operation, "operations") or isinstance(operation, keras.Sequential):
        found = _before_softmax(operation)
        if found is None:
            return None
        inner, dense = found
        return keras.Model(operation.inputs, inner)(node.input_tensors[0]), dense
    is_softmax = getattr(operation, "activation", None) is keras.activations.softmax
    if isinstance(operation, keras.layers.Dense):
        return (node.input_tensors[0], operation) if is_softmax else None
    if isinstance(operation, keras.layers.Activation):
        return (node.input_tensors[0], None) if is_softmax else None
    is_softmax = isinstance(operation, keras.layers.Softmax) or _is_operation(operation)
    on_last = getattr(operation, "axis", -1) in (-1, 1)
    return (node.input_tensors[0], None) if is_softmax and on_last else None


def _is_operation(operation):
    """Say whether something is `keras.ops.softmax` in a graph."""
    kind = type(operation)
    return kind.__name__ == "Softmax" and kind.__module__.startswith("keras.")


def softmax(scores: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """Return probabilities, an array like `scores`, which are divided by the temperature first."""
    scores = np.asarray(scores, "float32") / (temperature or 1)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def familiarity(scores: np.ndarray, kind: str) -> np.ndarray:
    """Return how much each picture looks like those of the classes: float array (n,).

    Args:
        scores: array (n, classes), logits.
        kind: "energy": the logarithm of the sum of the exponentials of the logits, the negative
            energy of Liu et al. 2020 (arXiv 2010.03759), section 3.1, at temperature 1.
            "probability": the largest probability, the baseline of Hendrycks and Gimpel 2017 (arXiv
            1610.02136), section 2.
    """
    checks.choice("kind", kind, cards.SCORES)
    if kind == "probability":
        return softmax(scores).max(axis=1)
    most = scores.max(axis=1)
    return most + np.log(np.exp(scores - most[:, None]).sum(axis=1))


def familiarities(scorer: Scorer, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Return {kind: familiarity} of each kind that a network's scores have."""
    kinds = [kind for kind in cards.SCORES if scorer.has_logits or kind != "energy"]
    return {kind: familiarity(scores, kind) for kind in kinds}


# The pictures


class Pictures(NamedTuple):
    """Pictures as a network takes them: names, array (n, height, width, channels), {row: error}.

    Rows that cannot be read are black.
    """

    names: list[str]
    pixels: np.ndarray
    errors: dict[int, Exception]

    def readable(self) -> np.ndarray:
        """Return which rows are pictures: int array."""
        return np.array([row for row in range(len(self.names)) if row not in self.errors], int)


def read(pictures: Any, shape: Sequence[int], reader: ModuleType) -> Pictures:
    """Read pictures as a network of a shape takes them.

    Args:
        pictures: as `records.Run.predict` takes them.
        shape: (height, width, channels) of the network's input.
        reader: `resnet_lib.datasets.images`.

    Raises:
        FileNotFoundError: one path, where nothing is.
        ValueError: nothing in it can be read; or an array that is no pictures of 0-255.
    """
    if hasattr(pictures, "images") and hasattr(pictures, "labels"):
        pictures = pictures.images
    if isinstance(pictures, np.ndarray) and pictures.dtype.kind in "US":
        pictures = pictures.ravel().tolist()
    if _is_file(pictures):
        pictures = [pictures]
        if isinstance(path := _path(pictures[0]), Path) and not path.exists():
            raise FileNotFoundError(
                f"Expected a picture, or a folder of pictures. Received: {path}, which is not there"
            )
    elif not isinstance(pictures, list | tuple):
        pixels = _fitted(_checked(_array(pictures), shape[2]), shape)
        return Pictures([f"[{row}]" for row in range(len(pixels))], pixels, {})
    return _from_list(pictures, shape, reader)


def _is_file(one):
    return isinstance(one, str | os.PathLike) or (hasattr(one, "read") and hasattr(one, "seek"))


def _path(file):
    return checks.path("pictures", file) if isinstance(file, str | os.PathLike) else file


def _from_list(items, shape, reader):
    """Read a list of files, folders and arrays of one picture each."""
    files, arrays, names = {}, {}, []
    for place, item in enumerate(items):
        if not _is_file(item):
            arrays[len(names)] = _one(item, place, shape)
            names.append(f"[{place}]")
            continue
        for file, name in _files(_path(item), reader):
            files[len(names)] = file
            names.append(name or f"[{place}]")
    if not names:
        raise ValueError("Expected at least one picture. Received: an empty list")
    pixels = np.zeros((len(names), *shape), _dtype(arrays.values()))
    for row, picture in arrays.items():
        pixels[row] = picture
    errors = {}
    if files:
        found, errors = _from_files(files, [names[row] for row in files], shape, reader)
        pixels[list(files)] = found
    if len(errors) == len(names):
        error = errors[min(errors)]
        raise ValueError(
            f"Expected pictures that can be read. Received: {checks.ten_of(names)} (the first: "
            f"{error})"
        ) from error
    return Pictures(names, pixels, errors)


def _dtype(arrays):
    return "uint8" if all(each.dtype == np.uint8 for each in arrays) else "float32"


def _one(item, place, shape):
    """Return an array of one picture in a list."""
    try:
        pixels = _checked(_array(item), shape[2])
    except ValueError as error:
        error.add_note(f"It is number {place} of the list, counted from 0.")
        raise
    if len(pixels) != 1:
        raise ValueError(
            "Expected a list of pictures, each a file or an array (height, width, channels). "
            f"Received: an array of {len(pixels):,} pictures as number {place}; "
            "np.concatenate makes one array of such a list"
        )
    return _fitted(pixels, shape)[0]


def _files(path, reader):
    """Yield (file, name) for a file, or for each picture in a folder; name None: it has none."""
    if not isinstance(path, Path):
        yield path, getattr(path, "name", None)
    elif path.is_dir():
        for file in in_folder(path, reader):
            yield file, file.relative_to(path).as_posix()
    else:
        yield path, str(path)


def in_folder(folder: Path, reader: ModuleType) -> list[Path]:
    """Return the picture files in a folder and below it, sorted; a warning names other files.

    Raises:
        ValueError: if there are none.
    """
    files, others = [], []
    for where, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if name[0] != ".")
        for name in sorted(name for name in names if name[0] != "."):
            path = Path(where, name)
            (files if path.suffix.lower() in reader.EXTENSIONS else others).append(path)
    told = checks.ten_of([path.relative_to(folder).as_posix() for path in others])
    if not files:
        raise ValueError(
            f"Expected pictures in {folder} ({', '.join(reader.EXTENSIONS)}). "
            f"Received: {told or 'an empty folder'}"
        )
    if others:
        _warn([f"{len(others):,} files in {folder} are no pictures, by their names: {told}"])
    return sorted(files, key=Path.as_posix)


def _warn(notes):
    for note in notes:
        warnings.warn(f"{note}.".encode(errors="backslashreplace").decode(), stacklevel=2)


def _from_files(files, names, shape, reader):
    """Return the pixels of {row: file}, uint8 (len(files), *shape), and {row: error}."""
    height, width, channels = shape
    if height != width or channels not in (1, 3):
        raise ValueError(
            "Expected arrays, for files become squares of 1 or 3 channels, and the network takes "
            f"pictures of {height}x{width}x{channels}. Received: {checks.ten_of(names)}"
        )
    found = reader.Pictures.empty(len(files), height)
    reader.read_into(found, list(files.values()), range(len(files)), height)
    _warn(reader.doubtful(found, names))
    errors = {row: found.unreadable[f] for row, f in files.items() if f in found.unreadable}
    return (_grey(found.pixels) if channels == 1 else found.pixels), errors


def _grey(pixels):
    """Return the brightness of RGB pictures, as Pillow's convert("L") does."""
    return (pixels @ np.array([19595, 38470, 7471]) + 2**15 >> 16).astype("uint8")[..., None]


def _array(given):
    if type(given).__module__.startswith("PIL."):
        raise ValueError(
            "Expected files or arrays. Received: a picture of Pillow's; give its file, which is "
            "turned and made RGB rightly, or np.asarray(picture.convert('RGB'))"
        )
    try:
        array = np.asarray(given)
    except (ValueError, TypeError) as error:
        raise ValueError(f"Expected files or arrays. Received: {given!r:.80}") from error
    if array.dtype.kind not in "biuf":
        raise ValueError(f"Expected files or arrays of numbers. Received: {given!r:.80}")
    return array


def _checked(array, channels):
    """Return pictures as uint8 or float32 (n, height, width, channels), values 0-255."""
    wanted = (
        "Expected pictures as numbers from 0 to 255, of shape (height, width, "
        f"{channels}), or (n, height, width, {channels}) for several"
    )
    if channels == 1 and array.ndim in (2, 3) and array.shape[-1] not in (1, 3, 4):
        array = array[..., None]
    if array.ndim not in (3, 4) or 0 in array.shape or array.shape[-1] != channels:
        hint = _shape_hint(array.shape, channels)
        raise ValueError(f"{wanted}. Received: shape {array.shape}{hint}")
    array = array if array.ndim == 4 else array[None]
    if array.dtype == np.uint8:
        if array.max() == 1:
            _warn(["No pixel is above 1, where 255 is white: if 1 is white, give 255 * pictures"])
        return array
    low, high = array.min(), array.max()
    if hint := _range_hint(low, high, array.dtype.kind):
        raise ValueError(f"{wanted}. Received: {array.dtype} from {low:g} to {high:g}{hint}")
    return array.astype("float32" if array.dtype.kind == "f" else "uint8")


def _shape_hint(shape, channels):
    if 0 in shape:
        return ", with nothing in it"
    if len(shape) in (3, 4) and shape[-3] == channels and shape[-1] not in (1, 3, 4):
        return ", which has channels first; np.moveaxis(pictures, -3, -1) has them last"
    if channels == 3 and len(shape) in (3, 4) and shape[-1] == 4:
        return (
            "; the fourth channel is transparency: give the file, which is laid on white, or "
            "pictures[..., :3]"
        )
    if channels == 3 and len(shape) in (3, 4) and shape[-1] == 1:
        return "; np.repeat(pictures, 3, axis=-1) makes grey pictures red, green and blue"
    if channels == 3 and len(shape) in (2, 3):
        return (
            "; if they are grey, np.repeat(pictures[..., None], 3, axis=-1) makes them red, green "
            "and blue"
        )
    if channels == 1 and shape[-1:] in ((3,), (4,)):
        return "; give the files, or np.asarray(Image.fromarray(picture).convert('L')) of each"
    return ""


def _range_hint(low, high, kind):
    """Say what is wrong with a range of values, and the way out; "" if it is 0-255."""
    if not (np.isfinite(low) and np.isfinite(high)):
        return ", not all of them finite"
    if low < 0:
        return ": normalised, which the network does itself; give the pictures as they were before"
    if 0 < high <= 1 or (0 < high < 2 and kind == "f"):
        return ": scaled to 0-1, which the network does itself; 255 * pictures undoes it"
    if high >= 256:  # What was of 16 bits has fractions above 255.
        bits = max(9, int(high).bit_length())
        return f"; if {2**bits - 1:,} is white, pictures / {2 ** (bits - 8)} fits"
    return ""


def _fitted(pixels, shape):
    """Return pictures of a shape: the middle of each, of the same proportions, resized by area."""
    height, width, channels = shape
    if pixels.shape[1:3] == (height, width):
        return pixels
    if channels not in (1, 3):
        raise ValueError(
            f"Expected pictures of {height}x{width}, for those of {channels} channels are not "
            f"resized. Received: {pixels.shape[1]}x{pixels.shape[2]}"
        )
    from PIL import Image, ImageOps

    fitted = np.empty((len(pixels), *shape), "uint8")
    for row, picture in enumerate(pixels):
        picture = np.rint(np.minimum(picture, 255)).astype("uint8")
        image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
        image = ImageOps.fit(image, (width, height), Image.Resampling.BOX)
        fitted[row] = np.asarray(image).reshape(shape)
    return fitted


# What is asked


def predict(scorer: Scorer, card: Mapping, pictures: Pictures, top: int = 3) -> Predictions:
    """Return what a network says of pictures.

    Args:
        scorer: `Scorer`.
        card: its card, see `resnet_lib.cards`.
        pictures: what `read` returns.
        top: how many classes are named.
    """
    top = min(checks.count("top", top), len(card["classes"]))
    rows = pictures.readable()
    # A copy is spared where all can be read.
    pixels = pictures.pixels[rows] if pictures.errors else pictures.pixels
    scores = checked_scores(scorer, card, pixels)
    known = _known(scorer, card, scores)
    probabilities = np.full((len(pictures.names), scores.shape[1]), np.nan, "float32")
    probabilities[rows] = softmax(scores, card["temperature"])
    places = dict(zip(rows.tolist(), known, strict=True))
    items = [
        _unread(name, pictures.errors[row])
        if row in pictures.errors
        else Prediction(name, _answers(probabilities[row], card["classes"], top), places[row])
        for row, name in enumerate(pictures.names)
    ]
    return Predictions(items, card["classes"], probabilities)


def checked_scores(scorer: Scorer, card: Mapping, pixels: np.ndarray) -> np.ndarray:
    """Return a network's scores; ValueError where it has not as many classes as its card."""
    scores, classes = scorer(pixels), card["classes"]
    if scores.shape[1] != len(classes):
        raise ValueError(
            f"Expected a network of {len(classes)} outputs, as there are class names. "
            f"Received: {scorer.model.name} of {scores.shape[1]}"
        )
    return scores


def _known(scorer, card, scores):
    if card["threshold"] is None or (card["score"] == "energy" and not scorer.has_logits):
        return [None] * len(scores)
    return [bool(each) for each in familiarity(scores, card["score"]) >= card["threshold"]]


def _unread(name, error):
    told = f"{error}" or type(error).__name__
    return Prediction(name, (), error=told)


def _answers(probabilities, names, top):
    best = np.argsort(-probabilities, kind="stable")[:top]
    return tuple(Answer(names[i], float(probabilities[i])) for i in best)


def labelled(
    data: Any, card: Mapping, reader: ModuleType, part: str
) -> tuple[str, Pictures, np.ndarray]:
    """Return pictures whose classes are known: what they are, the pictures, and int labels (n,).

    Args:
        data: a folder that holds a folder of pictures for each class, a
            `resnet_lib.datasets.Dataset`, or a Split, whose labels are then the network's.
        card: the network's.
        reader: `resnet_lib.datasets.images`.
        part: which part of a Dataset.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: if there are pictures of a class that the network does not have.
    """
    names = card["classes"]
    if hasattr(data, "class_names"):
        split, theirs, source = getattr(data, part), data.class_names, f"{data.source}, {part} part"
        used = np.unique(split.labels)
        places = np.full(len(theirs), -1)
        places[used] = matched([theirs[label] for label in used], names, source)
        labels = places[split.labels]
    elif hasattr(data, "images") and hasattr(data, "labels"):
        split, labels, source = data, np.asarray(data.labels), f"{len(data.labels):,} pictures"
        if labels.max() >= len(names):
            raise ValueError(
                f"Expected labels from 0 to {len(names) - 1}, the network's. "
                f"Received: {labels.max()}"
            )
    elif isinstance(data, str | os.PathLike):
        return _labelled_folder(checks.path("data", data), card, reader)
    else:
        raise ValueError(
            "Expected a folder of folders of pictures, a Dataset or a Split. "
            f"Received: {type(data).__name__}"
        )
    return source, read(split, card["input_shape"], reader), labels


def _labelled_folder(folder, card, reader):
    if not folder.is_dir():
        raise FileNotFoundError(
            "Expected a folder that holds one folder of pictures for each class. "
            f"Received: {folder}, which is none"
        )
    found = dict(_classes_in(folder, reader))
    if not found:
        raise ValueError(
            f"Expected {folder} to hold a folder of pictures for each class, named as the "
            f"network's: {checks.ten_of(card['classes'])}. Received: no such folder"
        )
    places = matched(list(found), card["classes"], str(folder))
    files = [file for its in found.values() for file in its]
    labels = np.repeat(places, [len(its) for its in found.values()])
    pictures = read(files, card["input_shape"], reader)
    names = [file.relative_to(folder).as_posix() for file in files]
    return f"pictures of {folder.resolve().name}", pictures._replace(names=names), labels


def _classes_in(folder, reader) -> Iterator[tuple[str, list[Path]]]:
    """Yield the name and the files of each folder in a folder that holds anything."""
    for inner in sorted(folder.iterdir()):
        if inner.is_dir() and inner.name[0] != "." and any(inner.iterdir()):
            yield inner.name, in_folder(inner, reader)


def matched(theirs: Sequence[str], names: Sequence[str], source: str) -> list[int]:
    """Return the place of each name among the network's; ValueError that names the others.

    Letters with marks may be written in one or two characters, as systems do in folders' names.
    """
    places = {_composed(name): place for place, name in enumerate(names)}
    unknown = [name for name in theirs if _composed(name) not in places]
    if unknown:
        parts = {"train", "validation", "test", "val", "valid", "training", "testing"}
        hint = ""
        if {name.casefold() for name in unknown} <= parts:
            hint = f"; these seem to be parts: name one of them, such as {source}/{unknown[-1]}"
        raise ValueError(
            f"Expected pictures of the network's classes, {checks.ten_of(list(names))}. "
            f"Received, in {source}: {checks.ten_of(unknown)}{hint}"
        )
    return [places[_composed(name)] for name in theirs]


def _composed(name):
    return unicodedata.normalize("NFC", name)


def evaluate(scorer: Scorer, card: Mapping, data: Any, reader: ModuleType) -> Evaluation:
    """Return how often a network is right; see `records.Run.evaluate`."""
    source, pictures, labels = labelled(data, card, reader, "test")
    found = predict(scorer, card, pictures)
    rows = pictures.readable()
    whole = Predictions([found[i] for i in rows], found.class_names, found.probabilities[rows])
    return Evaluation(source, labels[rows], whole, found.unreadable)

"""What a trained network says of pictures, and how often it is right.

`records.Run` has the methods; here is how they are done. What comes in are `pictures.Pictures`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import cards, checks, tables

if TYPE_CHECKING:
    from .pictures import Pictures

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
        # JAX compiles for each size anew: let there be few.
        on_jax = keras.backend.backend() == "jax"
        size = min(size, 1 << (len(pixels) - 1).bit_length() if on_jax else len(pixels))
        for start in range(0, len(pixels), size):
            part = pixels[start : start + size].astype("float32")
            more = size - len(part)
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


# What is asked


def predict(scorer: Scorer, card: Mapping, pictures: "Pictures", top: int = 3) -> Predictions:
    """Return what a network says of pictures.

    Args:
        scorer: `Scorer`.
        card: its card, see `resnet_lib.cards`.
        pictures: what `pictures.read` returns.
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


def evaluate(
    scorer: Scorer, card: Mapping, source: str, pictures: "Pictures", labels: np.ndarray
) -> Evaluation:
    """Return how often a network is right.

    Args:
        scorer: `Scorer`.
        card: its card.
        source: what the pictures are, in a few words.
        pictures: `pictures.Pictures`.
        labels: int array (n,), their true classes.
    """
    found = predict(scorer, card, pictures)
    rows = pictures.readable()
    whole = Predictions([found[i] for i in rows], found.class_names, found.probabilities[rows])
    return Evaluation(source, labels[rows], whole, found.unreadable)

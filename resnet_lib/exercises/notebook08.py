"""The exercises of notebook 08, your own pictures."""

import keras
import numpy as np
from keras import layers

from .. import records
from .core import Exercise, NotDone, Wrong, array, call, described, guarded, is_number, plain

# 08-baseline: the accuracy of whoever always names the most frequent class

_LABELS = (
    ((0, 0, 0, 1, 1, 2), (0, 1, 1, 1)),
    ((2, 2, 2, 2, 0, 1, 1), (2, 2, 0, 1, 1, 1, 1, 0)),
    ((1,) * 6 + (0,) * 3, (0,) * 9 + (1,) * 3),
)


def baseline(train_labels, test_labels):
    """Return the test accuracy of always naming the class that is most frequent in training."""
    return float(np.mean(test_labels == np.bincount(train_labels).argmax()))


def _often(labels):
    return np.bincount(labels).argmax()


BASELINE_MISTAKES = {
    "that names the class that is most frequent in the test part. Whoever guesses has seen the "
    "training pictures only.": lambda train, test: np.mean(test == _often(test)),
    "that is the share of the most frequent class in training. Asked for is how often its name is "
    "right for the test pictures.": lambda train, test: np.mean(train == _often(train)),
    "that is the number of the class. Which share of the test pictures has it?": (
        lambda train, test: _often(train)
    ),
    "that counts right answers. Divide by the number of test pictures.": (
        lambda train, test: np.sum(test == _often(train))
    ),
    "that is one over the number of classes, the accuracy of a guess by chance. Naming the most "
    "frequent class is another guess.": lambda train, test: 1 / len(np.unique(train)),
    "that is the share that is wrong.": lambda train, test: np.mean(test != _often(train)),
    "that is in %, where a share from 0 to 1 is asked for.": (
        lambda train, test: 100 * np.mean(test == _often(train))
    ),
    "the largest label is taken for the most frequent one.": (
        lambda train, test: np.mean(test == train.max())
    ),
}


def judge_baseline(function):
    """Judge a function (train_labels, test_labels) -> accuracy of the most frequent class."""
    given = [tuple(map(np.array, pair)) for pair in _LABELS]
    found = [_share(function, *pair) for pair in given]
    if np.allclose(found, [baseline(*pair) for pair in given]):
        return
    for text, wrong in BASELINE_MISTAKES.items():
        if np.allclose(found, [wrong(*pair) for pair in given]):
            raise Wrong(text)
    raise Wrong(
        f"for training labels {_LABELS[0][0]} and test labels {_LABELS[0][1]} your function "
        f"returns {found[0]:.4g}. The most frequent training label is 0; one test label of four "
        "is 0."
    )


def _share(function, *labels):
    value = plain(call(function, *(array.copy() for array in labels)))
    if not is_number(value):
        raise Wrong(f"your function returned {described(value)}. Expected: one number.")
    return float(value)


# 08-twins: test pictures that are in the training part, too

_MOST = 6.0
_FAR = 90  # grey levels, from which to 255 minus which the pictures have their numbers


def twins(train, test, most):
    """Return the places in `test` of pictures with a twin in `train`."""
    train = train.astype(float)
    distances = [np.sqrt(((train - picture) ** 2).mean((1, 2, 3))).min() for picture in test]
    return np.flatnonzero(np.array(distances) <= most)


TWINS_MISTAKES = {
    "the pixels are subtracted as uint8, in which 3 - 4 is 255: twins with a little noise seem far "
    "apart. Make them floats first.": lambda train, test, most: _by(train[:, None] - test, most),
    "squares of uint8 are taken as uint8, in which 16 * 16 is 0. Make the pixels floats first.": (
        lambda train, test, most: _by_squares((train[:, None] - test) ** 2, most)
    ),
    "the differences are averaged with their signs, so that brighter and darker pixels cancel: "
    "square them first.": lambda train, test, most: np.flatnonzero(
        np.abs((train[:, None] - test.astype(float)).mean(axis=(2, 3, 4))).min(axis=0) <= most
    ),
    "the squares are averaged, and no root is taken: their mean is compared with `most` itself.": (
        lambda train, test, most: twins(train, test, most**0.5)
    ),
    "only pictures at the same place in both parts are compared. Each test picture has to be "
    "compared with every training picture.": lambda train, test, most: np.flatnonzero(
        np.sqrt(((train[: len(test)].astype(float) - test[: len(train)]) ** 2).mean((1, 2, 3)))
        <= most
    ),
    "the mean of the magnitudes is taken. Asked for is the root of the mean square, in which one "
    "large difference counts for more.": lambda train, test, most: np.flatnonzero(
        np.abs(train[:, None].astype(float) - test).mean(axis=(2, 3, 4)).min(axis=0) <= most
    ),
    "the largest difference is taken. Asked for is the root of the mean square.": (
        lambda train, test, most: np.flatnonzero(
            np.abs(train[:, None].astype(float) - test).max(axis=(2, 3, 4)).min(axis=0) <= most
        )
    ),
    "only pictures that are equal to the last bit are found. A picture that was saved again as "
    "JPEG is not.": lambda train, test, most: twins(train, test, 0),
    "those are places in `train`. Asked for are the places in `test`.": (
        lambda train, test, most: twins(test, train, most)
    ),
    "those are the pictures without a twin.": lambda train, test, most: np.setdiff1d(
        np.arange(len(test)), twins(train, test, most)
    ),
}


def _by(apart, most):
    distances = np.sqrt((apart.astype(float) ** 2).mean(axis=(2, 3, 4)))
    return np.flatnonzero(distances.min(axis=0) <= most)


def _by_squares(squares, most):
    return np.flatnonzero(np.sqrt(squares.mean(axis=(2, 3, 4))).min(axis=0) <= most)


def judge_twins(function):
    """Judge a function (train, test, most) -> the places of test pictures that train has, too."""
    train, test = _two_parts()
    found = _places(call(function, train.copy(), test.copy(), _MOST), len(test))
    right = twins(train, test, _MOST)
    if np.array_equal(found, right):
        return
    for text, wrong in TWINS_MISTAKES.items():
        if np.array_equal(found, wrong(train, test, _MOST)):
            raise Wrong(text)
    missed, wrongly = np.setdiff1d(right, found), np.setdiff1d(found, right)
    told = [f"{len(missed)} of {len(right)} are missed"] * bool(len(missed))
    told += [f"{len(wrongly)} are named that have no twin"] * bool(len(wrongly))
    raise Wrong(
        f"{' and '.join(told)}. For each pair: the difference, as floats; its square; the mean "
        "over the pixels and colours; the root. A test picture has a twin if the smallest of its "
        "distances is `most` or less."
    )


def _two_parts():
    """Return training and test pictures: of the latter, 1, 2, 4, 7 and 8 have twins.

    Number 5 is as bright on average as a training picture, and 6 is lighter by 16 everywhere. In 3
    one number of 48 is another by 60, in 8 by 20: 8.7 and 2.9 by the root of the mean square.
    """
    rng = np.random.default_rng(5)
    train = rng.integers(_FAR, 256 - _FAR, (12, 4, 4, 3))
    test = rng.integers(_FAR, 256 - _FAR, (9, 4, 4, 3))
    sign = rng.choice([-1, 1], (4, 4, 3))
    test[2], test[7] = train[9], train[0] - 2
    test[1], test[4] = train[6] + 2 * sign, train[4] + 5 * sign
    test[5] = train[3] + _FAR * np.where(np.indices((4, 4, 3)).sum(0) % 2, 1, -1)
    test[6] = train[2] + 16
    test[3], test[8] = train[1], train[8]
    test[3, 0, 0, 0] += 60
    test[8, 0, 0, 0] += 20
    return train.astype(np.uint8), test.astype(np.uint8)


def _places(value, count):
    value = plain(value)
    try:
        found = np.asarray(value)
    except ValueError:
        raise Wrong(f"your function returned {described(value)}. Expected: places.") from None
    if found.dtype == bool and found.shape == (count,):
        raise Wrong("your function returned True and False: np.flatnonzero makes places of them.")
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise Wrong(
            f"your function returned {described(value)}. Expected: an array of whole numbers, the "
            "places in `test`."
        )
    return np.unique(found.astype(int))


# 08-fault-frozen: batch normalisation stays as it was when layers are set free


def set_free(model, first):
    """Let the layers from the one named `first` on be trained, but for batch normalisation."""
    free = False
    for layer in model.layers:
        free = free or layer.name == first
        layer.trainable = free and not isinstance(layer, layers.BatchNormalization)


def judge_set_free(function):
    """Judge a function (model, first) that lets layers be trained, all but BN."""
    model = _small_model()
    for layer in model.layers:
        layer.trainable = False
    guarded(function, model, "conv2")
    free = {weight.path.split("/")[0] for weight in model.trainable_weights}
    state = {layer.name: layer.name in free for layer in model.layers if layer.weights}
    if not any(state.values()):
        raise Wrong(
            "nothing can be trained afterwards: the convolutions and the dense layer from `first` "
            "on are to learn. A model that is frozen as a whole has nothing to train, whatever its "
            "layers say."
        )
    if state["conv1"]:
        raise Wrong("a layer before `first` is set free, too. What is there stays frozen.")
    if not state["conv2"] or not state["dense"]:
        missing = [name for name in ("conv2", "dense") if not state[name]]
        raise Wrong(f"{' and '.join(missing)}, from `first` on, cannot be trained afterwards.")
    if state["bn2"] and state["bn3"]:
        raise NotDone(
            "this is still the faulty one: batch normalisation is set free with the rest, and "
            "takes the statistics of your few pictures."
        )
    if state["bn1"] or state["bn2"] or state["bn3"]:
        raise Wrong("one batch normalisation is frozen, another is not. All of them stay as is.")
    as_built = _small_model()
    guarded(function, as_built, "conv2")
    if {"bn2", "bn3"} & {weight.path.split("/")[0] for weight in as_built.trainable_weights}:
        raise Wrong(
            "batch normalisation is only left as it was, and in a model as Keras builds it it is "
            "free: set its `trainable` to False."
        )


def _small_model():
    x = inputs = keras.Input((8, 8, 3))
    for number in (1, 2, 3):
        x = layers.Conv2D(2, 3, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"bn{number}")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, layers.Dense(2, name="dense")(x))


# 08-temperature: probabilities of divided logits

_ROWS = np.array([[0.7, 0.2, 0.1], [0.98, 0.015, 0.005], [0.3, 0.3, 0.4], [0.05, 0.05, 0.9]])
_TEMPERATURES = (2.0, 0.5, 1.0)


def tempered(probabilities, temperature):
    """Return the probabilities that the same logits give, divided by a temperature."""
    powers = probabilities ** (1 / temperature)
    return powers / powers.sum(axis=-1, keepdims=True)


def _softmax(logits):
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


TEMPERATURE_MISTAKES = {
    "the temperature is turned round: with 2, the network is surer than before. Logits are "
    "divided by it.": lambda p, t: tempered(p, 1 / t),
    "the rows do not add up to 1: divide each by its sum.": lambda p, t: p ** (1 / t),
    "the probabilities are divided, and nothing else. They are no logits, and no longer add up to "
    "1.": lambda p, t: p / t,
    "nothing has changed. Divided by its sum, each row is what it was: divide the logarithms, "
    "before they become probabilities again.": lambda p, t: p,
    "the softmax is taken of probabilities. The logits are their logarithms.": (
        lambda p, t: _softmax(p / t)
    ),
    "those are the logits, divided: their softmax is missing.": lambda p, t: np.log(p) / t,
    "the sum runs over the pictures: each column adds up to 1. Each row, a picture, has to.": (
        lambda p, t: p ** (1 / t) / (p ** (1 / t)).sum(axis=0, keepdims=True)
    ),
    "the sum runs over everything. Each row, a picture, adds up to 1.": (
        lambda p, t: p ** (1 / t) / (p ** (1 / t)).sum()
    ),
}


def judge_temperature(function):
    """Judge a function (probabilities, temperature) -> probabilities of divided logits."""
    found = [
        array(call(function, _ROWS.copy(), t), _ROWS.shape, "probabilities") for t in _TEMPERATURES
    ]
    if np.allclose(found, [tempered(_ROWS, t) for t in _TEMPERATURES], atol=1e-5):
        return
    for text, wrong in TEMPERATURE_MISTAKES.items():
        if np.allclose(found, [wrong(_ROWS, t) for t in _TEMPERATURES], atol=1e-5):
            raise Wrong(text)
    raise Wrong(
        f"of {_ROWS[0].tolist()} and a temperature of 2, your function makes "
        f"{found[0][0].round(3).tolist()}. Three steps: the logarithm; divided by the temperature; "
        "the softmax of each row."
    )


# 08-gradcam: where the class has its reasons


def class_map(maps, gradients):
    """Return where a class has its reasons: the maps, weighed by their mean gradients, above 0."""
    return np.maximum((maps * gradients.mean(axis=(0, 1))).sum(axis=-1), 0)


_GRADCAM_WHAT = "a map"
GRADCAM_MISTAKES = {
    "what is below 0 is still there: it speaks against the class. Set it to 0.": (
        lambda a, g: (a * g.mean((0, 1))).sum(-1)
    ),
    "each place is weighed by its own gradient. In Grad-CAM a map has one weight for all places, "
    "the mean of its gradient.": lambda a, g: np.maximum((a * g).sum(-1), 0),
    "each map is cut at 0 before the sum, so that no map can speak against the class where "
    "another speaks for it. Sum first.": lambda a, g: np.maximum(a * g.mean((0, 1)), 0).sum(-1),
    "the magnitude is taken: what speaks against the class now counts for it.": (
        lambda a, g: np.abs((a * g.mean((0, 1))).sum(-1))
    ),
    "maps and gradients are exchanged: the maps are what is added up.": (
        lambda a, g: np.maximum((g * a.mean((0, 1))).sum(-1), 0)
    ),
    "the maps are not weighed: their sum is the same for each class.": (
        lambda a, g: np.maximum(a.sum(-1), 0)
    ),
}


def judge_gradcam(function):
    """Judge a function (maps, gradients), each (height, width, channels) -> (height, width)."""
    rng = np.random.default_rng(7)
    maps = np.maximum(rng.normal(size=(4, 5, 6)), 0)  # As behind a ReLU.
    gradients = rng.normal(size=(4, 5, 6)) + rng.permutation([-2, -1, 1, 1, 2, 3])
    found = array(call(function, maps.copy(), gradients.copy()), (4, 5), _GRADCAM_WHAT)
    right = class_map(maps, gradients)
    for ratio, variant in _RATIOS.items():
        if np.allclose(found * ratio(right), right * ratio(found), atol=1e-6) and found.any():
            return variant
    for text, wrong in GRADCAM_MISTAKES.items():
        other = wrong(maps, gradients)
        if any(np.allclose(found * r(other), other * r(found), atol=1e-6) for r in _RATIOS):
            raise Wrong(text)
    raise Wrong(
        f"at [0, 0] your map has {found[0, 0]:.3g}, where {right[0, 0]:.3g} is right. Three steps: "
        "the mean of each channel's gradient over height and width; the sum over the channels of "
        "these weights times the maps; what is below 0 set to 0."
    )


# By what a map may be divided; the same map in other units.
_RATIOS = {
    (lambda found: 1.0): None,
    np.max: "a variant: the map is divided by its largest value.",
    np.sum: "a variant: the map is a multiple of the usual one.",
}

# 08-project: a network for pictures of one's own, with its card

_ERRORS = 2  # Standard errors by which it must be ahead of a guess.


def judge_project(run):
    """Judge a run: better than a guess, by more than chance, and calibrated."""
    if not isinstance(run, records.Run):
        raise Wrong(f"received {described(run)}. Expected: a run, as finetune and train return it.")
    results, sizes = run.record.get("results"), run.record["dataset"]["sizes"]
    if not results:
        raise Wrong("the run was not finished: there are no test results in its record.")
    if "baselines" not in results:
        raise Wrong("that run is of an older version, without the accuracy of a guess.")
    found, pictures = results["test_accuracy_best"], sizes[2]
    guess = results["baselines"]["test"]["accuracy"]
    error = (found * (1 - found) / pictures) ** 0.5
    told = (
        f"{found:.1%} of {pictures:,} test pictures, give or take {error:.1%}; a guess {guess:.1%}"
    )
    if set(run.class_names) == _OF_THE_NOTEBOOK:
        raise Wrong("that is the notebook's set. Take pictures of your own, or draw other shapes.")
    if pictures < _LEAST:
        raise Wrong(
            f"{told}. {pictures} test pictures are too few to tell: take more, or a larger share, "
            f"`test=` of image_folder, so that {_LEAST} are tested."
        )
    if found - guess <= _ERRORS * error:
        raise Wrong(
            f"{told}. That is not yet shown to be more than a guess: more test pictures, or a "
            "better network?"
        )
    if run.card["temperature"] is None:
        raise Wrong(f"{told}. Its probabilities are not calibrated yet: run.calibrate(data).")
    return f"{told}."


_LEAST = 20  # Test pictures, below which an accuracy has no standard error to speak of.
_OF_THE_NOTEBOOK = {"arrow", "circle", "heart", "star"}


EXERCISES = {
    "08-baseline": Exercise(
        judge_baseline,
        level="easy",
        minutes=5,
        hints=(
            "`np.bincount(train_labels)` counts how often each class is there; `.argmax()` is the "
            "most frequent one.",
            "which share of `test_labels` is that class? `np.mean(test_labels == …)`.",
        ),
        why="an accuracy says nothing until it stands beside that of a guess: of 90 % cats, naming "
        "the cat is right nine times of ten.",
        stand_in=baseline,
    ),
    "08-twins": Exercise(
        judge_twins,
        level="medium",
        minutes=12,
        hints=(
            "take the test pictures one by one: `train.astype(float) - picture` has what each "
            "training picture differs by.",
            "square, take the mean over axes (1, 2, 3), then the root: the distance from each.",
            "if the smallest distance, `.min()`, is at most `most`, keep the picture's place.",
        ),
        why="a picture that is in both parts is known by heart, and the test then says how well "
        "the network remembers.",
        stand_in=twins,
    ),
    "08-fault-frozen": Exercise(
        judge_set_free,
        level="medium",
        minutes=6,
        hints=(
            "which of the layers has something that changes without a gradient?",
            "`isinstance(layer, layers.BatchNormalization)` tells them. They are to be frozen, "
            "wherever they stand.",
            "layer.trainable = free and not isinstance(layer, layers.BatchNormalization)",
        ),
        why="a frozen BatchNormalization keeps its statistics of many pictures; set free, it takes "
        "those of each small batch, and the layers behind it no longer get what they know.",
        stand_in=set_free,
    ),
    "08-temperature": Exercise(
        judge_temperature,
        level="medium",
        minutes=8,
        hints=(
            "the logits are, up to a constant, the logarithms of the probabilities, and a softmax "
            "takes no notice of a constant.",
            "exp(log(p) / t) is p ** (1 / t).",
            "divide each row by its sum: `.sum(axis=-1, keepdims=True)`.",
        ),
        why="one number, chosen on validation pictures, makes a probability mean what it says, and "
        "no class changes.",
        stand_in=tempered,
    ),
    "08-gradcam": Exercise(
        judge_gradcam,
        level="medium",
        minutes=10,
        hints=(
            "one weight for each channel: the mean of its gradient over height and width, axes 0 "
            "and 1.",
            "`(maps * weights).sum(axis=-1)` adds the channels up at each place.",
            "`np.maximum(…, 0)` leaves what speaks for the class.",
        ),
        why="the last feature map knows where things are, and its gradient, which channels the "
        "class asks.",
        stand_in=class_map,
    ),
    "08-project": Exercise(
        judge_project,
        level="hard",
        minutes=45,
        hints=(
            "look at the folder first: `print(rl.datasets.survey(folder))`. Mend what it names.",
            "`data = rl.datasets.image_folder(folder, size=32, validation=0.2, test=0.2)`, then "
            '`rl.finetune(data, out=…)`. Larger pictures: base="resnet50-imagenet", where a '
            "download is possible.",
            "`run.calibrate(data)`, then `run` shows the card.",
        ),
        why="a network that others are to use needs a card: what it knows, how often it is right, "
        "against which guess, and when to believe it.",
    ),
}

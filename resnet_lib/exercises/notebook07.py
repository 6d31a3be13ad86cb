"""The exercises of notebook 07, fair comparisons."""

import numbers
from functools import partial

import keras
import numpy as np
from keras import layers, ops

from . import probes, watching
from .core import (
    Exercise,
    NotDone,
    Raised,
    Wrong,
    call,
    described,
    guarded,
    is_number,
    plain,
)

# 07-apart: how many standard errors two accuracies lie apart

APART = "each-variance sum root ratio"
_ACCURACIES = ((0.78, 0.80, 5000), (0.92, 0.88, 156), (0.5, 0.9, 1000), (0.97, 0.65, 120))
_EACH_ONCE = "Each of the two accuracies has its own standard error."
_SQUARES = "The squares of the two standard errors add up, and the root is taken of their sum."
_VARIANCES = {
    "both": lambda p, q, n: (p * (1 - p) + q * (1 - q)) / n,
    "pooled": lambda p, q, n: (p + q) * (2 - p - q) / 2 / n,
}
APART_MISTAKES = {
    "the root is missing: the difference is divided by a variance, which is a square.": (
        lambda p, q, n: abs(p - q) / _VARIANCES["both"](p, q, n)
    ),
    f"that divides by the standard error of `p` alone. {_EACH_ONCE}": (
        lambda p, q, n: abs(p - q) / _error(p, n)
    ),
    f"that divides by the standard error of `q` alone. {_EACH_ONCE}": (
        lambda p, q, n: abs(p - q) / _error(q, n)
    ),
    f"the two standard errors are added as they are. {_SQUARES}": (
        lambda p, q, n: abs(p - q) / (_error(p, n) + _error(q, n))
    ),
    f"that divides by the mean of the two standard errors. {_SQUARES}": (
        lambda p, q, n: 2 * abs(p - q) / (_error(p, n) + _error(q, n))
    ),
    "`pictures` stands outside the root: the standard error shrinks with the root of the number "
    "of pictures.": lambda p, q, n: abs(p - q) * n / (n * _VARIANCES["both"](p, q, n)) ** 0.5,
    "the number of pictures is missing: a difference on 10,000 pictures says more than the same "
    "on 100.": lambda p, q, n: abs(p - q) / (n * _VARIANCES["both"](p, q, n)) ** 0.5,
    "the pictures count twice over. Each accuracy was measured on all `pictures`, not on half of "
    "them or on twice as many.": lambda p, q, n: (
        abs(p - q) / (_VARIANCES["both"](p, q, n) / 2) ** 0.5
    ),
    "that is the standard error of the difference. How many of them lie between `p` and `q`?": (
        lambda p, q, n: _VARIANCES["both"](p, q, n) ** 0.5
    ),
    "that is the difference alone. Divide it by its standard error.": lambda p, q, n: abs(p - q),
    "the difference is taken in points, hundredths, and its standard error in parts of 1.": (
        lambda p, q, n: 100 * abs(p - q) / _VARIANCES["both"](p, q, n) ** 0.5
    ),
    "the result has a sign. Asked for is how far apart the two are, whichever comes first.": (
        lambda p, q, n: (p - q) / _VARIANCES["both"](p, q, n) ** 0.5
    ),
    "the result has a sign, and is negative where `p` is the larger one. Asked for is how far "
    "apart the two are.": lambda p, q, n: (q - p) / _VARIANCES["both"](p, q, n) ** 0.5,
}


def apart(p, q, pictures):
    """Return how many standard errors of their difference two accuracies lie apart."""
    variance = (p * (1 - p) + q * (1 - q)) / pictures
    return abs(p - q) / variance**0.5


def judge_apart(function):
    """Judge a function (p, q, pictures) -> standard errors between two accuracies."""
    found = np.array([_one_number(function, *given) for given in _ACCURACIES])
    if _fits(found, apart):
        return None
    if _fits(found, lambda p, q, n: abs(p - q) / _VARIANCES["pooled"](p, q, n) ** 0.5):
        return (
            "a variant: both standard errors are computed from the mean of the two accuracies, "
            "as a test does that supposes them to be equal."
        )
    for text, wrong in APART_MISTAKES.items():
        if _fits(found, wrong):
            raise Wrong(text)
    p, q, n = _ACCURACIES[0]
    raise Wrong(
        f"for accuracies of {p} and {q} on {n} pictures your function returns {found[0]:.4g}. "
        "Write down the two standard errors, the root of the sum of their squares, and divide the "
        "difference by that."
    )


def _error(p, n):
    return (p * (1 - p) / n) ** 0.5


def _fits(found, function):
    expected = np.array([function(*given) for given in _ACCURACIES])
    return bool(np.allclose(found, expected, rtol=2e-3, atol=0))


def _one_number(function, *given):
    value = plain(call(function, *given))
    if isinstance(value, complex):
        raise Wrong("your function takes the root of a negative number. Mind the parentheses.")
    if not is_number(value):
        raise Wrong(f"your function returned {described(value)}. Expected: one number.")
    return float(value)


# 07-fault-split: pictures of one signer must not be in both parts

_FIRST_SIGNER = 1000  # No signer's number is the place of a picture.
_FAULTY_SPLIT = (
    "this is still the faulty one: of {} signers whose hands are in the test, {} are in the "
    "training pictures, too. Draw signers, not pictures."
)
_EVERY_SIGNER = (
    "every signer is in both parts: a fifth of each signer's pictures goes into the test. That is "
    "the very thing to avoid. Whose hand is in the test must be nowhere in training."
)
_BORDER = (
    "one signer is in both parts: the border between the parts runs through that signer's "
    "pictures. Count signers, not pictures."
)
_BY_ORDER = (
    "the parts are apart only where the pictures of a signer stand side by side. Ask for each "
    "picture whether its signer was drawn, wherever it stands."
)


def split(signers, rng):
    """Return two arrays of places in `signers`: the training part and the test part, a fifth."""
    everyone = rng.permutation(np.unique(signers))
    in_test = np.isin(signers, everyone[: len(everyone) // 5])
    return np.flatnonzero(~in_test), np.flatnonzero(in_test)


def judge_split(function):
    """Judge a function (signers, rng) -> places of the training part, of the test part."""
    in_order = np.repeat(_FIRST_SIGNER + 3 * np.arange(60), 4 + np.arange(60) % 5)
    mixed = np.random.default_rng(2).permutation(in_order)
    train, test = _parts(function, in_order, seed=0)
    _judge_places(train, test, in_order)
    common = np.intersect1d(in_order[train], in_order[test])
    if len(common) == 1:
        raise Wrong(_BORDER)
    _judge_signers(common, test, in_order)
    train, test = _parts(function, mixed, seed=0)
    if np.intersect1d(mixed[train], mixed[test]).size:
        raise Wrong(_BY_ORDER)
    _judge_places(train, test, mixed)
    _judge_chance(function, in_order)


def _judge_signers(common, test, signers):
    """Raise unless no signer is in both parts, and a fifth of them in the test."""
    everyone, tested = np.unique(signers), np.unique(signers[test])
    if len(common) == len(everyone):
        raise Wrong(_EVERY_SIGNER)
    if len(common):
        raise NotDone(_FAULTY_SPLIT.format(len(tested), len(common)))
    share = len(tested) / len(everyone), len(test) / len(signers)
    if all(each > 0.7 for each in share):
        raise Wrong("the parts are exchanged: the larger one comes first, for training.")
    if not any(0.15 <= each <= 0.25 for each in share):
        raise Wrong(
            f"{len(tested)} of {len(everyone)} signers are in the test. Asked for is a fifth."
        )


def _judge_places(train, test, signers):
    """Raise Wrong unless each picture is in one part, once."""
    places = np.concatenate([train, test])
    if places.size and places.min() >= _FIRST_SIGNER:
        raise Wrong(
            "those are signers, not places. Asked for is where in `signers` their pictures stand."
        )
    if places.size and (places.min() < 0 or places.max() >= len(signers)):
        raise Wrong(f"places go from 0 to {len(signers) - 1} for {len(signers)} pictures.")
    if not len(train) or not len(test):
        raise Wrong(f"one part is empty: {len(train)} pictures for training, {len(test)} for test.")
    if len(np.unique(places)) == len(np.unique(signers)) < len(signers):
        raise Wrong(
            "there is one picture of each signer in the parts, and the others are lost. np.unique "
            "finds the signers; all their pictures belong to them."
        )
    if len(np.unique(places)) < len(places):
        raise Wrong("some pictures are there twice, in one part or in both.")
    if len(places) < len(signers):
        raise Wrong(
            f"{len(signers) - len(places)} of {len(signers)} pictures are in neither part. Who is "
            "not in the test is in training, with all pictures."
        )


def _judge_chance(function, signers):
    """Raise Wrong unless the parts are drawn by the generator that is handed over."""
    tests = [np.sort(_parts(function, signers, seed)[1]) for seed in (0, 0, 1, 2, 3)]
    if not np.array_equal(*tests[:2]):
        raise Wrong(
            "with two generators of the same seed the parts differ: something draws that is not "
            "`rng`. Then nobody can repeat the split."
        )
    if all(np.array_equal(tests[0], other) for other in tests[2:]):
        raise Wrong("the test has the same signers whatever `rng` is. Draw them with it.")


def _parts(function, signers, seed):
    found = plain(call(function, signers.copy(), np.random.default_rng(seed)))
    if not isinstance(found, tuple | list) or len(found) != 2:
        raise Wrong(
            f"your function returned {described(found)}. Expected: two arrays, the places of the "
            "training part and those of the test part."
        )
    parts = []
    for part in found:
        part = np.asarray(part)
        if part.dtype == bool:
            raise Wrong(
                "your parts are arrays of True and False. Asked for are places: np.flatnonzero "
                "makes them."
            )
        if part.ndim != 1 or (part.size and part.dtype.kind not in "iu"):
            raise Wrong(
                f"a part is {described(part.tolist())}. Expected: an array of whole numbers, the "
                "places of pictures."
            )
        parts.append(part.astype(int))
    return parts


# 07-ship: what three comparisons show

_CHOICES = ("first", "second", "level")
_SHIP_WHAT = ("one-cycle or example", "ResNet-20 or ResNet-56", "without or with augmentation")
_SHIP = ("first", "level", "level")
_SHIP_WRONG = (
    {
        "second": "the example's recipe has the lower accuracy, on validation and on test "
        "pictures, for the same processor time.",
        "level": "six points on 10,000 pictures are more than ten standard errors. One seed "
        "moves a network of this size by less than one point here.",
    },
    {
        "first": "0.5 points on 10,000 pictures are less than one standard error of the "
        "difference, and the validation pictures say the opposite.",
        "second": "0.8 points on 5,000 validation pictures are about one standard error of the "
        "difference, and the test pictures say the opposite.",
    },
    {
        "first": "3 of 156 pictures are half a standard error, each side has one seed, and the "
        "column flip says the opposite.",
        "second": "only the column flip says so. The run without augmentation has never been "
        "trained on a mirrored hand, so that column asks it for something else.",
    },
)


def judge_ship(answer):
    """Judge which of two runs is shown to be better, for three pairs."""
    if not isinstance(answer, tuple | list) or len(answer) != len(_SHIP):
        raise Wrong(f"received {described(answer)}. Expected: three words, one for each pair.")
    for word in answer:
        if not isinstance(word, str) or word.strip().lower() not in _CHOICES:
            raise Wrong(f"received {described(word)}. Expected: one of {', '.join(_CHOICES)}.")
    for what, word, right, wrong in zip(_SHIP_WHAT, answer, _SHIP, _SHIP_WRONG, strict=True):
        if word.strip().lower() != right:
            raise Wrong(f"{what}: {wrong[word.strip().lower()]}")


# 07-predict: the class that a trained model gives one picture

PREDICTION = "model argmax"
_PREPROCESSED = (
    "The preprocessing is inside the model, and now happens to the picture a second time, without "
    "an error: hand over the pixels as they are."
)
_AS_IT_IS = "The model takes the picture as it is."
PICTURE_MISTAKES = {
    "scale": "the classes are those of nearly black pictures: the pixels are scaled before the "
    f"model gets them. {_PREPROCESSED}",
    "caffe": "the classes are those of pictures with the colours turned round and ImageNet's mean "
    f"taken off, as the preprocess_input of keras.applications' ResNet does. {_PREPROCESSED}",
    "bgr": "the classes are those of pictures with red and blue exchanged. The colours' order "
    "stays as it is.",
    "mirror": "the classes are those of the mirror images, with left and right exchanged. "
    f"{_AS_IT_IS}",
    "upside-down": f"the classes are those of pictures that stand on their heads. {_AS_IT_IS}",
    "turn": "the classes are those of pictures that are turned by half a turn. (A flip of more "
    f"than one axis does that.) {_AS_IT_IS}",
    "grey": "the classes are those of grey pictures: the colours are averaged. The model was "
    "trained on colours.",
    "negative": "the classes are those of negatives: 255 minus the picture. White stays 255, and "
    "black 0.",
}
SCALED_PICTURE_MISTAKES = {
    "centre": "the pixels are scaled to -1 to 1 before the model gets them. " + _PREPROCESSED,
    "standardise": "the mean of the picture is taken off and its standard deviation divided out "
    f"before the model gets it. {_PREPROCESSED}",
}
PREDICTION_MISTAKES = {
    **{f"{change} model argmax": text for change, text in PICTURE_MISTAKES.items()},
    "model-in-training argmax": "the model runs in training mode: batch normalisation takes the "
    "mean and variance of this one picture instead of those that were gathered in training.",
    "model argmin": "the class is the one with the smallest probability.",
    "model argsecond": "the class is the one with the second largest probability.",
    "model argmax next": "each class is one too high. Which number has the first one?",
    "model argmax before": "each class is one too low. The first one has the number 0, as the "
    "first place of an array.",
    "model argmax zero": "the class is 0 for every picture. Along which axis of (pictures, "
    "classes) do you look for the largest? With one picture, axis 0 has nothing to compare. "
    "(Probabilities that are rounded first are all 0, too.)",
}


def predict_class(model, picture):
    """Return the number of the class that is most probable for a picture, as an int."""
    batch = picture[np.newaxis]
    probabilities = model(batch, training=False)
    return int(np.argmax(probabilities[0]))


def judge_prediction(function):
    """Judge a function (model, picture) -> the number of the most probable class, an int."""
    model, pictures = probes.trained_model(), probes.pictures()
    classes, seen = [], []
    for picture in pictures:
        classes.append(_class_of(_predicted(function, model, picture)))
        seen.append(watching.seen_by(model))
    for picture, calls in zip(pictures, seen, strict=True):
        _judge_calls(calls, picture.astype("float32"))
    known = any(watching.rows(calls) for calls in seen)
    _judge_classes(np.array(classes), called=any(seen), unchanged=known)


def _judge_classes(classes, called, unchanged):
    """Judge the classes of the judge's pictures: int array."""
    follow = partial(follow_prediction, model=probes.trained_model())
    wrong = {
        line: text
        for line, text in PREDICTION_MISTAKES.items()
        if called and not (unchanged and line.split()[0] in PICTURE_MISTAKES)
    }
    otherwise = _classes_told(classes, follow(PREDICTION), called)
    probes.judge_output(classes, PREDICTION, wrong, otherwise, follow)


def _classes_told(classes, right, called):
    """Say what is wrong with classes that no line of PREDICTION_MISTAKES gives."""
    if not called:
        return (
            "your function returns classes, but never calls the model that it is given, from its "
            "first layer on."
        )
    if np.ptp(classes) == 0:
        return (
            f"the class is {classes[0]} for every picture. Does it depend on what the model says?"
        )
    return (
        f"{np.sum(classes != right)} of {len(right)} pictures get a class that is not the model's "
        "most probable one. Is the picture changed before the model sees it, or what comes out of "
        "the model?"
    )


def _judge_calls(calls, picture):
    """Raise Wrong unless what the model got, if that is known, was the picture."""
    rows = watching.rows(calls)
    if any(call.training for call in calls):
        raise Wrong(PREDICTION_MISTAKES["model-in-training argmax"])
    others = [row for row in rows if not watching.same_picture(row, picture)]
    known = [watching.change_of(row, picture) for row in others]
    for word in filter(None, known):
        raise Wrong({**PICTURE_MISTAKES, **SCALED_PICTURE_MISTAKES}[word])
    if rows and len(others) == len(rows):
        raise Wrong(f"{watching.change_told(rows[0], picture)} {_AS_IT_IS}")


def follow_prediction(line, model=None):
    """Compute the judge's pictures' classes by a line of steps such as PREDICTION: int array."""
    model = model or probes.trained_model()
    one_by_one = [slice(i, i + 1) for i in range(probes.PICTURES)]
    steps = {
        **watching.CHANGES,
        "model": lambda y: model(y, training=False),
        "model-in-training": lambda y: ops.concatenate(
            [model(y[one], training=True) for one in one_by_one]
        ),
        "argmax": lambda y: ops.argmax(y, -1),
        "argmin": lambda y: ops.argmin(y, -1),
        "argsecond": lambda y: ops.argsort(y)[:, -2],
        "next": lambda y: y + 1,
        "before": lambda y: y - 1,
        "zero": ops.zeros_like,
    }
    return probes.follow(line, probes.pictures().astype("float32"), **steps)


def _predicted(function, model, picture):
    try:
        return call(function, model, picture.copy())
    except Raised as reason:
        if f"found shape={probes.PICTURE}" in str(reason):
            raise Wrong(
                f"{reason}. A model takes a batch of pictures: the picture needs an axis in front "
                "of its height. One picture is a batch of one."
            ) from None
        if "found shape=" in str(reason):
            raise Wrong(f"{reason}. The first axis is that of the pictures.") from None
        raise


def _class_of(value):
    """Return the reader's class number as an int, or raise Wrong."""
    is_array = isinstance(value, np.ndarray | list | tuple) or ops.is_tensor(value)
    if is_array and np.shape(value) == ():
        return _class_of(plain(value))
    if is_array:
        raise Wrong(_array_told(np.asarray(value)))
    found = f"your function returned {described(value)}"
    if not is_number(value):
        raise Wrong(f"{found}. Expected: the number of a class, an int.")
    if not isinstance(value, numbers.Integral):
        raise Wrong(f"{found}, no int. {_fraction_told(value)}")
    return int(value)


def _fraction_told(value):
    if 0 < value < 1:
        return (
            "Is it a probability? The largest one says how sure the model is; asked for is the "
            "place where it stands."
        )
    return "A class number is used as an index, and Python refuses others."


def _array_told(array):
    """Say what is wrong with an array in place of a class number."""
    found = f"your function returned an array of shape {array.shape}"
    if array.size == probes.CLASSES and array.dtype.kind == "f":
        return f"{found}: a probability for each class. Which class has the largest?"
    if array.size == probes.CLASSES and not array.any():
        return (
            f"{found}, all zeros: along axis 0 you compare pictures, and there is only one. Look "
            "along the classes."
        )
    if array.size == 1 and array.dtype.kind in "iu":
        return f"{found}. It holds the class, but is no int: take the number out of it."
    return f"{found}. Expected: the number of a class, an int."


# 07-finetune: a new head on a frozen backbone

FINE_TUNING = "backbone average dense softmax"
SCALE = 2  # Of the outputs, so that `probes.TOLERANCE` lets no mistake pass.
_INPUT, _FEATURES, _OUTPUTS = (16, 16, 3), (7, 7, 8), 5
_DENSE = [(_FEATURES[2], _OUTPUTS), (_OUTPUTS,)]
_CHANGED = "The backbone gets the pictures as they come in: both models take the same input."
_MAXIMUM = "the maximum of each channel is taken. Asked for is the mean over height and width."
_TWO_ACTIVATIONS = "The Dense layer's only activation is the softmax."
FINE_TUNING_MISTAKES = {
    "backbone average dense": "the outputs are scores, not probabilities: they do not add up to 1. "
    "The Dense layer lacks its activation.",
    "backbone average dense sigmoid": "each class has a probability of its own, from a sigmoid, "
    "and together they are not 1. Here a picture belongs to exactly one class.",
    "backbone average dense relu": "the Dense layer has a ReLU. Its outputs are no probabilities.",
    "backbone average dense tanh": "the Dense layer has a tanh. Its outputs are no probabilities.",
    "backbone average dense log-softmax": "the outputs are the logarithms of probabilities.",
    "backbone average dense softmax-pictures": "the softmax runs along the wrong axis: over the "
    "pictures of a batch, not over the classes of a picture.",
    "backbone average dense softmax softmax": "there are two softmaxes, one after the other. The "
    "second makes the probabilities nearly equal.",
    "backbone average dense relu softmax": "the Dense layer has a ReLU, and a softmax follows: all "
    f"scores below 0 become equal. {_TWO_ACTIVATIONS}",
    "backbone average dense sigmoid softmax": "the Dense layer has a sigmoid, and a softmax "
    f"follows: no class can get much more than another. {_TWO_ACTIVATIONS}",
    "backbone average dense softmax sigmoid": "a sigmoid follows the softmax, so that each output "
    f"is above a half. {_TWO_ACTIVATIONS}",
    "backbone average relu dense softmax": "the means go through a ReLU before the Dense layer. "
    "Nothing stands between the mean and the Dense layer.",
    "backbone relu average dense softmax": "the feature map goes through a ReLU before its mean is "
    "taken. The backbone is handed on as it is, with the activation that it has or has not.",
    "backbone average unit dense softmax": "the means are normalised to length 1 before the Dense "
    "layer. Nothing stands between the mean and the Dense layer.",
    "backbone dense softmax average": "each place of the feature map has a softmax, and the mean "
    "is taken of these probabilities. The mean comes first, and one softmax for the picture last.",
    "backbone maximum dense softmax": _MAXIMUM,
    "backbone maximum dense": f"{_MAXIMUM} And the outputs are no probabilities.",
    "backbone sum dense softmax": "the sum of each channel is taken. Asked for is the mean over "
    "height and width.",
    "backbone halved average dense softmax": "a maximum is taken of each 2x2 places, before the "
    "mean. Asked for is the mean over all of the feature map.",
    "scale backbone average dense softmax": "the pictures are divided by 255 before the backbone. "
    f"{_CHANGED}",
    "centre backbone average dense softmax": "the pictures are divided by 127.5, less 1, before "
    f"the backbone. {_CHANGED}",
    "caffe backbone average dense softmax": "the pictures go through preprocess_input before the "
    f"backbone. {_CHANGED}",
    "bgr backbone average dense softmax": "red and blue are exchanged before the backbone. "
    f"{_CHANGED}",
    "mirror backbone average dense softmax": "the pictures are mirrored before the backbone. "
    f"{_CHANGED}",
}
_FINE_TUNING_UNKNOWN = (
    "the parts are there, but with known weights in the Dense layer the output is not what the "
    "backbone's features give. Compare, step by step: backbone, mean over height and width, "
    "Dense, softmax."
)
_SHAPES = {
    _FEATURES: "That is the backbone's feature map: pooling and the Dense layer are missing.",
    _FEATURES[2:]: "Those are the backbone's features, one for each channel: no layer makes "
    "classes of them.",
    (*_FEATURES[:2], _OUTPUTS): "Each place of the feature map has its own probabilities: the "
    "pooling is missing.",
    (1, 1, _OUTPUTS): "Height and width are still there, as axes of length 1.",
}
_UNTRACKED = (
    "the backbone is called, but Keras does not find its weights in your model: they would be "
    "missing in its summary and in the file it is saved in. Call the backbone as a layer, not "
    "inside a Lambda."
)
_NEW_WEIGHTS = (
    "the backbone's weights are not in your model. A clone, or a network built anew, begins with "
    "random weights, and all that was learned is lost. Use the backbone itself."
)
_CUT = "a part of the backbone is left out or changed: {} of its {} weights are not in your model."
_TRAINED = (
    "{} of the backbone's {} weights have changed before your function returns the model. It makes "
    "the model ready to be trained; it does not train."
)
_STATISTICS_AT_ONCE = (
    "the backbone's moving statistics change even where your model is called in inference: it "
    "calls the backbone with `training=True`, and the batch normalisations are not frozen."
)
_WRONG_AXES = (
    "the Dense layer takes {} numbers of a picture, and the backbone has {} channels. Is the mean "
    "taken of all of height and width, and of these two axes only?"
)
_NOT_FROZEN = (
    "the backbone is not frozen. The gradients that a new Dense layer sends back would change "
    "what it has learned. (`training=False` in its call freezes nothing.)"
)
_NORMALISATION_NOT_FROZEN = (
    "scale and shift of the backbone's batch normalisations are trainable. Then these layers also "
    "take the batch's mean and variance in training. They belong to the backbone: freeze them, too."
)
_PARTLY_FROZEN = "{} of the backbone's {} trainable weights are still trainable. Freeze all of it."
_ALL_FROZEN = (
    "nothing is trainable, not even the Dense layer: your model could not learn. Freeze the "
    "backbone, not the finished model."
)
_STATISTICS = (
    "in training, a batch normalisation takes the batch's mean and variance, and its moving "
    "statistics change, though no weight of the backbone is trainable. What Keras looks at is "
    "`trainable` of the layer, not that of its weights."
)
_OWN_STATISTICS = (
    "in training, statistics of your new layers change: a batch normalisation in the head. Asked "
    "for are the mean and one Dense layer."
)
_AUGMENTED = (
    "in training, the backbone gets other pictures than in inference: something random, such as "
    "RandomFlip, stands in front of it. Augmentation is for the data that training draws; this "
    "model takes the pictures as they are."
)
_NO_GRADIENT = (
    "after a step of SGD the Dense layer's kernel is as it was: no gradient reaches it. What "
    "stands between it and the output that lets none pass?"
)
_BEHIND_DENSE = (
    "in training, something random acts behind the Dense layer: the outputs change though its "
    "input does not. Dropout there drops classes; its place would be in front of the Dense layer."
)
_NOISE = (
    "a variant: in training, something random (Dropout, noise) acts between the backbone and the "
    "Dense layer. It is meant against overfitting; it was not asked for, and does no harm here."
)
_AS_CONVOLUTION = (
    "a variant: a 1x1 convolution in front of the mean is a Dense layer for each place, and the "
    "mean of its scores is the score of the mean."
)
_FLATTENED = (
    "each place of the feature map has weights of its own, as behind a Flatten. The mean over "
    "height and width leaves one number for each channel."
)
_HIDDEN = "there are {} Dense layers to be trained. Asked for is one, the one with the softmax."


def for_fine_tuning(backbone, num_classes):
    """Return a model: the frozen backbone, then pooling and a Dense layer that can be trained."""
    backbone.trainable = False
    inputs = keras.Input(backbone.input_shape[1:])
    features = layers.GlobalAveragePooling2D()(backbone(inputs))
    outputs = layers.Dense(num_classes, activation="softmax")(features)
    return keras.Model(inputs, outputs)


def judge_fine_tuning(function):
    """Judge a function (backbone, num_classes) -> frozen backbone with a new head."""
    backbone = _backbone()
    values = _values(backbone)
    trainable = len(backbone.trainable_weights)
    model = call(function, backbone, _OUTPUTS)
    _expect_model(model, backbone)
    _judge_outputs(model)
    _judge_changes(values, model, backbone)
    _judge_presence(values, _values(model), backbone)
    _judge_frozen([w for w in model.trainable_weights if _is_among(w, values)], trainable)
    _judge_dense([tuple(w.shape) for w in model.trainable_weights])
    _set_dense(model)
    _judge_inference(model)
    _judge_step(model, values)
    return _judge_training(model)


_OTHER_HEADS = {
    "maximum": lambda y: ops.max(y, (1, 2)),
    "sum": lambda y: ops.sum(y, (1, 2)),
    "halved": lambda y: ops.max_pool(y, 2, data_format="channels_last"),
    "unit": lambda y: y / ops.norm(y, axis=-1, keepdims=True),
    "log-softmax": ops.log_softmax,
    "softmax-pictures": lambda y: ops.softmax(y, axis=0),
}


def follow_fine_tuning(line, backbone=None):
    """Compute a line of steps such as FINE_TUNING on the judge's pictures, times SCALE."""
    backbone, (kernel, bias) = backbone or _backbone(), _dense_weights()
    return SCALE * probes.follow(
        line,
        _batch(),
        backbone=lambda y: backbone(y, training=False),
        average=lambda y: ops.mean(y, (1, 2)),
        dense=lambda y: y @ kernel + bias,
        softmax=ops.softmax,
        **watching.CHANGES,
        **_OTHER_HEADS,
    )


def _backbone():
    """A small network without a top, with random weights that are the same each time."""
    inputs = keras.Input(_INPUT, name="pictures")
    x = watching.Conv2D(4, 3, strides=2, padding="same")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(_FEATURES[2], 2)(x)
    x = layers.BatchNormalization()(x)
    return probes.with_known_weights(keras.Model(inputs, x, name="backbone"), seed=23)


def _batch():
    """Pictures of one colour each, with noise, centred: float32 array."""
    rng = np.random.default_rng(3)
    colours = rng.normal(scale=2, size=(4, 1, 1, 3))
    return (colours + rng.normal(size=(4, *_INPUT))).astype("float32")


def _dense_weights():
    """Kernel and bias for the new Dense layer; no bias is as right as one of zeros."""
    kernel = np.random.default_rng(6).normal(size=(_FEATURES[2], _OUTPUTS))
    return kernel.astype("float32"), np.zeros(_OUTPUTS, "float32")


def _values(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def _is_among(weight, values):
    weight = ops.convert_to_numpy(weight)
    return any(np.array_equal(weight, value) for value in values)


def _output(model, training):
    output = guarded(model, _batch(), training=training)
    if not ops.is_tensor(output):
        raise Wrong(f"your model outputs {described(output)}. Expected: one tensor.")
    return ops.convert_to_numpy(output)


def _expect_model(model, backbone):
    if model is backbone:
        raise Wrong("your function returns the backbone as it came. Asked for is a new model.")
    if isinstance(model, keras.KerasTensor):
        raise Wrong("your function returns a tensor. A keras.Model leads from inputs to outputs.")
    if not isinstance(model, keras.Model):
        raise Wrong(f"your function returned {described(model)}. Expected: a keras.Model.")


def _judge_outputs(model):
    """Raise Wrong unless the model takes what the backbone takes and outputs a row a picture."""
    try:
        pictures, *shape = _output(model, training=False).shape
    except Raised as reason:
        raise Wrong(f"a batch that the backbone takes is none for your model: {reason}") from None
    if (pictures, *shape) == (len(_batch()), _OUTPUTS):
        return
    meaning = _SHAPES.get(tuple(shape), "One number for each class is expected.")
    raise Wrong(
        f"for num_classes={_OUTPUTS} your model outputs {tuple(shape)} for a picture. {meaning}"
    )


def _judge_changes(values, model, backbone):
    """Raise Wrong if the backbone's own weights are in the model, but with other values."""
    own = [
        weight
        for weight, value in zip(backbone.weights, values, strict=True)
        if any(weight is each for each in model.weights) and not np.array_equal(weight, value)
    ]
    if own and all(weight.name.startswith("moving") for weight in own):
        raise Wrong(_STATISTICS_AT_ONCE)
    if own:
        raise Wrong(_TRAINED.format(len(own), len(values)))


def _judge_presence(values, found, backbone):
    missing = sum(not any(np.array_equal(value, each) for each in found) for value in values)
    if missing == len(values):
        raise Wrong(_UNTRACKED if watching.seen_by(backbone) else _NEW_WEIGHTS)
    if missing:
        raise Wrong(_CUT.format(missing, len(values)))


def _judge_frozen(left, trainable):
    """Raise Wrong if weights of the backbone are left trainable."""
    if len(left) == trainable:
        raise Wrong(_NOT_FROZEN)
    if left and all(weight.name in ("gamma", "beta") for weight in left):
        raise Wrong(_NORMALISATION_NOT_FROZEN)
    if left:
        raise Wrong(_PARTLY_FROZEN.format(len(left), trainable))


def _flat(shapes):
    """Return shapes with those of 1x1 convolutions as those of Dense layers."""
    return [shape[2:] if shape[:-2] == (1, 1) else shape for shape in shapes]


def _judge_dense(shapes):
    """Raise Wrong unless the shapes of what is trainable are those of the one Dense layer."""
    if _flat(shapes) in (_DENSE, _DENSE[:1]):
        return
    if not shapes:
        raise Wrong(_ALL_FROZEN)
    kernels = [shape for shape in _flat(shapes) if len(shape) == 2]
    if len(kernels) > 1:
        raise Wrong(_HIDDEN.format(len(kernels)))
    if kernels and kernels[0][0] == np.prod(_FEATURES):
        raise Wrong(_FLATTENED)
    if len(shapes) == len(_DENSE) and kernels:
        raise Wrong(_WRONG_AXES.format(kernels[0][0], _FEATURES[2]))
    raise Wrong(
        f"the trainable weights have the shapes {described(shapes)}. Expected: those of one Dense "
        f"layer that takes a number for each of {_FEATURES[2]} channels, and nothing else, such as "
        "a normalisation."
    )


def _set_dense(model, scale=1):
    """Give the Dense layer known weights, the kernel multiplied by `scale`."""
    kernel, bias = _dense_weights()
    weights = zip(model.trainable_weights, (scale * kernel, bias), strict=False)
    for weight, known in weights:
        weight.assign(known.reshape(weight.shape))


def _judge_inference(model):
    """Raise Wrong unless the model computes what FINE_TUNING says, without training."""
    watching.seen_by(model)
    output = SCALE * _output(model, training=False)
    otherwise = _change_told(watching.seen_by(model), _batch()) or _FINE_TUNING_UNKNOWN
    judged = (FINE_TUNING, FINE_TUNING_MISTAKES, otherwise)
    follow = partial(follow_fine_tuning, backbone=_backbone())
    probes.judge_output(output, *judged, follow)


def _change_told(calls, pictures):
    """Say what the backbone gets in place of the pictures, or return None."""
    rows = watching.rows(calls)
    same = len(rows) == len(pictures) and all(map(watching.same_picture, rows, pictures))
    if not rows or same:
        return None
    return (
        "the backbone does not get the pictures that your model gets. Does something stand in "
        f"front of it, or is it called more than once? {_CHANGED}"
    )


def _judge_step(model, values):
    """Raise Wrong unless a step of SGD changes the Dense layer, and nothing else."""
    weights, before = list(model.weights), _values(model)
    pictures = np.tile(_batch(), (16, 1, 1, 1))  # So many that no Dropout drops all of a channel.
    watching.seen_by(model)
    _train_step(model, pictures)
    moved = [w for w, old in zip(weights, before, strict=True) if not np.array_equal(w, old)]
    kept = [old for w, old in zip(weights, before, strict=True) if any(w is m for m in moved)]
    if any(np.array_equal(old, value) for old in kept for value in values):
        raise Wrong(_STATISTICS)
    if any(not weight.trainable for weight in moved):
        raise Wrong(_OWN_STATISTICS)
    if _change_told(watching.seen_by(model), pictures):
        raise Wrong(_AUGMENTED)
    if not any(weight is model.trainable_weights[0] for weight in moved):
        raise Wrong(_NO_GRADIENT)


def _train_step(model, pictures):
    classes = np.arange(len(pictures)) % _OUTPUTS
    optimizer = keras.optimizers.SGD(0.1)
    loss = "sparse_categorical_crossentropy"
    try:
        guarded(model.compile, optimizer, loss, run_eagerly=True, jit_compile=False)
        guarded(model.train_on_batch, pictures, classes)
    except Raised as reason:
        if "No gradients" in str(reason):
            raise Wrong(_NO_GRADIENT) from None
        raise Wrong(f"your model cannot be trained: in a step of SGD, {reason}") from None


def _judge_training(model):
    """Raise Wrong if the output in training is random behind the Dense layer; tell variants."""
    is_convolution = len(model.trainable_weights[0].shape) == 4
    if len(model.trainable_weights) > 1:
        _set_dense(model, scale=0)
        model.trainable_weights[1].assign(np.linspace(-1, 1, _OUTPUTS))
        if not np.allclose(*(_output(model, training) for training in (True, False)), atol=1e-4):
            raise Wrong(_BEHIND_DENSE)
    _set_dense(model)
    random = not np.allclose(*(_output(model, training) for training in (True, False)), atol=1e-4)
    notes = [text for text, fits in ((_NOISE, random), (_AS_CONVOLUTION, is_convolution)) if fits]
    return " ".join(notes) or None


# 07-project: a fair comparison of two ways, with three seeds each

_LEAST, _DEAREST = 3, 4 / 3
_RESULT = "(seed, accuracy, CPU seconds)"


def judge_comparison(answer):
    """Judge (results of one way, results of another, which is better)."""
    if not isinstance(answer, tuple | list) or len(answer) != 3:
        raise Wrong(
            f"received {described(answer)}. Expected: the results of one way, those of the other, "
            "and your conclusion."
        )
    ways = [_results(way, name) for way, name in zip(answer, ("first", "second"), strict=False)]
    _judge_seeds(*(way[:, 0] for way in ways))
    costs = [way[:, 2].sum() for way in ways]
    if max(costs) > _DEAREST * min(costs):
        raise Wrong(
            f"the first way took {costs[0]:.1f} CPU seconds in all, the second {costs[1]:.1f}. "
            "With more than a third between them the dearer one may be better because it had "
            "more. Give the cheaper one more epochs."
        )
    if np.array_equal(*(way[:, 1] for way in ways)):
        raise Wrong("both ways have the same accuracies, seed for seed. Is it the same way twice?")
    return _judge_conclusion(*(way[:, 1] for way in ways), answer[2])


def _results(way, name):
    """Return a way's results as an array (runs, 3), or raise Wrong."""
    if not isinstance(way, tuple | list | np.ndarray):
        raise Wrong(f"the {name} way is {described(way)}. Expected: a list of {_RESULT}.")
    results = [plain(result) for result in way]
    if results and all(is_number(result) for result in results):
        raise Wrong(
            f"the {name} way holds numbers only. Hand over each run's {_RESULT}: without seeds and "
            "costs nobody can see whether the comparison is fair."
        )
    for result in results:
        if not isinstance(result, tuple | list) or len(result) != 3:
            raise Wrong(f"the {name} way holds {described(result)}. Expected: {_RESULT}.")
        if not all(is_number(part) and np.isfinite(part) for part in result):
            raise Wrong(f"the {name} way holds {described(result)}. Expected: three numbers.")
        if not 0 <= result[1] <= 1:
            raise Wrong(f"an accuracy of {result[1]:g}? It goes from 0 to 1. {_RESULT}")
        if result[2] <= 0:
            raise Wrong("a run that took no time? The third number is its CPU seconds.")
    if len(results) < _LEAST:
        raise Wrong(
            f"the {name} way has {len(results)} runs. One or two say nothing about how far seeds "
            "differ: three are the least."
        )
    return np.array(results, float)


def _judge_seeds(one, other):
    for seeds in (one, other):
        if len(set(seeds)) < len(seeds):
            raise Wrong(
                "a seed is there twice: the same run again is no new evidence. Take another seed "
                "for each run."
            )


def _judge_conclusion(one, other, word):
    if not isinstance(word, str) or word.strip().lower() not in _CHOICES:
        raise Wrong(f"your conclusion is {described(word)}, none of {', '.join(_CHOICES)}.")
    word, gap = word.strip().lower(), one.mean() - other.mean()
    error = np.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
    far = abs(gap) / max(error, 1e-9)
    better = "first" if gap > 0 else "second"
    told = f"the means are {100 * abs(gap):.1f} points apart, {_times(far)} standard errors"
    if word != "level" and word != better:
        raise Wrong(f"the {better} way has the higher mean: {told}.")
    if word != "level" and far < 2:
        raise Wrong(f"{told}: less than two are easily chance. Nothing is shown.")
    if word == "level" and far > 3:
        raise Wrong(f"{told}: more than three are hardly chance. Which way is better?")
    between = " Between two and three, more seeds would tell." if 2 <= far <= 3 else ""
    return f"{told}, at equal cost.{between}"


def _times(far):
    return "more than 100" if far > 100 else f"{far:.1f}"


EXERCISES = {
    "07-apart": Exercise(
        judge_apart,
        level="medium",
        minutes=8,
        hints=(
            "the square of an accuracy's standard error is p(1 - p)/N. What is the square of that "
            "of the difference?",
            "the squares add up: p(1 - p)/N + q(1 - q)/N. The root of that is the standard error "
            "of the difference.",
            "two lines: the sum of the two squares; then the absolute difference of p and q, "
            "divided by the root of that sum.",
        ),
        why="it says which differences deserve an explanation; below two, chance is explanation "
        "enough.",
        stand_in=apart,
    ),
    "07-fault-split": Exercise(
        judge_split,
        level="medium",
        minutes=10,
        hints=(
            "what is drawn at random here? What should be drawn, so that all pictures of a signer "
            "stay together?",
            "np.unique(signers) are the signers, each once: rng.permutation of that, and a fifth "
            "of it. np.isin(signers, drawn) then says of each picture whether its signer was "
            "drawn.",
            "three lines: the permuted signers; np.isin of all pictures' signers in the first "
            "fifth of them; np.flatnonzero of what is not in it, and of what is.",
        ),
        why="a test is to ask for hands that the network has never seen; pictures of the same "
        "patient, the same street or the same second of a film are split in the same way.",
        stand_in=split,
    ),
    "07-ship": Exercise(
        judge_ship,
        level="easy",
        minutes=6,
        hints=(
            "look at the number of pictures first: how large is one standard error of a "
            "difference there? Your function of the exercise above says it.",
            "does another column, or the validation pictures, say the same? A difference that "
            "changes its sign is none.",
            "one pair of the three is more than ten standard errors apart. The other two are less "
            "than two.",
        ),
        why="where accuracy is level, the cheaper one is shipped: ResNet-20, which took a third "
        "of the processor time.",
    ),
    "07-predict": Exercise(
        judge_prediction,
        level="medium",
        minutes=8,
        hints=(
            "a model takes a batch, and you have one picture: how do you make a batch of it? Then "
            "look at the shape of what comes out.",
            "`picture[np.newaxis]` is a batch of one. model(...) or model.predict(...) gives one "
            "row of probabilities for it; np.argmax finds the place of the largest.",
            "three lines: the batch of one; the model's probabilities for it, in inference mode; "
            "the int of the argmax of their first row. Nothing else happens to the pixels.",
        ),
        why="preprocessing that happens twice, or not at all, raises no error, only the classes "
        "become wrong; inside the model it happens exactly once.",
        stand_in=predict_class,
    ),
    "07-finetune": Exercise(
        judge_fine_tuning,
        level="hard",
        minutes=12,
        hints=(
            "freeze the backbone first: a model has `trainable`, as a layer has. That keeps its "
            "batch normalisations in inference mode, too.",
            "go on from `backbone.output`, or call the backbone on a keras.Input of "
            "`backbone.input_shape[1:]`; then pooling, then Dense.",
            "five lines: `trainable = False`; the keras.Input; GlobalAveragePooling2D of the "
            "backbone of it; a Dense layer of num_classes with a softmax; the keras.Model of the "
            "first and the last of these tensors.",
        ),
        why="with ResNet-50 and six classes, 12,294 of 23.6 million parameters are trained; what "
        "the others have learned from many pictures is kept.",
        stand_in=for_fine_tuning,
    ),
    "07-project": Exercise(
        judge_comparison,
        level="hard",
        minutes=30,
        hints=(
            "choose ways that differ in one thing, and write down beforehand which one you expect "
            "to win. Run each with the seeds 0, 1 and 2.",
            "compare the CPU seconds first. If one way is dearer, give the other more epochs, and "
            "run all of its seeds again.",
            "the two means, their difference, and the root of the sum of std(ddof=1)**2 / 3: more "
            "than three of these apart is first or second, less than two is level.",
        ),
        why="this is what stands behind every honest table: equal cost, several seeds, and a "
        "difference beside its standard error.",
        seconds=20,
    ),
}

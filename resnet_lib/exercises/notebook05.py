"""The exercises of notebook 05, ResNet-50."""

import numbers

import keras
import numpy as np
from keras import layers, ops

from . import probes
from .core import (
    Exercise,
    Raised,
    Wrong,
    call,
    described,
    expect_numbers,
    guarded,
    is_number,
    judge_numbers,
)

# 05-shape: what stage 3 of ResNet-50 puts out for a picture of 160x160

_STAGES = {
    (80, 80, 64): "That comes out of the stem's convolution.",
    (40, 40, 64): "That comes out of the stem.",
    (40, 40, 256): "That is what stage 1 puts out.",
    (20, 20, 512): "That is what stage 2 puts out.",
    (5, 5, 2048): "That is what stage 4 puts out.",
}
_SIDES = {
    160: "That is the picture's. Four steps with a stride of 2 lie before the end of stage 3.",
    80: "That is behind the stem's convolution. What follows it also has strides of 2.",
    40: "The picture becomes smaller in the stem already, before the stages; or the stages' "
    "strides are left out.",
    20: "One step is missing. Does the max pooling of the stem count, and which stages begin with "
    "a stride?",
    5: "That is one step too many. Stage 1 keeps the size, behind the max pooling.",
    9: "Everything is padded: no pixels are lost at the edges.",
}
_CHANNELS = {
    256: "That is the mid-width of stage 3. The last 1x1 convolution of each block widens it.",
    512: "That is what stage 2 puts out, or a mid-width.",
    2048: "That is what stage 4 puts out.",
    128: "That is the mid-width of stage 2.",
    64: "That is what the stem puts out, or the mid-width of stage 1.",
    3: "That is the picture's: red, green and blue.",
}


def judge_shape(answer):
    """Judge the output shape of stage 3 of ResNet-50."""
    what = ("height", "width", "channels")
    if isinstance(answer, tuple | list) and len(answer) == 4:
        answer = answer[1:]  # With the batch, as Keras shows it.
    expect_numbers(answer, what)
    if tuple(answer) in _STAGES:
        raise Wrong(f"received {described(answer)}. {_STAGES[tuple(answer)]}")
    side = "Each stride of 2 halves height and width; nothing else changes them. Count them."
    channels = "A stage puts out four times its mid-width."
    rules = (side, side, channels)
    judge_numbers(answer, what, (10, 10, 1024), (_SIDES, _SIDES, _CHANNELS), rules)


# 05-predict: the class that a trained model gives one picture

PREDICTION = "model argmax"
_PREPROCESSED = (
    "The preprocessing is inside the model, and now happens to the picture a second time, without "
    "an error: hand over the pixels as they are."
)
PREDICTION_MISTAKES = {
    "scale model argmax": "the classes are those of nearly black pictures: the pixels are scaled "
    f"before the model gets them. {_PREPROCESSED}",
    "caffe model argmax": "the classes are those of pictures with the colours turned round and "
    "ImageNet's mean taken off, as the preprocess_input of keras.applications' ResNet does. "
    f"{_PREPROCESSED}",
    "bgr model argmax": "the classes are those of pictures with red and blue exchanged. The "
    "colours' order stays as it is.",
    "model-in-training argmax": "the model runs in training mode: batch normalisation takes the "
    "mean and variance of this one picture instead of those that were gathered in training.",
    "model argmin": "the class is the one with the smallest probability.",
    "model argmax next": "each class is one too high. Which number has the first one?",
    "model argmax zero": "the class is 0 for every picture. Along which axis of (pictures, "
    "classes) do you look for the largest? With one picture, axis 0 has nothing to compare.",
}


def judge_prediction(function):
    """Judge a function (model, picture) -> the number of the most probable class, an int."""
    model, pictures = probes.trained_model(), probes.pictures()
    classes = np.array([_class_of(_predicted(function, model, each)) for each in pictures])
    others = int(np.sum(classes != follow_prediction(PREDICTION)))
    otherwise = (
        f"{others} of {len(pictures)} pictures get a class that is not the model's most probable "
        "one. Is the picture changed before the model sees it, or what comes out of the model?"
    )
    judged = (PREDICTION, PREDICTION_MISTAKES, otherwise)
    probes.judge_output(classes, *judged, follow_prediction)


def follow_prediction(line):
    """Compute the judge's pictures' classes by a line of steps such as PREDICTION: int array."""
    model = probes.trained_model()
    one_by_one = [slice(i, i + 1) for i in range(probes.PICTURES)]
    steps = {
        "scale": lambda y: y / 255,
        "caffe": keras.applications.resnet.preprocess_input,
        "bgr": lambda y: ops.flip(y, -1),
        "model": lambda y: model(y, training=False),
        "model-in-training": lambda y: ops.concatenate(
            [model(y[one], training=True) for one in one_by_one]
        ),
        "argmax": lambda y: ops.argmax(y, -1),
        "argmin": lambda y: ops.argmin(y, -1),
        "next": lambda y: y + 1,
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


# 05-finetune: a new head on a frozen backbone

FINE_TUNING = "backbone average dense softmax"
_INPUT, _FEATURES, _OUTPUTS = (16, 16, 3), (7, 7, 8), 5
_DENSE = ([(_FEATURES[2], _OUTPUTS), (_OUTPUTS,)], [(_FEATURES[2], _OUTPUTS)])
_CHANGED = "The backbone gets the pictures as they come in: both models take the same input."
_MAXIMUM = "the maximum of each channel is taken. Asked for is the mean over height and width."
FINE_TUNING_MISTAKES = {
    "backbone average dense": "the outputs are scores, not probabilities: they do not add up to 1. "
    "The Dense layer lacks its activation.",
    "backbone average dense sigmoid": "each class has a probability of its own, from a sigmoid, "
    "and together they are not 1. Here a picture belongs to exactly one class.",
    "backbone average dense relu": "the Dense layer has a ReLU. Its outputs are no probabilities.",
    "backbone average dense softmax softmax": "there are two softmaxes, one after the other. The "
    "second makes the probabilities nearly equal.",
    "backbone maximum dense softmax": _MAXIMUM,
    "backbone maximum dense": f"{_MAXIMUM} And the outputs are no probabilities.",
    "scale backbone average dense softmax": "the pictures are divided by 255 before the backbone. "
    f"{_CHANGED}",
    "caffe backbone average dense softmax": "the pictures go through preprocess_input before the "
    f"backbone. {_CHANGED}",
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
_NEW_WEIGHTS = (
    "the backbone's weights are not in your model. A clone, or a network built anew, begins with "
    "random weights, and all that was learned is lost. Use the backbone itself."
)
_CUT = "a part of the backbone is left out or changed: {} of its {} weights are not in your model."
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
_FLATTENED = (
    "each place of the feature map has weights of its own, as behind a Flatten. The mean over "
    "height and width leaves one number for each channel."
)
_HIDDEN = "there are {} Dense layers to be trained. Asked for is one, the one with the softmax."


def judge_fine_tuning(function):
    """Judge a function (backbone, num_classes) -> frozen backbone with a new head."""
    backbone = _backbone()
    values = _values(backbone)
    trainable = len(backbone.trainable_weights)
    model = call(function, backbone, _OUTPUTS)
    _expect_model(model, backbone)
    _judge_outputs(model)
    _judge_presence(values, _values(model))
    _judge_frozen([w for w in model.trainable_weights if _is_among(w, values)], trainable)
    _judge_dense([tuple(w.shape) for w in model.trainable_weights])
    _judge_statistics(model)
    for weight, known in zip(model.trainable_weights, _dense_weights(), strict=False):
        weight.assign(known)
    judged = (FINE_TUNING, FINE_TUNING_MISTAKES, _FINE_TUNING_UNKNOWN)
    probes.judge_output(_output(model, training=False), *judged, follow_fine_tuning)


def follow_fine_tuning(line):
    """Compute what the judge's pictures become by a line of steps such as FINE_TUNING."""
    backbone, (kernel, bias) = _backbone(), _dense_weights()
    return probes.follow(
        line,
        _batch(),
        backbone=lambda y: backbone(y, training=False),
        average=lambda y: ops.mean(y, (1, 2)),
        maximum=lambda y: ops.max(y, (1, 2)),
        dense=lambda y: y @ kernel + bias,
        softmax=ops.softmax,
        sigmoid=ops.sigmoid,
        scale=lambda y: y / 255,
        caffe=keras.applications.resnet.preprocess_input,
    )


def _backbone():
    """A small network without a top, with random weights that are the same each time."""
    inputs = keras.Input(_INPUT, name="pictures")
    x = layers.Conv2D(4, 3, strides=2, padding="same")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(_FEATURES[2], 2)(x)
    x = layers.BatchNormalization()(x)
    return probes.with_known_weights(keras.Model(inputs, x, name="backbone"), seed=2)


def _batch():
    """Pictures of one colour each, with noise, centred: float32 array."""
    rng = np.random.default_rng(3)
    colours = rng.normal(scale=2, size=(4, 1, 1, 3))
    return (colours + rng.normal(size=(4, *_INPUT))).astype("float32")


def _dense_weights():
    """Kernel and bias for the new Dense layer; no bias is as right as one of zeros."""
    kernel = np.random.default_rng(4).normal(size=(_FEATURES[2], _OUTPUTS))
    return kernel.astype("float32"), np.zeros(_OUTPUTS, "float32")


def _values(model):
    return [ops.convert_to_numpy(weight) for weight in model.weights]


def _is_among(weight, values):
    weight = ops.convert_to_numpy(weight)
    return any(np.array_equal(weight, value) for value in values)


def _output(model, training):
    output = guarded(model, _batch(), training=training)
    if not ops.is_tensor(output):
        raise Wrong(f"your model puts out {described(output)}. Expected: one tensor.")
    return ops.convert_to_numpy(output)


def _expect_model(model, backbone):
    if model is backbone:
        raise Wrong("your function returns the backbone as it came. Asked for is a new model.")
    if isinstance(model, keras.KerasTensor):
        raise Wrong("your function returns a tensor. A keras.Model leads from inputs to outputs.")
    if not isinstance(model, keras.Model):
        raise Wrong(f"your function returned {described(model)}. Expected: a keras.Model.")


def _judge_outputs(model):
    """Raise Wrong unless the model takes what the backbone takes and puts out a row a picture."""
    try:
        pictures, *shape = _output(model, training=False).shape
    except Raised as reason:
        raise Wrong(f"a batch that the backbone takes is none for your model: {reason}") from None
    if (pictures, *shape) == (len(_batch()), _OUTPUTS):
        return
    meaning = _SHAPES.get(tuple(shape), "One number for each class is expected.")
    raise Wrong(
        f"for num_classes={_OUTPUTS} your model puts out {tuple(shape)} for a picture. {meaning}"
    )


def _judge_presence(values, found):
    missing = sum(not any(np.array_equal(value, each) for each in found) for value in values)
    if missing == len(values):
        raise Wrong(_NEW_WEIGHTS)
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


def _judge_dense(shapes):
    """Raise Wrong unless the shapes of what is trainable are those of the one Dense layer."""
    if shapes in _DENSE:
        return
    if not shapes:
        raise Wrong(_ALL_FROZEN)
    kernels = [shape for shape in shapes if len(shape) == 2]
    if len(kernels) > 1:
        raise Wrong(_HIDDEN.format(len(kernels)))
    if kernels and kernels[0][0] == np.prod(_FEATURES):
        raise Wrong(_FLATTENED)
    raise Wrong(
        f"the trainable weights have the shapes {described(shapes)}. Expected: those of one Dense "
        f"layer that takes a number for each of {_FEATURES[2]} channels, and nothing else."
    )


def _judge_statistics(model):
    """Raise Wrong if a call in training mode changes weights, which only statistics do."""
    before = _values(model)
    _output(model, training=True)
    if not all(map(np.array_equal, before, _values(model))):
        raise Wrong(_STATISTICS)


EXERCISES = {
    "05-shape": Exercise(
        judge_shape,
        level="easy",
        minutes=4,
        hints=(
            "count the strides of 2 from the picture to the end of stage 3: two in the stem, one "
            "at the beginning of each stage but the first. Then: which mid-width has stage 3?",
        ),
        why="height and width belong to the picture, channels to the network: the same weights "
        "take pictures of 160x160 and of 224x224.",
    ),
    "05-predict": Exercise(
        judge_prediction,
        level="medium",
        minutes=8,
        hints=(
            "`picture[np.newaxis]` is a batch of one. model(...) or model.predict(...) gives one "
            "row of probabilities for it; np.argmax finds the place of the largest.",
        ),
        why="preprocessing that happens twice, or not at all, raises no error, only the classes "
        "become wrong; inside the model it happens exactly once.",
    ),
    "05-finetune": Exercise(
        judge_fine_tuning,
        level="hard",
        minutes=12,
        hints=(
            "freeze the backbone first: a model has `trainable`, as a layer has. Go on from "
            "`backbone.output`, or call the backbone on a keras.Input of "
            "`backbone.input_shape[1:]`; then pooling, then Dense.",
        ),
        why="with ResNet-50 and six classes, 12,294 of 23.6 million parameters are trained; what "
        "the others have learned from many pictures is kept.",
    ),
}

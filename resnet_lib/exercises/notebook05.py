"""The exercises of notebook 05, ResNet-50."""

from functools import partial

import keras
import numpy as np
from keras import layers

from .. import blocks, imagenet, inspection
from .core import (
    Exercise,
    NotDone,
    Raised,
    Wrong,
    call,
    described,
    expect_numbers,
    guarded,
    is_undone,
    judge_numbers,
    plain,
    without_batch,
)
from .probes import as_model, drawn, same, with_known_weights

_EPSILON = 1e-5


def conv_bn(x, filters, kernel_size=3, strides=1, padding="same", *, name):
    """A convolution called `name`, such as "stage1_block2_conv3", and its batch normalisation."""
    x = blocks.convolution(x, filters, kernel_size, strides, padding=padding, name=name)
    return layers.BatchNormalization(epsilon=_EPSILON, name=name.replace("conv", "bn"))(x)


# 05-shape: what stage 3 of ResNet-50 outputs for a picture of 160x160

_STAGES = {
    (80, 80, 64): "That comes out of the stem's convolution.",
    (40, 40, 64): "That comes out of the stem.",
    (40, 40, 256): "That is what stage 1 outputs.",
    (20, 20, 512): "That is what stage 2 outputs.",
    (5, 5, 2048): "That is what stage 4 outputs.",
    (14, 14, 1024): "That is right for pictures of 224x224. These have 160x160.",
    (1024, 10, 10): "The channels come last: (height, width, channels).",
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
    14: "That is the side for pictures of 224x224. These have 160x160.",
    1024: "That is the number of channels, which comes last: (height, width, channels).",
}
_CHANNELS = {
    256: "That is the mid-width of stage 3. The last 1x1 convolution of each block widens it.",
    512: "That is what stage 2 outputs, or a mid-width.",
    2048: "That is what stage 4 outputs.",
    4096: "That is four times 1,024, which is four times the mid-width already.",
    128: "That is the mid-width of stage 2.",
    64: "That is what the stem outputs, or the mid-width of stage 1.",
    3: "That is the picture's: red, green and blue.",
}


def judge_shape(answer):
    """Judge the output shape of stage 3 of ResNet-50."""
    what = ("height", "width", "channels")
    answer = without_batch(plain(answer))
    expect_numbers(answer, what)
    if tuple(answer) in _STAGES:
        raise Wrong(f"received {described(answer)}. {_STAGES[tuple(answer)]}")
    side = "Each stride of 2 halves height and width; nothing else changes them. Count them."
    channels = "A stage outputs four times its mid-width."
    rules = (side, side, channels)
    judge_numbers(answer, what, (10, 10, 1024), (_SIDES, _SIDES, _CHANNELS), rules)


# 05-bottleneck: the block, with the layers' names

_BLOCK = "stage7_block5"
_FILTERS, _SIDE = 4, 8
_RIGHT = "conv1 relu conv2 relu conv3 skip-shortcut + relu"
_AT_3X3 = (
    "the stride stands at the 3x3 convolution. That is the variant called v1.5. In the paper's "
    "block, and in keras.applications' weights, the first 1x1 has it."
)
_NO_LAST = "there is no ReLU after the addition."
_MISTAKES = {
    _RIGHT.replace("conv1", "conv1-1").replace("conv2", "conv2-2"): _AT_3X3,
    _RIGHT.replace("conv1", "conv1-1").replace("conv3", "conv3-2"): "the stride stands at the last "
    "1x1 convolution: the 3x3 then works at full size, for four times the cost. The first 1x1 has "
    "it.",
    "conv1 relu conv2 relu conv3 skip-shortcut +": _NO_LAST,
    "conv1 relu conv2 relu conv3 relu skip-shortcut +": "the last ReLU stands on the branch, "
    "before the addition. It acts on the sum.",
    "conv1 relu conv2 relu conv3 relu skip-shortcut + relu": "there is a ReLU on the branch before "
    "the addition, besides the one after it. The branch could then take nothing away.",
    "conv1 conv2 conv3 skip-shortcut + relu": "there is no ReLU between the convolutions. Without "
    "one, the three are one linear layer.",
    "conv1 conv2 relu conv3 skip-shortcut + relu": "the ReLU behind the first convolution is "
    "missing.",
    "conv1 relu conv2 conv3 skip-shortcut + relu": "the ReLU behind the 3x3 convolution is "
    "missing.",
    "conv1 relu conv2 relu conv3 skip-shortcut skip-relu + relu": "the projection has a ReLU. What "
    "it hands on must be able to be negative, like the branch.",
    "conv1 relu conv2 relu conv3 relu": "`x` is not added: this is a plain block, without a skip.",
    "conv1 relu conv2 relu conv3 = + relu": "the branch is added to itself. Has the variable of "
    "the skip been overwritten?",
}
# What comes in, and the stride: each of the three kinds of block that ResNet-50 has, and a fourth.
_IDENTITY, _FIRST, _STEP, _STEP_ONLY = (
    (4 * _FILTERS, 1),
    (_FILTERS, 1),
    (2 * _FILTERS, 2),
    (4 * _FILTERS, 2),
)


def judge_bottleneck(function):
    """Judge a function (x, filters, strides, name) -> bottleneck block."""
    for channels, strides in (_IDENTITY, _STEP, _FIRST, _STEP_ONLY):
        mine = _block(function, channels, strides)
        _judge_block_shape(mine, strides)
        _judge_block_parts(mine, channels, strides)
        _judge_block_output(mine, channels, strides)


def bottleneck_block(x, filters, strides, name):
    """Return the output of a bottleneck block, with a projection where the shape changes."""
    y = layers.ReLU()(conv_bn(x, filters, 1, strides, name=f"{name}_conv1"))
    y = layers.ReLU()(conv_bn(y, filters, 3, name=f"{name}_conv2"))
    y = conv_bn(y, 4 * filters, 1, name=f"{name}_conv3")
    if strides > 1 or x.shape[-1] != 4 * filters:
        x = conv_bn(x, 4 * filters, 1, strides, name=f"{name}_shortcut_conv")
    return layers.ReLU()(layers.Add()([x, y]))


def _block(function, channels, strides):
    inputs = keras.Input((_SIDE, _SIDE, channels))
    try:
        return as_model(function, inputs, _FILTERS, strides, name=_BLOCK)
    except Raised as reason:
        if (channels, strides) == _FIRST:
            raise Wrong(
                "stage 1 begins with a block of stride 1 that gets 64 channels and outputs 256. "
                f"There, {reason}. The skip needs a projection wherever the shape changes, in "
                "height and width or in the channels."
            ) from None
        if (channels, strides) == _STEP:
            raise Wrong(
                f"a block with stride 2 fails: {reason}. Branch and skip must arrive at the "
                "addition with one shape. Has the projection the stride, too, and `4 * filters` "
                "channels?"
            ) from None
        if (channels, strides) == _STEP_ONLY:
            raise Wrong(
                "a block with stride 2 whose input has `4 * filters` channels already needs a "
                f"projection, too. There, {reason}."
            ) from None
        raise


def _judge_block_shape(model, strides):
    height, width, channels = model.output_shape[1:]
    if channels == _FILTERS:
        raise Wrong(
            f"for filters={_FILTERS} your block outputs {channels} channels. `filters` is the "
            "mid-width; the last 1x1 convolution widens to four times as many."
        )
    side = _SIDE // strides
    if (height, width, channels) != (side, side, 4 * _FILTERS):
        raise Wrong(
            f"for an input of {_SIDE}x{_SIDE}, filters={_FILTERS} and strides={strides}, your "
            f"block outputs {height}x{width}x{channels}. Expected: {side}x{side}x{4 * _FILTERS}."
        )


def _judge_block_parts(model, channels, strides):
    """Raise Wrong unless a block has the layers with weights that it should, by their names."""
    mine = {layer.name: layer for layer in model.layers if layer.weights}
    expected = {layer.name: layer for layer in _reference(channels, strides).layers}
    expected = {name: layer for name, layer in expected.items() if layer.weights}
    found = [layer for layer in mine.values() if isinstance(layer, layers.Conv2D)]
    for layer in mine.values():
        if not isinstance(layer, layers.Conv2D | layers.BatchNormalization):
            raise Wrong(
                f"your block holds its weights in a {type(layer).__name__}, where get_layer does "
                "not find them by their names. Call the convolutions and batch normalisations in "
                "the function itself."
            )
    projected = f"{_BLOCK}_shortcut_conv" in expected
    if not projected and len(found) == 4:
        raise Wrong(
            "your block has a projection where the shape stays as it is. That is shortcut C; "
            "ResNet-50 hands `x` on there, which costs nothing."
        )
    if len(found) != 3 + projected:
        raise Wrong(
            f"your block has {len(found)} convolutions for strides={strides} and {channels} "
            f"channels coming in; expected: {3 + projected}: 1x1, 3x3 and 1x1 on the branch"
            f"{', and a 1x1 on the skip' if projected else ''}."
        )
    if any(layer.use_bias for layer in found):
        raise Wrong("a convolution has biases. `conv_bn` makes one without, and BN with it.")
    if missing := [name for name in expected if name not in mine]:
        raise Wrong(
            f"no layer with weights is called {missing[0]!r}; yours are {', '.join(mine)}. The "
            "weights will be copied by these names."
        )
    for name, layer in mine.items():
        if name not in expected:
            raise Wrong(f"the layer {name!r} is no part of the block.")
        if (one := _kernel(layer)) != (other := _kernel(expected[name])):
            raise Wrong(
                f"the kernel of {name!r} has the shape {one}. Expected: {other}, as (height, "
                "width, channels in, channels out)."
            )
        if getattr(layer, "epsilon", _EPSILON) > 2 * _EPSILON:
            raise Wrong(
                f"the epsilon of {name!r} is {layer.epsilon:g}. Weights trained with 1e-5 would "
                "give other answers; `conv_bn` has the right one."
            )


def _kernel(layer):
    return tuple(layer.weights[0].shape)


def _reference(channels, strides, line=_RIGHT):
    """Return a block of known parts in the order of a line of steps, with a projection if due."""
    inputs = keras.Input((_SIDE, _SIDE, channels))
    needed = strides > 1 or channels != 4 * _FILTERS

    def shortcut(x):
        name = f"{_BLOCK}_shortcut_conv"
        return conv_bn(x, 4 * _FILTERS, 1, strides, name=name) if needed else x

    def conv(index, step, y):
        filters, kernel = (_FILTERS, _FILTERS, 4 * _FILTERS)[index - 1], (1, 3, 1)[index - 1]
        return conv_bn(y, filters, kernel, step, name=f"{_BLOCK}_conv{index}")

    steps = {"conv1": partial(conv, 1, strides), "conv1-1": partial(conv, 1, 1)}
    for index in (2, 3):
        steps |= {f"conv{index}": partial(conv, index, 1)}
        steps |= {f"conv{index}-2": partial(conv, index, strides)}
    return keras.Model(inputs, drawn(line, inputs, shortcut=shortcut, **steps))


def _judge_block_output(mine, channels, strides):
    right = with_known_weights(_reference(channels, strides), seed=50)
    _hand_over(right, mine)
    x = np.random.default_rng(51).normal(scale=2, size=(2, *mine.input_shape[1:]))
    output = _outputs(mine, x)
    if same(output, _outputs(right, x)):
        if not same(_outputs(mine, x, True), _outputs(right, x, True)):
            raise Wrong("in training mode your block computes something else than the block.")
        return
    for line, text in _MISTAKES.items():
        try:
            other = _reference(channels, strides, line)
        except ValueError:  # Its shapes do not go together here.
            continue
        _hand_over(right, other)
        if same(output, _outputs(other, x)):
            raise Wrong(text)
    raise Wrong(
        "the parts are right, but with the same weights the output is not that of the block. "
        "Compare the order: 1x1, BN, ReLU, 3x3, BN, ReLU, 1x1, BN, the skip added, ReLU."
    )


def _hand_over(source, target):
    """Give a model the weights of another's layers of the same names."""
    weights = {layer.name: layer.get_weights() for layer in source.layers}
    for layer in target.layers:
        if layer.weights:
            layer.set_weights(weights[layer.name])


def _outputs(model, x, training=False):
    """Return what a model outputs; its moving statistics stay as they are."""
    kept = [np.array(each.numpy()) for each in model.non_trainable_weights]
    output = np.asarray(guarded(model, x.astype("float32"), training=training))
    for variable, value in zip(model.non_trainable_weights, kept, strict=True):
        variable.assign(value)
    return output


# 05-network: the network of any stem, block and numbers of blocks

_UNITS, _PICTURE, _CLASSES = (2, 1, 3, 2), (64, 96, 3), 7
_CALLS = [
    (64 * 2 ** (stage - 1), 2 if stage > 1 and block == 1 else 1, f"stage{stage}_block{block}")
    for stage, n in enumerate(_UNITS, start=1)
    for block in range(1, n + 1)
]


def resnet(stem, block, units, input_shape=(224, 224, 3), num_classes=1000):
    """Return the network: stem, four stages of blocks, head."""
    inputs = keras.Input(input_shape)
    x = stem(inputs)
    for stage, n in enumerate(units, start=1):
        for number in range(1, n + 1):
            strides = 2 if stage > 1 and number == 1 else 1
            x = block(x, 64 * 2 ** (stage - 1), strides, name=f"stage{stage}_block{number}")
    return keras.Model(inputs, blocks.head(x, num_classes))


class _Watched:
    """A stem and a block that keep what they are called with, and are cheap."""

    def __init__(self):
        self.stems, self.calls, self.tensors = [], [], []

    def stem(self, x):
        self.stems.append(x)
        return self._kept(layers.Conv2D(8, 4, strides=4)(x))

    def block(self, x, filters, strides=1, name=None):
        self.calls.append((filters, strides, name, x))
        y = layers.Conv2D(8, 1, strides=strides)(x)
        return self._kept(layers.ReLU()(y))

    def _kept(self, y):
        self.tensors.append(y)
        return y


def judge_resnet(function):
    """Judge a function (stem, block, units, input_shape, num_classes) -> network."""
    watched = _Watched()
    model = call(function, watched.stem, watched.block, _UNITS, _PICTURE, _CLASSES)
    if len(watched.stems) != 1:
        raise Wrong(
            f"your function calls `stem` {len(watched.stems)} times. Expected: once, on the input."
        )
    _judge_calls(watched.calls)
    for (*_, name, received), expected in zip(watched.calls, watched.tensors, strict=False):
        if received is not expected:
            raise Wrong(
                f"{name} does not get what the block before it returns. Does `x` become what each "
                "block returns?"
            )
    if not isinstance(model, keras.Model):
        raise Wrong(
            f"your function returned {described(model)}. Expected: keras.Model(inputs, outputs)."
        )
    _judge_ends(model, watched.tensors[-1])


def _judge_calls(calls):
    found = [(filters, strides, name) for filters, strides, name, _ in calls]
    number = len(found)
    if number == 16:
        raise Wrong(
            f"your network has 16 blocks for units={_UNITS}: those of ResNet-50. The numbers of "
            "blocks are an argument, so that one function builds the whole family."
        )
    if number != sum(_UNITS):
        raise Wrong(
            f"for units={_UNITS} your network has {number} blocks. Expected: {sum(_UNITS)}, so "
            "many in each stage."
        )
    widths, steps, names = ([call[part] for call in found] for part in range(3))
    expected = [[call[part] for call in _CALLS] for part in range(3)]
    _judge_widths(widths, expected[0])
    _judge_steps(steps, expected[1])
    if names != expected[2]:
        wrong, right = next(
            (one, other) for one, other in zip(names, expected[2], strict=True) if one != other
        )
        raise Wrong(
            f"a block is called {wrong!r}. Expected: {right!r}, both counted from 1. The weights "
            "will be copied by these names."
        )


def _judge_widths(found, expected):
    if found == [4 * filters for filters in expected]:
        raise Wrong(
            "your blocks get four times the mid-widths: 256, 512, 1024, 2048. `filters` is the "
            "mid-width; a bottleneck widens by itself, and a basic block must not."
        )
    if len(set(found)) == 1:
        raise Wrong(
            f"all blocks get filters={described(found[0])}. They are 64 in stage 1 and double from "
            "stage to stage."
        )
    if found != expected:
        raise Wrong(f"your blocks get the filters {found}. For units={_UNITS}: {expected}.")


def _judge_steps(found, expected):
    firsts = [name.endswith("block1") for *_, name in _CALLS]
    if found == expected:
        return
    if set(found) == {1}:
        raise Wrong(
            "no block has a stride of 2. The first block of stages 2, 3 and 4 halves height and "
            "width."
        )
    if found == [2 if first else 1 for first in firsts]:
        raise Wrong(
            "stage 1 begins with a stride of 2, too. It keeps height and width, for the stem's "
            "maximum has just halved them."
        )
    if found == [1 if filters == 64 else 2 for filters, *_ in _CALLS]:
        raise Wrong(
            "every block of stages 2, 3 and 4 has a stride of 2. Only the first of a stage has it."
        )
    raise Wrong(f"your blocks have the strides {found}. For units={_UNITS}: {expected}.")


def _judge_ends(model, last):
    """Judge what is in front of the stem and behind the last block."""
    if model.input_shape[1:] != _PICTURE:
        raise Wrong(
            f"with input_shape={_PICTURE} your network takes {model.input_shape[1:]}. The size of "
            "the pictures is an argument."
        )
    if model.output_shape != (None, _CLASSES):
        raise Wrong(
            f"with num_classes={_CLASSES} your network outputs the shape {model.output_shape}. "
            f"Expected: (None, {_CLASSES}), a number for each class."
        )
    dense = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    if len(dense) != 1:
        raise Wrong(f"your head has {len(dense)} dense layers. Expected: 1.")
    if dense[0].name != "head_dense":
        raise Wrong(
            f"the dense layer is called {dense[0].name!r}. Expected: 'head_dense'. The weights "
            "will be copied by this name."
        )
    if dense[0].kernel.shape[0] != last.shape[-1]:
        raise Wrong(
            f"the dense layer gets {dense[0].kernel.shape[0]} numbers, for a last map of "
            f"{last.shape[1]}x{last.shape[2]} pixels and {last.shape[-1]} channels. Average each "
            "channel over its pixels first, so that the network takes pictures of any size."
        )
    with_known_weights(model, seed=59)
    x = np.random.default_rng(52).normal(size=(3, *_PICTURE)).astype("float32")
    features = np.asarray(keras.Model(model.input, last)(x))
    output, weights = _outputs(model, x), dense[0].get_weights()
    if len(weights) != 2:
        raise Wrong("the dense layer has no bias. Nothing behind it takes its place.")
    kernel, bias = weights
    scores = {kind: pool(features, (1, 2)) @ kernel + bias for kind, pool in _POOLS.items()}
    if same(output, scores["average"]):
        raise Wrong("your network outputs class scores. A softmax makes probabilities of them.")
    if same(output, _softmax(scores["maximum"])):
        raise Wrong("your head takes each channel's maximum. ResNet-50 takes the average.")
    if not same(output, _softmax(scores["average"])):
        raise Wrong(
            "behind the last block your network computes something else than: the average of each "
            "channel, one dense layer, softmax."
        )


_POOLS = {"average": np.mean, "maximum": np.max}


def _softmax(scores):
    exponentials = np.exp(scores - scores.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


# 05-copy: weights of a network with convolution biases into one without


def copy_weights(mine, theirs):
    """Copy the weights of keras.applications' network into one without convolution biases."""
    for layer in mine.layers:
        if not layer.weights:
            continue
        weights = theirs.get_layer(imagenet.keras_name(layer.name)).get_weights()
        if isinstance(layer, layers.Conv2D):
            weights = weights[:1]
        elif isinstance(layer, layers.BatchNormalization):
            convolution = imagenet.keras_name(layer.name.replace("bn", "conv"))
            weights[2] = weights[2] - theirs.get_layer(convolution).get_weights()[1]
        layer.set_weights(weights)


def _small(use_bias):
    """Return a ResNet of three bottlenecks: keras.applications' with biases, a reader's without.

    The reader's makes its projections last, so that its layers are listed in another order.
    """
    conv = partial(blocks.convolution, use_bias=use_bias)
    block = partial(blocks.bottleneck_block, conv=conv) if use_bias else _projected_last
    inputs = keras.Input((16, 16, 3))
    x = blocks.bn_relu(conv(inputs, 4, 7, 2, name="stem_conv"), name="stem")
    x = block(x, 4, 1, name="stage1_block1")
    x = block(x, 4, 1, name="stage1_block2")
    x = block(x, 8, 2, name="stage2_block1")
    form = imagenet.FORMS["applications" if use_bias else "paper"]
    return imagenet.in_form(keras.Model(inputs, blocks.head(x, 5)), form)


def _projected_last(x, filters, strides, name):
    y = layers.ReLU()(conv_bn(x, filters, 1, strides, name=f"{name}_conv1"))
    y = layers.ReLU()(conv_bn(y, filters, 3, name=f"{name}_conv2"))
    y = conv_bn(y, 4 * filters, 1, name=f"{name}_conv3")
    if strides > 1 or x.shape[-1] != 4 * filters:
        x = conv_bn(x, 4 * filters, 1, strides, name=f"{name}_shortcut_conv")
    return layers.ReLU()(layers.Add()([y, x]))


def judge_copy(function):
    """Judge a function (mine, theirs) that copies weights and folds biases away."""
    if not callable(function):
        raise Wrong(f"received {described(function)}, where a function is expected.")
    theirs = with_known_weights(_small(use_bias=True), seed=53)
    mine = with_known_weights(_small(use_bias=False), seed=54)
    before = [model.get_weights() for model in (mine, theirs)]
    try:
        returned = guarded(function, mine, theirs)
    except Raised as reason:
        raise Raised(f"{reason} {_why_refused(str(reason))}".strip()) from None
    if not _alike(before[1], theirs.get_weights()):
        raise Wrong("your function changes `theirs`. Only `mine` gets new weights.")
    if _alike(before[0], mine.get_weights()):
        if not is_undone(returned):
            raise Wrong(
                f"your function returned {described(returned)}, and `mine` has the weights that it "
                "had before. Change `mine` itself, with `set_weights` of its layers."
            )
        raise NotDone("`mine` has the weights that it had before.")
    x = np.random.default_rng(55).normal(size=(4, 16, 16, 3))
    agree = [_agree(_scores(mine, x, mode), _scores(theirs, x, mode)) for mode in (False, True)]
    if agree != [True, True]:
        raise Wrong(_wrong_copy(mine, theirs, agree))


def _scores(model, x, training):
    """Return the class scores before the softmax, which could hide a difference."""
    features = keras.Model(model.input, model.layers[-1].input)
    kernel, bias = model.layers[-1].get_weights()
    return _outputs(features, x, training) @ kernel + bias


def _agree(one, other):
    return np.abs(one - other).max() < 1e-3 * np.abs(other).max()


def _alike(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def _why_refused(reason):
    if "weight" in reason and ("shape" in reason or "length" in reason or "expect" in reason):
        return (
            "Either a layer gets weights that it has no room for (theirs have [kernel, bias], "
            "yours [kernel]), or those of another layer: go by name, as the order of the layers "
            "need not be the same."
        )
    if "No such layer" in reason:
        return "`rl.imagenet.keras_name` says what keras.applications calls a layer of yours."
    return ""


def _wrong_copy(mine, theirs, agree):
    """Say what is wrong with the weights of a copy."""
    right = _small(use_bias=False)
    copy_weights(right, theirs)
    wrong = [
        (layer, index)
        for layer in mine.layers
        for index, weight in enumerate(layer.get_weights())
        if not np.allclose(weight, right.get_layer(layer.name).get_weights()[index], atol=1e-5)
    ]
    kinds = {(type(layer), index) for layer, index in wrong}
    if agree == [True, False]:
        return (
            "in inference the two agree, in training mode they do not. The bias is in `beta` now. "
            "In training, BN takes the batch's mean, which carries the bias in their network and "
            "not in yours; so the bias belongs in the moving mean, which only inference uses."
        )
    if kinds == {(layers.BatchNormalization, 2)}:
        return _wrong_means([layer for layer, _ in wrong], theirs)
    if all(isinstance(layer, layers.Dense) for layer, _ in wrong):
        return "the dense layer at the end does not have their weights, kernel and bias."
    if all(isinstance(layer, layers.BatchNormalization) for layer, _ in wrong):
        return (
            "the kernels are right; gamma, beta or the moving statistics of batch normalisation "
            f"are not, first in {wrong[0][0].name!r}."
        )
    first = wrong[0][0]
    for layer in right.layers:
        if layer is not first and layer.weights and isinstance(layer, type(first)):
            here, there = layer.get_weights()[0], first.get_weights()[0]
            if layer.name != first.name and here.shape == there.shape and np.allclose(here, there):
                return (
                    f"{first.name!r} has the weights of {layer.name!r}. Their shapes are the same, "
                    "so that nothing refuses them. Go by name, not by order."
                )
    return f"{first.name!r} does not have the weights of {imagenet.keras_name(first.name)!r}."


def _wrong_means(wrong, theirs):
    """Say what is wrong where only moving means are."""
    found = {}
    for layer in wrong:
        mean = theirs.get_layer(imagenet.keras_name(layer.name)).get_weights()[2]
        name = imagenet.keras_name(layer.name.replace("bn", "conv"))
        bias = theirs.get_layer(name).get_weights()[1]
        for factor in (0, 1):
            if np.allclose(layer.get_weights()[2], mean + factor * bias, atol=1e-5):
                found.setdefault(factor, []).append(layer.name)
    if len(found.get(1, ())) == len(wrong):
        return (
            "the bias has the wrong sign. BN subtracts the moving mean: theirs from x + bias, "
            "yours from x."
        )
    if len(found.get(0, ())) == len(wrong) == 12:
        return (
            "the biases are lost. In training mode the two agree, for BN subtracts the batch's "
            "mean and any bias with it. In inference it subtracts the moving mean, which theirs "
            "measured with the bias."
        )
    return f"the moving mean is not right everywhere, first in {wrong[0].name!r}."


# 05-fault-stem: a stem that pads as TensorFlow likes it

_STEM_SIDE = 32
_PADS = {"both": ((3, 3), (1, 1)), "same": ((2, 3), (0, 1))}
_FAULTY = "same-7 conv relu same-3 max"
_STEMS = {
    "same-7 conv relu both-3 max": "the pooling is repaired. The convolution still pads as "
    'padding="same" does: two zeros on the left and above, three on the right and below.',
    "both-7 conv relu same-3 max": "the convolution is repaired. The pooling still pads as "
    'padding="same" does: nothing on the left and above, one on the right and below.',
    "both-7 conv both-3 max": "the ReLU is missing.",
    "both-7 conv both-3 max relu": "the ReLU stands behind the maximum. In this place that gives "
    "the same.",
    "turned-7 conv relu turned-3 max": "the padding lies on the wrong sides now: more on the left "
    "and above. It must be the same on all four.",
    "both-7 conv relu both-3 average": "an average is taken of each 3x3 window. ResNet-50 takes "
    "the maximum.",
}


def faulty_stem(x):
    """Return a stem as it is often published."""
    x = layers.ReLU()(conv_bn(x, 64, 7, strides=2, name="stem_conv"))
    return layers.MaxPooling2D(3, strides=2, padding="same")(x)


def stem(x):
    """Return a stem that pads the same on all four sides."""
    x = layers.ZeroPadding2D(3)(x)
    x = layers.ReLU()(conv_bn(x, 64, 7, strides=2, padding="valid", name="stem_conv"))
    x = layers.ZeroPadding2D(1)(x)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)


def judge_stem(function):
    """Judge a function x -> stem of ResNet-50 that pads on all four sides."""
    mine = as_model(function, keras.Input((_STEM_SIDE, _STEM_SIDE, 3)))
    received, side = mine.output_shape[1:], _STEM_SIDE // 4
    if received != (side, side, 64):
        raise Wrong(
            f"for {_STEM_SIDE}x{_STEM_SIDE}x3 your stem outputs "
            f"{'x'.join(map(str, received))}; expected: {side}x{side}x64. Three zeros on each side "
            "of the picture and one on each side of the map go with kernels of 7 and 3, and then "
            'padding="valid".'
        )
    reference = with_known_weights(_stem_of("both-7 conv relu both-3 max"), seed=56)
    _judge_stem_parts(mine, reference)
    _hand_over(reference, mine)
    x = np.random.default_rng(57).normal(size=(2, _STEM_SIDE, _STEM_SIDE, 3))
    output = _outputs(mine, x)
    if same(output, _outputs(reference, x)):
        return
    for line in (_FAULTY, *_STEMS):
        other = _stem_of(line)
        _hand_over(reference, other)
        if not same(output, _outputs(other, x)):
            continue
        if line == _FAULTY:
            raise NotDone(
                "this is still the faulty one: with their weights, it outputs what the stem above "
                "does."
            )
        raise Wrong(_STEMS[line])
    raise Wrong(
        "with the same weights your stem outputs something else than theirs: three zeros on each "
        "side, 7x7 convolution with stride 2, BN, ReLU, one zero on each side, 3x3 maximum with "
        "stride 2."
    )


def _judge_stem_parts(mine, reference):
    found = {layer.name: _kernel(layer) for layer in mine.layers if layer.weights}
    expected = {layer.name: _kernel(layer) for layer in reference.layers if layer.weights}
    if found != expected:
        raise Wrong(
            f"the layers with weights are {described(found)}. Expected: {described(expected)}. The "
            "weights are right, and were before: what is no weight is to be repaired."
        )
    if any(getattr(layer, "use_bias", False) for layer in mine.layers):
        raise Wrong("the convolution has biases. The weights were right before the repair.")


def _stem_of(line):
    """Return a stem of known parts in the order of a line of steps."""
    steps = {
        "conv": lambda y: conv_bn(y, 64, 7, 2, padding="valid", name="stem_conv"),
        "max": layers.MaxPooling2D(3, strides=2),
        "average": layers.AveragePooling2D(3, strides=2),
    }
    for kernel, (both, few) in {7: ((3, 3), (2, 3)), 3: ((1, 1), (0, 1))}.items():
        for word, pad in {"both": both, "same": few, "turned": few[::-1]}.items():
            steps[f"{word}-{kernel}"] = layers.ZeroPadding2D((pad, pad))
    inputs = keras.Input((_STEM_SIDE, _STEM_SIDE, 3))
    return keras.Model(inputs, drawn(line, inputs, **steps))


# 05-which-form: which of four networks goes with a file of weights

_SUSPECTS = {
    "A": "A differs by far more than rounding does: these weights were trained with the stride in "
    "the other place.",
    "B": "B differs by far more than rounding does: these weights were trained with the stride in "
    "the other place.",
    "C": "C is close, for the stride is right. But rounding gives a difference of a millionth or "
    "so, and C's is hundreds of times that: something that is no weight is another still.",
}


def checkpoint(pictures):
    """Return weights of a ResNet-50 of ten classes and the probabilities that go with them.

    Args:
        pictures: float32 array of shape (n, 64, 64, 3).

    Returns:
        (list of arrays, in the order of `get_weights`; array of shape (n, 10)).
    """
    model = imagenet.resnet50((64, 64, 3), 10, form="v1.5")
    rng = np.random.default_rng(58)
    for layer in model.layers:
        layer.set_weights([_drawn_weight(weight, rng) for weight in layer.weights])
        if isinstance(layer, layers.BatchNormalization):
            layer.epsilon = 1e-3  # Keras' default.
    return model.get_weights(), np.asarray(model(pictures, training=False))


def _drawn_weight(weight, rng):
    if weight.name == "kernel":
        return rng.normal(0, 1 / np.sqrt(np.prod(weight.shape[:-1])), weight.shape)
    if weight.name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, weight.shape)
    return rng.normal(0, 0.3, weight.shape)


def judge_form(answer):
    """Judge a letter: the network that a file of weights belongs to."""
    letter = answer.strip().strip(".").upper() if isinstance(answer, str) else None
    if letter not in ("A", "B", "C", "D"):
        raise Wrong(f"received {described(answer)}. Expected: a letter in quotes, A, B, C or D.")
    if letter in _SUSPECTS:
        raise Wrong(_SUSPECTS[letter])


# 05-project: ResNet-50 for pictures of 64x64, its last map 8x8

_MOST, _LAST = 1.6e9, (8, 8, 2048)


def for_small_pictures():
    """Return a ResNet-50 for 64x64 pictures whose last map is 8x8."""
    inputs = keras.Input((64, 64, 3))
    x = stem(inputs)
    for stage, n in enumerate((3, 4, 6, 3), start=1):
        for number in range(1, n + 1):
            strides = 2 if stage == 1 and number == 1 else 1
            x = bottleneck_block(x, 64 * 2 ** (stage - 1), strides, f"stage{stage}_block{number}")
    return keras.Model(inputs, blocks.head(x, 1000))


def judge_project(function):
    """Judge a function that returns a ResNet-50 for 64x64 pictures; say what it costs."""
    model = call(function)
    if not isinstance(model, keras.Model):
        raise Wrong(f"your function returned {described(model)}. Expected: a keras.Model.")
    if model.input_shape[1:] != (64, 64, 3):
        raise Wrong(f"your network takes {model.input_shape[1:]}. Expected: (64, 64, 3).")
    _judge_same_weights(model)
    _judge_strides(model)
    last = next(
        layer.input.shape[1:]
        for layer in model.layers
        if isinstance(layer, layers.GlobalAveragePooling2D)
    )
    if tuple(last) != _LAST:
        raise Wrong(
            f"the last map is {'x'.join(map(str, last))}. Expected: 8x8x2048, so strides of 2 in "
            "three places: 64, 32, 16, 8."
        )
    cost = inspection.count_multiply_adds(model)
    if cost > _MOST:
        raise Wrong(
            f"your network costs {cost / 1e9:.2f} * 10^9 multiply-adds; at most 1.6 are wanted. "
            "What stands behind a stride costs a quarter. Where do the three strides save most?"
        )
    return f"{cost / 1e9:.2f} * 10^9 multiply-adds, with all of ResNet-50's weights."


def _judge_same_weights(model):
    """Raise Wrong unless a network has the kernels of ResNet-50 in its form "paper"."""
    expected = imagenet.resnet50((64, 64, 3), form="paper")
    shapes = [sorted(tuple(w.shape) for w in each.trainable_weights) for each in (model, expected)]
    if shapes[0] != shapes[1]:
        count = inspection.count_parameters(model).trainable
        raise Wrong(
            f"your network has {count:,} trainable parameters in {len(shapes[0])} arrays. "
            f"Expected: those of ResNet-50 in the paper's form, shape for shape, "
            f"{inspection.count_parameters(expected).trainable:,} in {len(shapes[1])}. A "
            "projection stands where the channels change, and nowhere else."
        )


def _judge_strides(model):
    pools = [x for x in model.layers if isinstance(x, layers.MaxPooling2D)]
    if not any(isinstance(x, layers.GlobalAveragePooling2D) for x in model.layers):
        raise Wrong("your head has no global average pooling. Only strides are to change.")
    strange = [x for x in model.operations if type(x).__name__ not in _ALLOWED]
    if strange or len(pools) > 1:
        what = (strange or pools)[-1]
        raise Wrong(
            f"{what.name!r}, a {type(what).__name__}, is none of ResNet-50's layers. Only strides "
            "are to change."
        )
    for layer in model.layers:
        stride = max(np.ravel(getattr(layer, "strides", 1)))
        if stride > 2:
            raise Wrong(f"{layer.name!r} has a stride of {stride}. Each is 1 or 2 here.")


_ALLOWED = (
    *("InputLayer", "Conv2D", "BatchNormalization", "ReLU", "Relu", "Activation", "Add", "Pad"),
    *("ZeroPadding2D", "MaxPooling2D", "GlobalAveragePooling2D", "Dense", "Softmax"),
)


EXERCISES = {
    "05-shape": Exercise(
        judge_shape,
        level="easy",
        minutes=4,
        hints=(
            "height and width are halved by each stride of 2, and by nothing else. Which strides "
            "lie between the picture and the end of stage 3?",
            "count the strides of 2 from the picture to the end of stage 3: two in the stem, one "
            "at the beginning of each stage but the first. Then: which mid-width has stage 3?",
            "160 is halved four times. The mid-widths are those of stages 1 to 4 in their order; "
            "stage 3 outputs four times the third.",
        ),
        why="height and width belong to the picture, channels to the network: the same weights "
        "take pictures of 160x160 and of 224x224.",
    ),
    "05-bottleneck": Exercise(
        judge_bottleneck,
        level="medium",
        minutes=10,
        hints=(
            "keep `x` for the skip and work on `y`. Three calls of `conv_bn`, a ReLU behind the "
            "first two. Which of them has the stride, and how many filters has the last?",
            "the skip needs a projection if the stride is 2, or if `x` has another number of "
            "channels than the branch outputs: x.shape[-1] != 4 * filters. It is a `conv_bn` with "
            'a kernel of 1, called f"{name}_shortcut_conv".',
            'y = layers.ReLU()(conv_bn(x, filters, 1, strides, name=f"{name}_conv1")); then the '
            "same with 3 and conv2, without the stride, from `y`; then conv_bn(y, 4 * filters, 1, "
            "...), no ReLU. Project `x` if that is due, add the two, and a ReLU on the sum.",
        ),
        stand_in=bottleneck_block,
        why="sixteen of these, a stem and a head are ResNet-50, and by their names the layers will "
        "find their weights.",
    ),
    "05-network": Exercise(
        judge_resnet,
        level="medium",
        minutes=12,
        hints=(
            "two loops: over the stages, and in it over the blocks of a stage. What changes from "
            "stage to stage, and what is different in a stage's first block?",
            "enumerate(units, start=1) gives the number of a stage and that of its blocks. The "
            "mid-width is 64 * 2 ** (stage - 1). The stride is 2 in the first block of a stage, "
            "but not in stage 1.",
            "x = stem(inputs); in the loops x = block(x, filters, strides, "
            'name=f"stage{stage}_block{number}"); behind them GlobalAveragePooling2D, then '
            'Dense(num_classes, activation="softmax", name="head_dense"), and '
            "keras.Model(inputs, x).",
        ),
        stand_in=resnet,
        why="the family differs in two arguments only: which block, and how many in each stage.",
    ),
    "05-copy": Exercise(
        judge_copy,
        level="hard",
        minutes=15,
        hints=(
            "go through mine.layers and skip those without weights. For each, "
            "theirs.get_layer(rl.imagenet.keras_name(layer.name)).get_weights() is the list of "
            "arrays. A convolution of theirs has two, kernel and bias. What has yours room for?",
            "in inference, BN computes gamma * (x - moving mean) / … + beta. Theirs gets x + bias, "
            "yours gets x. So what must your moving mean be for the same difference?",
            "three cases by isinstance: Conv2D takes the first array only; BatchNormalization "
            "takes gamma, beta, the mean less the bias of the convolution in front (its name has "
            '"conv" for "bn"), and the variance; Dense takes both arrays as they are. Then '
            "layer.set_weights.",
        ),
        stand_in=copy_weights,
        why="a bias in front of BN is a part of the moving mean and nothing else, so weights can "
        "be carried between networks with these biases and networks without.",
    ),
    "05-fault-stem": Exercise(
        judge_stem,
        level="medium",
        minutes=8,
        hints=(
            "the weights are the same, and so are the shapes. What decides which pixels a window "
            "covers? Put in numbers for a row of 8 pixels, a window of 3 and a stride of 2.",
            'with padding="same" and a stride of 2, TensorFlow puts the odd zero on the right and '
            "below. Pad yourself, the same on all sides, and let convolution and maximum pad "
            "nothing.",
            "layers.ZeroPadding2D(3) in front of the convolution, ZeroPadding2D(1) in front of the "
            'maximum, and "valid" for both: conv_bn has an argument `padding`, and MaxPooling2D '
            "pads nothing unless told to.",
        ),
        stand_in=stem,
        why="padding is no weight and changes no shape; nothing but the outputs could tell.",
    ),
    "05-which-form": Exercise(
        judge_form,
        level="easy",
        minutes=4,
        hints=(
            "rounding in float32 leaves a difference of about a millionth. Which rows show more?",
            "two things are tried, each in two ways. Which pair of rows differs from the other by "
            "much, and which row of the better pair by nothing?",
        ),
        why="nearly equal is not equal: a network that is wrong by a little answers most pictures "
        "well enough for nobody to look.",
    ),
    "05-project": Exercise(
        judge_project,
        level="medium",
        minutes=20,
        hints=(
            "64 pixels become 8 by three strides of 2. ResNet-50 has five. Write its loops anew, "
            "with strides of your own.",
            "each stride makes all that stands behind it four times cheaper. Are the three better "
            "placed early or late?",
            "a projection must stand where the channels change, as before, and only there. The "
            "first block of stage 1 has one: it can take a stride.",
        ),
        stand_in=for_small_pictures,
        seconds=60,
        why="strides are no weights: how much a network sees, and how fine its last map is, can be "
        "changed without one more parameter.",
    ),
}

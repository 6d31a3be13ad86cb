"""The exercises of notebook 02, identity and projection blocks."""

import keras
import numpy as np
from keras import layers, ops

from .. import blocks, inspection
from . import blockprobes, formprobes, graphprobes, probes
from .core import (
    Exercise,
    NotDone,
    Wrong,
    described,
    guarded,
    judge_number,
    judge_numbers,
    numbers_meant,
    without_batch,
)
from .formprobes import Form, Kernel

# 02-parameters: a basic block from 32 to 64 channels, no conv bias, projection with BN

_FIRST, _SECOND, _PROJECTION = 3 * 3 * 32 * 64, 3 * 3 * 64 * 64, 1 * 1 * 32 * 64
_EXAMPLE = 14528


def count_parameters(
    first=_FIRST, second=_SECOND, projection=_PROJECTION, norms=3, per_channel=2, biases=0
):
    """Return the block's parameters: of three kernels, of batch normalisations, of biases."""
    kernels = [kernel for kernel in (first, second, projection) if kernel]
    return sum(kernels) + 64 * (norms * per_channel + biases * len(kernels))


PARAMETERS = count_parameters()
_STRIDE = (
    "A kernel has the same weights wherever and however often it is applied: a stride changes the "
    "output's size, not the kernel's."
)
_SQUARE = (
    "Those are two 3x3 kernels of one size. How many channels go into the first, and the second?"
)
PARAMETER_MISTAKES = (
    (
        "forgets the projection",
        "A projection has a kernel and a batch normalisation.",
        {"projection": 0, "norms": 2},
    ),
    ("forgets the kernel of the projection", "It is a convolution, too.", {"projection": 0}),
    (
        "forgets the batch normalisation that follows the projection",
        "Each of the three convolutions has one.",
        {"norms": 2},
    ),
    (
        "forgets batch normalisation",
        "Each has a scale and a shift for each channel.",
        {"norms": 0},
    ),
    (
        "counts one number a channel for each batch normalisation",
        "How many does a batch normalisation learn for a channel?",
        {"per_channel": 1},
    ),
    (
        "counts the moving mean and variance too",
        "They are measured, not trained.",
        {"per_channel": 4},
    ),
    (
        "counts a bias for each channel of each convolution",
        "These convolutions have no biases.",
        {"biases": 1},
    ),
    (
        "counts fewer weights in the first kernel because of the stride",
        _STRIDE,
        {"first": _FIRST // 4},
    ),
    (
        "counts fewer weights in the projection because of the stride",
        _STRIDE,
        {"projection": _PROJECTION // 4},
    ),
    ("takes 64 channels into both 3x3 kernels", _SQUARE, {"first": _SECOND}),
    ("takes 32 channels into both 3x3 kernels", _SQUARE, {"second": _FIRST}),
    (
        "counts the projection as a 3x3 convolution",
        "A projection looks at one pixel.",
        {"projection": _FIRST},
    ),
)
PARAMETER_MEANINGS = {
    **numbers_meant(count_parameters, PARAMETER_MISTAKES),
    _EXAMPLE: "That is the block from 16 to 32 channels, the notebook's example.",
}


def judge_parameters(answer):
    """Judge the trainable parameters of a basic projection block."""
    otherwise = (
        "Count three kernels, side * side * channels in * channels out, then three batch "
        "normalisations. Which of these parts is another in yours?"
    )
    judge_number(answer, PARAMETERS, PARAMETER_MEANINGS, otherwise)


# 02-identity-block

IDENTITY_BLOCK = "conv bn relu conv bn + relu"
_ADDED_LATE = (
    "the skip is added after the last ReLU (or: the branch has a ReLU before the addition). The "
    "branch could then only add to `x`, never take anything away. The ReLU acts on the sum."
)
_NO_INNER_RELU = (
    "there is no ReLU between the two convolutions. With nothing but linear layers between them, "
    "they are one linear layer."
)
_BEGINS_LATE = (
    "the skip begins after the first convolution. It begins at the block's input: keep `x` in a "
    "variable of its own."
)
_NO_LAST_RELU = "there is no ReLU after the addition."
_NO_SKIP = "`x` is not added: this is a plain block, without a skip."
IDENTITY_MISTAKES = {
    "conv bn relu conv bn +": _NO_LAST_RELU,
    "conv bn relu conv bn relu +": _ADDED_LATE,
    "conv bn relu conv bn relu + relu": "there is a ReLU on the branch before the addition, and a "
    "second one after it. Only the sum goes through one.",
    "conv bn relu conv bn relu": _NO_SKIP,
    "conv bn relu conv bn": f"{_NO_SKIP} And the last ReLU is missing.",
    "conv bn conv bn + relu": _NO_INNER_RELU,
    "conv bn conv bn +": f"{_NO_INNER_RELU} Nor is there one after the addition.",
    "conv bn conv bn relu +": f"{_NO_INNER_RELU} And {_ADDED_LATE}",
    "conv relu bn conv bn + relu": "batch normalisation comes after the ReLU. In this block it "
    "follows the convolution, and the ReLU follows it.",
    "conv relu bn conv relu bn +": "batch normalisation comes after the ReLU, twice, and the sum "
    "goes through no ReLU.",
    "conv relu bn conv relu bn + relu": "each convolution is followed by a ReLU at once, and batch "
    "normalisation comes after it. (The argument `activation` of Conv2D does that.)",
    "conv bn relu conv relu bn + relu": "in the second half, batch normalisation comes after a "
    "ReLU. There is none between the second convolution and the addition.",
    "conv bn relu conv + bn relu": "the skip is added before the second batch normalisation, "
    "which then rescales `x`, too. The skip would not be an identity any more.",
    "conv bn relu conv bn + bn relu": "a third batch normalisation acts on the sum, and rescales "
    "`x`, too. The number of batch normalisations is 2: both on the branch.",
    "conv bn relu conv bn + relu bn": "a third batch normalisation comes after the last ReLU, so "
    "that `x` does not leave the block as the skip handed it on. The number of batch "
    "normalisations is 2: both on the branch.",
    "conv bn relu conv bn skip-bn + relu": "the skip has a batch normalisation of its own, so that "
    "it does not hand on `x` itself. The number of batch normalisations is 2: both on the branch.",
    "conv = bn relu conv bn + relu": _BEGINS_LATE,
    "conv bn = relu conv bn + relu": _BEGINS_LATE,
    "conv bn relu = conv bn + relu": _BEGINS_LATE,
    "bn relu conv bn relu conv +": "this is the pre-activation order of notebook 04. Here each "
    "convolution comes first, and the last ReLU after the addition.",
    "bn relu conv bn relu conv + relu": "batch normalisation and ReLU come before each "
    "convolution, as in notebook 04. Here each convolution comes first.",
    "skip-relu conv bn relu conv bn + relu": "the skip goes through a ReLU of its own. It must "
    "hand on `x` itself.",
    "conv bn relu conv bn = + relu": "the branch is added to itself. Has `x` been "
    "overwritten on the way? Keep what came in, in a variable of its own.",
    "conv bn relu conv bn * relu": "the skip is multiplied with the branch. It must be added.",
    "conv bn relu conv bn - relu": "the skip is subtracted. It must be added.",
    "conv bn relu conv bn mean relu": "skip and branch are averaged. Each skip would halve `x`: "
    "add them.",
}
_IDENTITY_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. Compare "
    "the order, step by step, with: conv - BN - ReLU - conv - BN, + x, ReLU."
)


def judge_identity_block(function):
    """Judge a function (x, filters, name) -> basic identity block without biases."""
    judged = (IDENTITY_BLOCK, IDENTITY_MISTAKES, _IDENTITY_UNKNOWN)
    return blockprobes.judge_block(function, *judged, "one after each convolution")


def identity_block(x, filters, name):
    """Return the output of the library's basic block; it has the shape of `x`."""
    return blocks.basic_block(x, filters, name=name)


# 02-fault-shortcut: an identity block whose shortcut begins behind the first convolution

SHORTCUT_PLANTED = "conv bn relu = conv bn + relu"
_STILL_FAULTY = (
    "this is still the faulty one: what it adds is not what came in. Follow the variables line by "
    "line: what does `shortcut` hold, and what should it?"
)


def judge_shortcut_fault(function):
    """Judge the repaired function (x, filters, name) -> basic identity block."""
    mistakes = IDENTITY_MISTAKES | {SHORTCUT_PLANTED: _STILL_FAULTY}
    judged = (IDENTITY_BLOCK, mistakes, _IDENTITY_UNKNOWN)
    try:
        return blockprobes.judge_block(function, *judged, "one after each convolution")
    except Wrong as reason:
        if str(reason) == _STILL_FAULTY:
            raise NotDone(_STILL_FAULTY) from None
        raise


# 02-projection-block

_SHORTCUT_LINE = "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 + relu"
_NO_BN_ON_PROJECTION = (
    "no batch normalisation follows the projection. Each of the three convolutions has one."
)
_RELU_ON_PROJECTION = (
    "a ReLU stands on the shortcut, after the projection. The shortcut comes to the addition as "
    "the batch normalisation leaves it; the ReLU acts on the sum."
)
PROJECTION_MISTAKES = {
    "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 relu +": _ADDED_LATE,
    "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 relu + relu": "there is a ReLU on the branch "
    "before the addition, and a second one after it. Only the sum goes through one.",
    "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 +": _NO_LAST_RELU,
    "skip-project skip-bn3 conv1 bn1 conv2 bn2 + relu": _NO_INNER_RELU,
    "skip-project skip-bn3 conv1 bn1 conv2 bn2 +": f"{_NO_INNER_RELU} And {_NO_LAST_RELU}",
    "skip-project skip-bn3 conv1 relu bn1 conv2 bn2 + relu": "batch normalisation comes after the "
    "ReLU. In this block it follows the convolution, and the ReLU follows it.",
    "skip-project conv1 bn1 relu conv2 bn2 + relu": _NO_BN_ON_PROJECTION,
    "skip-project skip-bn3 skip-relu conv1 bn1 relu conv2 bn2 + relu": _RELU_ON_PROJECTION,
    "skip-project skip-relu conv1 bn1 relu conv2 bn2 + relu": f"{_RELU_ON_PROJECTION} And "
    f"{_NO_BN_ON_PROJECTION}",
    "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 * relu": "the shortcut is multiplied with the "
    "branch. It must be added.",
    "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 - relu": "one is subtracted from the other. "
    "They must be added.",
    "skip-project skip-bn3 conv1 bn1 relu conv2 bn2 mean relu": "shortcut and branch are averaged. "
    "They must be added.",
}
_PROJECTION_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. The "
    "branch: conv - BN - ReLU - conv - BN; the shortcut: 1x1 conv - BN; then the sum, and ReLU."
)


def projection_form(channels, filters, strides):
    """Return what a projection block is for an input, with the mistakes in its convolutions."""
    project = Kernel(1, channels, filters, strides)
    first, second = Kernel(3, channels, filters, strides), Kernel(3, filters, filters)
    late = {"conv1": first._replace(strides=1), "conv2": second._replace(strides=strides)}
    fixed = {"conv1": first._replace(strides=2), "project": project._replace(strides=2)}
    mistakes = [
        ({"project": None}, "there is no projection in what your function returns."),
        ({"project": first}, "the shortcut has a 3x3 convolution. A projection is a 1x1."),
        (
            {"project": Kernel(1, filters, filters)},
            "the projection is applied to what the first convolution has made. The shortcut begins "
            "at the block's input: has `x` been overwritten?",
        ),
        ({"conv2": second._replace(side=1)}, "the second convolution is a 1x1. Both are 3x3."),
        ({"conv1": first._replace(side=1)}, "the first convolution is a 1x1. Both are 3x3."),
    ]
    if strides > 1:
        text = "the second convolution takes the stride. In this block it is the first."
        mistakes.append((late, text))
    else:
        mistakes.append(
            (fixed, "the stride is 2 in your block, whatever is asked. Take `strides`.")
        )
    kernels = {"conv1": first, "conv2": second, "project": project}
    arguments = (filters, strides)
    return Form(channels, arguments, kernels, _SHORTCUT_LINE, tuple(mistakes), PROJECTION_MISTAKES)


PROJECTION_FORMS = (projection_form(4, 6, 2), projection_form(6, 8, 1))


def judge_projection_block(function):
    """Judge a function (x, filters, strides, name) -> basic projection block without biases."""
    return formprobes.judge_forms(function, PROJECTION_FORMS, _PROJECTION_UNKNOWN)


def projection_block(x, filters, strides, name):
    """Return the output of the library's basic block, which projects where the shape changes."""
    return blocks.basic_block(x, filters, strides, name=name)


# 02-bottleneck-block

_BOTTLENECK_BRANCH = "conv1 bn1 relu conv2 bn2 relu conv3 bn3 + relu"
_TWO_RELUS = (
    "a ReLU is missing between two convolutions of the branch. With nothing but linear layers "
    "between them, they are one linear layer."
)
BOTTLENECK_MISTAKES = {
    "conv1 bn1 relu conv2 bn2 relu conv3 bn3 relu +": _ADDED_LATE,
    "conv1 bn1 relu conv2 bn2 relu conv3 bn3 relu + relu": "there is a ReLU on the branch before "
    "the addition, and a second one after it. Only the sum goes through one.",
    "conv1 bn1 relu conv2 bn2 relu conv3 bn3 +": _NO_LAST_RELU,
    "conv1 bn1 conv2 bn2 relu conv3 bn3 + relu": _TWO_RELUS,
    "conv1 bn1 relu conv2 bn2 conv3 bn3 + relu": _TWO_RELUS,
    "conv1 bn1 conv2 bn2 conv3 bn3 + relu": _TWO_RELUS,
    "conv1 bn1 relu conv2 bn2 relu conv3 bn3 * relu": "the shortcut is multiplied with the branch. "
    "It must be added.",
    "conv1 bn1 relu conv2 bn2 relu conv3 bn3 mean relu": "shortcut and branch are averaged. They "
    "must be added.",
}
_BOTTLENECK_UNKNOWN = (
    "the parts are right, but with the same weights the output is not that of the block. The "
    "branch: 1x1, 3x3 and 1x1, each with batch normalisation, a ReLU after the first two; then "
    "the sum, and ReLU."
)
_V15 = (
    "a variant: the 3x3 convolution takes the stride, not the first 1x1, as in the form that is "
    "called v1.5."
)


def bottleneck_form(channels, filters, strides):
    """Return what a bottleneck is for an input, with the mistakes in its convolutions."""
    out = 4 * filters
    narrow, work = Kernel(1, channels, filters, strides), Kernel(3, filters, filters)
    widen, project = Kernel(1, filters, out), Kernel(1, channels, out, strides)
    kernels = {"conv1": narrow, "conv2": work, "conv3": widen}
    lines, line, variants, mistakes = BOTTLENECK_MISTAKES, _BOTTLENECK_BRANCH, [], []
    thin = {"conv3": Kernel(1, filters, filters)}
    if strides == 1 and channels == out:
        mistakes.append(
            (
                {"project": project},
                "the shape stays as it is, and yet a projection stands on the shortcut. What comes "
                "in has 4 * filters channels: what does your condition compare?",
            )
        )
    else:
        kernels["project"], shortcut = project, "skip-project skip-bn4"
        thin["project"] = project._replace(after=filters)
        mistakes += [
            ({"project": project._replace(side=3)}, "the projection has a 3x3 kernel, not a 1x1."),
            ({"project": None}, "there is no projection in what your function returns."),
        ]
        lines = {f"{shortcut} {wrong}": text for wrong, text in lines.items()}
        lines[f"skip-project {line}"] = "no batch normalisation follows the projection."
        lines[f"{shortcut} skip-relu {line}"] = _RELU_ON_PROJECTION
        line = f"{shortcut} {line}"
    if strides > 1:
        first = {"conv1": narrow._replace(strides=1)}
        variants.append((first | {"conv2": work._replace(strides=strides)}, _V15))
        last = first | {"conv3": widen._replace(strides=strides)}
        mistakes.append(
            (
                last,
                "the last convolution takes the stride: three of four pixels that "
                "the 3x3 has computed are thrown away. The first takes it.",
            )
        )
    mistakes += [
        (thin, "the last convolution does not widen. It has 4 * filters channels."),
        ({"conv2": work._replace(side=1)}, "there is no 3x3 convolution: the second one has it."),
        (
            {"conv1": narrow._replace(side=3), "conv3": widen._replace(side=3)},
            "all three convolutions are 3x3. The first and the last are 1x1.",
        ),
    ]
    return Form(
        channels, (filters, strides), kernels, line, tuple(mistakes), lines, tuple(variants)
    )


BOTTLENECK_FORMS = (bottleneck_form(5, 2, 2), bottleneck_form(8, 2, 1), bottleneck_form(3, 2, 1))


def judge_bottleneck_block(function):
    """Judge a function (x, filters, strides, name) -> bottleneck block without biases."""
    return formprobes.judge_forms(function, BOTTLENECK_FORMS, _BOTTLENECK_UNKNOWN)


def bottleneck_block(x, filters, strides, name):
    """Return the output of the library's bottleneck; it has `4 * filters` channels."""
    return blocks.bottleneck_block(x, filters, strides, name=name)


# 02-padding: shortcut A

_PAD_SHAPE, _PAD_FILTERS = (6, 6, 3), 7


def _subsampled(x):
    return x[:, ::2, ::2]


def _padded(x, before, after):
    return np.pad(x, ((0, 0), (0, 0), (0, 0), (before, after)))


def _pooled(x, how):
    return how(x.reshape(-1, 3, 2, 3, 2, 3), axis=(2, 4))


PADDING_MISTAKES = (
    (
        lambda x: _padded(_subsampled(x), 4, 0),
        "the zeros stand before the channels of `x`. Channel 0 of `x` should stay channel 0.",
    ),
    (
        lambda x: _padded(_pooled(x, np.mean), 0, 4),
        "each pixel is the mean of four. Shortcut A keeps every second pixel as it is.",
    ),
    (
        lambda x: _padded(_pooled(x, np.max), 0, 4),
        "each pixel is the largest of four. Shortcut A keeps every second pixel as it is.",
    ),
    (
        lambda x: _padded(x[:, 1::2, 1::2], 0, 4),
        "the pixels kept are the second, the fourth, … The first is kept, as by a convolution.",
    ),
    (
        lambda x: np.concatenate([_subsampled(x), _subsampled(x), _subsampled(x)], -1)[..., :7],
        "the new channels repeat those of `x`. They hold zeros.",
    ),
    (
        lambda x: np.concatenate([_subsampled(x), np.ones((2, 3, 3, 4))], -1),
        "the new channels hold ones. They hold zeros.",
    ),
)
_BOTH_SIDES = (
    "a variant: your zeros stand on both sides of the channels, as in some implementations of the "
    "paper."
)


def judge_padding(function):
    """Judge a function (x, filters, strides) -> shortcut A."""
    model = probes.as_model(function, keras.Input(_PAD_SHAPE), _PAD_FILTERS, 2)
    if model.weights:
        raise Wrong("your shortcut has weights. Shortcut A learns nothing.")
    shape = tuple(model.output.shape[1:])
    if shape != (3, 3, _PAD_FILTERS):
        raise Wrong(
            f"{_PAD_SHAPE} with filters={_PAD_FILTERS} and strides=2 became {shape}. Expected: "
            f"(3, 3, {_PAD_FILTERS})."
        )
    x = np.random.default_rng(2).normal(size=(2, *_PAD_SHAPE)).astype("float32")
    output = ops.convert_to_numpy(guarded(model, x))
    note = _padding_note(output, x)
    same = probes.as_model(lambda x: layers.ReLU()(function(x, 3, 1)), keras.Input(_PAD_SHAPE))
    if tuple(same.output.shape[1:]) != _PAD_SHAPE:
        raise Wrong("with strides=1 and as many filters as channels, `x` should keep its shape.")
    return note


def _padding_note(output, x):
    if probes.same(output, _padded(_subsampled(x), 0, 4)):
        return None
    if probes.same(output, _padded(_subsampled(x), 2, 2)):
        return _BOTH_SIDES
    meant = [text for make, text in PADDING_MISTAKES if probes.same(output, make(x))]
    raise Wrong((meant or ["the output is not every second pixel, with zeros behind."])[0])


def zero_padded(x, filters, strides):
    """Return every `strides`-th pixel of `x`, with channels of zeros behind its own."""
    x = x[:, ::strides, ::strides]
    missing = filters - x.shape[-1]
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))


# 02-project: few multiply-adds for a wide view

PROJECT_INPUT, PROJECT_OUTPUT = (32, 32, 16), (8, 8, 64)
PROJECT_VIEW, PROJECT_COST, PROJECT_WIDTH = 67, 5_000_000, 16


def judge_project(model):
    """Judge a model of residual blocks by what it sees and what it costs."""
    graphprobes.expect_model(model, PROJECT_INPUT, PROJECT_OUTPUT)
    for layer in model.layers:
        _judge_project_layer(layer)
    if not graphprobes.has_path(model, lambda layer: _side(layer) == 1):
        raise Wrong(
            "every way from the input to the output leads through a 3x3 convolution: somewhere a "
            "skip is missing. Each block adds its input, as it is or projected, to its branch."
        )
    view = list(inspection.receptive_field(model).values())[-1]
    if view < PROJECT_VIEW:
        raise Wrong(
            f"your stages see {view} pixels across. Expected: {PROJECT_VIEW} or more. Behind a "
            "stride, each 3x3 convolution sees farther."
        )
    share = graphprobes.share_of_pixels(model)
    if share < 1:
        raise Wrong(
            f"{1 - share:.0%} of the input's pixels cannot change the output: they lie in the gaps "
            "of a 1x1 convolution with a stride, on the branch as on the shortcut. Which "
            "convolution should take the stride?"
        )
    cost = inspection.count_multiply_adds(model)
    if cost >= PROJECT_COST:
        raise Wrong(
            f"your stages see {view} pixels across and cost {cost:,} multiply-adds. Expected: "
            f"under {PROJECT_COST:,}. Where are most of them, and at which size of the map?"
        )
    return f"{view} pixels across for {cost:,} multiply-adds."


def _side(layer):
    return max(getattr(layer, "kernel_size", None) or getattr(layer, "pool_size", None) or (1,))


def _judge_project_layer(layer):
    is_convolution = type(layer) is layers.Conv2D
    if hasattr(layer, "kernel") and not is_convolution:
        raise Wrong(f"'{layer.name}' is a {type(layer).__name__}. Use Conv2D alone.")
    if isinstance(layer, layers.Concatenate):
        raise Wrong(f"'{layer.name}' concatenates. A residual block adds.")
    if _side(layer) > 3:
        raise Wrong(f"the window of '{layer.name}' is larger than 3x3.")
    if is_convolution and (layer.groups != 1 or max(layer.dilation_rate) != 1):
        raise Wrong(f"'{layer.name}' has groups or a dilation. Use neither.")
    if is_convolution and layer.filters < PROJECT_WIDTH:
        raise Wrong(
            f"'{layer.name}' has {layer.filters} filters. Each convolution has {PROJECT_WIDTH} or "
            "more: a stage has to carry something."
        )


# 02-bottleneck-shape: bottleneck_block(filters=128, strides=2) on (32, 32, 256)

_SIDES = {
    32: "That is the size of the input: what does strides=2 do?",
    8: "The stride would act twice. Only one of the three convolutions has it.",
    4: "The stride would act three times. Only one of the three convolutions has it.",
    15: "The convolutions pad: padding 'same' loses no pixels at the edge.",
    14: "The convolutions pad: padding 'same' loses no pixels at the edge.",
    64: "A stride of 2 makes the feature map smaller, not larger.",
}
_CHANNELS = {
    128: "That is the mid-width, what goes through the 3x3 convolution. The last 1x1 widens it.",
    256: "That is what comes in. Where the stride is 2, the shortcut is a projection: the channels "
    "need not stay.",
    1024: "`filters` counts for the mid-width; the expansion applies to it, not to the input.",
}


def judge_bottleneck_shape(answer):
    """Judge the output shape of a bottleneck block."""
    answer = without_batch(answer)
    if isinstance(answer, tuple | list) and tuple(answer) == (512, 16, 16):
        raise Wrong(f"received {described(answer)}. The numbers are right; the channels come last.")
    side = "Height and width depend on the stride alone."
    channels = "The last convolution has `expansion * filters` channels; see its default."
    judge_numbers(
        answer,
        ("height", "width", "channels"),
        (16, 16, 512),
        (_SIDES, _SIDES, _CHANNELS),
        (side, side, channels),
    )


EXERCISES = {
    "02-identity-block": Exercise(
        judge_identity_block,
        level="medium",
        minutes=10,
        hints=(
            "keep `x` for later and work on `y`. What has to hold so that `x` can be added to it "
            "in the end: which padding, which stride, how many filters?",
            "the order is conv - BN - ReLU - conv - BN, then the addition, then the last ReLU. "
            "Biases: none. All layers are made inside the function, with names of their own.",
            "seven layers, each called on what the one before returned: Conv2D(filters, 3, "
            'padding="same", use_bias=False), BatchNormalization, ReLU, the same Conv2D once more, '
            "BatchNormalization; Add takes the list of `x` and what you have; ReLU, and return it. "
            'Names: f"{name}_conv1", f"{name}_bn1" and so on.',
        ),
        stand_in=identity_block,
        why="this block, stacked, is all that a CIFAR ResNet has between its stem and its head, "
        "but for two projection blocks.",
    ),
    "02-fault-shortcut": Exercise(
        judge_shortcut_fault,
        level="medium",
        minutes=6,
        hints=(
            "write down, line by line, what `x` and `shortcut` stand for. Which layers does the "
            "shortcut pass by?",
            "the skip has to lead around both convolutions. `shortcut` gets its value when one of "
            "them has been at work already.",
            "`shortcut = x` belongs before the first convolution, as the first line.",
        ),
        stand_in=identity_block,
        why="such a block runs, trains and has as many parameters as the right one; only what it "
        "computes tells them apart.",
    ),
    "02-projection-block": Exercise(
        judge_projection_block,
        level="medium",
        minutes=10,
        hints=(
            "the branch is that of the identity block, but for one argument of its first layer. "
            "What has to happen to `x` so that both have one shape?",
            "the first convolution of the branch takes `strides`. On the shortcut, a 1x1 "
            "convolution with `filters` filters takes it, too, and batch normalisation follows.",
            "y = ReLU of conv_bn(x, filters, strides=strides), then conv_bn(y, filters); x = "
            "conv_bn(x, filters, 1, strides); add both, ReLU. Each conv_bn gets a name of its own "
            "that begins with `name`.",
        ),
        stand_in=projection_block,
        why="wherever a network changes its feature map's shape there is such a block; all others "
        "are identity blocks.",
    ),
    "02-parameters": Exercise(
        judge_parameters,
        level="easy",
        minutes=5,
        hints=(
            "list the layers first: what stands on the branch, what on the shortcut? Then count "
            "the weights of each.",
            "two 3x3 convolutions and a 1x1 projection, each followed by batch normalisation. A "
            "kernel has side * side * channels in * channels out weights; only two of the three "
            "take 32 channels.",
            "3 * 3 * 32 * 64 for the first kernel, 3 * 3 * 64 * 64 for the second, 1 * 1 * 32 * 64 "
            "for the projection; and two numbers a channel for each of three batch "
            "normalisations. Add them up.",
        ),
        why="nearly all of the block's parameters are in the two 3x3 kernels; a projection costs "
        "little.",
    ),
    "02-padding": Exercise(
        judge_padding,
        level="medium",
        minutes=6,
        hints=(
            "two steps: fewer pixels, then more channels. Slicing with a step does the first.",
            "x[:, ::strides, ::strides] keeps every second pixel where `strides` is 2. How many "
            "channels are missing then?",
            "keras.ops.pad takes a pair (before, after) for each of the four axes; only the last "
            "pair is not (0, 0): (0, filters - x.shape[-1]).",
        ),
        stand_in=zero_padded,
        why="a shortcut without weights is enough, so a residual network needs no more parameters "
        "than its plain counterpart.",
    ),
    "02-bottleneck-block": Exercise(
        judge_bottleneck_block,
        level="hard",
        minutes=12,
        hints=(
            "three layers on the branch, 1x1, 3x3, 1x1. Which of them have `filters` filters, and "
            "after which of them stands a ReLU?",
            "the last has 4 * filters, and no ReLU before the addition. The first has the stride. "
            "Then ask: when does `x` have the shape of the branch already?",
            "`x` needs a projection, conv_bn(x, 4 * filters, 1, strides), if strides > 1 or if "
            "x.shape[-1] is not 4 * filters; else it is added as it is.",
        ),
        stand_in=bottleneck_block,
        why="ResNet-50 is a row of 16 of these blocks.",
    ),
    "02-bottleneck-shape": Exercise(
        judge_bottleneck_shape,
        level="easy",
        minutes=3,
        hints=(
            "follow the three convolutions: 1x1, 3x3, 1x1. Which of them changes height and "
            "width, and which the channels?",
            "one of them has the stride of 2; all are padded, so nothing else changes height and "
            "width. The last one has more channels than `filters`.",
            "height and width are halved once. The channels are `expansion` times `filters`, and "
            "`expansion` is 4 where nothing else is said.",
        ),
        why="a bottleneck computes its 3x3 convolution on few channels and hands on four times as "
        "many.",
    ),
    "02-project": Exercise(
        judge_project,
        level="hard",
        minutes=20,
        hints=(
            "count where the multiply-adds are: on the large map. How few layers can stand there, "
            "and how few channels?",
            "bottlenecks with 16 filters cost little, and behind both strides each of them sees 8 "
            "pixels farther. In the two blocks with a stride, let the 3x3 convolution take it.",
            "rl.blocks.bottleneck_block has the arguments expansion and stride_at: with "
            'expansion=2 and stride_at="3x3" the first block outputs 32 channels and skips no '
            "pixel. Then one more with strides=2, and a row of them with strides=1.",
        ),
        why="size of the map, width and depth are what a network's designer spends; where they are "
        "spent decides what a stage costs.",
    ),
}

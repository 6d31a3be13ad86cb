"""Residual networks for 224x224 pictures: ResNet-18, 34, 50, 101 and 152, from the same blocks.

| depth             | 18      | 34      | 50         | 101        | 152        |
| block             | basic   | basic   | bottleneck | bottleneck | bottleneck |
| blocks of a stage | 2 2 2 2 | 3 4 6 3 | 3 4 6 3    | 3 4 23 3   | 3 8 36 3   |

Four stages of 64, 128, 256 and 512 channels, the bottlenecks' mid-widths, behind a stem that takes
a 224x224 picture to 56x56. Parameters and multiply-adds are asserted against `resnet_lib.paper`.

Forms of the networks with bottleneck blocks. "applications": keras.applications, to the last
parameter and layer name. "paper": no convolution bias. "v1.5": that, with the stride on the 3x3
convolution.

Source: He et al. 2015, arXiv 1512.03385, table 1.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import keras
from keras import layers

from . import checks
from .blocks import basic_block, bn_relu, bottleneck_block, convolution, head, stack
from .runtime import allow_depth

SMALLEST_SIDE = 32
UNITS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
SHAPE, CLASSES = (224, 224, 3), 1000  # ImageNet's.


@dataclass(frozen=True)
class Form:
    """What sets one way of writing a network apart from another.

    Attributes:
        use_bias: whether convolutions have biases although batch normalisation follows.
        stride_at: which convolution of a bottleneck block takes its step, "1x1" or "3x3".
        epsilon: of batch normalisation.
        keras_names: whether the layers have the names that keras.applications gives them.
    """

    use_bias: bool = False
    stride_at: str = "1x1"
    epsilon: float = 1e-5
    keras_names: bool = False


FORMS = {
    "applications": Form(use_bias=True, epsilon=1.001e-5, keras_names=True),
    "paper": Form(),
    "v1.5": Form(stride_at="3x3"),
}
FORMS_BASIC = {"paper": FORMS["paper"]}  # Of ResNet-18 and 34.


def resnet(
    input_shape: tuple[int | None, int | None, int] = SHAPE,
    depth: int = 50,
    num_classes: int = CLASSES,
    *,
    form: str = "paper",
    include_top: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """Build ResNet-18, 34 (basic blocks), 50, 101 or 152 (bottleneck blocks), with shortcut B.

    Args:
        input_shape: (height, width, channels); height and width at least 32, or None.
        depth: layers with weights, not counting projections: 18, 34, 50, 101 or 152.
        num_classes: classes of the softmax at the end.
        form: "applications", "paper" or "v1.5", see `FORMS`; 18 and 34 have "paper" only.
        include_top: whether pooling and softmax are there. Without them the model outputs the last
            stage's feature map.
        weights: None for random ones, or "imagenet" for those that keras.applications downloads;
            they go with the form "applications", 3 channels and, with the top, 1000 classes, and
            expect pictures that went through `keras.applications.resnet.preprocess_input`.

    Returns:
        `keras.Model`, float32 (batch, height, width, channels) -> (batch, num_classes) or
        (batch, height / 32, width / 32, 512 or 2048), not compiled, named `ResNet50` and so on.

    Raises:
        ValueError: for a wrong shape, another depth, a class count below 1, a form that the depth
            does not have, or weights that do not go with the rest.
        TypeError: for a depth or class count that is not an integer.
        ConnectionError: if the weights are not on this computer and cannot be downloaded.

    Source: arXiv 1512.03385, table 1; "v1.5" is the usual name of a later variant.
    """
    n1, n2, n3, n4 = checks.choice("depth", checks.integer("depth", depth), UNITS)
    if weights is not None:
        _check_weights(weights, form, depth, input_shape, num_classes, include_top)
    if depth < 50:
        form = checks.choice("form", form, FORMS_BASIC)
        conv = partial(convolution, use_bias=form.use_bias)
        block = partial(basic_block, conv=conv)
    else:
        form = checks.choice("form", form, FORMS)
        conv = partial(convolution, use_bias=form.use_bias)
        block = partial(bottleneck_block, stride_at=form.stride_at, conv=conv)
    inputs = keras.Input(checks.input_shape(input_shape, SMALLEST_SIDE), name="images")
    x = stem(inputs, conv)
    x = stack(x, 64, n1, block, strides=1, name="stage1")
    x = stack(x, 128, n2, block, name="stage2")
    x = stack(x, 256, n3, block, name="stage3")
    x = stack(x, 512, n4, block, name="stage4")
    allow_depth(depth)
    outputs = head(x, num_classes) if include_top else x
    model = in_form(keras.Model(inputs, outputs, name=f"ResNet{depth}"), form)
    if weights is not None:
        load_keras_weights(model, _downloaded(depth, include_top))
    return model


def resnet18(
    input_shape: tuple[int | None, int | None, int] = SHAPE,
    num_classes: int = CLASSES,
    *,
    form: str = "paper",
    include_top: bool = True,
) -> keras.Model:
    """Build ResNet-18: `resnet` of depth 18, with its arguments but `weights`."""
    return resnet(input_shape, 18, num_classes, form=form, include_top=include_top)


def resnet34(
    input_shape: tuple[int | None, int | None, int] = SHAPE,
    num_classes: int = CLASSES,
    *,
    form: str = "paper",
    include_top: bool = True,
) -> keras.Model:
    """Build ResNet-34: `resnet` of depth 34, with its arguments but `weights`."""
    return resnet(input_shape, 34, num_classes, form=form, include_top=include_top)


def resnet50(
    input_shape: tuple[int | None, int | None, int] = SHAPE,
    num_classes: int = CLASSES,
    *,
    form: str = "applications",
    include_top: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """Build ResNet-50: `resnet` of depth 50; its form is "applications" unless told otherwise."""
    options = dict(form=form, include_top=include_top, weights=weights)
    return resnet(input_shape, 50, num_classes, **options)


def resnet101(
    input_shape: tuple[int | None, int | None, int] = SHAPE,
    num_classes: int = CLASSES,
    *,
    form: str = "applications",
    include_top: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """Build ResNet-101: `resnet` of depth 101; its form is "applications" unless told otherwise."""
    options = dict(form=form, include_top=include_top, weights=weights)
    return resnet(input_shape, 101, num_classes, **options)


def resnet152(
    input_shape: tuple[int | None, int | None, int] = SHAPE,
    num_classes: int = CLASSES,
    *,
    form: str = "applications",
    include_top: bool = True,
    weights: str | None = None,
) -> keras.Model:
    """Build ResNet-152: `resnet` of depth 152; its form is "applications" unless told otherwise."""
    options = dict(form=form, include_top=include_top, weights=weights)
    return resnet(input_shape, 152, num_classes, **options)


BUILDERS = {
    "resnet18": resnet18,
    "resnet34": resnet34,
    "resnet50": resnet50,
    "resnet101": resnet101,
    "resnet152": resnet152,
}


def stem(x: keras.KerasTensor, conv: Callable = convolution) -> keras.KerasTensor:
    """A 7x7 convolution and a 3x3 maximum, both with stride 2: 224x224 becomes 56x56.

    Args:
        x: tensor of shape (batch, height, width, channels).
        conv: `blocks.convolution`, with its options bound.

    Returns:
        Tensor of shape (batch, ceil(height / 4), ceil(width / 4), 64).

    Source: arXiv 1512.03385, table 1, conv1 and the first line of conv2_x.
    """
    # Zeros on all four sides; padding="same" would put more on the right and below.
    last = {"data_format": "channels_last"}
    x = layers.ZeroPadding2D(3, name="stem_pad", **last)(x)
    x = conv(x, 64, 7, 2, padding="valid", name="stem_conv")
    x = bn_relu(x, name="stem")
    x = layers.ZeroPadding2D(1, name="stem_pool_pad", **last)(x)
    return layers.MaxPooling2D(3, strides=2, name="stem_pool", **last)(x)


# Our layer names, as patterns, and those of keras.applications.
_KERAS_NAMES = (
    (r"stem_pool_pad", r"pool1_pad"),
    (r"stem_pool", r"pool1_pool"),
    (r"stem_(\w+)", r"conv1_\1"),
    (r"(.*)_shortcut_(conv|bn)", r"\1_0_\2"),
    (r"(.*)_relu3", r"\1_out"),
    (r"(.*)_(conv|bn|relu)(\d)", r"\1_\3_\2"),
    (r"head_pool", r"avg_pool"),
    (r"head_dense", r"predictions"),
)


def keras_name(name: str) -> str:
    """Return the name that keras.applications gives the layer that is called `name` here.

    >>> keras_name("stage1_block2_conv3")
    'conv2_block2_3_conv'
    """
    for ours, theirs in _KERAS_NAMES:
        if re.fullmatch(ours, name):
            name = re.sub(ours, theirs, name)
            break
    return re.sub(r"^stage(\d)", lambda stage: f"conv{int(stage[1]) + 1}", name)


def in_form(model: keras.Model, form: Form) -> keras.Model:
    """Return a model with the epsilon and the layer names of a `Form`; `model` may be changed."""

    def renamed(layer):
        return type(layer).from_config(layer.get_config() | {"name": keras_name(layer.name)})

    if form.keras_names:
        model = keras.models.clone_model(model, clone_function=renamed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.epsilon = form.epsilon  # It is read when the layer is called.
    return model


def load_keras_weights(model: keras.Model, source: keras.Model) -> None:
    """Copy the weights of a keras.applications ResNet into one of ours, layer by layer.

    Args:
        model: what `resnet50`, `resnet101` or `resnet152` returned, in the form "applications". It
            is changed.
        source: `keras.applications.ResNet50`, ResNet101 or ResNet152, with a top or without as
            `model` has.

    Raises:
        ValueError: if a layer's name or the shape of a weight differs, with the list of those that
            do; nothing is changed then.
    """
    mine, theirs = _with_weights(model), _with_weights(source)
    wrong = list(_differences(mine, theirs))
    if wrong:
        shown = "\n  ".join(wrong[:10] + [f"and {len(wrong) - 10} more"] * (len(wrong) > 10))
        raise ValueError(
            f"Expected {source.name} to have the layers and shapes of {model.name}: the same "
            f"depth, form 'applications', with or without a top like it. Received:\n  {shown}"
        )
    for name, layer in mine.items():
        layer.set_weights(theirs[name].get_weights())


def _with_weights(model):
    return {layer.name: layer for layer in model.layers if layer.weights}


def _differences(mine, theirs):
    """Yield a line for each layer that is in one only, or has weights of other shapes."""
    for name, layer in mine.items():
        if name not in theirs:
            yield f"{name}: not in the source"
        elif _shapes(layer) != _shapes(theirs[name]):
            yield f"{name}: {_told(layer)} here, {_told(theirs[name])} in the source"
    yield from (f"{name}: only in the source" for name in theirs if name not in mine)


def _shapes(layer):
    return {weight.name: tuple(weight.shape) for weight in layer.weights}


def _told(layer):
    return ", ".join(f"{name} {shape}" for name, shape in _shapes(layer).items())


def _check_weights(weights, form, depth, input_shape, num_classes, include_top):
    checks.choice("weights", weights, ("imagenet",))
    wrong = [] if depth >= 50 else [f"depth={depth}, expected 50, 101 or 152"]
    if form != "applications":
        wrong.append(f"form={form!r}, expected 'applications'")
    if checks.input_shape(input_shape, SMALLEST_SIDE)[-1] != 3:
        wrong.append(f"input_shape={input_shape!r}, expected 3 channels")
    if include_top and num_classes != CLASSES:
        wrong.append(f"num_classes={num_classes!r}, expected {CLASSES} or include_top=False")
    if wrong:
        raise ValueError(
            "Expected arguments that go with weights='imagenet'. Received: " + "; ".join(wrong)
        )


def _downloaded(depth, include_top):
    """Return keras.applications' network with its own download of the ImageNet weights."""
    builder = getattr(keras.applications, f"ResNet{depth}")
    top = "" if include_top else "_notop"
    file = f"resnet{depth}_weights_tf_dim_ordering_tf_kernels{top}.h5"
    try:
        return builder(weights="imagenet", include_top=include_top)
    except Exception as error:
        raise ConnectionError(
            f"The ImageNet weights of ResNet{depth} cannot be had ({error}). Expected a connection "
            f"for the first download, which Keras checks and keeps, or the file {file} in the "
            "folder `models` of Keras' cache (~/.keras), copied there from another computer. "
            "weights=None builds the network with random ones."
        ) from error

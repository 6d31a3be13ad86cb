"""Networks by their ids, as the command line and the records name them."""

import re
from collections.abc import Callable
from functools import partial
from inspect import signature

import keras
from keras import layers

from . import checks, cifar, fast, imagenet

CIFAR = {
    ("resnet", "v1"): cifar.resnet_v1,
    ("resnet", "v2"): cifar.resnet_v2,
    ("plain", None): cifar.plain_net,
}
BLOCKS = {"v1": cifar.BLOCKS_V1, "v2": cifar.BLOCKS_V2}
_ID = re.compile(r"(resnet|plain)(\d+)(v[12])?(?:-(.+))?")
_FAST = re.compile(r"resnetfast(\d+(?:-\d+)*)?(?:x(\d+))?")


def parse_model_id(
    model_id: str, block: str | Callable | None = None
) -> tuple[Callable[..., keras.Model], int]:
    """Read a model id: `resnet20v1`, `resnet20v1-se`, `plain20`, `resnet50`, `resnetfast`.

    Args:
        model_id: family, depth and, for the networks of `resnet_lib.cifar`, version and block,
            where it is a later paper's; for those of `resnet_lib.fast` widths and blocks, where
            they are not the default ones: `resnetfast64-256-256`, `resnetfast64-128-256x2`.
        block: for v1 and v2 in place of the id's: see `cifar.resnet_v1` and `resnet_v2`; None: the
            id's, or "basic" for v1 and "bottleneck" for v2.

    Returns:
        The builder, such as `cifar.resnet_v1` or `imagenet.resnet50`, and the depth.

    Raises:
        ValueError: if the id names no network, or if `block` is given where there is no choice, or
            where the id has another.
    """
    match = _ID.fullmatch(str(model_id))
    if block is not None and (match is None or match[3] is None or match[4] not in (None, block)):
        raise ValueError(
            "Expected no `block` but for v1 and v2 networks, and for these one. Received: "
            f"{block!r} for {model_id!r}"
        )
    if fast_one := _FAST.fullmatch(str(model_id)):
        return _fast(*fast_one.groups())
    if match is not None and match[0] in imagenet.BUILDERS:
        return imagenet.BUILDERS[match[0]], int(match[2])
    if match is None or (match[1], match[3]) not in CIFAR or (match[4] and not match[3]):
        raise ValueError(
            "Expected `model_id` to be such as 'resnet20v1', 'resnet29v2', 'plain20' or "
            "'resnetfast64-128-256', or one of "
            f"{', '.join(map(repr, imagenet.BUILDERS))}. Received: {model_id!r}"
        )
    builder, depth = CIFAR[match[1], match[3]], int(match[2])
    block = block or match[4] or ("bottleneck" if match[3] == "v2" else "basic")
    kind = cifar.block_of(block, BLOCKS.get(match[3], cifar.BLOCKS_V1))
    cifar.blocks_per_stage(depth, cifar.layers_of(kind))
    return builder, depth


def _fast(widths, blocks):
    """Return the builder of a fast network, and its depth: layers with weights."""
    widths = tuple(map(int, widths.split("-"))) if widths else fast.WIDTHS
    blocks = int(blocks or 1)
    return partial(fast.resnet_fast, widths=widths, blocks=blocks), 2 + len(widths) * (1 + blocks)


def build(
    model_id: str,
    input_shape: tuple[int | None, int | None, int],
    num_classes: int = 10,
    *,
    form: str | None = None,
    block: str | Callable | None = None,
    dropout: float = 0.0,
) -> keras.Model:
    """Build the network that a model id names.

    Args:
        model_id: see `parse_model_id`.
        input_shape: (height, width, channels).
        num_classes: classes of the softmax at the end.
        form: one of the builder's forms; None: its default.
        block: of a v1 or v2 network, as in `parse_model_id`.
        dropout: share of the pooled features that are set to zero in training, at least 0, below 1.

    Returns:
        `keras.Model`.

    Raises:
        ValueError: if the id names no network, `dropout` is out of its range, or as the builder
            says.
    """
    builder, depth = parse_model_id(model_id, block)
    depths = (depth,) if builder in CIFAR.values() else ()
    match = _ID.fullmatch(model_id)
    options = {"form": form, "block": block or (match and match[4])}
    options = {name: value for name, value in options.items() if value is not None}
    if form is not None and "form" not in signature(builder).parameters:
        raise ValueError(f"Expected no `form` for {model_id!r}, which has one. Received: {form!r}")
    return with_dropout(builder(input_shape, *depths, num_classes, **options), dropout)


def with_dropout(model: keras.Model, rate: float) -> keras.Model:
    """Return `model` with Dropout in front of its last layer; `model` itself where `rate` is 0.

    Raises:
        ValueError: if `rate` is not at least 0 and below 1.
    """
    if not checks.number("dropout", rate, below=1):
        return model
    place = max(i for i, layer in enumerate(model.layers) if isinstance(layer, layers.Dense))
    x = layers.Dropout(rate, name="head_dropout")(model.layers[place].input)
    for layer in model.layers[place:]:
        new = type(layer).from_config(layer.get_config())
        x = new(x)
        new.set_weights(layer.get_weights())
    return keras.Model(model.input, x, name=model.name)

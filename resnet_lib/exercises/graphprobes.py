"""Look into a model that the reader hands over: its shapes, its paths, what it sees."""

import keras
import numpy as np
from keras import ops

from ..inspection import gradients
from .core import Wrong, described, guarded


def expect_model(model, shape_in, shape_out):
    """Raise Wrong unless an answer is a functional model from one shape to another."""
    if not isinstance(model, keras.Model):
        raise Wrong(f"received {described(model)}. Expected: a Keras model.")
    if not hasattr(getattr(model, "_functional", model), "_nodes_by_depth"):
        raise Wrong(
            "your model is no functional one. Build it of layers: keras.Model(inputs, outputs)."
        )
    for what, tensor, expected in (
        ("input", model.input, shape_in),
        ("output", model.output, shape_out),
    ):
        shape = tuple(tensor.shape[1:]) if hasattr(tensor, "shape") else described(tensor)
        if shape != expected:
            raise Wrong(f"the {what} of your model has the shape {shape}. Expected: {expected}.")


def nodes(model):
    """Return the calls of a model's layers, in the order of computation."""
    model = getattr(model, "_functional", model)  # A sequential model has one inside.
    return [
        node
        for depth in sorted(model._nodes_by_depth)[::-1]
        for node in model._nodes_by_depth[depth]
    ]


def has_path(model, allowed):
    """Say whether a path of layers that are allowed leads from the input to the output."""
    model = getattr(model, "_functional", model)
    reached = {id(model.input)}
    for node in nodes(model):
        if allowed(node.operation) and any(id(x) in reached for x in node.input_tensors):
            reached |= {id(y) for y in node.output_tensors}
    return id(model.output) in reached


def longest_path(model, counts):
    """Return the largest number of layers that count on a way from the input to the output."""
    length = {}
    for node in nodes(model):
        before = max((length.get(id(x), 0) for x in node.input_tensors), default=0)
        for y in node.output_tensors:
            length[id(y)] = before + _length(node.operation, counts)
    return length[id(getattr(model, "_functional", model).output)]


def _length(layer, counts):
    if hasattr(layer, "_nodes_by_depth") or hasattr(layer, "_functional"):  # A model inside.
        return longest_path(getattr(layer, "_functional", layer), counts)
    return int(bool(counts(layer)))


def share_of_pixels(model):
    """Return the share of the input's pixels that can change the output of a copy of the model.

    In the copy all kernels are positive, so that no ReLU hides a pixel and none cancels another.
    """
    copy = guarded(keras.models.clone_model, model)
    for weight in copy.weights:
        fixed = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}
        value = fixed.get(weight.name, 1 / np.prod(weight.shape[:-1] or (1,)))
        weight.assign(np.full(weight.shape, value))
    picture = np.ones((1, *model.input.shape[1:]))
    (gradient,) = gradients(lambda x: ops.sum(copy(x)), [picture])
    return float((np.abs(gradient[0]).sum(axis=-1) > 0).mean())

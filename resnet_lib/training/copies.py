"""A copy of a network, layer by layer, that computes what the original does.

It is `keras.models.clone_model` with what that leaves out: the weights, what is frozen, functions
and classes that are registered nowhere, and something in front of the first layers.
"""

from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import keras
import numpy as np

from ..runtime import allow_depth


def copied(
    model: keras.Model,
    changed: Callable[[keras.Layer, dict], dict] | None = None,
    inputs: keras.KerasTensor | None = None,
    front: Callable | None = None,
) -> keras.Model:
    """Return a copy of a model with its weights, in which each layer is called as in the original.

    Args:
        model: functional or sequential `keras.Model`. It stays as it is.
        changed: function of a layer and its configuration that returns that of its copy.
        inputs: the tensor that the copy begins with, in place of the model's one input; what it
            returns is then a tensor too, where the model's one output is in a list or a dict.
        front: function of `inputs` that returns what the first layers take; None: the same.

    Returns:
        `keras.Model`, functional and not compiled. Models nested in it are copies too. What is
        frozen or used twice in the original is so in the copy.
    """
    allow_depth(len(model.layers) // 4)
    free = inputs is not None and None in inputs.shape[1:-1]
    copies = {}

    def copy(layer):
        if id(layer) not in copies:
            new = nested(layer) if is_graph(layer) else _remade(layer, changed)
            copies[id(layer)] = layer, new
        return copies[id(layer)][1]

    def nested(layer):
        graph = _graph(layer)
        begin = keras.tree.map_structure(like, graph.input)
        return keras.models.clone_model(graph, begin, clone_function=copy)

    def like(tensor):
        any_size = free and len(tensor.shape) == 4
        shape = (None, None, tensor.shape[3]) if any_size else tensor.shape[1:]
        return keras.Input(shape, dtype=tensor.dtype, name=tensor.name)

    def call(layer, *args, **kwargs):
        """Call a layer, on what `front` returns where the original is called on the inputs."""
        args, kwargs = keras.tree.map_structure(
            lambda each: first if each is begin else each, (args, kwargs)
        )
        return layer(*args, **kwargs)

    graph = _graph(model, one=inputs is not None)
    begin = keras.tree.map_structure(like, graph.input) if inputs is None else inputs
    first = begin if front is None else front(begin)
    with keras.saving.custom_object_scope(_own_classes(model)):
        flat = keras.models.clone_model(graph, begin, clone_function=copy, call_function=call)
    for original, new in [(model, flat), *reversed(copies.values())]:  # Models before their layers.
        _give_state(original, new)
    return flat


def _graph(model, *, one=False):
    """Return a model as a functional one that is not compiled, of the same layers.

    A sequential one, and any with `one`, has a tensor as input and output: no list, no dict.
    """
    if one or isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def _remade(layer, changed):
    """Return a new layer, or operation, as the configuration of another says when it is changed."""
    try:
        new = _from_config(layer, changed)
    except (NotImplementedError, TypeError) as error:
        raise ValueError(
            "Expected layers that can be made anew from their get_config(), as loading a model "
            f"does: with **kwargs for Layer.__init__ and all of their own arguments. "
            f"Received: {layer.name} of {type(layer).__name__}"
        ) from error
    new.name = layer.name
    return new


def _from_config(layer, changed):
    config = layer.get_config()
    if changed is not None and isinstance(layer, keras.Layer):
        config = changed(layer, config)
    # A function of one's own is handed on as it is: its name alone would not be found.
    given = {name: getattr(layer, name, None) for name in config}
    config |= {name: each for name, each in given.items() if isinstance(each, FunctionType)}
    if isinstance(layer, keras.layers.Wrapper):
        inner = layer.layer
        inner = copied(inner, changed) if is_graph(inner) else _remade(inner, changed)
        config["layer"] = keras.saving.serialize_keras_object(inner)
    if type(layer) is keras.layers.Lambda:
        config |= {"output_shape": layer._output_shape, "mask": layer.mask}
        return keras.layers.Lambda(**config | {"arguments": layer.arguments})
    return type(layer).from_config(config)


def _give_state(original, new):
    """Give a copy the weights of the original, and freeze what is frozen there."""
    if is_graph(original):
        new.trainable = original.trainable  # That of its layers is set after it.
    elif isinstance(original, keras.Layer):
        for part, copy in zip(original._flatten_layers(), new._flatten_layers(), strict=True):
            copy.trainable = part.trainable
            state = {}
            part.save_own_variables(state)
            # JAX would give both the same arrays, and training frees them.
            arrays = {name: keras.ops.convert_to_numpy(each) for name, each in state.items()}
            copy.load_own_variables({name: np.array(each) for name, each in arrays.items()})
            _freeze_alike(part, copy)


def _freeze_alike(original, copy):
    """Freeze the variables that are frozen one by one, in a layer that is not."""
    if original.trainable:
        pairs = zip(original._trainable_variables, copy._trainable_variables, strict=True)
        for variable, new in pairs:
            new.trainable = variable.trainable


def _own_classes(model):
    """Return the classes of layers that are not Keras' own, for layers inside of others."""
    kinds = {type(layer) for layer in model._flatten_layers()}
    return {kind.__name__: kind for kind in kinds if not is_keras(kind)}


def is_keras(kind: type) -> bool:
    """Say whether a class of layers is Keras' own, and what it computes as well."""
    return kind.__module__.startswith("keras.") and kind is not keras.layers.Lambda


def is_graph(layer: Any) -> bool:
    """Say whether something is a functional or sequential model."""
    functional = isinstance(layer, keras.Model) and hasattr(layer, "operations")
    return functional or isinstance(layer, keras.Sequential)


def layers_of(model: keras.Model) -> Iterator[keras.Layer]:
    """Yield the layers of a model and of the models inside it."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from layers_of(layer)
        else:
            yield layer


def checked(model: Any) -> keras.Model:
    """Return a model whose layers can be walked through; ValueError, with what to do, if not."""
    mend = ""
    if isinstance(model, keras.Model) and not is_graph(model):
        mend = (
            ", a subclassed model, whose layers cannot be walked through; this is a functional one "
            "around it: inputs = keras.Input(shape); keras.Model(inputs, model(inputs))"
        )
    elif is_graph(model) and not model.built:
        mend = ", which is not built: begin it with keras.Input(shape) or call its build(shape)"
    elif is_graph(model):
        return model
    raise ValueError(
        "Expected a built functional or sequential Keras model, such as resnet_v1 returns. "
        f"Received: {model!r}{mend}"
    )

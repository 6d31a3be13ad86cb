"""What a network computes, in a line: so that a run is resumed with the network that it began with.

Two networks of one name and as many parameters may differ in a stride, a pooling, a Dropout's rate.
"""

import base64
import hashlib
import json
import marshal
import re
from types import CodeType
from typing import Any

import keras

# What a layer's description says beside what it computes: where its class is at home, and shapes
# that follow from the connections.
_BESIDE = {"name", "module", "registered_name", "build_config", "shared_object_id"}


def architecture(model: keras.Model) -> str:
    """Return the SHA-256 of a network's description: classes, settings and connections of layers.

    It is the same whatever the layers are called and in whichever precision they compute, in every
    process. The values of weights, and the code of layers of one's own, are not part of it.

    Args:
        model: functional or sequential `keras.Model`.
    """
    described = json.dumps(_model(model.get_config()), sort_keys=True, default=_text)
    return hashlib.sha256(described.encode()).hexdigest()


def _model(config):
    """Describe the configuration of a model: a layer is called by its place."""
    layers = config.get("layers", [])
    places = {layer.get("name", layer["config"].get("name")): n for n, layer in enumerate(layers)}
    ends = {name: _ends(config.get(name), places) for name in ("input_layers", "output_layers")}
    return [[_value(layer, places) for layer in layers], ends, config.get("trainable", True)]


def _ends(value, places):
    """Describe which tensors go in or out: (layer, call, tensor), or several of these."""
    if isinstance(value, dict):
        return {name: _ends(each, places) for name, each in value.items()}
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], str):
            return [places[value[0]], *value[1:]]
        return [_ends(each, places) for each in value]
    return value


def _value(value: Any, places: dict) -> Any:
    if isinstance(value, list | tuple):
        return [_value(each, places) for each in value]
    if not isinstance(value, dict):
        return value
    kind, config = value.get("class_name"), value.get("config")
    if kind == "__keras_tensor__":
        return _ends(config["keras_history"], places)
    if kind == "__lambda__":
        code = marshal.loads(base64.b64decode(config["code"]))
        return [_code(code), config["defaults"], config["closure"]]
    if isinstance(kind, str) and kind.endswith("DTypePolicy"):
        return None
    if kind == "InputLayer":
        return config["batch_shape"]  # Its dtype may be that of the layers behind it.
    if isinstance(config, dict) and "layers" in config:
        value = value | {"config": _model(config)}
    found = {name: _value(each, places) for name, each in value.items() if name not in _BESIDE}
    # What is not set is left out, for sometimes Keras does so itself.
    return {name: each for name, each in found.items() if each is not None}


def _code(code):
    """Describe a function by what it does, and not by where it is written."""
    constants = [_code(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    return [code.co_code.hex(), repr(constants), code.co_names]


def _text(value):
    """Describe what JSON cannot hold; an address in memory is another in each process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))

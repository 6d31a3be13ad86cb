"""A network computed call by call, so that what is inside can be read, replaced or left out.

Models that are nested in another are looked into: what is computed is one row of steps. On
symbolic tensors (`keras.Input`) a row builds a model, on arrays it computes.
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras

from .inspection import nodes_of

PROBABILITIES = ("softmax", "sigmoid")


@dataclass(frozen=True, eq=False)
class Step:
    """One call of a layer or operation.

    Attributes:
        names: names of the models that it is nested in, then its own.
        node: Keras' node, which holds the arguments.
        taken: dict, id of a symbolic tensor among the arguments -> number of its value.
        made: numbers of the values that it outputs.
    """

    names: tuple[str, ...]
    node: Any
    taken: dict[int, int]
    made: tuple[int, ...]

    @property
    def operation(self) -> keras.Operation:
        """The layer or operation that is called."""
        return self.node.operation

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Shape of what it outputs, with the batch."""
        return tuple(self.node.output_tensors[0].shape)

    def __call__(self, values: Mapping[int, Any], operation: Any = None) -> list:
        """Return what the step, or another operation in its place, outputs; not in training."""
        operation = operation or self.operation
        at = {tensor: values[number] for tensor, number in self.taken.items()}
        args, kwargs = self.node.arguments.fill_in(at)
        if "training" in getattr(operation, "_call_context_args", ()):
            kwargs["training"] = False
        return keras.tree.flatten(operation(*args, **kwargs))


@dataclass(frozen=True, eq=False)
class Graph:
    """A model as a row of steps. Values are numbered: what goes in, then what the steps output.

    Attributes:
        model: the model.
        steps: in the order of computation.
        output: number of the value that the model outputs.
    """

    model: keras.Model
    steps: tuple[Step, ...]
    output: int

    def compute(
        self, given: Mapping[int, Any], wanted: Iterable[int], operations: Mapping | None = None
    ) -> list:
        """Return values, computing only what they need beyond those that are given.

        Args:
            given: dict, number -> tensor; number 0 is the model's input.
            wanted: numbers of the values to return.
            operations: dict, place of a step -> the operation that stands in for its own.
        """
        values, wanted = dict(given), list(wanted)
        operations = operations or {}
        for place in self.between(given, wanted):
            step = self.steps[place]
            made = zip(step.made, step(values, operations.get(place)), strict=True)
            values.update({number: value for number, value in made if number not in given})
        return [values[number] for number in wanted]

    def between(self, given: Iterable[int], wanted: Iterable[int]) -> list[int]:
        """Return the places of the steps that lead from given values to those wanted, in order."""
        needed, places, given = set(wanted) - set(given), [], set(given)
        for place in reversed(range(len(self.steps))):
            step = self.steps[place]
            if needed & set(step.made):
                places.append(place)
                needed |= set(step.taken.values()) - given
        return places[::-1]

    def depends(self, value: int, on: int) -> bool:
        """Say whether a value is computed from another, or is the same."""
        return value == on or any(
            on in self.steps[place].taken.values() for place in self.between([on], [value])
        )


def graph_of(model: keras.Model) -> Graph:
    """Read a model as a row of steps.

    Args:
        model: a functional or built sequential `keras.Model` with one input and one output.

    Raises:
        ValueError: for another kind of model, or one with several inputs or outputs.
    """
    outer = getattr(model, "_functional", model)
    nodes_of(model)  # Refuses what is no functional model.
    if len(outer.inputs) != 1 or len(outer.outputs) != 1:
        raise ValueError(
            "Expected a model with one input and one output. "
            f"Received: {model.name} with {len(outer.inputs)} and {len(outer.outputs)}"
        )
    steps = []
    [output] = _add_steps(outer, (), [0], steps, iter(range(1, 2**62)))
    return Graph(model, tuple(steps), output)


def _add_steps(model, outer, inputs, steps, numbers) -> list[int]:
    """Append a model's steps; return the numbers of what it outputs."""
    known = dict(zip(map(id, model.inputs), inputs, strict=True))
    for node in nodes_of(model):
        operation = node.operation
        if isinstance(operation, keras.layers.InputLayer):
            continue
        taken = {id(tensor): known[id(tensor)] for tensor in node.input_tensors}
        names = (*outer, operation.name)
        inner = getattr(operation, "_functional", operation)
        if getattr(inner, "_nodes_by_depth", None) is None:
            made = [next(numbers) for _ in node.output_tensors]
            steps.append(Step(names, node, taken, tuple(made)))
        else:
            begin = [known[id(tensor)] for tensor in node.input_tensors]
            made = _add_steps(inner, names, begin, steps, numbers)
        known.update(zip(map(id, node.output_tensors), made, strict=True))
    return [known[id(tensor)] for tensor in model.outputs]


@contextmanager
def without_softmax(graph: Graph) -> Iterator[int]:
    """Give the number of the logits, which the model's last softmax takes.

    Where the softmax is the activation of a layer, as of `Dense`, that layer is linear within the
    context. Of a model that ends in a sigmoid, it is what that takes. A model that ends in neither
    is taken to return logits.
    """
    step, number = _last(graph)
    kind = _activation(step)
    if kind is None:
        yield graph.output
    elif isinstance(step.operation, keras.layers.Activation) or not _has_activation(step):
        yield next(iter(step.taken.values()))
    else:
        with _linear(step.operation):
            yield number


def _has_activation(step):
    return getattr(step.operation, "activation", None) is not None


def has_softmax(graph: Graph) -> bool:
    """Say whether a softmax or sigmoid was found at the end of a model."""
    return _activation(_last(graph)[0]) is not None


def ends_in(graph: Graph, kind: type) -> Any:
    """Return the layer of a kind whose output the last softmax takes, or is; None for others."""
    step, _ = _last(graph)
    if _activation(step) is None:
        return None
    if not isinstance(step.operation, kind):
        by = {number: each for each in graph.steps for number in each.made}
        step = by.get(next(iter(step.taken.values())))
    return step.operation if step is not None and isinstance(step.operation, kind) else None


def _last(graph) -> tuple[Step, int]:
    """The last step that does something, and the number of what it outputs."""
    by = {number: step for step in graph.steps for number in step.made}
    number = graph.output
    while number in by and _passes_on(by[number]):
        number = next(iter(by[number].taken.values()))
    if number not in by:
        raise ValueError(f"Expected a model that computes something. Received: {graph.model.name}")
    return by[number], number


def _passes_on(step):
    operation = step.operation
    linear = getattr(operation, "activation", None) is keras.activations.linear
    passing = isinstance(operation, keras.layers.Identity | keras.layers.Dropout)
    return passing or (linear and isinstance(operation, keras.layers.Activation))


def _activation(step):
    """ "softmax" or "sigmoid" where a step is one or ends in one; else None."""
    operation = step.operation
    function = getattr(operation, "activation", None)
    name = getattr(function, "__name__", type(function or operation).__name__).lower()
    return name if name in PROBABILITIES else None


@contextmanager
def _linear(layer):
    function: Callable = layer.activation
    layer.activation = keras.activations.linear
    try:
        yield
    finally:
        layer.activation = function


def steps_named(graph: Graph, name: str) -> list[Step]:
    """Return the steps of a name, or in the nested model of that name, in order.

    Raises:
        ValueError: if there is none, with the nearest names.
    """
    found = [step for step in graph.steps if name in step.names]
    if not found:
        names = dict.fromkeys(name for step in graph.steps for name in step.names)
        raise ValueError(_unknown(name, names, graph.model.name))
    return found


def _unknown(name, names, model):
    near = difflib.get_close_matches(str(name), names, n=3, cutoff=0.4) or list(names)[-3:]
    told = ", ".join(map(repr, near))
    return (
        f"Expected the name of a layer of {model}, or of a model in it. "
        f"Received: {name!r}; the nearest: {told}"
    )

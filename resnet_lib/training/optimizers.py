"""The optimizer of a recipe: one of Keras', with a rate of their own for biases, or Muon.

What the two add is in `update_step`, which Keras calls for one variable after another, whatever the
backend and however many devices there are.
"""

import math
import re
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from ..recipes import Recipe

# The names of layers whose kernel is a factor, such as SkipInit's; the paths of variables that do
# not decay, and of those of them that are added.
FACTOR = r"_scale$"
NO_DECAY = r"(^|/)(bias|gamma|beta)(:\d+)?$|_scale/kernel(:\d+)?$"
BIAS = r"(^|/)(bias|beta)(:\d+)?$"
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # of the fifth degree; they bring 0.1 to 1 near 1
ITERATIONS = 3


def make_optimizer(recipe: "Recipe", precision: str = "float32") -> keras.optimizers.Optimizer:
    """Return the Keras optimizer of a recipe.

    Decay that is not in the update is part of the model: see `resnet_lib.training.network`.
    """
    decay, options = recipe.weight_decay, {}
    if decay is not None and decay.meaning == "update":
        options["weight_decay"] = decay.value
    if recipe.ema is not None:
        options |= {"use_ema": True, "ema_momentum": recipe.ema}
    if recipe.optimizer != "adam":
        options |= {"momentum": float(recipe.momentum), "nesterov": recipe.nesterov}
    if recipe.optimizer == "muon":
        options["other_rate"] = recipe.other_rate
    kinds = {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam, "muon": Muon}
    kind = kinds[recipe.optimizer]
    if recipe.bias_rate != 1:
        kind = _with_bias_rate(kind, recipe.bias_rate)
    if options.get("weight_decay"):
        kind = _with_decay_of_kernels(kind)
    optimizer = kind(recipe.rate(0, 1), **options)
    if precision == "mixed_float16":
        return keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _with_decay_of_kernels(kind):
    """Return a class of optimizers that decays no variable whose path NO_DECAY names.

    Keras' `exclude_from_weight_decay(var_names=…)` searches paths under TensorFlow, and under JAX
    the last part of them only.
    """

    class WithDecayOfKernels(kind):
        def build(self, variables):
            if not self.built:
                left_out = [each for each in variables if re.search(NO_DECAY, each.path)]
                self.exclude_from_weight_decay(var_list=left_out)
            super().build(variables)

    return WithDecayOfKernels


def _with_bias_rate(kind, factor):
    """Return a class of optimizers for which the rate of biases is `factor` times the others'."""

    class WithBiasRate(kind):
        def update_step(self, gradient, variable, learning_rate):
            place = self._get_variable_index(variable)
            if re.search(BIAS, self._trainable_variables[place].path):
                learning_rate = keras.ops.cast(learning_rate, variable.dtype) * factor
            return super().update_step(gradient, variable, learning_rate)

    return WithBiasRate


class Muon(keras.optimizers.SGD):
    """Muon for the kernels of convolutions, SGD for all else.

    A kernel, as a matrix of its filters, has the length that unit filters have together, and moves
    by the learning rate times the matrix nearest to its momentum of which all singular values are
    alike. So what a kernel learns does not go along few directions only. Keras' own Muon does this
    for matrices and leaves kernels of convolutions to AdamW.

    Args:
        learning_rate: float, for kernels of rank 4.
        other_rate: float, how many times that is the rate of all else.
        **options: of `keras.optimizers.SGD`: momentum, nesterov, …

    Source: Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks"; for
    convolutions airbench94_muon.py of github.com/KellerJordan/cifar10-airbench.
    """

    def __init__(self, learning_rate: float = 0.1, *, other_rate: float = 1.0, **options: Any):
        super().__init__(learning_rate, **options)
        self.other_rate = other_rate

    @staticmethod
    def trains(variable: Any) -> bool:
        """Say whether a variable is a kernel of a convolution, which keeps its length."""
        return len(variable.shape) == 4

    def update_step(self, gradient, variable, learning_rate):
        """Take a step with one variable; Keras calls this."""
        rate = keras.ops.cast(learning_rate, variable.dtype)
        if not self.trains(variable):
            super().update_step(gradient, variable, rate * self.other_rate)
            return
        gradient = keras.ops.cast(gradient, variable.dtype)
        momentum = self.momentums[self._get_variable_index(variable)]
        summed = self.momentum * momentum + gradient
        self.assign(momentum, summed)
        step = orthogonalized(self.momentum * summed + gradient if self.nesterov else summed)
        length = math.sqrt(variable.shape[-1]) / keras.ops.norm(keras.ops.reshape(variable, (-1,)))
        self.assign(variable, variable * length - rate * step)

    def get_config(self):
        """Return what makes another one like it."""
        return super().get_config() | {"other_rate": self.other_rate}


def orthogonalized(kernel: Any) -> Any:
    """Return a kernel of which, as a matrix of its filters, the singular values are near 1.

    Args:
        kernel: tensor (height, width, channels, filters), or any whose last axis is the filters'.

    Returns:
        Tensor of the shape and dtype of `kernel`, with its singular vectors.
    """
    a, b, c = NEWTON_SCHULZ
    shape = kernel.shape
    x = keras.ops.reshape(kernel, (-1, shape[-1]))
    high = x.shape[0] > x.shape[1]
    x = keras.ops.transpose(x) if high else x
    x = x / (keras.ops.norm(x) + 1e-7)
    for _ in range(ITERATIONS):
        square = keras.ops.matmul(x, keras.ops.transpose(x))
        x = a * x + keras.ops.matmul(b * square + c * keras.ops.matmul(square, square), x)
    return keras.ops.reshape(keras.ops.transpose(x) if high else x, shape)

"""Speed a built model up without changing what it computes.

Keras 3 computes batch normalisation on TensorFlow in a dozen elementwise operations, each of which
reads and writes the whole feature map. TensorFlow has one fused operation for the forward pass and
one for the gradient. It compiles a convolution in groups by XLA, which on the CPU is a hundred
times slower than TensorFlow's own operation. `speed_up` puts these into a copy of a model.

The copy consists of Keras' own layers with Keras' own weights: only the function that some of its
layers run is another. What is saved is therefore the plain model, which loads without this package.
"""

from functools import cache
from types import MethodType

import keras

from .copies import checked, copied, layers_of

_FUSED_DTYPES = ("float16", "bfloat16", "float32")


def speed_up(model: keras.Model) -> keras.Model:
    """Return a copy of a model that computes the same and trains faster.

    The copy has the layers, names and weights of `model`, not its compile state, and `save` writes
    it as the plain Keras model that it copies. Each BatchNormalization layer over the last axis of
    a rank-4 tensor runs TensorFlow's fused operation, in this process and until the copy is cloned
    or loaded anew. Other layers run as before: those with renorm or synchronized=True (the fused
    operation sees one replica), a subclass, another axis or rank, a mask, float64.

    On another backend than TensorFlow nothing is fused: the copy is a plain clone.

    Args:
        model: a built functional or sequential Keras model. It stays as it is.

    Returns:
        `keras.Model`, of the same inputs and outputs as `model`. Up to rounding (1e-5) it outputs
        the same in training and in inference and leaves the same moving statistics.

    Raises:
        ValueError: if `model` is not a functional or sequential Keras model, or is not built.
    """
    return fuse(copied(checked(model)))


def fuse(model: keras.Model) -> keras.Model:
    """Do in a model itself, which is returned, what `speed_up` does in a copy."""
    if keras.backend.backend() == "tensorflow":
        for layer in layers_of(model):
            if _can_be_fused(layer):
                layer.call = MethodType(_fused_batch_norm, layer)
            elif _is_grouped(layer) and _has_grouped_gradients():
                layer.convolution_op = MethodType(_grouped_convolution, layer)
    return model


def fused_layers(model: keras.Model) -> list[str]:
    """Return the names of the layers of a model that run a fused operation, in order."""
    return [layer.name for layer in layers_of(model) if "call" in vars(layer)]


def _can_be_fused(layer):
    if type(layer) is not keras.layers.BatchNormalization or layer.renorm or layer.synchronized:
        return False
    last_of_four = layer.input_spec.ndim == 4 and layer.axis in (-1, 3)
    return last_of_four and layer.compute_dtype in _FUSED_DTYPES and _is_float32(layer)


def _is_grouped(layer):
    kind = type(layer) is keras.layers.Conv2D
    return kind and layer.groups > 1 and layer.data_format == "channels_last"


@cache
def _has_grouped_gradients():
    """Whether TensorFlow's own operation can be trained here: on the CPU with oneDNN alone."""
    import tensorflow as tf

    images, kernel = tf.zeros((1, 3, 3, 4)), tf.zeros((3, 3, 2, 4))
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        outputs = tf.nn.conv2d(images, kernel, 1, "SAME")
    try:
        tape.gradient(outputs, [images, kernel])
    except tf.errors.OpError:
        return False
    return True


def _grouped_convolution(layer, inputs, kernel):
    """Stand in for `Conv2D.convolution_op` of `layer`."""
    import tensorflow as tf

    options = dict(padding=layer.padding.upper(), dilations=layer.dilation_rate)
    return tf.nn.conv2d(inputs, tf.convert_to_tensor(kernel), layer.strides, **options)


def _is_float32(layer):
    return all(weight.dtype == "float32" for weight in layer.weights)


def _fused_batch_norm(layer, inputs, training=None, mask=None):
    """Stand in for `BatchNormalization.call` of `layer`."""
    import tensorflow as tf

    if mask is not None or inputs.dtype != layer.compute_dtype:
        return type(layer).call(layer, inputs, training=training, mask=mask)
    channels = inputs.shape[-1]
    batch_statistics = bool(training and layer.trainable)
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs,
        scale=layer.gamma.value if layer.scale else tf.ones(channels),
        offset=layer.beta.value if layer.center else tf.zeros(channels),
        mean=tf.zeros(0) if batch_statistics else layer.moving_mean.value,
        variance=tf.zeros(0) if batch_statistics else layer.moving_variance.value,
        epsilon=layer.epsilon,
        is_training=batch_statistics,
    )
    if batch_statistics:
        count = tf.cast(tf.size(inputs) // channels, "float32")
        _update(layer.moving_mean, mean, layer.momentum)
        _update(layer.moving_variance, _biased(variance, count), layer.momentum)
    return outputs


def _biased(variance, count):
    """Return the variance that Keras averages; the fused operation returns the unbiased one."""
    return variance * ((count - 1) / count)


def _update(moving, value, momentum):
    moving.assign(moving * momentum + value * (1.0 - momentum))

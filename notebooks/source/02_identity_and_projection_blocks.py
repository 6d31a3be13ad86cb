# %% [markdown]
# # 2. Identity and projection blocks
#
# Afterwards you can
#
# - write the two blocks that most residual networks are made of, the identity block and the projection block (also
#   called convolutional block), in the basic and in the bottleneck shape;
# - choose shortcut A, B or C, and say what each costs;
# - predict the output shape and the number of parameters of a block before you run it.
#
# You need notebook 1. Reading takes about half an hour; running every cell takes a quarter of a minute on a CPU with 2 cores.

# %%
import resnet_lib as rl

import inspect

import keras
import numpy as np
from keras import layers

# %% [markdown]
# From here on, shapes are written as height x width x channels, without the batch. A convolution "3x3, 16" has a kernel of
# 3x3 pixels and 16 output channels. All convolutions here pad their input ("same"), so that stride 1 keeps height and width, and stride 2
# halves them.
#
# ## The identity block
#
# You know it from notebook 1: two layers, the skip, the last ReLU. Where the block outputs the shape that comes in, the skip
# can pass the input on as it is. Such a block is an **identity block**.


# %%
def conv_bn(x, filters, kernel_size=3, strides=1):
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
    )(x)
    return layers.BatchNormalization()(x)


def identity_block(x, filters):
    y = layers.ReLU()(conv_bn(x, filters))
    y = conv_bn(y, filters)
    y = layers.Add()([x, y])
    return layers.ReLU()(y)


# %% [markdown]
# The convolutions have no bias. The BN that follows would subtract a bias again, with the channel's mean; its own shift, beta,
# takes the bias's place.
#
# **Predict.** An identity block with 16 channels gets a feature map of 32x32x16. How many trainable parameters does
# it have? Count kernels (height x width x channels in x channels out), then BN (a scale and a shift for each channel). Write the number
# in place of the three dots.

# %%
rl.exercises.predict("02-identity-parameters", ...)


# %% tags=["answer"]
def on_its_own(block, shape, *args, **options):
    """A model that consists of a single block."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs, *args, **options))


kernels = 2 * (3 * 3 * 16 * 16)
bn = 2 * (2 * 16)
print("by hand:    ", kernels + bn)
block = on_its_own(identity_block, (32, 32, 16), 16)
print("by counting:", rl.count_parameters(block).trainable)
rl.exercises.compare("02-identity-parameters", counted=rl.count_parameters(block).trainable)

# %% [markdown]
# The model also has 64 parameters that are not trainable: the moving mean and variance of each BN channel, which it uses
# after training. Height and width do not enter the count: the same kernel is used at every pixel.

# %%
print(rl.count_parameters(block))

# %% [markdown]
# They do enter the cost. A **multiply-add** is one multiplication and one addition; a convolution needs one for each weight of
# its kernel at each pixel it outputs.

# %%
print("by hand:    ", 32 * 32 * kernels)
print("by counting:", rl.count_multiply_adds(block))

# %% [markdown]
# ## When the shape changes
#
# The blocks of a network stand in **stages**: rows of blocks that output one shape. From stage to stage, it halves height and width and doubles the channels. The first convolution does both,
# with stride 2. Then x and y no longer have the same shape.


# %%
def changing_branch(x, filters, strides):
    y = layers.ReLU()(conv_bn(x, filters, strides=strides))
    return conv_bn(y, filters)


inputs = keras.Input((32, 32, 16))
print("on the skip:  ", inputs.shape[1:])
print("on the branch:", changing_branch(inputs, 32, strides=2).shape[1:])

# %% [markdown]
# You have seen in notebook 1 that `Add` refuses. Something on the skip has to turn 32x32x16 into 16x16x32. He et al.
# compare three options [1, sections 3.3 and 4.1].
#
# ## Option B: a projection
#
# A 1x1 convolution looks at one pixel at a time and mixes its channels. With stride 2 it looks at every second
# pixel. So it makes any shape that is needed, with few weights. A block with such a **projection** on its skip is a
# **projection block**.


# %%
def projection_block(x, filters, strides=2):
    y = changing_branch(x, filters, strides)
    x = conv_bn(x, filters, kernel_size=1, strides=strides)  # the projection
    y = layers.Add()([x, y])
    return layers.ReLU()(y)


# %% [markdown]
# **Predict.** The block gets 32x32x16 and has 32 filters. Its output shape? Its trainable parameters?

# %%
rl.exercises.predict("02-projection", ...)  # Four numbers: (height, width, channels, parameters).

# %% tags=["answer"]
block = on_its_own(projection_block, (32, 32, 16), 32)
print("shape:", block.output_shape[1:])

# %% tags=["answer"]
first, second, skip = 3 * 3 * 16 * 32, 3 * 3 * 32 * 32, 1 * 1 * 16 * 32
bn = 3 * (2 * 32)
print("by hand:    ", first + second + skip + bn)
counted = rl.count_parameters(block).trainable
print("by counting:", counted)
rl.exercises.compare("02-projection", counted=(*block.output_shape[1:], counted))

# %% [markdown]
# Side by side, the two blocks:

# %% tags=["figure-blocks"]
blocks = {"identity": on_its_own(identity_block, (32, 32, 16), 16), "projection": block}
rl.plots.block(blocks)

# %% [markdown]
# In a box, `/2` is a stride of 2. On the left nothing stands on the arc: the input reaches the addition as it came. On the right the 1x1 convolution and its BN stand on it, and
# both ways arrive at the addition with 16x16x32.

# %% [markdown]
# With stride 2, the projection never looks at three of four pixels. That is less of a loss than it seems: the 3x3 convolutions
# of the branch do look at them. Make it visible: which pixels of the input can change
# the output? A pixel whose gradient is zero cannot.


# %%
def reached(model):
    """How strongly each pixel of the image acts on the output, as a picture."""
    import tensorflow as tf

    images = tf.Variable(
        np.random.default_rng(0).random((1, *model.input_shape[1:])), dtype=tf.float32
    )
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(tf.abs(model(images)))
    return np.abs(tape.gradient(total, images)[0]).sum(axis=-1)


keras.utils.set_random_seed(0)
inputs = keras.Input((12, 12, 16))
skip = keras.Model(inputs, conv_bn(inputs, 32, kernel_size=1, strides=2))
branch = keras.Model(inputs, changing_branch(inputs, 32, strides=2))
for name, model in {"skip": skip, "branch": branch}.items():
    share = (reached(model) > 0).mean()
    print(f"{name}: {share:.0%} of the pixels have an effect")

# %% [markdown]
# ## Option A: no parameters at all
#
# Keep every second pixel, and fill the new channels with zeros. Nothing is learnt on the skip.


# %%
def pad_channels(x, filters, strides=2):
    x = x[:, ::strides, ::strides]
    missing = filters - x.shape[-1]
    return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))


picture = np.arange(4 * 4 * 1, dtype="float32").reshape(1, 4, 4, 1)
padded = np.asarray(pad_channels(picture, filters=3))
print("channel 0:\n", padded[0, :, :, 0])
print("channels 1 and 2:", padded[0, :, :, 1:].ravel())

# %% [markdown]
# The library does the same with Keras' own pooling and padding layers: a model made of Keras' layers alone can be loaded where
# `resnet_lib` is not installed. You may skip the code. It uses a trick: a padding layer that takes the last two axes for height and
# width. (`split` and `join` leave the docstring out.) Same result:

# %%
print("".join(inspect.getsource(rl.blocks.zero_padded_identity).split('"""')[::2]))

# %%
inputs = keras.Input((4, 4, 1))
ours = keras.Model(inputs, rl.blocks.zero_padded_identity(inputs, 3, 2, name="a"))
print("equal:", np.array_equal(ours(picture), padded))

# %% [markdown]
# ## Option C: project everywhere
#
# Put a projection on *every* skip, also where the shapes agree. Then no block is an identity block any more.
#
# `rl.blocks.basic_block` takes the option as an argument. Compare the three where the shape changes, and where it stays:

# %%
print(f"{'':10}{'16 -> 32, stride 2':>20}{'16 -> 16, stride 1':>20}")
for option in "ABC":
    counts = []
    for filters, strides in ((32, 2), (16, 1)):
        options = dict(shortcut=option, name="block")
        block = on_its_own(rl.blocks.basic_block, (32, 32, 16), filters, strides, **options)
        counts.append(rl.count_parameters(block).trainable)
    print(f"option {option}: {counts[0]:>20,}{counts[1]:>20,}")

# %% [markdown]
# - **A** is what the paper uses for its CIFAR-10 networks. Their plain counterparts then have exactly as many parameters.
# - **B** is what nearly everybody uses, and what the paper uses for ResNet-50 and deeper.
# - **C** was best by a little on ImageNet, and the paper dropped it, because it costs memory and time:

# %%
for option, error in rl.paper.IMAGENET_34_ERROR.items():
    print(f"ResNet-34, option {option}: {error:.2f} % top-1 error")

# %% [markdown]
# (Top-1 error is the share of ImageNet's validation pictures whose class is not the network's first answer, here taken over ten crops of each picture [1, table 3].) The plain network of 34 layers has 28.54 % [1, table 2]. Next to that, the
# differences are small. So the *projections* are not what solves degradation: the identity is enough.
#
# ## Your block and the library's
#
# Here is the library's basic block, without its docstring. It names its layers, gets its convolution and its shortcut from
# outside, and is otherwise what you have written: `conv` and `bn_relu` together are your `conv_bn` and ReLU. `shortcut_of`
# turns option A, B or C into a function, and returns a function as it is. So a network decides once what a convolution and a
# shortcut are, and hands both to all of its blocks. With `shortcut=None` nothing is added: the plain block of notebook 1.

# %%
print("".join(inspect.getsource(rl.blocks.basic_block).split('"""')[::2]))

# %% [markdown]
# "Otherwise what you have written" is a claim. Prove it: give both the same weights, and compare what they output, for
# a batch in training mode (BN takes the batch's statistics) and in inference mode (BN takes its moving statistics).


# %%
def same(mine, library, shape):
    """Copy the weights of one model into another and compare their outputs."""
    rng = np.random.default_rng(0)
    mine.set_weights([rng.uniform(0.1, 1, w.shape) for w in mine.get_weights()])
    library.set_weights(mine.get_weights())
    images = rng.normal(size=(4, *shape)).astype("float32")
    for training in (True, False):
        a, b = (np.asarray(model(images, training=training)) for model in (mine, library))
        print(f"training={training}: equal to within 1e-5: {np.allclose(a, b, rtol=1e-5)}")


mine = on_its_own(identity_block, (8, 8, 16), 16)
same(mine, on_its_own(rl.blocks.basic_block, (8, 8, 16), 16, name="b"), (8, 8, 16))

# %% [markdown]
# For the projection block, the weights must come in the same order. Keras lists layers in the order in which the graph needs
# them; here both list the projection just before the second convolution. Were the kernels in another order, `set_weights` would refuse. Two normalisations of
# 32 channels could be exchanged without an error; then the outputs would differ.

# %%
mine = on_its_own(projection_block, (8, 8, 16), 32)
library = on_its_own(rl.blocks.basic_block, (8, 8, 16), 32, 2, shortcut="B", name="b")
same(mine, library, (8, 8, 16))

# %% [markdown]
# ## The bottleneck
#
# A 3x3 convolution with 256 channels in and out has 3 x 3 x 256 x 256 weights, more than half a million. A **bottleneck**
# block narrows the channels with a 1x1 convolution, works with 3x3 on the few, and widens again with another 1x1: three
# layers, and the 3x3 kernel only where there are few channels.


# %%
def bottleneck_block(x, filters, strides=1):
    y = layers.ReLU()(conv_bn(x, filters, kernel_size=1, strides=strides))
    y = layers.ReLU()(conv_bn(y, filters, kernel_size=3))
    y = conv_bn(y, 4 * filters, kernel_size=1)
    if x.shape[-1] != 4 * filters or strides > 1:
        x = conv_bn(x, 4 * filters, kernel_size=1, strides=strides)
    return layers.ReLU()(layers.Add()([x, y]))


# %% [markdown]
# `filters` is the narrow width, or mid-width. The block outputs four times as many channels; the library calls the four
# `expansion`. The `if` makes it an identity block or a
# projection block, whichever fits.
#
# **Predict.** Two blocks on a map of 16x16x256: a basic block with 256 filters, a bottleneck block with 64. Which has more
# parameters, and by what factor, roughly?

# %%
rl.exercises.predict(
    "02-bottleneck", ...
)  # Parameters of the basic block divided by the bottleneck's.

# %% tags=["answer"]
wide = on_its_own(identity_block, (16, 16, 256), 256)
narrow = on_its_own(bottleneck_block, (16, 16, 256), 64)
for name, block in {"basic": wide, "bottleneck": narrow}.items():
    parameters, cost = rl.count_parameters(block).trainable, rl.count_multiply_adds(block)
    print(f"{name:>10}: {parameters:>9,} parameters, {cost:>11,} multiply-adds")

# %% tags=["answer"]
mid, out = 64, 256
kernels = 1 * 1 * out * mid + 3 * 3 * mid * mid + 1 * 1 * mid * out
by_hand = kernels + 2 * (mid + mid + out)
print("bottleneck by hand:", by_hand)
times = rl.count_parameters(wide).trainable / by_hand
rl.exercises.compare("02-bottleneck", times=round(times, 1))

# %%
rl.plots.block({"basic": wide, "bottleneck": narrow})

# %% [markdown]
# Left and right, 16x16x256 goes in and comes out. In the bottleneck the 1x1 convolutions narrow and widen, and only 64 channels meet the 3x3 kernel. So
# for the same input and output, a bottleneck block has about a seventeenth of the parameters, with three layers in place of two. No network has both on the same map, though. The paper compares the basic block on 64 channels, the widest that ResNet-34 has at
# this size, with a bottleneck on 256 [1, figure 5]:

# %%
for name, block, channels, filters in (
    ("basic", identity_block, 64, 64),
    ("bottleneck", bottleneck_block, 256, 64),
):
    cost = rl.count_multiply_adds(on_its_own(block, (56, 56, channels), filters))
    print(f"{name:>10} on 56x56x{channels}: {cost:,} multiply-adds")

# %% [markdown]
# For about the same cost, the bottleneck carries four times the channels. That is what makes ResNet-50, 101 and 152
# affordable.
#
# The library's bottleneck has one more option: *which* convolution takes the stride. The paper gives it to the first 1x1. Many
# libraries give it to the 3x3 ("v1.5"): it costs more and skips fewer pixels.

# %%
inputs = (32, 32, 64)
for place in ("1x1", "3x3"):
    block = on_its_own(rl.blocks.bottleneck_block, inputs, 32, 2, stride_at=place, name="b")
    cost = rl.count_multiply_adds(block)
    print(f"stride at the {place}: {block.output_shape[1:]}, {cost:,} multiply-adds")

# %%
mine = on_its_own(bottleneck_block, (8, 8, 64), 32, strides=2)
library = on_its_own(rl.blocks.bottleneck_block, (8, 8, 64), 32, 2, name="b")
same(mine, library, (8, 8, 64))

# %% [markdown]
# ## Try it yourself
#
# All that you have met in this notebook in one place. Where you can run it, change the kind of block, its filters, its stride or its shortcut, and read how the picture, the output
# shape, the parameters and the multiply-adds change. Before each change, say what you expect.
# These parameters are all of the block's, with the moving statistics of BN.

# %%
rl.explorers.blocks()

# %% [markdown]
# ## Two stages in a row
#
# A stage is a row of blocks. Where the shape changes, its first block is a projection block; all others are identity blocks. Stack
# one block of 16 channels and two of 32, and look at the shapes. Notebook 3 does the same with more blocks.

# %%
inputs = keras.Input((32, 32, 16))
x = rl.blocks.basic_block(inputs, 16, name="stage1_block1")
x = rl.blocks.basic_block(x, 32, 2, name="stage2_block1")
x = rl.blocks.basic_block(x, 32, name="stage2_block2")
two_stages = keras.Model(inputs, x, name="two stages")
rl.plots.feature_maps(two_stages)

# %% [markdown]
# Each box is what a stage outputs. Height goes up and channels go to the right, both to the same scale; width goes back,
# foreshortened. From the first stage to the second, height and width halve and the channels double: half as many numbers.
#
# ## Summary
#
# - Identity block: shapes agree, the skip is the input itself. Projection block: the shapes differ, the skip has a 1x1
#   convolution.
# - Shortcut A pads with zeros and is free; B projects where the shape changes; C projects everywhere and is not worth it.
# - Parameters come from kernels (k x k x in x out) and BN (2 for each channel), not from height and width.
# - A bottleneck narrows, works, widens: three layers, far fewer parameters.
# - Two blocks are the same if equal weights give equal outputs, in training and in inference.

# %% [markdown]
# ## Exercises
#
# Each exercise has a cell for your answer and a cell that checks it. The check names a mistake, not the answer.
# For a hint, run `rl.exercises.hint("02-parameters")` in a cell of your own, and run it again for a further one.
#
# ### Exercise 1: parameters
#
# *Easy, 5 minutes.*
# A basic block takes 32 channels and outputs 64, with a stride of 2. Its shortcut is a projection followed by batch
# normalisation. No convolution has biases.
# How many trainable parameters does the block have? Work it out by hand; write the expression, if you like.

# %% tags=["exercise-02-parameters"]
parameters = ...

# %%
rl.exercises.check("02-parameters", parameters)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# kernels = 3 * 3 * 32 * 64 + 3 * 3 * 64 * 64 + 1 * 1 * 32 * 64
# batch_normalisations = 3 * (64 + 64)
# parameters = kernels + batch_normalisations
# ```
#
# Each of the three batch normalisations learns a scale and a shift for each channel. The stride changes the size of the
# output and no kernel.
#
# </details>

# %% [markdown]
# ### Exercise 2: an identity block
#
# *Medium, 10 minutes.*
# Write the basic identity block once more, without looking above: two 3x3 convolutions without biases, and `x` has `filters` channels already.
# Begin each layer's name with `name`, as in `name=f"{name}_conv1"`.
# The check gives your block and the library's the same weights and compares their outputs, then trains both for a step and compares what has changed.


# %% tags=["exercise-02-identity-block"]
def my_identity_block(x, filters, name):
    """Return the output of a basic residual block; it has the shape of `x`."""
    ...


# %%
rl.exercises.check("02-identity-block", my_identity_block)

# %% [markdown]
# Your block, drawn from the live model; the library's, as long as you have none:

# %%
block = rl.exercises.answer("02-identity-block")
rl.plots.block(on_its_own(block, (32, 32, 16), 16, name="block"))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def my_identity_block(x, filters, name):
#     """Return the output of a basic residual block; it has the shape of `x`."""
#     options = dict(kernel_size=3, padding="same", use_bias=False, kernel_initializer="he_normal")
#     y = layers.Conv2D(filters, name=f"{name}_conv1", **options)(x)
#     y = layers.BatchNormalization(name=f"{name}_bn1")(y)
#     y = layers.ReLU(name=f"{name}_relu1")(y)
#     y = layers.Conv2D(filters, name=f"{name}_conv2", **options)(y)
#     y = layers.BatchNormalization(name=f"{name}_bn2")(y)
#     y = layers.Add(name=f"{name}_add")([x, y])
#     return layers.ReLU(name=f"{name}_relu2")(y)
# ```
#
# The second batch normalisation is followed by the addition, not by a ReLU. `x` keeps its name until then.
#
# </details>

# %% [markdown]
# ### Exercise 3: the shape of a bottleneck
#
# *Easy, 3 minutes.*
# `rl.blocks.bottleneck_block(x, filters=128, strides=2, name="block")` gets an `x` of height 32, width 32 and 256 channels.
# What shape (height, width, channels) does it return?

# %% tags=["exercise-02-bottleneck-shape"]
shape = ...

# %%
rl.exercises.check("02-bottleneck-shape", shape)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# shape = (32 // 2, 32 // 2, 4 * 128)
# ```
#
# `filters` is the mid-width. The last convolution outputs four times as many channels, and one of the three has the
# stride.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.

# %% [markdown]
# # 2. Identity and projection blocks
#
# Afterwards you can
#
# - write the two blocks that most residual networks are made of, the identity block and the projection block,
#   in the basic and in the bottleneck shape;
# - choose shortcut A, B or C, and say what each costs;
# - predict the output shape and the number of parameters of a block before you run it;
# - find a shortcut that begins at the wrong place.
#
# You need notebook 1. Reading and the tasks take about an hour and a half; running every cell takes a quarter of a minute on a CPU
# with 2 cores.

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
# In notebook 1 you wrote the skip. The next cell brings it here: `rl.exercises.recall` opens a cell below it with the answer that is kept
# on your machine, to run or to change. Where none is kept, it shows the library's function.

# %%
rl.exercises.recall("01-residual")

# %% [markdown]
# ## The identity block
#
# In notebook 1, `branch` was two layers of 16 channels. Now you write a whole block, for any number of channels. A layer is again a
# convolution and batch normalisation (BN); this time it also gets a name, so that it can be found again in a large network.


# %% tags=["setup"]
def conv_bn(x, filters, kernel_size=3, strides=1, *, name):
    options = dict(padding="same", use_bias=False, kernel_initializer="he_normal")
    x = layers.Conv2D(filters, kernel_size, strides, name=f"{name}_conv", **options)(x)
    return layers.BatchNormalization(name=f"{name}_bn")(x)


# %% [markdown]
# The convolution has no bias. The BN that follows would subtract a bias again, with the channel's mean; its own shift, beta,
# takes the bias's place.
#
# Where a block outputs the shape that comes in, the skip can pass the input on as it is. Such a block is an **identity block**.

# %% [markdown]
# ### Exercise: write the identity block
#
# *Medium, 10 minutes.*
# Write the basic identity block: a layer, ReLU, a layer, then the skip, then the last ReLU. `x` has `filters` channels already.
# You may use `conv_bn` or Keras' layers. Begin the name of each layer that has weights with `name`, as in `name=f"{name}_1"`.
# The check gives your block and the library's the same weights and compares what they output, then trains both for a step and compares what has changed.


# %% tags=["exercise-02-identity-block"]
def my_identity_block(x, filters, name):
    """Return the output of a basic residual block; it has the shape of `x`."""
    ...


# %%
rl.exercises.check("02-identity-block", my_identity_block)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def my_identity_block(x, filters, name):
#     """Return the output of a basic residual block; it has the shape of `x`."""
#     y = layers.ReLU()(conv_bn(x, filters, name=f"{name}_1"))
#     y = conv_bn(y, filters, name=f"{name}_2")
#     y = layers.Add()([x, y])
#     return layers.ReLU()(y)
# ```
#
# The second layer is followed by the addition, not by a ReLU. `x` keeps its name until then.
#
# </details>

# %% [markdown]
# From here on the notebook works with your block. As long as it is not right, the library's stands in.

# %%
identity_block = rl.exercises.answer("02-identity-block")

# %% [markdown]
# **Predict.** An identity block with 16 channels gets a feature map of 32x32x16. How many trainable parameters does
# it have? Count kernels, height x width x channels in x channels out, then BN, a scale and a shift for each channel. Write the number
# in place of the three dots.

# %%
rl.exercises.predict("02-identity-parameters", ...)  # One number.


# %% tags=["setup"]
def on_its_own(block, shape, *args, **options):
    """A model that consists of a single block."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs, *args, **options))


# %% tags=["answer"]
kernels = 2 * (3 * 3 * 16 * 16)
bn = 2 * (2 * 16)
print("by hand:    ", kernels + bn)
block = on_its_own(identity_block, (32, 32, 16), 16, name="block")
counted = rl.count_parameters(block)
print("by counting:", counted.trainable, "and", counted.non_trainable, "that are not trained")
rl.exercises.compare("02-identity-parameters", counted=counted.trainable)

# %% [markdown]
# Not trained are the moving mean and variance of each BN channel, which the model measures and uses
# after training. Height and width do not enter the count, because the same kernel is used at every pixel.
#
# They do enter the cost. A **multiply-add** is one multiplication and one addition; a convolution needs one for each weight of
# its kernel at each pixel that it outputs.

# %%
print("by hand:    ", 32 * 32 * kernels)
print("by counting:", rl.count_multiply_adds(block))

# %% [markdown]
# ### Exercise: find the fault
#
# *Medium, 6 minutes.*
# Here is a block as it can be found in published code. It runs, it trains, it has as many parameters as yours. But set all its kernels
# to zero, so that the branch is zero. A residual block then hands on what came in, as far as that is not negative. The cell
# below the function measures it: of an input with the mean 0.5, this block leaves nothing.
# Find out why, and repair the function. Then run the measurement again.


# %% tags=["exercise-02-fault-shortcut"]
def suspect_block(x, filters, name):
    """Return the output of a basic residual block; it has the shape of `x`."""
    x = layers.ReLU()(conv_bn(x, filters, name=f"{name}_1"))
    shortcut = x
    x = conv_bn(x, filters, name=f"{name}_2")
    x = layers.Add()([x, shortcut])
    return layers.ReLU()(x)


# %%
def handed_on(block):
    """The mean of what a block without any kernel outputs for an input with the mean 0.5."""
    model = on_its_own(block, (8, 8, 16), 16, name="block")
    for weight in model.weights:
        weight.assign(weight * 0 if "kernel" in weight.path else weight)
    return round(float(np.mean(model(np.full((1, 8, 8, 16), 0.5)))), 3)


print("the identity block:", handed_on(identity_block))
print("the suspect:       ", handed_on(suspect_block))

# %%
rl.exercises.check("02-fault-shortcut", suspect_block)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def suspect_block(x, filters, name):
#     """Return the output of a basic residual block; it has the shape of `x`."""
#     shortcut = x
#     x = layers.ReLU()(conv_bn(x, filters, name=f"{name}_1"))
#     x = conv_bn(x, filters, name=f"{name}_2")
#     x = layers.Add()([x, shortcut])
#     return layers.ReLU()(x)
# ```
#
# When `shortcut` got its value, `x` was what the first layer had made of the input. So the skip led around one layer only, and the other
# stood in the way of everything. The mistake hides where the first layer also changes the shape: then the late shortcut fits without a projection.
#
# </details>

# %% [markdown]
# ## When the shape changes
#
# The blocks of a network stand in **stages**: rows of blocks that output one shape. From stage to stage, the network halves height and width and doubles the channels.
# The first convolution of the stage's first block does both, with stride 2 and twice the filters. Then input and branch differ in all three
# numbers, and `Add` refuses, as you saw in notebook 1. Something on the skip has to change the shape of `x`. He et al.
# compare three options [1, sections 3.3 and 4.1].
#
# ## Option B: a projection
#
# A 1x1 convolution looks at one pixel at a time and mixes its channels. With stride 2 it looks at every second
# pixel of every second row. So it makes any shape that is needed, with few weights. A block with such a **projection** on its skip is a
# **projection block**; some call it convolutional block.

# %% [markdown]
# ### Exercise: write the projection block
#
# *Medium, 10 minutes.*
# Write the basic projection block. The first layer of the branch takes the stride. The projection stands on the skip: a 1x1 convolution with BN,
# without a ReLU. Begin the name of each layer that has weights with `name`.


# %% tags=["exercise-02-projection-block"]
def my_projection_block(x, filters, strides, name):
    """Return the output of a basic block with a projection on its skip."""
    ...


# %%
rl.exercises.check("02-projection-block", my_projection_block)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def my_projection_block(x, filters, strides, name):
#     """Return the output of a basic block with a projection on its skip."""
#     y = layers.ReLU()(conv_bn(x, filters, strides=strides, name=f"{name}_1"))
#     y = conv_bn(y, filters, name=f"{name}_2")
#     x = conv_bn(x, filters, 1, strides, name=f"{name}_projection")
#     y = layers.Add()([x, y])
#     return layers.ReLU()(y)
# ```
#
# Branch and skip both begin at `x` and both take the stride, so they meet with one shape.
#
# </details>

# %%
projection_block = rl.exercises.answer("02-projection-block")

# %% [markdown]
# **Predict.** Such a block with 32 filters and stride 2 gets a map of 20x20x16. Its output shape? Its trainable parameters?

# %%
rl.exercises.predict("02-projection", ...)  # Four numbers: (height, width, channels, parameters).

# %% tags=["answer"]
block = on_its_own(projection_block, (20, 20, 16), 32, 2, name="block")
first, second, skip = 3 * 3 * 16 * 32, 3 * 3 * 32 * 32, 1 * 1 * 16 * 32
bn = 3 * (2 * 32)
print("by hand:    ", first + second + skip + bn)
counted = rl.count_parameters(block).trainable
print("by counting:", counted)
rl.exercises.compare("02-projection", counted=(*block.output_shape[1:], counted))

# %% [markdown]
# Side by side, the two blocks:

# %% tags=["figure-blocks"]
blocks = {
    "identity block": on_its_own(identity_block, (32, 32, 16), 16, name="block"),
    "projection block": on_its_own(projection_block, (32, 32, 16), 32, 2, name="block"),
}
rl.plots.block(blocks)

# %% [markdown]
# In a box, `/2` is a stride of 2. On the left nothing stands on the arc: the input reaches the addition as it came. On the right the 1x1 convolution and its BN stand on it, and
# both ways arrive at the addition with 16x16x32.

# %% [markdown]
# ### Exercise: parameters by hand
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
# ## What the projection does not see
#
# With stride 2, the projection never looks at three of four pixels. That is less of a loss than it seems, because the 3x3 convolution
# of the branch does look at them. Make it visible: which pixels of the input can change
# the output? A pixel whose gradient is zero cannot.


# %% tags=["setup"]
def reached(model):
    """How strongly each pixel of the image acts on the output, as a picture."""
    images = np.random.default_rng(0).random((1, *model.input_shape[1:]))

    def total(images):
        return keras.ops.sum(keras.ops.abs(model(images)))

    (gradient,) = rl.inspection.gradients(total, [images])
    return np.abs(gradient[0]).sum(axis=-1)


# %%
keras.utils.set_random_seed(0)
ways = {
    "1x1, on the skip": on_its_own(conv_bn, (12, 12, 16), 32, 1, strides=2, name="skip"),
    "3x3, on the branch": on_its_own(conv_bn, (12, 12, 16), 32, 3, strides=2, name="branch"),
}
for name, model in ways.items():
    print(f"{name}: {(reached(model) > 0).mean():.0%} of the pixels have an effect")

# %% [markdown]
# ## Option A: no parameters at all
#
# Keep every second pixel of every second row, and fill the new channels with zeros. Nothing is learnt on the skip.

# %% [markdown]
# ### Exercise: pad the channels
#
# *Medium, 6 minutes.*
# Write shortcut A: keep every `strides`-th pixel in both directions, beginning with the first, and append channels of zeros until there are `filters` of them.
# `keras.ops.pad` takes a tensor and, for each of its four axes, how many zeros stand before it and behind it.


# %% tags=["exercise-02-padding"]
def my_padding(x, filters, strides):
    """Return every `strides`-th pixel of `x`, with channels of zeros behind its own."""
    ...


# %%
rl.exercises.check("02-padding", my_padding)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def my_padding(x, filters, strides):
#     """Return every `strides`-th pixel of `x`, with channels of zeros behind its own."""
#     x = x[:, ::strides, ::strides]
#     missing = filters - x.shape[-1]
#     return keras.ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
# ```
#
# The channels that came in keep their places, so the block still hands on its input, at fewer pixels.
#
# </details>

# %%
pad_channels = rl.exercises.answer("02-padding")
picture = np.arange(4 * 4 * 1, dtype="float32").reshape(1, 4, 4, 1)
padded = np.asarray(pad_channels(picture, 3, 2))
print("channel 0 of the picture:\n", picture[0, :, :, 0])
print("channel 0 behind shortcut A:\n", padded[0, :, :, 0])

# %% [markdown]
# The library does the same with layers of Keras alone, so that a model can be loaded where
# `resnet_lib` is not installed: `rl.blocks.zero_padded_identity`.
#
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
# Top-1 error is the share of ImageNet's validation pictures whose class is not the network's first answer, here taken over ten crops of each picture [1, table 3].
# The plain network of 34 layers has 28.54 % [1, table 2]. Next to that, the
# differences are small. So the *projections* are not what solves degradation: the identity is enough.
#
# ## Your block and the library's
#
# Here is the library's basic block, without its docstring. It names its layers, gets its convolution and its shortcut from
# outside, and is otherwise what you have written: `conv` and `bn_relu` together are `conv_bn` and ReLU. `shortcut_of`
# turns option A, B or C into a function, and returns a function as it is. So a network decides once what a convolution and a
# shortcut are, and hands both to all of its blocks. With `shortcut=None` nothing is added: the plain block of notebook 1.

# %%
print("".join(inspect.getsource(rl.blocks.basic_block).split('"""')[::2]))

# %% [markdown]
# "Otherwise what you have written" is a claim. Prove it: give both the same weights, and compare what they output, for
# a batch in training mode, where BN takes the batch's statistics, and in inference mode, where it takes its moving ones.


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


mine = on_its_own(identity_block, (8, 8, 16), 16, name="mine")
same(mine, on_its_own(rl.blocks.basic_block, (8, 8, 16), 16, name="library"), (8, 8, 16))

# %% [markdown]
# The weights must come in the same order. Keras lists layers in the order in which the graph needs
# them, which for an identity block is always the same. In a projection block, the projection may be listed before or after the second convolution, and two
# normalisations of one width could be exchanged without an error. So the checks of these exercises try every order before they say that an output is another.
#
# ## The bottleneck
#
# A 3x3 convolution with 256 channels in and out has 3 x 3 x 256 x 256 weights, more than half a million. A **bottleneck**
# block narrows the channels with a 1x1 convolution, works with 3x3 on the few, and widens again with another 1x1: three
# layers, and the 3x3 kernel only where there are few channels. The narrow width is called mid-width.

# %% [markdown]
# ### Exercise: write the bottleneck
#
# *Hard, 12 minutes.*
# `filters` is the mid-width; the block outputs `4 * filters` channels. The first 1x1 takes the stride. A ReLU follows the first two layers, and the addition.
# The block is an identity block where the shapes of input and output agree, and has a projection where they do not: let the function find out
# which of the two it is.


# %% tags=["exercise-02-bottleneck-block"]
def my_bottleneck(x, filters, strides, name):
    """Return the output of a bottleneck block, with 4 * filters channels."""
    ...


# %%
rl.exercises.check("02-bottleneck-block", my_bottleneck)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def my_bottleneck(x, filters, strides, name):
#     """Return the output of a bottleneck block, with 4 * filters channels."""
#     y = layers.ReLU()(conv_bn(x, filters, 1, strides, name=f"{name}_1"))
#     y = layers.ReLU()(conv_bn(y, filters, name=f"{name}_2"))
#     y = conv_bn(y, 4 * filters, 1, name=f"{name}_3")
#     if strides > 1 or x.shape[-1] != 4 * filters:
#         x = conv_bn(x, 4 * filters, 1, strides, name=f"{name}_projection")
#     return layers.ReLU()(layers.Add()([x, y]))
# ```
#
# The condition asks for the channels that go out. With `filters` in place of `4 * filters` it would be true in nearly every block, and each would get a projection:
# option C without anybody's having chosen it.
#
# </details>

# %%
bottleneck_block = rl.exercises.answer("02-bottleneck-block")

# %% [markdown]
# **Predict.** Two blocks on a map of 16x16x256: a basic block with 256 filters, a bottleneck block with a mid-width of 64. How many times the
# parameters of the bottleneck does the basic block have, roughly?

# %%
rl.exercises.predict("02-bottleneck", ...)  # One number: basic divided by bottleneck.

# %% tags=["answer"]
wide = on_its_own(identity_block, (16, 16, 256), 256, name="wide")
narrow = on_its_own(bottleneck_block, (16, 16, 256), 64, 1, name="narrow")
for name, block in {"basic": wide, "bottleneck": narrow}.items():
    parameters, cost = rl.count_parameters(block).trainable, rl.count_multiply_adds(block)
    print(f"{name:>10}: {parameters:>9,} parameters, {cost:>11,} multiply-adds")
times = rl.count_parameters(wide).trainable / parameters
rl.exercises.compare("02-bottleneck", times=round(times, 1))

# %%
rl.plots.block({"basic block": wide, "bottleneck": narrow})

# %% [markdown]
# Left and right, 16x16x256 goes in and comes out. In the bottleneck the 1x1 convolutions narrow and widen, and only 64 channels meet the 3x3 kernel. So
# for the same input and output, a bottleneck has about a seventeenth of the parameters, with three layers in place of two. No network has both on the same map, though.
# The paper compares the basic block on 64 channels, the widest that ResNet-34 has at
# this size, with a bottleneck on 256 [1, figure 5]:

# %%
basic = on_its_own(identity_block, (56, 56, 64), 64, name="basic")
bottleneck = on_its_own(bottleneck_block, (56, 56, 256), 64, 1, name="bottleneck")
print(f"basic block on 56x56x64: {rl.count_multiply_adds(basic):,} multiply-adds")
print(f"bottleneck on 56x56x256: {rl.count_multiply_adds(bottleneck):,} multiply-adds")

# %% [markdown]
# For about the same cost, the bottleneck carries four times the channels. That is what makes ResNet-50, 101 and 152
# affordable.

# %% [markdown]
# ### Exercise: the shape of a bottleneck
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
# ## Which convolution takes the stride
#
# The library's bottleneck has two more options. `expansion` is the factor of the last convolution, 4 where nothing else is said. `stride_at` says *which* convolution takes the stride.
# The paper gives it to the first 1x1. Many
# libraries give it to the 3x3, which they call "v1.5". Measure what each costs, and how many pixels of the input can change the output:

# %%
keras.utils.set_random_seed(0)
for place in ("1x1", "3x3"):
    options = dict(stride_at=place, name="block")
    block = on_its_own(rl.blocks.bottleneck_block, (32, 32, 64), 32, 2, **options)
    cost, share = rl.count_multiply_adds(block), (reached(block) > 0).mean()
    print(f"stride at the {place}: {cost:>10,} multiply-adds, {share:.0%} of the pixels")

# %% [markdown]
# With the stride at the first 1x1, neither branch nor skip ever looks at three of four pixels. The stride at the 3x3 costs more, and misses none.
#
# Try more of this yourself. Where you can run the next cell, change the kind of block, its filters, its stride or its shortcut, and read how the picture, the output
# shape, the parameters and the multiply-adds change. Before each change, say what you expect.

# %%
rl.explorers.blocks()

# %% [markdown]
# ## Two stages in a row
#
# Where the shape changes, the first block of a stage is a projection block; all others are identity blocks. Stack
# one block of 16 channels and two of 32, and look at the shapes. Notebook 3 does the same with more blocks.

# %%
inputs = keras.Input((32, 32, 16))
x = identity_block(inputs, 16, name="stage1_block1")
x = projection_block(x, 32, 2, name="stage2_block1")
x = identity_block(x, 32, name="stage2_block2")
two_stages = keras.Model(inputs, x, name="two stages")
rl.plots.feature_maps(two_stages)

# %% [markdown]
# Each box is what a stage outputs. Height goes up and channels go to the right, both to the same scale; width goes back,
# foreshortened. From the first stage to the second, height and width halve and the channels double: half as many numbers.
#
# The deeper a block lies, the more of the image one of its pixels sees. How many pixels across, its **receptive field**, follows from the kernels and strides before it:

# %%
for stage, pixels in rl.receptive_field(two_stages).items():
    print(f"{stage} sees {pixels} pixels across")

# %% [markdown]
# Each 3x3 kernel adds two pixels of the map that it works on. Behind a stride of 2, a pixel of the map is two of the image, so the same kernel adds four.
#
# ## Summary
#
# - Identity block: the shapes agree, and the skip is the input itself. Projection block: the shapes differ, and the skip has a 1x1 convolution.
# - Shortcut A pads with zeros and is free; B projects where the shape changes; C projects everywhere, and the paper found it not worth its cost.
# - Parameters come from kernels, k x k x in x out, and from BN, 2 for each channel; not from height and width.
# - A bottleneck narrows, works and widens: three layers, far fewer parameters.
# - Two blocks are the same if equal weights give equal outputs, in training and in inference.

# %% [markdown]
# ## Project: see far for little
#
# *Hard, 20 minutes.*
# Stages 2 and 3 of ResNet-20 are six basic blocks that turn a map of 32x32x16 into 8x8x64. One pixel of their output sees 67 pixels across, and they cost 26.2 million multiply-adds.
# Build a `keras.Model` of residual blocks, your own or the library's, with the same input and output shape that sees at least as far with **under 5 million**. The record here is 3.8 million.
#
# - Use convolutions with kernels of 1x1 or 3x3, each with 16 filters or more, without groups or dilation.
# - Each block has its skip, so that a way without any 3x3 convolution leads from the input to the output.
# - Every pixel of the input can change the output.
#
# `rl.receptive_field`, `rl.count_multiply_adds` and `reached` tell you where you are.

# %% tags=["exercise-02-project"]
model = ...  # keras.Model(inputs, x)

# %%
rl.exercises.check("02-project", model)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# inputs = keras.Input((32, 32, 16))
# x = rl.blocks.bottleneck_block(inputs, 16, 2, expansion=2, stride_at="3x3", name="block1")
# x = rl.blocks.bottleneck_block(x, 16, 2, stride_at="3x3", name="block2")
# for number in range(3, 11):
#     x = rl.blocks.bottleneck_block(x, 16, name=f"block{number}")
# model = keras.Model(inputs, x)
# ```
#
# On the large map stands one block only, as narrow as allowed. Behind both strides a bottleneck costs 0.28 million multiply-adds and sees 8 pixels farther, where two 3x3 convolutions with 64
# filters would cost 4.7 million. Multiply-adds are not everything: a narrow block also learns less.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: [*Deep Residual Learning for Image Recognition*](https://arxiv.org/abs/1512.03385), 2015.

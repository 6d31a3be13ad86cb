# %% [markdown]
# # 1. Skip connections
#
# Afterwards you can
#
# - say what degradation is, and show it in a training you have run yourself;
# - write a skip connection, in one line;
# - measure how a signal and its gradient travel through a deep network, and say what batch
#   normalisation and the skip each do to them;
# - say why the shapes must agree, why the addition comes before the ReLU, and how close to the
#   identity a residual block starts.
#
# You need Python, numpy and the Keras functional API (`keras.Input`, layers, `keras.Model`), and you should have
# trained a small convolutional network before. Reading takes about half an hour; running every cell takes
# about a minute and a half on a CPU with 2 cores.

# %%
import resnet_lib as rl

from itertools import pairwise

import keras
import numpy as np
from keras import layers

# %% [markdown]
# `resnet_lib` is the library that grows with these notebooks. Import it first: it sets TensorFlow up before
# TensorFlow starts. In this notebook you write everything that matters yourself; the library draws the figures,
# measures signals and brings the pictures.
#
# ## Pictures to learn from
#
# `rl.datasets.shapes` draws pictures of ten shapes, so nothing has to be downloaded. Here you use four of the
# ten, shrunk to 16x16 pixels, so that four networks train in about a minute.

# %%
shapes = rl.datasets.shapes(train=4000, validation=10, test=1000)
shapes


# %%
def small_pictures(split):
    few = split.labels < 4
    pictures = split.images[few].astype("float32") / 255
    return pictures.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4)), split.labels[few]


pictures, labels = small_pictures(shapes.train)
test_pictures, test_labels = small_pictures(shapes.test)
pictures.shape, labels.shape

# %%
rl.plots.images(
    pictures[:16],
    [shapes.class_names[label] for label in labels[:16]],
    columns=8,
    alt="Sixteen small pictures of circles, rings, crescents and semicircles on textured backgrounds.",
)

# %% [markdown]
# Each picture shows one shape: a circle, a ring, a crescent or a semicircle. Size, place, rotation, colours and the background vary, and a bar may hide a part.
#
# Training is easier with inputs around zero, so subtract from each picture the mean of each colour.


# %%
def centred(pictures):
    return pictures - pictures.mean(axis=(1, 2), keepdims=True)


images, test_images = centred(pictures), centred(test_pictures)
print("mean of all images:", round(float(abs(images.mean())), 3))

# %% [markdown]
# ## A plain network, shallow and deep
#
# A layer, in this notebook, is a 3x3 convolution to 16 channels with batch normalisation (BN) behind it. BN
# shifts and scales each channel to mean 0 and variance 1 over the batch; two learnt numbers a channel can undo that.
# A plain block is two such layers, each with a ReLU.
# (`batch_norm` and `gamma` are switches for later.)


# %%
def conv_bn(x, batch_norm=True, gamma="ones"):
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, kernel_initializer="he_normal")(x)
    bn = layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)
    return bn(x) if batch_norm else x


def plain_block(x, **options):
    y = layers.ReLU()(conv_bn(x, **options))
    y = conv_bn(y, **options)
    return layers.ReLU()(y)


# %% [markdown]
# A network is one layer, then blocks, then the mean of each channel and a softmax. Its depth counts the layers
# with weights that lie one behind another: the first, two in each block, the last. What goes from block to block is
# the **stream**. The function `stream` keeps what the first layer and each block output, because you will want to look at it.


# %%
def stream(block, depth, **options):
    inputs = keras.Input((16, 16, 3))
    ends = [layers.ReLU()(conv_bn(inputs, **options))]
    for _ in range((depth - 2) // 2):
        ends.append(block(ends[-1], **options))
    return inputs, ends


def network(block, depth, **options):
    inputs, ends = stream(block, depth, **options)
    x = layers.GlobalAveragePooling2D()(ends[-1])
    return keras.Model(inputs, layers.Dense(4, activation="softmax")(x))


# %%
for depth in (8, 38):
    print(f"{depth} layers:", rl.count_parameters(network(plain_block, depth)))

# %% [markdown]
# The deep network can do whatever the shallow one can. Take the shallow network's layers and let each additional
# block pass on what it gets: the same function. So the best loss on the training images that 38 layers can reach is no
# higher than the best that 8 layers can reach.
#
# **Predict.** You train both for the same number of steps, with the same optimizer; the learning rate falls from 0.05
# to zero. Which one has the lower loss *on the training images*? (In the profile "quick" you train for 7 epochs.
# `rl.set_profile("full")`, right after the import, makes it 30.) Write your guess in place of the three dots and run the cell: it is kept, in a file
# on your machine, and set beside the result when that comes. `rl.exercises.progress()` lists what you have done.

# %%
rl.exercises.predict("01-deeper", ...)  # The number of layers, 8 or 38.

# %%
EPOCHS = 7 if rl.profile() == "quick" else 30


def trained(block, depth):
    keras.utils.set_random_seed(1)
    model = network(block, depth)
    rate = keras.optimizers.schedules.CosineDecay(0.05, EPOCHS * len(images) // 100)
    optimizer = keras.optimizers.SGD(rate, momentum=0.9)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = model.fit(images, labels, batch_size=100, epochs=EPOCHS, verbose=0).history
    _, history["test accuracy"] = model.evaluate(test_images, test_labels, verbose=0)
    return history


# %%
plain = {depth: trained(plain_block, depth) for depth in (8, 38)}

# %% tags=["answer"]
rl.plots.curves(
    {f"plain, {depth} layers": history["loss"] for depth, history in plain.items()},
    ylabel="loss on the training images",
    title=f"four of {shapes.source}",
)

# %% [markdown]
# The dashed line is the network with 38 layers. From the second epoch on it is above the solid one: more layers, higher loss, on the very
# images that it trains on.


# %% tags=["answer", "nbval-loss", "nbval-accuracy"]
def ends_with(name, runs):
    """Print what each network ends with; return the depth with the lower training loss."""
    for depth, history in runs.items():
        loss, accuracy = history["loss"][-1], history["test accuracy"]
        print(f"{name}, {depth:2} layers: training loss {loss:.2f}, test accuracy {accuracy:.0%}")
    return min(runs, key=lambda depth: runs[depth]["loss"][-1])


rl.exercises.compare("01-deeper", lower_loss=ends_with("plain", plain))

# %% [markdown]
# This is **degradation** [1, figure 1]. It is not overfitting: an overfitted network has a *low* training loss. Could it
# just be slow? The deep network's loss is still not far below ln 4 = 1.39, that of pure guessing; the paper trained its deep plain network three times as
# long, and the problem stayed [1, section 4.1]. The better solution exists, we have just described it, and the optimizer does not find
# it. What is hard to find is
# a block that does nothing: two convolutions, two normalisations and two ReLUs must together give back what came in.
#
# ## The skip, in one line
#
# So make doing nothing easy. Let the block's layers, its **branch**, compute only the *change* F(x), and add the input, which skips them:
#
# $$y = \mathrm{ReLU}(F(x) + x)$$
#
# To do nothing, F has to be zero, and weights are easily driven to zero. Compare with `plain_block`: one line is new.


# %%
def residual_block(x, **options):
    y = layers.ReLU()(conv_bn(x, **options))
    y = conv_bn(y, **options)
    y = layers.Add()([y, x])  # the skip
    return layers.ReLU()(y)


# %% [markdown]
# Make a model of each block alone, and have it drawn:

# %%
inputs = keras.Input((16, 16, 16))
one_block = {
    "plain": keras.Model(inputs, plain_block(inputs)),
    "residual": keras.Model(inputs, residual_block(inputs)),
}
rl.plots.block(one_block)

# %% [markdown]
# The picture is drawn from the models themselves, from top to bottom. The two are the same, layer by layer, but for the arc on the right and the addition, the
# circle: the arc takes the block's input past both convolutions to it.
#
# An addition has no weights. The networks are as large as before:

# %%
for block in (plain_block, residual_block):
    print(f"{block.__name__}: {rl.count_parameters(network(block, 38))}")

# %%
residual = {depth: trained(residual_block, depth) for depth in (8, 38)}

# %% tags=["figure-degradation"]
rl.plots.curves(
    {f"plain, {depth} layers": history["loss"] for depth, history in plain.items()}
    | {f"residual, {depth} layers": history["loss"] for depth, history in residual.items()},
    ylabel="loss on the training images",
    title=f"four of {shapes.source}",
)

# %% [markdown]
# Of the four networks, the plain one with 38 layers ends highest and the residual one with 38 layers ends lowest. One added
# line has turned the order round. In the first epoch, though, the residual networks are worse than guessing: what they output is
# larger, so the random last layer is more sure of wrong answers.

# %% tags=["nbval-loss", "nbval-accuracy"]
for name, runs in {"plain": plain, "residual": residual}.items():
    lower = ends_with(name, runs)
    print(f"{name}: {lower} layers end with the lower loss\n")

# %% [markdown]
# ## What gets through at the start
#
# Why can the optimizer not train the deep plain network? The usual answer is that gradients vanish. Do not believe
# it: measure. Before any training, send 64 images through networks of 56 layers, where effects are plainer than at 38, and
# look at two numbers:
#
# - the variance of what each block outputs: is there still a signal?
# - the norm of the gradient of the loss by each layer's kernel: how strongly does the loss pull at this layer?
#
# Measure both with and without BN, plain and residual. `training=True` makes BN use the statistics of the batch, as in training.
# Block 0 stands for the first layer.


# %%
def at_block_ends(block, **options):
    keras.utils.set_random_seed(1)
    model = keras.Model(*stream(block, 56, **options))
    return [np.asarray(end) for end in model(images[:64], training=True)]


def variances(**options):
    blocks = {"plain": plain_block, "residual": residual_block}
    return {
        name: [end.var() for end in at_block_ends(block, **options)]
        for name, block in blocks.items()
    }


BY_BLOCK = dict(xlabel="block", first=0)
rl.plots.curves(
    variances(batch_norm=False),
    ylabel="variance of the activations",
    log=True,
    title="without batch normalisation, before training",
    **BY_BLOCK,
)

# %% [markdown]
# Without BN, the plain network's signal fades by several powers of ten: at the end, every value is close to its mean, whatever
# the picture shows. In the
# residual network it is the other way round. Each block adds its own signal to one that is as large, so the variance
# roughly doubles in each block.


# %%
def gradients(**options):
    measured = {}
    for name, block in {"plain": plain_block, "residual": residual_block}.items():
        keras.utils.set_random_seed(1)
        model = network(block, 56, **options)
        measured[name] = rl.gradient_norms(model, images[:64], labels[:64])
    return measured


rl.plots.signals(gradients(batch_norm=False), title="without batch normalisation, before training")

# %% [markdown]
# Here the axis counts layers, from the first (0) to the dense layer (1). The gradient of the plain network is small everywhere,
# smallest at the end, where the signal has faded: it does not shrink on its way back. That of the residual network is enormous
# everywhere. With a learning rate of 0.05, the first network would hardly move, and the second would blow up. The skip alone has
# *not* solved anything yet.

# %%
rl.plots.curves(
    variances(batch_norm=True),
    ylabel="variance of the activations",
    title="with batch normalisation, before training",
    **BY_BLOCK,
)

# %% [markdown]
# With BN (mind the scale: it is no longer logarithmic), the plain network keeps its variance, because every layer is scaled
# anew. The residual network's variance still grows, but by about the same amount in each block and no longer by a
# factor: what a block adds has been normalised.

# %%
with_bn = gradients(batch_norm=True)
rl.plots.signals(with_bn, title="with batch normalisation, before training")

# %% tags=["nbval-approx"]
for name, signal in with_bn.items():
    first, last_block = signal.values[0], signal.values[-2]
    print(f"{name}: first layer {first:.2f}, last convolution {last_block:.3f}")

# %% [markdown]
# Here the usual story fails. In the plain network with BN, the gradient does not vanish on its way back: it **explodes**. At the
# first layer it is thousands of times as large as at the last convolution. Going backwards, each layer of BN and ReLU enlarges it
# a little, and the layers multiply [3]. A step that suits the last layers is far too large for the first ones.
# The authors of the ResNet, too, found vanishing gradients unlikely; in their plain networks of up to 34 layers the gradients
# looked healthy, and they left the cause open [1, section 4.1]. You measured a
# deeper and narrower network, before training. That the explosion *causes* the degradation is plausible; this measurement does
# not prove it.
#
# In the residual network, the norms stay within a factor of ten or so, but for the dense layer at the end. The skip gives the gradient a way
# back around every branch: the derivative of $x + F(x)$ is $1 + F'(x)$. (Where the sum is negative, the last ReLU sets it to zero.)
# The 1 alone would not stop an explosion. But the stream grows from block to block, and the BN of a branch divides by its
# size, so $F'$ gets smaller the deeper the block lies. The factors come close to 1, and their product grows slowly.
#
# Try it yourself. Where you can run this notebook, the next cell shows controls: change the depth, from 4 to 20 layers, take BN or the skip away, and
# watch both curves. A zero gamma comes up at the end of this notebook. Each change builds the network anew and measures it.

# %%
rl.explorers.signals()

# %% [markdown]
# On the left the variance of what each block outputs, on the right the norm of each layer's gradient, for 20 layers with BN and skip: the variance grows from block to
# block, and the gradients of the convolutions stay within a factor of about four. Both vertical axes are logarithmic and keep their scale from change to change; what you began with stays
# as a dotted grey line. With 20 layers all effects are smaller than with the 56 of the figures above.
#
# ## Shapes must agree
#
# Addition goes element by element. A block that halves the picture and doubles the channels, as real networks do,
# cannot add its input as it is:

# %%
try:
    layers.Add()([keras.Input((32, 32, 16)), keras.Input((16, 16, 32))])
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# The message names both shapes, without the batch. Whenever you meet it, a stride, a padding or a number of channels differs between the
# block and the skip. Notebook 2 shows how to adapt the skip.
#
# ## Add first, then ReLU
#
# The skip enters *before* the last ReLU. What if it enters after?


# %%
def late_block(x, **options):
    y = layers.ReLU()(conv_bn(x, **options))
    y = layers.ReLU()(conv_bn(y, **options))
    return layers.Add()([y, x])


# %% [markdown]
# It looks harmless. But the output of a ReLU is never negative, so this block can only ever *add*. Look at what 27 blocks
# change in the 64 images:

# %%
for block in (residual_block, late_block):
    ends = at_block_ends(block)
    print(f"{block.__name__}: some value falls:", bool((ends[-1] < ends[0]).any()))

# %%
rl.plots.curves(
    {
        "addition before ReLU": [end.mean() for end in at_block_ends(residual_block)],
        "addition after ReLU": [end.mean() for end in at_block_ends(late_block)],
    },
    ylabel="mean activation",
    title="before training",
    **BY_BLOCK,
)

# %% [markdown]
# With the addition before the ReLU, some values fall, and the mean climbs more and more slowly. With the addition after it, no value ever falls, and the
# mean climbs in a straight line: all that a block can do with a channel is raise it. In the paper's experiment with
# 110 layers, this order takes the test error on CIFAR-10 from 6.61 % to 7.84 % [2, table 2, "ReLU before addition"].
#
# (Notebook 4 takes the ReLU off the path of the skip altogether. That is a third order, and a better one.)
#
# ## How close to the identity does a block start?
#
# One reads that a residual block "starts near the identity". Test it: in a fresh network, by how much does each block
# change what comes in, relative to its size?


# %%
def relative_changes(block):
    ends = at_block_ends(block)
    return [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairwise(ends)]


changes = {"residual": relative_changes(residual_block), "plain": relative_changes(plain_block)}
rl.plots.curves(
    changes, ylabel="change relative to the input", xlabel="block", title="before training"
)

# %% tags=["nbval-approx"]
for name, values in changes.items():
    print(f"{name}: first block changes by {values[0]:.2f}, last block by {values[-1]:.2f}")

# %% [markdown]
# The plain blocks change everything, from the first to the last. The residual blocks get closer to the identity the deeper they
# lie: each adds a change of the same size to a stream that has grown. But the *first* one changes its input by about as much as
# the input is large. "Near the identity" is true late in a network and false at its beginning.
#
# You can make it exact. The last BN of a block multiplies by a learnt number, gamma, which starts at one. Let it start at zero:


# %%
def zero_block(x):
    y = layers.ReLU()(conv_bn(x))
    y = conv_bn(y, gamma="zeros")
    y = layers.Add()([y, x])
    return layers.ReLU()(y)


ends = at_block_ends(zero_block)
print("largest change by any of the 27 blocks:", max(abs(end - ends[0]).max() for end in ends))

# %% [markdown]
# Zero, not about zero. F(x) is exactly 0, and the ReLU behind the addition does nothing to an x that is not negative. The
# 56-layer network starts as a network of 2 layers, and each block grows from nothing. (In each block, only gamma and
# beta of this last BN get a gradient in the first step; the rest of the branch follows as soon as gamma has left zero.) Goyal et
# al. train ResNet-50 in this way [4, section 5.1].
#
# ## Summary
#
# - Degradation: a deeper plain network ends with a *higher training loss*. It is a problem of optimization.
# - The skip: `y = Add()([y, x])` before the last ReLU. A block then learns a change, and no change is easy.
# - In a plain network with batch normalisation, gradients explode towards the first layers, before training;
#   the skip keeps them even.
# - The shapes of branch and skip must be equal. A ReLU before the addition leaves only growth.
# - A zero gamma in the last normalisation makes a block start as exactly the identity.

# %% [markdown]
# ## Exercises
#
# Each exercise has a cell for your answer and a cell that checks it. The check names a mistake, not the answer.
# For a hint, run `rl.exercises.hint("01-residual")` in a cell of your own, and run it again for a further one.
#
# ### Exercise 1: the skip
#
# *Easy, 5 minutes.*
# `x` is a tensor and `branch` a function that takes a tensor and returns another of the same shape.
# Write `residual`: it adds `x` to what the branch makes of it, then applies ReLU to the sum.
# Use Keras layers.


# %% tags=["exercise-01-residual"]
def residual(x, branch):
    """Return the output of a residual block: the ReLU of branch and skip."""
    ...


# %%
rl.exercises.check("01-residual", residual)

# %% [markdown]
# What you wrote is used at once. `rl.exercises.answer` returns your function if the check has found it correct, and else the library's, and says which:

# %%
skip_around = rl.exercises.answer("01-residual")
inputs = keras.Input((16, 16, 16))
rl.plots.block(
    keras.Model(inputs, skip_around(inputs, lambda x: conv_bn(layers.ReLU()(conv_bn(x)))))
)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def residual(x, branch):
#     """Return the output of a residual block: the ReLU of branch and skip."""
#     y = branch(x)
#     y = layers.Add()([y, x])
#     return layers.ReLU()(y)
# ```
#
# The branch reaches the addition without a ReLU of its own, so it can also take something away from `x`.
#
# </details>

# %% [markdown]
# ### Exercise 2: the gradient
#
# *Easy, 3 minutes.*
# Let $y = x + F(x)$, and let $\mathrm{d}F/\mathrm{d}x = -0.3$ at some $x$.
# What is $\mathrm{d}y/\mathrm{d}x$ there?

# %% tags=["exercise-01-gradient"]
gradient = ...

# %%
rl.exercises.check("01-gradient", gradient)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# gradient = 1 - 0.3
# ```
#
# The skip contributes 1, the branch −0.3. If every derivative were −0.3, twenty layers in a row would change the size of a
# gradient by $0.3^{20}$ without skips and by $0.7^{20}$ with them: millions of times as much. That is the vanishing
# case; with batch normalisation you have seen the opposite one.
#
# </details>

# %% [markdown]
# ### Exercise 3: the shapes
#
# *Medium, 4 minutes.*
# Here are the shapes (height, width, channels) of a branch's output and of a skip:
#
# | pair | branch | skip |
# |---|---|---|
# | a | (32, 32, 16) | (32, 32, 16) |
# | b | (32, 32, 16) | (16, 16, 32) |
# | c | (32, 32, 16) | (32, 32, 1) |
# | d | (16, 16, 32) | (16, 16, 16) |
# | e | (8, 8, 64) | (8, 8, 64) |
# | f | (8, 8, 64) | (1, 1, 64) |
#
# In which pairs can the skip be added as it is, as an identity? Answer with a tuple of letters, such as `("x", "y")`.

# %% tags=["exercise-01-shapes"]
pairs = ...

# %%
rl.exercises.check("01-shapes", pairs)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# pairs = ("a", "e")
# ```
#
# The shapes must be equal. Keras also adds pairs c and f, without an error: it repeats the smaller tensor until it fits.
# In c, one channel would be added to all sixteen.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 2. K. He, X. Zhang, S. Ren, J. Sun: *Identity Mappings in Deep Residual Networks*, 2016, arXiv 1603.05027.
# 3. G. Yang, J. Pennington, V. Rao, J. Sohl-Dickstein, S. S. Schoenholz: *A Mean Field Theory of Batch
#    Normalization*, 2019, arXiv 1902.08129.
# 4. P. Goyal and others: *Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*, 2017, arXiv 1706.02677.

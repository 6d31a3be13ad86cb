# %% [markdown]
# # 1. Skip connections
#
# Afterwards you can
#
# - say what degradation is, and show it in a training you have run yourself;
# - write a skip connection, in one line;
# - measure how a signal and its gradient travel through a deep network, and say what the initialisation, batch
#   normalisation and the skip each do to them;
# - say why the shapes must agree, why the addition comes before the ReLU, and how close to the
#   identity a residual block starts.
#
# You need Python, numpy and the Keras functional API, and you should have
# trained a small convolutional network before. Reading and the tasks take about an hour and a half; running every cell takes
# about a minute and a half on a CPU with 2 cores.

# %%
import resnet_lib as rl

from functools import partial
from itertools import pairwise

import keras
import numpy as np
from keras import layers

# %% [markdown]
# `resnet_lib` is the library behind these notebooks. Import it first: it sets TensorFlow up before
# TensorFlow starts. Here it brings the pictures, draws figures and measures signals; you write yourself what matters.
#
# ## Pictures to learn from
#
# `rl.datasets.shapes` draws pictures of ten shapes, so nothing has to be downloaded. Here you use four of the
# ten, shrunk to 16x16 pixels, so that four networks train in about a minute. Training is easier with inputs around zero, so the mean of each
# colour is subtracted from each picture.

# %% tags=["setup"]
shapes = rl.datasets.shapes(train=4000, validation=10, test=1000)
shapes


# %% tags=["setup"]
def small_pictures(split):
    few = split.labels < 4
    pictures = split.images[few].astype("float32") / 255
    return pictures.reshape(-1, 16, 2, 16, 2, 3).mean(axis=(2, 4)), split.labels[few]


def centred(pictures):
    return pictures - pictures.mean(axis=(1, 2), keepdims=True)


pictures, labels = small_pictures(shapes.train)
test_pictures, test_labels = small_pictures(shapes.test)
images, test_images = centred(pictures), centred(test_pictures)
images.shape, labels.shape

# %%
rl.plots.images(
    pictures[:16],
    [shapes.class_names[label] for label in labels[:16]],
    columns=8,
    alt="Sixteen small pictures of circles, rings, crescents and semicircles on textured backgrounds.",
)

# %% [markdown]
# Each picture shows a circle, a ring, a crescent or a semicircle. All else varies, and a bar may hide a part.
#
# ## A plain network, shallow and deep
#
# A layer, in this notebook, is a 3x3 convolution to 16 channels with batch normalisation (BN) behind it. BN
# shifts and scales each channel to mean 0 and variance 1 over the batch; two learnt numbers a channel can undo that.
# Two such layers with a ReLU between them are a **branch**. A plain block is a branch and a ReLU. The arguments `batch_norm`, `gamma` and `kernel`
# are switches for later.


# %% tags=["setup"]
def conv_bn(x, batch_norm=True, gamma="ones", kernel="he_normal"):
    x = layers.Conv2D(16, 3, padding="same", use_bias=False, kernel_initializer=kernel)(x)
    bn = layers.BatchNormalization(momentum=0.9, gamma_initializer=gamma)
    return bn(x) if batch_norm else x


def branch(x, gamma="ones", **options):
    y = layers.ReLU()(conv_bn(x, **options))
    return conv_bn(y, gamma=gamma, **options)


def plain_block(x, **options):
    y = branch(x, **options)
    return layers.ReLU()(y)


# %% [markdown]
# A network is one layer, then blocks, then the mean of each channel and a softmax. Its depth counts the layers
# with weights that lie one behind another: the first, two in each block, the last. What goes from block to block is
# the **stream**. The function `stream` keeps what the first layer and each block output, for you to look at.


# %% tags=["setup"]
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


# %% [markdown]
# The deep network can do whatever the shallow one can. Take the shallow network's layers and let each additional
# block pass on what it gets: the same function. So the best loss on the training images that 38 layers can reach is no
# higher than the best that 8 layers can reach.
#
# **Predict.** You train both for the same number of steps, with the same optimizer; the learning rate falls from 0.05
# to zero. Which one has the lower loss *on the training images*? In the profile "quick" you train for 7 epochs;
# `rl.set_profile("full")`, right after the import, makes it 30. Write your guess in place of the three dots and run the cell: it is kept, in a file
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
    losses = model.fit(images, labels, batch_size=100, epochs=EPOCHS, verbose=0).history["loss"]
    _, accuracy = model.evaluate(test_images, test_labels, verbose=0)
    told = f"training loss {losses[-1]:.2f}, test accuracy {accuracy:.0%}"
    print(f"{block.__name__}, {depth:2} layers: {told}", flush=True)
    return losses


# %% tags=["answer", "nbval-loss", "nbval-accuracy"]
plain = {8: trained(plain_block, 8)}

# %% tags=["answer", "nbval-time"]
plain[38] = trained(plain_block, 38)  # Its numbers differ widely from machine to machine.

# %% tags=["answer"]
rl.plots.curves(
    {f"plain, {depth} layers": losses for depth, losses in plain.items()},
    ylabel="loss on the training images",
    title=f"four of {shapes.source}",
)

# %% [markdown]
# The dashed line is the network with 38 layers. From the second epoch on it is above the solid one: more layers, higher loss, on the very
# images that it trains on.

# %% tags=["answer"]
rl.exercises.compare("01-deeper", lower_loss=min(plain, key=lambda depth: plain[depth][-1]))

# %% [markdown]
# This is **degradation** [1, figure 1]. It is not overfitting: an overfitted network has a *low* training loss. Nor is the deep network
# just slow: the paper trained one three times as
# long, and the problem stayed [1, section 4.1]. The better solution exists, and the optimizer does not find
# it. What is hard to find is
# a block that does nothing: two convolutions, two normalisations and two ReLUs must together give back what came in.
#
# ## The skip, in one line
#
# Make doing nothing easy, then. Let the branch compute only the *change* F(x), and add the input, which skips it:
#
# $$y = \mathrm{ReLU}(F(x) + x)$$
#
# To do nothing, F has to be zero, and weights are easily driven to zero.

# %% [markdown]
# ### Exercise: write the skip
#
# *Easy, 5 minutes.*
# `x` is a tensor and `branch` a function that takes a tensor and returns another of the same shape.
# Write `residual`: it adds `x` to what the branch makes of it, then applies ReLU to the sum.
# Use Keras layers. The next cell checks what you have written, and names a mistake, not the answer. For a hint, run `rl.exercises.hint("01-residual")` in a cell
# of your own, and run it again for a further one.


# %% tags=["exercise-01-residual"]
def residual(x, branch):
    """Return the output of a residual block: the ReLU of branch and skip."""
    ...


# %%
rl.exercises.check("01-residual", residual)

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
# `rl.exercises.answer` returns your function if the check has found it correct, else the library's, and says which. The notebook works with it from here on.

# %% tags=["setup"]
add_skip = rl.exercises.answer("01-residual")


def residual_block(x, **options):
    return add_skip(x, partial(branch, **options))


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
# The two blocks are the same, layer by layer, but for the addition, the
# circle, and the arc that takes the block's input past both convolutions to it.
#
# An addition has no weights, so the networks are equally large. Now train the residual ones:

# %% tags=["nbval-loss", "nbval-accuracy"]
residual_losses = {depth: trained(residual_block, depth) for depth in (8, 38)}

# %% tags=["figure-degradation"]
rl.plots.curves(
    {f"plain, {depth} layers": losses for depth, losses in plain.items()}
    | {f"residual, {depth} layers": losses for depth, losses in residual_losses.items()},
    ylabel="loss on the training images",
    title=f"four of {shapes.source}",
)

# %% [markdown]
# Of the four networks, the plain one with 38 layers ends highest and the residual one with 38 layers ends lowest. One added
# line has turned the order round.
#
# Is that chance? Weights start at random. The script `benchmarks/degradation.py` has repeated these trainings with
# three seeds, and its results come with the library. The losses at the end, seed by seed:


# %%
repeats = rl.records.by_seed("degradation")


def final_losses(**chosen):
    """The training losses at the end of the recorded runs of a kind, one for each seed."""
    return [run["losses"][-1] for run in repeats if chosen.items() <= run.items()]


for kind in ("plain", "residual"):
    for depth in (8, 38):
        losses = final_losses(kind=kind, depth=depth, optimizer="SGD", rate=0.05)
        print(f"{kind:>8}, {depth:2} layers:", *(f"{loss:.2f}" for loss in losses))

# %% [markdown]
# With each seed the order is the same: plain, more layers end higher; residual, more layers end lower. But from seed to seed the same network differs by up to 0.3, so do not
# trust a small difference between two single runs.
#
# ## What gets through at the start
#
# Why can the optimizer not train the deep plain network? The usual answer is that gradients vanish. Do not believe
# it: measure. Before any training, send 64 images through networks of 56 layers, where effects are plainer than at 38, and
# look at two numbers:
#
# - the variance of what each block outputs: is there still a signal?
# - the norm of the gradient of the loss by each layer's kernel: how strongly does the loss pull at this layer?
#
# Both depend on the weights that a network starts with, so look at those first.

# %% [markdown]
# ### Exercise: weights of the right size
#
# *Medium, 5 minutes.*
# Each output of a convolution is a sum of products, one for each weight of its kernel. If the
# weights are independent, with mean 0 and standard deviation s, then the mean square of a sum of n products is $n s^2$ times that of an input. The ReLU behind it sets the negative
# half to zero and so halves the mean square.
#
# Take a 3x3 convolution that gets 16 channels, with a ReLU behind it and without BN. For which standard deviation of its weights does the mean square stay the same from layer to layer? Three digits are enough.

# %% tags=["exercise-01-he"]
deviation = ...

# %%
rl.exercises.check("01-he", deviation)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# deviation = (2 / (3 * 3 * 16)) ** 0.5
# ```
#
# Each output channel has 3 x 3 x 16 = 144 weights, so the mean square is kept if $144\, s^2 / 2 = 1$. This is He initialisation [5], `he_normal` in Keras.
#
# </details>

# %% [markdown]
# Compare it with Keras' own choice, `glorot_uniform`, which does not reckon with a ReLU, and with a fixed small number. `training=True` makes BN, where there is any, use the statistics of the batch, as in training.
# Block 0 stands for the first layer.


# %%
def at_block_ends(block, **options):
    keras.utils.set_random_seed(1)
    model = keras.Model(*stream(block, 56, **options))
    return [np.asarray(end) for end in model(images[:64], training=True)]


def mean_squares(kernel):
    return [(end**2).mean() for end in at_block_ends(plain_block, batch_norm=False, kernel=kernel)]


BY_BLOCK = dict(xlabel="block", first=0)
small = keras.initializers.RandomNormal(stddev=0.05)
rl.plots.curves(
    {
        "he_normal": mean_squares("he_normal"),
        "glorot_uniform": mean_squares("glorot_uniform"),
        "standard deviation 0.05": mean_squares(small),
    },
    ylabel="mean square of the activations",
    log=True,
    title="plain, without batch normalisation, before training",
    **BY_BLOCK,
)

# %% [markdown]
# With `he_normal`, the mean square falls by some five powers of ten over 54 layers; with the two others, by twenty and more. It is not constant, because the rule holds on average over many channels, and because
# the zeros around the picture take something away. All figures "before training" below start from `he_normal`.
#
# Now add the skip. Without BN, a branch outputs about as much variance as comes in.
#
# **Predict.** What the branch outputs is added to the stream, in each of 27 blocks. By what factor does the variance of the stream grow from the first layer to the last block? Write its power of ten: 3 for a thousand.

# %%
rl.exercises.predict("01-variance", ...)  # One number, the power of ten.


# %% tags=["answer"]
def variances(**options):
    blocks = {"plain": plain_block, "residual": residual_block}
    return {
        name: [end.var() for end in at_block_ends(block, **options)]
        for name, block in blocks.items()
    }


without_bn = variances(batch_norm=False)
rl.plots.curves(
    without_bn,
    ylabel="variance of the activations",
    log=True,
    title="without batch normalisation, before training",
    **BY_BLOCK,
)

# %% tags=["answer", "nbval-approx"]
first, *_, last = without_bn["residual"]
rl.exercises.compare("01-variance", power_of_ten=round(float(np.log10(last / first)), 1))

# %% [markdown]
# The solid line, the plain network, falls, and the dashed one climbs. Each block adds a signal of its own to one that is as large, so the variance
# about doubles, and 27 doublings are $2^{27}$, about $10^8$.


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
# Here the axis counts layers, from the first, 0, to the dense layer, 1. The gradient of the plain network is small everywhere,
# smallest at the end, where the signal has faded: it does not shrink on its way back. That of the residual network is enormous.
# With a rate of 0.05, the first network would hardly move, and the second would blow up. The skip alone has
# *not* solved anything yet.

# %%
rl.plots.curves(
    variances(batch_norm=True),
    ylabel="variance of the activations",
    title="with batch normalisation, before training",
    **BY_BLOCK,
)

# %% [markdown]
# With BN, and on an axis that is no longer logarithmic, the plain network keeps its variance, because every layer is scaled
# anew. The residual network's variance still grows, but by about the same amount in each block and no longer by a
# factor: what a block adds has been normalised.

# %% tags=["nbval-approx"]
with_bn = gradients(batch_norm=True)
for name, signal in with_bn.items():
    first, last_block = signal.values[0], signal.values[-2]
    print(f"{name}: first layer {first:.2f}, last convolution {last_block:.3f}")
rl.plots.signals(with_bn, title="with batch normalisation, before training")

# %% [markdown]
# Here the usual story fails. In the plain network with BN, the gradient does not vanish on its way back: it **explodes**. At the
# first layer it is thousands of times as large as at the last convolution. Going backwards, each layer of BN and ReLU enlarges it
# a little, and the layers multiply [3].
# The authors of the ResNet, too, found vanishing gradients unlikely; in their plain networks of up to 34 layers the gradients
# looked healthy, and they left the cause open [1, section 4.1]. You measured a
# deeper and narrower network, before training.
#
# In the residual network, the norms stay within a factor of ten or so, but for the dense layer at the end. What does the skip do for the gradient?

# %% [markdown]
# ### Exercise: the gradient's two paths
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
# case; with batch normalisation you have seen the opposite one. The 1 holds as long as the sum is positive and passes the last ReLU.
#
# </details>

# %% [markdown]
# The 1 alone would not stop an explosion. But the stream grows from block to block, and the BN of a branch divides by its
# size, so $F'$ gets smaller the deeper the block lies. The factors come close to 1, and their product grows slowly.
#
# Where you can run this notebook, the next cell shows controls: change the depth, take BN or the skip away, and
# watch both curves. A zero gamma comes up at the end of this notebook.

# %%
rl.explorers.signals()

# %% [markdown]
# On the left the variance of what each block outputs, on the right the norm of each layer's gradient, for 20 layers with BN and skip. Both vertical axes are logarithmic and keep their scale; what you began with stays as a dotted grey line.

# %% [markdown]
# ### Exercise: find the fault
#
# *Easy, 5 minutes.*
# Such a measurement finds faults that nothing else shows. Here is a block as people have published it. A network of it has an addition in each block and as many parameters as yours, and it raises no error.
# But the cell below the function measures its gradients, and they explode like those of a plain network.
# Find out why, repair the function, and run the measurement again.


# %% tags=["exercise-01-fault-skip"]
def suspect(x, branch):
    """Return the output of a residual block: the ReLU of branch and skip."""
    x = branch(x)
    x = layers.Add()([x, x])
    return layers.ReLU()(x)


# %% tags=["nbval-approx"]
for name, with_skip in {"the residual block": add_skip, "the suspect": suspect}.items():
    keras.utils.set_random_seed(1)
    model = network(lambda x, add=with_skip: add(x, branch), 56)
    norms = rl.gradient_norms(model, images[:64], labels[:64]).values
    print(f"{name}: first layer {norms[0]:.2f}, last convolution {norms[-2]:.3f}")

# %%
rl.exercises.check("01-fault-skip", suspect)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def suspect(x, branch):
#     """Return the output of a residual block: the ReLU of branch and skip."""
#     y = branch(x)
#     y = layers.Add()([y, x])
#     return layers.ReLU()(y)
# ```
#
# `x` was overwritten by what the branch made of it, so the branch was added to itself. The next BN takes the factor of two out again: a plain network.
#
# </details>

# %% [markdown]
# ## Is the explosion the cause?
#
# A step that suits the last layers of the plain network is far too large for its first ones. It is plausible that this causes degradation, but a measurement before
# training does not prove it.

# %% [markdown]
# ### Exercise: what the table bears out
#
# *Medium, 6 minutes.*
# If the explosion is the cause, two changes should help. A lower rate fits the first layers. And Adam divides the step of each weight by the size of its gradients, so that no layer's steps are too large.
# `benchmarks/degradation.py` has tried both, with the same three seeds:

# %%
print(f"{'training loss at the end, three seeds':42}")
for kind, depth, optimizer, rate in (
    ("plain", 8, "SGD", 0.05),
    ("plain", 38, "SGD", 0.05),
    ("plain", 38, "SGD", 0.005),
    ("plain", 38, "SGD", 0.0005),
    ("plain", 8, "Adam", 0.003),
    ("plain", 38, "Adam", 0.003),
    ("residual", 38, "SGD", 0.05),
):
    losses = final_losses(kind=kind, depth=depth, optimizer=optimizer, rate=rate)
    told = " ".join(f"{loss:.2f}" for loss in losses)
    print(f"{kind:>8}, {depth:2} layers, {optimizer:>4} with {rate:<6}:  {told}")

# %% [markdown]
# Which of these statements does the table bear out, with every seed?
#
# | | statement |
# |---|---|
# | a | With the rate of 0.05, the plain network of 38 layers ends higher than that of 8 layers. |
# | b | A lower rate lets the plain network of 38 layers end lower. |
# | c | Adam lets the plain network of 38 layers end lower than SGD with the rate of 0.05. |
# | d | With Adam, too, the plain network of 38 layers ends higher than that of 8 layers. |
# | e | The explosion of gradients has nothing to do with degradation. |
#
# Answer with a tuple of letters.

# %% tags=["exercise-01-evidence"]
statements = ...

# %%
rl.exercises.check("01-evidence", statements)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# statements = ("a", "d")
# ```
#
# The lower the rate, the less the deep plain network learns: what fits its first layers is too little for the others. With Adam it ends lower with one seed and higher with two, and behind the shallow network with each.
# But that two remedies fail does not acquit the explosion, for they may not be good enough: a lower rate also slows the last layers, and Adam changes more than the size of a step.
#
# </details>

# %% [markdown]
# So the size of the gradients does not seem to be the whole cause. Another explanation is that the gradients of a deep plain network look like noise,
# with little in common from one picture to the next, and that the skip prevents this [7].
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
# Whenever you meet this message, a stride, a padding or a number of channels differs between the
# branch and the skip. Notebook 2 shows how to adapt the skip. Some wrong pairs raise no error, though.

# %% [markdown]
# ### Exercise: which shapes fit
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
# ## Add first, then ReLU
#
# The skip enters *before* the last ReLU. What if it enters after?


# %%
def late_block(x, **options):
    y = layers.ReLU()(branch(x, **options))
    return layers.Add()([y, x])


ends = {"before": at_block_ends(residual_block), "after": at_block_ends(late_block)}
for order, (first, *_, last) in ends.items():
    print(f"addition {order} ReLU: some value falls:", bool((last < first).any()))

# %% [markdown]
# It looks harmless. But the output of a ReLU is never negative, so this block can only ever *add*: over 27 blocks, no value falls. Look at the mean:

# %%
rl.plots.curves(
    {f"addition {order} ReLU": [end.mean() for end in each] for order, each in ends.items()},
    ylabel="mean activation",
    title="before training",
    **BY_BLOCK,
)

# %% [markdown]
# With the addition before the ReLU, the mean climbs more and more slowly. With the addition after it, the
# mean climbs in a straight line: all that a block can do with a channel is raise it. In the paper's experiment with
# 110 layers, this order takes the test error on CIFAR-10 from 6.61 % to 7.84 % [2, table 2, "ReLU before addition"].
# Notebook 4 takes the ReLU off the path of the skip altogether.
#
# ## How close to the identity does a block start?
#
# One reads that a residual block "starts near the identity". Test it: by how much does each fresh block
# change what comes in, relative to its size?


# %% tags=["nbval-approx"]
def relative_changes(ends):
    return [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairwise(ends)]


changes = {
    "residual": relative_changes(ends["before"]),
    "plain": relative_changes(at_block_ends(plain_block)),
}
for name, values in changes.items():
    print(f"{name}: first block changes by {values[0]:.2f}, last block by {values[-1]:.2f}")
rl.plots.curves(
    changes, ylabel="change relative to the input", xlabel="block", title="before training"
)

# %% [markdown]
# The dashed line is the plain network: its blocks change everything. The residual blocks get closer to the identity the deeper they
# lie: each adds a change of the same size to a stream that has grown. But the *first* one changes its input by about as much as
# the input is large. "Near the identity" is true late in a network and false at its beginning.
#
# You can make it exact. The last BN of a block multiplies by a learnt number, gamma, which starts at one. Let it start at zero:


# %%
def zero_block(x):
    return residual_block(x, gamma="zeros")


ends = at_block_ends(zero_block)
print("largest change by any of the 27 blocks:", max(abs(end - ends[0]).max() for end in ends))

# %% [markdown]
# F(x) is exactly 0, and the ReLU behind the addition does nothing to an x that is not negative. The
# 56-layer network starts as a network of 2 layers, and each block grows from nothing. In the first step only gamma and
# beta of each block's last BN get a gradient; the rest of the branch follows as soon as gamma has left zero. Goyal et
# al. train ResNet-50 in this way [4, section 5.1].
#
# ## Summary
#
# - Degradation: a deeper plain network ends with a *higher training loss*. It is a problem of optimization.
# - The skip: `y = Add()([y, x])` before the last ReLU. A block then learns a change, and no change is easy.
# - In a fresh plain network with batch normalisation, gradients explode towards the first layers; the skip keeps them even.
# - The shapes of branch and skip must be equal. A ReLU before the addition leaves only growth.
# - A zero gamma in the last normalisation makes a block start as exactly the identity.

# %% [markdown]
# ## Project: 38 layers without batch normalisation
#
# *Hard, 30 minutes.*
# Without BN, the residual stream grew by more than seven powers of ten before training. Yet deep residual networks can be trained without any normalisation, if their branches start small or at zero [6].
# Build and train a `keras.Model` that takes `images`, 16x16x3, and outputs four probabilities, with **38 layers** with a kernel one behind another and without any layer that normalises.
# The check draws 1,000 fresh pictures and prepares them as `images` are. Get **70 % or more** of them right. The record here is 77 %, after about 15 s of training on 2 cores.
#
# All else is yours: initialisation, width, strides, optimizer, rate, epochs.

# %% tags=["exercise-01-project"]
model = ...  # a trained keras.Model

# %%
rl.exercises.check("01-project", model)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def conv(x, kernel="he_normal", strides=1):
#     return layers.Conv2D(16, 3, strides, padding="same", kernel_initializer=kernel)(x)
#
#
# keras.utils.set_random_seed(1)
# inputs = keras.Input((16, 16, 3))
# x = layers.ReLU()(conv(inputs, strides=2))
# for _ in range(18):
#     y = conv(layers.ReLU()(conv(x)), kernel="zeros")
#     x = layers.ReLU()(layers.Add()([y, x]))
# x = layers.GlobalAveragePooling2D()(x)
# model = keras.Model(inputs, layers.Dense(4, activation="softmax")(x))
#
# rate = keras.optimizers.schedules.CosineDecay(0.004, 15 * len(images) // 50)
# model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
# model.fit(images, labels, batch_size=50, epochs=15, verbose=0)
# ```
#
# The last kernel of each branch starts at zero, so the network starts as one of 2 layers, as with the zero gamma. The first layer halves the picture, which makes all others four times as fast.
# Adam divides each step by the size of the gradient, so that no rate has to be found that suits all layers.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: [*Deep Residual Learning for Image Recognition*](https://arxiv.org/abs/1512.03385), 2015.
# 2. K. He, X. Zhang, S. Ren, J. Sun: [*Identity Mappings in Deep Residual Networks*](https://arxiv.org/abs/1603.05027), 2016.
# 3. G. Yang, J. Pennington, V. Rao, J. Sohl-Dickstein, S. S. Schoenholz: [*A Mean Field Theory of Batch Normalization*](https://arxiv.org/abs/1902.08129), 2019.
# 4. P. Goyal and others: [*Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*](https://arxiv.org/abs/1706.02677), 2017.
# 5. K. He, X. Zhang, S. Ren, J. Sun: [*Delving Deep into Rectifiers*](https://arxiv.org/abs/1502.01852), 2015.
# 6. H. Zhang, Y. N. Dauphin, T. Ma: [*Fixup Initialization: Residual Learning Without Normalization*](https://arxiv.org/abs/1901.09321), 2019.
# 7. D. Balduzzi and others: [*The Shattered Gradients Problem*](https://arxiv.org/abs/1702.08591), 2017.

# %% [markdown]
# # 3. The CIFAR ResNet, version 1
#
# Afterwards you can
#
# - write the whole network, from ResNet-20 to ResNet-1202, and explain the depth formula 6n+2;
# - recompute the parameters of the paper's table 6 and explain every difference in parameters between the three
#   forms in use;
# - read a feature-map figure, a loss plot and a learning-rate plot;
# - train the network that you have written, and say what the record of its training tells you.
#
# "Version 2", in notebook 4, puts the layers of a block into another order.
#
# You need notebooks 1 and 2. Reading takes about half an hour, the exercises two hours; running every cell takes about a minute and a half on a CPU with 2 cores.

# %%
import resnet_lib as rl

import inspect
from dataclasses import replace

import keras
import numpy as np
from keras import layers

# %% [markdown]
# ## The plan of the network
#
# CIFAR-10 pictures are 32x32 pixels with three colours. He et al. [1, section 4.2] use a network of one plan for them:
#
# | part | output | layers with weights |
# |---|---|---|
# | stem: 3x3 convolution, BN, ReLU | 32x32x16 | 1 |
# | stage 1: n basic blocks, 16 channels | 32x32x16 | 2n |
# | stage 2: n basic blocks, 32 channels, the first with stride 2 | 16x16x32 | 2n |
# | stage 3: n basic blocks, 64 channels, the first with stride 2 | 8x8x64 | 2n |
# | head: mean of each channel, dense, softmax | 10 | 1 |
#
# Add up the last column: **6n + 2**. Projections have weights, too, but stand beside the main path and are not counted.

# %% [markdown]
# ### Exercise: say what n counts
#
# *Easy, 5 minutes.*
# ResNet-74 would be a network of 6n+2 layers. How many blocks has each stage, how many blocks are there in all, and how many
# convolutions does the 74 count? Answer with a tuple of three numbers, in this order.
# The check names a mistake, not the answer. For a hint, run `rl.exercises.hint("03-blocks")` in a cell of your own, and run it again for a further one.

# %% tags=["exercise-03-blocks"]
resnet74 = ...

# %%
rl.exercises.check("03-blocks", resnet74)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# n = (74 - 2) // 6
# resnet74 = (n, 3 * n, 3 * n * 2 + 1)
# ```
#
# Each block has two convolutions. The one besides is the stem; the last of the 74 layers is the dense layer.
#
# </details>

# %% [markdown]
# ### Exercise: find n
#
# *Medium, 6 minutes.*
# Write `blocks_per_stage`: for a depth of 6n+2 with n at least 1 it returns n, as an int; for any other depth it returns
# `None`.


# %% tags=["exercise-03-depth"]
def blocks_per_stage(depth):
    """Return n where depth = 6n+2 and n is at least 1, else None."""
    ...


# %%
rl.exercises.check("03-depth", blocks_per_stage)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def blocks_per_stage(depth):
#     """Return n where depth = 6n+2 and n is at least 1, else None."""
#     n, rest = divmod(depth - 2, 6)
#     return n if rest == 0 and n >= 1 else None
# ```
#
# `//` alone would return 3 for a depth of 21, and you would train ResNet-20 under another name.
#
# </details>

# %% [markdown]
# From here on, each function that you have written is used in the cells that follow. Where you have not written one yet, the library's stands in, so that
# every cell runs.

# %%
n_of = rl.exercises.answer("03-depth")
print({depth: n_of(depth) for depth in (20, 50, 56, 57, 110, 1202)})

# %% [markdown]
# 50 is valid: 6 x 8 + 2. The network of this plan with 50 layers is *not* the famous ResNet-50, which has four stages of
# bottleneck blocks and 25 million parameters. Depth alone says little.
#
# **Predict.** A ResNet-56: which n, how many blocks in all, and how many convolutions in blocks?

# %%
rl.exercises.predict("03-resnet56", ...)  # Three numbers: (n, blocks, convolutions in blocks).

# %% tags=["answer"]
resnet56 = rl.resnet_v1((32, 32, 3), depth=56)
for stage in rl.feature_maps(resnet56):
    print(stage)
additions = [x.name for x in resnet56.layers if isinstance(x, layers.Add)]
convolutions = [x.name for x in resnet56.layers if isinstance(x, layers.Conv2D)]
in_blocks = [x for x in convolutions if "block" in x and "shortcut" not in x]
rl.exercises.compare("03-resnet56", counted=(n_of(56), len(additions), len(in_blocks)))

# %% [markdown]
# Said aloud: a ResNet-56 is three stages of nine blocks of two convolutions, a first convolution and a dense layer.
#
# ## A stage
#
# Now write the network. You do it from the inside: blocks make a stage, stages make the network.

# %% [markdown]
# ### Exercise: stack the blocks
#
# *Easy, 8 minutes.*
# Write `stack`. It places `n` blocks one behind another and returns what the last one returns. The blocks come from the function `block`, which
# you call as `block(x, filters, strides, name=…)`; without `strides`, its stride is 1. The first block of the stage takes `strides`, all others
# keep height and width. The names of the blocks begin with `name`: `stage2_block1`, `stage2_block2` and so on.


# %% tags=["exercise-03-stack"]
def stack(x, filters, n, block, strides, name):
    """Return the output of n blocks, one behind another; the first of them has the stride."""
    ...


# %%
rl.exercises.check("03-stack", stack)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def stack(x, filters, n, block, strides, name):
#     """Return the output of n blocks, one behind another; the first of them has the stride."""
#     for number in range(1, n + 1):
#         x = block(x, filters, strides if number == 1 else 1, name=f"{name}_block{number}")
#     return x
# ```
#
# In each round, `x` becomes the output of the block, so that the next block goes on from there.
#
# </details>

# %% [markdown]
# Which block do you hand to it? Your own, of notebook 2. The next two cells fetch what you have written there: `recall` opens a cell with your
# function and its check. Run it.

# %%
rl.exercises.recall("02-identity-block")

# %%
rl.exercises.recall("02-projection-block")

# %% [markdown]
# A block of the network is an identity block where the shape stays, and a projection block where it changes:

# %%
stack = rl.exercises.answer("03-stack")
identity_block = rl.exercises.answer("02-identity-block")
projection_block = rl.exercises.answer("02-projection-block")


def block(x, filters, strides=1, name=None):
    if strides == 1 and x.shape[-1] == filters:
        return identity_block(x, filters, name=name)
    return projection_block(x, filters, strides, name=name)


x = stack(keras.Input((32, 32, 16)), 32, 3, block, strides=2, name="stage2")
print("stage 2: from (32, 32, 16) to", x.shape[1:])

# %% [markdown]
# ## The whole network
#
# You have all parts. The head takes the mean over the 8x8 pixels of each channel, then a dense layer and softmax. Much copied code has
# `AveragePooling2D(8)` and `Flatten` here. For 32x32 pictures that is the same, but it fixes the size of the
# picture; `GlobalAveragePooling2D` does not.

# %% [markdown]
# ### Exercise: build the network
#
# *Medium, 15 minutes.*
# Write the builder: a function that returns the network of the plan, a `keras.Model` from a picture of 32x32x3 to ten probabilities, for any depth of
# 6n+2 and any `block`. The convolution of the stem has no bias, because BN follows. Give the stages the names `stage1`, `stage2` and `stage3`, then the figures below can tell them apart.
#
# The check hands in a block of its own, looks at how you call it, and gives your stem and your head known weights.


# %% tags=["exercise-03-builder"]
def resnet_v1(depth, block):
    """Return the network of depth 6n+2 whose blocks are `block`."""
    ...


# %%
rl.exercises.check("03-builder", resnet_v1)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def resnet_v1(depth, block):
#     """Return the network of depth 6n+2 whose blocks are `block`."""
#     n = (depth - 2) // 6
#     inputs = keras.Input((32, 32, 3))
#     x = layers.Conv2D(
#         16, 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="stem_conv"
#     )(inputs)
#     x = layers.ReLU(name="stem_relu")(layers.BatchNormalization(name="stem_bn")(x))
#     x = stack(x, 16, n, block, strides=1, name="stage1")
#     x = stack(x, 32, n, block, strides=2, name="stage2")
#     x = stack(x, 64, n, block, strides=2, name="stage3")
#     x = layers.GlobalAveragePooling2D(name="head_pool")(x)
#     outputs = layers.Dense(10, activation="softmax", name="head_dense")(x)
#     return keras.Model(inputs, outputs, name=f"ResNet{depth}v1")
# ```
#
# Three lines of `stack` are the architecture. All that tells one depth from another is n.
#
# </details>

# %% tags=["shows-shape"]
resnet_v1 = rl.exercises.answer("03-builder")
keras.utils.set_random_seed(0)
yours = resnet_v1(20, block)
for stage in rl.feature_maps(yours):
    print(stage)

# %% tags=["shows-parameters"]
print(rl.count_parameters(yours))

# %% [markdown]
# Is it the network of the library? `rl.resnet_v1` with `form="standard"` should compute the same. A form says which details of a network are meant; three of them are compared below. The same weights must give the same output:

# %%
shapes = rl.datasets.shapes(train=5000, validation=500, test=1000)
pictures, labels = shapes.test.images[:100] / 255, shapes.test.labels[:100]
library = rl.resnet_v1((32, 32, 3), depth=20, form="standard")
start, rng = yours.get_weights(), np.random.default_rng(0)
yours.set_weights([rng.uniform(0.1, 0.2, w.shape) for w in start])
library.set_weights(yours.get_weights())
for training in (True, False):
    a, b = (np.asarray(model(pictures, training=training)) for model in (yours, library))
    print(f"training={training}: equal to within 1e-5: {np.allclose(a, b, rtol=1e-5)}")
yours.set_weights(start)

# %% [markdown]
# Here is the library's builder, without its docstring: the stem, three stages, the head. Its first lines look up the block, find n and look up the form: whether
# convolutions have biases and which shortcut there is. `partial(f, a=1)` is `f` with `a=1` given already, and so is `bound`: convolution and block are settled once, and a line
# of a stage says only what is its own, channels and blocks.

# %%
print("".join(inspect.getsource(rl.resnet_v1).split('"""')[::2]))

# %% [markdown]
# An untrained network knows nothing. With ten classes, a guess of 10 % for each has a loss of ln 10. Is yours near that? Batch normalisation
# has two modes: in training it takes mean and variance from the batch, in inference the moving averages that it has gathered. Look at both:

# %% tags=["nbval-approx", "shows-loss"]
for training in (True, False):
    probabilities = yours(pictures, training=training)
    losses = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
    print(f"training={training}: loss {float(keras.ops.mean(losses)):.2f}, ln 10: {np.log(10):.2f}")

# %% [markdown]
# The first loss is worse than that of an even guess: the stream has grown from block to block, as in notebook 1, so random weights in the head give
# confident, random answers. The second one shows what happens when BN's moving averages do not belong to the weights. Here they have never been measured:
# they are still 0 and 1, nothing is normalised, and the answers are worse. Remember it for the loss plot below.
#
# ## The network as a picture
#
# Drawn from the live model of the library, whose layers have the names that the drawing goes by: a row for each stage, a box for each block, and its skip as an arc.

# %%
rl.plots.block(library)

# %% [markdown]
# "/2" means a stride of 2: the layer halves height and width.
# Follow the arrows from row to row: every arc ends in an addition, the circle, and only the first arcs of stages 2 and 3 go through a 1x1 convolution,
# where the shape changes. All other skips are identities.
#
# The feature maps, too, are drawn from the live model and not from a table:

# %% tags=["figure-feature-maps"]
rl.plots.feature_maps(library)

# %% [markdown]
# Each box is what a stage outputs. Height and channels have the same scale; width goes back, foreshortened. From stage to
# stage, height and width halve while the channels double, so the volume halves. A kernel is then applied at a quarter of the places, but has
# four times the weights: an identity block costs the same number of multiply-adds in every stage.

# %%
for stage, reach in rl.receptive_field(library).items():
    print(f"{stage}: one pixel sees {reach} pixels of the image across")

# %% [markdown]
# That is the **receptive field**. At the end of stage 2 it is 37 pixels across, wider than the image: a pixel in the middle
# of that feature map depends on the whole image.

# %% [markdown]
# ### Exercise: find the fault
#
# *Medium, 8 minutes.*
# The builder in the next cell is somebody's own. It raises no error, it has nearly as many parameters as it should, its epochs are pleasantly fast, and its accuracy
# stays some points behind what others report. Faults of this kind stand in published code. Run the cell and the one behind it, which
# shows the symptom; then find the line, and repair the function in place.


# %% tags=["exercise-03-fault-stride"]
def fast_resnet(depth, block):
    """Return the network of depth 6n+2 whose blocks are `block`."""
    inputs = keras.Input((32, 32, 3))
    x = rl.blocks.convolution(inputs, 16, name="stem_conv")
    x = rl.blocks.bn_relu(x, name="stem")
    for stage, filters in enumerate((16, 32, 64), start=1):
        x = rl.blocks.stack(x, filters, (depth - 2) // 6, block, name=f"stage{stage}")
    return keras.Model(inputs, rl.blocks.head(x, 10))


# %%
theirs = fast_resnet(20, rl.blocks.basic_block)
for name, model in {"the library's": library, "this one": theirs}.items():
    cost, trainable = rl.count_multiply_adds(model), rl.count_parameters(model).trainable
    print(f"{name:14}{trainable:>9,} trainable parameters{cost:>12,} multiply-adds")

# %%
rl.exercises.check("03-fault-stride", fast_resnet)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def fast_resnet(depth, block):
#     """Return the network of depth 6n+2 whose blocks are `block`."""
#     inputs = keras.Input((32, 32, 3))
#     x = rl.blocks.convolution(inputs, 16, name="stem_conv")
#     x = rl.blocks.bn_relu(x, name="stem")
#     for stage, filters in enumerate((16, 32, 64), start=1):
#         strides = 1 if stage == 1 else 2
#         x = rl.blocks.stack(
#             x, filters, (depth - 2) // 6, block, strides=strides, name=f"stage{stage}"
#         )
#     return keras.Model(inputs, rl.blocks.head(x, 10))
# ```
#
# The library's `stack` has a stride of 2 unless told otherwise, so stage 1 halved the picture as well. Every stage then works on a quarter of the pixels. No shape is wrong enough for an error, because the head
# takes the mean of whatever comes.
#
# </details>

# %% [markdown]
# ## Table 6, recomputed
#
# The paper prints the parameters of six networks. The `form="paper"` builds them as the paper has them: shortcut A, no bias in the
# convolutions. ResNet-1202 takes some ten seconds to build. It is not run, only counted. "Parameters" are the trainable ones here and in all tables of this notebook.

# %%
print("depth   n   counted      printed   test error in the paper")
for row in rl.paper.TABLE_6.rows:
    model = rl.resnet_v1((32, 32, 3), row.depth, form="paper")
    count = rl.count_parameters(model).trainable
    print(f"{row.depth:5} {n_of(row.depth):3} {count:10,} {row.parameters:8} M {row.error:10.2f} %")

# %% [markdown]
# Every printed number is the counted one, rounded. The error of ResNet-110 is the best of five runs. ResNet-1202 trains
# well and still tests worse than ResNet-110; the paper takes that for overfitting: 19 million parameters for 50,000
# pictures.
#
# ## Three networks called "ResNet-20, 0.27 M"
#
# Search for ResNet-20 and you find three different numbers of parameters, each rounded to 0.27 million. They belong to three forms. `"standard"` is what you have built, and what many PyTorch
# reproductions use. `"example"` is the widely copied Keras CIFAR-10 example [2], and the form that `rl.resnet_v1` builds unless told otherwise.
# Which of them is the paper's? ResNet-56 decides, because there the forms round differently:

# %%
FORMS = ("paper", "standard", "example")
forms = {form: rl.resnet_v1((32, 32, 3), 20, form=form) for form in FORMS}
for form, model in forms.items():
    millions = rl.count_parameters(rl.resnet_v1((32, 32, 3), 56, form=form)).trainable / 1e6
    trainable = rl.count_parameters(model).trainable
    print(f"{form:>8}: ResNet-20 {trainable:,}, ResNet-56 {millions:.2f} million")
print("   paper: printed for ResNet-56:", rl.paper.TABLE_6.row(56).parameters, "million")

# %% [markdown]
# Take the three of depth 20 apart, by what the parameters are for:


# %%
def anatomy(model):
    parts = dict.fromkeys(("kernels", "projections", "biases", "BN", "dense"), 0)
    for weight in model.trainable_weights:
        layer, name = weight.path.split("/")
        kind = {"gamma": "BN", "beta": "BN", "bias": "biases"}.get(name, "kernels")
        kind = "projections" if kind == "kernels" and "shortcut" in layer else kind
        parts["dense" if "dense" in layer else kind] += int(np.prod(weight.shape))
    return parts


parts = {form: anatomy(model) for form, model in forms.items()}
print(f"{'':12}" + "".join(f"{form:>10}" for form in FORMS))
for part in parts["paper"]:
    print(f"{part:12}" + "".join(f"{parts[form][part]:10,}" for form in FORMS))

# %% [markdown]
# Kernels and dense layer are the same in all three. The differences:
#
# - **projections**: shortcut A has none. B has two, at the starts of stages 2 and 3.
# - **BN**: in the form "standard", each projection has a BN of its own, which brings a scale and a shift for each channel. In
#   "example" it has none.
# - **biases**: "example" has one for each output channel of each convolution.
#
# One difference has no parameters. In "example", and only there, the loss also contains 0.0001 times the sum of the squares of all
# convolution weights: L2 regularisation.

# %% [markdown]
# ### Exercise: count the biases
#
# *Medium, 8 minutes.*
# In the form `"example"` each convolution has biases, one for each channel that it outputs, and the shortcuts of stages 2
# and 3 begin with a projection, a convolution too.
# How many bias values do the convolutions of ResNet-32 have, all together? For ResNet-20 the table says 784, so that you can try your way of counting.

# %% tags=["exercise-03-biases"]
biases = ...

# %%
rl.exercises.check("03-biases", biases)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# n = (32 - 2) // 6
# stem = 16
# stages = 2 * n * 16 + 2 * n * 32 + 2 * n * 64
# projections = 32 + 64
# biases = stem + stages + projections
# ```
#
# One for each output channel: the stem, two convolutions in each block, and the two projections.
#
# </details>

# %% [markdown]
# What are these biases good for?
#
# **Predict.** Take all biases of the form "example" that have a BN behind them, 688 of the 784, and set them to large random numbers. By how much
# does a probability change in training mode, at most?

# %%
rl.exercises.predict("03-constant", ...)  # The largest change of a probability.

# %% tags=["answer", "nbval-approx"]
example = forms["example"]
before = np.asarray(example(pictures, training=True))
rng, changed = np.random.default_rng(0), 0
for layer in example.layers:
    if isinstance(layer, layers.Conv2D) and "shortcut" not in layer.name:
        layer.bias.assign(rng.normal(scale=3, size=layer.filters))
        changed += layer.filters
after = np.asarray(example(pictures, training=True))
print(f"{changed} of {parts['example']['biases']} biases changed")
rl.exercises.compare("03-constant", measured=f"{abs(after - before).max():.4f}")

# %% [markdown]
# They do nothing, because the BN behind them subtracts the mean of each channel, and the bias with it. Only the 96 biases of the two projections, which have no BN in this
# form, have an effect.
#
# Look at other depths and forms. Where you can run the next cell, it shows controls.

# %%
rl.explorers.networks(form="standard")

# %% [markdown]
# Above stand the feature maps, below the first block of stage 2. Depth repeats blocks: it changes the parameters and the multiply-adds, and neither a shape nor the
# block. The form changes the block.
#
# ## Train it
#
# A recipe is everything that decides a training run apart from the network and the pictures. It is data: print it. The recipe of the
# Keras example is Adam at a learning rate that falls in steps, batches of 32, the mean image subtracted, random crops and flips, where the example itself shifts in place of cropping. `reduce_on_plateau` lowers the rate when the loss stands still. The example installs it, and its schedule
# then overrides it in every epoch. Pass over the lines that say `None`, `False` or 0: they belong to a second recipe, which you meet below.

# %%
print(rl.recipes.EXAMPLE)

# %% [markdown]
# The example's code says of its rate: 0.001, a tenth of it `if epoch > 80`, a hundredth `if epoch > 120`, a thousandth `if epoch > 160`, and half of that `if epoch > 180`. Keras counts epochs from 0.
#
# **Predict.** Which rate has epoch 80, and which rate has epoch 81?

# %%
rl.exercises.predict("03-rate", ...)  # Two rates: (epoch 80, epoch 81).

# %% tags=["answer"]
rate = rl.recipes.EXAMPLE.learning_rate
for epoch in (80, 120, 160, 180):
    print(f"epoch {epoch}: {rate(epoch):.0e}   epoch {epoch + 1}: {rate(epoch + 1):.0e}")
rl.exercises.compare("03-rate", measured=(rate(80), rate(81)))

# %% [markdown]
# 80 is not more than 80, and epoch 80 is the 81st of the run: the rate stays at 0.001 for 81 epochs of 200. Then it falls to a tenth, again, again, and a last time by half:

# %%
rl.plots.learning_rate(rl.recipes.EXAMPLE)

# %% [markdown]
# The vertical axis is logarithmic, so equal steps are equal factors.
#
# 200 epochs of CIFAR-10 take many hours without a GPU. Much of the accuracy arrives after the rate has fallen; so a schedule for few epochs
# has to bring its rate down within them. One that does is called one-cycle: a straight line up, so that the first steps do no harm,
# then a straight line down to zero, a little at each step.

# %%
EPOCHS = 6 if rl.profile() == "quick" else 20
recipe = replace(
    rl.recipes.ONE_CYCLE, epochs=EPOCHS, batch_size=64, peak=0.2, augment=False, sizes=((1, 1),)
)
rl.plots.learning_rate(recipe)

# %% [markdown]
# Its peak of 0.2 cannot be compared with the example's 0.001. A step of Adam is about as long as the rate, however large the gradient is;
# a step of SGD is the rate times the gradient.
#
# The other differences stand in the printed recipe. `warmup` is the share of the steps in which the rate rises to its `peak`, `anneal` how it
# falls from there. `momentum` with `nesterov` is how SGD remembers earlier gradients. `weight_decay` draws the kernels
# towards zero; `"gradient"` is one of notebook 6's three definitions. `bn_momentum` of 0.9 lets BN's
# statistics follow within a short run. `normalize` is by channel. `flip_test` also asks about the mirror
# image of each test picture. `augment=False` switches off crops and flips, and `sizes`
# the small pictures at the start: so few epochs of drawn shapes get further without.
# All after `flip_test` is off in both, but for `translation`, the crops' reach.

# %%
print(recipe)

# %% [markdown]
# Train your network on the drawn shapes. The picture grows with the run; the rate to come is dotted.

# %%
run = rl.train(yours, shapes, recipe)
print(run.record["model"]["name"], "trained on", run.source)

# %%
rl.plots.loss(run)

# %% [markdown]
# Left: the loss on the training images, which contains the decay's penalty, falls from epoch to epoch. The loss on the validation images, which
# the network does not train on, jumps about while the rate is high; as the rate falls to zero, it comes down to the training loss. An arrow with a number stands for a value far above the axis. Right: the
# same for the accuracy.
#
# Such a jump can be a spike many times the height of the curve. Training normalises by the batch at hand, validation by moving averages over the last
# batches. While the rate is high the weights move fast, and the averages lag behind: they describe weights that have gone. You have seen the extreme case above,
# averages that had nothing to do with the weights. Once the steps get shorter the averages catch up, and the spikes stop.

# %% tags=["nbval-accuracy"]
results = run.record["results"]
print(f"test accuracy of the last epoch: {results['test_accuracy_last']:.1%}")
print(f"test accuracy of the best epoch: {results['test_accuracy_best']:.1%}")
print("the best epoch was chosen on the", results["chosen_on"], "images")
print("kept in the record:", *results)

# %% [markdown]
# The record keeps both: the accuracy of the last epoch, and that of the weights which were best on the *validation* images. `test_confusion` counts which
# class was taken for which; notebook 7 draws it. Much copied code chooses the best epoch on the *test* images instead. What does that do? Let 200 "epochs" guess the classes at random, and choose the best of them:

# %%
rng = np.random.default_rng(0)
guesses = rng.integers(10, size=(200, 1000))
correct = (guesses == shapes.test.labels).mean(axis=1)
print(f"mean of 200 epochs that guess: {correct.mean():.1%}")
print(f"the best of them on the test images: {correct.max():.1%}")

# %% [markdown]
# ### Exercise: choose a run
#
# *Medium, 6 minutes.*
# Two runs of 200 epochs on the same pictures, with three test accuracies each:
#
# | run | last epoch | epoch that is best on validation | highest of all epochs on test |
# |---|---|---|---|
# | A | 90.2 % | 91.0 % | 92.4 % |
# | B | 91.8 % | 91.7 % | 91.9 % |
#
# Which of the two would you ship, and which accuracy in per cent may you promise for it? Answer with a letter and a number, such as `("A", 95.0)`.

# %% tags=["exercise-03-report"]
shipped = ...

# %%
rl.exercises.check("03-report", shipped)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# shipped = ("B", 91.8)
# ```
#
# Two figures of three speak for B, and the third is chosen by the very pictures that it is measured on. 91.7 % may be promised as well: the validation pictures chose that epoch, and the test pictures had no part in it.
#
# </details>

# %% [markdown]
# Nothing was kept on disk here. With `out="runs/first"`, the run's folder holds the record, the model and its checkpoints.
# From a terminal, on CIFAR-10:
#
#     python -m resnet_lib train --model resnet20v1 --dataset cifar10 --recipe one-cycle --minutes 30 --out runs/first
#
# `--minutes` measures your machine for some seconds and takes as many epochs as fit. Stop it with Ctrl-C whenever you like; the same command with
# `--resume` goes on after the last finished epoch.
#
# The trained model takes pictures of 0 to 255 as they are; the scaling and the normalisation are inside.

# %%
some = np.random.default_rng(1).choice(len(shapes.test), 10, replace=False)
probabilities = run.model.predict(shapes.test.images[some], verbose=0)
rl.plots.images(
    shapes.test.images[some],
    [
        f"{shapes.class_names[guess]}\n({shapes.class_names[truth]})"
        for guess, truth in zip(probabilities.argmax(axis=1), shapes.test.labels[some], strict=True)
    ],
    alt="Ten test pictures of shapes, each under the network's name for it and the true one.",
)

# %% [markdown]
# Each picture stands under the name that your network gives it, and then the true one.
#
# ## Summary
#
# - 6n+2: a stem, three stages of n blocks of two convolutions, a dense layer. ResNet-56 has n = 9.
# - Table 6 counts trainable parameters, with shortcut A and without biases. All six numbers come out.
# - "standard" adds projections with BN; "example" adds projections and biases. Biases before a BN do nothing.
# - Height and width halve, channels double, and every identity block costs the same.
# - A short run must bring its learning rate down too. Choose on validation, report the last epoch as well.

# %% [markdown]
# ## Project: a quarter of the work
#
# *Hard, 60 minutes.*
# Your ResNet-20 needs 40.8 million multiply-adds for a picture, and 30,000 pictures were shown to it: 1,224 billion multiply-adds, forwards. How near can a network and a recipe of your own come with a quarter?
#
# Write a function without arguments that returns both: a network from 32x32x3 to ten probabilities, and a recipe such as the one above. The check trains it on 8,000 drawn shapes and measures its accuracy on 1,000 others.
# Multiply-adds for a picture times 8,000 times the epochs may be at most 300 billion, 300e9. Wanted are at least **80 %**; the record here is 86.8 %, where your ResNet-20 has about 88 %. The check takes about half a minute on two cores.
# Try yours out first, with `rl.train` and `rl.count_multiply_adds`.


# %% tags=["exercise-03-project"]
def my_network():
    """Return (network, recipe)."""
    ...


# %%
rl.exercises.check("03-project", my_network)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def my_network():
#     """Return (network, recipe)."""
#     inputs = keras.Input((32, 32, 3))
#     x = rl.blocks.convolution(inputs, 16, 3, strides=2, name="stem_conv")
#     x = rl.blocks.bn_relu(x, name="stem")
#     for stage, filters in ((1, 16), (2, 32), (3, 64)):
#         strides = 1 if stage == 1 else 2
#         x = rl.blocks.stack(
#             x, filters, 1, rl.blocks.basic_block, strides=strides, name=f"stage{stage}"
#         )
#     recipe = replace(
#         rl.recipes.ONE_CYCLE, epochs=10, batch_size=64, peak=0.2, augment=False, sizes=((1, 1),)
#     )
#     return keras.Model(inputs, rl.blocks.head(x, 10)), recipe
# ```
#
# The stem halves the picture, and each stage has a single block: 3.1 million multiply-adds a picture. That pays for ten epochs of 8,000 pictures. For small pictures with large shapes, seeing more of them is worth more
# than looking longer at each.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: [*Deep Residual Learning for Image Recognition*](https://arxiv.org/abs/1512.03385), 2015.
# 2. The Keras authors: [*Trains a ResNet on the CIFAR10 dataset*](https://github.com/keras-team/keras/blob/2.3.1/examples/cifar10_resnet.py), the example that most copies come from.

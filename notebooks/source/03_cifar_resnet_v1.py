# %% [markdown]
# # 3. The CIFAR ResNet, version 1
#
# Afterwards you can
#
# - build ResNet-20, 32, 44, 56, 110 and 1202, and explain the depth formula 6n+2;
# - recompute the parameters of the paper's table 6 and explain every difference in parameters between the three
#   forms in use;
# - read a feature-map figure, a loss plot and a learning-rate plot;
# - train ResNet-20 and say what its record tells you.
# ("Version 2", in notebook 4, puts the layers of a block into another order.)
#
# You need notebooks 1 and 2. Reading takes about half an hour; running every cell takes about a minute and a half on a CPU with 2 cores.

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
# Add up the last column: **6n + 2**. Projections are not counted.
#
# ## Grow it stage by stage
#
# Start with n = 3. The stem first.

# %% tags=["shows-shape"]
inputs = keras.Input((32, 32, 3))
x = rl.blocks.convolution(inputs, 16, name="stem_conv")
x = rl.blocks.bn_relu(x, name="stem")
print(x.shape[1:])

# %% [markdown]
# Stage 1. The shape stays, so the three blocks are identity blocks.

# %%
for block in (1, 2, 3):
    x = rl.blocks.basic_block(x, 16, name=f"stage1_block{block}")
print(x.shape[1:])

# %% [markdown]
# Stages 2 and 3. The first block of each halves the picture and doubles the channels: a projection block. The other two
# are identity blocks.

# %%
for stage, filters in ((2, 32), (3, 64)):
    for block in (1, 2, 3):
        strides = 2 if block == 1 else 1
        x = rl.blocks.basic_block(x, filters, strides, name=f"stage{stage}_block{block}")
    print(x.shape[1:])

# %% [markdown]
# The head takes the mean over the 8x8 pixels of each channel, then a dense layer and softmax. Much copied code has
# `AveragePooling2D(8)` and `Flatten` here. For 32x32 pictures that is the same, but it fixes the size of the
# picture; `GlobalAveragePooling2D` does not.

# %% tags=["shows-parameters"]
x = layers.GlobalAveragePooling2D(name="head_pool")(x)
outputs = layers.Dense(10, activation="softmax", name="head_dense")(x)
by_hand = keras.Model(inputs, outputs, name="by_hand")
print(rl.count_parameters(by_hand))

# %% [markdown]
# An untrained network knows nothing. With ten classes, a guess of 10 % for each has a loss of ln 10. Is yours near that? (`form="standard"` is the network that you have just built; more on forms below.)

# %%
shapes = rl.datasets.shapes(train=5000, validation=500, test=1000)
shapes

# %% tags=["nbval-approx", "shows-loss"]
keras.utils.set_random_seed(0)
untrained = rl.resnet_v1((32, 32, 3), depth=20, form="standard")
pictures, labels = shapes.test.images[:100] / 255, shapes.test.labels[:100]
loss = keras.losses.sparse_categorical_crossentropy(labels, untrained(pictures, training=True))
print(f"loss of an untrained network: {float(loss.numpy().mean()):.3f}, ln 10: {np.log(10):.3f}")

# %% [markdown]
# That is worse than an even guess: the stream has grown from block to block (notebook 1), so random weights in the head give
# confident, random answers. A loss of 10, or not a number, would point to a mistake in the network or in the scaling of the pictures.
#
# ## The library's builder
#
# `rl.resnet_v1` with `form="standard"` does what you have just done. Here it is, without its docstring: the stem, three stages, the
# head. Its first lines find n and look up the form, which says whether convolutions have biases and which shortcut there is; more on
# forms below. `partial(f, a=1)` is the function `f` with `a=1` given already: convolution and block are settled once, so that a line
# of a stage says only what is its own, channels and blocks.

# %%
print("".join(inspect.getsource(rl.resnet_v1).split('"""')[::2]))

# %% [markdown]
# `stack` is your loop over the blocks of a stage. Its first block has the stride, and may be of another kind, `first`; each of the others
# keeps the shape. That `filters` may be two numbers, and `first`, will be of use in notebook 4.

# %%
print("".join(inspect.getsource(rl.blocks.stack).split('"""')[::2]))

# %% [markdown]
# Is it the network that you grew? The same weights must give the same output.

# %%
library = rl.resnet_v1((32, 32, 3), depth=20, form="standard")
rng = np.random.default_rng(0)
by_hand.set_weights([rng.uniform(0.1, 0.2, w.shape) for w in by_hand.get_weights()])
library.set_weights(by_hand.get_weights())
for training in (True, False):
    a, b = (np.asarray(model(pictures, training=training)) for model in (by_hand, library))
    print(f"training={training}: equal to within 1e-5: {np.allclose(a, b, rtol=1e-5)}")

# %% [markdown]
# ## The picture of it
#
# Drawn from the live model: a row for each stage, a box for each block, and its skip as an arc.

# %%
rl.plots.block(library)

# %% [markdown]
# Follow the arrows from row to row: every arc ends in an addition, the circle, and only the first arcs of stages 2 and 3 go through a 1x1 convolution,
# where the shape changes. All other skips are identities.
#
# ## The feature maps
#
# This figure, too, is drawn from the live model, not from a table:

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
#
# ## ResNet-56, read aloud
#
# **Predict.** Which n makes a ResNet-56? How many blocks, and how many convolutions in blocks?

# %%
rl.exercises.predict("03-resnet56", ...)  # Three numbers: (n, blocks, convolutions in blocks).

# %% tags=["answer"]
resnet56 = rl.resnet_v1((32, 32, 3), depth=56)
for stage in rl.feature_maps(resnet56):
    print(stage)

# %% tags=["answer"]
n = (56 - 2) // 6
in_blocks = [x.name for x in resnet56.layers if "block" in x.name and "_conv" in x.name]
counted = [name for name in in_blocks if "shortcut" not in name]
print(f"n = {n}: 3 stacks of {n} blocks of 2 convolutions = {3 * n * 2}")
print(f"in the live model: {len(counted)}, and 2 more layers with weights: stem and head")
additions = [x.name for x in resnet56.layers if isinstance(x, layers.Add)]
rl.exercises.compare("03-resnet56", counted=(n, len(additions), len(counted)))

# %% [markdown]
# So a ResNet-56 is 3 stacks of 9 blocks of 2 convolutions, a first convolution and a dense layer. Valid depths go up in steps
# of six. Ask for another and you are told the nearest:

# %%
try:
    rl.resnet_v1((32, 32, 3), depth=100)
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# (50 is valid: 6 x 8 + 2. The network of this plan with 50 layers is *not* the famous ResNet-50, which has four stages of
# bottleneck blocks and 25 million parameters. Depth alone says little.)
#
# Try other depths, and forms and the plain network, which come up in this notebook and the next:

# %%
rl.explorers.networks()

# %% [markdown]
# Above stand the feature maps, below the first block of stage 2. Depth repeats blocks: it changes the parameters and the multiply-adds, and neither a shape nor the
# block. The form changes the block.
#
# ## Table 6, recomputed
#
# The paper prints the parameters of six networks. The `form="paper"` builds them as the paper has them: shortcut A, no bias in the
# convolutions.
#
# ResNet-1202 takes some ten seconds to build. It is not run, only counted.

# %%
print("depth   n   counted      printed   test error in the paper")
for row in rl.paper.TABLE_6.rows:
    model = rl.resnet_v1((32, 32, 3), row.depth, form="paper")
    count = rl.count_parameters(model).trainable
    n = (row.depth - 2) // 6
    print(f"{row.depth:5} {n:3} {count:10,} {row.parameters:8} M {row.error:10.2f} %")

# %% [markdown]
# Every printed number is the counted one, rounded. At 20 layers that proves little: other ways of building it round to 0.27 M as well,
# as you will see. (The error of ResNet-110 is the best of five runs. ResNet-1202 trains
# well and still tests worse than ResNet-110; the paper takes that for overfitting: 19 million parameters for 50,000
# pictures.)
#
# ## Three networks called "ResNet-20, 0.27 M"
#
# Search for ResNet-20 and you find three different numbers of parameters, each rounded to 0.27 M. They belong to three forms:

# %%
FORMS = ("paper", "standard", "example")
forms = {form: rl.resnet_v1((32, 32, 3), 20, form=form) for form in FORMS}
for form, model in forms.items():
    print(f"{form:>8}: {rl.count_parameters(model)}")

# %% [markdown]
# `"standard"` is what many PyTorch reproductions use. `"example"` is the widely copied Keras CIFAR-10 example. Many pages quote its *total*, with the moving statistics of BN, which are not trained.
#
# Which of them is the paper's? ResNet-56 decides, because there the forms round differently:

# %%
for form in FORMS:
    millions = rl.count_parameters(rl.resnet_v1((32, 32, 3), 56, form=form)).trainable / 1e6
    print(f"ResNet-56, {form:>8}: {millions:.4f}, rounded {millions:.2f} million")
print("printed in the paper:", rl.paper.TABLE_6.row(56).parameters, "million")

# %% [markdown]
# Take each network apart, by what the parameters are for.


# %%
def anatomy(model):
    parts = dict.fromkeys(("kernels", "projections", "biases", "BN", "dense"), 0)
    for layer in model.layers:
        if isinstance(layer, layers.Conv2D):
            part = "projections" if "shortcut" in layer.name else "kernels"
            parts[part] += int(np.prod(layer.kernel.shape))
            parts["biases"] += layer.filters if layer.use_bias else 0
        elif isinstance(layer, layers.BatchNormalization):
            parts["BN"] += 2 * layer.gamma.shape[0]
        elif isinstance(layer, layers.Dense):
            parts["dense"] += layer.count_params()
    return parts


parts = {form: anatomy(model) for form, model in forms.items()}
print(f"{'':12}" + "".join(f"{form:>10}" for form in FORMS))
for part in parts["paper"]:
    print(f"{part:12}" + "".join(f"{parts[form][part]:10,}" for form in FORMS))
print(f"{'trainable':12}" + "".join(f"{sum(parts[form].values()):10,}" for form in FORMS))

# %% [markdown]
# Kernels and dense layer are the same in all three. The differences, number by number:
#
# - **projections**: shortcut A has none. B has two, at the starts of stages 2 and 3.
# - **BN**: in the form "standard", each projection has a BN of its own, which brings a scale and a shift for each channel. In
#   "example" it has none.
# - **biases**: "example" has one for each output channel of each convolution. They do nothing, because the BN behind them
#   subtracts them again; only the biases of the two projections, which have no BN, have an effect.
#
# One difference has no parameters. In "example", and only there, the loss also contains 0.0001 times the sum of the squares of all
# convolution weights (L2 regularisation). "example" is the form that `rl.resnet_v1` builds unless told otherwise.
#
# Check the arithmetic:

# %%
kernels_of_projections = 16 * 32 + 32 * 64
bn_of_projections = 2 * (32 + 64)
biases = 16 + 6 * (16 + 32 + 64) + (32 + 64)
count = {form: rl.count_parameters(model).trainable for form, model in forms.items()}
print(count["standard"] - count["paper"], "=", kernels_of_projections + bn_of_projections)
print(count["example"] - count["paper"], "=", kernels_of_projections + biases)

# %% [markdown]
# **Predict.** You add a constant to a bias that stands before a BN. What changes in the output? Try it: set all the biases of the
# form "example" that have a BN behind them to large random numbers, and compare outputs in training mode.

# %%
rl.exercises.predict("03-constant", ...)  # The largest change of a probability.

# %% tags=["answer", "nbval-approx"]
example = forms["example"]
before = np.asarray(example(pictures, training=True))
rng = np.random.default_rng(0)
for layer in example.layers:
    if isinstance(layer, layers.Conv2D) and "shortcut" not in layer.name:
        layer.bias.assign(rng.normal(scale=3, size=layer.filters))
after = np.asarray(example(pictures, training=True))
rl.exercises.compare("03-constant", measured=f"{abs(after - before).max():.4f}")

# %% [markdown]
# ## Train it
#
# A recipe is everything that decides a training run apart from the network and the pictures. It is data: print it. The recipe of the
# Keras example is Adam at a learning rate that falls in steps, batches of 32, the mean image subtracted, random crops and flips (crops in
# place of the example's shifts). `reduce_on_plateau` lowers the rate when the loss stands still. The example installs it, and its schedule
# then overrides it in every epoch. Pass over the lines that say `None`, `False` or 0: they belong to a second recipe, which you meet below.

# %%
print(rl.recipes.EXAMPLE)

# %%
rl.plots.learning_rate(rl.recipes.EXAMPLE)

# %% [markdown]
# The rate stays at 0.001 for 81 epochs of 200, falls to a tenth, again, again, and a last time by half. The vertical axis is
# logarithmic, so equal steps are equal factors.
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
# towards zero, as L2 regularisation does; `"gradient"` says which of three definitions is meant (`help(rl.recipes.WeightDecay)`). `bn_momentum` is 0.9, so that the
# statistics of the BN layers follow within a short run. `normalize` is by channel. `flip_test` also asks the trained network about the mirror
# image of each test picture. `ema`, an average of the weights over the steps, is not used. `augment=False` switches off crops and flips, whatever `flip` and `padding` say, and `sizes`
# the small pictures at the start: so few epochs of drawn shapes get further without.

# %%
print(recipe)

# %% [markdown]
# Train on the drawn shapes. The picture grows with the run; the rate to come is dotted.

# %%
keras.utils.set_random_seed(0)
model = rl.resnet_v1((32, 32, 3), depth=20, form="standard")
run = rl.train(model, shapes, recipe)
print(run.record["model"]["name"], "trained on", run.source)

# %%
rl.plots.loss(run)

# %% [markdown]
# Left: the loss on the training images (with the decay's penalty in it) falls from epoch to epoch. The loss on the validation images, which
# the network does not train on, jumps about while the rate is high; as the rate falls to zero, it comes down to the training loss. Right: the
# same for the accuracy.

# %% tags=["nbval-accuracy"]
results = run.record["results"]
print(f"test accuracy of the last epoch: {results['test_accuracy_last']:.1%}")
print(f"test accuracy of the best epoch: {results['test_accuracy_best']:.1%}")
print("the best epoch was chosen on the", results["chosen_on"], "images")
print("kept in the record:", *results)

# %% [markdown]
# The record keeps both: the accuracy of the last epoch, and that of the weights which were best on the *validation* images. (`test_confusion` counts which
# class was taken for which; notebook 5 draws it.)
# Choosing the best epoch on the *test* images, as much copied code does, makes the number look better than it is.
#
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
# ## Exercises
#
# Each exercise has a cell for your answer and a cell that checks it. The check names a mistake, not the answer.
# For a hint, run `rl.exercises.hint("03-blocks")` in a cell of your own, and run it again for a further one.
#
# ### Exercise 1: what n counts
#
# *Easy, 5 minutes.*
# ResNet-74 would be a network of 6n+2 layers. How many blocks has each stage, how many blocks are there in all, and how many
# convolutions does the 74 count? Answer with a tuple of three numbers, in this order.

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
# Projections have weights, but stand beside the main path and are not counted.
#
# </details>

# %% [markdown]
# ### Exercise 2: needless biases
#
# *Medium, 8 minutes.*
# In the form `"example"` each convolution has biases, one for each channel that it outputs, and the shortcuts of stages 2
# and 3 begin with a projection, a convolution too.
# How many bias values do the convolutions of ResNet-32 have, all together?

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
# Batch normalisation subtracts the mean of each channel, and the bias with it. Only the projections' biases have an effect,
# because in this form no batch normalisation follows them.
#
# </details>

# %% [markdown]
# ### Exercise 3: which depths exist
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
# Yours, if it is correct, or the library's:

# %%
n_of = rl.exercises.answer("03-depth")
print({depth: n_of(depth) for depth in (20, 50, 56, 57, 110, 1202)})

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
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 2. The Keras authors: *Trains a ResNet on the CIFAR10 dataset* (cifar10_resnet.py), the example that most copies come from.

# %% [markdown]
# # 6. Train for real
#
# Afterwards you can
#
# - train a residual network on CIFAR-10 within the time that you have;
# - write the augmentation, a schedule and a training loop;
# - tell the three meanings of weight decay apart;
# - go on with a run that was cut off, and see from its losses what a run lacks;
# - measure what mixed precision and XLA change.
#
# You need notebooks 1 to 4. Reading and the tasks take about two and a half hours; running every cell takes about two minutes on 2 cores.

# %%
import resnet_lib as rl

import os
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import keras
import numpy as np

# %% [markdown]
# As it stands, this notebook trains on the drawn shapes, for less than a minute, and writes to a temporary folder. In the *full* profile it trains on
# CIFAR-10 [1], 162 MiB to download unless `RESNET_LIB_DATA` names a folder with it, and keeps the run in the folder `runs`.
# For that, put `rl.set_profile("full")` at the end of the cell above and your minutes into the next one; or run the notebook as it is from a terminal:
#
#     RESNET_LIB_PROFILE=full RESNET_LIB_MINUTES=30 jupyter execute --output=trained 06_full_training.ipynb

# %%
FULL = rl.profile() == "full"
MINUTES = os.environ.get("RESNET_LIB_MINUTES")  # In the full profile. None: the whole recipe.
if FULL:
    data = rl.datasets.cifar10()
    folder = Path("runs", time.strftime("%Y-%m-%d-%H%M%S"))
else:
    data = rl.datasets.shapes(train=5000, validation=500)
    folder = Path(tempfile.mkdtemp())
few = rl.datasets.shapes(train=1000, validation=100, test=100)
data

# %% [markdown]
# ## What the network is shown
#
# In a real run, a picture is hardly ever shown in the same way twice. Each epoch changes each training picture a little: it is padded by an eighth of its side, cut back to its
# size at a random place, and in half of the cases mirrored. That is **augmentation**. The paper does the same on CIFAR-10, with 4 pixels on each side of 32 [2, section 4.2].

# %% [markdown]
# ### Exercise: pad, crop and flip
#
# *Easy, 8 minutes.*
# Write `crop_and_flip(picture, top, left, mirrored)`. `picture` is a uint8 array of shape (height, width, 3). Pad it with 4 rows or columns of zeros on each of its four sides;
# cut the window of the picture's own height and width whose upper left corner is in row `top` and column `left` of the padded picture; and if `mirrored` is true, exchange
# left and right in the window. Return the window.
#
# `top` and `left` are whole numbers from 0 to 8. Chance has chosen all three already; your function does what they say.


# %% tags=["exercise-06-crop"]
def crop_and_flip(picture, top, left, mirrored):
    """Return the window of a padded picture that begins at (top, left), mirrored or not."""
    ...


# %%
rl.exercises.check("06-crop", crop_and_flip)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def crop_and_flip(picture, top, left, mirrored):
#     """Return the window of a padded picture that begins at (top, left), mirrored or not."""
#     height, width = picture.shape[:2]
#     padded = np.pad(picture, ((4, 4), (4, 4), (0, 0)))
#     window = padded[top : top + height, left : left + width]
#     return window[:, ::-1] if mirrored else window
# ```
#
# The last pair of `np.pad` stands for the colours, which are not padded. With `top = left = 4` the window is the picture itself. The library does the same to a whole batch at
# once, in `rl.augment.pad_crop_flip`.
#
# </details>

# %% [markdown]
# Which window it is follows from three numbers: the seed, the epoch, and the picture's number in the data set. Here is picture 19 in the first nine epochs, cut by your function or by the library's:

# %%
my_crop = rl.exercises.answer("06-crop")
picture, number = data.train.images[19], np.array([19])
shown = []
for epoch in range(9):
    (top,), (left,), (mirrored,) = rl.augment.offsets(number, epoch=epoch, seed=0)
    shown.append(my_crop(picture, top, left, mirrored))
rl.plots.images(
    np.stack([picture, *shown]),
    ["stored", *(f"epoch {epoch + 1}" for epoch in range(9))],
    alt="A picture as it is stored, and as it is shown in nine epochs: shifted, sometimes mirrored, "
    "with black where the window reaches over the edge.",
)

# %%
batch = rl.augment.pad_crop_flip(picture[np.newaxis], number, epoch=3, seed=0)
print("epoch 4, the same window from the library:", np.array_equal(batch[0], shown[3]))

# %% [markdown]
# On the left is the picture as it is stored. The others are shifted by up to 4 pixels, to a side and up or down, and some are mirrored. Where the window reaches over the edge
# it is black; the recipe `one-cycle` shows a reflection of the picture there.
#
# With 9 x 9 places and 2 directions, the network may meet 162 versions of each picture, and it cannot learn them by heart as easily as one. The class must stay the
# same: a mirrored arrow is an arrow, a mirrored 2 is not a 2. Validation and test pictures are never changed, because they are to say how good the network is at
# pictures as they are.
#
# ## Steps and epochs
#
# A step takes one batch, and an epoch takes every training picture once. The paper gives its schedule in steps, the widely copied Keras example [3] gives its own in epochs.
# Whoever mixes them up gets another run.

# %% [markdown]
# ### Exercise: count steps and epochs
#
# *Easy, 5 minutes.*
# The paper trains for 64,000 steps of 128 pictures and divides its rate by 10 after 32,000 and 48,000 of them. It found this length with
# 45,000 of the 50,000 training pictures. Train on these 45,000, the training part of `rl.datasets.cifar10()`.
# The last batch of an epoch may be smaller than the others. How many steps does an epoch have, how many epochs are needed to reach 64,000 steps, and in which epoch,
# counted from 1, is the rate divided for the first time? Answer with a tuple of three whole numbers, in this order.

# %% tags=["exercise-06-steps"]
paper_run = ...

# %%
rl.exercises.check("06-steps", paper_run)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# steps = int(np.ceil(45_000 / 128))
# epochs = int(np.ceil(64_000 / steps))
# first = 32_000 // steps + 1
# paper_run = (steps, epochs, first)
# ```
#
# 351 batches are full; the last one of an epoch has 72 pictures, and is a step like the others. Counted from 0, the first step with the
# lower rate is step 32,000; `32_000 // steps` epochs are over by then. `rl.recipes.PAPER` trains for as many epochs as you found.
#
# </details>

# %% [markdown]
# ## Three recipes, three schedules
#
# A recipe is everything that decides a run apart from the network and the pictures. Where do the library's three differ?

# %% tags=["answer"]
recipes = (rl.recipes.EXAMPLE, rl.recipes.PAPER, rl.recipes.ONE_CYCLE)
fields = ("name", "epochs", "batch_size", "optimizer", "nesterov", "normalize", "padding")
for field in (*fields, "reduce_on_plateau"):
    print(f"{field:18}" + "".join(f"{getattr(recipe, field)!s:>12}" for recipe in recipes))
for recipe in recipes:
    print(f"\n{recipe.name}: {recipe.source}")
    print("  sizes:", recipe.sizes)
    print("  weight decay:", recipe.weight_decay or "none; networks of the form 'example' bring L2")

# %% [markdown]
# By its `sizes`, one-cycle reduces the pictures to three quarters of their side in the first third of its
# epochs, where they cost little more than half as much. The largest difference is the schedule:

# %% tags=["answer"]
fig, axes = rl.plots.figure(
    "Three line plots of the learning rate by epoch. Example: constant, then four steps down. Paper: "
    "constant, then two steps down. One-cycle: a straight line up, then one down to zero.",
    columns=3,
    size=(10, 2.6),
)
for ax, recipe in zip(axes, recipes, strict=True):
    epochs = np.linspace(0, recipe.epochs, 1000, endpoint=False)
    ax.plot(epochs, [recipe.learning_rate(e if recipe.by_step else int(e)) for e in epochs])
    ax.set_title(f"{recipe.name} ({recipe.optimizer})", fontsize=10)
    ax.set_xlabel("epochs done")
axes[0].set_ylabel("learning rate")
fig

# %% [markdown]
# The example and the paper hold their rate for long and then divide it. One-cycle, after [4], rises over the first quarter and is at
# zero at the end, after 15 epochs or 150: it is made for the time that you have.
#
# Why does it rise? With random weights, gradients change much from step to step, so a large step along one of them leads astray. Why so high? Large steps cover ground, and their noise keeps the
# network from settling early. Why does it fall? That noise also keeps the network from settling at the end, so the last points of accuracy come when the rate falls.
#
# The heights cannot be compared between Adam and SGD; the shapes can. Turn the number of epochs, and see what a short run has of each schedule:

# %% tags=["answer"]
rl.explorers.schedules()

# %% [markdown]
# The height is the share of each one's largest rate. The example and the paper divide at fixed epochs: a run of 100 epochs ends
# after the first division of each, a run of 80 before any.

# %% [markdown]
# ### Exercise: write a rate for any run
#
# *Medium, 10 minutes.*
# Write `rate(step, steps)`: the learning rate of a step, counted from 0, in a run of so many steps.
# Over the first tenth of the steps it rises in a straight line from 0 to `PEAK`; then it follows half a cosine down and is 0 at
# `step == steps`. It need only work for `step` from 0 to `steps`, both int or float; `steps` is a multiple of 10.
# The check calls your function for runs of several lengths.

# %% tags=["exercise-06-rate"]
PEAK = 0.2


def rate(step, steps):
    """Return the learning rate of a step, counted from 0, in a run of so many steps."""
    ...


# %%
rl.exercises.check("06-rate", rate)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# PEAK = 0.2
#
#
# def rate(step, steps):
#     """Return the learning rate of a step, counted from 0, in a run of so many steps."""
#     warm_up = steps / 10
#     if step < warm_up:
#         return PEAK * step / warm_up
#     t = (step - warm_up) / (steps - warm_up)
#     return PEAK * (1 + np.cos(np.pi * t)) / 2
# ```
#
# `t` goes from 0 to 1 in the steps that are left after the warm-up. The cosine goes from 1 to -1; with 1 added, and halved, it goes
# from 1 to 0. `rl.schedules.one_cycle` with `anneal="cosine"` falls in the same way. In its warm-up it counts the steps from 1, because
# a step with a rate of 0 learns nothing.
#
# </details>

# %% [markdown]
# This is your rate, or the library's, over a run of 1,000 steps:

# %%
my_rate = rl.exercises.answer("06-rate")
curve = {"rate(step, 1000)": [my_rate(step, 1000) for step in range(1001)]}
rl.plots.curves(curve, xlabel="step", ylabel="learning rate", first=0)

# %% [markdown]
# ## Three meanings of weight decay
#
# Weight decay draws each weight towards zero a little in each step, so that a network keeps what the loss asks for. "A decay of 1e-4" has three meanings
# in use. Let w be a weight, g its gradient and λ the decay:
#
# - `"loss"`: λw² is added to the loss, and so its derivative to g. Keras' `L2(λ)` does that.
# - `"gradient"`: λw is added to g. PyTorch's `SGD(weight_decay=λ)` does that, and the papers mean it.
# - `"update"`: w becomes w − rate · λw, beside the step that is made of g. Keras' `SGD(weight_decay=λ)` and AdamW do that.
#
# `rl.recipes.WeightDecay` asks for one of these names beside the number.

# %% [markdown]
# ### Exercise: one weight, three decays
#
# *Medium, 12 minutes.*
# A weight begins at w = 1. The loss does not depend on it, so that only the decay moves it, with λ = 0.1 and a rate of 0.1. The optimizer is SGD with momentum 0.9: it keeps a
# velocity v, at first 0, and a step makes v = 0.9 v − rate · gradient, then w = w + v. What is w after two steps, to four digits behind the point, in each of the three meanings?
# Answer with a tuple (loss, gradient, update). Paper and pencil will do.

# %% tags=["exercise-06-decay"]
decayed = ...

# %%
rl.exercises.check("06-decay", decayed)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def through_the_gradient(factor):
#     w, v = 1, 0
#     for _ in range(2):
#         v = 0.9 * v - 0.1 * factor * 0.1 * w
#         w = w + v
#     return round(w, 4)
#
#
# decayed = (through_the_gradient(2), through_the_gradient(1), round((1 - 0.1 * 0.1) ** 2, 4))
# ```
#
# The derivative of λw² is 2λw, so Keras' `L2(λ)` decays twice as fast as PyTorch's λ. In the third meaning the momentum never hears of the decay.
#
# </details>

# %% [markdown]
# Here Keras does the two steps, and Adam beside it. PyTorch's meaning is Keras' L2 with half the number.


# %% tags=["answer"]
def after_two_steps(optimizer, l2=None, **decay):
    layer = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones", kernel_regularizer=l2)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(optimizer(0.1, **decay), "mse", run_eagerly=True)
    nothing = np.zeros((8, 1))  # An input of 0: the output is 0, and its error has no gradient.
    model.fit(nothing, nothing, epochs=2, verbose=0)
    return float(layer.kernel.numpy()[0, 0])


momentum = partial(keras.optimizers.SGD, momentum=0.9)
for name, optimizer in (("SGD", momentum), ("Adam", keras.optimizers.Adam)):
    loss = after_two_steps(optimizer, keras.regularizers.L2(0.1))
    gradient = after_two_steps(optimizer, keras.regularizers.L2(0.05))
    update = after_two_steps(optimizer, weight_decay=0.1)
    print(f"{name:5} loss {loss:.4f}, gradient {gradient:.4f}, update {update:.4f}")

# %% [markdown]
# With Adam, the first two lead to nearly the same weight, because Adam divides a gradient by its own size: twice the decay is no more decay. That is why AdamW decays
# beside the gradient.
#
# ## A training loop
#
# `model.fit` and `rl.train` repeat one step: forward, loss, gradient, update. This is how TensorFlow returns a gradient:

# %% tags=["setup"]
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    x = tf.Variable(3.0)
    with tf.GradientTape() as tape:
        y = x**2
    print("derivative of x ** 2 at 3:", tape.gradient(y, [x])[0].numpy())
    x.assign_sub(0.5)
    print("x after x.assign_sub(0.5):", x.numpy())
else:
    print("The tape is TensorFlow's: this cell and the exercise below need that backend.")

# %% [markdown]
# ### Exercise: write the loop
#
# *Hard, 15 minutes.*
# Write `train_epoch(model, batches, rate)`. `model` returns probabilities. `batches` is a list of pairs (pictures, labels), with pictures as the model takes them and labels that are
# whole numbers. For each batch: call the model in training mode; take the mean of `keras.losses.sparse_categorical_crossentropy(labels, probabilities)` as the loss; ask the tape
# for the gradients by `model.trainable_variables`; and change each of these by minus `rate` times its gradient. Return a list with the loss of each batch, before its step.


# %% tags=["exercise-06-loop"]
def train_epoch(model, batches, rate):
    """Take a step of plain SGD with each batch; return the losses that were met on the way."""
    ...


# %%
rl.exercises.check("06-loop", train_epoch)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def train_epoch(model, batches, rate):
#     """Take a step of plain SGD with each batch; return the losses that were met on the way."""
#     losses = []
#     for pictures, labels in batches:
#         with tf.GradientTape() as tape:
#             probabilities = model(pictures, training=True)
#             each = keras.losses.sparse_categorical_crossentropy(labels, probabilities)
#             loss = tf.reduce_mean(each)
#         gradients = tape.gradient(loss, model.trainable_variables)
#         for weight, gradient in zip(model.trainable_variables, gradients, strict=True):
#             weight.assign_sub(rate * gradient)
#         losses.append(float(loss))
#     return losses
# ```
#
# `training=True` has batch normalisation take the batch's own mean and variance, and move its stored ones towards them. Whoever forgets it trains another network than the one
# meant, and sees no error. A loop of one's own must also add `model.losses` where layers have an L2, which this network has not.
#
# </details>

# %% [markdown]
# Your loop, or the library's, trains a ResNet-8 on 512 drawn shapes. The pictures have values from 0 to 255; `Rescaling` brings them to 0 to 1, once, inside the model.

# %% tags=["nbval-loss"]
my_epoch = rl.exercises.answer("06-loop")
keras.utils.set_random_seed(0)
inside = rl.resnet_v1(few.image_shape, 8, few.num_classes, form="standard")
by_hand = keras.Sequential([keras.Input(few.image_shape), keras.layers.Rescaling(1 / 255), inside])
starts = range(0, 512, 64)
batches = [(few.train.images[i : i + 64], few.train.labels[i : i + 64]) for i in starts]
for epoch in range(3):
    print(f"epoch {epoch + 1}, loss: {np.mean(my_epoch(by_hand, batches, 0.1)):.3f}")

# %% [markdown]
# The loss falls. `rl.train` adds the recipe, speed, and whatever keeps a long run from being lost.
#
# ## Train it
#
# You will train ResNet-20, version 1, form "standard". In the full profile, `for_budget` measures a few steps and returns one-cycle with as many epochs as fit into
# your minutes. Here five epochs of drawn shapes must do. In so short a run, augmentation and smaller pictures do not pay, so they are off.

# %%
keras.utils.set_random_seed(0)
model = rl.resnet_v1(data.image_shape, 20, data.num_classes, form="standard")
rl.plots.feature_maps(model)

# %% [markdown]
# From stage to stage the side halves and the channels double.

# %%
if FULL and MINUTES:
    recipe = rl.training.for_budget(float(MINUTES), model, data)
elif FULL:
    recipe = rl.recipes.ONE_CYCLE
else:
    off = dict(augment=False, sizes=((1, 1),))
    recipe = replace(rl.recipes.ONE_CYCLE, epochs=5, batch_size=64, peak=0.2, **off)
mine = rl.train(model, data, recipe, out=folder / "first")

# %% [markdown]
# The figure grew while the network trained: on the left the loss, on the right the learning rate. The stop button ends a run and keeps the weights of its best
# finished epoch.

# %%
rl.plots.loss(mine)

# %% [markdown]
# The training loss falls from the start. The validation loss is far above it while the rate is high, and comes down to it as the rate falls.

# %%
print("in the folder:", *sorted(path.name for path in mine.folder.iterdir()))
print("in the record:", *mine.record)
print("for each epoch:", *mine.history)

# %% [markdown]
# `model.keras` is plain Keras and takes pictures of 0 to 255 as they are stored. Does the saved model do as well as the record says?

# %%
trained = keras.saving.load_model(mine.folder / "model.keras")
accuracy = np.mean(trained.predict(data.test.images, verbose=0).argmax(axis=1) == data.test.labels)
difference = abs(accuracy - mine.record["results"]["test_accuracy_best"])
print("the saved model has the test accuracy of the record:", difference < 0.002)

# %% [markdown]
# The test accuracy stands in the results three times:

# %% tags=["nbval-accuracy"]
for key in ("last", "best", "flip"):
    print(f"test accuracy, {key}: {mine.record['results'][f'test_accuracy_{key}']:.1%}")

# %% [markdown]
# `last` is that of the last epoch's weights. `best` is that of the weights which were best on the *validation* pictures, and are kept. The test pictures choose nothing.
# `flip` is for the kept weights again, asked twice about each picture. You write now how that is done.

# %% [markdown]
# ### Exercise: ask about the mirror image, too
#
# *Medium, 8 minutes.*
# Write `both(model, pictures)`: the probabilities of a trained model for a batch of pictures, each averaged over the picture and its
# mirror image, with left and right exchanged.
#
# `model` is a trained model as `rl.train` makes it: it takes pictures with values from 0 to 255 and outputs a row of probabilities for
# each, one for each class. Its preprocessing is inside. `pictures` is a uint8 array of shape (pictures, height, width, 3).
# Return an array or a tensor of shape (pictures, classes).
# The check hands your function a small model of its own and five pictures.


# %% tags=["exercise-06-flip"]
def both(model, pictures):
    """Return the mean of a model's probabilities for pictures and for their mirror images."""
    ...


# %%
rl.exercises.check("06-flip", both)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def both(model, pictures):
#     """Return the mean of a model's probabilities for pictures and for their mirror images."""
#     mirrored = pictures[:, :, ::-1]
#     return (model(pictures, training=False) + model(mirrored, training=False)) / 2
# ```
#
# The third axis leads from left to right. A large set does not fit into one call: there, take
# `model.predict(pictures, verbose=0)`.
#
# </details>

# %% [markdown]
# This is your own network on 500 test pictures, once as they are, and once with your function or the library's:

# %% tags=["nbval-accuracy"]
mean_of_both = rl.exercises.answer("06-flip")
some, truth = data.test.images[:500], data.test.labels[:500]
answers = {"as they are": trained(some, training=False), "both": mean_of_both(trained, some)}
for way, probabilities in answers.items():
    print(f"{way:12} {np.mean(np.argmax(probabilities, axis=1) == truth):.1%} of 500")

# %% [markdown]
# ## A loss that stands still
#
# Somebody trains the ResNet-8 on the drawn shapes with `fit` and a schedule of their own. Nothing breaks, and nothing is learnt:


# %% tags=["nbval-loss"]
def as_somebody_wrote_it(epochs, pictures, batch):
    return keras.optimizers.schedules.CosineDecay(0.1, decay_steps=epochs)


def losses_with(schedule):
    by_hand.set_weights(at_first)
    by_hand.compile(keras.optimizers.SGD(schedule), "sparse_categorical_crossentropy")
    seen = by_hand.fit(few.train.images[:512], few.train.labels[:512], 64, epochs=3, verbose=0)
    return ", ".join(f"{loss:.2f}" for loss in seen.history["loss"])


keras.utils.set_random_seed(0)
at_first = keras.models.clone_model(by_hand).get_weights()
print("loss by epoch:", losses_with(as_somebody_wrote_it(3, 512, 64)))

# %% [markdown]
# ### Exercise: find the fault
#
# *Medium, 8 minutes.*
# This is the function that made the schedule. It is meant to return a schedule whose rate begins at 0.1, falls along half a cosine, and is at 0 when the run of so many epochs ends,
# with so many pictures in batches of so many. Its loss falls for a few batches and then stands still. Repair it. The schedule may be any that `keras.optimizers.SGD` takes; the check
# asks it for its rates.


# %% tags=["exercise-06-fault-schedule"]
def falling_rate(epochs, pictures, batch):
    """Return a schedule that falls from 0.1 along half a cosine and is at 0 as the run ends."""
    return keras.optimizers.schedules.CosineDecay(0.1, decay_steps=epochs)


# %%
rl.exercises.check("06-fault-schedule", falling_rate)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def falling_rate(epochs, pictures, batch):
#     """Return a schedule that falls from 0.1 along half a cosine and is at 0 as the run ends."""
#     steps = epochs * int(np.ceil(pictures / batch))
#     return keras.optimizers.schedules.CosineDecay(0.1, decay_steps=steps)
# ```
#
# A schedule in Keras counts the optimizer's steps; a `LearningRateScheduler` counts epochs. Beyond `decay_steps` the rate stays at its end, which is 0.
#
# </details>

# %%
repaired = rl.exercises.answer("06-fault-schedule")
first, last = (float(repaired(3, 512, 64)(step)) for step in (0, 24))
print(f"the rate at step 0: {first:.3f}, at step 24 of 24: {last:.3f}")

# %% tags=["nbval-loss"]
print("loss by epoch:", losses_with(repaired(3, 512, 64)))

# %% [markdown]
# Now the loss falls to the end of the run.
#
# ## Two callbacks, one rate
#
# The example installs two callbacks that set the rate [3]. `LearningRateScheduler` sets it at the start of each epoch, from the epoch's number. `ReduceLROnPlateau`
# looks at the loss at the end of each epoch: if it has not improved for some epochs, the rate is multiplied by a factor. Take a network that cannot learn, because its
# input is always 0, so that its loss stands still:


# %%
def rates_with(*callbacks):
    """Return the rate that each of 12 epochs was trained with."""
    rates, stuck = [], keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    stuck.compile(keras.optimizers.SGD(0.1), "mse", run_eagerly=True)
    look = keras.callbacks.LambdaCallback(
        on_train_batch_begin=lambda batch, logs: rates.append(float(stuck.optimizer.learning_rate))
    )
    nothing, wanted = np.zeros((8, 1)), np.ones((8, 1))
    stuck.fit(nothing, wanted, epochs=12, verbose=0, callbacks=[*callbacks, look])
    return rates


def plateau(verbose=0):
    return keras.callbacks.ReduceLROnPlateau("loss", factor=0.5, patience=3, verbose=verbose)


scheduler = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 10 else 0.01)

# %% [markdown]
# **Predict.** The first epoch sets the best loss; the three after it do not improve on it, and so on. With which rate is the *tenth* epoch trained, counted from 1, if `plateau()` is
# alone, and with which if `scheduler` and `plateau()` are both there?

# %%
rl.exercises.predict("06-plateau", (..., ...))  # two rates: (alone, both)

# %% tags=["answer"]
together = rates_with(scheduler, plateau(verbose=1))

# %% tags=["answer"]
rates = {
    "both": together,
    "LearningRateScheduler alone": rates_with(scheduler),
    "ReduceLROnPlateau alone": rates_with(plateau()),
}
tenth = (round(rates["ReduceLROnPlateau alone"][9], 4), round(together[9], 4))
rl.exercises.compare("06-plateau", alone_and_both=tenth)
print("in the other order the same:", rates_with(plateau(), scheduler) == together)
rl.plots.curves(rates, ylabel="learning rate", log=True)

# %% [markdown]
# Alone, `ReduceLROnPlateau` goes down in steps. Beside the scheduler it says three times that it halves the rate, and changes nothing: what it does at the end of an epoch is
# lost at the start of the next, when the scheduler sets the rate anew. So the example's `ReduceLROnPlateau` has no effect in any of its 200 epochs. Our recipe `example`
# installs it all the same, because it repeats what was published.
#
# ## A run that is cut off
#
# A run of hours will be cut off some day: the power fails, or the cluster ends your job. `rl.training.run_command` starts a small run as one does in a
# terminal, and kills it when it has reported an epoch: nothing is tidied up, as in a power failure.
# Two runs with one seed usually differ in the last bits, because threads add numbers in a changing order; `--deterministic` prevents that, at some cost.

# %%
options = "--dataset shapes --limit 1000 --model resnet8v1 --recipe one-cycle --epochs 4"
options += " --deterministic"
code = rl.training.run_command(options, out=folder / "cut", kill_after=2)
print("exit code:", code)

# %% [markdown]
# The process was ended by signal 9, which Python reports as -9. What is left?

# %%
# before.keras holds the best weights before the present best; not every run has it.
files = sorted(path for path in (folder / "cut").rglob("*") if path.name != "before.keras")
print(*[path.relative_to(folder) for path in files], sep="\n")

# %% [markdown]
# There is no `model.keras` and no `record.json` beside `checkpoints`: the run did not finish. But in `checkpoints` lie the best weights and the record so far, and, in
# `last_epoch`, for the last whole epoch and the one before it, everything that training needs to go on: the weights, and the optimizer's momentum.
# Each file is written beside the old one and then takes its name, so that a cut leaves the old or the new one, never half of one.
#
# **Predict.** The same command with `--resume` goes on. Compare its four losses with those of a run that was never cut off: are they equal to the last digit, equal to three
# digits, or different?

# %%
rl.exercises.predict("06-resume", ...)  # "last digit", "three digits" or "different"

# %% tags=["answer"]
print("resumed:")
rl.training.run_command(options, out=folder / "cut", resume=True)
print("never cut off:")
rl.training.run_command(options, out=folder / "whole")
cut, whole = (rl.records.load(folder / name) for name in ("cut", "whole"))
differences = np.abs(np.subtract(cut.history["loss"], whole.history["loss"]))
equal = "last digit" if not differences.any() else f"different by {differences.max()}"
rl.exercises.compare("06-resume", equal_to_the=equal)

# %%
weights = cut.load_model().get_weights(), whole.load_model().get_weights()
print("equal weights:", all(map(np.array_equal, *weights)))

# %% [markdown]
# It begins with epoch 3, and is equal to the last bit: the order of the pictures, their shifts, the rate and the momentum are all where they would have been. In Python this
# is `rl.train(…, out=…, resume=True, deterministic=True)`.
#
# ## What does a run lack?
#
# Two recorded runs, A and B, are of one network on the same 961 pictures, with 25 epochs each. One field of the recipe makes the difference. The axis is logarithmic, so that
# a spike does not flatten the rest.

# %%
recorded = rl.records.recorded()
pair = recorded["resnet50-dropout-signs-seed0"], recorded["resnet50-dropout-augmented-signs-seed0"]
fig, axes = rl.plots.figure(
    "The losses of two runs over 25 epochs. A: the training loss falls to 0.005, the validation "
    "loss stops falling near 0.5 and rises to 0.7. B: both fall to the end, to 0.6 and 0.3.",
    columns=2,
    size=(9, 3),
)
for ax, run, name in zip(axes, pair, "AB", strict=True):
    for key, line, label in (("loss", "-", "training"), ("val_loss", "--", "validation")):
        ax.plot(range(1, 26), run.history[key], line, label=label)
    ax.set(title=f"run {name}", xlabel="epoch", yscale="log", ylim=(3e-3, 20))
axes[0].set_ylabel("loss")
axes[0].legend()
fig

# %% [markdown]
# ### Exercise: judge two runs
#
# *Easy, 4 minutes.*
# What would you try first for run A, and what for run B? Answer with a tuple of two of these texts: `"more epochs"`, `"augmentation"`, `"lower rate"`.

# %% tags=["exercise-06-curves"]
first_remedies = (..., ...)

# %%
rl.exercises.check("06-curves", first_remedies)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# first_remedies = ("augmentation", "more epochs")
# ```
#
# Run A knows its training pictures by heart while its validation loss rises: it overfits. Run B is the same with augmentation. Its losses are still high when the run ends, and no gap opens between them, so it lacks
# steps. Its training loss is the higher one because dropout and augmentation make only the training harder.
#
# </details>

# %% [markdown]
# ## Speed: mixed precision and XLA
#
# **Mixed precision** [5]. Convolutions take most of a step. With 16-bit numbers they take less time, where the hardware has units for them, and half the memory. Mixed means: 16 bits to compute with, 32 for
# the weights, because a change that is small beside its weight would be rounded away in 16.

# %%
layer = keras.layers.Conv2D(16, 3, dtype="mixed_bfloat16")
print("computes in", layer.compute_dtype, "and keeps its weights in", layer.variable_dtype)
values = np.array([1.001, 70_000, 1e-8])
with np.errstate(over="ignore"):
    rounded = values.astype("float16"), values.astype("bfloat16")
for value, fine, wide in zip(values, *rounded, strict=True):
    print(f"{value:g} becomes {fine:.6g} in float16 and {float(wide):.6g} in bfloat16")

# %% [markdown]
# float16 has the finer steps, but a short range: 70,000 is infinite, and 1e-8, as small as gradients often are, is zero. So with float16 the loss
# is multiplied by a large number before the gradients are computed, and they are divided by it afterwards. Keras' `LossScaleOptimizer`, which `train` uses, does that.
# bfloat16 has the range of float32 and coarser steps, and needs no such care.
#
# **XLA** is a compiler. It joins operations, such as an addition and the ReLU after it, into one. It compiles at the first step, and again for
# each new shape of a batch, which takes seconds to minutes.
#
# Neither should change what is learnt, but for rounding errors:

# %% tags=["nbval-approx"]
ways = {
    "float32": rl.training.Execution("float32"),
    "bfloat16": rl.training.Execution("mixed_bfloat16"),
    "float32, XLA": rl.training.Execution("float32", jit_compile=True),
}
keras.utils.set_random_seed(0)
small = rl.resnet_v1(few.image_shape, 8, few.num_classes, form="standard")
brief = replace(rl.recipes.ONE_CYCLE, epochs=3, batch_size=64, peak=0.1, sizes=((1, 1),))
tried = {}
for way, execution in ways.items():
    tried[way] = run = rl.train(small, few, brief, execution=execution, progress=False)
    print(f"{way:13} loss by epoch:" + "".join(f"{loss:8.3f}" for loss in run.history["loss"]))

# %% [markdown]
# They agree to about one in a hundred. The times are those of the machine on which the cell was run last:

# %% tags=["nbval-time"]
for way, run in tried.items():  # Without the first epoch, which compiles.
    speed = len(few.train) / min(run.history["seconds"][1:])
    print(f"{way:13}{speed:8,.0f} pictures a second")

# %% [markdown]
# An epoch's seconds hold its validation and its saving, too; `benchmarks/train_step.py` in the project's repository measures with care.
# `rl.training.best_execution()` says what `train` takes on your machine.
#
# ## The whole length
#
# The published runs are about 200 epochs long. On a GPU, from a terminal:
#
#     python -m resnet_lib train --model resnet20v1 --dataset cifar10 --recipe one-cycle --epochs 200 --out runs/resnet20v1-200
#
# With `--recipe paper`, and without `--epochs`, it is the first paper's recipe in its 64,000 steps. What may you expect?

# %%
row = rl.paper.EXAMPLE_ACCURACY.row(20)
print(f"{100 - rl.paper.TABLE_6.row(20).error:.2f} %: the paper")
print(f"{row.v1:.2f} %: the Keras example")
for published in rl.paper.RESNET20_REPRODUCTIONS.rows:
    print(f"{published.accuracy:.2f} %: {published.name} ({published.recipe})")
hours = 200 * row.v1_seconds / 3600
print(f"\nThe example took {row.v1_seconds} s an epoch on a GTX 1080 Ti: {hours:.1f} hours in all.")

# %% [markdown]
# All are ResNet-20 on CIFAR-10, trained on all 50,000 pictures, where `rl.datasets.cifar10()` keeps 5,000 for validation. They differ in form, recipe and seed, and in how the epoch was chosen:
# the example saves the one that is best on the test pictures, which flatters it.
#
# If the loss becomes NaN, lower `peak`; if the memory does not suffice, halve the batch. `train` says both.
#
# ## Summary
#
# - Augmentation changes each picture anew in each epoch; the same seed gives the same changes.
# - A schedule must end with the run, counted in steps or in epochs, and one callback must be in charge of it.
# - Weight decay has three meanings, which differ by a factor of 2, and by whether momentum and Adam see it.
# - A run that was cut off goes on after its last whole epoch; with `--deterministic`, to the same bits.
# - Mixed precision and XLA change the time of a step and, but for rounding, not what it learns.

# %% [markdown]
# ## Project: a recipe for twelve epochs
#
# *Medium, 30 minutes.*
# Train ResNet-8 on 2,000 drawn shapes in at most twelve epochs, so that over 60 % of the 1,000 test pictures are right. You hand over a recipe, with batches of 16 pictures or more; the
# check trains the network with it, in about half a minute on two cores, and measures. The library's one-cycle with `epochs=12` gets 43 %; the record here is 71 %.
# `replace(rl.recipes.ONE_CYCLE, epochs=12, …)` changes fields of a recipe, and `print(rl.recipes.ONE_CYCLE)` lists them. To look at a recipe's losses:
#
#     shapes = rl.datasets.shapes(train=2000, validation=100, test=1000)
#     network = rl.resnet_v1(shapes.image_shape, 8, shapes.num_classes, form="standard")
#     rl.plots.loss(rl.train(network, shapes, my_recipe))

# %% tags=["exercise-06-project"]
my_recipe = ...

# %%
rl.exercises.check("06-project", my_recipe)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# off = dict(augment=False, sizes=((1, 1),))
# my_recipe = replace(rl.recipes.ONE_CYCLE, epochs=12, batch_size=32, peak=0.2, **off)
# ```
#
# With 2,000 pictures and batches of 128, twelve epochs are 192 steps, and the network has hardly begun. Batches of 32 make 756 steps of them, each with a noisier gradient, so the peak is lower.
# Augmentation and smaller pictures protect a network from learning its pictures by heart, but make the training harder: in so few steps they cost more than they bring.
#
# </details>

# %% [markdown]
# ## References
#
# 1. A. Krizhevsky: [*Learning Multiple Layers of Features from Tiny Images*](https://www.cs.toronto.edu/~kriz/learning-features-2009-TR.pdf), 2009: CIFAR-10.
# 2. K. He, X. Zhang, S. Ren, J. Sun: [*Deep Residual Learning for Image Recognition*](https://arxiv.org/abs/1512.03385), 2015.
# 3. The Keras authors: [*Trains a ResNet on the CIFAR10 dataset*](https://github.com/keras-team/keras/blob/2.3.1/examples/cifar10_resnet.py), the example that most copies come from.
# 4. L. N. Smith, N. Topin: [*Super-Convergence: Very Fast Training of Neural Networks Using Large Learning Rates*](https://arxiv.org/abs/1708.07120), 2017.
# 5. P. Micikevicius and others: [*Mixed Precision Training*](https://arxiv.org/abs/1710.03740), 2017.

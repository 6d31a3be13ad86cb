# %% [markdown]
# # 9. Ten years later
#
# Afterwards you can
#
# - say which changes since 2015 let a residual network learn in less time, and show from runs what each brings;
# - write four of them: smoothed labels, flips that alternate, whitened patches, the step of Muon;
# - say what the blocks of later papers add, count it, and compare them at equal cost;
# - find the stream of a residual network in ConvNeXt and in transformers.
#
# You need notebooks 1 to 4, 6 and 7, and eigenvectors of a symmetric matrix. Reading takes about 40 minutes, the tasks an hour and three quarters; running every cell takes about a minute and a half on 2 cores.

# %%
import resnet_lib as rl

from dataclasses import replace
from itertools import pairwise

import keras
import numpy as np
from keras import layers

# %% [markdown]
# ## Where the time went
#
# Beside ResNet-20's runs of notebook 7 stand those of a network and recipe called `fast`, and of wider networks. All had the same JPEG copies of CIFAR-10; in the run of 28 epochs they were moved farther.

# %% tags=["setup"]
recorded, changes = rl.records.recorded(), rl.records.recorded("ten_years")


def with_seeds(name):
    return [changes[f"{name}-seed{seed}"] for seed in range(3)]


def measured(runs):
    """The mean validation accuracy at the end, its standard error, and the mean CPU minutes."""
    ends = np.array([run.history["val_accuracy"][-1] for run in runs])
    minutes = np.mean([sum(run.history["cpu_seconds"]) / 60 for run in runs])
    return ends.mean(), ends.std(ddof=1) / len(ends) ** 0.5 if len(ends) > 1 else np.nan, minutes


# %%
short, hour = (recorded[f"resnet20v1{length}-cifar10"] for length in ("-15epochs", ""))
wide = recorded["resnetfast-cifar10"]
longer = [*map(with_seeds, ("fast-12", "fast-8-wide", "fast-12-wide")), [wide]]
for runs in ([short], with_seeds("fast"), [hour], *longer):
    accuracy, _, minutes = measured(runs)
    model, epochs = runs[0].record["model"], len(runs[0].history["loss"])
    print(f"{model['name']:21}{model['total_parameters']:>9,} weights,", end="")
    print(f"{epochs:3} epochs, {minutes:5.1f} CPU minutes, validation accuracy {accuracy:.1%}")

# %% [markdown]
# For the accuracy of ResNet-20's 15 epochs, `fast` needs four, and a ninth of the minutes. With more minutes, eight epochs of a wider network beat twelve, and the two widest end higher than ResNet-20 ever came.
#
# Not all of that belongs to the recipe: the runs are from two days, and a core computes faster on one than on another. Epochs of ResNet-20 at full size from both days tell how much:

# %%
then = sum(short.history["cpu_seconds"]) / 15
now = np.mean([run.history["cpu_seconds"][1:] for run in with_seeds("one-cycle")])
print(f"an epoch of ResNet-20: {then:.0f} CPU seconds on the first day, {now:.0f} on the later")
ratio = 15 * now / 60 / measured(with_seeds("fast"))[2]
print(f"on the later day, 15 epochs of it would take {ratio:.1f} times as long as four of fast")

# %% [markdown]
# ## One change at a time
#
# Ten recipes lead from that of 2015 to `fast`, which is the last, "Muon". Each makes one change more than the one before; each was trained for four epochs, with three seeds. The records tell which fields changed:

# %%
STEPS = {
    "paper": "ResNet-20, as in 2015",
    "one-cycle": "one cycle",
    "wide": "wide and shallow",
    "numbers": "numbers of its own",
    "whiten": "whitened patches",
    "bias": "faster biases",
    "smoothing": "smoothed labels",
    "translation": "shorter moves",
    "alternating": "alternating flips",
    "fast": "Muon",
}
steps = {title: with_seeds(name) for name, title in STEPS.items()}
recipes = {title: runs[0].record["recipe"] for title, runs in steps.items()}
for before, title in pairwise(recipes):
    new, old = (rl.recipes.Recipe.from_dict(recipes[name]).as_dict() for name in (title, before))
    apart = [f"{k}={new[k]}" for k in new if new[k] != old[k] and k not in ("name", "source")]
    print(f"{title}:", "another network" if title == "wide and shallow" else ", ".join(apart))

# %% [markdown]
# Two steps change more than the table says: "one cycle" also replaces padded shortcuts by projections, and "Muon" takes the weight decay off the kernels; `views` averages over copies in the test only.
#
# **Predict.** Which of the nine steps brings most points of accuracy?

# %%
rl.exercises.predict("09-most", ...)  # The step's name, in quotes.


# %% tags=["answer"]
def gain(before, after):
    """The points of accuracy between two ways, and the standard error of their difference."""
    (mean, error, _), (new, new_error, _) = measured(before), measured(after)
    return 100 * (new - mean), 100 * np.hypot(error, new_error)


gains = {title: gain(steps[before], steps[title]) for before, title in pairwise(steps)}
for title, (points, error) in gains.items():
    print(f"{title:20}{points:+5.1f} ± {error:.1f} points")
points, error = gain(steps["wide and shallow"], steps["alternating flips"])
print(f"the six between wide and Muon together: {points:+.1f} ± {error:.1f} points")
rl.exercises.compare("09-most", in_these_runs=max(gains, key=lambda title: gains[title][0]))


# %% tags=["answer", "figure-ten-years"]
def bars(runs, alt, start=0.0):
    """Validation accuracies with their standard errors, and the CPU minutes beside the names."""
    fig, ax = rl.plots.figure(alt, size=(6.8, 0.7 + 0.36 * len(runs)))
    found = {name: measured(each) for name, each in runs.items()}
    names = [f"{name}, {minutes:.1f} min" for name, (_, _, minutes) in found.items()]
    accuracies, errors, _ = 100 * np.array(list(found.values())).T
    ax.barh(names, accuracies, xerr=errors, color=rl.plots.COLOURS[0], error_kw={"capsize": 3})
    for row, (accuracy, error) in enumerate(zip(accuracies, errors, strict=True)):
        ax.text(accuracy + error + 0.3, row, f"{accuracy:.1f}", va="center", fontsize=9)
    ax.invert_yaxis()
    ax.set_xlim(start, min(accuracies.max() + errors.max() + 4, 100))
    ax.set_xlabel("validation accuracy at the end, %")
    return fig


bars(
    steps,
    "Bars: validation accuracy of ten steps from ResNet-20 with the recipe of 2015, at the top, to "
    "the recipe fast, at the bottom. Three are clearly longer than the one above: one cycle, wide "
    "and shallow, and Muon.",
    start=40,
)

# %% [markdown]
# One cycle, the wide network and Muon bring nearly all. The six steps between bring about a point together; of most alone, three runs cannot say whether they bring anything: compare each gain with its error. [1] found whitening, faster biases and alternating flips to help networks that were trained longer. ResNet-20 had more minutes than the others, so at equal time its two bars would be shorter.
#
# **One cycle.** The recipe of 2015, squeezed into four epochs, spends two at the full rate, one at a tenth of it and one at a hundredth, in which hardly anything moves. The list has what else changed.
#
# **Wide and shallow.** A convolution is computed as a product of matrices as wide as its channels, and narrow ones leave a processor waiting. `rl.resnet_fast` has seven convolutions in place of 21, six with 48 to 192 channels, and about the same multiply-adds:

# %%
network = rl.resnet_fast((32, 32, 3), num_classes=10)
for each in (rl.resnet_v1((32, 32, 3), 20, form="standard"), network):
    told = f"{rl.count_parameters(each).trainable:,} parameters"
    print(f"{each.name}: {told}, {rl.count_multiply_adds(each) / 1e6:.0f} million multiply-adds")
rl.plots.block(network)

# %% [markdown]
# Each stage is a convolution with pooling and a residual block of one convolution. The 3x3 convolutions begin with filters that hand one channel on unchanged; what filters are left are random. It is a network of [1], with a skip in each stage, ReLU in place of its smooth variant, GELU, and narrower layers.
#
# **Numbers of its own**: batches of 256, which keep wide layers busy, a larger peak, less momentum, a shorter warm-up, more weight decay, full size throughout, BN's averages closer to their batches.
#
# **Faster biases.** The only biases of `fast` are BN's shifts. A rate that suits kernels moves them little in 700 steps; [1] found 64 times that rate by trial.
#
# **Shorter moves.** Each picture is moved by at most 2 pixels, in place of 4. Over four epochs there is little danger of learning pictures by heart.
#
# The other four you will write.
#
# ## Smoothed labels
#
# Cross-entropy asks for a probability of 1, which a softmax never reaches, however far the score of the right class leads. With smoothed labels [2] a share of each label is spread evenly over all classes, and a finite lead is right.

# %% [markdown]
# ### Exercise: smooth the labels
#
# *Easy, 6 minutes.*
# `labels` is an array of class numbers. Return an array with a row for each label and a column for each class: the label has a probability of 1, of which `share` is taken and spread evenly over all `num_classes` classes, the right one among them.


# %% tags=["exercise-09-smooth"]
def smoothed(labels, num_classes, share):
    """Return a row of probabilities for each label, a share of it spread over all classes."""
    ...


# %%
rl.exercises.check("09-smooth", smoothed)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def smoothed(labels, num_classes, share):
#     """Return a row of probabilities for each label, a share of it spread over all classes."""
#     hard = np.eye(num_classes)[labels]
#     return (1 - share) * hard + share / num_classes
# ```
#
# With ten classes and a share of 0.2, the right class has 0.82 and each other 0.02.
#
# </details>

# %% [markdown]
# Which scores does such a label ask for? Its logarithm, plus any constant: the softmax of that is the label.

# %%
smooth = rl.exercises.answer("09-smooth")
for share in (0.2, 0.01, 1e-6):
    row = np.log(np.asarray(smooth(np.array([3]), 10, share)))[0]
    print(f"share {share:g}: the right class is to lead by {row[3] - row[0]:.1f}")

# %% [markdown]
# Without smoothing there is no such number: a larger lead always has a smaller loss.
#
# ## Alternating flips
#
# Where each epoch draws which pictures it mirrors, one picture of eight is seen the same way in four epochs. [1] draws for the first epoch, and then mirrors in each epoch just those pictures that were not mirrored in the one before.

# %% [markdown]
# ### Exercise: flips that alternate
#
# *Medium, 8 minutes.*
# The function below draws anew for each epoch, so that half of the pictures come the same way twice in a row, as the cell behind it counts. Repair it. `first` has a True or False for each picture: whether it is mirrored in epoch 0. Return the same kind of array for `epoch`: `first` in epoch 0, and in each later epoch the opposite of the epoch before. Do not change `first` itself.


# %% tags=["exercise-09-fault-flips"]
def flipped(first, epoch):
    """Return which pictures are mirrored in an epoch; `first` says it of epoch 0."""
    rng = np.random.default_rng(epoch)
    return rng.random(len(first)) < 0.5


# %%
first = np.random.default_rng(0).random(10_000) < 0.5
for epoch in range(3):
    again = np.mean(flipped(first, epoch) == flipped(first, epoch + 1))
    print(f"epochs {epoch} and {epoch + 1}: {again:.0%} of the pictures come the same way twice")

# %%
rl.exercises.check("09-fault-flips", flipped)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def flipped(first, epoch):
#     """Return which pictures are mirrored in an epoch; `first` says it of epoch 0."""
#     return ~first if epoch % 2 else first
# ```
#
# Nothing is drawn after the first epoch. Half of the pictures are mirrored in each, and any two epochs in a row hold each picture both ways.
#
# </details>

# %% [markdown]
# ## Whitened patches
#
# Neighbouring pixels are nearly alike. So in a patch of 2x2 pixels and three colours sums vary much and differences little. The gradient of a weight grows with what comes in: what varies little is learnt slowly, and a rate that suits it is too large for the rest. **Whitening** takes that away before training, by filters whose outputs all have variance 1 and covariance 0 with each other.
#
# The **covariance** of two numbers is the mean product of their deviations from their means. With C, the matrix of all covariances in a patch, a filter w has outputs of variance wᵀCw. For an eigenvector v of length 1, Cv = λv, that is λ, and the outputs of two have covariance 0.

# %% tags=["setup"]
shapes = rl.datasets.shapes(train=400, validation=1, test=1)
pictures = shapes.train.images.astype("float32") / 255
corners = [pictures[:, i : 31 + i, j : 31 + j] for i in (0, 1) for j in (0, 1)]
patches = np.stack(corners, axis=3).reshape(-1, 12).astype("float64")

# %% tags=["nbval-approx"]
deviations = np.sqrt(np.linalg.eigvalsh(np.cov(patches.T)))[::-1]
print("standard deviations along the eigenvectors of the covariance:")
print(*[f"{deviation:.3f}" for deviation in deviations])

# %% [markdown]
# ### Exercise: whiten
#
# *Hard, 15 minutes.*
# `patches` is an array with a patch in each row. Return a square array with a *filter in each row*. A filter's output for a patch is the sum of their products, `patches @ filters.T` for all of them. The covariance of these outputs is to be the identity matrix: 1 on the diagonal, 0 elsewhere. The outputs may have any mean, for a covariance does not depend on it. Add nothing to the eigenvalues. You need `np.cov(patches.T)` and `np.linalg.eigh`, whose second result has an eigenvector in each *column*.


# %% tags=["exercise-09-whiten"]
def whitening(patches):
    """Return filters, one in each row, whose outputs for the patches have the covariance 1."""
    ...


# %%
rl.exercises.check("09-whiten", whitening)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def whitening(patches):
#     """Return filters, one in each row, whose outputs for the patches have the covariance 1."""
#     values, vectors = np.linalg.eigh(np.cov(patches.T))
#     return (vectors / np.sqrt(values)).T
# ```
#
# Along an eigenvector the variance is its eigenvalue, and dividing by the root makes it 1. Any rotation of the outputs keeps their covariance, so there are other right answers.
#
# </details>

# %%
filters = np.asarray(rl.exercises.answer("09-whiten")(patches))
outputs = patches @ filters.T
covariance = np.cov(outputs.T)
print("covariance of the outputs is 1:", np.allclose(covariance, np.eye(12), atol=1e-3))

# %% [markdown]
# In `fast` the first convolution has such filters and, because a ReLU follows, their negatives. They are computed from the training pictures before the first step, and never trained. Two things differ: no mean is subtracted, because the recipe has brought that of each channel to 0, and 0.0005 is added to each eigenvalue, so that what hardly varies is not blown up. Here are those of the library's network, as 2x2 pixels with grey for 0, each scaled to its largest weight:

# %%
trained = rl.load_trained("resnetfast-cifar10")
kernel = np.asarray(trained.get_layer("patches_conv").kernel)
tiles = np.moveaxis(kernel, -1, 0)[:12]
largest = np.abs(tiles).max(axis=(1, 2, 3), keepdims=True)
times = largest[0].item() / largest[-1].item()
print(f"the largest weight of the first filter is {times:.0f} times that of the last")
tiles = 0.5 + 0.5 * tiles / largest
rl.plots.images(tiles, columns=12, alt="Twelve filters, from chequered colours to an even light.")

# %% [markdown]
# On the right, nearly white, is the sum of all twelve, brightness, which varies most. On the left are differences between neighbours' colours, which vary least and get the largest weights.
#
# ## Muon
#
# Any matrix is a sum of products of a column and a row, each of length 1 and perpendicular to the others, each product times a **singular value** of at least 0. The gradient of a kernel, as a matrix with a filter in each row, has singular values of very different sizes. SGD goes far along the large ones and hardly at all along the small ones; the authors of Muon [3] suspect that these matter as well. Muon takes the momentum's matrix with the same columns and rows and with singular values that are all about 1. It needs no decomposition, only products: with X the matrix, divided by the root of the sum of its squares, so that no singular value is above 1,
#
# $$X \leftarrow a X + b\,(X X^T) X + c\,(X X^T)^2 X, \qquad a, b, c = 3.4445,\ -4.7750,\ 2.0315$$
#
# three times. Each step sends a singular value s to as + bs³ + cs⁵. That multiplies small values by about 3.4, and leaves what has come between 0.68 and 1.2 in this range.

# %% [markdown]
# ### Exercise: the step of Muon
#
# *Hard, 12 minutes.*
# Write it for an array `matrix` with no more rows than columns, so that X Xᵀ is the smaller of the two products. Divide it by `np.linalg.norm(matrix)`, then take `steps` of the steps above. `matrix` itself stays as it is.


# %% tags=["exercise-09-orthogonal"]
def orthogonal(matrix, steps):
    """Return a matrix with the singular vectors of another, and singular values near 1."""
    ...


# %%
rl.exercises.check("09-orthogonal", orthogonal)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def orthogonal(matrix, steps):
#     """Return a matrix with the singular vectors of another, and singular values near 1."""
#     a, b, c = 3.4445, -4.7750, 2.0315
#     x = matrix / np.linalg.norm(matrix)
#     for _ in range(steps):
#         square = x @ x.T
#         x = a * x + (b * square + c * square @ square) @ x
#     return x
# ```
#
# A matrix whose singular values are exactly 1 has orthogonal rows, hence the name. How small a value may be, to get near 1, depends on `steps`: three multiply it by up to 41.
#
# </details>

# %% [markdown]
# Here are, before training, the 90 largest of 96 singular values of the gradient of `stage2_conv`; the last are 0.

# %%
keras.utils.set_random_seed(1)
network = rl.resnet_fast((32, 32, 3), num_classes=10)
layer = network.get_layer("stage2_conv")
in_front = keras.Model(network.input, layer.input)(pictures[:64], training=True)
rest = keras.Model(layer.output, network.output)
labels = shapes.train.labels[:64]


def loss(kernel):
    probabilities = rest(keras.ops.conv(in_front, kernel, padding="same"), training=True)
    return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))


(gradient,) = rl.inspection.gradients(loss, [np.asarray(layer.kernel)])
matrix = gradient.reshape(-1, gradient.shape[-1]).T.astype("float64")

# %%
nearest = rl.exercises.answer("09-orthogonal")
both = {"the gradient": matrix / np.linalg.norm(matrix), "after 3 steps": nearest(matrix, 3)}
values = {name: np.linalg.svd(each, compute_uv=False)[:90] for name, each in both.items()}
for name, each in values.items():
    print(f"{name}: the largest is {each[0] / each[-1]:.0f} times the 90th")
rl.plots.curves(
    values, ylabel="singular value", xlabel="rank, largest first", log=True, title="96 filters"
)

# %% [markdown]
# In the gradient, solid, the 90th is nearly two orders below the largest. After three steps, dashed, most are about alike, and the smallest shown follow.
#
# Before each step a kernel is scaled to a fixed length: BN behind the convolution takes any length away again, and weight decay would have nothing to do. The dense layer keeps SGD, at 3.75 times Muon's rate, and BN's shifts at 240 times.
#
# ## Which of these help ResNet-20?
#
# Here each change is made by itself, to ResNet-20 with the one-cycle recipe, on 16x16 pixels, for four epochs. The numbers are those of `fast`; none was tuned for ResNet-20. ResNet-20 has no layer to whiten.

# %%
ALONE = {
    "block-basic": "ResNet-20, one cycle",
    "resnet20-bias": "faster biases",
    "resnet20-smoothing": "smoothed labels",
    "resnet20-translation": "shorter moves",
    "resnet20-alternating": "alternating flips",
    "resnet20-muon": "Muon",
}
alone = {title: with_seeds(name) for name, title in ALONE.items()}
bars(
    alone,
    "Bars: validation accuracy of ResNet-20 at 16x16 pixels, without a change and with one of five "
    "changes each. Muon's is clearly longer than the first, that of shorter moves a little, that of "
    "faster biases is at chance.",
)

# %% [markdown]
# Muon and shorter moves help ResNet-20, too. Smoothed labels and flips show nothing in four epochs, and biases with 64 times a peak of 0.3 keep it from learning: a number belongs to its network.
#
# ## Later blocks
#
# Blocks have changed, too. `resnet_v1` and `resnet_v2` take these by name: `rl.resnet_v1((32, 32, 3), 20, block="se")`.
#
# - **ResNet-D** [4]: a shortcut that halves the picture takes the mean of 2x2 pixels before its 1x1 convolution, which otherwise never sees three pixels of four.
# - **Squeeze-and-excitation** [5]: the channels' means over all pixels go through two small dense layers, and come back as factors from 0 to 1 for the branch's channels.
# - **ResNeXt** [6]: the 3x3 convolution of a bottleneck is divided into groups, each of which sees its own channels only.
# - **Stochastic depth** [7]: in training, branches are left out at random; those that are kept are scaled up for it.
# - **Wide** [8]: a pre-activated basic block of four times the channels.
# - **SkipInit** [9]: no BN; the branch is multiplied by one trained number, at first 0.
# - **ConvNeXt** [10]: a 7x7 convolution of each channel for itself, then two dense layers on each pixel, with layer normalisation, which does for each pixel over its channels what BN does for each channel over the batch, and with GELU.
# - **Transformer** [11]: attention between all pixels, of which more below, then two dense layers on each.

# %%
rl.plots.block(
    {
        "squeeze-and-excitation": (rl.resnet_v1((32, 32, 3), 20, block="se"), "stage2_block2"),
        "ConvNeXt": (rl.resnet_v2((32, 32, 3), 20, block="convnext"), "stage2_block2"),
    }
)

# %% [markdown]
# On the left, the branch parts before the addition, and one path computes the factors. On the right, nothing but the addition is on the stream.

# %% [markdown]
# ### Exercise: what squeeze-and-excitation adds
#
# *Medium, 6 minutes.*
# In a block of C channels, the two dense layers go from C numbers to C/16 and back to C, both without biases. ResNet-20 has three blocks of 16 channels, three of 32 and three of 64. How many parameters do these layers add to it in all?

# %% tags=["exercise-09-squeeze"]
squeeze_parameters = ...

# %%
rl.exercises.check("09-squeeze", squeeze_parameters)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# squeeze_parameters = sum(3 * 2 * width * (width // 16) for width in (16, 32, 64))
# ```
#
# 3 times 32, 128 and 512.
#
# </details>

# %% [markdown]
# The table has it, as the difference of two rows:

# %%
BLOCKS = {
    "basic": (rl.resnet_v1, 20),
    "resnet-d": (rl.resnet_v1, 20),
    "se": (rl.resnet_v1, 20),
    "resnext": (rl.resnet_v1, 20),
    "stochastic-depth": (rl.resnet_v1, 20),
    "wide": (rl.resnet_v2, 8),
    "skipinit": (rl.resnet_v2, 20),
    "convnext": (rl.resnet_v2, 20),
    "transformer": (rl.resnet_v2, 8),
}
for block, (build, depth) in BLOCKS.items():
    form = "standard" if build is rl.resnet_v1 else "paper"
    model = build((16, 16, 3), depth, form=form, block=block)
    cost = rl.count_multiply_adds(model) / 1e6
    print(f"{block:18}{rl.count_parameters(model).trainable:>10,} parameters", end="")
    print(f"{cost:6.1f} million multiply-adds")

# %% [markdown]
# ### Exercise: groups
#
# *Medium, 8 minutes.*
# A convolution with kernels of `kernel` x `kernel` pixels goes from `channels` to `filters` channels on pictures of `side` x `side` pixels, padded, without a stride. Its channels are divided into `groups` groups of the same size; so are its filters, and a filter sees the channels of its group only. Return its multiply-adds for one picture.


# %% tags=["exercise-09-grouped"]
def grouped(side, kernel, channels, filters, groups):
    """Return the multiply-adds of a convolution in groups, padded, without a stride."""
    ...


# %%
rl.exercises.check("09-grouped", grouped)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def grouped(side, kernel, channels, filters, groups):
#     """Return the multiply-adds of a convolution in groups, padded, without a stride."""
#     for_one_number = kernel**2 * (channels // groups)
#     return side**2 * filters * for_one_number
# ```
#
# </details>

# %%
cost = rl.exercises.answer("09-grouped")
for groups in (1, 32, 64):
    print(f"7x7, 64 channels, {groups:2} groups: {cost(16, 7, 64, 64, groups):>10,} multiply-adds")

# %% [markdown]
# These runs had about equal processor time, on 16x16 pixels, and so different numbers of epochs. ConvNeXt and transformer were trained with Adam, SkipInit with a third of the rate; wide and transformer have 8 layers, because 20 take too long:

# %%
equal = {block: with_seeds(f"block-{block}") for block in BLOCKS}
for block, runs in equal.items():
    epochs = len(runs[0].history["loss"])
    speed = 45_000 * epochs / np.mean([sum(run.history["cpu_seconds"]) for run in runs])
    print(f"{block:18}{epochs} epochs, {speed:5,.0f} pictures a CPU second")
bars(
    equal,
    "Bars: validation accuracy of networks of nine kinds of blocks after about equal CPU time.",
    start=20,
)

# %% [markdown]
# ResNet-D is a point ahead of the basic block, squeeze-and-excitation level with it. ConvNeXt has fewer multiply-adds than the basic block and is the slowest of all; a 7x7 convolution of each channel for itself is no large product of matrices. One to four epochs favour what starts fast, so this is no judgement of the blocks at their best.
#
# ## All in one
#
# Accuracy against time, for all runs on full pictures:

# %%
fig, ax = rl.plots.figure(
    "Points: validation accuracy over CPU minutes, on a logarithmic axis. The steps lie above each "
    "other at the left. Longer runs of fast lie above the 15 epochs of ResNet-20 and left of its 90.",
    size=(6.8, 3.6),
)
groups = {
    "steps to fast, 4 epochs": list(steps.values()),
    "fast, longer and wider": longer,
    "ResNet-20, one cycle, 15 and 90 epochs": [[short], [hour]],
    "ResNet-20, the copied example": [[recorded["resnet20v1-example-cifar10"]]],
}
for (label, several), marker in zip(groups.items(), "osD^", strict=True):
    points = np.array([measured(runs) for runs in several])
    ax.plot(points[:, 2], 100 * points[:, 0], marker, label=label)
ax.set(xscale="log", xlabel="CPU minutes", ylabel="validation accuracy, %")
ax.set_xticks([2, 5, 10, 20, 50, 100], [2, 5, 10, 20, 50, 100])
ax.legend(fontsize=8)
fig

# %% [markdown]
# The squares lie above the left diamond and left of the right one.
#
# The 94 % of [1] cannot be set beside these figures: they are of the original pictures, of the test set, and averaged over views.
#
# ## Where the field went
#
# A transformer is a residual network whose branches are attention and two dense layers. **Attention** replaces each pixel by a weighted mean over all pixels. The weights are a softmax of how well the pixel's *query* fits the others' *keys*; what is averaged are their *values*. All three are dense layers of what comes in: `attention(x, y)` takes the queries from x, keys and values from y.
#
# The first transformers [13] had a normalisation behind each addition, on the stream, as v1 has its ReLU: post-LN. Here is such a block.

# %% [markdown]
# ### Exercise: free the stream
#
# *Hard, 12 minutes.*
# Notebook 4 took everything off the stream. Do the same here; this order is called pre-LN [12]. Normalise only what goes into the attention, and what goes into the dense layers; what they are added to is the stream as it came. Use the same five layers, with the same arguments.


# %% tags=["exercise-09-fault-norm"]
def transformer(x, filters, name):
    """Return the output of a transformer's block; it has the shape of `x`."""
    norm1, norm2 = (layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm{i}") for i in (1, 2))
    attention = layers.MultiHeadAttention(
        1, filters, attention_axes=(1, 2), name=f"{name}_attention"
    )
    x = norm1(x + attention(x, x))
    y = layers.Dense(4 * filters, activation="gelu", name=f"{name}_dense1")(x)
    y = layers.Dense(filters, name=f"{name}_dense2")(y)
    return norm2(x + y)


# %%
rl.exercises.check("09-fault-norm", transformer)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def transformer(x, filters, name):
#     """Return the output of a transformer's block; it has the shape of `x`."""
#     norm1, norm2 = (layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm{i}") for i in (1, 2))
#     attention = layers.MultiHeadAttention(
#         1, filters, attention_axes=(1, 2), name=f"{name}_attention"
#     )
#     y = norm1(x)
#     x = x + attention(y, y)
#     y = layers.Dense(4 * filters, activation="gelu", name=f"{name}_dense1")(norm2(x))
#     y = layers.Dense(filters, name=f"{name}_dense2")(y)
#     return x + y
# ```
#
# BN, ReLU, convolution has become layer normalisation, attention; the order is that of pre-activation.
#
# </details>

# %% [markdown]
# Now what notebook 4 measured, for stacks of 12 blocks: the one above as it came, and yours. How much of the gradient at the last block is contained in that at each earlier one?


# %% tags=["setup"]
def post_ln(x, filters, name):
    norms = [layers.LayerNormalization(epsilon=1e-6) for _ in range(2)]
    x = norms[0](x + layers.MultiHeadAttention(1, filters, attention_axes=(1, 2))(x, x))
    y = layers.Dense(4 * filters, activation="gelu")(x)
    return norms[1](x + layers.Dense(filters)(y))


# %%
pre_ln = rl.exercises.answer("09-fault-norm")
small = pictures[:32, ::4, ::4]


def arriving(block, blocks=12, filters=32):
    """How much of the gradient at the last block is contained in that at each."""
    keras.utils.set_random_seed(1)
    ends = [keras.Input(small.shape[1:])]
    ends.append(layers.Conv2D(filters, 3, padding="same")(ends[0]))
    for number in range(1, blocks + 1):
        ends.append(block(ends[-1], filters, name=f"block{number}"))
    x = layers.GlobalAveragePooling2D()(layers.LayerNormalization()(ends[-1]))
    ends.append(layers.Dense(10, activation="softmax")(x))
    pieces = [keras.Model(*cut) for cut in pairwise(ends)]

    def loss(*changes):
        x = pieces[0](small)
        for piece, change in zip(pieces[1:], (*changes, 0), strict=True):
            x = piece(x) + change
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(labels[:32], x))

    found = rl.inspection.gradients(loss, [np.zeros((32, 8, 8, filters))] * blocks)
    return [(each * found[-1]).sum() / (found[-1] ** 2).sum() for each in found]


# %% tags=["nbval-approx"]
shares = {"post-LN": arriving(post_ln), "pre-LN": arriving(pre_ln)}
for name, share in shares.items():
    print(f"{name}: {share[0]:.2f} of the last block's gradient arrives at the first")
rl.plots.curves(
    shares,
    ylabel="share of block 12's gradient",
    xlabel="block",
    title="12 transformer blocks, before training",
)

# %% [markdown]
# With pre-LN, dashed, all of it, as in v2; branches add some. With post-LN, solid, each normalisation divides the stream, and the gradient that comes back, by the standard deviation, and takes two directions of each pixel out of it; little is left in the first blocks. Pre-LN transformers train without the warm-up that post-LN needs, which [12] puts down to large gradients near its output.
#
# ## A short form, live
#
# ResNet-20 and a narrow `fast` have the same 2,000 drawn shapes, and the fast one less work.

# %% tags=["nbval-accuracy"]
few = rl.datasets.shapes(train=2000, validation=200, test=1000)
options = dict(augment=False, sizes=((1, 1),), peak=0.1)
brief = replace(rl.recipes.ONE_CYCLE, epochs=5, batch_size=32, **options)
quick = replace(rl.recipes.FAST, epochs=12, batch_size=32, flip=False)
pairs = {
    "ResNet-20, one cycle": (rl.resnet_v1((32, 32, 3), 20, form="standard"), brief),
    "fast": (rl.resnet_fast((32, 32, 3), widths=(16, 32, 64)), quick),
}
for name, (model, recipe) in pairs.items():
    run = rl.train(model, few, recipe, progress=False)
    work = rl.count_multiply_adds(model) * len(few.train) * recipe.epochs / 1e9
    right = run.record["results"]["test_accuracy_last"]
    print(f"{name}: {work:.0f} billion multiply-adds, {right:.0%} of the test pictures")

# %% [markdown]
# Neither mirrors its pictures, and only `fast` moves them: augmentation slows short runs.
#
# ## Summary
#
# - One cycle, a wide and shallow network, and Muon bring most; six smaller changes bring a point together.
# - Smoothed labels have a finite right score; alternating flips waste no epoch; whitened patches need no training; Muon moves a kernel along its weak directions as well.
# - A block is judged at equal time: fewer multiply-adds are not less time where a processor cannot use them.
# - Within a stage, ConvNeXt and pre-LN transformers leave the stream alone, as pre-activated ResNets do. With normalisations on it, the gradient at the end is not contained in that at the beginning.

# %% [markdown]
# ## Project: the best in three epochs' work
#
# *Hard, 40 minutes.*
# Write a function that returns `(network, recipe)`: a network for pictures of 32x32x3 and ten classes, not trained, and a recipe. The check trains it on 4,000 drawn shapes, and stops after four minutes of computing. It may spend 500 billion multiply-adds, `rl.count_multiply_adds(network) * 4000 * recipe.epochs`, which are three epochs of ResNet-20, and should get 93 % of the test pictures right.


# %% tags=["exercise-09-project"]
def coffee():
    """Return (network, recipe)."""
    ...


# %%
rl.exercises.check("09-project", coffee)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def coffee():
#     """Return (network, recipe)."""
#     network = rl.resnet_fast((32, 32, 3), 10, widths=(16, 32, 64))
#     return network, replace(rl.recipes.FAST, epochs=15, batch_size=32, flip=False)
# ```
#
# A cheaper network, more epochs, smaller batches: so many more steps for the same work.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. Jordan: [*94% on CIFAR-10 in 3.29 Seconds on a Single GPU*](https://arxiv.org/abs/2404.00498), 2024.
# 2. C. Szegedy and others: [*Rethinking the Inception Architecture for Computer Vision*](https://arxiv.org/abs/1512.00567), 2015, section 7.
# 3. K. Jordan and others: [*Muon: An optimizer for hidden layers in neural networks*](https://kellerjordan.github.io/posts/muon/), 2024.
# 4. T. He and others: [*Bag of Tricks for Image Classification with Convolutional Neural Networks*](https://arxiv.org/abs/1812.01187), 2018.
# 5. J. Hu and others: [*Squeeze-and-Excitation Networks*](https://arxiv.org/abs/1709.01507), 2017.
# 6. S. Xie and others: [*Aggregated Residual Transformations for Deep Neural Networks*](https://arxiv.org/abs/1611.05431), 2016.
# 7. G. Huang and others: [*Deep Networks with Stochastic Depth*](https://arxiv.org/abs/1603.09382), 2016.
# 8. S. Zagoruyko, N. Komodakis: [*Wide Residual Networks*](https://arxiv.org/abs/1605.07146), 2016.
# 9. S. De, S. Smith: [*Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks*](https://arxiv.org/abs/2002.10444), 2020.
# 10. Z. Liu and others: [*A ConvNet for the 2020s*](https://arxiv.org/abs/2201.03545), 2022.
# 11. A. Dosovitskiy and others: [*An Image is Worth 16x16 Words*](https://arxiv.org/abs/2010.11929), 2020.
# 12. R. Xiong and others: [*On Layer Normalization in the Transformer Architecture*](https://arxiv.org/abs/2002.04745), 2020.
# 13. A. Vaswani and others: [*Attention Is All You Need*](https://arxiv.org/abs/1706.03762), 2017.

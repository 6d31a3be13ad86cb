# %% [markdown]
# # 4. ResNet v2 for CIFAR-10
#
# Afterwards you can
#
# - say what pre-activation is, and show what it does to the stream of a network and what it does not;
# - write the pre-activation block, basic and bottleneck, and build ResNet-20 to ResNet-1001 from it;
# - tell the paper's v2 from the widely copied one, and account for each parameter of the difference.
#
# You need notebooks 1 to 3: skip, basic and bottleneck blocks, shortcuts A, B and C, 6n+2, the forms "example", "paper" and
# "standard". Reading takes about 40 minutes; running every cell takes MINUTES on a CPU with 2 cores.

# %%
import resnet_lib as rl

import inspect

import keras
import numpy as np
from keras import layers

# %% [markdown]
# You will send the same 32 pictures through many networks and look at what comes out of single layers. Nothing is trained in this
# notebook: every network is as it was initialised. Batch normalisation (BN) uses the batch's statistics, as in training.

# %%
shapes = rl.datasets.shapes(train=32, validation=1, test=1)
images = shapes.train.images.astype("float32") / 255
images, labels = images - images.mean(), shapes.train.labels
SHAPE = (32, 32, 3)


def outputs(model, names):
    """What the named layers put out for the 32 pictures."""
    tensors = [model.get_layer(name).output for name in names]
    probe = keras.Model(model.input, tensors)
    return [np.asarray(tensor) for tensor in probe(images, training=True)]


# %% [markdown]
# ## What stands on the main path
#
# In the networks of notebook 3, now called **v1**, the last step of each block is a ReLU. He et al. moved it a few months later
# [2]. Look at the layers of one block, in the order of computation, in both versions:

# %%
keras.utils.set_random_seed(1)
v1 = rl.resnet_v1(SHAPE, depth=38, form="paper")
v2 = rl.resnet_v2(SHAPE, depth=38, form="paper", block="basic")
for model in (v1, v2):
    names = [layer.name for layer in model.layers if layer.name.startswith("stage1_block2_")]
    print(f"{model.name}:", *(name.split("_")[-1] for name in names))

# %% [markdown]
# v1: convolution, BN, ReLU, convolution, BN, addition, ReLU. v2: BN, ReLU, convolution, BN, ReLU, convolution, addition. The same
# seven layers. In v2, BN and ReLU come before each convolution: **pre-activation**. And nothing comes after the addition.
#
# Call what runs from addition to addition the **stream**. In v1 the stream goes through a ReLU in every block. That ReLU sets
# whatever is negative to zero.
#
# **Predict.** In an untrained v1 network, what share of the stream does the ReLU of a block set to zero? Half? More towards the end, or
# less?

# %%
additions = [layer.name for layer in v1.layers if layer.name.endswith("_add")]
share = [(tensor < 0).mean() for tensor in outputs(v1, additions)]
rl.plots.curves(
    {"v1, 38 layers": share},
    ylabel="share set to zero by the ReLU",
    xlabel="block",
    title="before training",
)

# %% [markdown]
# About a third in the first block of each stage (blocks 1, 7 and 13), and less from block to block, to about a fifth: what leaves a ReLU is never
# negative, so the stream drifts upwards, away from zero. It never drops to nothing. Each block cuts something off the stream for good.
#
# ## Adding up
#
# Let x be the stream and F what the branch of a block computes. With nothing after the addition,
#
# $$x_{l+1} = x_l + F(x_l), \qquad x_{l+2} = x_l + F(x_l) + F(x_{l+1}), \qquad \ldots \qquad
# x_L = x_l + \sum_{i=l}^{L-1} F(x_i)$$
#
# for any two blocks l < L of a stage [2, equation 4]. Whatever is on the stream at block l is on it at block L, unchanged, as one term of a
# sum. The derivative of the loss E follows at once [2, equation 5]:
#
# $$\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L}\Bigl(1 + \frac{\partial}{\partial x_l} \sum_{i=l}^{L-1}
# F(x_i)\Bigr)$$
#
# The 1 says: the gradient at block L reaches block l in full, past all branches. With a ReLU after the addition, neither line holds.
#
# **Predict.** Take stage 1 of both networks. Add to what block 1 puts out what the branches of blocks 2 to 6 put out. Is the sum what
# block 6 puts out? About, or exactly?


# %%
def adds_up(model, block_end, branch_end):
    """Compare the end of stage 1 with its start plus all branches."""
    start, end = outputs(model, [f"stage1_block{i}_{block_end}" for i in (1, 6)])
    for branch in outputs(model, [f"stage1_block{i}_{branch_end}" for i in range(2, 7)]):
        start = start + branch
    print(f"{model.name}: equal {np.array_equal(start, end)}, ", end="")
    print(f"largest difference {abs(start - end).max():.1f}, largest value {abs(end).max():.1f}")


# %% tags=["nbval-approx"]
adds_up(v2, block_end="add", branch_end="conv2")
adds_up(v1, block_end="relu2", branch_end="bn2")

# %% [markdown]
# In v2 it is exact, to the last bit, because the network adds the same numbers in the same order. In v1 the difference is as large as the
# values themselves.
#
# ## Why BN and ReLU go in front
#
# The stream of v2 has nothing on it: it is never normalised, and it grows. So each branch normalises what it takes:

# %%
entering = [f"stage1_block{i}_add" for i in range(1, 6)]
normalised = [f"stage1_block{i}_bn1" for i in range(2, 7)]
rl.plots.curves(
    {
        "the stream": [tensor.var() for tensor in outputs(v2, entering)],
        "after the first BN of the branch": [tensor.var() for tensor in outputs(v2, normalised)],
    },
    ylabel="variance",
    xlabel="block of stage 1",
    title="v2, 38 layers, before training: what comes into a block",
    first=2,
)

# %% [markdown]
# The stream's variance rises from block to block. What the branch works on keeps variance 1. So each branch adds about as much as the one before it.
#
# There are other orders. The paper tried five with 110 layers on CIFAR-10; each number is the median of five runs [2, table 2]:
#
# | order | on the stream | test error, % |
# |---|---|---|
# | original (v1): BN before the addition, ReLU after it | ReLU | 6.61 |
# | BN after the addition, then ReLU | BN, ReLU | 8.17 |
# | ReLU before the addition | nothing | 7.84 |
# | ReLU before each convolution, BN behind each | nothing | 6.71 |
# | BN and ReLU before each convolution (v2) | nothing | 6.37 |
#
# The paper's explanations: BN after the addition alters the stream in every block. ReLU before the addition leaves the stream alone, but a branch can then only
# raise it, never lower it (notebook 1). With ReLU alone in front, the ReLU takes a stream that nothing has normalised. With both in front, the stream is free,
# the branch has normalised input, and what it adds may have either sign.
#
# ## The block by hand
#
# One idea, so one helper: activate, then convolve.


# %%
def bn_relu(x):
    return layers.ReLU()(layers.BatchNormalization()(x))


def conv(x, filters, kernel_size=3, strides=1):
    options = dict(padding="same", use_bias=False, kernel_initializer="he_normal")
    return layers.Conv2D(filters, kernel_size, strides=strides, **options)(x)


def basic_v2(x, filters):
    y = conv(bn_relu(x), filters)
    y = conv(bn_relu(y), filters)
    return layers.Add()([x, y])


# %% [markdown]
# The library's version, without its docstring. `_preactivate` activates x; more about it soon.

# %%
print(inspect.getsource(rl.blocks.preactivation_basic_block).split('"""')[2])


# %%
def on_its_own(block, shape, *args, **options):
    """A model that consists of a single block."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs, *args, **options))


def same(mine, library):
    """Give both models the same weights, then compare what they put out."""
    rng = np.random.default_rng(0)
    mine.set_weights([w + rng.uniform(0, 0.1, w.shape) for w in mine.get_weights()])
    library.set_weights(mine.get_weights())
    pictures = rng.normal(size=(4, *mine.input_shape[1:])).astype("float32")
    for training in (True, False):
        a, b = (np.asarray(model(pictures, training=training)) for model in (mine, library))
        print(f"training={training}: equal to within 1e-5: {np.allclose(a, b, 1e-5, 1e-5)}")


# %%
mine = on_its_own(basic_v2, (8, 8, 16), 16)
same(mine, on_its_own(rl.blocks.preactivation_basic_block, (8, 8, 16), 16, name="b"))


# %% [markdown]
# The bottleneck has three such steps: narrow, work, widen. The widths are two arguments, because the two forms of v2 will
# differ in the first of them.


# %%
def bottleneck_v2(x, filters, filters_out):
    y = conv(bn_relu(x), filters, 1)
    y = conv(bn_relu(y), filters, 3)
    y = conv(bn_relu(y), filters_out, 1)
    return layers.Add()([x, y])


mine = on_its_own(bottleneck_v2, (8, 8, 64), 16, 64)
library = rl.blocks.preactivation_bottleneck_block
same(mine, on_its_own(library, (8, 8, 64), 16, 64, name="b"))

# %% [markdown]
# ## The first block of a stage
#
# Where the shape changes, the stream itself has to change: a projection. What should feed the projection? The stream as it is, or
# the stream after BN and ReLU? The paper activates first and lets both branches take the result [2, appendix]:


# %%
def first_v2(x, filters, filters_out, strides):
    x = bn_relu(x)  # before both branches
    y = conv(x, filters, 1, strides)
    y = conv(bn_relu(y), filters, 3)
    y = conv(bn_relu(y), filters_out, 1)
    x = conv(x, filters_out, 1, strides)  # the projection
    return layers.Add()([x, y])


mine = on_its_own(first_v2, (8, 8, 64), 32, 128, 2)
options = dict(strides=2, preactivation="shared", name="b")
same(mine, on_its_own(library, (8, 8, 64), 32, 128, **options))

# %%
print(inspect.getsource(rl.blocks._preactivate))

# %% [markdown]
# `preactivation` names the place of the first BN and ReLU: "shared" by both branches, in the "branch" alone, or "none", for an x that comes
# activated.
#
# **Predict.** The widely copied Keras example [3] has "none" in the first block of the network and "branch" everywhere else. In which of the three
# stages does its first block compute something else than the paper's? Ask two live models what feeds the layers:


# %%
def fed_by(model, name):
    """The layer whose output goes into the named one."""
    tensor = model.get_layer(name).input
    return next(layer.name for layer in model.layers if layer.output is tensor)


for form in ("paper", "example"):
    model = rl.resnet_v2(SHAPE, depth=20, form=form)
    for block in ("stage1_block1", "stage2_block1", "stage3_block1"):
        conv1, projection = (fed_by(model, f"{block}_{end}") for end in ("conv1", "shortcut_conv"))
        print(f"{form:8} {block}: branch takes {conv1:18} projection takes {projection}")

# %% [markdown]
# In stage 1 both forms feed branch and projection alike: the stem's convolution, BN, ReLU. Only the names differ; the example counts BN and ReLU
# to the stem. In stages 2 and 3 the example projects the raw stream, `…_add`, and activates the branch only.
#
# ## The network, stage by stage
#
# One convolution as stem, three stages of n blocks, then a head. The stem has no BN: the first block begins with one. Stage 1 keeps 32x32
# pixels, and even it begins with a projection, because the stem puts out 16 channels and the stage 64.

# %%
n = 2
inputs = keras.Input(SHAPE)
x = conv(inputs, 16)
print("stem:   ", x.shape[1:])
for stage, (mid, out) in enumerate([(16, 64), (32, 128), (64, 256)], start=1):
    x = first_v2(x, mid, out, strides=1 if stage == 1 else 2)
    for _ in range(n - 1):
        x = bottleneck_v2(x, mid, out)
    print(f"stage {stage}:", x.shape[1:])

# %% [markdown]
# The stream ends raw and large, so the head needs a BN and a ReLU of its own. Then the mean of each channel and the softmax.

# %%
x = layers.GlobalAveragePooling2D()(bn_relu(x))
mine = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
same(mine, rl.resnet_v2(SHAPE, depth=9 * n + 2, form="paper"))

# %% [markdown]
# Your network and `rl.resnet_v2` with `form="paper"` are the same function.
#
# The depth: each block has three convolutions and there are three stages of n blocks, so 9n; the stem and the dense layer make it **9n+2**.
# As in notebook 3, projections are not counted. With basic blocks it would be 6n+2. Some depths are both:

# %%
bottleneck, basic = rl.cifar.valid_depths("bottleneck"), rl.cifar.valid_depths("basic")
print("9n+2:", *bottleneck[:8], "…", bottleneck[-1])
print("6n+2:", *basic[:8], "…", basic[-1])
print("both:", *[depth for depth in bottleneck if depth in basic][:7], "…")

# %% [markdown]
# So "ResNet-20, 56 or 110, v2" does not say which blocks are meant. Remember 110; it will come up again.
#
# ## Wider, not larger
#
# v2 with bottleneck blocks beside v1, three blocks in each stage of both:

# %%
rl.plots.feature_maps(rl.resnet_v2(SHAPE, depth=29, form="paper"))

# %%
rl.plots.feature_maps(rl.resnet_v1(SHAPE, depth=20, form="paper"))

# %% [markdown]
# From left to right in both: the stem, then the three stages; height and width halve twice. But the stages of v2 are four times as long, with 64, 128 and 256
# channels in place of 16, 32 and 64. The stream is wide; the 3x3 convolutions work on a quarter of it. (In the example form, on half of it, but for stage 1.)
#
# ## Two networks under one name
#
# That bracket is the difference that misleads most. The mid-widths, the channels of the 3x3 convolutions, are 16, 32, 64 in the paper, and 16, **64, 128** in the
# Keras example.
#
# **Predict.** At 164 layers, how much larger is the example's network: by a tenth, by half, by more?

# %%
resnet164 = {form: rl.resnet_v2(SHAPE, 164, form=form) for form in ("example", "paper")}
print(f"{'164 layers':12}{'parameters':>12}{'trainable':>12}{'multiply-adds':>16}")
for form, model in resnet164.items():
    count, cost = rl.count_parameters(model), rl.count_multiply_adds(model)
    print(f"{form:12}{count.total:>12,}{count.trainable:>12,}{cost:>16,}")
print("known, example:", rl.paper.V2_EXAMPLE_FORM.row(164).trainable)
print("known, paper:  ", rl.paper.V2_PAPER_FORM.row(164).parameters)
print("printed by the paper:", rl.paper.TABLE_3_PREACTIVATION.row(164).parameters, "million")

# %% [markdown]
# Nearly three times the parameters, more than twice the work. The paper's form rounds to the number that the paper prints; the example's does not. Where do the
# additional parameters sit?


# %%
def kind(layer, weight):
    if isinstance(layer, layers.BatchNormalization):
        return "BN"
    if layer.name == "head_dense":
        return "dense"
    if weight.name == "bias":
        return "conv biases"
    return {"stem_conv": "stem"}.get(layer.name) or layer.name.split("_", 2)[2]


def by_kind(model):
    counts = {}
    for layer in model.layers:
        for weight in layer.trainable_weights:
            name = kind(layer, weight)
            counts[name] = counts.get(name, 0) + int(np.prod(weight.shape))
    return counts


# %%
example, paper = (by_kind(resnet164[form]) for form in ("example", "paper"))
print(f"{'':16}{'example':>12}{'paper':>12}{'difference':>12}")
for name, count in example.items():
    other = paper.get(name, 0)
    print(f"{name:16}{count:>12,}{other:>12,}{count - other:>12,}")
print(f"{'sum':38}{sum(example.values()) - sum(paper.values()):>14,}")

# %% [markdown]
# (`conv1` and `conv3` are the 1x1 convolutions, `conv2` the 3x3.) Stem, projections and dense layer are equal. Account for the rest by hand, with n = 18 blocks in each
# stage. Stage 1 is equal in both, so stages 2 and 3 remain, with mid-widths of 64 against 32 and of 128 against 64:

# %%
n = 18
more, outs = (64 - 32, 128 - 64), (128, 256)  # stages 2 and 3
print("conv2:", 9 * n * (64**2 - 32**2 + 128**2 - 64**2))
print("conv3:", sum(n * d * out for d, out in zip(more, outs)))
print("conv1:", sum((n - 1) * d * out + d * out // 2 for d, out in zip(more, outs)))
print("BN:   ", sum(2 * 2 * n * d for d in more))
biases = n * sum(2 * mid + out for mid, out in ((16, 64), (64, 128), (128, 256)))
print("conv biases:", biases + (64 + 128 + 256) + 16)

# %% [markdown]
# - `conv2`: 9 weights for each pair of channels, and twice the channels on both sides. This is three quarters of the difference.
# - `conv3`, `conv1`: twice the channels on one side. The first `conv1` of a stage takes the stage before, half as wide: hence the half.
# - BN: two of the three in a block stand at the mid-width, each with a scale and a shift. The example's stem has a BN that the paper's has not, and its first block
#   lacks one: 16 channels each, so they cancel.
# - Biases: of every convolution, projections and stem as well. They do nothing where a BN follows, and are less than one in a hundred.
#
# So what makes the example's v2 another network is its mid-widths. The rest is small change.
#
# ## The paper's ResNet-110 v2
#
# Now back to 110. The paper's v2 with 110 layers [2, table 3] is v1's network of basic blocks, 6n+2 with n = 18, pre-activated. It has no bottleneck. 9n+2 with n = 12 has 110
# layers, too:

# %%
keras.utils.set_random_seed(1)
resnet110 = {
    "v1, basic, paper": rl.resnet_v1(SHAPE, 110, form="paper"),
    "v2, basic, paper": rl.resnet_v2(SHAPE, 110, form="paper", block="basic"),
    "v2, bottleneck, paper": rl.resnet_v2(SHAPE, 110, form="paper"),
    "v2, bottleneck, example": rl.resnet_v2(SHAPE, 110, form="example"),
}
for name, model in resnet110.items():
    trainable, cost = rl.count_parameters(model).trainable, rl.count_multiply_adds(model)
    print(f"{name:24}{trainable:>10,} trainable{cost:>13,} multiply-adds")

# %% [markdown]
# Four networks that are all called ResNet-110, three of them v2. The first two agree to the last parameter: pre-activation moves layers and adds none. These two, and no others, are the pair of the
# paper's table. The Keras example's documentation sets its own 110 beside the paper's:

# %%
for row in rl.paper.TABLE_3_PREACTIVATION.rows:
    errors = f"v1 {row.error_original:.2f} %, v2 {row.error_preactivation:.2f} %"
    print(f"paper: {row.depth:>4} layers, {row.block:10} test error {errors}")
accuracy = rl.paper.EXAMPLE_ACCURACY.row(110)
print(
    f"example's table, 110 layers, test accuracy: v2 {accuracy.v2} %, paper {accuracy.v2_paper} %"
)

# %% [markdown]
# 93.63 % is 6.37 % error: the basic network. Beside it stands a bottleneck network with nearly twice as many parameters. The two rows have the depth in common, and little else.
#
# ## Signals at the start
#
# Does v2 carry signal and gradient better? Measure it, in the pair from the paper: v1 and v2 with 110 layers, 54 blocks, and equally many parameters.

# %%
v1, v2 = resnet110["v1, basic, paper"], resnet110["v2, basic, paper"]
STREAM = {"v1": r"block\d+_relu2$", "v2": r"block\d+_add$"}
rl.plots.signals(
    {
        "v1": rl.activation_variances(v1, images, layers_named=STREAM["v1"]),
        "v2": rl.activation_variances(v2, images, layers_named=STREAM["v2"]),
    },
    log=False,
    title="110 layers, basic blocks, paper's form, before training",
)

# %% [markdown]
# Both streams grow by about the same amount in each block, v2's (dashed) faster. In v2 the stage ends are visible as cliffs: the paper's form activates the stream there, so each
# stage starts near 1 again. Here is the difference between "shared" and "branch" from above as a picture:

# %%
rl.plots.signals(
    {
        form: rl.activation_variances(
            resnet110[f"v2, bottleneck, {form}"], images, layers_named=STREAM["v2"]
        )
        for form in ("paper", "example")
    },
    log=False,
    title="v2, 110 layers, bottleneck blocks, before training",
)

# %% [markdown]
# The paper's form (solid) starts anew in each stage. The example's (dashed) projects the raw stream, so it carries the variance on, and the projection doubles it.
#
# Now the gradients.
#
# **Predict.** In which of the two networks are the gradients of the convolutions more even from the first to the last?

# %%
gradients = {name: rl.gradient_norms(m, images, labels) for name, m in {"v1": v1, "v2": v2}.items()}
rl.plots.signals(gradients, title="110 layers, basic blocks, paper's form, before training")


# %% tags=["nbval-approx"]
def largest_by_smallest(signal):
    convolutions = signal.values[:-1]
    return convolutions.max() / convolutions.min()


for name, signal in gradients.items():
    print(f"{name}: largest {largest_by_smallest(signal):.1f} times the smallest")

# %% [markdown]
# In v1 (solid), the norms fall in the first third and then stay within a factor of two. In v2 (dashed), they fall in every stage and jump up where the next one begins; the
# last convolutions get the smallest gradients. (The last point of each line is the dense layer.) So at the start, v1 is the more *even* of the two. "v2 has the better gradients" is not what you see.
#
# What, then, of the 1 in equation 5? It does not speak of norms. It says that the gradient at a stage's end is *contained in* the gradient at each earlier block. That can be measured, too: the part
# of the earlier gradient that points in the direction of the last one, in units of the last one.


# %%
def stream_gradients(model, names):
    """The gradient of the loss by what the named layers put out."""
    import tensorflow as tf

    tensors = [model.get_layer(name).output for name in names]
    probe = keras.Model(model.input, [*tensors, model.output])
    with tf.GradientTape() as tape:
        *stream, predictions = probe(images, training=True)
        losses = keras.losses.sparse_categorical_crossentropy(labels, predictions)
        loss = tf.reduce_mean(losses)
    return [np.asarray(gradient) for gradient in tape.gradient(loss, stream)]


# %%
def at_stage_1(model, block_end):
    return stream_gradients(model, [f"stage1_block{i}_{block_end}" for i in range(1, 19)])


def contained(gradients):
    """How much of the last gradient is contained in each."""
    last = gradients[-1]
    return [(gradient * last).sum() / (last * last).sum() for gradient in gradients]


arriving = {"v1": at_stage_1(v1, "relu2"), "v2": at_stage_1(v2, "add")}
rl.plots.curves(
    {name: contained(gradients) for name, gradients in arriving.items()},
    ylabel="how much of the gradient\nat block 18 arrives",
    xlabel="block of stage 1",
    title="110 layers, basic blocks, paper's form, before training",
)

# %% [markdown]
# Read it from right to left, as the gradient goes. In v2 (dashed), all of it arrives, at every block: here is the 1. In v1 (solid), the ReLUs on the main path take some away in every block,
# and at the first about a third is left.
#
# One initialisation is one observation. Another one, and beside it how large the gradient at block 1 is, compared with block 18:


# %% tags=["nbval-approx"]
def report(seed, arriving):
    for name, gradients in arriving.items():
        growth = np.linalg.norm(gradients[0]) / np.linalg.norm(gradients[-1])
        share = contained(gradients)[0]
        print(f"seed {seed}, {name}: {share:.2f} arrives, the norm grows {growth:.1f} times")


report(1, arriving)
keras.utils.set_random_seed(2)
other_v1 = rl.resnet_v1(SHAPE, 110, form="paper")
other_v2 = rl.resnet_v2(SHAPE, 110, form="paper", block="basic")
report(2, {"v1": at_stage_1(other_v1, "relu2"), "v2": at_stage_1(other_v2, "add")})

# %% tags=["nbval-approx"]
for name, model in {"v1": other_v1, "v2": other_v2}.items():
    signal = rl.gradient_norms(model, images, labels)
    print(f"seed 2, {name}: largest {largest_by_smallest(signal):.1f} times the smallest")

# %% [markdown]
# Both findings hold for the second initialisation. Mind what the last column of the first one says: at block 1, the gradient is more than ten times as large as at block 18, in both networks. What has arrived
# directly is the smaller part of it; the branches have added the rest.
#
# So before training, v2 has a free path in both directions, and norms that are no more even. Whether the free path helps is a question for training, and the paper's answer depends on depth:
# a little at 110 layers, much at 1001, where v1 is worse than at 164 and v2 better (the table above).
#
# ## A thousand layers
#
# Blocks of one stage are equal, but for the first. So parameters grow by the same amount with each n, and two depths tell you all others.
#
# **Predict.** The trainable parameters of ResNet-1001, from 110 and 164 layers:


# %%
def predicted(form, depth):
    small = rl.count_parameters(resnet110[f"v2, bottleneck, {form}"]).trainable
    large = rl.count_parameters(resnet164[form]).trainable
    return small + (depth - 110) * (large - small) // (164 - 110)


for form in ("example", "paper"):
    print(f"{form:8}{predicted(form, 1001):>12,}")

# %% [markdown]
# Now build it, in the paper's form: 333 blocks. This takes a few seconds.

# %%
resnet1001 = rl.resnet_v2(SHAPE, depth=1001, form="paper")
print(rl.count_parameters(resnet1001))
print(f"{rl.count_multiply_adds(resnet1001):,} multiply-adds")
print("known:", rl.paper.V2_PAPER_FORM.row(1001).parameters)
print("printed by the paper:", rl.paper.TABLE_3_PREACTIVATION.row(1001).parameters, "million")

# %% [markdown]
# As predicted. But 10,327,706 rounds to 10.3 million, and the paper prints 10.2. Which way of counting gives the printed numbers, for both depths?

# %% tags=["nbval-approx"]
ways = {"all": (), "no projections": ("shortcut_conv",), "no BN": ("BN",)}
ways["neither"] = ("shortcut_conv", "BN")
for name, left_out in ways.items():
    for depth, model in {164: resnet164["paper"], 1001: resnet1001}.items():
        count = sum(number for key, number in by_kind(model).items() if key not in left_out)
        print(f"{name:15}{depth:>5} layers:{count:>11,}, {count / 1e6:.1f} million")

# %% [markdown]
# Of these four, one gives 1.7 and 10.2: kernels and dense layer, without the scales and shifts of BN. The paper does not say how it counted, so this is a guess that fits, and no more. The example's form,
# with 30 million, fits in no way.
#
# ## Summary
#
# - Pre-activation: BN, ReLU, convolution; the addition comes last. Layers are moved, none is added.
# - In a stage of v2, the end is the start plus all branches, exactly, and the end's gradient arrives in full at every block. In v1 neither holds.
# - At initialisation v2's gradients are not more even than v1's. The gain is in the paper's test errors, and large only at great depth.
# - The Keras example's v2 has mid-widths 16, 64, 128, the paper's 16, 32, 64: about three times the parameters.
# - Bottleneck blocks make 9n+2 layers, basic ones 6n+2. The paper's ResNet-110 v2 is basic; its 164 and 1001 are bottleneck.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 2. K. He, X. Zhang, S. Ren, J. Sun: *Identity Mappings in Deep Residual Networks*, 2016, arXiv 1603.05027. Their code for ResNet-1001:
#    https://github.com/KaimingHe/resnet-1k-layers.
# 3. The Keras example `cifar10_resnet.py`, the builders that most people copy.

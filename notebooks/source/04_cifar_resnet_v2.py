# %% [markdown]
# # 4. ResNet v2 for CIFAR-10
#
# Afterwards you can
#
# - say what pre-activation is, and show what it does to the stream of a network and what it does not;
# - write the pre-activation block, basic and bottleneck, and build ResNet-20 to ResNet-1001 from it;
# - tell the paper's v2 from the widely copied one, and account for each parameter of the difference.
#
# You need notebooks 1 to 3: skip, basic and bottleneck blocks, shortcuts A, B and C, 6n+2, the forms "example", "paper"
# and "standard". Reading takes about 40 minutes; running every cell takes about a minute on a CPU with 2 cores.

# %%
import resnet_lib as rl

import inspect

import keras
import numpy as np
from keras import layers

# %% [markdown]
# Nothing is trained in this notebook: every network is as it was initialised. You will send the same 32 pictures
# through many of them and look at what comes out of single layers. Batch normalisation (BN) uses the batch's
# statistics, as in training.

# %%
shapes = rl.datasets.shapes(train=32, validation=1, test=1)
images = shapes.train.images.astype("float32") / 255
images, labels = images - images.mean(), shapes.train.labels
SHAPE = (32, 32, 3)


def outputs(model, names):
    """What the named layers output for the 32 pictures."""
    tensors = [model.get_layer(name).output for name in names]
    probe = keras.Model(model.input, tensors)
    return [np.asarray(tensor) for tensor in probe(images, training=True)]


# %% [markdown]
# ## What stands on the main path
#
# In the networks of notebook 3, from here on called **v1**, the last step of each block is a ReLU. Three months later
# He et al. moved it [2]. Look at the layers of one block, in the order of computation, in both versions:

# %%
keras.utils.set_random_seed(1)
v1 = rl.resnet_v1(SHAPE, depth=38, form="paper")
v2 = rl.resnet_v2(SHAPE, depth=38, form="paper", block="basic")
for model in (v1, v2):
    names = [layer.name for layer in model.layers if layer.name.startswith("stage1_block2_")]
    print(f"{model.name}:", *(name.split("_")[-1] for name in names))

# %% [markdown]
# v1: convolution, BN, ReLU, convolution, BN, addition, ReLU. v2: BN, ReLU, convolution, BN, ReLU, convolution,
# addition. The same seven layers. As a picture:

# %%
rl.plots.block([(v1, "stage1_block2"), (v2, "stage1_block2")])

# %% [markdown]
# On the left v1: the ReLU at the bottom stands behind the addition, where every signal must pass it. On the right v2: behind the addition
# nothing stands, and the next block's arc begins there. In v2, BN and ReLU come before each convolution: **pre-activation**. Nothing comes
# after the addition.
#
# The **stream** (notebook 1) is what runs from addition to addition. In v1 it goes through a ReLU in every block, and that ReLU
# sets whatever is negative to zero.
#
# **Predict.** In an untrained v1 network, what share of the stream does the ReLU of a block set to zero? Half? More
# from block to block, or less?

# %%
rl.exercises.predict("04-cut", ...)  # Two shares, such as (0.5, 0.5): first block, last block.

# %% tags=["answer"]
additions = [layer.name for layer in v1.layers if layer.name.endswith("_add")]
share = [(tensor < 0).mean() for tensor in outputs(v1, additions)]
rl.plots.curves(
    {"v1, 38 layers": share},
    ylabel="share set to zero by the ReLU",
    xlabel="block",
    title="before training",
)

# %% tags=["answer", "nbval-approx"]
rl.exercises.compare("04-cut", measured=(round(float(share[0]), 2), round(float(share[-1]), 2)))

# %% [markdown]
# About a third in the first block of each stage (blocks 1, 7 and 13), then less from block to block, down to about a
# fifth. What leaves a ReLU is never negative, so within a stage the stream drifts upwards, away from zero. But the
# share never drops to nothing: every block cuts something off the stream, for good.
#
# ## Adding up
#
# Let x be the stream and F what the branch of a block computes. With nothing after the addition,
#
# $$x_{l+1} = x_l + F(x_l), \qquad x_{l+2} = x_l + F(x_l) + F(x_{l+1}), \qquad \ldots \qquad
# x_L = x_l + \sum_{i=l}^{L-1} F(x_i)$$
#
# for any two blocks l < L of a stage [2, equation 4]. Whatever is on the stream at block l is still there at block L,
# as one term of a sum. The derivative of the loss E follows at once [2, equation 5]:
#
# $$\frac{\partial E}{\partial x_l} = \frac{\partial E}{\partial x_L}\Bigl(1 + \frac{\partial}{\partial x_l}
# \sum_{i=l}^{L-1} F(x_i)\Bigr)$$
#
# The 1 says: the gradient at block L reaches block l in full, past all branches. Does it hold with a ReLU after the
# addition, too?
#
# **Predict.** Take stage 1 of both networks. To what block 1 outputs, add what the branches of blocks 2 to 6 output.
# Is the sum what block 6 outputs? About, or exactly?

# %%
rl.exercises.predict("04-sum", ...)  # In words, in quotes: "v1: …, v2: …".


# %% tags=["answer", "nbval-approx"]
def adds_up(model, block_end, branch_end):
    """Compare the end of stage 1 with its start plus all branches."""
    start, end = outputs(model, [f"stage1_block{i}_{block_end}" for i in (1, 6)])
    for branch in outputs(model, [f"stage1_block{i}_{branch_end}" for i in range(2, 7)]):
        start = start + branch
    print(f"{model.name}: ", end="")
    print(f"largest difference {abs(start - end).max():.1f}, largest value {abs(end).max():.1f}")
    return "equal to the last bit" if np.array_equal(start, end) else "not equal"


in_v2 = adds_up(v2, block_end="add", branch_end="conv2")
in_v1 = adds_up(v1, block_end="relu2", branch_end="bn2")
rl.exercises.compare("04-sum", v1=in_v1, v2=in_v2)

# %% [markdown]
# In v2 they are equal to the last bit, because the network adds the same numbers in the same order. In v1 the largest
# difference is nearly as large as the largest value: with a ReLU after the addition, neither equation holds.
#
# ## Why BN and ReLU go in front
#
# The stream of v2 has nothing on it. So nothing normalises it either: the branch has to do that for itself, first
# thing, and that is what the BN in front is for. There are other orders. The paper tried five with 110 layers on
# CIFAR-10 [2, table 2]. "On the stream" is what stands between one addition and the next:

# %%
for row in rl.paper.PREACTIVATION_ORDERS.rows:
    print(f"{row.order:26}on the stream: {row.on_the_stream:10}test error {row.error:.2f} %")

# %% [markdown]
# "Original" is v1, "full pre-activation" is v2. Each number is the median of five runs.
#
# The paper's explanations: BN after the addition alters the stream in every block. ReLU before the addition leaves the
# stream alone, but a branch can then only raise it, never lower it (notebook 1). With ReLU alone in front, the ReLU
# takes a stream that nothing has normalised. With both in front, the stream is free, the branch has normalised input,
# and what it adds may have either sign.
#
# ## The block by hand
#
# One step, used twice in the basic block and three times in the bottleneck: activate, then convolve. The two widths of
# the bottleneck are separate arguments, because the forms of v2 will differ in the first of them.


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


def bottleneck_v2(x, filters, filters_out):
    y = conv(bn_relu(x), filters, 1)
    y = conv(bn_relu(y), filters, 3)
    y = conv(bn_relu(y), filters_out, 1)
    return layers.Add()([x, y])


# %% [markdown]
# The library has both blocks. Are they equal to yours? As in notebook 2: the same weights, then compare what comes out,
# in training and in inference mode. Below, too, is the source of the library's bottleneck, without its docstring.
# `_preactivate` puts the first BN and ReLU where it is told; more about that soon.


# %%
def on_its_own(block, shape, *args, **options):
    """A model that consists of a single block."""
    inputs = keras.Input(shape)
    return keras.Model(inputs, block(inputs, *args, **options))


def same(mine, library):
    """Give both models the same weights, then compare what they output."""
    rng = np.random.default_rng(0)
    mine.set_weights([w + rng.uniform(0, 0.1, w.shape) for w in mine.get_weights()])
    library.set_weights(mine.get_weights())
    pictures = rng.normal(size=(4, *mine.input_shape[1:])).astype("float32")
    for training in (True, False):
        a, b = (np.asarray(model(pictures, training=training)) for model in (mine, library))
        print(f"training={training}: equal to within 1e-5: {np.allclose(a, b, 1e-5, 1e-5)}")


# %%
library = rl.blocks.preactivation_basic_block
same(on_its_own(basic_v2, (8, 8, 16), 16), on_its_own(library, (8, 8, 16), 16, name="b"))
library = rl.blocks.preactivation_bottleneck_block
mine = on_its_own(bottleneck_v2, (8, 8, 64), 16, 64)
same(mine, on_its_own(library, (8, 8, 64), 16, 64, name="b"))
print("".join(inspect.getsource(library).split('"""')[::2]))

# %% [markdown]
# ## The first block of a stage
#
# Where the shape changes, the stream itself has to change: a projection. What should feed the projection: the stream as
# it is, or the stream after BN and ReLU? The paper activates first and lets branch and projection take the result [2,
# appendix]. The projection has no BN of its own, because the next block begins with one. In the library, this is
# `preactivation="shared"`:


# %%
def first_v2(x, filters, filters_out, strides):
    x = bn_relu(x)  # before branch and projection
    y = conv(x, filters, 1, strides)
    y = conv(bn_relu(y), filters, 3)
    y = conv(bn_relu(y), filters_out, 1)
    x = conv(x, filters_out, 1, strides)  # the projection
    return layers.Add()([x, y])


mine = on_its_own(first_v2, (8, 8, 64), 32, 128, 2)
options = dict(strides=2, preactivation="shared", name="b")
same(mine, on_its_own(library, (8, 8, 64), 32, 128, **options))

# %% [markdown]
# The widely copied Keras example [3] does something else. Its stem is convolution, BN, ReLU; its very first block has
# no BN and ReLU in front of the first convolution; in all others they stand on the branch alone.
#
# **Predict.** In which of the three stages does its first block compute something else than the paper's? Ask live
# models which layer feeds the branch, and which feeds the projection:

# %%
rl.exercises.predict("04-first-blocks", ...)  # One stage or several: 1, (1, 2), …


# %% tags=["answer"]
def fed_by(model, name):
    """The layer whose output goes into the named one."""
    tensor = model.get_layer(name).input
    return next(layer.name for layer in model.layers if layer.output is tensor)


print(f"{'':24}{'feeds the branch':22}feeds the projection")
for form in ("paper", "example"):
    model, apart = rl.resnet_v2(SHAPE, depth=20, form=form), []
    for stage in (1, 2, 3):
        block = f"stage{stage}_block1"
        branch, projection = (fed_by(model, f"{block}_{end}") for end in ("conv1", "shortcut_conv"))
        apart += [stage] if branch != projection else []
        print(f"{form:9}{block:15}{branch:22}{projection}")
rl.exercises.compare("04-first-blocks", different_in_stages=tuple(apart))

# %% [markdown]
# The library says it so: the paper's first blocks are `"shared"`; the example's are `"branch"`, its very first one `"none"`, for the
# stem has activated already.
#
# In stage 1 both forms feed branch and projection alike: the first convolution, then BN and ReLU. Only the names
# differ. In stages 2 and 3 the example projects the raw stream, `…_add`, and activates the branch only.
#
# ## The network, stage by stage
#
# One convolution as stem, without BN, because the first block begins with one. Three stages of n blocks. Stage 1 keeps
# 32x32 pixels, and even it begins with a projection: the stem outputs 16 channels, the stage 64. The stream ends raw
# and large, so the head has a BN and a ReLU of its own; then the mean of each channel and the softmax.

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
x = layers.GlobalAveragePooling2D()(bn_relu(x))
mine = keras.Model(inputs, layers.Dense(10, activation="softmax")(x))
same(mine, rl.resnet_v2(SHAPE, depth=9 * n + 2, form="paper"))

# %% [markdown]
# Your network and `rl.resnet_v2` with `form="paper"` are the same function. Here is the library's builder, without its docstring. It
# has the plan of `rl.resnet_v1` in notebook 3. New are the two kinds of blocks, each with its widths, of a bottleneck the mid-width and
# the channels that leave it; `first`, which says where the first block of each stage activates; a BN and ReLU behind the stem, in
# one of the forms; and the BN and ReLU at the end:

# %%
print("".join(inspect.getsource(rl.resnet_v2).split('"""')[::2]))

# %% [markdown]
# The depth: three stages of n blocks with three convolutions each, so 9n; the stem and the dense layer make it
# **9n+2**. As in notebook 3, projections are not counted. With basic blocks it would be 6n+2. Some depths are both:

# %%
bottleneck, basic = rl.cifar.valid_depths("bottleneck"), rl.cifar.valid_depths("basic")
print("9n+2:", *bottleneck[:8], "…", bottleneck[-1])
print("6n+2:", *basic[:8], "…", basic[-1])
print("both:", *[depth for depth in bottleneck if depth in basic][:7], "…")

# %% [markdown]
# So "ResNet-20, 56 or 110, v2" does not say which blocks are meant. Remember 110; it will come up again.
#
# Beside each other, v2 with bottleneck blocks and v1, three blocks in each stage of both:

# %%
rl.plots.feature_maps(rl.resnet_v2(SHAPE, depth=29, form="paper"))

# %%
rl.plots.feature_maps(rl.resnet_v1(SHAPE, depth=20, form="paper"))

# %% [markdown]
# From left to right in both: the stem, then three stages; height and width halve twice. The scales differ: in the upper
# figure the channels are drawn at half their length. Read the numbers: the stages of v2 output four times as many
# channels, 64, 128 and 256 in place of 16, 32 and 64. The stream is wide; the 3x3 convolutions work on a quarter of it.
#
# ## Two networks under one name
#
# On a quarter in the paper, that is. The **mid-widths**, the channels of the 3x3 convolutions, are 16, 32, 64 in the
# paper, and 16, **64, 128** in the Keras example: half the stream in stages 2 and 3.
#
# **Predict.** At 164 layers, how much larger is the example's network: by a tenth, by half, by more?

# %%
rl.exercises.predict("04-example", ...)  # How many times as large, such as 1.1.

# %% tags=["answer"]
resnet164 = {form: rl.resnet_v2(SHAPE, 164, form=form) for form in ("example", "paper")}
print(f"{'164 layers':12}{'parameters':>12}{'trainable':>12}{'multiply-adds':>16}")
for form, model in resnet164.items():
    count, cost = rl.count_parameters(model), rl.count_multiply_adds(model)
    print(f"{form:12}{count.total:>12,}{count.trainable:>12,}{cost:>16,}")
print(f"known, example: {rl.paper.V2_EXAMPLE_FORM.row(164).trainable:,}")
print(f"known, paper:   {rl.paper.V2_PAPER_FORM.row(164).parameters:,}")
print("printed in the paper:", rl.paper.TABLE_3_PREACTIVATION.row(164).parameters, "million")
sizes = {form: rl.count_parameters(model).trainable for form, model in resnet164.items()}
rl.exercises.compare("04-example", times=round(sizes["example"] / sizes["paper"], 1))

# %% [markdown]
# Nearly three times the parameters, more than twice the work. The paper's form rounds to the number that the paper
# prints; the example's does not. Where do the additional parameters sit? Sort them by the layer they belong to.
# (`conv1` and `conv3` of a block are its 1x1 convolutions, `conv2` is the 3x3; `conv` is the stem.)


# %%
def by_kind(model):
    counts = {}
    for weight in model.trainable_weights:
        layer, name = weight.path.split("/")
        kernel_of = layer.split("_", 2)[-1]
        kind = {"gamma": "BN", "beta": "BN", "bias": "biases"}.get(name, kernel_of)
        counts[kind] = counts.get(kind, 0) + int(np.prod(weight.shape))
    return counts


example, paper = (by_kind(resnet164[form]) for form in ("example", "paper"))
print(f"{'':16}{'example':>12}{'paper':>12}{'difference':>12}")
for name, count in example.items():
    print(f"{name:16}{count:>12,}{paper[name]:>12,}{count - paper[name]:>12,}")
print(f"{'sum':40}{sum(example.values()) - sum(paper.values()):>12,}")

# %% [markdown]
# Stem, projections and dense kernel are equal. Account for the rest by hand, with n = 18 blocks in each stage. Stage 1
# has the same widths in both; in stages 2 and 3, the mid-widths are 64 against 32 and 128 against 64:

# %%
n = 18
stages = ((64 - 32, 128), (128 - 64, 256))  # difference of the mid-widths, width of the stage
print(f"conv2:  {9 * n * (64**2 - 32**2 + 128**2 - 64**2):,}")
print(f"conv3:  {sum(n * more * out for more, out in stages):,}")
print(f"conv1:  {sum((n - 1) * more * out + more * out // 2 for more, out in stages):,}")
print(f"BN:     {sum(n * 2 * 2 * more for more, out in stages):,}")
blocks = n * sum(2 * mid + out for mid, out in ((16, 64), (64, 128), (128, 256)))
print(f"biases: {blocks + (64 + 128 + 256) + 16:,}")

# %% [markdown]
# - `conv2`: 9 weights for each pair of channels, and twice the channels on both sides. Three quarters of the difference.
# - `conv3`, `conv1`: twice the channels on one side. The first `conv1` of a stage takes the stage before, half as wide: hence the half.
# - BN: two of the three in a block stand at the mid-width, each with a scale and a shift. The example's stem has a BN that the paper's
#   lacks, and its first block lacks one that the paper's has: 16 channels each, so they cancel.
# - Biases: those of the blocks, the projections and the stem. Less than one in a hundred of the difference.
#
# So it is the mid-widths that make the example's v2 another network. The rest is small change.
#
# ## The paper's ResNet-110 v2
#
# Now back to 110. The paper's 110 layers are 54 units of two convolutions [2, section 3.1]: basic blocks, 6n+2 with n =
# 18. But 9n+2 with n = 12 makes 110 layers, too. Build whatever goes by the name of ResNet-110, and look at what the
# paper [2, table 3] and the documentation of the Keras example report:

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
for row in rl.paper.TABLE_3_PREACTIVATION.rows:
    errors = f"v1 {row.error_original:.2f} %, v2 {row.error_preactivation:.2f} %"
    print(f"paper: {row.depth:>4} layers, {row.block:11} test error {errors}")
accuracy = rl.paper.EXAMPLE_ACCURACY.row(110)
print(f"example, 110 layers: test accuracy {accuracy.v2} %, of the paper {accuracy.v2_paper} %")

# %% [markdown]
# The first two networks agree to the last parameter: pre-activation moves layers and adds none. These two are the pair
# in the paper's first row. The accuracy of 93.63 % that the example sets beside its own is 6.37 % error: the basic
# network. The example's own network is a bottleneck with nearly twice as many parameters. The two have their depth in
# common, and little else.
#
# ## Signals at the start
#
# Does v2 carry signal and gradient better? Measure it in the pair from the paper: 110 layers, 54 blocks, equally many
# parameters. First the variance of the stream at the end of each block, and in v2 also what the first BN of each branch
# makes of it:

# %%
v1, v2 = resnet110["v1, basic, paper"], resnet110["v2, basic, paper"]
V1_STREAM, V2_STREAM = r"block\d+_relu2$", r"block\d+_add$"
rl.plots.signals(
    {
        "v1": rl.activation_variances(v1, images, layers_named=V1_STREAM),
        "v2": rl.activation_variances(v2, images, layers_named=V2_STREAM),
        "v2, after BN": rl.activation_variances(v2, images, layers_named=r"block\d+_bn1$"),
    },
    log=False,
    title="110 layers, basic blocks, paper's form, before training",
)

# %% [markdown]
# Within a stage both streams grow steadily, v2's (dashed) faster. The line at the bottom is what v2's branches work on:
# variance 1, however large the stream. At the two stage borders v1 drops a little, because the new channels of shortcut
# A are zeros. v2 drops to about 1: in the paper's form the shortcut is activated there, so each stage starts anew. The
# example's form leaves the stream as it is. Compare, with bottleneck blocks:

# %%
rl.plots.signals(
    {
        form: rl.activation_variances(
            resnet110[f"v2, bottleneck, {form}"], images, layers_named=V2_STREAM
        )
        for form in ("paper", "example")
    },
    log=False,
    title="v2, 110 layers, bottleneck blocks, before training",
)

# %% [markdown]
# In stage 1 the lines are one, as the layers' inputs have told. Then the paper's form (solid) starts anew in each
# stage, while the example's (dashed) carries the variance on, and each projection about doubles it.
#
# Now backwards.
#
# **Predict.** v1 or v2: in which of the two are the gradients of the convolutions more even from the first to the last?

# %%
rl.exercises.predict("04-gradients", ...)  # "v1" or "v2".

# %% tags=["answer"]
norms = {name: rl.gradient_norms(m, images, labels) for name, m in {"v1": v1, "v2": v2}.items()}
rl.plots.signals(norms, title="110 layers, basic blocks, paper's form, before training")

# %% tags=["answer"]
convolutions = {name: signal.values[:-1] for name, signal in norms.items()}
spread = {name: values.max() / values.min() for name, values in convolutions.items()}
rl.exercises.compare("04-gradients", more_even=min(spread, key=spread.get))

# %% [markdown]
# In v1 (solid), the norms fall in stage 1 and then stay within a factor of about two. In v2 (dashed), they fall in
# every stage and jump up where the next one begins; the last convolutions get the smallest. (The last point of each
# line is the dense layer.) So at the start v1's gradients are the more *even* ones. "v2 has the better gradients" is
# not what you see.
#
# What, then, of the 1 in equation 5? It does not speak of norms. It says that the gradient at a later block is
# *contained in* the gradient at an earlier one. That, too, can be measured: how much of the later gradient is found in
# the earlier one (their inner product, divided by that of the later one with itself).


# %%
def stage_1_gradients(model, block_end):
    """The gradient of the loss by what each block of stage 1 outputs."""
    import tensorflow as tf

    ends = [model.get_layer(f"stage1_block{i}_{block_end}").output for i in range(1, 19)]
    probe = keras.Model(model.input, [*ends, model.output])
    with tf.GradientTape() as tape:
        *stream, predictions = probe(images, training=True)
        losses = keras.losses.sparse_categorical_crossentropy(labels, predictions)
        loss = tf.reduce_mean(losses)
    return [np.asarray(gradient) for gradient in tape.gradient(loss, stream)]


# %%
def arriving(gradients):
    """How much of the last gradient is contained in each."""
    last = gradients[-1]
    return [(gradient * last).sum() / (last * last).sum() for gradient in gradients]


gradients = {"v1": stage_1_gradients(v1, "relu2"), "v2": stage_1_gradients(v2, "add")}
rl.plots.curves(
    {name: arriving(by_block) for name, by_block in gradients.items()},
    ylabel="share of block 18's gradient",
    xlabel="block of stage 1",
    title="110 layers, basic blocks, paper's form, before training",
)

# %% [markdown]
# Read it from right to left, as the gradient goes. In v2 (dashed) about all of it arrives, at every block: here is the
# 1. (The branches' part of equation 5 points elsewhere, but not quite at a right angle: hence the gap.) In v1
# (solid) the ReLUs on the main path take something away in every block, and less than a third is left at the first.
#
# One initialisation is one observation. So take another. For both networks, print
#
# - arrives: the share that arrives at block 1;
# - growth: the norm of the gradient by the stream at block 1, divided by that at block 18;
# - range: the largest norm of a convolution's gradient, divided by the smallest. You have seen both ends in the figure of the norms.


# %% tags=["nbval-approx"]
keras.utils.set_random_seed(2)
others = {
    "v1": (rl.resnet_v1(SHAPE, 110, form="paper"), "relu2"),
    "v2": (rl.resnet_v2(SHAPE, 110, form="paper", block="basic"), "add"),
}
print(f"{'seed 2':8}{'arrives':>10}{'growth':>10}{'range':>10}")
for name, (model, block_end) in others.items():
    by_block = stage_1_gradients(model, block_end)
    growth = np.linalg.norm(by_block[0]) / np.linalg.norm(by_block[-1])
    norms = rl.gradient_norms(model, images, labels).values[:-1]  # without the dense layer
    spread = norms.max() / norms.min()
    print(f"{name:8}{arriving(by_block)[0]:>10.2f}{growth:>10.1f}{spread:>10.1f}")

# %% [markdown]
# Both findings hold: v2's stream passes the gradient on in full, and its kernels' gradients are less even. Mind the
# growth: in both networks the gradient at block 1 is more than ten times as large as at block 18. What has come
# directly is the smaller part of it; the branches have added the rest.
#
# So before training, v2 has a free path in both directions, and norms that are no better. Whether the path helps is a
# question for training. The paper's answer, in the table above, depends on depth: a little at 110 layers, much at 1001,
# where v1 is worse than at 164 and v2 better.
#
# ## A thousand layers
#
# The blocks of a stage are equal, but for the first. So parameters grow by the same amount with each step of n, and two
# depths tell you all others. Predict ResNet-1001 from 110 and 164 layers, then build it, in the paper's form: 333
# blocks, some seconds.


# %%
for form in ("example", "paper"):
    small = rl.count_parameters(resnet110[f"v2, bottleneck, {form}"]).trainable
    large = rl.count_parameters(resnet164[form]).trainable
    predicted = small + (1001 - 110) * (large - small) // (164 - 110)
    print(f"predicted, {form:9}{predicted:>12,}")
resnet1001 = rl.resnet_v2(SHAPE, depth=1001, form="paper")
print(f"built, paper        {rl.count_parameters(resnet1001).trainable:>12,}")
print(f"known, paper        {rl.paper.V2_PAPER_FORM.row(1001).parameters:>12,}")
print("printed in the paper:", rl.paper.TABLE_3_PREACTIVATION.row(1001).parameters, "million")
print(f"multiply-adds: {rl.count_multiply_adds(resnet1001):,}")

# %% [markdown]
# As predicted; again the example's form has nearly three times as many. But 10,327,706 rounds to 10.3 million, and the
# paper prints 10.2. Which way of counting gives the printed 1.7 and 10.2? Try four:

# %%
ways = {"everything": (), "no projections": ("shortcut_conv",), "no BN": ("BN",)}
ways["neither"] = ("shortcut_conv", "BN")
for name, left_out in ways.items():
    for depth, model in {164: resnet164["paper"], 1001: resnet1001}.items():
        count = sum(number for kind, number in by_kind(model).items() if kind not in left_out)
        print(f"{name:15}{depth:>5} layers:{count:>11,}, {count / 1e6:.1f} million")

# %% [markdown]
# One of the four gives both: everything but the scales and shifts of BN. The paper does not say how it counted, so this
# is a guess that fits, and no more.
#
# ## Summary
#
# - Pre-activation: BN, ReLU, convolution, and the addition last. Layers are moved, none is added.
# - In a stage of v2, the end is exactly the start plus all branches, and its gradient arrives in full at every block. Not so in v1.
# - At initialisation v2's gradient norms are not more even than v1's. The gain is in the paper's test errors, large only at 1001 layers.
# - The Keras example's v2 has mid-widths 16, 64, 128, the paper's 16, 32, 64: nearly three times the parameters at 164 layers.
# - Bottleneck blocks make 9n+2 layers, basic ones 6n+2. The paper's ResNet-110 v2 is basic, its 164 and 1001 are bottleneck.

# %% [markdown]
# ## Exercises
#
# Each exercise has a cell for your answer and a cell that checks it. The check names a mistake, not the answer.
# For a hint, run `rl.exercises.hint("04-blocks")` in a cell of your own, and run it again for a further one.
#
# ### Exercise 1: blocks
#
# *Easy, 3 minutes.*
# ResNet-218 v2 is built of bottleneck blocks. How many of them has each stage?

# %% tags=["exercise-04-blocks"]
blocks_218 = ...

# %%
rl.exercises.check("04-blocks", blocks_218)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# blocks_218 = (218 - 2) // 9
# ```
#
# A bottleneck block has three convolutions, and there are three stages: 9n+2.
#
# </details>

# %% [markdown]
# ### Exercise 2: pre-activation
#
# *Medium, 10 minutes.*
# Write the basic pre-activation block with an identity shortcut: two 3x3 convolutions without biases, each of them behind
# batch normalisation and ReLU. `x` has `filters` channels already. Begin each layer's name with `name`.
# The check gives your block and the library's the same weights and compares their outputs, then trains both for a step and compares what has changed.
#
# Begin, if you like, with the block that you wrote in notebook 2: the next cell puts its source into a new cell, to run or to change. If you have not written one, it
# shows a call of the library's, in which there is nothing to reorder.

# %%
rl.exercises.recall("02-identity-block")


# %% tags=["exercise-04-preactivation"]
def preactivation_block(x, filters, name):
    """Return the output of a basic pre-activation block; it has the shape of `x`."""
    ...


# %%
rl.exercises.check("04-preactivation", preactivation_block)

# %% [markdown]
# Two blocks of yours, or of the library's, one behind the other:

# %%
block = rl.exercises.answer("04-preactivation")
inputs = keras.Input((32, 32, 16))
x = block(inputs, 16, name="block1")
rl.plots.block(keras.Model(inputs, block(x, 16, name="block2")))

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def preactivation_block(x, filters, name):
#     """Return the output of a basic pre-activation block; it has the shape of `x`."""
#     y = x
#     for i in (1, 2):
#         y = layers.BatchNormalization(name=f"{name}_bn{i}")(y)
#         y = layers.ReLU(name=f"{name}_relu{i}")(y)
#         y = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"{name}_conv{i}")(y)
#     return layers.Add(name=f"{name}_add")([x, y])
# ```
#
# The skip takes the raw `x`, and nothing follows the addition: from block to block, `x` is only ever added to.
#
# </details>

# %% [markdown]
# ### Exercise 3: the paper's widths
#
# *Medium, 4 minutes.*
# The bottleneck stages of a v2 network output 64, 128 and 256 channels. Which mid-widths does the paper's network have in
# stages 1, 2 and 3? Answer with a tuple of three numbers.

# %% tags=["exercise-04-mid-widths"]
mid_widths = ...

# %%
rl.exercises.check("04-mid-widths", mid_widths)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# mid_widths = (64 // 4, 128 // 4, 256 // 4)
# ```
#
# The widely copied example has 16, 64 and 128 instead, and many more parameters at every depth.
# Compare `rl.resnet_v2((32, 32, 3), 164)` with `form="paper"`.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: *Deep Residual Learning for Image Recognition*, 2015, arXiv 1512.03385.
# 2. K. He, X. Zhang, S. Ren, J. Sun: *Identity Mappings in Deep Residual Networks*, 2016, arXiv 1603.05027. Code for
#    ResNet-1001, with the projections described here: https://github.com/KaimingHe/resnet-1k-layers.
# 3. The Keras example `cifar10_resnet.py`, the builders that most people copy.

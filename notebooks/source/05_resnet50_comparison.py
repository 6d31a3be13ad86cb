# %% [markdown]
# # 5. ResNet-50, built and proved
#
# Afterwards you can
#
# - write ResNet-50 from your own block, and the rest of its family with the same function;
# - copy the weights of `keras.applications` into your network, and prove that it gives the same answers;
# - find a fault that no count and no shape shows;
# - tell the three networks that are called ResNet-50 apart, and ResNet-50 from ResNet-56.
#
# You need notebooks 1 to 3. Reading takes about 35 minutes, the tasks about an hour and a half; running every cell takes about half a minute on a CPU with 2 cores.

# %%
import resnet_lib as rl

import inspect

import keras
import numpy as np
from keras import layers

# %% [markdown]
# The networks of notebooks 3 and 4 are made for pictures of 32x32. The first paper has a second family, for ImageNet: 1,000 classes,
# pictures of 224x224 [[1](https://arxiv.org/abs/1512.03385), table 1]. ResNet-50 belongs to it.
#
# ## The stem
#
# Such a picture has 49 times the pixels of one of 32x32. So the network begins by making it small: a 7x7 convolution with stride 2 to 64 channels, then the
# maximum of each 3x3 window of a channel, again with stride 2. Both pad, so each halves height and width.
#
# **Predict.** What is the side of the map after the convolution, and after the maximum? By what factor has the number of pixels shrunk?

# %%
rl.exercises.predict("05-stem", ...)  # Three numbers: (side, side, factor).

# %% [markdown]
# Here is a convolution with its BN, as in notebook 2. This time each layer gets a name, because you will look for layers by their names later. The stem below it is one that is often published.


# %% tags=["setup"]
def conv_bn(x, filters, kernel_size=3, strides=1, padding="same", *, name):
    """A convolution called `name`, such as "stage1_block2_conv3", and its BN."""
    options = dict(strides=strides, padding=padding, use_bias=False)
    options |= dict(kernel_initializer="he_normal", name=name)
    x = layers.Conv2D(filters, kernel_size, **options)(x)
    return layers.BatchNormalization(epsilon=1e-5, name=name.replace("conv", "bn"))(x)


def stem(x):
    x = layers.ReLU()(conv_bn(x, 64, 7, strides=2, name="stem_conv"))
    return layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


# %% tags=["answer"]
inputs = keras.Input((224, 224, 3))
small_map = stem(inputs)
stem_alone = keras.Model(inputs, small_map)
convolved, side = stem_alone.get_layer("stem_conv").output.shape[1], small_map.shape[1]
rl.exercises.compare("05-stem", counted=(convolved, side, 224**2 // side**2))

# %% [markdown]
# A sixteenth of the pixels is left, and everything behind the stem costs a sixteenth of what it would cost otherwise.
#
# ### Exercise: write the bottleneck block
#
# *Medium, 10 minutes.*
# Behind the stem stand sixteen bottleneck blocks (notebook 2): 1x1, 3x3 and 1x1, with four times as many channels at the end. Write one with `conv_bn`. The stride belongs to the first 1x1. Where the shape changes, in
# height and width or in the channels, the skip is a projection; otherwise it is `x` itself. Call the convolutions `f"{name}_conv1"` to `f"{name}_conv3"`, and the projection `f"{name}_shortcut_conv"`.
# If you have solved it in notebook 2, `rl.exercises.recall("02-bottleneck-block")` in a cell of your own shows what you wrote; take the block from it, with the new names, and leave `conv_bn` as it is here.
# The check gives your block and the library's the same weights and compares what they output.


# %% tags=["exercise-05-bottleneck"]
def bottleneck_block(x, filters, strides, name):
    """Return the output of a bottleneck block; `filters` is its mid-width."""
    ...


# %%
rl.exercises.check("05-bottleneck", bottleneck_block)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def bottleneck_block(x, filters, strides, name):
#     """Return the output of a bottleneck block; `filters` is its mid-width."""
#     y = layers.ReLU()(conv_bn(x, filters, 1, strides, name=f"{name}_conv1"))
#     y = layers.ReLU()(conv_bn(y, filters, 3, name=f"{name}_conv2"))
#     y = conv_bn(y, 4 * filters, 1, name=f"{name}_conv3")
#     if strides > 1 or x.shape[-1] != 4 * filters:
#         x = conv_bn(x, 4 * filters, 1, strides, name=f"{name}_shortcut_conv")
#     return layers.ReLU()(layers.Add()([x, y]))
# ```
#
# `x` is replaced only after the branch has been built from it. The ReLU acts on the sum, so that the branch can also take something away.
#
# </details>

# %% [markdown]
# Two of them, drawn from the live models: the first of stage 2, and one of those behind it.

# %%
bottleneck_block = rl.exercises.answer("05-bottleneck")


def on_its_own(shape, filters, strides):
    inputs = keras.Input(shape)
    return keras.Model(inputs, bottleneck_block(inputs, filters, strides, "block"))


first, second = on_its_own((56, 56, 256), 128, 2), on_its_own((28, 28, 512), 128, 1)
rl.plots.block({"first of stage 2": first, "second of stage 2": second})

# %% [markdown]
# "/2" in a box means that the layer has a stride of 2: it moves on by two pixels each time, so that it outputs half the height and half the width. On the left, the first 1x1 convolution and the projection on the
# arc have it, and both ways arrive with 28x28x512. On the right, nothing stands on the arc.
#
# ## Four stages
#
# There are four stages of 3, 4, 6 and 3 blocks with mid-widths of 64, 128, 256 and 512. From stage 2 on, the first block of a stage has stride 2. Stage 1 keeps height and width, because the maximum in the stem has just halved them.
# It begins with a projection block nevertheless: 64 channels come in, and 256 go out.
#
# ### Exercise: find the shape behind stage 3
#
# *Easy, 4 minutes.*
# ResNet-50 gets pictures of 160x160. All of its convolutions and its maximum pad.
# What does stage 3 output? Answer with a tuple (height, width, channels), worked out by hand.

# %% tags=["exercise-05-shape"]
stage_3 = ...

# %%
rl.exercises.check("05-shape", stage_3)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# side = 160 // 2 // 2 // 2 // 2
# stage_3 = (side, side, 4 * 256)
# ```
#
# Four strides of 2: the convolution and the maximum of the stem, then the first blocks of stages 2 and 3.
# `rl.feature_maps(rl.resnet50((160, 160, 3)))` shows all stages.
#
# </details>

# %% [markdown]
# ### Exercise: write the whole network
#
# *Medium, 12 minutes.*
# Write the function that builds it. `stem` and `block` are functions such as yours, and `units` holds the numbers of blocks, `(3, 4, 6, 3)` for ResNet-50. Call each block as
# `block(x, filters, strides, name=...)`, with the name `stage1_block1` for the first. Behind the last block come global average pooling and a dense layer with softmax, called `head_dense`.
# The check hands over a stem and a block of its own and looks at what they are called with.


# %% tags=["exercise-05-network"]
def resnet(stem, block, units, input_shape=(224, 224, 3), num_classes=1000):
    """Return the network: stem, four stages of blocks, global average pooling, dense softmax."""
    ...


# %%
rl.exercises.check("05-network", resnet)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def resnet(stem, block, units, input_shape=(224, 224, 3), num_classes=1000):
#     """Return the network: stem, four stages of blocks, global average pooling, dense softmax."""
#     inputs = keras.Input(input_shape)
#     x = stem(inputs)
#     for stage, n in enumerate(units, start=1):
#         for number in range(1, n + 1):
#             strides = 2 if stage > 1 and number == 1 else 1
#             x = block(x, 64 * 2 ** (stage - 1), strides, name=f"stage{stage}_block{number}")
#     x = layers.GlobalAveragePooling2D()(x)
#     outputs = layers.Dense(num_classes, activation="softmax", name="head_dense")(x)
#     return keras.Model(inputs, outputs)
# ```
#
# The mid-width doubles from stage to stage, and only the first block of a stage has a stride. The block widens to four times the mid-width by itself.
#
# </details>

# %%
resnet = rl.exercises.answer("05-network")
yours = resnet(stem, bottleneck_block, (3, 4, 6, 3))

# %% [markdown]
# That is your ResNet-50.
#
# **Predict.** How do you get to 50 layers? Count what has a kernel and is not a projection.

# %%
rl.exercises.predict("05-layers", ...)  # Three numbers: (in the stem, in the blocks, in the head).

# %% tags=["answer"]
kernels = [layer.name for layer in yours.layers if hasattr(layer, "kernel")]
main_path = [name for name in kernels if "shortcut" not in name]
counted = [sum(name.startswith(part) for name in main_path) for part in ("stem", "stage", "head")]
print(f"{len(main_path)} layers, and {len(kernels) - len(main_path)} projections")
rl.exercises.compare("05-layers", counted=tuple(counted))

# %% [markdown]
# What each stage outputs, for two sizes of pictures:

# %%
feature_maps = {224: yours, 64: resnet(stem, bottleneck_block, (3, 4, 6, 3), (64, 64, 3), 10)}
rl.plots.feature_maps({f"{side}x{side}": model for side, model in feature_maps.items()})

# %% [markdown]
# Above for 224x224, below for 64x64, both to one scale; the titles say by how much the channels are drawn shorter than they are. The channels are the
# same, for they belong to the network. Height and width belong to the picture: 7x7 at the end above, and only 2x2 below. The convolutions' parameters do not depend
# on the picture either.
#
# ## Is it the one in keras.applications?
#
# `keras.applications.ResNet50` is what most people mean by ResNet-50 in Keras, and there are trained weights for it. Count both:

# %%
theirs = keras.applications.ResNet50(weights=None)
counts = {"yours": rl.count_parameters(yours), "theirs": rl.count_parameters(theirs)}
for name, count in counts.items():
    print(f"{name:7} {count.trainable:,} trainable, {count.non_trainable:,} not trainable")
print(f"more:   {counts['theirs'].trainable - counts['yours'].trainable:,}")

# %% [markdown]
# **Predict.** Theirs has the same convolutions, with the same kernels. What are the parameters that it has besides?

# %%
rl.exercises.predict("05-forms", ...)  # In words, in quotes.

# %% tags=["answer"]
by_kind = {"yours": rl.inspection.count_by_kind(yours)}
by_kind["theirs"] = rl.inspection.count_by_kind(theirs)
print(f"{'':24}{'yours':>12}{'theirs':>12}")
for kind in rl.inspection.KINDS:
    print(f"{kind:24}{by_kind['yours'][kind]:>12,}{by_kind['theirs'][kind]:>12,}")
more = [kind for kind, n in by_kind["theirs"].items() if n > by_kind["yours"][kind]]
rl.exercises.compare("05-forms", more_of=", ".join(more))

# %% [markdown]
# Each of their convolutions has biases, and the BN behind it takes them off again (notebook 2). So the two networks can compute the same, although their
# weights differ. To prove that, give yours their weights and compare what comes out.
#
# With random values in *every* place of theirs, among them the moving statistics of BN, nothing agrees by accident. Where Keras can download ImageNet's weights, the full profile takes those; for that, run `rl.set_profile("full")` first.


# %%
def randomise(model, seed=0):
    """Give every weight a random value, such that the signal neither dies nor explodes."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        weights = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name == "kernel":
                weights.append(rng.normal(0, 1 / np.sqrt(np.prod(shape[:-1])), shape))
            elif weight.name in ("gamma", "moving_variance"):
                weights.append(rng.uniform(0.5, 1.5, shape))
            else:
                weights.append(rng.normal(0, 0.3, shape))
        layer.set_weights(weights)


# %%
randomise(theirs)
if rl.profile() == "full":
    try:
        theirs.set_weights(rl.resnet50(weights="imagenet").get_weights())
    except ConnectionError as error:
        print(error)

# %% [markdown]
# ### Exercise: copy their weights into your network
#
# *Hard, 15 minutes.*
# Write the function that gives each of your layers the weights of theirs. `rl.imagenet.keras_name` translates the name of a layer of yours:

# %%
for name in ("stem_conv", "stage2_block1_conv3", "stage2_block1_bn3", "head_dense"):
    weights = theirs.get_layer(rl.imagenet.keras_name(name)).weights
    shapes = ", ".join(f"{weight.name} {tuple(weight.shape)}" for weight in weights)
    print(f"{name} is {rl.imagenet.keras_name(name)}: {shapes}")

# %% [markdown]
# Your convolutions have no room for a bias. In inference their BN computes `gamma * (x + bias - moving_mean) / sqrt(moving_variance + epsilon) + beta`, where `x` is what the kernel gives; yours gets `x` without the bias. In training mode
# BN subtracts the batch's own mean in place of the moving one. Which of your weights has to differ from theirs, so that the two agree in both modes?


# %% tags=["exercise-05-copy"]
def copy_weights(mine, theirs):
    """Give each layer of `mine` the weights of keras.applications' network `theirs`."""
    ...


# %%
rl.exercises.check("05-copy", copy_weights)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def copy_weights(mine, theirs):
#     """Give each layer of `mine` the weights of keras.applications' network `theirs`."""
#
#     def of_theirs(name):
#         return theirs.get_layer(rl.imagenet.keras_name(name)).get_weights()
#
#     for layer in mine.layers:
#         if isinstance(layer, layers.Conv2D):
#             kernel, bias = of_theirs(layer.name)
#             layer.set_weights([kernel])
#         elif isinstance(layer, layers.BatchNormalization):
#             gamma, beta, mean, variance = of_theirs(layer.name)
#             kernel, bias = of_theirs(layer.name.replace("bn", "conv"))
#             layer.set_weights([gamma, beta, mean - bias, variance])
#         elif isinstance(layer, layers.Dense):
#             layer.set_weights(of_theirs(layer.name))
# ```
#
# x + bias - mean is x - (mean - bias), so the bias disappears in the moving mean. Put into beta, it would be right in inference and wrong in training mode, where the batch's mean takes the bias off.
#
# </details>

# %% [markdown]
# Now yours gets their weights, and both get the same pictures. A softmax can hide a difference, so the class scores before it are compared:


# %%
def scores(model, pictures, training):
    """What the dense layer outputs before its softmax."""
    (dense,) = [layer for layer in model.layers if isinstance(layer, layers.Dense)]
    kept = model.get_weights()  # Training mode moves the statistics of BN.
    features = keras.Model(model.input, dense.input)(pictures, training=training)
    model.set_weights(kept)
    return np.asarray(features) @ np.asarray(dense.kernel) + np.asarray(dense.bias)


def compare(a, b, pictures):
    for training in (False, True):
        one, other = (scores(model, pictures, training) for model in (a, b))
        difference = abs(one - other).max() / abs(other).max()
        print(f"training={training}: equal to within 1e-4: {difference < 1e-4}")


copy_weights = rl.exercises.answer("05-copy")
copy_weights(yours, theirs)
pictures = np.random.default_rng(1).uniform(-1, 1, (2, 224, 224, 3)).astype("float32")
compare(yours, theirs, pictures)

# %% [markdown]
# They do not agree, in neither mode. The weights are where they belong, as the check has seen. So something is different that is no weight, and has no effect on a shape or a count. Look for the first layer
# behind which the two differ:

# %%
for name in ("stem_bn", "stage1_block3_bn3", "stage4_block3_bn3"):
    mine = keras.Model(yours.input, yours.get_layer(name).output)(pictures)
    same_layer = theirs.get_layer(rl.imagenet.keras_name(name))
    other = keras.Model(theirs.input, same_layer.output)(pictures)
    difference = np.abs(np.asarray(mine) - np.asarray(other)).max() / np.abs(other).max()
    print(f"{name:18} {tuple(mine.shape)}, equal to within 1e-4: {difference < 1e-4}")

# %% [markdown]
# ### Exercise: repair the stem
#
# *Medium, 8 minutes.*
# The first convolution already outputs something else. In the cell below is the stem once more, as it was. Find what is different from the one that `keras.applications` has, and repair it.
# The picture below may help: a row of 8 pixels, a window of 3 with stride 2. TensorFlow's `padding="same"` adds only as many zeros as the last window needs, and the odd one comes last.
#
# ```
# padding="same":     [1 2 3] 4 5 6 7 8 0     windows begin at pixel 1, 3, 5, 7
# ZeroPadding2D(1): [0 1 2] 3 4 5 6 7 8 0     windows begin at pixel 0, 2, 4, 6
# ```


# %% tags=["exercise-05-fault-stem"]
def stem(x):
    x = layers.ReLU()(conv_bn(x, 64, 7, strides=2, name="stem_conv"))
    return layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)


# %%
rl.exercises.check("05-fault-stem", stem)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def stem(x):
#     x = layers.ZeroPadding2D(3)(x)
#     x = layers.ReLU()(conv_bn(x, 64, 7, strides=2, padding="valid", name="stem_conv"))
#     x = layers.ZeroPadding2D(1)(x)
#     return layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
# ```
#
# Both layers have to be repaired. Each window moves by one pixel, and so does everything that the weights have learnt to expect.
#
# </details>

# %% [markdown]
# Build yours anew with the repaired stem, and compare once more:

# %%
stem = rl.exercises.answer("05-fault-stem")
yours = resnet(stem, bottleneck_block, (3, 4, 6, 3))
copy_weights(yours, theirs)
compare(yours, theirs, pictures)

# %% [markdown]
# They agree in inference, where BN uses its moving statistics, and in training, where it uses the batch's. A network that is trained with the first stem from its beginning learns weights that fit this stem, so nothing would ever look
# wrong. The fault shows only when weights come from elsewhere. Now your network gives their answers:

# %%
for name, model in {"theirs": theirs, "yours": yours}.items():
    probabilities = np.asarray(model(pictures, training=False))[0]
    best = np.argsort(probabilities)[::-1][:3]
    print(f"{name:7}", ", ".join(f"class {number}: {probabilities[number]:.1%}" for number in best))

# %% [markdown]
# Random weights give a random opinion, but both give the same one. With ImageNet's weights, the numbers are those of ImageNet's classes, and `keras.applications.resnet.decode_predictions` knows their names. Pictures
# then have to go through `keras.applications.resnet.preprocess_input` first, because the weights were trained on pictures prepared in this way. How pictures are prepared is another thing that is no weight.
#
# A proof that cannot fail proves nothing. So exchange the weights of two layers of the same shape in yours:

# %%
one, other = (yours.get_layer(name) for name in ("stage2_block2_conv2", "stage2_block3_conv2"))
kept = one.get_weights()
one.set_weights(other.get_weights())
other.set_weights(kept)
compare(yours, theirs, pictures)
other.set_weights(one.get_weights())
one.set_weights(kept)

# %% [markdown]
# The comparison sees it; the last two lines put the weights back. But it sees only what acts on the outputs. How the networks *begin*, before any training, has to be asked for:

# %%
for name, model in {"theirs": theirs, "yours": yours}.items():
    convolutions = [x for x in model.layers if isinstance(x, layers.Conv2D)]
    beginnings = {type(x.kernel_initializer).__name__ for x in convolutions}
    print(f"{name:7} convolutions begin as {beginnings}")

# %% [markdown]
# Trained from random weights, the two begin differently: Keras draws the kernels by Glorot's rule, `conv_bn` by that of He et al. [[2](https://arxiv.org/abs/1502.01852)], as the paper does.
#
# ## Yours and the library's
#
# Here is the library's builder of the whole family, without its docstring. `rl.resnet50` calls it with depth 50, and `UNITS` holds the numbers of blocks. `in_form` gives the layers the names and BN the epsilon of a form.

# %%
print("".join(inspect.getsource(rl.imagenet.resnet).split('"""')[::2]))

# %% [markdown]
# Its form `"paper"` is yours, layer by layer. The proof is the same as before, at 64x64 and with 10 classes because that is quicker:

# %%
small = resnet(stem, bottleneck_block, (3, 4, 6, 3), (64, 64, 3), 10)
forms = {form: rl.resnet50((64, 64, 3), 10, form=form) for form in ("paper", "v1.5")}
randomise(forms["paper"])
for layer in small.layers:
    if layer.weights:
        layer.set_weights(forms["paper"].get_layer(layer.name).get_weights())
small_pictures = pictures[:, :64, :64]
compare(small, forms["paper"], small_pictures)

# %% [markdown]
# ## Three networks under one name
#
# The library builds three networks that are called ResNet-50: `"applications"`, Keras' one; `"paper"`, as the paper has it; and `"v1.5"`, a later
# variant that is much used. Counted by parameters, the last two look the same. They are not:

# %%
for form, model in forms.items():
    strides = [model.get_layer(f"stage2_block1_conv{i}").strides[0] for i in (1, 2, 3)]
    parameters, cost = rl.count_parameters(model).trainable, rl.count_multiply_adds(model)
    print(f"{form:6} {parameters:,} parameters, strides {strides}, {cost:,} multiply-adds")

# %% [markdown]
# In "v1.5" the 3x3 convolution takes the stride in place of the first 1x1. A 1x1 kernel with stride 2 looks at one pixel in four and drops
# the others; a 3x3 kernel with stride 2 sees all of them. That costs a little more.
#
# | | "applications" | "paper" | "v1.5" |
# |---|---|---|---|
# | biases in convolutions | yes | no | no |
# | stride of a stage | first 1x1 | first 1x1 | 3x3 |
# | BN: epsilon | 1.001e-5 | 1e-5 | 1e-5 |
# | layer names | `conv2_block1_1_conv` | `stage1_block1_conv1` | `stage1_block1_conv1` |
#
# The paper does not state its epsilon; 1e-5 is usual. It is added to the variance before the root, and Keras' default is a hundred times that.
#
# ### Exercise: say which network it was
#
# *Easy, 4 minutes.*
# Somebody sends you the weights of a "ResNet-50" for ten classes, and what it answers for two pictures. The weights fit both forms. The cell below loads them into four networks and prints by how much each one's answers differ from those that were sent.

# %%
from resnet_lib.exercises.notebook05 import checkpoint

weights, answers = checkpoint(small_pictures)
for letter, (form, epsilon) in zip(
    "ABCD", [("paper", 1e-5), ("paper", 1e-3), ("v1.5", 1e-5), ("v1.5", 1e-3)], strict=True
):
    model = forms[form]
    model.set_weights(weights)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.epsilon = epsilon
    difference = np.abs(np.asarray(model(small_pictures)) - answers).max()
    print(f"{letter}: {form:6} epsilon {epsilon:.0e}: answers differ by up to {difference:.4f}")

# %% [markdown]
# Which of the four was it? Answer with its letter.

# %% tags=["exercise-05-which-form"]
letter = ...

# %%
rl.exercises.check("05-which-form", letter)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# letter = "D"
# ```
#
# The stride in the wrong place gives other answers altogether. The wrong epsilon gives nearly the right ones, so that hardly anybody would notice; only D leaves no difference.
#
# </details>

# %% [markdown]
# Before you compare accuracies of "ResNet-50", ask which of them it was. Before you use somebody's weights, ask for the answers to two pictures.
#
# ## ResNet-50 and ResNet-56
#
# Six layers apart, one would think. Put them side by side, and the small ones too. Each takes the pictures that it is made for.
#
# **Predict.** ResNet-18 has two layers fewer than ResNet-20. Which of them has more parameters, and by what factor?

# %%
rl.exercises.predict("05-18-or-20", ...)  # ResNet-18's parameters divided by ResNet-20's.

# %% tags=["answer"]
resnet18 = resnet(stem, rl.blocks.basic_block, (2, 2, 2, 2))
networks = {
    "ResNet-20": rl.resnet_v1((32, 32, 3), 20, form="standard"),
    "ResNet-56": rl.resnet_v1((32, 32, 3), 56, form="standard"),
    "ResNet-18": resnet18,
    "ResNet-50": yours,
}
sizes = {}
print(f"{'':10}{'parameters':>12}{'multiply-adds':>16}  feature maps")
for name, model in networks.items():
    sizes[name], cost = rl.count_parameters(model).trainable, rl.count_multiply_adds(model)
    maps = ", ".join("x".join(map(str, stage.shape)) for stage in rl.feature_maps(model)[1:])
    print(f"{name:10}{sizes[name]:>12,}{cost:>16,}  {maps}")
rl.exercises.compare("05-18-or-20", times=round(sizes["ResNet-18"] / sizes["ResNet-20"]))

# %% [markdown]
# Two families:
#
# - 6n+2: three stages of 16, 32 and 64 channels, a 3x3 stem, basic blocks. To go deeper is to put more blocks into each stage.
# - 18, 34, 50, 101, 152: four stages of 64 to 512 channels, with bottlenecks up to 2048, and a stem that shrinks the picture.
#
# The depth counts layers. Most of the parameters come from the width: with four times the channels on both sides, a kernel has sixteen
# times the weights. So a 6n+2 network is not a small ResNet-50, and a result for "ResNet-56" says nothing about ResNet-50.
#
# ## More parameters, and what they cost
#
# Give two networks of the two families the same pictures of 64x64 and ten classes:

# %%
resnet20 = rl.resnet_v1((64, 64, 3), 20, form="standard")
size = {name: rl.count_parameters(m).trainable for name, m in {"50": small, "20": resnet20}.items()}
cost = {name: rl.count_multiply_adds(m) for name, m in {"50": small, "20": resnet20}.items()}
print(f"{size['50'] / size['20']:.0f} times the parameters: {size['50']:,} and {size['20']:,}")
print(f"{cost['50'] / cost['20']:.1f} times the multiply-adds: {cost['50']:,} and {cost['20']:,}")
for name, model in {"ResNet-50": small, "ResNet-20": resnet20}.items():
    pixels = rl.count_multiply_adds(model) / rl.count_parameters(model).trainable
    maps = ", ".join("x".join(map(str, stage.shape)) for stage in rl.feature_maps(model)[1:])
    print(f"{name}: a parameter is used {pixels:.0f} times a picture; maps {maps}")

# %% [markdown]
# A weight of a kernel is used once at each pixel that its layer outputs. ResNet-20 keeps 64x64 pixels in its first stage and 16x16 in its last. ResNet-50 has most of its weights in stages 3 and 4, where a picture of 64x64 has
# shrunk to 4x4 and 2x2. So it has far more to learn with, and far less to look at: where something is in the picture is soon lost. If ResNet-20 does better than ResNet-50 on small pictures, two things have changed together, the number of
# parameters and the resolution, and the comparison alone cannot say which of them it was. No run in these notebooks separates the two: for that, a ResNet-50 with larger maps, such as you build in the project below, would have to be trained as well.
#
# Your function builds the rest of the second family as well, the two smallest with the basic block of notebook 2. The
# paper does not print their parameters; "expected" are those that the library's tests hold each network to.

# %%
rl.runtime.allow_depth(152)
blocks = {18: rl.blocks.basic_block, 34: rl.blocks.basic_block}
print(f"{'':11}{'blocks':14}{'parameters':>12}{'expected':>12}{'10^9 mult.-adds':>17}{'error':>9}")
for depth in (18, 34, 50, 101):
    units = rl.imagenet.UNITS[depth]
    model = resnet(stem, blocks.get(depth, bottleneck_block), units)
    row, count = rl.paper.IMAGENET.row(depth), rl.count_parameters(model).trainable
    cost = rl.count_multiply_adds(model) / 1e9
    name, numbers = f"ResNet-{depth}", ", ".join(map(str, units))
    print(f"{name:11}{numbers:14}{count:>12,}{row.parameters:>12,}{cost:>17.3f}{row.error:>7} %")

# %% [markdown]
# The error is the share of ImageNet's validation pictures whose class is not the network's first answer, taken over ten crops of each picture [1, tables 2
# and 3]. That of ResNet-18 is for shortcut A. ResNet-152 has 3, 8, 36 and 3 blocks.

# %% [markdown]
# ## Summary
#
# - ResNet-50: a stem that takes 224x224 to 56x56, then 3, 4, 6 and 3 bottleneck blocks. One function of a stem, a block and four numbers builds the family.
# - Equal weights, equal outputs in both modes: yours holds the weights of `keras.applications` and gives its answers. Their biases went into the moving means.
# - Padding, the place of a stride and epsilon are no weights, and no count of parameters shows them. Compare outputs.
# - Three networks go by the name: with biases, without, and with the stride on the 3x3.
# - ResNet-56 belongs to another family, with a thirtieth of the parameters and finer maps.

# %% [markdown]
# ## Project: a ResNet-50 that sees small pictures
#
# *Medium, 20 minutes.*
# ResNet-50 shrinks a picture of 64x64 to 2x2. Build one for 64x64 pictures whose last map is 8x8x2048, with 1,000 classes and every kernel of ResNet-50, shape for shape, so that trained weights would still fit. Strides of 1 and 2 are all that you may change.
# It may cost at most 1.6 billion multiply-adds; the record here is 1.51. The check counts them.


# %% tags=["exercise-05-project"]
def for_small_pictures():
    """Return a ResNet-50 for 64x64 pictures whose last map is 8x8x2048."""
    ...


# %%
rl.exercises.check("05-project", for_small_pictures)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def for_small_pictures():
#     """Return a ResNet-50 for 64x64 pictures whose last map is 8x8x2048."""
#     inputs = keras.Input((64, 64, 3))
#     x = stem(inputs)
#     for stage, n in enumerate((3, 4, 6, 3), start=1):
#         for number in range(1, n + 1):
#             strides = 2 if stage == 1 and number == 1 else 1
#             x = bottleneck_block(x, 64 * 2 ** (stage - 1), strides, f"stage{stage}_block{number}")
#     x = layers.GlobalAveragePooling2D()(x)
#     outputs = layers.Dense(1000, activation="softmax", name="head_dense")(x)
#     return keras.Model(inputs, outputs)
# ```
#
# What stands behind a stride costs a quarter, so the cheapest network has its three strides as early as it can. Whether it is also the best one has to be measured: a stride that comes later leaves the early stages more to look at, and costs up to twice as much.
#
# </details>

# %% [markdown]
# ## References
#
# 1. K. He, X. Zhang, S. Ren, J. Sun: [*Deep Residual Learning for Image Recognition*](https://arxiv.org/abs/1512.03385), 2015.
# 2. K. He, X. Zhang, S. Ren, J. Sun: [*Delving Deep into Rectifiers*](https://arxiv.org/abs/1502.01852), 2015.

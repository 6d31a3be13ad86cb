# %% [markdown]
# # 10. Many devices
#
# Afterwards you can
#
# - say what several devices compute together, and write their all-reduce;
# - keep batch normalisation right where a batch is divided;
# - train on any number of devices, and show that the loss curve is that of one;
# - scale the rate with the batch, and say where more devices stop helping;
# - go on with a run that a cluster has stopped.
#
# You need notebooks 1 to 6. Reading and the tasks take about two hours; running every cell takes about two minutes on a CPU with 2 cores.
#
# Nobody needs several GPUs to read this. TensorFlow and JAX, either of which can compute what Keras describes, can divide a CPU into *virtual devices*. They share its cores and are no faster, but they compute what real ones compute. That must be said before either of the two begins:

# %%
import resnet_lib as rl

import os
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier

import keras
import numpy as np
from keras import layers

# %% [markdown]
# If there is a GPU, this notebook leaves it alone. Its processes inherit these settings.

# %%
os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "JAX_PLATFORMS": "cpu"}
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"  # JAX reads it at its start.
if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    tf.get_logger().setLevel("ERROR")  # Else it tells of each all-reduce.
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)
print("devices:", rl.training.devices.available())

# %% [markdown]
# ## Divide the batch
#
# In **data parallelism** each device holds the whole network with the same weights. Each step divides the batch among the devices. A device computes the gradients of its part; then all of them come to an agreement about the gradients of the whole batch, and each makes the same step with them. So the weights stay the same everywhere, without ever being sent.
#
# The agreement works because the loss of a batch is a mean over its pictures. The gradient of a mean is the mean of the gradients. Here is a model small enough to see it: a linear one, with the mean squared error as its loss, and a batch of ten "pictures" of three numbers each.


# %%
def gradient(weights, inputs, targets):
    """Return the gradient of the mean squared error, by the weights."""
    return 2 * inputs.T @ (inputs @ weights - targets) / len(inputs)


rng = np.random.default_rng(0)
inputs, targets, weights = rng.normal(size=(10, 3)), rng.normal(size=10), rng.normal(size=3)

# %% [markdown]
# ### Exercise: the gradient of a batch, from its parts
#
# *Medium, 10 minutes.*
# Write `of_the_whole(gradient, weights, inputs, targets, devices)`. It divides the pictures, the rows of `inputs` and `targets`, into as many parts as there are devices; `np.array_split(inputs, devices)` makes parts that differ by one row at most. For each part it calls `gradient(weights, part_of_inputs,
# part_of_targets)`, once, as its device would. From these results it returns the gradient of the whole batch, an array as long as `weights`. Ten pictures on four devices must come out right, too.


# %% tags=["exercise-10-parts"]
def of_the_whole(gradient, weights, inputs, targets, devices):
    """Return the gradient of a batch, each device computing that of its part."""
    ...


# %%
rl.exercises.check("10-parts", of_the_whole)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def of_the_whole(gradient, weights, inputs, targets, devices):
#     """Return the gradient of a batch, each device computing that of its part."""
#     total = np.zeros_like(weights)
#     parts = zip(np.array_split(inputs, devices), np.array_split(targets, devices))
#     for x, y in parts:
#         total += len(x) * gradient(weights, x, y)
#     return total / len(inputs)
# ```
#
# A gradient times the size of its part is a sum, and sums can be added. Libraries ask for equal parts, and then the plain mean is right. A loop of your own often divides the loss of each part by the size of the *batch* and adds the gradients, which is the same.
# Whoever divides by the size of the part and adds nevertheless trains with a rate that is n times too large.
#
# </details>

# %%
in_parts = rl.exercises.answer("10-parts")
whole = gradient(weights, inputs, targets)
for devices in (1, 2, 4):
    same = np.allclose(in_parts(gradient, weights, inputs, targets, devices), whole)
    print(f"{devices} devices: the gradient of the whole batch: {same}")

# %% [markdown]
# ## All-reduce, around a ring
#
# Each device holds an array of numbers, and each needs the sum of all. This is an **all-reduce**. If all sent theirs to one device, that one would receive n arrays while the others wait. Around a ring nobody waits [1]: the arrays are cut into as many chunks as there are devices, and each device sends chunks to its next neighbour only.


# %%
class Ring:
    """Devices in a ring. Each holds an array, cut into as many chunks as there are devices."""

    def __init__(self, arrays):
        self.chunks = [np.array_split(array.copy(), len(arrays)) for array in arrays]
        self.sent = [0] * len(arrays)  # How many numbers each device has sent.

    def send(self, device, chunk, add=False):
        """Send a chunk to the next device, which adds it to its own, or replaces its own by it."""
        values = self.chunks[device][chunk]
        to = self.chunks[(device + 1) % len(self.chunks)]
        to[chunk][:] = to[chunk] + values if add else values
        self.sent[device] += len(values)


# %% [markdown]
# The first half is the *reduce-scatter*. In step 0, device d sends chunk d, and its neighbour adds it to its own. In the next step each device sends on what it has just added to. After n − 1 steps every chunk has passed all devices:


# %%
def reduce_scatter(ring):
    """Let device d come to hold the sum of chunk d + 1 over all devices."""
    n = len(ring.chunks)
    for step in range(n - 1):
        for device in range(n):
            ring.send(device, (device - step) % n, add=True)


# %%
arrays = list(np.arange(32.0).reshape(4, 8))
ring = Ring(arrays)
reduce_scatter(ring)
sums = np.array_split(sum(arrays), 4)
for device, chunks in enumerate(ring.chunks):
    done = [chunk for chunk in range(4) if np.array_equal(chunks[chunk], sums[chunk])]
    print(f"device {device} holds the whole sum of chunk {done[0]}")

# %% [markdown]
# ### Exercise: the second half
#
# *Medium, 12 minutes.*
# Now the finished chunks have to get to all devices. Write `all_gather(ring)`, which is called after `reduce_scatter(ring)`. It only calls `ring.send`, and returns nothing. In each of n − 1 steps each device sends one chunk, and its neighbour's own is replaced by it. At the end each device holds all sums. The chunk after the last one is chunk 0, as the device after the last one is device 0.


# %% tags=["exercise-10-gather"]
def all_gather(ring):
    """Let each device come to hold all the sums that reduce_scatter has left, one on each."""
    ...


# %%
rl.exercises.check("10-gather", all_gather)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def all_gather(ring):
#     """Let each device come to hold all the sums that reduce_scatter has left, one on each."""
#     n = len(ring.chunks)
#     for step in range(n - 1):
#         for device in range(n):
#             ring.send(device, (device + 1 - step) % n)
# ```
#
# Device d begins with the chunk that it has finished, d + 1. After that it always sends what it has just received.
#
# </details>

# %% [markdown]
# **Predict.** Each device holds the gradient of its network. How many times that many numbers does it send in a whole all-reduce, with 4 devices and with 64?

# %%
rl.exercises.predict("10-sent", (..., ...))  # Two numbers, such as (4, 64).

# %% tags=["answer"]
gather = rl.exercises.answer("10-gather")
sent = []
for devices in (4, 64):
    ring = Ring([rng.normal(size=6400) for _ in range(devices)])
    right = sum(np.concatenate(chunks) for chunks in ring.chunks)
    reduce_scatter(ring)
    gather(ring)
    assert all(np.allclose(np.concatenate(chunks), right) for chunks in ring.chunks)
    sent.append(round(max(ring.sent) / 6400, 2))
rl.exercises.compare("10-sent", sent=tuple(sent))

# %% [markdown]
# It is 2(n − 1)/n of the array, which never reaches 2. More devices do not make a device send more. But there are 2(n − 1) messages one after the other, and that number grows.
#
# ## Batch normalisation sees a part
#
# The gradient of a mean can be taken in parts. Batch normalisation cannot: it subtracts the mean of the batch and divides by the root of its variance. A device that takes the mean and variance of its part computes another network, and the smaller the part, the noisier.


# %%
def on_devices(function, parts):
    """Return what function(part, all_mean) returns for each part, all of them at once."""
    sent, everyone = [None] * len(parts), Barrier(len(parts))

    def on_device(number):
        def all_mean(values):
            sent[number] = values
            everyone.wait()
            mean = np.mean(sent, axis=0)
            everyone.wait()  # Nobody sends anew before all have read.
            return mean

        return function(parts[number], all_mean)

    with ThreadPoolExecutor(len(parts)) as pool:
        return list(pool.map(on_device, range(len(parts))))


# %% [markdown]
# Each device runs the same function in `on_devices`. Whenever a device calls `all_mean` with an array, it waits for the others to do so, and all get the mean of their arrays: an all-reduce.
#
# ### Exercise: a variance that is too small
#
# *Medium, 10 minutes.*
# The function below is to return the mean and the variance of each channel over the whole batch. `part` are the values of this device, of shape (pictures, channels); all parts are equally large. The mean is right, but the variance comes out too small whenever the parts differ. Repair it. A device may send two
# numbers a channel, or a few more, but not its pictures.


# %% tags=["exercise-10-fault-statistics"]
def statistics(part, all_mean):
    """Return mean and variance of each channel over the parts of all devices."""
    mean = all_mean(part.mean(axis=0))
    variance = all_mean(part.var(axis=0))
    return mean, variance


# %%
rl.exercises.check("10-fault-statistics", statistics)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def statistics(part, all_mean):
#     """Return mean and variance of each channel over the parts of all devices."""
#     mean = all_mean(part.mean(axis=0))
#     squares = all_mean((part**2).mean(axis=0))
#     return mean, squares - mean**2
# ```
#
# A variance is the mean of the squares less the square of the mean, and means over equal parts can be averaged. The mean of the parts' variances leaves out how far the parts' means lie apart. `((part - mean) ** 2).mean(axis=0)` is as right, and loses fewer digits where the mean is large; it has to wait for the mean, though.
#
# </details>

# %%
parts = [rng.normal(device, 1, size=(8, 1)) for device in range(4)]
print(f"variance of the whole batch: {np.concatenate(parts).var():.3f}")
print(f"mean of the four variances: {np.mean([part.var() for part in parts]):.3f}")
repaired = on_devices(rl.exercises.answer("10-fault-statistics"), parts)
print("with your function, on each device:", *[f"{variance[0]:.3f}" for _, variance in repaired])

# %% [markdown]
# How much does it matter in training? TensorFlow's `MirroredStrategy` divides each batch. By default, batch normalisation takes the statistics of the part that its device has; with `synchronized=True` those of the batch. A small network takes ten steps with batches of 64 pictures, from the same weights.


# %%
def after_ten_steps(devices, synchronized=False):
    names = [device.name for device in tf.config.list_logical_devices("CPU")][:devices]
    one_by_one = tf.distribute.ReductionToOneDevice()  # Lets several strategies share a process.
    strategy = tf.distribute.MirroredStrategy(names, one_by_one)
    with strategy.scope() if devices > 1 else nullcontext():
        keras.utils.set_random_seed(0)
        convolution = layers.Conv2D(8, 3, strides=2, use_bias=False)
        normalise = layers.BatchNormalization(synchronized=synchronized)
        top = [layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(10, "softmax")]
        model = keras.Sequential([layers.Rescaling(1 / 255), convolution, normalise, *top])
        model.compile(keras.optimizers.SGD(0.1), "sparse_categorical_crossentropy")
        images, labels = pictures.train.images, pictures.train.labels
        model.fit(images, labels, batch_size=64, shuffle=False, verbose=0)
    return np.concatenate([np.ravel(weight) for weight in model.get_weights()])


# %% tags=["nbval-approx"]
pictures = rl.datasets.shapes(train=640, validation=64, test=64)
if keras.backend.backend() == "tensorflow":
    one_device = after_ten_steps(1)
    for devices in (2, 4):
        for synchronized in (True, False):
            apart = np.abs(after_ten_steps(devices, synchronized) - one_device).max()
            told = "less than 0.00001" if apart < 1e-5 else f"{apart:.4f}"
            print(f"{devices} devices, synchronized={synchronized}: weights {told} apart")
else:
    print("This is TensorFlow's; on JAX the compiler always takes the statistics of the batch.")

# %% [markdown]
# Synchronised, the weights differ by rounding. Without it, they are thousands of times further apart, the more so the more devices there are. That need not be bad for accuracy: with 32 pictures on each device, [2] did without. But it is another training on each number of devices, and of a few pictures the statistics are mostly noise. `rl.train` always synchronises. Under JAX there is nothing to choose: a program is written for the whole batch there, and the compiler divides it.
#
# ## One, two and four devices
#
# `rl.train` takes `devices=`. All else stays: the batch of the recipe is that of all devices together.


# %%
def halved(data):
    """Return a data set with pictures of half their height and width."""
    parts = {name: getattr(data, name) for name in ("train", "validation", "test")}
    small = {name: part.images[:, ::2, ::2].copy() for name, part in parts.items()}
    return replace(data, **{name: replace(parts[name], images=small[name]) for name in parts})


# %% tags=["nbval-loss"]
few = halved(pictures)
keras.utils.set_random_seed(0)
network = rl.resnet_v1(few.image_shape, 8, few.num_classes, form="standard")
brief = replace(rl.recipes.ONE_CYCLE, epochs=3, batch_size=64, peak=0.02, sizes=((1, 1),))
exact, runs = rl.training.Execution("float32"), {}
for devices in (1, 2, 4):
    runs[devices] = rl.train(network, few, brief, devices=devices, execution=exact, progress=False)
    losses = runs[devices].history["loss"]
    print(f"devices: {devices}, loss by epoch:", *[f"{loss:.2f}" for loss in losses])

# %%
one = np.array(runs[1].history["loss"])
for devices in (2, 4):
    apart = np.abs(runs[devices].history["loss"] / one - 1).max()
    told = "less than 1 %" if apart < 0.01 else f"{apart:.1%}"
    print(f"{devices} devices: the loss of an epoch is {told} away from that of one device")

# %%
fig, ax = rl.plots.figure(
    "A line plot of the training loss over three epochs. The lines of one, two and four devices "
    "are drawn ever thinner, and lie on each other.",
    size=(6.5, 3),
)
for (devices, run), width in zip(runs.items(), (8, 4.5, 1.5), strict=True):
    ax.plot((1, 2, 3), run.history["loss"], linewidth=width, label=devices)
ax.set(xlabel="epoch", ylabel="training loss", xticks=(1, 2, 3))
ax.legend(title="devices")
fig

# %% [markdown]
# The three curves lie on each other; they are drawn ever thinner, so that all can be seen. They are not equal to the last bit: four devices add their numbers in another order than one does, so that they are rounded otherwise, and a training magnifies each difference from step to step.
#
# The time does not fall here, because virtual devices share the cores of one processor and each has its own overhead. The number of devices stands in the record:

# %%
print(runs[4].record["execution"])

# %% [markdown]
# ## The rate that goes with a batch
#
# On real devices one usually gives each as many pictures as it had alone. Then n devices take a batch n times as large, and an epoch has n times fewer steps. To get as far with them, each step must be n times as long: **linear scaling** multiplies the rate by n [2]. While the weights are still random and change fast, such a rate does harm, so it is
# approached from below: the warm-up of notebook 6, five epochs in the paper that made the rule known.
#
# ### Exercise: a recipe for n devices
#
# *Easy, 5 minutes.*
# Write `for_devices(recipe, devices)`: it returns the recipe for `devices` times the batch, by linear scaling, with a `warmup` of 0.25, a quarter of the steps. `recipe.peak` is its largest rate. Everything else stays.


# %% tags=["exercise-10-scaled"]
def for_devices(recipe, devices):
    """Return a recipe for so many times the batch: the rate scaled with it, a warm-up of 0.25."""
    ...


# %%
rl.exercises.check("10-scaled", for_devices)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def for_devices(recipe, devices):
#     """Return a recipe for so many times the batch: the rate scaled with it, a warm-up of 0.25."""
#     batch, peak = devices * recipe.batch_size, devices * recipe.peak
#     return replace(recipe, batch_size=batch, peak=peak, warmup=0.25)
# ```
#
# `rl.train(devices=8)` does none of this by itself: it takes the recipe's batch, and divides it.
#
# </details>

# %% [markdown]
# What would eight devices do? One can find out with a single one, because a batch of 256 is a batch of 256. The same small network, on 2,000 shapes and for eight epochs:

# %% tags=["nbval-loss"]
more = halved(rl.datasets.shapes(train=2000, validation=100, test=100))
alone = replace(rl.recipes.ONE_CYCLE, epochs=8, batch_size=32, peak=0.05, warmup=0.0)
alone = replace(alone, augment=False, sizes=((1, 1),))
eight = rl.exercises.answer("10-scaled")(alone, 8)
recipes = {
    "batches of 32": alone,
    "256, the same rate": replace(alone, batch_size=256),
    "256, scaled": eight,
}
curves = {}
for label, recipe in recipes.items():
    run = rl.train(network, more, recipe, execution=exact, progress=False)
    curves[label] = run.history["loss"]
    print(f"{label:22} the last loss: {curves[label][-1]:.1f}")

# %%
rl.plots.curves(curves, ylabel="training loss", title=more.source)

# %% [markdown]
# With the same rate, the large batches get less than half of the way: an eighth of the steps, each as long as before. With eight times the rate and a warm-up they end about where the small ones do. This is one seed each, and the rule has an end: in [2] it held up to batches of 8,192, for ImageNet and ResNet-50. With batches
# of 2,000, this small network would make one step an epoch, and no rate replaces the others.
#
# ## Where more devices stop helping
#
# How long does a step take on n devices? Suppose that one device computes the gradients of the whole batch in `compute` seconds, that the gradients have `size` bytes, and that a message between neighbours takes `latency` seconds, and one second more for each `bandwidth` bytes in it. The ring begins when the computing ends.
#
# ### Exercise: the time of a step
#
# *Medium, 10 minutes.*
# Write `step_time(devices, compute, size, bandwidth, latency)`, which returns the seconds of a step. The batch is divided equally; so is the array of gradients, into as many chunks as there are devices. All devices send at once.


# %% tags=["exercise-10-time"]
def step_time(devices, compute, size, bandwidth, latency):
    """Return the seconds of a step on so many devices, the all-reduce after the computing."""
    ...


# %%
rl.exercises.check("10-time", step_time)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# def step_time(devices, compute, size, bandwidth, latency):
#     """Return the seconds of a step on so many devices, the all-reduce after the computing."""
#     message = latency + size / devices / bandwidth
#     return compute / devices + 2 * (devices - 1) * message
# ```
#
# The first term falls with each device, the bytes hardly change, and the latencies grow with every device. On one device nothing is sent.
#
# </details>

# %% [markdown]
# Now two networks with numbers of today. ResNet-50 trains on 2,470 pictures a second on one A100, as its maker has measured [3]. Suppose that ResNet-20 gets as many multiply-adds a second out of the card, which flatters it, and that the cards are joined by adapters of 200 Gbit/s with a latency of 10 µs.

# %%
networks = {
    "ResNet-20": rl.resnet_v1((32, 32, 3), 20, form="standard"),
    "ResNet-50": rl.resnet50(form="v1.5"),
}
work = {name: rl.inspection.count_multiply_adds(model) for name, model in networks.items()}
rate = 2470 * work["ResNet-50"]  # Multiply-adds a second of the forward pass, trained.
sizes = {name: 4 * rl.count_parameters(model).trainable for name, model in networks.items()}
for name in networks:
    print(f"{name:10}{128 * work[name] / rate:.5f} s to compute a batch of 128,", end=" ")
    print(f"{sizes[name] / 1e6:5.1f} MB of gradients")

# %% [markdown]
# **Predict.** A batch of 128 pictures for ResNet-20 is to be divided among devices. With how many of them is a step the fastest: 4, 16, 64 or 256?

# %%
rl.exercises.predict("10-fastest", ...)  # One number.


# %% tags=["answer"]
in_seconds = rl.exercises.answer("10-time")


def modelled(name, devices, images):
    return in_seconds(devices, images * work[name] / rate, sizes[name], 25e9, 10e-6)


counts = 2 ** np.arange(10)  # 1 to 512 devices.
times = [modelled("ResNet-20", int(n), 128) for n in counts]
rl.exercises.compare("10-fastest", modelled=int(counts[np.argmin(times)]))
print(f"then {times[0] / min(times):.1f} times as fast as one device;", end=" ")
print(f"512 devices are {times[0] / times[-1]:.2f} times as fast")

# %%
ways = {"128 pictures on each device": 128 * counts, "1,024 pictures, divided": 1024 + 0 * counts}
speeds = {
    way: {
        name: [
            modelled(name, 1, several) / modelled(name, int(n), several)
            for n, several in zip(counts, images, strict=True)
        ]
        for name in networks
    }
    for way, images in ways.items()
}
rl.plots.speed_up(counts, speeds)

# %% [markdown]
# Read the left figure first. With 128 pictures on each device ResNet-50 keeps close to the line, because its computing outweighs the ring: [2] measured about 90 % from 8 to 256 GPUs. ResNet-20 computes too little in a step, and its time goes into latencies. On the right one batch is divided ever further. There both networks have a
# number of devices beyond which each further one makes them slower. A network of this size is trained on one device; several are for several seeds, one on each.
#
# The model leaves out much: libraries send the last layers' gradients while the first ones are still being computed, and use faster links within a host. `benchmarks/scaling.py` in the project's repository has both, and holds the result against two published measurements.
#
# ## Several hosts, and a notice to quit
#
# Hosts have to find each other. Three environment variables say how, in Keras' own words: the address of the first process, how many there are, and which one this is. With the JAX backend, `import resnet_lib` then joins them, and each takes a part of every batch. TensorFlow's counterpart does not work with `fit` in Keras 3, so several hosts need JAX. Here two processes on
# this machine play two hosts:


# %%
HOSTS = 2 if find_spec("jax") else 1  # Several hosts need JAX.
OPTIONS = "--model resnet8v1 --dataset shapes --size 16 --limit 256 --epochs 4 --batch-size 64"
OPTIONS += " --set sizes=[[1,1]] --set peak=0.05 --set flip_test=false"
folder = Path(tempfile.mkdtemp())
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{free.getsockname()[1]}"


# %%
def start(number, hosts, *more):
    """Start the command line in a process of its own, as host `number` of so many."""
    settings = {"KERAS_BACKEND": "jax", "XLA_FLAGS": ""} if HOSTS > 1 else {}
    if hosts > 1:
        names = ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
        values = zip(names, (address, hosts, number), strict=True)
        settings |= {f"KERAS_DISTRIBUTION_{name}": f"{value}" for name, value in values}
    command = [sys.executable, "-m", "resnet_lib", "train", *OPTIONS.split(), *more]
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    command += ["--out", f"{folder / 'run'}"]
    return subprocess.Popen(command, env=os.environ | settings, **pipes)


# %% [markdown]
# A cluster that needs a machine back sends its processes SIGTERM, and kills them some seconds later. Here the last host gets one when the first has reported its second epoch of four:

# %%
hosts = [start(number, HOSTS) for number in range(HOSTS)]
for line in hosts[0].stdout:
    if line.startswith("epoch "):
        print(line.split(":")[0], flush=True)
    if line.startswith("epoch 2/"):
        hosts[-1].terminate()  # SIGTERM.
    if line.startswith("resnet_lib: "):
        print(line.split(";")[0].replace(f"{folder}", "…"))
print("exit codes:", [host.wait() for host in hosts])

# %% [markdown]
# Both have stopped, at the same step, though only one got the notice: otherwise the other would have waited for ever in its next all-reduce. Exit code 75 says "try again", so that a cluster can tell this from a failure. The last finished epoch is on disk; what came after it is lost.
#
# **Predict.** The same command with `--resume`, this time on a single host: how many epochs does it train?

# %%
rl.exercises.predict("10-preempted", ...)  # A number.

# %% tags=["answer"]
host = start(0, 1, "--resume")
epochs = [line.split(":")[0] for line in host.stdout if line.startswith("epoch ")]
print("exit code:", host.wait())
rl.exercises.compare("10-preempted", trained=len(epochs), namely=tuple(epochs))

# %% [markdown]
# A run is not tied to the number of devices that it began with: the weights are the same on each, so that one copy in the folder is enough, and the batch is the global one.
#
# ## On your machines
#
# Two GPUs in one computer need one more word, with either backend:
#
#     python -m resnet_lib train --model resnet20v1 --devices 2 --out runs/two
#
# On a cluster with Slurm, one process runs for each GPU or each host. JAX finds the others by itself with `--join`. The library holds two files to begin with, one for Slurm and one for Kubernetes. Copy one, and change what it says about your cluster:

# %%
jobs = files("resnet_lib.training") / "jobs"
for line in (jobs / "slurm.sbatch").read_text().splitlines():
    if line.strip("#") and not line.startswith(("# ", "#!")):
        print(line)

# %% [markdown]
# Both start the run anew with `--resume` on exit code 75. If a process dies without a notice, the others say so in a sentence and end with exit code 69; the same command with `--resume` goes on.
#
# ## Summary
#
# - Data parallelism averages the gradients of parts, weighted with their sizes: n devices compute what one does.
# - A ring all-reduce sends less than twice the gradient, however many devices there are, in 2(n − 1) messages.
# - Batch normalisation must share its mean and its mean of squares; else each number of devices trains otherwise.
# - A batch n times as large wants n times the rate and a warm-up, up to a point; a recipe says so openly.
# - A run ends on SIGTERM with exit code 75 and goes on by `--resume`, on any number of devices.

# %% [markdown]
# ## Project: a batch for eight devices
#
# *Medium, 30 minutes.*
# The project of notebook 6 was a recipe for ResNet-8 on 2,000 drawn shapes, in at most twelve epochs; with batches of 32 and a peak of 0.2 its record is 71 % of the test pictures. Now eight devices with 32 pictures each share a batch: hand over a recipe with batches of 256 or more, so that over 40 % of the 1,000 test pictures
# are right. The check trains with it on one device, which computes the same, in about half a minute on two cores. With the batch alone changed, that record becomes 24 %; by linear scaling, 34 %; the record here is 50 %.
#
#     shapes = rl.datasets.shapes(train=2000, validation=100, test=1000)
#     eight_layers = rl.resnet_v1(shapes.image_shape, 8, shapes.num_classes, form="standard")
#     rl.plots.loss(rl.train(eight_layers, shapes, my_recipe))

# %% tags=["exercise-10-project"]
my_recipe = ...

# %%
rl.exercises.check("10-project", my_recipe)

# %% [markdown]
# <details>
# <summary>Solution</summary>
#
# ```python
# off = dict(augment=False, sizes=((1, 1),))
# large = dict(epochs=12, batch_size=256, peak=0.8, bn_momentum=0.7)
# my_recipe = replace(rl.recipes.ONE_CYCLE, **large, **off)
# ```
#
# Linear scaling asks for a peak of 1.6, which is beyond its end here; half of it learns more. Then there are the moving statistics of batch normalisation, by which the test pictures are normalised. They follow by a tenth in each step, and there are only 96 steps: the last weights are tested with the statistics of earlier ones. A
# `bn_momentum` of 0.7 follows faster, which alone brought 41 % to 50 % here, with the same weights.
#
# </details>

# %% [markdown]
# ## References
#
# 1. P. Patarasuk, X. Yuan: [*Bandwidth optimal all-reduce algorithms for clusters of workstations*](https://doi.org/10.1016/j.jpdc.2008.09.002), 2009; brought to GPUs by [Horovod](https://arxiv.org/abs/1802.05799), 2018.
# 2. P. Goyal and others: [*Accurate, Large Minibatch SGD: Training ImageNet in 1 Hour*](https://arxiv.org/abs/1706.02677), 2017.
# 3. NVIDIA: [*ResNet-50 v1.5 for PyTorch*](https://github.com/NVIDIA/DeepLearningExamples/tree/master/PyTorch/Classification/ConvNets/resnet50v1.5), training performance on a DGX A100.

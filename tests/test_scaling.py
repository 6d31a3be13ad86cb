"""The benchmark of data parallelism: its formulas, what it refuses, and what it measures."""

import dataclasses
import math

import pytest
import scaling as benchmark
from scaling import PUBLISHED, Cluster, Network, Way

CLUSTER = Cluster(
    rate=3e12,
    launch=1e-6,
    host=8,
    inside=1e11,
    between=1e10,
    inside_latency=1e-6,
    between_latency=1e-5,
    tree_inside=2e-6,
    tree_between=4e-6,
    start=0,
)
FREE = dataclasses.replace(
    CLUSTER,
    inside=math.inf,
    between=math.inf,
    **dict.fromkeys(benchmark.TIMES, 0),
)
# 1e9 multiply-adds: a step of 10 images is 3e10 of them, 10 ms. 8 MB of gradients.
NET = Network("net", 1_000_000_000, 8_000_000, 40, 20, 400)
AT_ONCE = Way("at once")


# The formulas


def test_a_ring_sends_all_but_its_own_part_twice():
    assert benchmark.ring(8e6, 4, 1e9, 1e-3) == pytest.approx(2 * 0.75 * 8e-3 + 6e-3)
    assert benchmark.ring(8e6, 1, 1e9, 1e-3) == 0


def test_a_tree_goes_up_and_down():
    assert benchmark.tree(1000, 8, 1e9, 1e-6) == pytest.approx(2 * 3 * (1e-6 + 1e-6))
    assert benchmark.tree(1000, 1, 1e9, 1e-6) == 0


def test_hosts_are_a_ring_of_rings():
    inside = 2 * 7 / 8 * 8e6 / 1e11 + 14e-6
    assert benchmark.all_reduce(8e6, 8, CLUSTER) == pytest.approx(inside)
    assert benchmark.all_reduce(8e6, 4, CLUSTER) == pytest.approx(2 * 3 / 4 * 8e-5 + 6e-6)
    between = 2 * 3 / 4 * 8e6 / 1e10 + 6e-5
    assert benchmark.all_reduce(8e6, 32, CLUSTER) == pytest.approx(inside + between)
    assert benchmark.all_reduce(8e6, 25, CLUSTER) == pytest.approx(inside + between)
    tree = 2 * 3 * (400 / 1e11 + 2e-6) + 2 * 2 * (400 / 1e10 + 4e-6)
    assert benchmark.all_reduce(400, 32, CLUSTER, benchmark.tree) == pytest.approx(tree)


def test_hosts_of_one_gpu_are_a_single_ring_over_the_network():
    flat = dataclasses.replace(CLUSTER, host=1)
    expected = benchmark.ring(8e6, 32, CLUSTER.between, CLUSTER.between_latency)
    assert benchmark.all_reduce(8e6, 32, flat) == pytest.approx(expected)


def test_each_all_reduce_begins_once():
    later = dataclasses.replace(CLUSTER, start=0.5)
    added = benchmark.all_reduce(8e6, 16, later) - benchmark.all_reduce(8e6, 16, CLUSTER)
    assert added == pytest.approx(0.5)
    assert benchmark.all_reduce(8e6, 1, later) == 0


def test_computation_is_three_times_forwards_and_at_least_the_launches():
    assert benchmark.computation(NET, 10, CLUSTER) == pytest.approx(0.010)
    slow = dataclasses.replace(CLUSTER, launch=1e-3)
    assert benchmark.computation(NET, 10, slow) == pytest.approx(3 * 40 * 1e-3)


@pytest.mark.parametrize(
    "part, parts, backward, left",
    [
        (5, 1, 9, 5),  # All at once: nothing fits beside the backward pass.
        (1, 3, 9, 1),  # Each part but the last fits.
        (3, 3, 9, 3),  # They just fit.
        (5, 3, 9, 9),  # From 3 to 8, 13 and 18: 9 after the end.
        (0, 4, 9, 0),
    ],
)
def test_what_does_not_fit_beside_the_backward_pass_is_waited_for(part, parts, backward, left):
    assert benchmark.exposed(part, parts, backward) == left
    # The same as a queue: a part leaves when it is there and the one before it has arrived.
    free = 0
    for number in range(1, parts + 1):
        free = max(free, number * backward / parts) + part
    assert free - backward == left


def test_a_step_is_computation_and_what_is_waited_for():
    reduced = benchmark.all_reduce(NET.gradient_bytes, 16, CLUSTER)
    assert benchmark.step(NET, 10, 16, CLUSTER, AT_ONCE) == pytest.approx(0.010 + reduced)
    part = benchmark.all_reduce(NET.gradient_bytes / 4, 16, CLUSTER)
    assert 4 * part < 0.010 * 2 / 3
    parts = Way("parts", bucket=2e6)
    assert benchmark.step(NET, 10, 16, CLUSTER, parts) == pytest.approx(0.010 + part)
    waits = 3 * 20 * benchmark.all_reduce(400, 16, CLUSTER, benchmark.tree)
    found = benchmark.step(NET, 10, 16, CLUSTER, Way("waits", 2e6, 3))
    assert found == pytest.approx(0.010 + part + waits)


def test_parts_are_no_larger_than_a_bucket():
    assert AT_ONCE.parts(NET) == 1
    assert Way("", bucket=8e6).parts(NET) == 1
    assert Way("", bucket=7e6).parts(NET) == 2


# Limits


@pytest.mark.parametrize("way", [AT_ONCE, Way("parts", 1e6), Way("waits", 1e6, 4)])
def test_one_gpu_and_a_free_network_scale_linearly(way):
    assert benchmark.weak(NET, 10, 1, CLUSTER, way) == 1
    assert benchmark.strong(NET, 640, 1, CLUSTER, way) == 1
    assert benchmark.weak(NET, 10, 512, FREE, way) == pytest.approx(1)
    assert benchmark.strong(NET, 640, 64, FREE, way) == pytest.approx(1)


def test_more_gpus_never_scale_better():
    numbers = [1, 2, 4, *range(8, 640, 8)]
    shares = [benchmark.weak(NET, 10, n, CLUSTER, AT_ONCE) for n in numbers]
    assert shares == sorted(shares, reverse=True)


def test_the_gpu_with_the_most_images_decides():
    assert benchmark.strong(NET, 10, 8, FREE, AT_ONCE) == pytest.approx(10 / (8 * 2))
    with pytest.raises(ValueError, match=r"at most 10 GPUs for 10 images\. Received: n=11"):
        benchmark.strong(NET, 10, 11, CLUSTER, AT_ONCE)


def test_where_it_falls_under_half():
    assert benchmark.first_below(lambda n: 1 / n, 8, 100) == 4
    assert benchmark.first_below(lambda n: 20 / n, 8, 100) == 48
    assert benchmark.first_below(lambda n: 20 / n, 8, 40) is None
    assert benchmark.first_below(lambda n: 3 / n, 6, 100) == 12
    assert benchmark.first_below(lambda n: 5.9 / n, 12, 100) == 12
    assert benchmark.first_below(lambda n: 1 / n, 1, 100) == 3


# Published results


def test_the_published_step_takes_its_time():
    for result in PUBLISHED:
        net = Network("", 4_000_000_000, 100_000_000, 100, 50, 2000)
        for way in (AT_ONCE, Way("parts", 25e6)):
            cluster = benchmark.calibrated(result, net, way)
            found = benchmark.step(net, result.images, result.gpus, cluster, way)
            assert found == pytest.approx(result.seconds)


def test_a_step_shorter_than_its_communication_is_refused():
    slow = Network("", 4_000_000_000, 10**11, 100, 50, 2000)
    with pytest.raises(ValueError, match="leaves time to compute"):
        benchmark.calibrated(PUBLISHED[1], slow, AT_ONCE)


def test_published_numbers_are_those_of_their_sources():
    goyal, horovod = PUBLISHED
    assert goyal.seconds == pytest.approx(0.180)  # Backward: 120 ms.
    assert (goyal.base, goyal.n) == (8, 352)
    assert 1 / goyal.efficiency == pytest.approx(1.12)
    assert goyal.cluster.between * 8 == 50e9
    assert 64 * 16 / horovod.seconds == pytest.approx(1656.82)
    assert (horovod.cluster.host * 128, horovod.n, horovod.efficiency) == (512, 512, 0.9)


@pytest.mark.slow
def test_the_model_brackets_what_was_published(capsys):
    benchmark.main(["--only", "model"])
    out = capsys.readouterr().out
    assert "ResNet-20, CIFAR-10: 1,089,896 bytes of gradients, 40,813,184 multiply-adds" in out
    assert "ResNet-50, 224x224: 102,228,128 bytes of gradients, 4,089,184,256" in out
    assert out.count("under half of linear, weak: at once: ") == 2
    overlapped = Way("", 25 * 2**20)
    for result in PUBLISHED:
        net = benchmark.network("", result.model, (224, 224, 3), 1000, result.form)
        shares = [benchmark.predicted(result, net, way) for way in (AT_ONCE, overlapped)]
        assert shares[0] < result.efficiency < shares[1]
        assert f"at once {shares[0]:.0%} (" in out


# What is refused


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"inside": -1.0},
        {"between": math.nan},
        {"launch": -1e-6},
        {"start": math.inf},
        {"host": 0},
        {"host": 2.5},
    ],
)
def test_a_cluster_that_cannot_be_is_refused(wrong):
    [(name, value)] = wrong.items()
    with pytest.raises(ValueError, match=f"Expected `{name}` to be .*Received: {value!r}"):
        dataclasses.replace(CLUSTER, **wrong)


def test_counts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match=r"`n` to be a whole number of at least 1\. Received: 0"):
        benchmark.all_reduce(1, 0, CLUSTER)
    with pytest.raises(ValueError, match="`images`"):
        benchmark.step(NET, 0, 1, CLUSTER, AT_ONCE)
    with pytest.raises(ValueError, match="`parts`"):
        benchmark.exposed(1, 0, 1)


@pytest.mark.parametrize(
    "wrong",
    [
        ("--between", "0"),
        ("--between-latency", "-1"),
        ("--host", "0"),
        ("--inside", "inf"),
        ("--rate", "nan"),
        ("--batch", "130"),
        ("--devices", "0"),
    ],
)
def test_options_that_make_no_sense_are_refused(wrong, capsys):
    with pytest.raises(SystemExit) as stop:
        benchmark.parse(wrong)
    assert stop.value.code == 2
    assert f"{wrong[0]}: expected" in capsys.readouterr().err


# What is measured

HLO = """
  %all-reduce.1 = f32[16]{0} all-reduce(%a), channel_id=1, to_apply=%add
  %all-reduce.2 = (f32[3,3]{1,0}, bf16[4]{0}, /*index=2*/f32[]) all-reduce(%b, %c, %d), x=(1)
  %all-reduce-start = f32[2,2]{1,0} all-reduce-start(%e), to_apply=%add
  %all-reduce-done = f32[2,2]{1,0} all-reduce-done(%all-reduce-start)
  %fusion = f32[100]{0} fusion(%all-reduce.1), kind=kLoop
  ROOT %all-reduce.9 = pred[8]{0} all-reduce(%f), to_apply=%or
"""


def test_bytes_are_those_of_the_all_reduces():
    assert benchmark.all_reduced(HLO) == (4, 4 * 16 + (4 * 9 + 2 * 4 + 4) + 16 + 8)
    assert benchmark.all_reduced("%fusion = f32[100]{0} fusion(%all-reduce.1)") == (0, 0)


def test_a_line_says_what_is_left_beside_the_gradients():
    alone = dict(devices=1, seconds=[0.2], all_reduces=0, bytes=0, trainable=100, channels=8)
    two = alone | dict(devices=2, seconds=[0.1, 0.3, 0.4], all_reduces=5, bytes=400 + 128)
    assert benchmark.told(two, alone).split() == [
        *("2", "300.0", "1.50", "5", "528", "400", "128", "4.00")
    ]
    assert benchmark.told(alone, alone).split() == ["1", "200.0", "1.00", "0", "0"]


@pytest.mark.slow
def test_two_devices_reduce_the_gradients_and_the_statistics():
    options = benchmark.parse(["--model", "resnet8v1", "--batch", "16", "--steps", "2"])
    one, two = (benchmark.measure(options, devices) for devices in (1, 2))
    assert (one["devices"], two["devices"]) == (1, 2)
    assert (one["all_reduces"], one["bytes"]) == (0, 0)
    assert len(two["seconds"]) == 2
    assert two["all_reduces"] >= 1
    rest = two["bytes"] - 4 * two["trainable"]
    # Of each channel, the statistics and their gradients: from one to five numbers.
    assert 4 * two["channels"] < rest < 20 * two["channels"]

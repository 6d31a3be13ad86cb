"""What is chosen for a machine."""

import platform
from pathlib import Path
from types import SimpleNamespace

import pytest
from backends import tensorflow_only

from resnet_lib.training import Execution, machine


@tensorflow_only("on JAX another test has its own table")
@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([(6, 1)], Execution("float32", True, 16, True)),
        ([(7, 5)], Execution("mixed_float16", True, 16, True)),
        ([(8, 6)], Execution("mixed_bfloat16", True, 16, True)),
        ([(9, 0), (9, 0)], Execution("mixed_bfloat16", True, 16, True)),
    ],
)
def test_what_is_chosen_for_a_gpu(cards, expected, monkeypatch):
    monkeypatch.setattr(machine, "gpu_capabilities", lambda: cards)
    assert machine.best_execution(image_bytes=150_000_000) == expected
    assert not machine.best_execution(image_bytes=2**40).data_on_device
    several = Execution(expected.precision, devices=2)
    assert machine.best_execution(image_bytes=150_000_000, devices=2) == several


BUILT = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]


@tensorflow_only("it is TensorFlow's build that is asked")
@pytest.mark.parametrize(
    ("built", "card", "refused"),
    [
        (BUILT, (9, 0), False),
        (BUILT, (8, 9), False),
        (BUILT, (10, 0), True),
        (BUILT, (12, 0), True),
        ([*BUILT, "sm_120"], (12, 0), False),
        ([], (12, 0), False),
    ],
)
def test_xla_is_not_for_cards_after_those_that_tensorflow_was_built_for(
    built, card, refused, monkeypatch
):
    import tensorflow as tf

    info = {"cuda_compute_capabilities": built} if built else {}
    monkeypatch.setattr(tf.sysconfig, "get_build_info", lambda: info)
    monkeypatch.setattr(machine, "gpu_capabilities", lambda: [card])
    if not refused:
        assert machine.best_execution().jit_compile
        return
    with pytest.warns(UserWarning, match="jax-cuda.*KERAS_BACKEND=jax"):
        assert machine.best_execution() == Execution("mixed_bfloat16")
    with pytest.raises(ValueError, match=rf"jit_compile=False.*this one has {card[0]}\.0"):
        Execution(jit_compile=True)


@pytest.mark.parametrize(
    ("platform", "capability", "precision"),
    [
        ("gpu", "9.0", "mixed_bfloat16"),
        ("gpu", "12.0", "mixed_bfloat16"),
        ("gpu", "7.5", "mixed_float16"),
        ("gpu", "6.1", "float32"),
        ("gpu", "gfx90a", "float32"),
        ("tpu", None, "mixed_bfloat16"),
    ],
)
def test_what_is_chosen_for_an_accelerator_under_jax(platform, capability, precision, monkeypatch):
    import jax

    device = SimpleNamespace(platform=platform, compute_capability=capability)
    monkeypatch.setattr(jax, "devices", lambda: [device, device])
    monkeypatch.setattr(machine.keras.backend, "backend", lambda: "jax")
    expected = Execution(precision, True, 16, True, devices=2)
    assert machine.best_execution(image_bytes=150_000_000, devices=2) == expected
    assert not machine.best_execution(image_bytes=2**40).data_on_device
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="cpu")])
    assert machine.best_execution() == Execution()


@tensorflow_only("on a CPU, JAX computes in float32")
@pytest.mark.parametrize(
    ("flags", "environment", "precision"),
    [
        ("fma avx2", {}, "float32"),
        ("avx2 avx512f avx512_vnni", {}, "float32"),
        ("avx2 avx512f avx512_bf16", {}, "mixed_bfloat16"),
        ("avx512_fp16 amx_bf16 amx_tile", {}, "mixed_bfloat16"),
        ("avx512_bf16", {"TF_ENABLE_ONEDNN_OPTS": "0"}, "float32"),
        ("avx512_bf16", {"ONEDNN_MAX_CPU_ISA": "AVX2"}, "float32"),
    ],
)
def test_what_is_chosen_for_a_cpu(flags, environment, precision, monkeypatch):
    monkeypatch.setattr(machine, "gpu_capabilities", list)
    monkeypatch.setattr(machine, "cpu_flags", lambda: set(flags.split()))
    for name in ("TF_ENABLE_ONEDNN_OPTS", "ONEDNN_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert machine.best_execution() == Execution(precision)


def test_the_flags_of_this_cpu():
    expected = Path("/proc/cpuinfo").exists() and platform.machine() == "x86_64"
    assert ("fpu" in machine.cpu_flags()) == expected


def test_the_capability_is_asked_of_tensorflow(monkeypatch):
    import tensorflow as tf

    details = {"one": {"compute_capability": (8, 9)}, "two": {}}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: list(details))
    monkeypatch.setattr(tf.config.experimental, "get_device_details", details.get)
    assert machine.gpu_capabilities() == [(8, 9), (0, 0)]


def test_settings_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"mixed_bfloat16.*Received: 'bfloat16'"):
        Execution("bfloat16")
    with pytest.raises(ValueError, match="steps_per_execution"):
        Execution(steps_per_execution=0)

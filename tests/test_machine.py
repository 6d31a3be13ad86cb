"""What is chosen for a machine."""

import platform
from pathlib import Path

import pytest

from resnet_lib.training import Execution, machine


@pytest.mark.parametrize(
    ("cards", "expected"),
    [
        ([(6, 1)], Execution("float32", True, 16, True)),
        ([(7, 5)], Execution("mixed_float16", True, 16, True)),
        ([(8, 6)], Execution("mixed_bfloat16", True, 16, True)),
        ([(9, 0), (9, 0)], Execution()),
    ],
)
def test_what_is_chosen_for_a_gpu(cards, expected, monkeypatch):
    monkeypatch.setattr(machine, "gpu_capabilities", lambda: cards)
    assert machine.best_execution(image_bytes=150_000_000) == expected
    assert not machine.best_execution(image_bytes=2**40).data_on_device


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

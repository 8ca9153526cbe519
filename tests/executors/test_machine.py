"""The memory and the CPUs of this machine are those that this process may use: the limits of its control groups count."""

import math
import os
from pathlib import Path

import pytest

from persistable.executors import machine


def plant(folder: Path, membership: str, files: dict[str, str]) -> None:
    """Write the files of control groups."""
    (folder / "membership").write_text(membership)
    for name, content in files.items():
        file = folder / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/outer/inner\n", {"outer/memory.max": "3000\n", "outer/inner/memory.max": "max\n"}, [3000]),
        ("0::/\n", {"memory.max": "500\n"}, [500]),
        ("0::/not/seen/here\n", {"memory.max": "max\n"}, []),
        ("5:cpu,cpuacct:/a\n4:memory:/a\n", {"memory/a/memory.limit_in_bytes": "70\n", "memory/memory.limit_in_bytes": "90\n"}, [90, 70]),
        ("1:name=systemd:/a\n", {"memory.max": "1\n"}, []),
    ],
)
def test_limits_of_control_groups(tmp_path: Path, membership: str, files: dict[str, str], limits: list[int]) -> None:
    plant(tmp_path, membership, files)
    assert list(machine.memory_limits(str(tmp_path / "membership"), str(tmp_path / "root"))) == limits
    assert list(machine.memory_limits(str(tmp_path / "none"))) == []


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="no sysconf here")
def test_the_least_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine.memory.__wrapped__  # without what it remembers
    monkeypatch.setattr(machine, "memory_limits", lambda: iter([1 << 60]))
    physical = whole()
    assert physical is not None and physical < 1 << 60
    monkeypatch.setattr(machine, "memory_limits", lambda: iter([1 << 60, 4096]))
    assert whole() == 4096


@pytest.mark.parametrize(
    ("membership", "files", "quotas"),
    [
        ("0::/outer/inner\n", {"outer/cpu.max": "150000 100000\n", "outer/inner/cpu.max": "max 100000\n"}, [1.5]),
        ("5:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, [2.0]),
        ("5:cpu,cpuacct:/a\n", {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}, []),
        ("0::/\n", {}, []),
    ],
)
def test_quotas_of_control_groups(tmp_path: Path, membership: str, files: dict[str, str], quotas: list[float]) -> None:
    plant(tmp_path, membership, files)
    assert list(machine.cpu_quotas(str(tmp_path / "membership"), str(tmp_path / "root"))) == quotas


def test_a_container_with_a_quota_has_that_many_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    for quotas, wanted in (([], 64), ([1.5, 8.0], 2), ([0.2], 1), ([100.0], 64)):
        monkeypatch.setattr(machine, "_quota", lambda quotas=quotas: min(quotas, default=math.inf))
        assert machine.cpus() == wanted

"""The memory of this machine is what this process may use: the limits of its control groups count."""

import os
from pathlib import Path

import pytest

from persistable.executors import machine


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
    (tmp_path / "membership").write_text(membership)
    for name, content in files.items():
        file = tmp_path / "root" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    assert list(machine.cgroup_limits(str(tmp_path / "membership"), str(tmp_path / "root"))) == limits
    assert list(machine.cgroup_limits(str(tmp_path / "none"))) == []


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="no sysconf here")
def test_the_least_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = machine.memory.__wrapped__  # without what it remembers
    monkeypatch.setattr(machine, "cgroup_limits", lambda: iter([1 << 60]))
    physical = whole()
    assert physical is not None and physical < 1 << 60
    monkeypatch.setattr(machine, "cgroup_limits", lambda: iter([1 << 60, 4096]))
    assert whole() == 4096

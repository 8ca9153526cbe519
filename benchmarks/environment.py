"""The environment of the benchmarks: made once, described in the report."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

from harness import HERE, PYTHON, RELEASED, VENV

PACKAGE = HERE.parent
RELEASE = "1.3.1"
PEERS = (
    "numpy",
    "blake3",
    "joblib",
    "diskcache",
    "exca",
    "labtech",
    "pipefunc",
    "pandas",
    "scikit-learn",
    "cloudpickle",
    "apache-hamilton",
    "dask",
    "luigi",
    "loky",
    "ray",
    "signac",
)


def prepare() -> None:
    """Make the venv unless it is there and holds what peers.txt says."""
    wanted = hashlib.sha256((HERE / "peers.txt").read_bytes() + sys.version.encode()).hexdigest()
    stamp = VENV / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print("benchmarks/.venv: installing the peers", flush=True)
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    uv = shutil.which("uv", path=os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]))
    install = (
        [uv, "pip", "install", "-q", "--python", PYTHON] if uv else [PYTHON, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    )
    subprocess.run([*install, "-r", HERE / "peers.txt"], check=True)
    # same import name as ours, so in a folder that only its own workers have on their path
    subprocess.run([*install, "--no-deps", "--target", RELEASED, f"persistable=={RELEASE}"], check=True)
    purelib = subprocess.run(
        [PYTHON, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], check=True, capture_output=True, text=True
    )
    Path(purelib.stdout.strip(), "persistable-source.pth").write_text(f"{PACKAGE / 'persistable_pkg'}\n")
    compile_all = [PYTHON, "-m", "compileall", "-q", purelib.stdout.strip(), RELEASED, PACKAGE / "persistable_pkg"]
    subprocess.run(compile_all, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stamp.write_text(wanted)


def facts(folder: Path, quick: bool) -> list[str]:
    """The machine, the versions and the date: nothing that names the host or a place on it."""
    versions = subprocess.run(
        [PYTHON, "-c", f"from importlib.metadata import version as v; print(', '.join(f'{{n}} {{v(n)}}' for n in {PEERS!r}))"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    load = f"load {os.getloadavg()[0]:.1f} at the start"
    return [
        f"{time.strftime('%Y-%m-%d')}{', quick run' if quick else ''}; persistable {_own_version()}",
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {_memory():.0f} GiB, {system}, files on {_filesystem(folder)}; {load}",
        f"Python {platform.python_version()}; {versions}; persistable {RELEASE} (released)",
    ]


def _own_version() -> str:
    code = "import persistable; print(persistable.__version__)"
    version = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], check=True, capture_output=True, text=True, cwd=PACKAGE
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "status", "--porcelain", "--", "persistable_pkg"], check=False, capture_output=True, text=True, cwd=PACKAGE
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return version
    return f"{version} at {commit}{' with changes' if changed.strip() else ''}"


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
        return next(line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _memory() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)


def _filesystem(folder: Path) -> str:
    try:
        mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:
        return "an unknown file system"
    place = str(folder.resolve())
    return max((mount for mount in mounts if (place + "/").startswith(mount[0].rstrip("/") + "/")), key=lambda mount: len(mount[0]))[1]

"""Container images made without a container engine, as archives that containerd imports."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement

PREFIX = "/opt/python"
PYTHON = f"{PREFIX}/bin/python3"
# of the standard library and of packages: what no test in a pod imports
_LEFT_OUT = re.compile(r"/(test|tests|idlelib|tkinter|turtledemo|ensurepip|lib2to3|config-[^/]*)/|\.a$|/botocore/data/(?!s3/)[^/]+/")


def busybox_image(archive: Path, reference: str, command: list[str]) -> None:
    """Write an image that holds nothing but busybox."""
    _write(archive, reference, [("bin/busybox", Path("/bin/busybox"))], command, {"sh": "busybox", "sleep": "busybox"})


def python_image(archive: Path, reference: str, distribution: str, extras: Iterable[str], source: Path) -> None:
    """Write an image of this Python, of `distribution` from the folder `source`, and of all that it needs with these extras."""
    files = {
        name: path
        for name, path in [*_interpreter(), *_packages(distribution, set(extras)), *_tree(source, _site())]
        if not _LEFT_OUT.search(f"/{name}")
    }
    libraries = _libraries([path for name, path in files.items() if name.endswith((".so", "bin/python3")) or ".so." in name])
    _write(
        archive,
        reference,
        [*files.items(), *libraries, ("bin/busybox", Path("/bin/busybox"))],
        [PYTHON],
        {"sh": "busybox", "sleep": "busybox"},
    )


def _site() -> str:
    return f"{PREFIX[1:]}/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def _interpreter() -> Iterator[tuple[str, Path]]:
    base = Path(sys.base_prefix)
    yield PYTHON[1:], Path(sys.executable).resolve()
    library = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}"
    for name, path in _tree(base / library, f"{PREFIX[1:]}/{library}"):
        if "/site-packages/" not in name:
            yield name, path


def _packages(distribution: str, extras: set[str]) -> Iterator[tuple[str, Path]]:
    """The files of all distributions that `distribution` needs, without its own."""
    seen: set[tuple[str, str]] = set()
    todo = [(distribution, extra) for extra in ("", *extras)]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                todo += [(needed.name, more) for more in ("", *needed.extras)]
        if name != distribution and not extra:
            for file in importlib.metadata.files(name) or ():
                path = Path(str(file.locate()))
                if not file.parts[0].startswith("..") and file.suffix != ".pyc" and path.is_file():
                    yield from _compiled(f"{_site()}/{file}", path)


def _tree(folder: Path, under: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix != ".pyc":
            yield from _compiled(f"{under}/{path.relative_to(folder)}", path)


def _compiled(name: str, path: Path) -> Iterator[tuple[str, Path]]:
    """The file and, where it is a module that has been imported here, its bytecode: a pod would compile it each time it starts."""
    yield name, path
    if path.suffix == ".py":
        compiled = Path(importlib.util.cache_from_source(str(path)))
        if compiled.exists():
            yield f"{Path(name).parent}/__pycache__/{compiled.name}", compiled


def _libraries(programs: list[Path]) -> list[tuple[str, Path]]:
    """The shared libraries of the system that these need, where they lie here."""
    found: set[str] = set()
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    for line in told.splitlines():
        if match := re.match(r"\s+(?:\S+ => )?(/\S+) \(0x", line):
            found.add(match[1])
    packages = {str(program) for program in programs}
    return [(path[1:], Path(path)) for path in sorted(found) if path not in packages and "site-packages" not in path]


def _write(archive: Path, reference: str, files: list[tuple[str, Path]], command: list[str], links: dict[str, str]) -> None:
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in ("tmp", "etc", "proc", "sys", "dev"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o1777 if name == "tmp" else 0o755
            tar.addfile(folder)
        for name, path in files:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = path.stat().st_size, 0o755, int(path.stat().st_mtime)
            with path.open("rb") as content:
                tar.addfile(entry, content)
        for name, target in links.items():
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
    digest = hashlib.sha256(layer.getbuffer()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": command, "Env": [f"PATH={PREFIX}/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }
    text = json.dumps(config).encode()
    name = f"{hashlib.sha256(text).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [reference], "Layers": [f"{digest}.tar"]}]
    with tarfile.open(archive, "w") as tar:
        for each, content in ((name, text), (f"{digest}.tar", layer.getvalue()), ("manifest.json", json.dumps(manifest).encode())):
            entry = tarfile.TarInfo(each)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))

"""Builds the wheel without any other package, so that pip installs it where there is no network."""

import tomllib
import zipfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    project = tomllib.loads((HERE / "pyproject.toml").read_text())["project"]
    name = f"{project['name'].replace('-', '_')}-{project['version']}"
    groups = project["entry-points"].items()
    entries = "\n".join(
        line for group, those in groups for line in [f"[{group}]", *[f"{entry} = {value}" for entry, value in those.items()]]
    )
    files = {path.relative_to(HERE).as_posix(): path.read_text() for path in HERE.glob("persistable_thermo/*.py")}
    files[f"{name}.dist-info/METADATA"] = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    files[f"{name}.dist-info/WHEEL"] = "Wheel-Version: 1.0\nGenerator: build_wheel\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{name}.dist-info/entry_points.txt"] = entries
    record = f"{name}.dist-info/RECORD"
    files[record] = "".join(f"{path},,\n" for path in [*files, record])
    wheel = f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, wheel), "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel

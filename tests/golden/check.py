"""Compare the digest of each value in identity.json with the one written there: ``python check.py``, exit status 1 if one differs.

Runs on any Python that has blake3; the groups that need a package are passed over where it is absent. ``--write`` adds digests for new
expressions and never changes one that is there: a digest that changes orphans every payload stored under it.
"""

from __future__ import annotations

import argparse
import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import functools
import importlib.util
import io
import ipaddress
import json
import operator
import pathlib
import re
import sys
import types
import typing
import uuid
import zoneinfo
from dataclasses import dataclass, field
from pathlib import Path

import blake3

sys.path.insert(0, str(Path(__file__).parents[2] / "persistable_pkg"))

from persistable.params import encode, formerly, omit_when, untracked

VECTORS = Path(__file__).with_name("identity.json")
PACKAGES = {
    "plain": (),
    **{name: (name,) for name in ("numpy", "pandas", "polars", "pyarrow", "attrs", "pydantic", "sklearn", "scipy", "xarray")},
    "pandas and pyarrow": ("pandas", "pyarrow"),
}


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Level(enum.IntEnum):
    LOW = 1


Point = collections.namedtuple("Point", "x y")


@dataclass
class Optimizer:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.999)


@dataclass(frozen=True)
class Train:
    n: int
    optimizer: Optimizer = field(default_factory=Optimizer)
    workers: typing.Annotated[int, untracked] = 1
    noise: typing.Annotated[float, omit_when(0.0)] = 0.0
    size: typing.Annotated[int, formerly("n_rows")] = 10


def names(group: str) -> dict[str, object]:
    """What the expressions of one group may mention."""
    found: dict[str, object] = {
        module.__name__: module
        for module in (
            array,
            collections,
            dt,
            decimal,
            enum,
            fractions,
            functools,
            ipaddress,
            operator,
            pathlib,
            re,
            types,
            argparse,
            typing,
            uuid,
            zoneinfo,
        )
    }
    found.update(
        Colour=Colour, Access=Access, Level=Level, Point=Point, Optimizer=Optimizer, Train=Train, nan=float("nan"), inf=float("inf")
    )
    if group == "numpy":
        import numpy as np

        found["np"] = np
    elif group in ("pandas", "pandas and pyarrow"):
        import numpy as np
        import pandas as pd

        found.update(np=np, pd=pd, csv=lambda text, **options: pd.read_csv(io.StringIO(text), **options))
        if group != "pandas":
            import pyarrow as pa

            found.update(pa=pa)
    elif group == "pyarrow":
        import pyarrow as pa

        found.update(pa=pa)
    elif group == "scipy":
        import numpy as np
        from scipy import sparse

        found.update(np=np, sparse=sparse)
    elif group == "xarray":
        import numpy as np
        import xarray as xr

        found.update(np=np, xr=xr)
    elif group == "sklearn":
        found.update(estimators())
    elif group == "polars":
        import polars as pl

        found["pl"] = pl
    elif group == "attrs":
        import attrs

        found["Optimizer"] = attrs.make_class("Optimizer", {"lr": attrs.field(default=0.1), "betas": attrs.field(default=(0.9, 0.999))})
    elif group == "pydantic":
        import pydantic

        found["Optimizer"] = pydantic.create_model("Optimizer", lr=(float, 0.1), betas=(tuple[float, float], (0.9, 0.999)))
        found["url"] = pydantic.TypeAdapter(pydantic.HttpUrl).validate_python
    return found


def estimators() -> dict[str, object]:
    """Those of scikit-learn."""
    import numpy as np
    from sklearn import cluster, ensemble, gaussian_process, linear_model, metrics, model_selection, pipeline, preprocessing, svm

    modules = cluster, ensemble, gaussian_process, linear_model, metrics, model_selection, pipeline, preprocessing, svm
    return {"np": np, **{module.__name__.rpartition(".")[2]: module for module in modules}}


def digest(expression: str, known: dict[str, object]) -> str:
    """The BLAKE3 digest, 32 bytes, of the canonical bytes of a value."""
    return blake3.blake3(encode(eval(expression, dict(known)))).hexdigest()


def main() -> int:
    """Check every group whose package is there."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="add digests for expressions that have none")
    write = parser.parse_args().write
    vectors: dict[str, dict[str, str | None]] = json.loads(VECTORS.read_text(encoding="utf-8"))
    checked = wrong = 0
    for group, expected in vectors.items():
        if any(importlib.util.find_spec(package) is None for package in PACKAGES[group]):
            continue
        known = names(group)
        for expression, wanted in expected.items():
            found = digest(expression, known)
            if wanted is None and write:
                expected[expression] = found
            elif found != wanted:
                wrong += 1
                print(f"{group}: {expression}\n  expected {wanted}\n  found    {found}")
            checked += 1
    if write:
        VECTORS.write_text(json.dumps(vectors, indent=1, ensure_ascii=True) + "\n", encoding="utf-8")
    print(f"{checked} digests, {wrong} wrong, Python {sys.version.split()[0]}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())

"""Params of every kind that can be encoded: back from a record with the same key, or refused with what to do."""

# ruff: noqa: E501 - a table
from __future__ import annotations

import argparse
import array
import collections
import collections.abc
import datetime as dt
import decimal
import fractions
import functools
import http
import inspect
import ipaddress
import json
import pathlib
import re
import types
import typing
import uuid
import zoneinfo
from typing import Any

import httpx
import numpy as np
import omegaconf
import pandas as pd
import polars as pl
import pyarrow as pa
import pydantic
import pytest
import pytz
import scipy.sparse as sp
import sklearn.linear_model
import sklearn.metrics
import sklearn.model_selection
import sklearn.pipeline
import sklearn.preprocessing
import sklearn.svm
import upath
import xarray as xr
import yarl
from sklearn.gaussian_process.kernels import RBF

from catalog import flow
from persistable import register_params
from persistable.catalog.reproduce.rebuild import node_of
from persistable.errors import NotRebuildable
from persistable.params.encoding import encode
from persistable.records import record_access
from persistable.stores import MemoryStore

_DAYS = pd.date_range("2000", periods=2, freq="D")
_EYE = np.eye(3)
_NAMES = ["p", "q"]

KINDS: dict[str, list[Any]] = {
    "plain": [None, True, 10**100, float("nan"), -0.0, "\ud800", b"\0", [1], (1, [2]), {"a": {1}}, {("x",): frozenset({1})}],
    "urls": [yarl.URL("https://u@example.org/a?b=1#c"), httpx.URL("https://example.org/a"), pydantic.AnyUrl("https://example.org/a"),
             pydantic.HttpUrl("https://example.org"), pydantic.PostgresDsn("postgresql://h/db"), upath.UPath("s3://b/c"),
             upath.UPath("memory://b/c"), upath.UPath("/tmp/x")],
    "sparse": [getattr(sp, f"{kind}_{sort}")(_EYE) for kind in ("csr", "csc", "coo", "bsr", "dia", "dok", "lil") for sort in ("matrix", "array")],
    "odd sparse": [sp.coo_array((np.array([1, 2]), ([0, 0], [1, 1])), shape=(2, 2)), sp.csr_array((2, 0), dtype="f4")],
    "xarray": [xr.DataArray([1.0, 2.0], coords={"x": ["a", "b"]}, dims="x", name="n", attrs={"u": "K"}), xr.Variable("x", [1, 2]),
               xr.Dataset({"a": ("x", [1, 2])}, coords={"x": _DAYS}), xr.DataArray([1, 2], coords={"x": pd.RangeIndex(2)}, dims="x")],
    "frames": [pd.DataFrame({"a": [1, 2], "b": ["x", None]}), pd.DataFrame(), pd.DataFrame({"a": [1.5]}, index=["r"]).rename_axis("i"),
               pd.DataFrame({"a": pd.Categorical(_NAMES), "t": pd.date_range("2000", periods=2, tz="UTC")}, index=pd.Index(_NAMES, name="i")),
               pd.DataFrame({("a", 1): [1, 2], ("a", 2): [True, False]}, index=_DAYS)],
    "columns": [pd.Series([1.5, np.nan], name="s"), pd.Series(["a", None]), pd.Series([1, "a"]), pd.Series([], dtype="f4"), pd.array([1, None]),
                pd.Categorical(_NAMES, ordered=True), pd.array(["a", None], dtype="string"), pd.array([True, None], dtype="boolean"),
                pd.arrays.SparseArray([0, 1]), pd.Series(pd.array([1, None], dtype=pd.ArrowDtype(pa.int8()))), pd.array(_DAYS),
                pd.Series(pd.date_range("2000", periods=2, tz="Europe/Berlin")), pd.Series(pd.to_timedelta([1, None], unit="s"))],
    "labels": [pd.Index([1, 2]), pd.RangeIndex(3), _DAYS, pd.MultiIndex.from_product([[1, 2], ["a"]], names=_NAMES),
               pd.period_range("2000", periods=2, freq="M"), pd.interval_range(0, 2), pd.Index(_NAMES, name="n"), pd.timedelta_range("1h", periods=2)],
    "pandas": [pd.CategoricalDtype(["a"]), pd.Int64Dtype(), pd.DatetimeTZDtype(tz="UTC"), pd.StringDtype(), pd.Timestamp("2000", tz="Europe/Berlin"),
               pd.Timedelta("1h"), pd.Period("2000-01", "M"), pd.Interval(0, 1), pd.offsets.BusinessDay(2), pd.NaT, pd.NA],
    "polars": [pl.DataFrame({"a": [1, None], "b": ["x", "y"]}), pl.Series("x", [1.5, None]), pl.Series([[1], None, []]), pl.List(pl.Int8),
               pl.Series([{"a": 1, "b": "x"}, None]), pl.Series([True, None]), pl.Series([dt.date(2000, 1, 1), None]), pl.Int64(),
               pl.Series([dt.datetime(2000, 1, 1, tzinfo=dt.UTC)]), pl.Series(["a"], dtype=pl.Categorical), pl.Series([decimal.Decimal("1.5")]),
               pl.Series(["a", None], dtype=pl.Enum(["a"])), pl.Series([[1, 2]], dtype=pl.Array(pl.Int8, 2)), pl.Datetime("ms", "UTC")],
    "pyarrow": [pa.table({"a": [1, None], "b": ["x", None]}), pa.chunked_array([[1], [2]]), pa.array([1.5, None]), pa.array([[1], None]),
                pa.array([dt.datetime(2000, 1, 1), None]), pa.array(["a", "b"]).dictionary_encode(), pa.array([True, None]),  # noqa: DTZ001
                pa.array([decimal.Decimal("1.5")]), pa.record_batch({"a": [1]}), pa.list_(pa.int8()), pa.array([dt.date(2000, 1, 1)]),
                pa.schema([("a", pa.int8()), ("t", pa.timestamp("us", "UTC")), ("b", pa.binary(3))]), pa.month_day_nano_interval()],
    "numpy": [np.arange(3), np.array([1, "a"], object), np.zeros(2, [("a", "i4")]), np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f4")]),
              np.ma.masked_array([1, 2], [0, 1]), np.ma.masked, np.matrix([[1]]), np.float32(1), np.datetime64("2000"), np.dtype("f4"),
              np.array(["a"]), np.mean, np.add, np.longdouble(1)],
    "zones": [pytz.timezone("Europe/Berlin"), pytz.utc, pytz.FixedOffset(60), pytz.timezone("Europe/Berlin").localize(dt.datetime(2000, 7, 1)),  # noqa: DTZ001
              dt.timezone(dt.timedelta(hours=1)), zoneinfo.ZoneInfo("UTC"), dt.datetime(2000, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))],
    "models": [sklearn.svm.SVC(C=2.0), sklearn.model_selection.KFold(3), RBF(2.0), omegaconf.OmegaConf.create({"a": [1, {"b": 2}]}),
               sklearn.pipeline.make_pipeline(sklearn.preprocessing.StandardScaler(), sklearn.linear_model.Ridge(alpha=2)),
               sklearn.metrics.make_scorer(sklearn.metrics.f1_score, average="macro"), sklearn.metrics.get_scorer("roc_auc"),
               sklearn.model_selection.GridSearchCV(sklearn.svm.SVC(), {"C": [1, 2]})],
    "library": [re.RegexFlag.I | re.RegexFlag.M, http.HTTPStatus.OK, functools.partial(np.mean, axis=0), re.compile("a", re.IGNORECASE),
                ipaddress.ip_address("1.2.3.4"), ipaddress.ip_address("::1"), collections.OrderedDict(a=1), collections.defaultdict(list, a=[1]),
                collections.Counter("aab"), collections.deque([1], 3), types.MappingProxyType({"a": 1}), argparse.Namespace(a=1), bytearray(b"a"),
                array.array("d", [1.0]), ..., NotImplemented, slice(1, 2), range(3), 1j, fractions.Fraction(1, 3), decimal.Decimal("1.10"),
                decimal.Decimal("NaN"), uuid.UUID(int=1), dt.date(2000, 1, 1), dt.time(1, tzinfo=dt.UTC), dt.timedelta(1), json,
                pathlib.PurePosixPath("a/b"), inspect.ArgInfo([], None, None, {})],
    "types": [int, flow.Points, flow.total, len, list[int], int | str, typing.Literal["a", 1], collections.abc.Callable[[int], str], typing.Any,
              typing.Annotated[int, "x"], dict[str, list[int]], tuple[int, ...], typing.Optional[int]],  # noqa: UP045 - what users write
    "params": [flow.Optimizer(0.2), {"deep": [flow.Optimizer(), {"er": flow.AttrsParams(1, 2)}]}],
}  # fmt: skip


def _back(node: Any) -> Any:
    store = node.store
    return node_of(node.generate().record, store, lambda key: record_access.find_record(store, key))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_comes_back_with_the_same_key(kind: str) -> None:
    for value in KINDS[kind]:
        node = flow.ByAttrs(MemoryStore(), k=1, values={"held": [value]})
        found = _back(node)
        assert found.key == node.key, value
        (back,) = found.params.values["held"]
        assert encode(back) == encode(value)
        mine, own = type(back).__module__.partition(".")[0], type(value).__module__.partition(".")[0]
        # what shares an encoding with plain Python comes back as that
        assert type(back) is type(value) or mine == own or mine in ("builtins", "pathlib", "types", "collections"), value


def test_every_tag_of_an_encoding_is_among_these() -> None:
    source = "".join(path.read_text() for path in (pathlib.Path(encode.__code__.co_filename).parent).glob("*.py"))
    tags = set(re.findall(r'(?:Tagged|_content|_singleton|_torch)\("([\w.]+)"', source))
    told = json.dumps([flow.ByAttrs(k=1, values={"held": values}).params_tree for values in KINDS.values()], default=str)
    absent = {tag for tag in tags if f'"${tag}"' not in told}
    assert absent - {tag for tag in absent if tag.startswith("torch.")} == {"registered", "timezone"} & absent


class Unknown:
    pass


def test_what_cannot_be_made_again_is_named_with_what_to_do() -> None:
    register_params(Unknown, lambda _: 1, replace=True)
    for value, words in (
        (Unknown(), "'registered'"),
        (np.arange(10_000), "too large"),
        (pd.DataFrame({"a": np.arange(10_000)}), "too large"),
        (pa.array([{"a": 1}]), "struct<a: int64>"),
    ):
        with pytest.raises(NotRebuildable, match=rf"values\.held.*{words}.*; make the node with the value itself"):
            _back(flow.ByAttrs(MemoryStore(), k=1, values={"held": value}))


def test_tensors_come_back() -> None:
    torch: Any = pytest.importorskip("torch")
    for value in (torch.arange(3.0), torch.ones(2, dtype=torch.bfloat16), torch.tensor(True), torch.ones(2, requires_grad=True),
                  torch.nn.Parameter(torch.ones(2)), torch.empty(0, 3), torch.float32, torch.Size([1]), torch.device("cpu")):  # fmt: skip
        node = flow.ByAttrs(MemoryStore(), k=1, values={"held": value})
        found = _back(node)
        assert found.key == node.key and type(found.params.values["held"]) is type(value)

"""Sparse matrices, labelled arrays, tensors, settings of command lines, URLs and secrets among the params."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from persistable import Persistable
from persistable.errors import ParamsMutated, UntrackableParam
from persistable.params.encoding import encode
from persistable.params.trees import from_tree, tree


@dataclass
class P:
    value: Any


class Using(Persistable[str, P]):
    def _generate_payload(self, **_: Any) -> str:
        return repr(type(self.params.value))


def test_a_namespace_of_argparse() -> None:
    given = argparse.Namespace(lr=0.1, layers=[1, 2])
    assert encode(given) == encode(argparse.Namespace(layers=[1, 2], lr=0.1))
    assert len({encode(each) for each in (given, vars(given), argparse.Namespace(lr=0.1), argparse.Namespace(lr=1, layers=[1, 2]))}) == 4
    assert from_tree(tree(given)) == given
    node = Using("memory://namespace", P(given))
    given.lr = 0.2
    with pytest.raises(ParamsMutated, match="value of using"):
        node.generate()


KINDS = ("bsr", "coo", "csc", "csr", "dia", "dok", "lil")


@pytest.mark.parametrize("kind", KINDS)
def test_sparse_matrices(kind: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    dense = np.array([[0, 1.5, 0], [2.0, 0, 0]])
    for sort in ("matrix", "array"):
        make = getattr(sparse, f"{kind}_{sort}")
        assert encode(make(dense)) == encode(make(dense.copy()))
        others = [make(dense * 2), make(dense.T), make(dense.astype("f4")), make((2, 3)), dense]
        assert len({encode(each) for each in (make(dense), *others)}) == 6
    every = [getattr(sparse, f"{each}_{sort}")(dense) for each in KINDS for sort in ("matrix", "array")]
    assert len({encode(each) for each in every}) == len(every), "code sees which it is: * means another thing, slices cost another"
    assert "sparse" in Using("memory://sparse", P(make(dense))).payload


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sort", ["matrix", "array"])
def test_sparse_matrices_come_back_from_their_tree(kind: str, sort: str) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    given = getattr(sparse, f"{kind}_{sort}")(np.array([[0, 1.5, 0], [2.0, 0, 0]]))
    again = from_tree(json.loads(json.dumps(tree(given))))
    assert type(again) is type(given)
    assert encode(again) == encode(given)


def test_labelled_arrays_and_urls_come_back_from_their_tree() -> None:
    xarray, pydantic, upath = pytest.importorskip("xarray"), pytest.importorskip("pydantic"), pytest.importorskip("upath")
    dense = np.array([[0, 1.5, 0], [2.0, 0, 0]])
    array = xarray.DataArray(dense, dims=("x", "y"), coords={"x": [1, 2], "z": ("x", [3.0, 4.0])}, name="n", attrs={"unit": "m"})
    whole = xarray.Dataset({"a": array, "b": ("y", [1, 2, 3])}, attrs={"t": 1})
    for given in (array, array.variable, whole, xarray.DataArray(3.0), pydantic.AnyUrl("https://a.b/c"), upath.UPath("memory://b/k")):
        again = from_tree(json.loads(json.dumps(tree(given))))
        assert type(again) is type(given)
        assert encode(again) == encode(given)


def test_what_a_sparse_matrix_stores_counts_and_how_places_are_counted_does_not() -> None:
    sparse = pytest.importorskip("scipy.sparse")
    one, other = [sparse.csr_array((np.array([1.0, 2.0]), np.array([0, 2]), np.array([0, 2])), shape=(1, 3)) for _ in range(2)]
    other.indices, other.indptr = other.indices.astype("int64"), other.indptr.astype("int64")
    assert encode(one) == encode(other)
    unsorted = sparse.csr_array((np.array([2.0, 1.0]), np.array([2, 0]), np.array([0, 2])), shape=(1, 3))
    zero = sparse.csr_array((np.array([1.0, 2.0, 0.0]), np.array([0, 2, 1]), np.array([0, 3])), shape=(1, 3))
    assert len({encode(one), encode(unsorted), encode(zero)}) == 3
    dok = [sparse.dok_array((2, 2)) for _ in range(2)]
    for place in [(0, 1), (1, 0)]:
        dok[0][place] = 1.0
    for place in [(1, 0), (0, 1)]:
        dok[1][place] = 1.0
    assert encode(dok[0]) == encode(dok[1])


def test_labelled_arrays() -> None:
    xr = pytest.importorskip("xarray")

    def made(**changes: Any) -> Any:
        given = {"data": np.arange(6.0).reshape(2, 3), "dims": ["t", "x"], "coords": {"t": [1, 2]}, "name": "wind", "attrs": {"u": "m/s"}}
        return xr.DataArray(**{**given, **changes})

    others = [made(name="rain"), made(dims=["x", "t"], coords={}), made(coords={"t": [1, 3]}), made(attrs={}), made(data=np.zeros((2, 3)))]
    others += [made().to_dataset(), made().variable, made().values]
    assert encode(made()) == encode(made()) and len({encode(each) for each in (made(), *others)}) == 9
    written = made()
    written.encoding["dtype"] = "int16"
    assert encode(written) == encode(made())
    assert "DataArray" in Using("memory://xarray", P(made())).payload


def test_urls_and_secrets_of_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    url = pydantic.TypeAdapter(pydantic.HttpUrl).validate_python
    assert encode(url("https://example.org/a")) == encode(url("https://example.org/a"))
    assert len({encode(each) for each in (url("https://example.org/a"), url("https://example.org/b"), "https://example.org/a")}) == 3
    for secret in (pydantic.SecretStr("hunter2"), pydantic.SecretBytes(b"hunter2")):
        with pytest.raises(UntrackableParam, match=r'Secret\("TOKEN"\)') as raised:
            Using("memory://secret", P(secret))
        assert "hunter2" not in str(raised.value)


class Tensor:
    """As much of a torch tensor as is looked at."""

    layout, device, is_quantized, is_meta, grad_fn, requires_grad = "torch.strided", "cpu", False, False, None, False

    def __init__(self, array: Any, **more: Any) -> None:
        self.array, self.dtype, self.shape = array, f"torch.{array.dtype}", array.shape
        self.__dict__.update(more)

    def _same(self) -> Tensor:
        return self

    detach = resolve_conj = resolve_neg = cpu = contiguous = _same

    def reshape(self, length: int) -> Tensor:
        return Tensor(self.array.reshape(length))

    def view(self, dtype: Any) -> Any:
        return SimpleNamespace(numpy=lambda: self.array.view(dtype))


Tensor.__module__ = "torch"


def test_tensors_by_what_is_asked_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("torch")
    module.Tensor, module.uint8 = Tensor, np.uint8
    monkeypatch.setitem(sys.modules, "torch", module)
    given = Tensor(np.array([[1.0, 2.0]]))
    others = [Tensor(np.array([1.0, 2.0])), Tensor(np.array([[1, 2]])), Tensor(np.array([[1.0, 2.0]]), requires_grad=True)]
    assert encode(given) == encode(Tensor(np.array([[1.0, 2.0]]), device="cuda:0"))
    assert len({encode(each) for each in (given, *others, Tensor(np.array(3.0)), given.array)}) == 6
    for more in ({"grad_fn": "add"}, {"layout": "torch.sparse_coo"}, {"is_meta": True}):
        with pytest.raises(UntrackableParam):
            encode(Tensor(np.array([1.0]), **more))


def test_tensors() -> None:
    torch = pytest.importorskip("torch")
    given = torch.arange(6.0).reshape(2, 3)
    assert encode(given) == encode(given.T.contiguous().T)
    assert len({encode(each) for each in (given, given.T, given.bfloat16(), torch.nn.Parameter(given), given[0], given.numpy())}) == 6

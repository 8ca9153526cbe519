"""numpy: a scalar is the Python value it holds, an array its dtype, shape and bytes, however it lies in memory."""

import datetime as dt
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from persistable.errors import UntrackableParam
from persistable.params.encoding import encode
from persistable.params.trees import tree

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(),
    hnp.datetime64_dtypes(),
    hnp.timedelta64_dtypes(),
    hnp.unicode_string_dtypes(max_len=4),
    hnp.byte_string_dtypes(max_len=4),
    hnp.array_dtypes(hnp.integer_dtypes() | hnp.floating_dtypes(sizes=[32, 64]), max_size=3, allow_subarrays=True),
)
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))


@given(ARRAYS)
def test_memory_layout_does_not_matter(array: Any) -> None:
    expected = encode(array)
    for other in (array.copy(order="F"), array.copy(), array.view(), _spread(array), _readonly(array)):
        assert encode(other) == expected


def _spread(array: Any) -> Any:
    """The same items, with gaps between them and in reverse order of memory."""
    if array.ndim == 0:
        return array
    wide = np.empty((2 * array.shape[0], *array.shape[1:]), array.dtype)
    view = wide[::-2]
    view[...] = array
    return view


def _readonly(array: Any) -> Any:
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("shape", [(3_000_000,), (3, 1_000_000), (1_000_000, 3), (100, 100, 300)])
def test_large_arrays_that_are_not_contiguous_are_their_contiguous_copies(shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype="i8").reshape(shape)
    for view in (array.T, array[::-1], array[..., ::2], np.asfortranarray(array), np.broadcast_to(array[:1], shape)):
        assert encode(view) == encode(np.ascontiguousarray(view))


def test_a_large_array_is_not_copied() -> None:
    array = np.zeros((1000, 4000))
    encode(array[:2])
    for view in (array, array.T, array[::-1]):
        tracemalloc.start()
        encode(view)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < array.nbytes / 3


@given(ARRAYS, ARRAYS)
def test_arrays_are_equal_only_with_dtype_shape_and_bytes(a: Any, b: Any) -> None:
    same = _plain(a.dtype) == _plain(b.dtype) and a.shape == b.shape and a.tobytes() == b.tobytes()
    if a.dtype.names is None and b.dtype.names is None and a.dtype.char not in "gG":
        assert (encode(a) == encode(b)) == same
    elif same:
        assert encode(a) == encode(b)


def _plain(dtype: Any) -> str:
    return str(dtype.descr) if dtype.names else dtype.str


def test_arrays_that_differ_in_the_middle_differ() -> None:
    """Fault of the original: str() of a long array shows only its ends, so 5,000-element arrays collided."""
    a = np.arange(5000)
    b = a.copy()
    b[2500] = -1
    assert encode(a) != encode(b)
    assert tree(a) != tree(b)


def test_same_bytes_of_another_dtype_shape_or_byte_order_differ() -> None:
    raw = np.arange(8, dtype="<i4")
    others = [
        raw,
        raw.view("<u4"),
        raw.view("<f4"),
        raw.view(">i4"),
        raw.view("<i8"),
        raw.view("V4"),
        raw.reshape(2, 4),
        raw.reshape(4, 2),
        raw.reshape(8, 1),
    ]
    others += [
        raw.view([("a", "<i4")]),
        raw.view([("b", "<i4")]),
        raw.view([("a", "<i2"), ("b", "<i2")]),
        raw.tobytes(),
        raw.tolist(),
        np.array(3),
        3,
    ]
    others += [raw.astype(">i4"), raw.astype("<i8"), raw.view("<i8").view("M8[s]"), raw.view("<i8").view("M8[ns]")]
    others += [
        np.array(["a"]),
        np.array([b"a"]),
        np.array("a"),
        "a",
        np.array(["a"], dtype=object),
        np.array(["a"], dtype="U2"),
        ["a"],
        np.zeros((0, 2)),
        np.zeros((2, 0)),
    ]
    assert len({encode(value) for value in others}) == len(others)


@given(
    st.data(),
    st.one_of(
        hnp.integer_dtypes(), hnp.floating_dtypes(sizes=[16, 32, 64]), hnp.boolean_dtypes(), hnp.complex_number_dtypes(sizes=[64, 128])
    ),
)
def test_a_scalar_is_the_python_value_it_holds(data: Any, dtype: Any) -> None:
    scalar = data.draw(hnp.arrays(dtype, 1))[0]
    assert encode(scalar) == encode(scalar.item())
    assert encode([{"a": scalar}]) == encode([{"a": scalar.item()}])


def test_text_and_bytes_scalars_are_too() -> None:
    assert encode(np.str_("a")) == encode("a")
    assert encode(np.bytes_(b"a")) == encode(b"a")
    assert encode({np.int64(1): 2}) == encode({1: 2})


def test_times_and_long_doubles_keep_what_python_would_lose() -> None:
    """``datetime64('…', 'ns').item()`` is an int, and ``longdouble.item()`` is itself."""
    moment = np.datetime64("2020-01-01", "ns")
    scalars = [
        moment,
        moment.astype("M8[s]"),
        moment.item(),
        np.timedelta64(1, "s"),
        np.timedelta64(1, "ns"),
        1,
        np.datetime64("NaT"),
        np.timedelta64("NaT"),
    ]
    scalars += [np.longdouble(1), np.nextafter(np.longdouble(1), np.longdouble(2)), 1.0, np.clongdouble(1), dt.datetime(2020, 1, 1)]  # noqa: DTZ001
    assert len({encode(value) for value in scalars}) == len(scalars)
    assert encode(np.longdouble(1) / 3) == encode(np.longdouble(1) / 3)


def test_what_lies_in_the_padding_of_a_long_double_does_not_matter() -> None:
    one, other = np.ones(4, np.longdouble), np.ones(4, np.longdouble)
    if np.finfo(np.longdouble).nmant == 63:  # x86: ten bytes in twelve or sixteen
        other.view(np.uint8).reshape(4, -1)[:, 10:] = 7
    assert (one == other).all()
    assert encode(one) == encode(other)


def test_padding_alignment_and_titles_of_structures_do_not_matter() -> None:
    packed, aligned = np.dtype([("a", "i1"), ("b", "<f8")]), np.dtype([("a", "i1"), ("b", "<f8")], align=True)
    one, other = np.zeros(3, packed), np.zeros(3, aligned)
    other.view(np.uint8)[:] = 255
    other["a"], other["b"] = 0, 0
    assert encode(one) == encode(other)
    assert encode(one) == encode(np.zeros(3, [(("title", "a"), "i1"), ("b", "<f8")]))
    assert encode(one) != encode(np.zeros(3, [("a", "i1"), ("c", "<f8")]))


def test_objects_are_encoded_one_by_one_and_not_by_address() -> None:
    def make() -> Any:
        return np.array([[1, "a"], [None, (1, [2.5])]], dtype=object)

    assert encode(make()) == encode(make()) == encode(np.asfortranarray(make()))
    assert encode(make()) != encode(make().T)
    with pytest.raises(UntrackableParam, match="nothing is known"):
        encode(np.array([object()], dtype=object))


def test_variable_width_strings() -> None:
    def make(*items: Any, **options: Any) -> Any:
        return np.array(items, dtype=np.dtypes.StringDType(**options))

    assert encode(make("a", "b" * 100)) == encode(make("a", "b" * 100)[::-1][::-1])
    others = [make("a"), make("b"), make("a", na_object=None), np.array(["a"]), np.array(["a"], dtype=object), make(None, na_object=None)]
    assert len({encode(value) for value in others}) == len(others)


def test_hidden_data_of_masked_cells_does_not_matter() -> None:
    one, other = np.ma.array([1.0, 2.0], mask=[False, True]), np.ma.array([1.0, np.nan], mask=[False, True])
    assert encode(one) == encode(other)
    assert encode(np.ma.array([1, 2])) == encode(np.ma.array([1, 2], mask=[0, 0]))
    others = [one, np.ma.array([1.0, 2.0]), np.array([1.0, 2.0]), np.ma.array([1.0, 0.0], mask=[True, False]), np.ma.masked]
    assert len({encode(value) for value in others}) == len(others)
    fields = np.ma.array([(1, 2)], mask=[(True, False)], dtype=[("a", int), ("b", int)])
    hidden = np.ma.array([(7, 2)], mask=[(True, False)], dtype=[("a", int), ("b", int)])
    assert encode(fields) == encode(hidden)


def test_subclasses_differ_and_unknown_ones_are_refused(tmp_path: Path) -> None:
    class Mine(np.ndarray):
        pass

    plain = np.array([[1, 2]])
    assert len({encode(plain), encode(plain.view(np.matrix)), encode(np.ma.array(plain))}) == 3
    records = np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])
    assert encode(records) != encode(records.view(np.recarray)) == encode(np.rec.array(records))
    mapped = np.memmap(tmp_path / "a", dtype=plain.dtype, mode="w+", shape=plain.shape)
    mapped[:] = plain
    assert encode(mapped) == encode(plain)
    with pytest.raises(UntrackableParam, match=r"numpy\.asarray"):
        encode(plain.view(Mine))


def test_nan_with_another_payload_is_another_array() -> None:
    strange = np.array([0x7FF8000000000001], dtype="u8").view("f8")
    assert encode(strange) != encode(np.array([np.nan]))
    assert encode(strange[0]) == encode(np.nan)


def test_dtypes_and_functions_of_numpy() -> None:
    values = [
        np.dtype("f8"),
        np.dtype(">f8"),
        np.float64,
        "f8",
        np.dtype([("a", "f8")]),
        np.sin,
        np.cos,
        np.mean,
        np.linalg.norm,
        np.random.default_rng,
        np,
    ]
    assert len({encode(value) for value in values}) == len(values)
    assert encode(np.dtype("float64")) == encode(np.dtype("f8"))

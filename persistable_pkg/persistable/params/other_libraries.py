"""Values of other libraries: scikit-learn estimators, OmegaConf nodes, torch tensors and dtypes, URLs of pydantic, paths, pytz zones.

No package is imported here: a value of its type exists, so it is loaded.
"""

# Values of every type pass through here, so pyright does not report types that it does not know.
# pyright: reportUnknownArgumentType=false, reportUnknownLambdaType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import sys

from persistable.params.reduced_values import Parts, Refused, Tagged, blob
from persistable.params.unset import UNSET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from persistable.params.reduced_values import Reduce


def reducer(cls: type) -> Reduce | None:
    """The function that reduces values of `cls`; None if there is none here."""
    names = {f"{base.__module__.partition('.')[0]}:{base.__name__}" for base in cls.__mro__}
    for bases, reduce in _BY_BASE:
        if not names.isdisjoint(bases):
            return reduce
    found = _EXACT.get(f"{cls.__module__.partition('.')[0]}:{cls.__name__}")
    if found is None and cls.__module__.partition(".")[0] == "upath" and cls.__name__.endswith("Path"):
        return _upath
    return found


def is_described(cls: type) -> bool:
    """Tell whether values of `cls` are reduced to their class and parameters."""
    return reducer(cls) in (_estimator, _kernel, _splitter)


def _estimator(value: Any) -> Tagged:
    """Reduce to class and parameters. A fitted estimator is refused: its state comes from data, so it is a payload, not a param."""
    fitted = next((name for name in vars(value) if name.endswith("_") and not name.startswith("_") and not name.endswith("__")), None)
    if fitted is None:
        fitted = _says_fitted(value)
    if fitted is not None:
        raise Refused(
            f"this {type(value).__qualname__} is fitted (it has {fitted})",
            "pass sklearn.base.clone(…) of it, or make the fitted model a payload and take it as an upstream",
        )
    return _described(value, value.get_params(deep=False))


def _kernel(value: Any) -> Tagged:
    return _described(value, value.get_params(deep=False))


NO_RESULT = ("n_jobs", "verbose")
"""Parameters of estimators that change how they work but not their results."""
NO_RESULT_IN_SKLEARN = ("memory", "pre_dispatch")
"""More such parameters, with names that mean other things in other packages."""


def _described(value: Any, held: dict[str, Any]) -> Tagged:
    """Reduce to the class, and those of the parameters that change results and are not at their default.

    The set of parameters, and the spelling of defaults without effect, differ from version to version.
    """
    from persistable.params.annotations import signature_of
    from persistable.params.encoding import encode

    cls = type(value)
    known = signature_of(cls).parameters
    passed_over = NO_RESULT + NO_RESULT_IN_SKLEARN if cls.__module__.startswith("sklearn.") else NO_RESULT
    params = {}
    for name, given in held.items():
        default = known[name].default if name in known else UNSET
        if name in passed_over or given is default:
            continue
        if default is UNSET or type(given) is not type(default) or encode(given, name, []) != encode(default, name, []):
            params[name] = given
    return Tagged("estimator", Parts({"class": cls, "params": params}))


def _splitter(value: Any) -> Tagged:
    """The parts of a splitter of folds: its class and the arguments of its ``__init__``."""
    from persistable.params.annotations import signature_of

    held = vars(value)
    more = held.get("cvargs") or {}
    names = [
        name for name, each in signature_of(type(value)).parameters.items() if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    absent = next((name for name in names if name not in held and name not in more), None)
    if absent is not None:
        raise Refused(f"this {type(value).__qualname__} does not keep what its __init__ took as {absent}", "register_params its type")
    return _described(value, {name: held[name] if name in held else more[name] for name in names})


def _scorer(value: Any) -> Tagged:
    """The parts of a scorer by `make_scorer`: the function, its sign and options, and the method of the estimator that it calls."""
    made = Parts(
        function=value._score_func,
        sign=value._sign,
        options=dict(value._kwargs),
        response=getattr(value, "_response_method", None),
    )
    return Tagged("sklearn.scorer", made)


def _says_fitted(value: Any) -> str | None:
    """Words for the fitted state of an estimator that reports it by itself; None where it does not, or where a new one reports the same."""
    check = getattr(value, "__sklearn_is_fitted__", None)
    try:
        if check is None or not check():
            return None
        new = type(value)(**value.get_params(deep=False))
        return None if new.__sklearn_is_fitted__() else "all that predicting needs"
    except (AttributeError, TypeError, ValueError):  # it looks for attributes that fitting would set
        return None


def _omegaconf(value: Any) -> Any:
    config = sys.modules["omegaconf"].OmegaConf
    try:
        return config.to_container(value, resolve=True, throw_on_missing=True)
    except Exception as error:
        raise Refused(f"OmegaConf cannot resolve it: {error}".splitlines()[0], "give every value it refers to") from error


def _pytz(value: Any) -> Tagged:
    # a zone object of pytz keeps its one offset in all arithmetic on times
    return Tagged("pytz", (value.zone, getattr(value, "_utcoffset", None)))


def _tensor(value: Any) -> Tagged:
    """Type, shape and bytes, independent of device and order in memory: these change no number."""
    name = type(value).__name__
    if name not in ("Tensor", "Parameter"):
        raise Refused(f"a {name} is a tensor with something more, and that would not be tracked", "register_params its type")
    if str(value.layout) != "torch.strided" or value.is_quantized or value.is_meta:
        raise Refused(f"this tensor is no plain one (it is {value.layout} on {value.device})", "pass a dense tensor, such as .to_dense()")
    if value.grad_fn is not None:
        raise Refused("this tensor has a history of what it was computed from, which is not tracked", "pass tensor.detach()")
    plain = value.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
    raw = memoryview(plain.view(sys.modules["torch"].uint8).numpy())
    parts = Parts(dtype=str(value.dtype), shape=list(value.shape), data=blob([raw], len(raw)))
    if value.requires_grad:
        parts["requires_grad"] = True
    if name != "Tensor":
        parts["kind"] = name
    return Tagged("torch.Tensor", parts)


def _secret(value: Any) -> Any:
    raise Refused(
        f"a {type(value).__name__} would be written into records, and its digest into every key",
        'name the environment variable that holds it: Secret("TOKEN") is read where it is used, and is no part of a key',
    )


def _url(value: Any) -> Tagged:
    """Reduce to the text: the class differs between versions of pydantic."""
    return Tagged("pydantic.url", str(value))


def _module(_: Any) -> Any:
    raise Refused("a torch module holds weights", "pass the settings it is made from, or make it a payload and take it as an upstream")


def _upath(value: Any) -> Tagged:
    if getattr(value, "protocol", ""):
        return Tagged("url", f"{value.protocol}://{value.path.removeprefix(f'{value.protocol}://')}")
    return Tagged("path", value.as_posix())


def _torch(tag: str) -> Reduce:
    return lambda value: Tagged(tag, str(value))


_BY_BASE: tuple[tuple[tuple[str, ...], Reduce], ...] = (
    (("sklearn:BaseEstimator",), _estimator),
    (("sklearn:Kernel",), _kernel),
    (("sklearn:_BaseScorer",), _scorer),
    (("sklearn:BaseCrossValidator", "sklearn:BaseShuffleSplit", "sklearn:_RepeatedSplits", "sklearn:_UnsupportedGroupCVMixin"), _splitter),
    (("omegaconf:DictConfig", "omegaconf:ListConfig"), _omegaconf),
    (("pytz:BaseTzInfo",), _pytz),
    (("torch:Tensor",), _tensor),
    (("pydantic:_SecretBase", "pydantic:_SecretField", "pydantic:SecretStr", "pydantic:SecretBytes"), _secret),
    (("pydantic:_BaseUrl", "pydantic:_BaseMultiHostUrl", "pydantic_core:Url", "pydantic_core:MultiHostUrl"), _url),
    (("torch:Module",), _module),
)
"""The reducers by the names of classes among the bases of a value's class."""
_EXACT: dict[str, Reduce] = {
    "httpx:URL": lambda value: Tagged("httpx.url", str(value)),
    "yarl:URL": lambda value: Tagged("yarl.url", str(value)),
    "torch:device": _torch("torch.device"),
    "torch:dtype": _torch("torch.dtype"),
    "torch:layout": _torch("torch.layout"),
    "torch:memory_format": _torch("torch.memory_format"),
    "torch:Size": lambda value: Tagged("torch.Size", list(value)),
}

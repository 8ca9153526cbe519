"""The OpenAPI description of Kubernetes, as JSON schemas that refuse every field they do not know."""

from __future__ import annotations

import functools
import json
from importlib.resources import files
from typing import Any

VERSION = "1.37"
NAMES = {
    "ConfigMap": "configmap-v1",
    "Event": "event-v1",
    "Job": "job-batch-v1",
    "Pod": "pod-v1",
    "Secret": "secret-v1",
    "SelfSubjectAccessReview": "selfsubjectaccessreview-authorization-v1",
    "DeleteOptions": "deleteoptions-meta-v1",
}


def complaints(thing: Any, kind: str) -> list[str]:
    """Everything that is wrong with an object of the API."""
    if thing.get("kind", kind) != kind:
        return [f"kind is {thing['kind']}, not {kind}"]
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}" for error in _validator(kind).iter_errors(thing)]


@functools.cache
def _validator(kind: str) -> Any:
    import jsonschema

    schema = _read(f"{NAMES[kind]}.json")
    return jsonschema.Draft202012Validator({**schema, "$defs": _needed(schema)})


def _needed(schema: Any) -> dict[str, Any]:
    """The definitions that a schema refers to, by way of others too. References are changed to these."""
    definitions = _read("_definitions.json")["$defs"]
    found: dict[str, Any] = {}
    todo = [schema]
    while todo:
        part = todo.pop()
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str):
                name = reference.rpartition("/")[2]
                part["$ref"] = f"#/$defs/{name}"
                if name not in found:
                    found[name] = definitions[name]
                    todo.append(found[name])
            todo += part.values()
        elif isinstance(part, list):
            todo += part
    return found


def _read(name: str) -> Any:
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"v{VERSION}.0-local-strict"
    return json.loads((folder / name).read_text())

"""`python -m persistable.cli.demo [folder]`: run the flow three times and print the results."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any

from persistable import Persistable


def main(folder: str) -> int:
    """Run the flow on a store in `folder`; returns the exit status."""
    try:
        from persistable.cli.demo.flow import nodes
    except ModuleNotFoundError as error:
        print(f"the demo needs {error.name}: pip install 'persistable[demo]'", file=sys.stderr)
        return 1

    print("\npersistable demo: 569 tumours, 30 measurements of each. Benign or malignant?")
    print("Data: Breast Cancer Wisconsin (Diagnostic), UCI, CC BY 4.0, as carried by scikit-learn.")
    print(f"Store: {folder}/ (delete it to start over)")

    deep, shallow = nodes(folder), nodes(folder, depth=2)
    first = show("1. Ask for everything: what is missing is generated, what is there is loaded.", deep)
    again = show("2. Ask again with new objects: their keys are the same, so everything is loaded.", nodes(folder))
    show("3. Change one param (depth=2): what comes after it has another key.", shallow)

    print("\nWhat came out\n")
    for title, flow in (("depth 12", deep), ("depth 2", shallow)):
        facts = ", ".join(f"{name} {value:.4g}" for name, value in flow["metrics"].payload.items())
        print(f"  {title:<12} {facts}\n  {'figure':<12} {folder}/{place_of(flow['report'])}")
    print(f"\nThe first time took {first:.2f} s, the second {again:.2f} s. Call it again: a new process finds everything.\n")
    return 0


def show(title: str, flow: dict[str, Persistable[Any, Any]]) -> float:
    """Get the payload of each node and print where it came from and the time it took; return the seconds in all."""
    print(f"\n{title}\n\n  {'payload':<12} {'was':<10} {'seconds':>8} {'size':>9}  key")
    total = 0.0
    for name, node in flow.items():
        was = "loaded" if node.exists() else "generated"
        start = perf_counter()
        _ = node.payload
        seconds = perf_counter() - start
        total += seconds
        print(f"  {name:<12} {was:<10} {seconds:8.3f} {size_of(node):>9}  {node.key}")
    print(f"  {'in all':<12} {'':<10} {total:8.3f}")
    return total


def size_of(node: Persistable[Any, Any]) -> str:
    """Size of the stored payload of `node`, for people."""
    size = node.record.size if node.record else 0
    return f"{size} B" if size < 1000 else f"{size / 1000:.1f} kB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def place_of(node: Persistable[Any, Any]) -> str:
    """Path of the payload's file in the store."""
    return node.record.files[0].path if node.record else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "demo-data"))

"""What a user of persistable-thermo writes. Run by tests/test_extensions.py where it is installed, in a folder of its own."""

import sys
from pathlib import Path

from persistable import Project, open_store, run, step

MODULES = {f"persistable_thermo.{name}" for name in ("stores", "formats", "params", "executors")}
assert not MODULES & set(sys.modules)

from persistable_thermo import Temperature  # noqa: E402

from persistable.executors import DaskExecutor  # noqa: E402
from persistable.fileio import fileio_for  # noqa: E402


@step(io="auto")
def warmed(by: Temperature) -> Temperature:
    return Temperature(by.kelvin + 1)


@step
def url_and_keys_inside(kelvin: float) -> list[str]:
    store = open_store("attic://elsewhere")
    return [store.url, type(fileio_for("x.temp.gz")).__name__, str(warmed.step(Temperature(kelvin)).key)]


if __name__ == "__main__":
    assert not MODULES & set(sys.modules), "an extension is imported before its name is met"
    nodes = [warmed.step(Temperature(300.0 + n)) for n in range(3)]
    assert "persistable_thermo.params" in sys.modules and "persistable_thermo.formats" not in sys.modules
    result = run(*nodes, store=f"attic://{Path.cwd()}/attic", executor=sys.argv[1] if len(sys.argv) > 1 else "pair", max_workers=2)
    assert [result[node].payload for node in nodes] == [Temperature(301.0 + n) for n in range(3)]
    assert [path.suffix for path in Path("attic").rglob("*.temp")] == [".temp"] * 3
    for executor in ("inline", "pair"):
        inside = url_and_keys_inside.step(300.0)
        found = run(inside, store=executor, executor=executor)[inside].payload
        assert found == [open_store("attic://elsewhere").url, "CompressedFileIO", str(nodes[0].key)], found
    with DaskExecutor(n_workers=1) as dask:
        assert run(inside, store="dask", executor=dask)[inside].payload == found
    project = Project(store="project", executor={"kind": "pair", "workers": 1}, targets={"warm": nodes[0]})
    assert project.run("warm").counts["done"] == 1
    print("as it should be")

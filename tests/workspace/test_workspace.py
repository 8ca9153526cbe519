"""A workspace in use, on every kind of store: computed when missing, stored where the template says, and only what a seed changes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pandas as pd
import pytest
from tests.workspace.conftest import filled, frame
from tests.workspace.flows import Files, NumberFiles, Numbers, Scaling, calls

from persistable import Persistable, Pipeline, Status, plan, run, seed, step, stored
from persistable.errors import InputVanished, InvalidName, PayloadCorrupted, UnknownMember, UnknownParam
from persistable.families.workspaces import Workflow, Workspace
from persistable.fileio import CsvFileIO
from persistable.stores import Store, open_store


def test_computed_when_missing_and_stored_where_the_template_says(ws: Files) -> None:
    assert ws["002"].top == 6
    pd.testing.assert_frame_equal(ws["002"].scaled, frame(2) * 3)
    assert calls() == ["first_cell", "multiply"]
    assert ws.store.get("computed/scaled-002.csv") == b"x,y\n6,1.5\n6,0.75\n"
    assert sorted(ws.store.list()) == [
        "computed/scaled-002.csv",
        "params/factor",
        *[f"raw/data-00{number}.csv" for number in (1, 2, 3)],
    ]
    assert sorted(ws.store.list(".persistable/placed")) == [".persistable/placed/computed/scaled-002.csv.record.json"]
    again = Files(ws.store)
    pd.testing.assert_frame_equal(again["002"].scaled, frame(2) * 3)
    assert again["002"].top == 6
    assert calls() == ["first_cell"]  # it is not stored


def test_it_is_a_mapping(ws: Files) -> None:
    assert list(ws) == ["001", "002", "003"]
    assert len(ws) == 3
    assert "002" in ws
    assert "004" not in ws
    assert ws.get("004") is None and ws.get("../002", "none") == ws.get("a/b", "none") == "none"
    assert [workflow.top for workflow in ws.values()] == [3, 6, 9]
    assert {name: workflow.workflow_id for name, workflow in ws.items()} == {name: name for name in ws}
    assert isinstance(ws["001"], Scaling)
    ws.store.put("raw/data-004.csv", b"x,y\n4,1\n")
    assert list(ws) == ["001", "002", "003", "004"]
    ws.store.delete("raw/data-001.csv")
    assert list(ws) == ["002", "003", "004"]


def test_a_text_is_no_list_of_ids(ws: Files) -> None:
    for used in (ws.run, ws.plan):
        with pytest.raises(TypeError, match=r"^ids is the text '002'; give a list of ids: ids=\['002'\]$"):
            used(ids="002")


def test_an_unknown_id_says_what_is_missing_and_what_is_near(ws: Files) -> None:
    with pytest.raises(UnknownMember, match=r"raw is missing: there is no .*raw/data-01\.csv; the nearest id is '001'") as caught:
        ws["01"]
    assert caught.value.nearest == "001"
    with pytest.raises(KeyError, match="one text"):
        ws["001", "002"]


@pytest.mark.parametrize("workflow_id", ["../002", "..", "a/b", "a\\b", "/etc", ""])
def test_an_id_cannot_leave_its_folder(ws: Files, workflow_id: str) -> None:
    with pytest.raises(InvalidName):
        ws[workflow_id]
    with pytest.raises(InvalidName):
        ws.put(workflow_id, raw=frame(1))
    assert workflow_id not in ws


def test_a_changed_seed_makes_exactly_what_depends_on_it_anew(ws: Files) -> None:
    ws.run()
    assert calls() == ["multiply"] * 3
    ws.store.put("raw/data-002.csv", b"x,y\n20,0.5\n")
    assert {name: row["scaled"] for name, row in ws.status().items()} == {
        "001": Status.DONE,
        "002": Status.ABSENT,
        "003": Status.DONE,
    }
    assert ws["002"].top == 60
    assert ws["002"].scaled["x"].tolist() == [60]
    assert ws["001"].top == 3
    assert calls() == ["first_cell", "first_cell", "multiply"]
    ws.store.put("params/factor", b"4")
    assert ws.run().counts["done"] == 3
    assert [workflow.top for workflow in ws.values()] == [4, 80, 12]
    assert ws.store.get("computed/scaled-002.csv") == b"x,y\n80,2.0\n"


def test_an_instance_sees_that_a_seed_has_changed(ws: Files) -> None:
    workflow = ws["001"]
    assert (workflow.top, workflow.factor, workflow.top) == (3, 3, 3)
    assert calls() == ["first_cell", "multiply"]
    node = workflow.node("scaled")
    assert workflow.node("scaled") is node
    ws.store.put("params/factor", b"5\n")  # of the same size
    assert (workflow.top, workflow.factor) == (5, 5)
    assert workflow.node("scaled").key != node.key
    ws.store.put("raw/data-001.csv", b"x,y\n7,0.5\n")
    assert workflow.raw["x"].tolist() == [7]
    assert workflow.top == 35


def test_content_counts_and_not_when_it_was_written(local: Files) -> None:
    workflow = local["001"]
    assert workflow.top == 3
    assert calls() == ["first_cell", "multiply"]
    path = local.store.local_path("raw/data-001.csv")
    assert path is not None
    path.write_bytes(path.read_bytes())
    assert (workflow.top, local["001"].node("scaled").status) == (3, Status.DONE)
    assert calls() == []


def test_put_writes_seeds_of_one_id_or_of_all(ws: Files) -> None:
    ws.run()
    calls()
    ws.put("001", raw=frame(7))
    ws.put("new", raw=frame(8))
    assert ws.store.get("raw/data-001.csv") == b"x,y\n7,0.5\n7,0.25\n"
    pd.testing.assert_frame_equal(ws["001"].raw, frame(7))
    assert list(ws) == ["001", "002", "003", "new"]
    assert ws.run().counts["done"] == 2
    ws.put(factor=10)
    assert ws.store.get("params/factor") == b"10\n"
    assert [workflow.top for workflow in ws.values()] == [70, 20, 30, 80]
    with pytest.raises(UnknownParam, match="it is computed"):
        ws.put("001", scaled=frame(1))
    with pytest.raises(UnknownParam, match="no such seed"):
        ws.put("001", rwa=frame(1))
    with pytest.raises(TypeError, match="all ids share"):
        ws.put("001", factor=1)
    with pytest.raises(TypeError, match="of each id"):
        ws.put(raw=frame(1))
    with pytest.raises(AttributeError, match="put"):
        ws["001"].raw = frame(1)


def test_a_missing_seed_is_an_error_that_names_the_file(ws: Files) -> None:
    workflow = ws["001"]
    ws.store.delete("params/factor")
    assert "001" in ws  # factor belongs to no id
    with pytest.raises(InputVanished, match="params/factor"):
        _ = workflow.top
    with pytest.raises(InputVanished, match="params/factor"):
        ws.run()
    assert ws.status()["001"] == {"raw": Status.DONE, "factor": Status.ABSENT, "scaled": Status.ABSENT}
    ws.store.delete("raw/data-001.csv")
    with pytest.raises(InputVanished, match=r"raw/data-001\.csv") as caught:
        _ = workflow.raw
    assert isinstance(caught.value, FileNotFoundError)


def test_a_seed_that_cannot_be_read_fails_its_own_id_alone(ws: Files) -> None:
    ws.store.put("raw/data-002.csv", b"")
    result = ws.run(errors="return")
    assert result.counts["done"] == 2
    (failure,) = result.failures
    assert "raw/data-002.csv" in "\n".join([str(failure.error), *getattr(failure.error, "__notes__", [])])
    assert ws.status()["002"]["scaled"] is Status.FAILED
    ws.store.put("params/factor", b"three\n")
    with pytest.raises(ValueError, match="'three' is no int"):
        _ = ws["001"].factor


def test_a_file_changed_by_hand_where_a_computed_one_lies_is_not_the_one_wanted(ws: Files) -> None:
    assert ws["001"].top == 3
    ws.store.put("computed/scaled-001.csv", b"x,y\n1000,1\n")
    assert ws["001"].node("scaled").status is Status.ABSENT
    assert ws["001"].scaled["x"].tolist() == [3, 3]
    ws["001"].node("scaled").put(frame(100))
    assert ws["001"].top == 100


def test_first_access_equals_every_later_one(tmp_path: Path) -> None:
    @step
    def typed(raw: pd.DataFrame) -> pd.DataFrame:
        day = pd.to_datetime(raw["day"])
        return raw.assign(day=day, kind=raw["kind"].astype("category"), n=raw["n"].astype("int8")).set_index("day")

    class Typed(Workflow):
        raw = seed(pd.DataFrame)
        table = typed.step(raw)

    class TypedFiles(Workspace[Typed]):
        raw = stored("raw/{name}.csv")
        table = stored("table/{name}.csv")

    ws = TypedFiles(tmp_path)
    ws.put("a", raw=pd.DataFrame({"day": ["2020-01-01", "2021-05-05"], "kind": ["a", "b"], "n": [1, 2]}))
    first = ws["a"].table
    second = TypedFiles(tmp_path)["a"].table
    pd.testing.assert_frame_equal(first, second)
    assert second["n"].dtype == "int8"
    assert isinstance(second.index, pd.DatetimeIndex)


def test_diamonds_literals_lists_class_nodes_and_one_function_twice(store: Store) -> None:
    store.put("start/a", b"1")
    store.put("start/b", b" 2\n")
    ws = NumberFiles(store)
    a = ws["a"]
    assert (a.low, a.high, a.doubled, a.sum) == (2, 11, 22, 2 + 11 + 22 + 102)
    assert calls() == ["plus-1-1", "plus-1-10", "plus-2-100", "times-2", "total"]
    assert ws.run().counts["done"] > 0
    assert (ws["b"].sum, store.get("sum/b.json")) == (3 + 12 + 24 + 103, b"142")
    calls()
    store.put("step_size", b"20")  # what depends on low alone stays
    assert ws["a"].sum == 2 + 21 + 42 + 102
    assert calls() == ["plus-1-20", "plus-2-100", "times-2", "total"]
    assert ws["a"].low == 2
    assert calls() == []
    store.delete("step_size")
    assert ws["a"].high == 11


def test_what_is_not_stored_is_computed_once_in_an_instance_and_once_in_a_run(local: Files) -> None:
    class Longer(Scaling):
        again = first_cell_twice.step(Scaling.top, Scaling.top)
        more = first_cell_twice.step(Scaling.top, again)

    class LongerFiles(Files, Workspace[Longer]):
        scaled = None

    ws = LongerFiles(local.store)
    workflow = ws["001"]
    assert (workflow.more, workflow.again, workflow.top) == (9, 6, 3)
    workflow.scaled.iloc[0, 0] = 1000  # what a person has is theirs
    assert first_cell_twice(workflow.top, workflow.top) == 6
    assert calls() == ["first_cell", "multiply", "twice", "twice", "twice"]
    assert ws.run("more", "again", ids=["001", "002"]).counts["done"] == 8
    assert calls() == sorted(["first_cell", "multiply", "twice", "twice"] * 2)
    assert list(local.store.list("computed")) == []
    assert ws.run().counts["done"] == 0  # nothing is stored, so there is nothing to bring up to date


@step
def first_cell_twice(a: int, b: int) -> int:
    from tests.workspace.flows import called

    called("twice")
    return a + b


def test_run_plan_and_status_of_some_and_of_all(ws: Files) -> None:
    assert plan(ws).counts == {"generate": 3}
    assert ws.plan(ids=["002"]).counts == {"generate": 1}
    assert ws.run(ids=["002"]).counts["done"] == 1
    assert repr(ws.status()) == "<Overview of 3 ids: 7 done, 2 absent>"
    result = ws.run("top", ids=["001"])
    assert result[ws["001"].node("top")].payload == 3
    assert run(ws, ws["003"].node("top")).counts["failed"] == 0
    assert ws.status().counts["scaled"] == {Status.DONE: 3}
    assert ws["001"].run().counts["reused"] == 1
    assert calls() == ["first_cell", "first_cell", "multiply", "multiply", "multiply"]
    table = ws.to_frame()
    assert list(table.columns) == ["raw", "factor", "scaled"]
    assert table.index.name == "workflow_id"
    assert table.loc["002", "scaled"] == "done"
    with pytest.raises(UnknownParam, match="did you mean 'scaled'"):
        ws.run("scald")
    with pytest.raises(UnknownMember, match="raw is missing"):
        ws.run(ids=["007"])


def test_status_says_running_failed_and_stale_and_what_is_incomplete(tmp_path: Path) -> None:
    @step
    def inverted(number: float) -> float:
        return 1 / number

    class Inverses(Workflow):
        number = seed(float)
        other = seed(str)
        inverse = inverted.step(number)

    class InverseFiles(Workspace[Inverses]):
        number = stored("{n}/number")
        other = stored("{n}/other.txt")
        inverse = stored("{n}/inverse.json")

    ws = InverseFiles(tmp_path)
    for name, value in {"one": 1.0, "zero": 0.0, "half": 0.5}.items():
        ws.put(name, number=value, other=name)
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "number").write_text("7")
    assert list(ws) == ["half", "one", "zero"]
    assert list(ws.incomplete()) == ["lost"]
    assert "lost/other.txt" in ws.incomplete()["lost"][0]
    with pytest.raises(KeyError, match=r"lost/other\.txt"):
        ws["lost"]
    result = ws.run(errors="return")
    assert [type(failure.error) for failure in result.failures] == [ZeroDivisionError]
    status = ws.status()
    assert {name: row["inverse"].value for name, row in status.items()} == {"half": "done", "one": "done", "zero": "failed"}
    assert "lost: the seed other is missing" in str(status)
    assert "failed" in status._repr_html_()
    assert "lost" in ws._repr_html_()


def test_two_workspaces_over_one_store_agree(ws: Files) -> None:
    other = Files(ws.store)
    mine = ws["001"]
    assert mine.top == 3
    assert other["001"].node("scaled").exists()
    other.put("001", raw=frame(9))
    assert (mine.top, ws["001"].top, other["001"].top) == (27, 27, 27)
    assert calls().count("multiply") == 2


def test_nodes_are_real_ones(ws: Files) -> None:
    node = ws["001"].node("scaled")
    assert isinstance(node, Persistable)
    assert node.payload["x"].tolist() == [3, 3]
    assert node.record is not None
    assert node.record.files[0].path == "computed/scaled-001.csv"
    assert [str(key) for key in node.record.to_dict()["upstream"].values()] == [
        str(ws["001"].node("raw").key),
        str(ws["001"].node("factor").key),
    ]
    assert list(ws["001"].nodes) == ["raw", "factor", "scaled", "top"]
    assert list(ws["001"].steps) == ["scaled", "top"]
    assert list(ws["001"].seeds) == ["raw", "factor"]
    assert ws["001"].status() == {"raw": Status.DONE, "factor": Status.DONE, "scaled": Status.DONE}
    assert node.delete()
    assert not ws.store.exists("computed/scaled-001.csv")
    with pytest.raises(UnknownMember, match="did you mean 'scaled'"):
        ws["001"].node("scalde")
    assert Pipeline(a=ws["001"].node("top")).run().counts["done"] == 2


def test_a_pipeline_takes_a_workspace(ws: Files) -> None:
    pipeline = Pipeline(ws, one=ws["001"], top=ws["002"].node("top"))
    assert list(pipeline) == ["Files", "one", "top"]
    assert len(pipeline.nodes) == 3 + 1 + 3 + 1
    assert "multiply" in pipeline.lineage().text()
    assert pipeline.plan().counts["generate"] == 4
    assert pipeline.run().counts["done"] == 4
    with pytest.raises(TypeError, match="no node"):
        Pipeline(x=Files)


def test_a_damaged_file_is_found_and_made_again(local: Files) -> None:
    assert local["001"].top == 3
    path = local.store.local_path("computed/scaled-001.csv")
    assert path is not None
    path.write_bytes(path.read_bytes().replace(b"3", b"4", 1))
    with pytest.raises(PayloadCorrupted):
        local["001"].node("scaled").load()
    with pytest.warns(UserWarning, match="doing so now"):
        assert local["001"].scaled["x"].tolist() == [3, 3]


def test_workspaces_and_workflows_are_picklable(local: Files) -> None:
    ws, workflow = pickle.loads(pickle.dumps((local, local["002"])))
    assert list(ws) == ["001", "002", "003"]
    assert (workflow.workflow_id, workflow.top) == ("002", 6)


def test_the_default_store_is_that_of_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with filled(open_store(tmp_path / "entered")):
        assert len(Files()) == 3
    monkeypatch.setenv("PERSISTABLE_STORE", str(tmp_path / "entered"))
    assert Files()["001"].top == 3


def test_no_ids_yet(tmp_path: Path) -> None:
    ws = Files(tmp_path / "nothing")
    assert (list(ws), len(ws), ws.run().counts["done"], ws.incomplete()) == ([], 0, 0, {})
    assert ws.status().to_frame().empty
    with pytest.raises(KeyError, match="no ids yet"):
        ws["001"]


def test_in_a_notebook(ws: Files) -> None:
    assert ws["001"].top == 3
    shown = ws["001"]._repr_html_()
    for words in ("Scaling 001", "computed/scaled-001.csv", "on demand", "raw/data-001.csv", "done", "<svg"):
        assert words in shown
    whole = ws._repr_html_()
    for words in ("001", "003", "absent", "scaled", "<svg", "DataFrame"):
        assert words in whole
    ws.store.delete("params/factor")
    assert "factor is missing" in ws["001"]._repr_html_()
    assert "multiply" in ws.lineage().text()


def test_seeds_read_by_another_format_are_another_input(tmp_path: Path) -> None:
    class Indexed(Workspace[Scaling]):
        raw = stored("raw/data-{workflow_id}.csv", io=CsvFileIO(index=True))
        factor = stored("params/factor")

    filled(open_store(tmp_path))
    assert Indexed(tmp_path)["001"].node("raw").key != Files(tmp_path)["001"].node("raw").key


def test_numbers_without_a_workspace() -> None:
    numbers = Numbers(start=1)
    assert (numbers.sum, numbers.high) == (137, 11)
    assert calls() == ["plus-1-1", "plus-1-10", "plus-2-100", "times-2", "total"]

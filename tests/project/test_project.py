"""A project: its targets, its stages, and that what is asked for is made, and only that."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.project.conftest import BASIC, FLOWS
from tests.project.flows import Model, Points, family, scaled, together

from persistable import Family, Pipeline, Project, open_store, plan, run
from persistable.errors import ConfigError, LineageCycle, RunFailed, UnknownMember
from persistable.nodes.status import Status
from persistable.stores import LocalStore

Load = Callable[..., Project]
Made = Callable[[], Counter[str]]


def test_a_target_nobody_stored_is_made_with_what_it_needs_and_nothing_else(load: Load, made: Made) -> None:
    project = load(BASIC)
    assert made() == {}
    assert project["model"].payload == 6.0
    assert made() == {"points": 1, "model": 1}
    assert load(BASIC)["model"].payload == 6.0
    assert made() == {}


def test_it_is_a_mapping_of_targets_with_the_keys_they_have_without_it(load: Load) -> None:
    project = load(BASIC)
    assert isinstance(project, Mapping)
    assert list(project) == ["points", "model", "sweep", "total"] and len(project) == 4 and "model" in project and "modle" not in project
    assert project["model"].key == Model(alpha=1.0, points=Points(n=4)).key
    assert isinstance(project["sweep"], Family) and list(project["sweep"]) == [1.0, 2.0]
    assert project["sweep"][2.0].key == scaled.step(Points(n=4), factor=2.0).key
    assert project["model"] is project["model"] and project.targets["model"] is project["model"]
    assert list(project.targets) == list(project) and len(project.targets) == 4
    assert dict(project.stages) == {"prepare": ("points",), "train": ("model", "sweep")}
    with pytest.raises(UnknownMember, match="no target named 'modle'; did you mean 'model'") as caught:
        project["modle"]
    assert isinstance(caught.value, KeyError) and caught.value.nearest == "model"


def test_targets_are_bound_to_the_store_of_the_project_whatever_encloses_it(load: Load, tmp_path: Path) -> None:
    with open_store(tmp_path / "elsewhere"):
        project = load(BASIC)
        assert project["model"].payload == 6.0
        project["sweep"].run()
    assert project.store == LocalStore(Path("persistable-data").absolute())
    assert not (tmp_path / "elsewhere").exists()
    assert {path.name for path in Path("persistable-data").iterdir() if path.is_dir() and path.name[0] != "."} == {
        "points",
        "model",
        "scaled",
    }


def test_stages_are_run_by_name_or_all_in_their_order(load: Load, made: Made) -> None:
    project = load(BASIC)
    assert project.run("prepare").counts["done"] == 1
    assert made() == {"points": 1}
    result = project.run()
    assert result.counts == {"done": 3, "reused": 1, "failed": 0, "skipped": 0, "cancelled": 0, "stale": 0}
    assert made() == {"model": 1, "scaled": 2}
    assert project.run("total").counts["done"] == 1 and made() == {"total": 1}
    assert project.names() == ["points", "model", "sweep"] and project.names("train", "points") == ["model", "sweep", "points"]
    with pytest.raises(UnknownMember, match="no stage or target named 'trian'; did you mean 'train'"):
        project.run("trian")


def test_without_stages_all_targets_are_run_together(load: Load, made: Made) -> None:
    project = load(BASIC.partition("[stages]")[0])
    assert run(project).counts["done"] == 5
    assert made() == {"points": 1, "model": 1, "scaled": 2, "total": 1}
    assert project.run().counts["reused"] == 5
    assert str(plan(project)).startswith("5 to reuse")


def test_no_later_stage_begins_where_one_failed(load: Load, made: Made) -> None:
    text = """
    [targets.bad]
    use = "FLOWS:failing"
    upstream = { points = "points" }
    [targets.points]
    use = "FLOWS:Points"
    [targets.other]
    use = "FLOWS:Points"
    params = { n = 7 }
    [stages]
    one = ["bad"]
    two = ["other"]
    """
    project = load(text)
    with pytest.raises(RunFailed) as caught:
        project.run()
    assert caught.value.result.counts["failed"] == 1 and made() == {"points": 1, "failing": 1}
    result = project.run(errors="return")
    assert [str(failure.error) for failure in result.failures] == ["it always fails"] and made() == {"failing": 1}
    assert load('errors = "return"\nfailed = "skip"\n' + text).run().counts["skipped"] == 1 and made() == {"points": 1}
    with pytest.raises(ValueError, match="errors is"):
        project.run(errors="ignore")


def test_the_plan_says_what_would_be_done_and_touches_nothing(load: Load, made: Made) -> None:
    project = load(BASIC)
    text = str(project.plan("train"))
    assert text.startswith("4 to generate") and "total" not in text and not Path("persistable-data").exists()
    project.run("prepare")
    assert str(project.plan()).startswith("1 to reuse, 3 to generate")
    assert made() == {"points": 1}


def test_status_counts_the_payloads_of_each_target(load: Load) -> None:
    project = load(BASIC)
    project["sweep"][1.0].payload
    assert project.status() == {
        "points": Counter({Status.DONE: 1}),
        "model": Counter({Status.ABSENT: 1}),
        "sweep": Counter({Status.DONE: 1, Status.ABSENT: 1}),
        "total": Counter({Status.ABSENT: 1}),
    }
    assert list(project.status("train")) == ["model", "sweep"]


def test_a_payload_put_in_by_hand_is_marked_and_served(load: Load, made: Made) -> None:
    project = load(BASIC)
    node = project.put("points", [10, 20])
    assert node is project["points"] and node.payload == [10, 20] and node.record.made == "put"
    assert load(BASIC)["points"].payload == [10, 20] and load(BASIC)["model"].payload == 30.0
    assert made() == {"model": 1}
    assert load(BASIC)["model"].record.made == "generated"
    with pytest.raises(TypeError, match="a list"):
        project.put("points", 5)
    with pytest.raises(TypeError, match="no payload of its own"):
        project.put("sweep", [1])
    assert project["sweep"][1.0].payload == [10.0, 20.0]


def test_a_hit_asks_nobody_to_make_anything_even_if_upstream_is_gone(load: Load, made: Made) -> None:
    load(BASIC).run()
    made()
    project = load(BASIC)
    project["points"].delete()
    assert project.run("train").counts["done"] == 0 and made() == {}


def test_all_that_is_wrong_is_found_by_check_before_anything_is_made(load: Load, made: Made) -> None:
    load(BASIC).check()
    with pytest.raises(ConfigError, match=r"targets.sweep.over.facto is unknown; did you mean 'factor'"):
        load(BASIC.replace("factor", "facto")).check()
    assert made() == {}


def test_loading_imports_nothing_before_a_target_is_asked_for(load: Load) -> None:
    project = load(BASIC + '[targets.odd]\nuse = "no_such_module_anywhere:Thing"\n'.replace("[targets", "\n[targets"))
    assert project["points"].params.n == 4
    with pytest.raises(ConfigError, match=r"persistable.toml: targets.odd.use .* there is no module no_such_module_anywhere"):
        project["odd"]
    code = "import sys, persistable; persistable.Project.load(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    modules = done.stdout.split()
    assert done.returncode == 0 and modules and not {FLOWS, "numpy", "rich", "ray", "httpx", "apprise", "pandas"} & set(modules), (
        done.stderr
    )


def test_many_threads_ask_for_one_target_and_get_one_object(load: Load) -> None:
    project = load(BASIC)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(project["total"])) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 8 and len({id(node) for node in found}) == 1


def test_nodes_families_and_pipelines_in_python(made: Made) -> None:
    points = Points(n=3)
    project = Project(
        {
            "points": points,
            "sweep": scaled.over(points, factor=[1.0, 2.0]),
            "both": together,
            "model": {"use": Model, "params": {"alpha": 2}, "upstream": {"points": "points"}},
        },
        stages={"first": ["points"], "rest": ["sweep", "both"]},
        store="data",
        executor="threads",
    )
    assert project["points"].key == points.key and points._node_store is None
    assert project.run().counts["done"] == 6
    assert made() == {"points": 2, "scaled": 3, "total": 1}
    assert isinstance(project["both"], Pipeline) and project["both"]["total"].payload == 6.0
    assert project["both"]["total"].store == project.store == LocalStore(Path("data").absolute())
    assert project["model"].payload == 6.0
    assert project.status()["both"] == Counter({Status.DONE: 2})
    assert repr(project) == "<Project: points, sweep, both, model; stages: first, rest>"


def test_nodes_and_members_are_run_as_the_project_runs_its_targets(load: Load, made: Made, tmp_path: Path) -> None:
    project = load('executor = "threads"\nfailed = "skip"\n' + BASIC)
    alone, told = Points(n=7), Counter[str]()
    hook = lambda event: told.update([f"{type(event).__name__} {getattr(event, 'workers', '')}"])  # noqa: E731
    rows = project.plan("model", project["sweep"][2.0], [alone]).rows
    assert Counter(row.key.name for row in rows) == {"points": 2, "model": 1, "scaled": 1}
    assert {row.store for row in rows} == {project.store.url}
    result = project.run(project["sweep"][2.0], alone, "model", hooks=[hook], max_workers=3)
    assert result.counts["done"] == 4 and made() == {"points": 2, "model": 1, "scaled": 1}
    assert told["RunStarted 3"] == 1
    assert result[alone].store == project.store and alone in result
    bad = Points(n=-1)
    with pytest.raises(RunFailed):
        project.run(bad, "train")  # what follows a failure in order is not begun
    assert made() == {"points": 1}
    assert project.run(bad, errors="return").counts["skipped"] == 1  # as the file says
    mine = Points(str(tmp_path / "mine"), n=2)
    assert project.run(mine, project["sweep"]).counts["done"] == 2
    assert mine.exists() and project["sweep"][1.0].exists()
    with pytest.raises(TypeError, match="nothing to run"):
        project.run(5)
    with pytest.raises(UnknownMember, match="did you mean 'model'"):
        project.run(alone, "modle")


def test_a_node_with_a_store_of_its_own_keeps_it(tmp_path: Path) -> None:
    mine = Points(str(tmp_path / "mine"), n=2)
    project = Project({"mine": mine, "other": scaled.step(mine)}, store="data")
    project.run()
    assert project["mine"].store == LocalStore(tmp_path / "mine") and project["other"].store == LocalStore(Path("data").absolute())
    assert (tmp_path / "mine" / "points").is_dir() and not Path("data/points").exists()


def test_a_project_in_python_without_a_store_uses_the_enclosing_one(tmp_path: Path) -> None:
    with open_store(tmp_path / "around") as around:
        assert Project({"points": Points(n=2)})["points"].store == around
    assert Project({"points": Points(n=2)})["points"].store == LocalStore(Path("persistable-data").absolute())


@pytest.mark.parametrize("use", ["ready", "family", "together"])
def test_what_stands_ready_in_a_module_is_a_target(load: Load, use: str) -> None:
    project = load(f'[targets.it]\nuse = "FLOWS:{use}"')
    assert sum(project.status()["it"].values()) == {"ready": 1, "family": 2, "together": 2}[use]
    assert family._node_store is None
    project.run()
    assert list(project.status()["it"]) == [Status.DONE]
    with pytest.raises(ConfigError, match=r"targets.it.params are not used: .* is ready made"):
        load(f'[targets.it]\nuse = "FLOWS:{use}"\nparams = {{ n = 1 }}')["it"]


def test_functions_and_classes_with_an_init_of_their_own_make_targets(load: Load) -> None:
    project = load("""
    [targets.points]
    use = "FLOWS:ready"
    [targets.branch]
    use = "FLOWS:branch"
    params = { depth = "2" }
    upstream = { points = "points" }
    [targets.home]
    use = "FLOWS:Located"
    params = { town = "Köln", floor = "3" }
    [targets.odd]
    use = "FLOWS:open_ended"
    params = { factor = 2, more = [1] }
    """)
    assert project["branch"].payload == [0.0, 2.0, 4.0, 6.0]
    assert project["home"].payload == "Köln 3"
    assert project["odd"].payload == (2.0, {"more": [1]})
    with pytest.raises(ConfigError, match=r"1.5, which is no node.*put @step above"):
        load('[targets.a]\nuse = "FLOWS:ready"\n[targets.b]\nuse = "FLOWS:forgotten"\nupstream = { points = "a" }')["b"]


def test_families_upstream_are_taken_one_by_one_or_all_together(load: Load) -> None:
    project = load("""
    [targets.many]
    use = "FLOWS:Points"
    over = { n = [1, 2, 3] }
    [targets.models]
    use = "FLOWS:Model"
    params = { alpha = 1 }
    upstream = { points = "many" }
    [targets.same]
    use = "FLOWS:Model"
    over = { alpha = [1, 2], points = "many" }
    [targets.ensemble]
    use = "FLOWS:Ensemble"
    upstream = { models = "models" }
    [targets.scaled]
    use = "FLOWS:scaled"
    params = { sizes = [5, 6] }
    upstream = { points = "many" }
    [targets.total]
    use = "FLOWS:total"
    upstream = { many = ["scaled", "single"] }
    [targets.single]
    use = "FLOWS:scaled"
    upstream = { points = "ready" }
    [targets.ready]
    use = "FLOWS:ready"
    """)
    assert list(project["models"]) == [1, 2, 3] and project["same"].shape == (2, 3)
    assert project["same"][2.0, 3].key == Model(alpha=2.0, points=Points(n=3)).key
    assert project["ensemble"].payload == 0 + 1 + 3
    assert list(project["scaled"]) == [1, 2, 3] and project["scaled"][2].params.sizes == [5, 6]
    assert project["total"].payload == 0 + 1 + 3 + 6
    assert project["scaled"][2].key == scaled.step(Points(n=2), sizes=[5, 6]).key
    with pytest.raises(ConfigError, match=r"over.points names ready, which is no family"):
        load('[targets.ready]\nuse = "FLOWS:ready"\n[targets.m]\nuse = "FLOWS:Model"\nover = { alpha = [1], points = "ready" }')["m"]


def test_retry_resources_and_format_of_a_target(load: Load) -> None:
    text = """
    [targets.points]
    use = "FLOWS:Points"
    io = { use = "PickleFileIO", mmap = false }
    retry = { attempts = 3, delay = 0.5 }
    resources = { cpus = 2, db = 1 }
    """
    node = load(text)["points"]
    assert (node.retry.attempts, node.retry.delay, node.resources.cpus, node.resources.counters) == (3, 0.5, 2.0, {"db": 1.0})
    assert type(node.payload_io).__name__ == "PickleFileIO" and Points.retry is None and node.key == Points().key
    assert type(load(text.replace('{ use = "PickleFileIO", mmap = false }', '"JsonFileIO"'))["points"].payload_io).__name__ == "JsonFileIO"
    with pytest.raises(ConfigError, match="io: JsonFielIO is unknown; did you mean 'JsonFileIO'"):
        load(text.replace('{ use = "PickleFileIO", mmap = false }', '"JsonFielIO"'))["points"]
    with pytest.raises(ConfigError, match=r"targets.points.retry.attemps is unknown; did you mean 'attempts'"):
        load(text.replace("attempts", "attemps"))["points"]
    with pytest.raises(ConfigError, match=r"retry: Retry.attempts is 0"):
        load(text.replace("attempts = 3", "attempts = 0"))["points"]


def test_a_cycle_names_the_targets_along_it(load: Load) -> None:
    with pytest.raises(LineageCycle, match="a <- b <- c <- a") as caught:
        load("".join(f'[targets.{a}]\nuse = "x:y"\nupstream = {{ it = "{b}" }}\n' for a, b in ("ab", "bc", "ca")))
    assert caught.value.nodes == ["a", "b", "c", "a"]
    diamond = "".join(
        f'[targets.{a}]\nuse = "x:y"\nupstream = {{ it = {list(b)} }}\n' for a, b in (("a", "bc"), ("b", "d"), ("c", "d"), ("d", ""))
    )
    assert list(load(diamond)) == ["a", "b", "c", "d"]
    chain = (
        "".join(f'[targets.t{n}]\nuse = "x:y"\nupstream = {{ it = "t{n + 1}" }}\n' for n in range(2000)) + '[targets.t2000]\nuse = "x:y"\n'
    )
    assert len(load(chain)) == 2001


def test_in_a_notebook_it_is_a_table_even_where_a_target_cannot_be_made(load: Load) -> None:
    project = load(BASIC + '\n[targets."<odd>"]\nuse = "FLOWS:nothing"\n')
    project["points"].payload
    html = project._repr_html_()
    assert all(text in html for text in ("points", "prepare", "1 done", "2 absent", "&lt;odd&gt;", "ConfigError")) and "<odd>" not in html
    assert repr(project) == "<Project persistable.toml: points, model, sweep, total, <odd>; stages: prepare, train>"


def test_the_lineage_of_all_targets_is_one_picture(load: Load) -> None:
    project = load(BASIC)
    assert len(project.lineage().nodes) == 5 and len(project.lineage("model").nodes) == 2


def test_a_source_is_a_family_of_the_files_that_are_there(load: Load, made: Made) -> None:
    Path("texts").mkdir()
    for name in ("emma", "moby"):
        Path(f"texts/{name}.txt").write_text(name * 3)
    project = load("""
    [targets.books]
    source = "texts/{book}.txt"
    [targets.lengths]
    use = "FLOWS:length"
    params = { weights = [1, 2] }
    upstream = { text = "books" }
    [targets.all]
    use = "FLOWS:Counted"
    over = { text = "books" }
    [stages]
    everything = ["lengths"]
    """)
    assert list(project["books"]) == ["emma", "moby"] and project["books"]["moby"].payload == "mobymobymoby"
    assert project.run().counts["done"] == 2 and made() == {"length": 2}
    assert project["lengths"]["emma"].payload == 12 and project["lengths"]["emma"].params.weights == [1, 2]
    Path("texts/dune.txt").write_text("dune")
    Path("texts/emma.txt").write_text("Emma")
    assert project.run().counts["done"] == 2 and made() == {"length": 2}
    assert {book: node.payload for book, node in project["lengths"].items()} == {"dune": 4, "emma": 4, "moby": 12}
    assert list(project["all"]) == ["dune", "emma", "moby"]
    with pytest.raises(ConfigError, match=r"targets.books.source: .*has no field in braces"):
        load('[targets.books]\nsource = "texts/all.txt"\n')["books"]
    with pytest.raises(ConfigError, match=r"targets.books.keys is 'a'; give a list"):
        load('[targets.books]\nsource = "texts/{book}.txt"\nkeys = "a"\n')
    assert list(load('[targets.books]\nsource = "texts/{book}.txt"\nkeys = ["moby"]\nio = "TextFileIO"\n')["books"]) == ["moby"]


def test_a_workspace_lies_at_its_path_or_in_the_store_of_the_project(load: Load, made: Made) -> None:
    for folder in ("subjects", "data"):
        Path(folder, "raw").mkdir(parents=True)
        for subject in ("001", "002"):
            Path(folder, "raw", f"{subject}.json").write_text("[1, 2, 3]")
    project = load("""
    store = "data"
    [targets.there]
    use = "FLOWS:Subjects"
    path = "subjects"
    [targets.here]
    use = "FLOWS:Subjects"
    """)
    assert list(project["there"]) == ["001", "002"] and project["there"].store == LocalStore(Path("subjects").absolute())
    assert project["here"].store == project.store
    assert project["there"]["001"].doubled == [2.0, 4.0, 6.0] and made() == {"scaled": 1}
    assert project.run("there").counts["done"] == 1 and made() == {"scaled": 1}
    assert Path("subjects/doubled/002.json").exists() and not Path("data/doubled").exists()
    assert project.status("there")["there"][Status.DONE] == 2
    assert list(Project({"mine": project["there"]}, store="data")["mine"]) == ["001", "002"]

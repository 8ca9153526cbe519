"""A param whose name or look tells that it is a credential is shown to nobody: not in notebooks, terminals, pages and errors."""

import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from persistable import Catalog, open_store, plan, run, step
from persistable.cli.main import main
from persistable.errors import PayloadNotFound
from persistable.fileio import JsonFileIO

TOKEN, PASSWORD, OTHER = "wk3f9a7c1e5b2d8f4a6c", "hunter2horse", "another-2-horse"


@dataclass(frozen=True)
class Login:
    user: str = "me"
    password: str = PASSWORD


@step(io=JsonFileIO())
def fetched(n: int, api_key: str = TOKEN, login: Login = Login()) -> list[float]:
    return [1.0] * n


@step(io=JsonFileIO())
def mean(values: list[float], k: int = 1, secret: str = PASSWORD) -> float:
    if k > 5:
        raise ValueError("k is too large")
    return sum(values) / len(values) * k


def test_it_is_masked_wherever_people_look(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = mean.step(fetched.step(n=3))
    family = mean.over(fetched.step(n=3), k=[2, 9], secret=[PASSWORD, OTHER])
    result = run(made, family, store=tmp_path, errors="return")
    catalog = Catalog(tmp_path)
    entries = catalog.find("mean")
    wanted = mean.step(fetched.step(n=4, api_key=OTHER), secret=OTHER).bind(tmp_path)
    with open_store(tmp_path):
        seen = [
            made,
            made.record,
            family,
            result,
            result.failures,
            result.failures[0],
            plan(made, wanted),
            made.explain(),
            wanted.explain(),
        ]
        seen += [
            wanted,
            entries,
            entries[0],
            catalog.diff(entries[0].key, entries[1].key),
            catalog.nearest(wanted),
            catalog.lineage(made.key),
        ]
        texts = [f"{each} {each!r} {each._repr_html_() if hasattr(each, '_repr_html_') else ''}" for each in seen]
    with pytest.raises(PayloadNotFound) as missing:
        wanted.load()
    texts.append(str(missing.value))
    key = str(made.key)
    for words in (["ls"], ["ls", "--json"], ["show", key], ["show", key, "--json"], ["explain", key], ["lineage", key], ["graph", key]):
        assert main([*words, "--store", str(tmp_path)]) == 0
        texts.append("".join(capsys.readouterr()))
    for number, text in enumerate(texts):
        for value in (TOKEN, PASSWORD, OTHER):
            assert value not in text, (number, text)
    assert "secret=***" in texts[0]


def test_data_and_code_have_it(tmp_path: Path) -> None:
    """What a program goes on with is not changed: another value would be another key."""
    made = mean.step(fetched.step(n=3))
    run(made, store=tmp_path)
    catalog = Catalog(tmp_path)
    entry = catalog[made.key]
    assert entry.params["secret"] == PASSWORD and PASSWORD in catalog.code(made.key)
    assert made.params.secret == PASSWORD and entry.node().key == made.key
    pytest.importorskip("pandas")
    assert list(catalog.find("mean").to_frame()["secret"]) == [PASSWORD]


# ------------------------------------------------------------------ explain, in a notebook


def test_an_explanation_shows_the_nearest_and_what_differs(tmp_path: Path) -> None:
    run(mean.step(fetched.step(n=3)), store=tmp_path)
    told = mean.step(fetched.step(n=4), k=2).bind(tmp_path).explain()
    html = told._repr_html_()
    assert pickle.loads(pickle.dumps(told))._repr_html_() == html
    for cells in ("<code>k</code></td>", "<code>2</code></td>", "<code>values.n</code></td>", ">asked for</th>", "p-badge", "absent"):
        assert cells in html
    assert "upstream, to be generated first" in html and "<pre>" not in html


def test_an_explanation_shows_the_code_that_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = "from persistable import step\n\n\n@step\ndef base(n: int) -> int:\n    return n + {}\n\n\n"
    text += "@step\ndef top(base: int) -> int:\n    return base\n"
    told = []
    for number in (1, 2):
        (tmp_path / "edited_flow.py").write_text(text.format(number))
        sys.modules.pop("edited_flow", None)
        import edited_flow  # type: ignore[import-not-found]

        node = edited_flow.top.step(edited_flow.base.step(n=1))
        if number == 1:
            run(node, store=tmp_path / "data")
        told.append(node.bind(tmp_path / "data").explain())
    sys.modules.pop("edited_flow", None)
    assert told[0].changes == () and "since then" not in told[0]._repr_html_()
    (change,) = told[1].changes
    assert change.key.name == "base" and "base" in change.change
    assert "edited_flow:base" in told[1]._repr_html_() and "stale" in told[1]._repr_html_()

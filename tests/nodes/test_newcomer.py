"""Words for first mistakes: they begin where the arguments were given, and say the next step."""

import traceback
from pathlib import Path

import pytest

from persistable import Catalog, run, step
from persistable.errors import UnknownParam


@step
def clip(path: str, window: tuple[int, int] = (64, 64)) -> float:
    return float(len(path))


def test_a_wrong_argument_is_told_in_two_frames() -> None:
    with pytest.raises(UnknownParam, match="did you mean 'window'") as caught:
        clip.step("a.wav", windw=(1, 2))  # type: ignore[call-overload]
    assert len(traceback.extract_tb(caught.value.__traceback__)) == 2, "the call, and step"


def test_a_param_asked_of_the_node_is_found_among_its_params() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'window'; it is a param: \.params\.window"):
        clip.step("a.wav").window
    with pytest.raises(AttributeError, match=r"no attribute 'size'$"):
        clip.step("a.wav").size


def test_a_step_is_no_node() -> None:
    with pytest.raises(TypeError, match=r"call clip\.step\(\.\.\.\)"):
        run(clip)


def test_nothing_found_says_why(tmp_path: Path) -> None:
    run(clip.step("a.wav"), store=tmp_path)
    found = Catalog(tmp_path).find("clp")
    for text in (repr(found), found._repr_html_()):
        assert "0 entries" in text and "did you mean" in text
    none = Catalog(tmp_path).find("clip", where="seconds > 1000")
    assert repr(none) == f"<0 entries in {Catalog(tmp_path).store.url}>" and "<th" not in none._repr_html_()
    assert "1 record" in Catalog(tmp_path)._repr_html_() and "nothing to do" in run()._repr_html_()

"""What no fingerprint can be made of is said."""

from __future__ import annotations

from typing import Any

SCRIPT = """
import json, sys, warnings
from _bisect import bisect_left
from persistable import step
from persistable.nodes.code import code_of

@step
def place(n: int) -> int:
    return bisect_left([1, 2, 3], n)

if __name__ == "__main__":
    code = code_of(place.__wrapped__)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        for n in (1, 2, 3):
            place.step(n).payload
    print(json.dumps([list(code.unknown), list(code.fingerprint().unknown), [str(each.message) for each in heard]]))
"""


def test_a_compiled_function_of_the_users_own_is_said_once(project: Any) -> None:
    """One warning in a process, with the function's name and what to do; the fingerprint names it as well."""
    project.write(
        {"run.py": SCRIPT.replace("_bisect", "fast"), "fast.py": "from _bisect import bisect_left\nbisect_left.__module__ = __name__\n"}
    )
    unknown, again, heard = project.last("run.py")
    assert unknown == again == ["bisect_left"]
    said = [text for text in heard if "code not watched" in text]
    assert len(said) == 1
    assert "bisect_left" in said[0]
    assert "version" in said[0]


def test_libraries_are_not_spoken_of(project: Any) -> None:
    """Compiled functions of the standard library and of packages are nobody's code to watch."""
    project.write({"run.py": SCRIPT.replace("from _bisect", "from bisect")})
    assert project.last("run.py") == [[], [], []]

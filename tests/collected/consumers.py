"""Steps that take what others collect; here, so that other processes find them."""

from collections.abc import Mapping

from persistable import step


@step
def joined(letters: Mapping[str, list[str]]) -> str:
    return " ".join(letters) + " " + "".join(letter for key in letters for letter in letters[key])

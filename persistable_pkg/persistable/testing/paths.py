"""Paths that every store takes, and such as every store refuses; and those that are there."""

from __future__ import annotations

from pathlib import Path

BAD_PATHS = [
    "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "a/./b", "a\\b", "C:\\a", "a\0b", "a\nb", "a\x7fb", "a.", "a./b",
    "a ",     "a:b", "a*", "a?b", 'a"b', "a<b", "a|b", "x" * 300, "é" * 130, "\ud800", ".a.tmp", "b/.c.0.tmp", "con", "a/NUL.txt", "lpt1",
]  # fmt: skip
GOOD_PATHS = [
    "a", "f/b", "deep/b/c/d/e/f", "a.b", ".a", "..a", "a..b", "two words", "ünïcødé", "日本語/データ.pkl", "🙂", "A", "x" * 200,
    "a+b", "a=b", "a@b", "a&b",     "a%20b", "a%2Fb", "a#1", "a#b", "a[1]", "a{b}", "~", "-x", "a'b", "a;b", "a,b", "$HOME",
    "name/0123456789abcdef.record.json", "auxiliary",
]  # fmt: skip


def everything_below(folder: Path) -> list[str]:
    """Every file below a local folder, temporary ones too: what `leftovers` of a store on a disk should give."""
    return sorted(str(place.relative_to(folder)) for place in folder.rglob("*") if place.is_file())

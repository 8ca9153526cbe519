"""What is made of each text, and of all of them."""

import re
from pathlib import Path
from typing import Any

from persistable import Command, Source, optional, step
from persistable.fileio import JsonFileIO, TextFileIO

texts = Source(Path(__file__).parent / "texts" / "{text}.rst", io=TextFileIO())


@step(io=JsonFileIO())
def counted(text: str) -> dict[str, int]:
    """How much of what there is in a text."""
    words = re.findall(r"[A-Za-z]+(?:'[a-z]+)?", text)
    return {
        "lines": len(text.splitlines()),
        "sentences": len(re.findall(r"[a-z)\"'][.!?](?:\s|$)", text)),
        "words": len(words),
        "syllables": sum(max(1, len(re.findall(r"[aeiouy]+", word.lower().removesuffix("e")))) for word in words),
    }


FREQUENT = r"""
export LC_ALL=C
tr -cs '[:alpha:]' '\n' < {{ text }} | tr '[:upper:]' '[:lower:]' | grep -E '.{ {{- least -}} ,}' \
  | sort | uniq -c | sort -k1,1nr -k2 | awk 'NR <= {{ number }} {print $2}' > {{ output }}
"""


@step(io=JsonFileIO())
def described(counts: dict[str, int], frequent: str) -> dict[str, Any]:
    """Words, frequent words, and the reading ease after Flesch: 100 is very easy, 30 is for those who have studied it."""
    if not counts["sentences"]:
        raise ValueError(f"no sentence among {counts['words']} words")
    ease = 206.8 - 1.015 * counts["words"] / counts["sentences"] - 84.6 * counts["syllables"] / counts["words"]
    return {"words": counts["words"], "ease": round(ease, 1), "frequent": " ".join(frequent.split())}


@step(io=TextFileIO())
def table(texts: dict[str, dict[str, Any] | None]) -> str:
    """The easiest first, and at the end those that something failed for."""
    lines = [f"{'text':<24} {'words':>5} {'ease':>5}  frequent words"]
    found = {name: text for name, text in texts.items() if text is not None}
    for name, text in sorted(found.items(), key=lambda item: -item[1]["ease"]):
        lines.append(f"{name:<24} {text['words']:>5} {text['ease']:>5}  {text['frequent']}")
    lines.extend(f"{name:<24} failed" for name in sorted(texts.keys() - found.keys()))
    return "\n".join(lines) + "\n"


# three nodes for each text there is, whenever somebody looks
counts = counted.over(texts)
frequent = Command.over(FREQUENT, text=texts, number=4, least=5, io=TextFileIO(), payload_name="frequent")
descriptions = described.over(counts, frequent)

# and one of all of them, which does without those that fail
report = table.step({name: optional(node) for name, node in descriptions.items()})

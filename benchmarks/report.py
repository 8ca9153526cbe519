"""Results as one table, and the details behind it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

from harness import LIMIT, MORE, OURS, PEER, RELEASED_ROLE, Goal, Line, Result, show

HEAD = "| line | limit | peers | released | ours | ours / limit | ours / best peer | goal | met |\n|---|---|---|---|---|---|---|---|---|"


class Figures:
    """The results of one line, answering what the table asks."""

    def __init__(self, line: Line, results: Iterable[Result], quick: bool) -> None:
        self.line = line
        self.results = list(results)
        sizes = line.sizes_for(quick)
        self.size = sizes[min(line.headline, len(sizes) - 1)] if line.headline >= 0 else sizes[line.headline]
        if line.over_limit:
            self.results = [_over(result, self.find(LIMIT, result.size)) for result in self.results]

    def find(self, role: str, size: int | None = None) -> Result | None:
        """The result of the only contender in that role."""
        return next((one for one in self.results if one.contender.role == role and one.size == (size or self.size)), None)

    def named(self, name: str, size: int | None = None) -> Result | None:
        return next((one for one in self.results if one.contender.name == name and one.size == (size or self.size)), None)

    def peers(self) -> list[Result]:
        return [one for one in self.results if one.contender.role == PEER and one.size == self.size]

    def largest(self, role: str) -> list[Result]:
        """Of the contenders in that role, the results at the largest size that any of them was measured at."""
        sound = [one for one in self.results if one.contender.role == role and not one.trouble]
        return [one for one in sound if one.size == max(other.size for other in sound)]

    def best_peer(self) -> Result | None:
        return min((one for one in self.peers() if not one.trouble), key=lambda one: one.median, default=None)

    def ratio(self, other: Result | None, ours: Result | None = None) -> float | None:
        """Median over the rounds of ours / other, both measured in the same round."""
        ours = ours or self.find(OURS)
        if ours is None or other is None or ours.trouble or other.trouble:
            return None
        if self.line.over_limit or len(ours.rounds) != len(other.rounds):
            return ours.median / other.median if other.median else None
        pairs = zip(ours.rounds, other.rounds, strict=True)
        ratios = [statistics.median(mine) / statistics.median(theirs) for mine, theirs in pairs if statistics.median(theirs) > 0]
        return statistics.median(ratios) if ratios else None

    def outcome(self, goal: Goal) -> tuple[bool | None, float | None]:
        """Whether the goal is met, and the figure it is about; None if it could not be measured."""
        if goal.against.startswith("="):
            one = self.named(goal.against[1:])
            value = one.median if one is not None and not one.trouble else None
        elif not goal.against:
            ours = self.find(OURS)
            value = ours.median if ours is not None and not ours.trouble else None
        else:
            other = {"limit": self.find(LIMIT), "best peer": self.best_peer()}.get(goal.against) or self.named(goal.against)
            value = self.ratio(other)
        return (None if value is None else value <= goal.at_most), value

    def slope(self, result: Result | None) -> float | None:
        """How time grows with size between the smallest and the largest measured: 0 not at all, 1 in proportion."""
        if result is None:
            return None
        same = sorted((one for one in self.results if one.contender is result.contender and not one.trouble), key=lambda one: one.size)
        if len(same) < 2 or same[0].median <= 0 or same[-1].median <= 0:
            return None
        return math.log(same[-1].median / same[0].median) / math.log(same[-1].size / same[0].size)


def _over(result: Result, limit: Result | None) -> Result:
    """`result` less what the limit took in the same round."""
    if limit is None or result.contender.role == LIMIT or limit.trouble:
        return result
    rounds = [[figure - limit.rounds[turn][0] for figure in figures] for turn, figures in enumerate(result.rounds)]
    return Result(result.contender, result.size, rounds, result.trouble)


def report(measured: list[tuple[Line, list[Result]]], about: list[str], quick: bool, command: str = "make bench") -> str:
    """The whole page; `command` is what wrote it."""
    figures = [Figures(line, results, quick) for line, results in measured]
    lines = [
        "# Benchmarks",
        "",
        f"Written by `{command}`. Medians; the contenders of a line take turns, each in a process of its own, with warm caches.",
        "A ratio is the median of the ratios within the rounds. Figures are of one machine in one hour; ratios travel better.",
        "A line that is lost stays here.",
        "",
        *(f"- {fact}" for fact in about),
        "",
        HEAD,
        *(_row(one) for one in figures),
        "",
        "`limit`: what the bare system calls and the hash cost without any library, measured in the same rounds. Empty: not applicable.",
        "",
        "## What was measured",
    ]
    for one in figures:
        lines += ["", *_details(one, quick)]
    return "\n".join(lines) + "\n"


def summary(measured: list[tuple[Line, list[Result]]], quick: bool) -> str:
    """The goals, a line each, for the terminal."""
    rows = []
    for line, results in measured:
        figures = Figures(line, results, quick)
        for goal in line.goals:
            met, value = figures.outcome(goal)
            word = {True: "met   ", False: "MISSED", None: "?     "}[met]
            unit = "x" if goal.against and not goal.against.startswith("=") else line.unit
            rows.append(f"{word} {line.name:<16} {goal.text:<48} {'' if value is None else f'{show(value)} {unit}'}")
    return "\n".join(rows)


def _row(one: Figures) -> str:
    limit, ours = one.find(LIMIT), one.find(OURS)
    others = sorted((peer for peer in one.peers() if not peer.trouble), key=lambda peer: peer.median)
    peers = " · ".join(f"{peer.contender.name} {show(peer.median)}" for peer in others)
    released, smaller = _figure(one.find(RELEASED_ROLE)), one.largest(RELEASED_ROLE)
    if not others and one.largest(PEER):
        few = sorted(one.largest(PEER), key=lambda peer: peer.median)
        peers = f"at {one.line.size_label(few[0].size)}: " + " · ".join(f"{peer.contender.name} {show(peer.median)}" for peer in few)
    if not released and smaller:
        released = f"at {one.line.size_label(smaller[0].size)}: {_figure(smaller[0])}"
    outcomes = [one.outcome(goal) for goal in one.line.goals]
    return (
        "| "
        + " | ".join(
            (
                f"{one.line.title} [{one.line.unit}]"
                + ("" if one.size == one.line.sizes[one.line.headline] else f" (here: {one.line.size_label(one.size)})"),
                "0" if one.line.over_limit else _figure(limit),
                peers,
                released,
                f"**{_figure(ours)}**",
                "" if one.line.over_limit else _ratio(one.ratio(limit)),
                _ratio(one.ratio(one.best_peer())),
                "; ".join(goal.text for goal in one.line.goals) or "none",
                "; ".join({True: "yes", False: f"**no** ({show(value or 0.0)})", None: "not measured"}[met] for met, value in outcomes),
            )
        )
        + " |"
    )


def _figure(result: Result | None) -> str:
    if result is None:
        return ""
    return result.trouble or show(result.median)


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{show(ratio)} x"


def _details(one: Figures, quick: bool) -> list[str]:
    line = one.line
    sizes = line.sizes_for(quick)
    labels = [line.size_label(size) for size in sizes] if len(sizes) > 1 else ["median (least)"]
    rows = [
        f"### {line.title}",
        "",
        f"In the loop: {line.loop}. In {line.unit}, median (least)" + (", over the bare interpreter" if line.over_limit else "") + ".",
        "",
        "| contender | call | " + " | ".join(labels) + " |",
        "|---|---|" + "---|" * len(labels),
    ]
    for contender in line.contenders:
        cells = []
        for size in sizes:
            result = one.named(contender.name, size)
            if result is None:
                cells.append(contender.why_not)
            elif result.trouble:
                cells.append(result.trouble)
            else:
                cells.append(f"{show(result.median)} ({show(result.least)})" if len(result.flat) > 1 else show(result.median))
        name = f"**{contender.name}**" if contender.role in (OURS, MORE) and contender.name.startswith("persistable") else contender.name
        rows.append(f"| {name} | {contender.call.replace('|', '/')} | " + " | ".join(cells) + " |")
    if line.slope_of:
        slopes = [(who.contender.name, one.slope(who)) for who in (one.find(LIMIT), one.find(OURS)) if who is not None]
        text = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes if slope is not None)
        if text:
            rows += ["", f"Slope over {line.slope_of} (0: flat, 1: in proportion): {text}."]
    return rows

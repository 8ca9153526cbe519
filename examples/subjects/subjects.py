"""How fit each of them is, subject by subject, on Ray.

Usage: python subjects.py [FOLDER]    (by default ./data, as prepare.py makes it)
"""

import os
import sys
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from persistable import Workflow, Workspace, rng, seed, step, stored
from persistable.executors import RayExecutor


@step
def scores(exercise: pd.DataFrame, club: pd.DataFrame) -> pd.DataFrame:
    """How many standard deviations above the club's mean, for each exercise."""
    norms = club.set_index("exercise")
    done = exercise.iloc[0].astype(float)
    return ((done - norms["mean"]) / norms["std"]).rename("score").rename_axis("exercise").reset_index()


@step
def rates(exercise: pd.DataFrame, draws: int) -> NDArray[np.float64]:
    """Samples of the rate behind each count, given that count (Poisson, with Jeffreys' prior)."""
    return rng.gamma(exercise.iloc[0].to_numpy(float) + 0.5, size=(draws, exercise.shape[1]))


@step
def chances(rates: NDArray[np.float64], exercise: pd.DataFrame, club: pd.DataFrame) -> dict[str, float]:
    """How probable it is that he does more than the club's mean, for each exercise."""
    mean = club.set_index("exercise")["mean"][list(exercise.columns)].to_numpy()
    return dict(zip(exercise.columns, (rates > mean).mean(axis=0).round(4).tolist(), strict=True))


@step
def fitness(scores: pd.DataFrame, body: dict[str, float]) -> float:
    """His mean score, less a little for a fast pulse."""
    return float(scores["score"].mean() - 0.01 * (body["pulse"] - 60))


@step
def picture(scores: pd.DataFrame, fitness: float) -> Figure:
    """His scores as bars."""
    figure = Figure(figsize=(4, 2.5), layout="constrained")
    axes = figure.add_subplot(title=f"fitness {fitness:+.2f}", xlabel="standard deviations above the mean", xlim=(-4, 4))
    axes.barh(scores["exercise"], scores["score"], color=["#1a7f5a" if score > 0 else "#c0392b" for score in scores["score"]])
    return figure


class Subject(Workflow):
    """What is measured of one man, and what follows from it."""

    exercise = seed(pd.DataFrame)
    body = seed(dict)
    club = seed(pd.DataFrame)
    draws = seed(int, default=20_000)

    scores = scores.step(exercise, club)
    rates = rates.step(exercise, draws)
    chances = chances.step(rates, exercise, club)
    fitness = fitness.step(scores, body)
    picture = picture.step(scores, fitness)


class Club(Workspace[Subject]):
    """Where all that lies. The samples have no place: they are made where they are needed."""

    exercise = stored("raw/{subject}/exercise.csv")
    body = stored("raw/{subject}/body.json")
    club = stored("club.csv")
    draws = stored("draws")

    scores = stored("results/{subject}/scores.csv")
    chances = stored("results/{subject}/chances.json")
    fitness = stored("results/{subject}/fitness.txt")
    picture = stored("pictures/{subject}.svg")


def table(club: Club) -> pd.DataFrame:
    """One row for each man."""
    rows: dict[str, dict[str, Any]] = {name: {"fitness": man.fitness, **man.chances} for name, man in club.items()}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("subject").sort_values("fitness", ascending=False)


def main(folder: str) -> None:
    """Compute what is missing, then show it."""
    club = Club(folder)
    with RayExecutor(os.environ.get("RAY_ADDRESS")) as ray:
        result = club.run(executor=ray, progress=True)
    print(f"{len(club)} subjects: {result.counts['done']} nodes computed")
    for subject, missing in club.incomplete().items():
        print(f"{subject}: {'; '.join(missing)}")
    print(table(club).head())


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "data")

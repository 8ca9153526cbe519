"""A small study: which of 13 measurements of wines tell three vineyards apart, and how well.

    python study.py STORE            do it, and keep everything in STORE
    python study.py STORE RESULTS    also write the records of all results, without payloads, into the folder RESULTS

Numbers are rounded to four decimals before they are kept: what differs less between processors and versions is no difference to us.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np

from persistable import Catalog, Persistable, PersistableParams, Pipeline, step
from persistable.fileio import JsonFileIO

DECIMALS = 4


@dataclass(frozen=True)
class SplitParams(PersistableParams):
    """The part of all wines to test with, and the seed of the order in which they are dealt."""

    test: float = 0.3
    seed: int = 1


class Split(Persistable[dict[str, list[int]], SplitParams]):
    """The numbers of the wines to learn from, and of those to test with."""

    io = JsonFileIO()

    def _generate_payload(self) -> dict[str, list[int]]:
        from sklearn.datasets import load_wine

        order = np.random.default_rng(self.params.seed).permutation(len(load_wine().target))
        cut = int(len(order) * self.params.test)
        return {"test": sorted(map(int, order[:cut])), "train": sorted(map(int, order[cut:]))}


@step(io=JsonFileIO())
def centres(split: dict[str, list[int]], features: int = 13) -> dict[str, list[list[float]]]:
    """Centre of each vineyard, and scale of each measurement, of those features that tell most."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    data, target = wine.data[split["train"]], wine.target[split["train"]]
    scale = data.std(axis=0)
    means = np.array([data[target == each].mean(axis=0) for each in range(3)])
    telling = np.argsort(-np.round((means / scale).std(axis=0), 6), kind="stable")[:features]
    rounded = np.round(np.vstack([means, scale]), DECIMALS)
    return {"centres": rounded[:3, telling].tolist(), "scale": [rounded[3, telling].tolist()], "telling": [telling.astype(float).tolist()]}


@step(io=JsonFileIO())
def accuracy(split: dict[str, list[int]], model: dict[str, list[list[float]]]) -> float:
    """The part of the test wines that are nearest to the centre of their own vineyard."""
    from sklearn.datasets import load_wine

    wine = load_wine()
    columns = np.array(model["telling"][0], dtype=int)
    data = wine.data[split["test"]][:, columns] / np.array(model["scale"][0])
    distances = [np.linalg.norm(data - np.array(centre) / np.array(model["scale"][0]), axis=1) for centre in model["centres"]]
    return round(float(np.mean(np.argmin(distances, axis=0) == wine.target[split["test"]])), DECIMALS)


@step(io=JsonFileIO())
def table(accuracies: dict[str, float]) -> dict[str, float]:
    """Accuracy by number of features: the table of the paper."""
    return dict(sorted(accuracies.items(), key=lambda row: int(row[0])))


def study() -> Pipeline:
    """Everything that the paper shows."""
    split = Split()
    models = {str(features): centres.step(split, features=features) for features in (1, 2, 5, 13)}
    return Pipeline(table=table.step({name: accuracy.step(split, model) for name, model in models.items()}))


def main(store: str, results: str | None = None) -> None:
    """Do the study, and write its records where that is asked for."""
    pipeline = study()
    pipeline.run(store=store)
    for features, share in pipeline["table"].bind(store).payload.items():
        print(f"{features:>2} features: {share:.1%}")
    if results is not None:
        print(Catalog(store).export(results, pipeline, payloads="none", anonymous=True))


if __name__ == "__main__":
    import study as module  # so that classes and steps are known by their module, not as those of a script

    module.main(*sys.argv[1:])

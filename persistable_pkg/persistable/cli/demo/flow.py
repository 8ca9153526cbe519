# pyright: basic
# scikit-learn has no types: pyright strict would report every line that touches it
"""Tumours in, figure out: persistables, each knowing only its direct upstream.

The data set is "Breast Cancer Wisconsin (Diagnostic)" by Wolberg, Mangasarian, Street and Street, from the UCI Machine Learning Repository
(doi:10.24432/C5DW2B, licence CC BY 4.0), as scikit-learn carries it: 569 tumours, 30 measurements of each, benign or malignant.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve
from sklearn.model_selection import StratifiedKFold

from persistable import Persistable, PersistableParams, untracked
from persistable.fileio import FigureFileIO, JsonFileIO, NumpyFileIO, ParquetFileIO, SavedFigure


@dataclass(frozen=True)
class TableParams(PersistableParams):
    measurements: int = 30


class Table(Persistable[pd.DataFrame, TableParams]):
    """The raw table: one row per tumour, its measurements and whether it was benign."""

    io = ParquetFileIO()

    def _generate_payload(self, **untracked: Any) -> pd.DataFrame:
        data: Any = load_breast_cancer(as_frame=True)
        measured: pd.DataFrame = data.data.iloc[:, : self.params.measurements]
        return measured.assign(benign=data.target == 1)


@dataclass(frozen=True)
class FeaturesParams(PersistableParams):
    max_correlation: float = 0.95


class Features(Persistable[pd.DataFrame, FeaturesParams]):
    """The columns that a model may see, log-scaled; of two strongly correlated columns only the first."""

    table: Table
    io = ParquetFileIO()

    def _generate_payload(self, **untracked: Any) -> pd.DataFrame:
        table = self.table.payload
        columns = table.drop(columns="benign").apply(np.log1p)
        correlation = columns.corr().abs().to_numpy()
        said_before = np.triu(correlation, k=1).max(axis=0) > self.params.max_correlation
        kept = [name for name, again in zip(columns.columns, said_before, strict=True) if not again]
        return columns[kept].assign(benign=table["benign"])


@dataclass(frozen=True)
class ModelParams(PersistableParams):
    trees: int = 400
    depth: int = 12
    n_jobs: Annotated[int, untracked] = 1  # does not change the result, so it is no part of identity


class Model(Persistable[RandomForestClassifier, ModelParams]):
    """A forest fitted to all tumours."""

    features: Features

    def _generate_payload(self, **untracked: Any) -> RandomForestClassifier:
        features = self.features.payload
        seed = int(self.rng.integers(2**31))  # from the key: the same params give the same forest
        forest = RandomForestClassifier(self.params.trees, max_depth=self.params.depth, random_state=seed, n_jobs=self.params.n_jobs)
        return forest.fit(features.drop(columns="benign"), features["benign"])


@dataclass(frozen=True)
class PredictionsParams(PersistableParams):
    folds: int = 5


class Predictions(Persistable[NDArray[np.float64], PredictionsParams]):
    """Probability that each tumour is benign, by a copy of the model fitted without it."""

    features: Features
    model: Model
    io = NumpyFileIO()

    def _generate_payload(self, **untracked: Any) -> NDArray[np.float64]:
        features = self.features.payload
        x, y = features.drop(columns="benign"), features["benign"]
        said = np.empty(len(y))
        for fold, (seen, unseen) in enumerate(StratifiedKFold(self.params.folds).split(x, y)):
            fresh: Any = clone(self.model.payload)
            said[unseen] = fresh.fit(x.iloc[seen], y.iloc[seen]).predict_proba(x.iloc[unseen])[:, 1]
            self.progress(fold + 1, self.params.folds)
        return said


@dataclass(frozen=True)
class MetricsParams(PersistableParams):
    threshold: float = 0.5


class Metrics(Persistable[dict[str, float], MetricsParams]):
    """Scores of the predictions."""

    features: Features
    predictions: Predictions
    io = JsonFileIO()

    def _generate_payload(self, **untracked: Any) -> dict[str, float]:
        truth, said = self.features.payload["benign"], self.predictions.payload
        called_benign = said >= self.params.threshold
        return {
            "roc_auc": float(roc_auc_score(truth, said)),
            "accuracy": float(accuracy_score(truth, called_benign)),
            "malignant_missed": int((called_benign & ~truth).sum()),
            "features": self.features.payload.shape[1] - 1,
        }


@dataclass(frozen=True)
class ReportParams(PersistableParams):
    shown: int = 10


class Report(Persistable[Figure | SavedFigure, ReportParams]):
    """The ROC curve, and the features that matter most to the model. A figure is returned; loading gives the saved file."""

    features: Features
    model: Model
    predictions: Predictions
    metrics: Metrics
    io = FigureFileIO("png")

    def _generate_payload(self, **untracked: Any) -> Figure:
        features, metrics = self.features.payload, self.metrics.payload
        false_positive, true_positive, _ = roc_curve(features["benign"], self.predictions.payload)
        names = features.columns.drop("benign").to_numpy()
        importance = self.model.payload.feature_importances_
        order = np.argsort(importance)[-self.params.shown :]

        figure = Figure(figsize=(10, 4.2), layout="constrained")
        curve, bars = figure.subplots(1, 2)
        curve.plot(false_positive, true_positive, color="#0d6a7d", linewidth=2)
        curve.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle="--")
        curve.fill_between(false_positive, true_positive, color="#17a394", alpha=0.12)
        curve.set(
            title=f"benign or malignant: ROC AUC {metrics['roc_auc']:.4f}", xlabel="malignant called benign", ylabel="benign called benign"
        )
        bars.barh(names[order], importance[order], color="#ffae22")
        bars.set(title=f"what {self.model.params.trees} trees look at", xlabel="importance")
        for axes in (curve, bars):
            axes.spines[["top", "right"]].set_visible(False)
        return figure


def nodes(store: str, depth: int = 12) -> dict[str, Persistable[Any, Any]]:
    """The whole lineage, most upstream first, kept in `store` (a folder or URL). Nothing is computed yet."""
    table = Table(store, TableParams())
    features = Features(store, FeaturesParams(), table=table)
    model = Model(store, ModelParams(depth=depth), features=features)
    predictions = Predictions(store, PredictionsParams(), features=features, model=model)
    metrics = Metrics(store, MetricsParams(), features=features, predictions=predictions)
    report = Report(store, ReportParams(), features=features, model=model, predictions=predictions, metrics=metrics)
    return {"table": table, "features": features, "model": model, "predictions": predictions, "metrics": metrics, "report": report}

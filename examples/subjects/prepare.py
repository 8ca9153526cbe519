"""Write what was measured on twenty men of a fitness club into a folder of files, one folder for each of them.

Usage: python prepare.py [FOLDER]    (by default ./data)

The measurements are Linnerud's, as scikit-learn carries them: three exercises, and three facts of the body.
"""

import json
import sys
from pathlib import Path

from sklearn.datasets import load_linnerud


def prepare(folder: Path) -> None:
    """One ``exercise.csv`` and one ``body.json`` for each man, and ``club.csv`` for all: mean and standard deviation of each exercise."""
    measured = load_linnerud(as_frame=True)
    for number, exercise in measured.data.iterrows():
        subject = folder / "raw" / f"subject-{number + 1:02}"
        subject.mkdir(parents=True, exist_ok=True)
        exercise.to_frame().T.astype(int).to_csv(subject / "exercise.csv", index=False)
        body = {name.lower(): float(value) for name, value in measured.target.loc[number].items()}
        (subject / "body.json").write_text(json.dumps(body))
    measured.data.agg(["mean", "std"]).T.rename_axis("exercise").reset_index().to_csv(folder / "club.csv", index=False)
    print(f"{len(measured.data)} subjects in {folder}")


if __name__ == "__main__":
    prepare(Path(sys.argv[1] if len(sys.argv) > 1 else "data"))

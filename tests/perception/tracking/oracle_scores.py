"""Writes data/oracle_scores.json: what TrackEval 1.3.0 and Roboflow's `trackers` 2.6.1 say of the sequences here.

Both bring opencv-python, which must not stand beside opencv-python-headless, so they get an environment of their own:

    python -m venv /tmp/oracles && /tmp/oracles/bin/pip install trackeval==1.3.0 trackers==2.6.1
    PYTHONPATH=. /tmp/oracles/bin/python tests/perception/tracking/oracle_scores.py
"""

import contextlib
import io
import json
import tempfile
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"
SCORES = DATA / "oracle_scores.json"
REAL = ("TUD-Campus", "TUD-Stadtmitte")
MADE = {f"made-{seed}": seed for seed in range(4)}


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows (frame, track, left, top, width, height) of a made-up truth and of tracks with every kind of mistake."""
    random = np.random.RandomState(seed)  # its numbers are the same in every version of NumPy
    truth, found = [], []
    for track in range(1, 9):
        begin, end = sorted(random.randint(1, 41, 2))
        at, step = random.uniform(0, 200, 2), random.uniform(-6, 6, 2)
        size, name = random.uniform(20, 60, 2), track * 10
        for frame in range(begin, end + 1):
            at = at + step
            truth.append((frame, track, *at, *size))
            if random.rand() < 0.06:
                name = track * 10 + random.randint(1, 10)  # it takes another identity
            if random.rand() < 0.8:
                found.append((frame, name, *(at + random.normal(0, 5, 2)), *(size * random.uniform(0.8, 1.2, 2))))
    for k in range(30):
        found.append((random.randint(1, 46), 900 + k // 5, *random.uniform(0, 200, 2), *random.uniform(20, 60, 2)))
    truth, found = (np.array(rows).round(3) for rows in (truth, found))
    _, first = np.unique(found[:, :2], axis=0, return_index=True)
    return truth, found[first]


def text(rows: np.ndarray) -> str:
    """The rows as a MOT file."""
    return "".join(f"{row[0]:.0f},{row[1]:.0f},{','.join(f'{x:.3f}' for x in row[2:])},1,1,1\n" for row in rows)


def texts(name: str) -> tuple[str, str]:
    """Truth and tracks of a sequence. TUD's truth has class -1, which `trackers eval` leaves out: 1 is put there."""
    if name in MADE:
        truth, found = made(MADE[name])
        return text(truth), text(found)
    truth, found = ((DATA / f"{name}.{kind}.txt").read_text() for kind in ("gt", "test"))
    return "".join(",".join(line.split(",")[:6]) + ",1,1,1\n" for line in truth.split()), found


def write(folder: Path) -> dict[str, int]:
    """Lay the sequences out as MOTChallenge does; returns the length of each."""
    lengths = {}
    for name in (*REAL, *MADE):
        truth, found = texts(name)
        for path, content in ((f"gt/{name}/gt/gt.txt", truth), (f"found/ours/data/{name}.txt", found)):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(content)
        lengths[name] = max(int(line.split(",")[0]) for line in (truth + found).split())
    return lengths


def trackeval_scores(folder: Path, names: tuple[str, ...], lengths: dict[str, int]) -> dict:
    """TrackEval's scores of sequences and of all together."""
    import trackeval

    dataset = trackeval.datasets.MotChallenge2DBox({
        "GT_FOLDER": str(folder / "gt"), "TRACKERS_FOLDER": str(folder / "found"), "BENCHMARK": "MOT15",
        "SKIP_SPLIT_FOL": True, "DO_PREPROC": False, "SEQ_INFO": {name: lengths[name] for name in names},
        "PRINT_CONFIG": False,
    })  # fmt: skip
    scores = {name: {} for name in (*names, "COMBINED")}
    for metric in (
        trackeval.metrics.CLEAR({"PRINT_CONFIG": False}),
        trackeval.metrics.Identity({"PRINT_CONFIG": False}),
        trackeval.metrics.HOTA(),
    ):
        each = {}
        for name in names:
            data = dataset.get_preprocessed_seq_data(dataset.get_raw_seq_data("ours", name), "pedestrian")
            each[name] = metric.eval_sequence(data)
        for name, result in (each | {"COMBINED": metric.combine_sequences(each)}).items():
            scores[name] |= {key: float(np.mean(value)) for key, value in result.items()}
    return scores


def trackers_scores(folder: Path, names: tuple[str, ...]) -> dict:
    """The scores of `trackers eval`."""
    from trackers.eval import evaluate_mot_sequences

    (folder / "map.txt").write_text("name\n" + "".join(f"{name}\n" for name in names))
    for name in names:
        (folder / "flat").mkdir(exist_ok=True)
        (folder / "flat" / f"{name}.txt").write_text((folder / "found/ours/data" / f"{name}.txt").read_text())
    result = evaluate_mot_sequences(
        folder / "gt", folder / "flat", seqmap=folder / "map.txt", metrics=["CLEAR", "HOTA", "Identity"]
    ).to_dict()
    parts = result["sequences"] | {"COMBINED": result["aggregate"]}
    return {
        name: {
            key: float(value)
            for kind in ("CLEAR", "HOTA", "Identity")
            for key, value in part[kind].items()
            if np.isscalar(value)
        }
        for name, part in parts.items()
    }


def main() -> None:
    """Write the file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lengths = write(folder)
        scores = {}
        for kind, names in (("real", REAL), ("made", tuple(MADE))):
            with contextlib.redirect_stdout(io.StringIO()):
                scores[kind] = {
                    "trackeval 1.3.0": trackeval_scores(folder, names, lengths),
                    "trackers 2.6.1": trackers_scores(folder, names),
                }
    SCORES.write_text(json.dumps(scores, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What was found out about a model, part by part: Markdown for people, JSON for programs; a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from perception.model_folder import WEIGHTS, moved_into_place
from perception.trust.attacks import AttackReport
from perception.trust.explanation_trial import ExplanationRow

FILE = "trust.json"
Cell = str | float | int | None


@dataclass(frozen=True)
class Section:
    """A table.

    Attributes:
        title, notes: what it shows, and what to know beside it.
        columns: headings. rows: of as many cells; numbers are shown with `digits` after the point, None as a dash.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    digits: int = 1

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [f"### {self.title}", "", _line(self.columns), _line(["---"] * len(self.columns))]
        lines += [_line([self._shown(cell) for cell in row]) for row in self.rows]
        return "\n".join([*lines, "", *self.notes, ""])

    def _shown(self, cell: Cell) -> str:
        if cell is None:
            return "-"
        return f"{cell:.{self.digits}f}" if isinstance(cell, float) else str(cell)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


class Findings:
    """The sections of one model, in a folder; those that are there from a stopped run are not made again.

    Args:
        folder: of `FILE` and of pictures.
        about: how the sections are made.
        models: folders of the models.

    Raises:
        FileExistsError: sections made in another way or of other weights are there. ValueError: they can't be read.
    """

    def __init__(self, folder: Path, about: dict[str, Any], models: Sequence[Path] = ()) -> None:
        weights = [hashlib.sha256((one / WEIGHTS).read_bytes()).hexdigest() for one in models]
        self.folder, self.about = folder, about | {"weights": weights}
        self.sections: dict[str, list[Section]] = {}
        path, wanted = folder / FILE, json.loads(json.dumps(self.about))
        folder.mkdir(parents=True, exist_ok=True)
        if not path.is_file():
            return
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            differing = [name for name in wanted | stored["about"] if wanted.get(name) != stored["about"].get(name)]
            self.sections = {
                name: [Section(**{key: _tuples(value) for key, value in one.items()}) for one in some]
                for name, some in stored["sections"].items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} can't be read: {error}; delete it to begin anew") from None
        if differing:
            raise FileExistsError(f"{path} is of other {', '.join(differing)}; choose another folder")

    def add(self, name: str, made: Callable[[], list[Section]]) -> list[Section]:
        """Return the sections of a part, made and stored unless they are there."""
        if name not in self.sections:
            self.sections[name] = made()
            stored = {part: [asdict(one) for one in some] for part, some in self.sections.items()}
            with moved_into_place(self.folder / FILE) as path:
                path.write_text(json.dumps({"about": self.about, "sections": stored}, indent=1) + "\n", "utf-8")
        return self.sections[name]

    def keep(self, name: str, picture: Image.Image) -> None:
        """Store a picture as `name`.png in the folder."""
        picture.save(self.folder / f"{name}.png")


def _tuples(value: Any) -> Any:
    return tuple(_tuples(one) for one in value) if isinstance(value, list) else value


def percent(share: float | None) -> float | None:
    """Return a share as a percentage."""
    return None if share is None else 100.0 * share


def attack_section(report: AttackReport, what: str, pictures: int) -> Section:
    """Return the table of an attack; `what` names the quality."""
    rows: list[tuple[Cell, ...]] = [("0 (clean)", percent(report.clean), None, None, None)]
    for row in report.rows:
        left = (row.noise, row.fgsm, row.pgd, row.transferred)
        rows.append((f"{255 * row.eps:g}/255", *map(percent, left)))
    failed = [name for name, holds in report.controls.items() if not holds]
    controls = (
        f"All {len(report.controls)} controls hold." if not failed else f"Controls that FAIL: {', '.join(failed)}."
    )
    columns = ("eps", "noise of that size", "FGSM", "PGD", "PGD made on the other model")
    return Section(f"Attacks: {what}, {pictures} pictures", columns, tuple(rows), (controls,))


def explanation_section(rows: Sequence[ExplanationRow], pictures: int, area: float | None) -> Section:
    """Return the table of explanations; `area` is the mean share of the picture that boxes cover."""
    columns = ("maps", "insertion", "deletion", "peak in the box", "mass in the box", "with random weights")
    table = []
    for row in rows:
        sanity = ", ".join(f"{one.layer} {one.correlation:.2f}" for one in row.randomised)
        table.append((row.method, row.insertion, row.deletion, row.pointing, row.inside, sanity or None))
    notes = [
        "With random weights: rank correlation with the true map once all layers from the output to this are random."
    ]
    if area is not None:
        notes.append(f"Boxes cover {area:.3f} of a picture.")
    return Section(f"Explanations, {pictures} pictures", columns, tuple(table), tuple(notes), digits=3)

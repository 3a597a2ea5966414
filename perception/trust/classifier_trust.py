"""How far a classifier can be trusted: the tables of corruptions, attacks and explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from perception.classification.networks import Classifier
from perception.trust.attacks import AttackSettings, ClassifierTarget, attack_report
from perception.trust.explanation_trial import CHANCE, Explained, explanation_row
from perception.trust.explanations import class_chance, class_score
from perception.trust.map_sheet import map_sheet
from perception.trust.robustness import CorruptionErrors, corruption_errors, mean_corruption_error
from perception.trust.sections import Findings, Section, attack_section, explanation_section


@dataclass(frozen=True)
class ClassifierTrust:
    """Trials of a classifier.

    Attributes:
        model: in the mode of use. other: a second one of the same data, mCE's baseline and where PGD's pictures are
            also made; or None.
        images, labels: test pictures, uint8 [N, C, H, W] and int64 [N].
        settings: of the attacks. attacked, explained: so many of the first pictures.
        seed: of corruptions and of what explanations draw.
        told: hears what is done next.
    """

    model: Classifier
    other: Classifier | None
    images: Tensor
    labels: Tensor
    settings: AttackSettings
    attacked: int
    explained: int
    seed: int
    told: Callable[[str], None]

    def __post_init__(self) -> None:
        if self.other is not None and self.other.config.classes != self.model.config.classes:
            raise ValueError("the two models tell different classes apart; the other must be of the same data")

    def corruptions(self, findings: Findings) -> list[Section]:
        """Errors at each severity."""
        errors = [
            corruption_errors(one, self.images, self.labels, self.seed, told=self.told)
            for one in (self.model, self.other)
            if one is not None
        ]
        rows = [
            (name, *(100 * one for one in some), 100 * sum(some) / len(some))
            for name, some in errors[0].corrupted.items()
        ]
        notes = [f"Clean {100 * errors[0].clean:.1f}, mean over all {100 * errors[0].mean:.1f}."]
        if self.other is not None:
            notes.append(_against(errors[0], errors[1]))
        columns = ("corruption", *(str(severity) for severity in range(1, 6)), "mean")
        return [Section(f"Corruptions: errors in %, {len(self.labels)} pictures", columns, tuple(rows), tuple(notes))]

    def attacks(self, findings: Findings) -> list[Section]:
        """Right answers left under attack."""
        self.told("attacks")
        images, labels = self.images[: self.attacked].float() / 255.0, self.labels[: self.attacked]
        other = None if self.other is None else ClassifierTarget(self.other, labels)
        report = attack_report(ClassifierTarget(self.model, labels), images, self.settings, other)
        return [attack_section(report, "right answers in %", len(images))]

    def explanations(self, findings: Findings) -> list[Section]:
        """Insertion, deletion and sanity of the maps, and a picture of them."""
        images, labels = self.images[: self.explained].float() / 255.0, self.labels[: self.explained]
        explained = Explained(
            self.model,
            images,
            lambda part: class_score(self.model, labels[part]),
            lambda part: class_chance(self.model, labels[part]),
            self.model.features[-1:],
            seed=self.seed,
        )
        return explained_sections(explained, findings, self.seed, self.told)


def _against(errors: CorruptionErrors, baseline: CorruptionErrors) -> str:
    notes = [f"Against the other model, mean {100 * baseline.mean:.1f}"]
    for name, relative in (("mCE", False), ("relative mCE", True)):
        try:
            notes.append(f"{name} {mean_corruption_error(errors, baseline, relative):.3f}")
        except ValueError as error:
            notes.append(f"no {name}: {error}")
    return "; ".join(notes) + "."


def explained_sections(
    explained: Explained, findings: Findings, seed: int, told: Callable[[str], None]
) -> list[Section]:
    """Return the table of all methods and of chance; their maps become maps.png."""
    rows, maps = [], {}
    for method in (*explained.methods, CHANCE):
        told(method)
        row, maps[method] = explanation_row(explained, method, seed=seed)
        rows.append(row)
    area, boxes = None, explained.boxes
    if boxes is not None:
        height, width = explained.images.shape[2:]
        area = float(((boxes[:, 2:] - boxes[:, :2]).prod(1) / (height * width)).mean())
    findings.keep("maps", map_sheet(explained.images, maps, boxes))
    return [explanation_section(rows, len(explained.images), area)]

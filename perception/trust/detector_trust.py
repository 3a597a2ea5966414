"""How far a detector can be trusted: the tables of domains, corruptions, attacks and explanations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from perception.detection.detector import Detector
from perception.detection.folders import require_classes
from perception.detection.learning import CLASSES
from perception.trust.attacks import AttackSettings, attack_report
from perception.trust.classifier_trust import explained_sections
from perception.trust.detector_attacks import (
    DetectorTarget,
    cell_score,
    found_objects,
    levels_of,
    with_gradients,
)
from perception.trust.detector_trials import SEVERITIES, Trial, drawn_trial, precision, precision_under_corruption
from perception.trust.explanation_trial import Explained
from perception.trust.sections import Findings, Section, attack_section
from sim.sensors.looks.domains import HELD_OUT

CLEAR = ("clear",)
"""Domain of the pictures that are corrupted, attacked and explained: whatever harms is then what was done to them."""


@dataclass(frozen=True)
class DetectorTrust:
    """Trials of a detector on pictures of the front camera.

    Attributes:
        detector: see `Detector`. other: a second one of the same size, on which PGD's pictures are also made; or None.
        pictures: of each domain, and that are corrupted. attacked, explained: so many of them.
        settings: of the attacks. seed: of pictures, corruptions and what explanations draw.
        told: hears what is done next.

    Raises:
        ValueError: a detector of other classes than the simulator's.
    """

    detector: Detector
    other: Detector | None
    pictures: int
    attacked: int
    explained: int
    settings: AttackSettings
    seed: int
    told: Callable[[str], None]

    def __post_init__(self) -> None:
        for one in (self.detector, self.other):
            if one is not None:
                require_classes(one.classes, CLASSES, f"the {one.kind} detector")

    def trial(self, count: int) -> Trial:
        """Clear pictures."""
        self.told("drawing pictures")
        return drawn_trial(CLEAR, count, self.seed)

    def domains(self, findings: Findings) -> list[Section]:
        """Precision in the clear and in each held-out domain."""
        rows = []
        for domain in (*CLEAR, *HELD_OUT):
            self.told(domain)
            found = precision(self.detector, drawn_trial((domain,), self.pictures, self.seed))
            rows.append((domain, 100 * found["AP50"], 100 * found["AP75"], 100 * found["AP"], int(found["objects"])))
        columns = ("domain", "AP50", "AP75", "AP", "objects")
        title = f"Held-out domains: precision in %, {self.pictures} pictures each"
        return [
            Section(title, columns, tuple(rows), ("Scenario seeds of the test split; all but clear never trained on.",))
        ]

    def corruptions(self, findings: Findings) -> list[Section]:
        """Precision at three severities."""
        left = precision_under_corruption(self.detector, self.trial(self.pictures), self.seed, self.told)
        rows = [
            (name, *(100 * one for one in some), 100 * sum(some) / len(some)) for name, some in left.corrupted.items()
        ]
        note = f"Clean {100 * left.clean:.1f}, mean over all (mPC) {100 * left.mean:.1f}, rPC {left.relative:.3f}."
        columns = ("corruption", *(str(severity) for severity in SEVERITIES), "mean")
        return [Section(f"Corruptions: AP in %, {self.pictures} clear pictures", columns, tuple(rows), (note,))]

    def attacks(self, findings: Findings) -> list[Section]:
        """AP50 left under attack."""
        trial = self.trial(self.attacked)
        target = DetectorTarget(with_gradients(self.detector), trial)
        other = None if self.other is None else DetectorTarget(with_gradients(self.other), trial)
        self.told("attacks")
        report = attack_report(target, trial.images.float() / 255.0, self.settings, other)
        return [attack_section(report, "AP50 in %", self.attacked)]

    def explanations(self, findings: Findings) -> list[Section]:
        """What the surest cell of an object looks at: with the pointing game in the object's true box."""
        detector, trial = with_gradients(self.detector), self.trial(2 * self.explained)
        found = found_objects(detector, trial, self.explained)
        network = detector.network
        explained = Explained(
            network,
            trial.images[found.picture].float() / 255.0,
            lambda part: cell_score(network, found.cells[part], found.labels[part]),
            lambda part: cell_score(network, found.cells[part], found.labels[part], chance=True),
            levels_of(network),
            found.boxes,
            ("distances",),
            self.seed,
        )
        return explained_sections(explained, findings, self.seed, self.told)

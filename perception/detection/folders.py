"""Pictures in COCO's and YOLO's folders, ours or a user's, as what a detector learns from and is judged on.

    coco:DIR    DIR/SPLIT/annotations.json and the pictures it names, as scripts/make_dataset.py writes them
    yolo:DIR    DIR/data.yaml, which names a folder of pictures for each split

Boxes of our own sets are those of whole objects, hidden parts too, as far as they are in the picture, as in the stream;
other sets have one box an object, which is taken as it is. What COCO calls a crowd is not asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from perception.data.coco import CocoFolder
from perception.data.splits import SPLITS
from perception.data.targets import CATEGORIES, Target, whole_boxes
from perception.data.yolo import DATA, YoloFolder, read_about
from perception.detection.augment import changes
from perception.detection.average_precision import boxes_of
from perception.detection.detector import letterbox
from perception.detection.learning import CLASSES, Lesson, lesson_targets, mirrored, varied

FORMATS = ("coco", "yolo")
ANNOTATIONS = "annotations.json"


class Folder:
    """The labelled pictures of a split.

    Attributes:
        where: as named, for messages. split: of the set.
        classes: names, of labels 1, 2, ... in the order of the set's ids. Of a set with the simulator's categories they
            are `CLASSES`: a goal is no thing to run into.

    Args:
        named: "coco:DIR" or "yolo:DIR".
        split: "train", "val" or "test".

    Raises:
        FileNotFoundError: there is no such folder, nothing of the split in it, or a file is missing.
        ValueError: another format, or files that cannot be read.
    """

    def __init__(self, named: str, split: str) -> None:
        form, _, place = named.partition(":")
        if form not in FORMATS or not place:
            raise ValueError(f"{named!r} names no folder of pictures; write coco:DIR or yolo:DIR")
        self.where, self.split = f"{named} ({split})", split
        self.data: CocoFolder | YoloFolder
        if form == "coco":
            path = Path(place) / split / ANNOTATIONS
            if not path.is_file():
                raise FileNotFoundError(f"{named} has no {split} split: there is no {path}")
            self.data = CocoFolder(path, expected=None)
        else:
            self.data = YoloFolder(place, split, expected=None)
        if len(self.data) == 0:
            raise FileNotFoundError(f"{self.where} holds no pictures")
        categories = dict(sorted(self.data.categories.items()))
        # Ids may have gaps (COCO's 80 classes end at 90): labels count through.
        self._labels = {category: label for label, category in enumerate(categories, start=1)}
        self.classes = CLASSES if categories == CATEGORIES else tuple(categories.values())
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"{self.where} gives one name to several classes: {', '.join(self.classes)}")

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        """Return a picture uint8 [3, H, W] and its target: what `targets.targets_of` gives but for the numbers."""
        image, target = self.data[index]
        count = len(target["labels"])
        missing = {
            "amodal": target["boxes"],
            "visibility": torch.ones(count),
            "truncation": torch.zeros(count),
            "distance": torch.full((count,), torch.nan),
        }
        labels = [self._labels[category] for category in target["labels"].tolist()]
        return image, missing | target | {"labels": torch.tensor(labels, dtype=torch.int64)}


def splits_in(named: str) -> list[str]:
    """Return which of "train", "val" and "test" a folder has; none where there is no such folder.

    Raises:
        ValueError: a data.yaml that cannot be read.
    """
    form, _, place = named.partition(":")
    if form == "yolo" and (Path(place) / DATA).is_file():
        about = read_about(place)
        return [split for split in SPLITS if about.get(split)]
    return [split for split in SPLITS if form == "coco" and (Path(place) / split / ANNOTATIONS).is_file()]


def unseen(named: str) -> list[Folder]:
    """Return the splits of a folder that training does not see.

    Raises:
        FileNotFoundError: there are none. ValueError: see `Folder`; or other classes than what is learned from.
    """
    splits = splits_in(named)
    found = [Folder(named, split) for split in splits if split != "train"] or [Folder(named, "val")]
    learned = Folder(named, "train") if "train" in splits else found[0]
    for folder in found:
        require_classes(folder.classes, learned.classes, folder.where)
    return found


def require_classes(found: Sequence[str], expected: Sequence[str], where: str) -> None:
    """Raise ValueError unless labels mean what is expected; the message names the first that does not, and both lists.

    Args:
        found: names of labels 1, 2, ...
        expected: what they must be.
        where: of whom `found` is.
    """
    for label in range(1, max(len(found), len(expected)) + 1):
        has, needs = (repr(names[label - 1]) if label <= len(names) else "no such label" for names in (found, expected))
        if has != needs:
            raise ValueError(
                f"{where}: label {label} is {has}, expected {needs}; it has {', '.join(found)}; expected are "
                f"{', '.join(expected)}"
            )


class FolderLessons:
    """Endless batches of a folder, every picture once an epoch, varied as `Lessons` varies the simulator's.

    Args:
        folder: where they come from.
        size: width and height to which pictures are scaled and padded [px].
        batch_size: pictures of a batch.
        seed: of the order and the changes; with the position it decides a batch.
    """

    def __init__(self, folder: Folder, size: tuple[int, int], batch_size: int, seed: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        self.folder, self.size, self.batch_size, self.seed = folder, size, batch_size, seed
        self.position = 0

    def __next__(self) -> Lesson:
        first = self.position * self.batch_size
        chosen = [self._chosen(number) for number in range(first, first + self.batch_size)]
        pairs = [fitted(*self.folder[i], self.size, len(self.folder.classes)) for i in chosen]
        images, targets = zip(*pairs, strict=True)
        generator = changes(self.seed, self.position)
        lesson = mirrored(torch.stack(images), list(targets), generator)
        self.position += 1
        return varied(lesson.images, lesson.targets, generator)

    def _chosen(self, number: int) -> int:
        """Which picture is the number-th of all epochs."""
        epoch, place = divmod(number, len(self.folder))
        return int(torch.randperm(len(self.folder), generator=changes(self.seed, epoch, purpose=0))[place])

    def state_dict(self) -> dict[str, int]:
        """The position: how many batches have been given."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a position."""
        self.position = state["position"]


def fitted(image: Tensor, target: Target, size: tuple[int, int], classes: int) -> tuple[Tensor, Target]:
    """Return a picture uint8 [3, H, W] letterboxed to `size` and what a detector is asked for in it.

    See `learning.lesson_targets`; the limit of height counts in the scaled picture.
    """
    inputs, place = letterbox(image[None], size)
    boxes = place.into(whole_boxes(target, (image.shape[2], image.shape[1])))
    asked = lesson_targets(target | {"amodal": boxes}, size, classes)
    crowd = target["iscrowd"][target["labels"] <= classes] > 0
    return inputs[0], asked | {"ignore": asked["ignore"] | crowd}


def pictures_with_truth(folder: Folder) -> Iterator[tuple[Tensor, list[Target]]]:
    """Yield each picture uint8 [1, 3, H, W] of a folder with its truth, as `average_precision.Ledger` takes it."""
    for i in range(len(folder)):
        image, target = folder[i]
        truth = boxes_of(target, (image.shape[2], image.shape[1]), len(folder.classes))
        crowd = target["iscrowd"][target["labels"] <= len(folder.classes)] > 0
        yield image[None], [truth | {"visibility": truth["visibility"].masked_fill(crowd, 0.0)}]

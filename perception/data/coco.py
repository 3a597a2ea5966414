"""COCO's format: one JSON of images, annotations and categories beside a folder of pictures.

Boxes are [x, y, width, height] [px] of what is visible, masks run lengths (`rle`). Beyond COCO's own fields an
annotation has visibility, truncation, distance [m], track_id (names the object within its episode) and amodal_bbox (of
the whole body, may reach outside the frame); COCO's tools ignore them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from perception.data import rle
from perception.data.images import read_image
from perception.data.targets import CATEGORIES, Target, require_categories

EXTRA = {"visibility": 1.0, "truncation": 0.0, "distance": math.nan}
"""Fields of ours that an annotation of another's data set has not, and what stands for them."""
DIGITS = 3
"""Decimals of shares, metres and fractional pixels in the JSON."""


def annotations_of(target: Target, masks: bool = False) -> list[dict[str, Any]]:
    """Return COCO annotations of a picture's target (see `targets.targets_of`), without their ids.

    Args:
        target: tensors of any device; with "masks" if those are to be written.
        masks: write them.
    """
    columns = {name: value.tolist() for name, value in target.items() if name != "masks"}
    shapes = target["masks"].cpu().numpy() if masks else []
    found = []
    for i, (x0, y0, x1, y1) in enumerate(columns["boxes"]):
        a0, b0, a1, b1 = columns["amodal"][i]
        annotation = {
            "category_id": columns["labels"][i],
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": columns["area"][i],
            "iscrowd": 0,
            "visibility": round(columns["visibility"][i], DIGITS),
            "truncation": round(columns["truncation"][i], DIGITS),
            "distance": round(columns["distance"][i], DIGITS),
            "track_id": columns["number"][i],
            "amodal_bbox": [round(value, DIGITS) for value in (a0, b0, a1 - a0, b1 - b0)],
        }
        if masks:
            annotation["segmentation"] = rle.encode(shapes[i])
        found.append(annotation)
    return found


def json_parts(images: Iterable[Mapping[str, Any]], info: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text of a COCO JSON piece by piece: sets larger than the memory can be written.

    Args:
        images: each a COCO image entry with its "annotations" (and "lanes", which stay out); read twice, so no
            iterator. Ids are given here.
        info: of the whole set.
    """
    categories = [{"id": label, "name": name, "supercategory": _above(name)} for label, name in CATEGORIES.items()]
    yield f'{{"info": {json.dumps(info)},\n"licenses": [],\n"categories": {json.dumps(categories)},\n"images": ['
    for number, image in enumerate(images):
        entry = {"id": number + 1} | {key: value for key, value in image.items() if key not in ("annotations", "lanes")}
        yield (",\n" if number else "\n") + json.dumps(entry)
    yield '],\n"annotations": ['
    count = 0
    for number, image in enumerate(images):
        for annotation in image["annotations"]:
            count += 1
            yield (",\n" if count > 1 else "\n") + json.dumps({"id": count, "image_id": number + 1} | dict(annotation))
    yield "]}\n"


def _above(name: str) -> str:
    return "vehicle" if name in ("car", "van", "truck", "motorcycle") else "object"


NUMBERS = (*EXTRA, "iscrowd", "track_id")
"""Of an annotation, where it tells them."""


class CocoFolder:
    """A data set in COCO's format, of ours or of others; item i is (picture uint8 [3, H, W], target).

    Targets have torchvision's form: boxes float32 [K, 4] (x0, y0, x1, y1), labels int64 [K] (the category ids), area,
    iscrowd, visibility, truncation, distance and number [K] (-1 where the set names no tracks), amodal float32 [K, 4]
    (`boxes` again where the set tells no others), image_id int64 [], and masks bool [K, H, W] where asked for.

    Args:
        annotations: the JSON.
        images: the folder of pictures; the JSON's own without.
        expected: categories that the set must have, by id; any others raise. None takes what comes: then look at
            `categories` before trusting a label.
        masks: give masks too.

    Raises:
        FileNotFoundError: no JSON, or a picture that it names is missing.
        ValueError: no whole COCO file, other categories than expected, an annotation of an unknown category or image,
            or with an impossible box.
    """

    def __init__(
        self,
        annotations: str | Path,
        images: str | Path | None = None,
        expected: dict[int, str] | None = CATEGORIES,
        masks: bool = False,
    ):
        self.path = Path(annotations)
        self.folder = Path(images) if images is not None else self.path.parent
        self.masks = masks
        try:
            read = json.loads(self.path.read_text(encoding="utf-8"))
            self.images = list(read["images"])
            entries, categories = list(read["annotations"]), list(read["categories"])
            self.categories = {int(one["id"]): str(one["name"]) for one in categories}
        except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{self.path} is no COCO file, or breaks off: {type(error).__name__} {error}") from None
        self.info = read.get("info", {})
        if len(self.categories) != len(categories):
            raise ValueError(f"{self.path} gives one id to several categories")
        if expected is not None:
            require_categories(self.categories, expected, self.path)
        try:
            self._annotations = self._sorted(entries)
            for image in self.images:
                if min(image["width"], image["height"]) < 1:
                    raise ValueError(f"{self.path} states a picture of {image['width']} x {image['height']} px")
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{self.path} is no COCO file: {type(error).__name__} {error}") from None

    def _sorted(self, entries: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        """The annotations of each image, each checked; ValueError or FileNotFoundError for the first that is wrong."""
        number = {image["id"]: i for i, image in enumerate(self.images)}
        if len(number) != len(self.images):
            raise ValueError(f"{self.path} gives one id to several images")
        for image in self.images:
            if not (self.folder / image["file_name"]).is_file():
                raise FileNotFoundError(
                    f"{self.path} names a picture that is missing: {self.folder / image['file_name']}"
                )
        sorted_: list[list[dict[str, Any]]] = [[] for _ in self.images]
        for entry in entries:
            where = f"{self.path}, annotation {entry.get('id')}"
            if entry.get("category_id") not in self.categories:
                known = ", ".join(map(str, self.categories))
                raise ValueError(f"{where}: there is no category {entry.get('category_id')!r}; there are {known}")
            if entry.get("image_id") not in number:
                raise ValueError(f"{where}: there is no image {entry.get('image_id')!r}")
            box = entry.get("bbox", ())
            if len(box) != 4 or not all(math.isfinite(value) for value in box) or min(box[2:]) < 0:
                raise ValueError(f"{where}: bbox is {box}; it must be x, y, width and height")
            # Numbers that `target` will ask for; a word or a null among them is a TypeError here, not in a training.
            more = [entry.get("amodal_bbox", box), [_area(entry)], [entry.get(name, 0) for name in NUMBERS]]
            sum(sum(values) for values in more)
            sorted_[number[entry["image_id"]]].append(entry)
        return sorted_

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, Target]:
        """Return a picture and its target; ValueError if the file is broken or has another size than its entry."""
        entry = self.images[index]
        pixels = read_image(self.folder / entry["file_name"])
        height, width = pixels.shape[1:]
        if (height, width) != (entry["height"], entry["width"]):
            raise ValueError(
                f"{self.folder / entry['file_name']} is {width}x{height}, but {self.path} says "
                f"{entry['width']}x{entry['height']}"
            )
        return torch.from_numpy(pixels), self.target(index)

    def target(self, index: int) -> Target:
        """Return the target of a picture without reading it."""
        entries = self._annotations[index]
        boxes = torch.tensor([entry["bbox"] for entry in entries], dtype=torch.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        target: Target = {
            "boxes": boxes,
            "labels": torch.tensor([entry["category_id"] for entry in entries], dtype=torch.int64),
            "area": torch.tensor([_area(entry) for entry in entries], dtype=torch.float32),
            "iscrowd": torch.tensor([entry.get("iscrowd", 0) for entry in entries], dtype=torch.int64),
            "number": torch.tensor([entry.get("track_id", -1) for entry in entries], dtype=torch.int64),
            "image_id": torch.tensor(self.images[index]["id"], dtype=torch.int64),
        }
        whole = torch.tensor([entry.get("amodal_bbox", entry["bbox"]) for entry in entries], dtype=torch.float32)
        whole = whole.reshape(-1, 4)
        target["amodal"] = torch.cat((whole[:, :2], whole[:, :2] + whole[:, 2:]), dim=1)
        for name, missing in EXTRA.items():
            target[name] = torch.tensor([entry.get(name, missing) for entry in entries], dtype=torch.float32)
        if self.masks:
            size = self.images[index]["height"], self.images[index]["width"]
            masks = [mask_of(entry.get("segmentation"), *size) for entry in entries]
            target["masks"] = torch.from_numpy(np.stack(masks) if masks else np.zeros((0, *size), dtype=bool))
        return target


def _area(entry: dict[str, Any]) -> float:
    return entry.get("area", entry["bbox"][2] * entry["bbox"][3])


def mask_of(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Return the mask bool [H, W] of a segmentation: run lengths (exactly), or polygons (to half a pixel).

    Raises:
        ValueError: neither, or run lengths of another size.
    """
    if isinstance(segmentation, dict):
        if list(segmentation["size"]) != [height, width]:
            raise ValueError(f"a mask of size {segmentation['size']} in a picture of size {[height, width]}")
        return rle.decode(segmentation)
    if not isinstance(segmentation, list) or not all(len(polygon) >= 6 for polygon in segmentation):
        raise ValueError(f"a segmentation must be run lengths or polygons, not {str(segmentation)[:60]!r}")
    mask = np.zeros((height, width), dtype=np.uint8)
    for polygon in segmentation:
        # The corner of a pixel is at whole numbers in COCO, its middle in OpenCV.
        corners = np.asarray(polygon, dtype=float).reshape(-1, 2) - 0.5
        cv2.fillPoly(mask, [np.rint(corners * 16).astype(np.int32)], 1, shift=4)
    return mask.astype(bool)

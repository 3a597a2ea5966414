"""A few pictures with bright boxes, written as COCO's and as YOLO's folders."""

import json

import numpy as np

from perception.data.images import png

NAMES = ("bar", "post")
# Of each picture: width, height, and its things: label, x, y, width, height.
PICTURES = (
    (80, 40, ((1, 8, 4, 32, 12), (2, 60, 10, 8, 24))),
    (64, 64, ((2, 20, 20, 10, 30),)),
    (48, 96, ()),
    (64, 64, ((1, 4, 40, 40, 16), (1, 10, 8, 30, 10))),
    (128, 64, ((2, 100, 8, 16, 48),)),
)


def pixels(width, height, things):
    """A dark picture in which bars are bright and posts are brighter."""
    image = np.full((3, height, width), 40, dtype=np.uint8)
    for label, x, y, wide, high in things:
        image[:, y : y + high, x : x + wide] = 150 if label == 1 else 240
    return image


def write_coco(folder, splits=("train", "val"), ids=(1, 2), names=NAMES, **more):
    """Write the pictures into each split; `more` is put into every annotation."""
    for split in splits:
        (folder / split / "images").mkdir(parents=True)
        images, annotations = [], []
        for number, (width, height, things) in enumerate(PICTURES, 1):
            name = f"images/{number}.png"
            (folder / split / name).write_bytes(png(pixels(width, height, things)))
            images.append({"id": number, "file_name": name, "width": width, "height": height})
            for label, *box in things:
                entry = {"id": len(annotations) + 1, "image_id": number, "category_id": ids[label - 1], "bbox": box}
                annotations.append(entry | more)
        categories = [{"id": category, "name": name} for category, name in zip(ids, names, strict=True)]
        stored = {"images": images, "annotations": annotations, "categories": categories}
        (folder / split / "annotations.json").write_text(json.dumps(stored), encoding="utf-8")
    return f"coco:{folder}"


def write_yolo(folder, splits=("train", "val"), names=NAMES):
    """Write the pictures into each split."""
    lines = [f"names: {list(names)}"]
    for split in splits:
        lines.append(f"{split}: images/{split}")
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number, (width, height, things) in enumerate(PICTURES, 1):
            (folder / f"images/{split}/{number}.png").write_bytes(png(pixels(width, height, things)))
            rows = [
                f"{label - 1} {(x + wide / 2) / width} {(y + high / 2) / height} {wide / width} {high / height}"
                for label, x, y, wide, high in things
            ]
            (folder / f"labels/{split}/{number}.txt").write_text("\n".join(rows), encoding="utf-8")
    (folder / "data.yaml").write_text("\n".join(lines), encoding="utf-8")
    return f"yolo:{folder}"

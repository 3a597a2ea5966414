import numpy as np
import torch

from perception.trust.map_sheet import BOX, GAP, LEAST_SIDE, TITLE, map_sheet, overlaid


def test_a_row_for_each_picture_and_a_column_for_each_method():
    images, maps = torch.rand(9, 1, 28, 28), {"one": torch.rand(9, 28, 28), "two": torch.zeros(9, 28, 28)}
    sheet = map_sheet(images, maps, rows=4)
    side = 28 * -(-LEAST_SIDE // 28)
    assert sheet.size == (3 * (side + GAP) + GAP, TITLE + 4 * (side + GAP))
    shown = np.asarray(sheet)[TITLE : TITLE + side, GAP : GAP + side, 0]
    assert np.array_equal(shown[::5, ::5], np.rint(images[0, 0].numpy() * 255).astype(np.uint8))
    last = np.asarray(sheet)[TITLE + 3 * (side + GAP) :, GAP : GAP + side, 0]
    assert np.array_equal(last[:side:5, ::5], np.rint(images[3, 0].numpy() * 255).astype(np.uint8))


def test_boxes_are_drawn_at_their_place_on_every_column():
    images, maps = torch.zeros(1, 3, 128, 160), {"one": torch.zeros(1, 128, 160)}
    sheet = np.asarray(map_sheet(images, maps, torch.tensor([[20.0, 30.0, 90.0, 100.0]])))
    for column in range(2):
        left = GAP + column * (160 + GAP)
        assert tuple(sheet[TITLE + 30, left + 20]) == BOX
        assert tuple(sheet[TITLE + 100, left + 90]) == BOX
        assert tuple(sheet[TITLE + 60, left + 60]) != BOX


def test_the_greatest_value_is_the_brightest_whatever_the_scale():
    picture = np.full((20, 20, 3), 100, np.uint8)
    values = np.zeros((20, 20), np.float32)
    values[3:6, 4:8] = 1e-6
    shown = overlaid(picture, values).astype(int)
    assert shown[4, 5].sum() > shown[15, 15].sum() + 100
    assert np.array_equal(shown, overlaid(picture, values * 1e6))
    assert len(np.unique(overlaid(picture, np.zeros((20, 20), np.float32)).reshape(-1, 3), axis=0)) == 1

"""What a pixel can show."""

from enum import IntEnum


class Semantic(IntEnum):
    """The class of a pixel, and of an object: everything from CAR on is one."""

    SKY = 0  # and all that is too far away to have a depth
    GRASS = 1
    SHOULDER = 2
    ROAD = 3
    MARKING = 4
    CAR = 5
    VAN = 6
    TRUCK = 7
    MOTORCYCLE = 8
    OBSTACLE = 9
    GOAL = 10

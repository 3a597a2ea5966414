"""What a camera must see of boxes on flat ground, worked out in double precision without the renderer's formulas."""

import cv2
import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from sim.engine.network import Network
from sim.sensors.camera.cameras import Camera
from sim.sensors.camera.rig import CameraRig

ROAD = Network.straight(3, length=200.0)
# The camera's x, y, z along the vehicle's forward, right, down.
MOUNTED = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def extrinsics(camera: Camera, pose):
    """Rotation [3, 3] and translation [3] from the world (x, y, down) to the camera, by aerospace Euler angles."""
    x, y, heading = pose
    vehicle = Rotation.from_euler("ZYX", [heading, 0, 0])
    head = Rotation.from_euler("ZYX", [camera.yaw, camera.pitch, camera.roll], degrees=True)
    turn = (vehicle * head).as_matrix() @ MOUNTED
    place = np.array([x, y, 0.0]) + vehicle.apply([camera.x, camera.y, -camera.z])
    return turn.T, -turn.T @ place


def corners(x, y, heading, length, width, height, bottom=0.0):
    """Corners [8, 3] of an upright box in the world: x, y, down."""
    signs = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)]) / 2 * (length, width)
    flat = signs @ np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]]) + (x, y)
    return np.concatenate([np.column_stack([flat, np.full(4, -z)]) for z in (bottom, height)])


def projected(camera: Camera, pose, points):
    """Pixels [n, 2] of points of the world (x, y, down), by OpenCV."""
    turn, shift = extrinsics(camera, pose)
    matrix = np.array(
        [[camera.width / 2 / np.tan(np.radians(camera.fov / 2)), 0, camera.width / 2], [0, 0, 0], [0, 0, 1]]
    )
    matrix[1] = 0, matrix[0, 0], camera.height / 2
    return cv2.projectPoints(points, cv2.Rodrigues(turn)[0], shift, matrix, None)[0][:, 0]


def rays(camera: Camera, pose):
    """Eye [3] and rays [H, W, 3] through the pixels' middles in the world, a step along the optical axis long."""
    turn, shift = extrinsics(camera, pose)
    focal = camera.width / 2 / np.tan(np.radians(camera.fov / 2))
    j, i = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    seen = np.stack([(j - camera.width / 2) / focal, (i - camera.height / 2) / focal, np.ones_like(i)], axis=-1)
    return -turn.T @ shift, seen @ turn


def depth_of_hull(camera: Camera, pose, points):
    """Depth [H, W] of the convex body around points, infinite beside it: the nearest of its triangles (Moller 1997)."""
    eye, directions = rays(camera, pose)
    depth = np.full(directions.shape[:2], np.inf)
    for a, b, c in points[ConvexHull(points).simplices]:
        normal = np.cross(directions, c - a)
        scale = normal @ (b - a)
        with np.errstate(divide="ignore", invalid="ignore"):
            u = normal @ (eye - a) / scale
            across = np.cross(eye - a, b - a)
            v = directions @ across / scale
            at = (c - a) @ across / scale
        hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (at > 0)
        depth = np.where(hit & (at < depth), at, depth)
    return depth


def rendered(world, *cameras, domain="clear", threads=1, **options):
    """The rig of some cameras on a straight road, and its frames."""
    rig = CameraRig(ROAD, world, cameras, domain, threads=threads, **options)
    return rig, rig.render()

"""What stands before a camera: its body in the camera's terms, and the pixels it can cover."""

from typing import Any

import warp as wp

from sim.engine.state import Kind
from sim.engine.vehicles import LENGTH, WIDTH
from sim.sensors.camera import bodies
from sim.sensors.camera.views import NEAR, Thing, View
from sim.sensors.classes import Semantic
from sim.sensors.looks.look import Look

BRAKING = -1.0  # m/s2, acceleration below which the brake lights shine
SHADOW_REACH = 3.0  # m of shadow a metre of height at most, however low the sun
CONTACT = 0.5  # m, how far around a body its contact shadow reaches
FAR_AWAY = wp.constant(wp.float32(1.0e9))
OBSTACLE_PAINT = wp.constant(wp.vec3f(0.75, 0.20, 0.02))
WALL_PAINT = wp.constant(wp.vec3f(0.38, 0.36, 0.33))
GOAL_PAINT = wp.constant(wp.vec3f(0.03, 0.16, 0.75))
REACHED_PAINT = wp.constant(wp.vec3f(0.25, 0.80, 0.10))  # of a goal that a vehicle has hit


@wp.func
def _plain_box(thing: Thing, length: wp.float32, width: wp.float32, height: wp.float32) -> Thing:
    """Give a thing an upright box for a body."""
    thing.parts = 1
    thing.a_rear = -length * wp.float32(0.5)
    thing.a_front = length * wp.float32(0.5)
    thing.a_half = width * wp.float32(0.5)
    thing.a_top = height
    return thing


@wp.func
def _clothed(tables: bodies.Catalogue, thing: Thing, stream: wp.uint64, length: wp.float32, width: wp.float32) -> Thing:
    """Give a vehicle of a physical size the body that its stream of random numbers picks."""
    row = bodies.pattern_of(tables, stream)
    along = length / wp.float32(LENGTH) * bodies.scale_of(stream, bodies.STRETCH)
    across = width / wp.float32(WIDTH) * bodies.scale_of(stream, bodies.SPREADING)
    up = bodies.scale_of(stream, bodies.LIFT)
    thing.category = tables.bodies[row].category
    thing.parts = tables.bodies[row].parts
    thing.axle_front = tables.bodies[row].axle_front * along
    thing.axle_rear = tables.bodies[row].axle_rear * along
    thing.wheel = tables.bodies[row].wheel * up
    thing.a_rear = tables.bodies[row].a_rear * along
    thing.a_front = tables.bodies[row].a_front * along
    thing.a_half = tables.bodies[row].a_half * across
    thing.a_top = tables.bodies[row].a_top * up
    thing.a_lean_front = tables.bodies[row].a_lean_front * along / up
    thing.a_lean_rear = tables.bodies[row].a_lean_rear * along / up
    thing.a_lean_side = tables.bodies[row].a_lean_side * across / up
    thing.b_rear = tables.bodies[row].b_rear * along
    thing.b_front = tables.bodies[row].b_front * along
    thing.b_half = tables.bodies[row].b_half * across
    thing.b_bottom = tables.bodies[row].b_bottom * up
    thing.b_top = tables.bodies[row].b_top * up
    thing.b_lean_front = tables.bodies[row].b_lean_front * along / up
    thing.b_lean_rear = tables.bodies[row].b_lean_rear * along / up
    thing.b_lean_side = tables.bodies[row].b_lean_side * across / up
    return thing


@wp.func
def thing_of(tables: bodies.Catalogue, world: Any, w: int, v: int, hue: wp.float32) -> Thing:
    """Return the body of what is in slot `v`, in its own frame."""
    thing = Thing()
    thing.slot = v
    kind = world.cars[w, v].kind
    length = wp.float32(world.cars[w, v].length)
    width = wp.float32(world.cars[w, v].width)
    colour = wp.vec3f(0.0, 0.0, 0.0)
    if kind == Kind.LANDMARK:
        margin = wp.float32(2.0 * bodies.GOAL_MARGIN)
        thing = _plain_box(thing, LENGTH + margin, WIDTH + margin, wp.float32(bodies.GOAL_HEIGHT))
        thing.category = int(Semantic.GOAL)
        colour = GOAL_PAINT
        if world.cars[w, v].crashed:
            colour = REACHED_PAINT
    elif kind == Kind.OBSTACLE:
        thing.category = int(Semantic.OBSTACLE)
        if wp.max(length, width) > wp.float32(bodies.WALL):
            thing = _plain_box(thing, length, width, wp.float32(bodies.WALL_HEIGHT))
            colour = WALL_PAINT
        else:
            thing = _plain_box(thing, length, width, wp.float32(bodies.OBSTACLE_HEIGHT))
            colour = OBSTACLE_PAINT
    else:
        stream = bodies.stream_of(world.rows[w].episode, world.cars[w, v].number)
        thing = _clothed(tables, thing, stream, length, width)
        colour = bodies.paint_of(tables, stream, hue)
        if wp.float32(world.cars[w, v].acceleration) < wp.float32(BRAKING):
            thing.brakes = wp.float32(1.0)
    thing.red = colour[0]
    thing.green = colour[1]
    thing.blue = colour[2]
    thing.cosine = wp.float32(world.cars[w, v].cos_heading)
    thing.sine = wp.float32(world.cars[w, v].sin_heading)
    return thing


@wp.func
def lit(thing: Thing, look: Look) -> Thing:
    """Say where the sun stands in a thing's frame, and how its shadow grows with height."""
    thing.sun_x = thing.cosine * look.sun_x + thing.sine * look.sun_y
    thing.sun_y = thing.cosine * look.sun_y - thing.sine * look.sun_x
    if look.sun > wp.float32(0.0) and look.sun_z > wp.float32(0.0):
        low = wp.sqrt(thing.sun_x * thing.sun_x + thing.sun_y * thing.sun_y)
        steep = wp.max(look.sun_z, low / wp.float32(SHADOW_REACH))
        thing.shift_x = -thing.sun_x / steep
        thing.shift_y = -thing.sun_y / steep
    return thing


@wp.func
def _corner(thing: Thing, part: int, k: int) -> wp.vec3f:
    """Return corner `k` (bits: front, right, top) of part 0 or 1 of a body, or, part 2, of the ground it may shade."""
    front = float(k & 1)
    side = float((k & 2) - 1)
    top = float(k >> 2)
    if part == 0:
        z = top * thing.a_top
        x = front * (thing.a_front - thing.a_lean_front * z) + (1.0 - front) * (thing.a_rear + thing.a_lean_rear * z)
        return wp.vec3f(x, side * (thing.a_half - thing.a_lean_side * z), z)
    if part == 1:
        z = top * (thing.b_top - thing.b_bottom)
        x = front * (thing.b_front - thing.b_lean_front * z) + (1.0 - front) * (thing.b_rear + thing.b_lean_rear * z)
        return wp.vec3f(x, side * (thing.b_half - thing.b_lean_side * z), thing.b_bottom + z)
    height = top * wp.max(thing.a_top, thing.b_top)
    x = front * (wp.max(thing.a_front, thing.b_front) + CONTACT)
    x = x + (1.0 - front) * (wp.min(thing.a_rear, thing.b_rear) - CONTACT) + thing.shift_x * height
    y = side * (wp.max(thing.a_half, thing.b_half) + CONTACT) + thing.shift_y * height
    return wp.vec3f(x, y, wp.float32(0.0))


@wp.func
def seen_from(view: View, thing: Thing, point: wp.vec3f) -> wp.vec3f:
    """Return a point of a thing's frame in the camera's frame [m]."""
    forward = point[0] - thing.x
    right = point[1] - thing.y
    x = thing.cosine * forward - thing.sine * right
    y = thing.sine * forward + thing.cosine * right
    offset = wp.vec3f(x, y, point[2] - thing.z)
    return wp.vec3f(wp.dot(offset, view.right), wp.dot(offset, view.down), wp.dot(offset, view.ahead))


@wp.func
def _widened(box: wp.vec4f, x: wp.float32, y: wp.float32, z: wp.float32) -> wp.vec4f:
    """Widen a box (low x, low y, high x, high y) on the plane z = 1 by the projection of a point."""
    u = x / z
    v = y / z
    return wp.vec4f(wp.min(box[0], u), wp.min(box[1], v), wp.max(box[2], u), wp.max(box[3], v))


@wp.func
def extent(view: View, thing: Thing, part: int, box: wp.vec4f) -> wp.vec4f:
    """Widen a box on the plane z = 1 by the projection of a part, cut off where it is nearer than NEAR."""
    k = int(0)
    near = wp.float32(NEAR)
    while k < 8:
        p = seen_from(view, thing, _corner(thing, part, k))
        if p[2] >= near:
            box = _widened(box, p[0], p[1], p[2])
        bit = int(1)
        while bit < 8:  # the three edges that start here; each is looked at from both ends
            if p[2] < near:
                q = seen_from(view, thing, _corner(thing, part, k ^ bit))
                if q[2] >= near:
                    share = (near - p[2]) / (q[2] - p[2])
                    box = _widened(box, p[0] + share * (q[0] - p[0]), p[1] + share * (q[1] - p[1]), near)
            bit = bit * 2
        k = k + 1
    return box

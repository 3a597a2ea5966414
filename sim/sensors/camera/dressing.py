"""What is painted on a body: windows, wheels, lights, stripes, by face and place on it. Linear albedos."""

import warp as wp

from sim.engine import HOT
from sim.sensors.camera.tracing import CABIN, FRONT, REAR, TOP, is_end, is_side
from sim.sensors.camera.views import Thing
from sim.sensors.classes import Semantic
from sim.sensors.looks.look import Look

_ZERO = wp.constant(wp.float32(0.0))
_ONE = wp.constant(wp.float32(1.0))
_HALF = wp.constant(wp.float32(0.5))
TYRE = wp.constant(wp.vec3f(0.012, 0.012, 0.013))
RIM = wp.constant(wp.vec3f(0.30, 0.31, 0.32))
TRIM = wp.constant(wp.vec3f(0.018, 0.018, 0.02))
GLASS = wp.constant(wp.vec3f(0.02, 0.024, 0.028))
LENS = wp.constant(wp.vec3f(0.75, 0.76, 0.74))
RED_LENS = wp.constant(wp.vec3f(0.32, 0.012, 0.012))
PLATE = wp.constant(wp.vec3f(0.70, 0.70, 0.60))
LEATHER = wp.constant(wp.vec3f(0.035, 0.036, 0.042))
CARGO = wp.constant(wp.vec3f(0.62, 0.63, 0.63))
WHITE = wp.constant(wp.vec3f(0.78, 0.78, 0.76))
HEADLAMP = wp.constant(wp.vec3f(1.6, 1.5, 1.25))
TAIL_LAMP = wp.constant(wp.vec3f(0.55, 0.02, 0.015))
BRAKE_LAMP = wp.constant(wp.vec3f(1.0, 0.06, 0.03))
DULL, GLOSSY, MIRROR = 0.0, 0.08, 0.20  # how much of the horizon a surface mirrors


@wp.struct
class Skin:
    """A surface: what it reflects of light, what it shines by itself, and how much of the sky it mirrors."""

    albedo: wp.vec3f
    light: wp.vec3f
    mirror: wp.float32


@wp.func(inline=HOT)
def _stripe(at: wp.float32) -> wp.float32:
    """1 and 0 in turn, each half a unit long."""
    return wp.where(at - wp.floor(at) < _HALF, _ONE, _ZERO)


@wp.func(inline=HOT)
def _on_side(thing: Thing, skin: Skin, p: wp.vec3f) -> Skin:
    """Wheels and the dark lower edge of a vehicle's side."""
    front = p[0] - thing.axle_front
    rear = p[0] - thing.axle_rear
    along = wp.where(wp.abs(front) < wp.abs(rear), front, rear)
    radius = thing.wheel
    rise = p[2] - radius
    away = along * along + rise * rise
    arch = radius * wp.float32(1.16)
    if away < arch * arch or p[2] < wp.float32(0.55) * radius:
        skin.albedo = TRIM
        skin.mirror = wp.float32(DULL)
        if away < radius * radius:
            skin.albedo = TYRE
            hub = wp.float32(0.62) * radius
            if away < hub * hub:
                skin.albedo = RIM
    return skin


@wp.func(inline=HOT)
def _on_nose(
    thing: Thing, skin: Skin, p: wp.vec3f, ahead: int, half: wp.float32, belt: wp.float32, lamps: wp.float32
) -> Skin:
    """Lights, number plate and grille of a vehicle's front (`ahead` 1) or rear; `belt` is how high lights sit [m]."""
    aside = wp.abs(p[1])
    up = p[2] / belt
    if p[2] < wp.float32(0.24):
        skin.albedo = TRIM
        skin.mirror = wp.float32(DULL)
        if aside > half - wp.float32(0.30):
            skin.albedo = TYRE
    elif aside > wp.float32(0.62) * half and up > wp.float32(0.80) and up < wp.float32(1.08):
        skin.mirror = wp.float32(GLOSSY)
        if ahead != 0:
            skin.albedo = LENS
            skin.light = lamps * HEADLAMP
        else:
            skin.albedo = RED_LENS
            skin.light = wp.max(lamps * TAIL_LAMP, thing.brakes * BRAKE_LAMP)
    elif aside < wp.float32(0.27) and up > wp.float32(0.52) and up < wp.float32(0.68):
        skin.albedo = PLATE
    elif ahead != 0 and aside < wp.float32(0.56) * half and up > wp.float32(0.50) and up < wp.float32(0.98):
        skin.albedo = TRIM
    return skin


@wp.func(inline=HOT)
def _window(thing: Thing, face: int, p: wp.vec3f, low: wp.float32, high: wp.float32) -> bool:
    """Is there glass at a place on a cabin whose windows reach from `low` to `high` [m]?"""
    if p[2] < low or p[2] > high:
        return False
    if is_end(face):
        return wp.abs(p[1]) < thing.b_half - thing.b_lean_side * (p[2] - thing.b_bottom) - wp.float32(0.07)
    rise = p[2] - thing.b_bottom
    front = thing.b_front - thing.b_lean_front * rise - wp.float32(0.10)
    rear = thing.b_rear + thing.b_lean_rear * rise + wp.float32(0.14)
    pillar = wp.float32(0.52) * thing.b_front + wp.float32(0.48) * thing.b_rear
    return p[0] < front and p[0] > rear and wp.abs(p[0] - pillar) > wp.float32(0.06)


@wp.func(inline=HOT)
def _car(thing: Thing, look: Look, skin: Skin, code: int, p: wp.vec3f) -> Skin:
    """A car or a van."""
    face = code & (CABIN - 1)
    skin.mirror = wp.float32(GLOSSY)
    if code < CABIN:
        if is_side(face):
            skin = _on_side(thing, skin, p)
        elif face != TOP:
            belt = wp.float32(0.72) * thing.a_top
            skin = _on_nose(thing, skin, p, int(face == FRONT), thing.a_half, belt, look.lamps)
    elif face != TOP:
        tall = thing.b_top - thing.b_bottom
        side = is_side(face)
        low = thing.b_bottom + wp.float32(0.05)
        high = thing.b_top - wp.float32(0.09)
        if thing.category == Semantic.VAN:
            high = thing.b_bottom + wp.float32(0.66)
        glass = _window(thing, face, p, low, high)
        if tall > wp.float32(1.1) and side and p[0] < thing.b_front - wp.float32(1.7):  # a van for goods
            glass = False
        if glass:
            skin.albedo = GLASS
            skin.mirror = wp.float32(MIRROR)
    return skin


@wp.func(inline=HOT)
def _truck(thing: Thing, look: Look, skin: Skin, code: int, p: wp.vec3f) -> Skin:
    """A cab, the hull, and a box of cargo behind it."""
    face = code & (CABIN - 1)
    side = is_side(face)
    if code >= CABIN:
        skin.albedo = wp.float32(0.75) * CARGO + wp.float32(0.25) * skin.albedo
        if face == REAR:
            if wp.abs(p[1]) < wp.float32(0.025) or wp.abs(p[2] - wp.float32(0.98)) < wp.float32(0.04):
                skin.albedo = TRIM
        elif side:
            skin.albedo = skin.albedo * (wp.float32(0.90) + wp.float32(0.10) * _stripe(p[0] * wp.float32(1.6)))
        if p[2] < wp.float32(0.92) and face != TOP:
            skin.albedo = wp.float32(2.0) * TRIM
            if side:
                skin = _on_side(thing, skin, p)
            if face == REAR:
                skin = _on_nose(thing, skin, p, 0, thing.b_half, wp.float32(0.80), look.lamps)
        return skin
    skin.mirror = wp.float32(GLOSSY)
    if side:
        skin = _on_side(thing, skin, p)
    elif face == FRONT:
        skin = _on_nose(thing, skin, p, 1, thing.a_half, wp.float32(0.75), look.lamps)
    glass = face == FRONT and wp.abs(p[1]) < thing.a_half - wp.float32(0.12)
    if side:
        glass = p[0] > thing.a_front - wp.float32(1.15) and p[0] < thing.a_front - wp.float32(0.35)
    if glass and p[2] > wp.float32(1.35) and p[2] < thing.a_top - wp.float32(0.30):
        skin.albedo = GLASS
        skin.mirror = wp.float32(MIRROR)
    return skin


@wp.func(inline=HOT)
def _motorcycle(thing: Thing, look: Look, skin: Skin, code: int, p: wp.vec3f) -> Skin:
    """A machine, the hull, and its rider."""
    face = code & (CABIN - 1)
    if code >= CABIN:
        if p[2] < thing.b_top - wp.float32(0.27):  # below the helmet
            skin.albedo = LEATHER + wp.float32(0.12) * skin.albedo
    elif is_side(face):
        if p[2] < wp.float32(0.55):
            skin.albedo = wp.float32(3.0) * TRIM
        skin = _on_side(thing, skin, p)
    elif p[2] < wp.float32(0.56):
        skin.albedo = TYRE
    elif face != TOP and p[2] < wp.float32(0.74) and wp.abs(p[1]) < wp.float32(0.12):
        skin.albedo = wp.where(face == FRONT, LENS, RED_LENS)
        skin.light = wp.where(face == FRONT, look.lamps * HEADLAMP, look.lamps * TAIL_LAMP)
        if face == REAR:
            skin.light = wp.max(skin.light, thing.brakes * BRAKE_LAMP)
    return skin


@wp.func(inline=HOT)
def _object(thing: Thing, skin: Skin, code: int, p: wp.vec3f) -> Skin:
    """An obstacle with slanted stripes, a wall of slabs, or the frame of a goal."""
    long = thing.a_front - thing.a_rear
    wide = wp.float32(2.0) * thing.a_half
    if thing.category == Semantic.GOAL:
        rim = wp.min(thing.a_front - wp.abs(p[0]), thing.a_half - wp.abs(p[1]))
        if rim > wp.float32(0.35):
            odd = _stripe(p[0]) + _stripe(p[1])
            skin.albedo = wp.where(odd == _ONE, wp.float32(0.45) * skin.albedo, wp.float32(0.25) * WHITE)
    elif wp.max(long, wide) > wp.float32(6.0):
        slab = p[0] * wp.float32(0.4)
        joint = wp.abs(slab - wp.rint(slab))
        if joint < wp.float32(0.012) or p[2] < wp.float32(0.12):
            skin.albedo = wp.float32(0.5) * skin.albedo
    else:
        run = p[0] + p[1] + wp.where(code == TOP, _ZERO, p[2])
        skin.albedo = wp.where(_stripe(run * wp.float32(1.4)) > _HALF, skin.albedo, WHITE)
    return skin


@wp.func(inline=HOT)
def skin_of(thing: Thing, look: Look, code: int, p: wp.vec3f) -> Skin:
    """Return the surface at `p` [m], in the thing's frame, on face `code` of its body."""
    skin = Skin()
    skin.albedo = wp.vec3f(thing.red, thing.green, thing.blue)
    if thing.category == Semantic.TRUCK:
        return _truck(thing, look, skin, code, p)
    if thing.category == Semantic.MOTORCYCLE:
        return _motorcycle(thing, look, skin, code, p)
    if thing.category >= Semantic.OBSTACLE:
        return _object(thing, skin, code, p)
    return _car(thing, look, skin, code, p)

"""The ray caster behind ``shapes3d``: a room with one object on its floor, seen as light on four materials.

Lengths are in units of half the room's width. The object's axis is the origin, x goes to the right, y up, z to the
back. Camera, room and sizes were fitted to the published animation of the 3D Shapes data set, the light approximately:
the camera's own light and an ambient one reach everything, a lamp up left only the object and the floor.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

SHAPES = ("cube", "cylinder", "sphere", "capsule")
MATERIALS = ("floor", "wall", "object", "sky")

FOCAL_LENGTH = 1.848  # in units of half the image
CAMERA_DISTANCE = 0.779  # from the axis, on a circle around it
CAMERA_HEIGHT = 0.308
CAMERA_PITCH = math.radians(2.8)  # looks down
BACK_WALL = 0.826  # behind the axis
WALL_HEIGHT = 0.639

# Half width or radius, height at which the straight part begins and ends; at scale 1.
SIZES = (
    (0.1275, 0.0, 0.245),
    (0.139, 0.0, 0.268),
    (0.153, 0.153, 0.153),
    (0.1215, 0.1215, 0.1215 + 0.238),
)

AMBIENT, AMBIENT_TO_THE_RIGHT = 0.31, -0.045
HEAD_LIGHT = 0.8
LAMP, LAMP_TO_THE_RIGHT = 0.95, -0.64
LAMP_DIRECTION = tuple(part / math.hypot(-0.36, 0.92) for part in (-0.36, 0.92, 0.0))

SUBPIXELS = 2  # rays a pixel, in each direction


class _Vectors(NamedTuple):
    """Points or directions, one tensor a coordinate: what is constant along an axis of the image stays small."""

    x: Tensor
    y: Tensor
    z: Tensor


class _Body(NamedTuple):
    """The objects of a batch, every field (geometries, 1, 1)."""

    half_width: Tensor
    low: Tensor
    high: Tensor
    is_box: Tensor
    is_capped: Tensor


class _Hit(NamedTuple):
    """Where rays meet a body: distance (infinite where they do not), and through which side of it they come."""

    distance: Tensor
    from_above: Tensor
    through_x: Tensor


def cast(geometries: Float[Tensor, "geometries 3"], image_size: int) -> Float[Tensor, "geometries 4 height width"]:
    """Cast the rays of some geometries.

    Args:
        geometries: scale, shape (index into ``SHAPES``) and orientation in degrees, float32.
        image_size: height and width of the result.

    Returns:
        For each material and pixel, the share of the pixel that it fills times the light on it.
    """
    scale, shape, orientation = (column[:, None, None] for column in geometries.unbind(1))
    half_width, low, high = torch.tensor(SIZES, device=geometries.device, dtype=torch.float32)[shape.long()].unbind(-1)
    body = _Body(half_width * scale, low * scale, high * scale, shape == 0, shape >= 2)
    # At -30° the right corner of the room is seen: the camera stands on the left and looks to the right.
    yaw = torch.deg2rad(-orientation)
    eye = _Vectors(-CAMERA_DISTANCE * yaw.sin(), torch.full_like(yaw, CAMERA_HEIGHT), -CAMERA_DISTANCE * yaw.cos())
    rays = _rays(yaw, image_size)
    to_eye = _Vectors(
        -math.cos(CAMERA_PITCH) * yaw.sin(),
        torch.full_like(yaw, math.sin(CAMERA_PITCH)),
        -math.cos(CAMERA_PITCH) * yaw.cos(),
    )

    side = 1 - 2 * (rays.x < 0).to(torch.float32)
    to_side = (1 - side * eye.x) / rays.x.abs()
    to_back = (BACK_WALL - eye.z) / rays.z
    to_wall = torch.minimum(to_side, to_back)
    to_floor = torch.where(rays.y < 0, -CAMERA_HEIGHT / rays.y, torch.inf)
    hit = _meet(body, eye, rays)

    to_room = torch.minimum(to_wall, to_floor)
    sees_object = hit.distance < to_room
    sees_floor = ~sees_object & (to_floor < to_wall)
    beyond = ~sees_object & ~sees_floor
    sees_sky = beyond & (CAMERA_HEIGHT + to_wall * rays.y > WALL_HEIGHT)
    sees_wall = beyond & ~sees_sky

    floor_point = _along(eye, rays, to_room)
    ambient = AMBIENT + AMBIENT_TO_THE_RIGHT * floor_point.x
    on_wall = ambient + HEAD_LIGHT * torch.where(to_side < to_back, -side * to_eye.x, -to_eye.z).clamp(min=0)
    lamp = (LAMP + LAMP_TO_THE_RIGHT * floor_point.x).clamp(min=0) * LAMP_DIRECTION[1]
    on_floor = ambient + HEAD_LIGHT * to_eye.y + torch.where(_in_shadow(body, floor_point), 0.0, lamp)
    on_object = _light_on_object(body, hit, eye, rays, to_eye)
    seen = torch.stack(
        [
            torch.where(sees_floor, on_floor.clamp(0, 1), 0.0),
            torch.where(sees_wall, on_wall.clamp(0, 1), 0.0),
            torch.where(sees_object, on_object.clamp(0, 1), 0.0),
            sees_sky.to(torch.float32),
        ],
        1,
    )
    return torch.nn.functional.avg_pool2d(seen, SUBPIXELS)


def _rays(yaw: Float[Tensor, "geometries 1 1"], image_size: int) -> _Vectors:
    """Return the directions of the rays, (geometries, rows, columns) or what broadcasts to it; not of unit length."""
    n_rays = image_size * SUBPIXELS
    steps = torch.arange(n_rays, device=yaw.device, dtype=torch.float32)
    right = ((steps + 0.5) * (2 / n_rays) - 1) / FOCAL_LENGTH
    up = -right[:, None]
    ahead = math.cos(CAMERA_PITCH) + up * math.sin(CAMERA_PITCH)
    rise = up * math.cos(CAMERA_PITCH) - math.sin(CAMERA_PITCH)
    return _Vectors(ahead * yaw.sin() + right * yaw.cos(), rise[None], ahead * yaw.cos() - right * yaw.sin())


def _along(start: _Vectors, direction: _Vectors, distance: Tensor) -> _Vectors:
    return _Vectors(*(begin + distance * step for begin, step in zip(start, direction, strict=True)))


def _meet(body: _Body, start: _Vectors, direction: _Vectors) -> _Hit:
    """Return where rays from outside first meet the bodies.

    A cube or cylinder is the part between two heights of an infinite prism; a capsule adds a ball at each end, and a
    sphere is a capsule whose straight part has no length.
    """
    x_in, x_out = _between(start.x, direction.x, -body.half_width, body.half_width)
    z_in, z_out = _between(start.z, direction.z, -body.half_width, body.half_width)
    y_in, y_out = _between(start.y, direction.y, body.low, body.high)

    flat = direction.x.square() + direction.z.square()
    towards = start.x * direction.x + start.z * direction.z
    outside = start.x.square() + start.z.square() - body.half_width.square()
    round_in, round_out = _roots(flat, towards, outside)

    prism_in = torch.where(body.is_box, torch.maximum(x_in, z_in), round_in)
    prism_out = torch.where(body.is_box, torch.minimum(x_out, z_out), round_out)
    enter, leave = torch.maximum(prism_in, y_in), torch.minimum(prism_out, y_out)
    distance = torch.where((enter < leave) & (enter > 0), enter, torch.inf)

    length = flat + direction.y.square()
    for centre in (body.low, body.high):
        above = start.y - centre
        ball_in, ball_out = _roots(length, towards + above * direction.y, outside + above.square())
        meets = body.is_capped & (ball_in < ball_out) & (ball_in > 0)
        distance = torch.minimum(distance, torch.where(meets, ball_in, torch.inf))
    return _Hit(distance, (y_in >= prism_in) & ~body.is_capped, x_in > z_in)


def _between(start: Tensor, step: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """Return at which distances a ray enters and leaves the slab between two planes."""
    one, other = (low - start) / step, (high - start) / step
    return torch.minimum(one, other), torch.maximum(one, other)


def _roots(square: Tensor, half_linear: Tensor, constant: Tensor) -> tuple[Tensor, Tensor]:
    """Return the roots of a quadratic; where there is none, the same number twice."""
    root = (half_linear.square() - square * constant).clamp_(min=0).sqrt_()
    return (-half_linear - root) / square, (root - half_linear) / square


def _in_shadow(body: _Body, floor_point: _Vectors) -> Bool[Tensor, "geometries rows columns"]:
    lamp = _Vectors(*(torch.full_like(body.low, part) for part in LAMP_DIRECTION))
    return _meet(body, floor_point, lamp).distance.isfinite()


def _light_on_object(body: _Body, hit: _Hit, eye: _Vectors, rays: _Vectors, to_eye: _Vectors) -> Tensor:
    point = _along(eye, rays, hit.distance)
    on_axis = torch.minimum(torch.maximum(point.y, body.low), body.high)

    def facing(light: _Vectors) -> Tensor:
        """Return the cosine between the surface and a light, 0 on its far side."""
        side = torch.where(hit.through_x, -rays.x.sign() * light.x, -rays.z.sign() * light.z)
        curved = (point.x * light.x + (point.y - on_axis) * light.y + point.z * light.z) / body.half_width
        upright = torch.where(body.is_box, side, curved)
        return torch.where(hit.from_above, light.y, upright).clamp(min=0)

    lamp = _Vectors(*(torch.full_like(body.low, part) for part in LAMP_DIRECTION))
    ambient = AMBIENT + AMBIENT_TO_THE_RIGHT * point.x
    return ambient + HEAD_LIGHT * facing(to_eye) + LAMP * facing(lamp)

"""A motion as a field: for each point of each frame, where in the first picture to look.

A field has three channels over a coarse grid of points: how far to look across and down (half a
picture is 1), and how much has faded. All zero is a picture at rest, whatever its size in pixels.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

EDGE = 16  # points per side of a field
RATE = 8  # fields per second
BETWEEN = 3  # frames made of each field: in-betweens follow a cubic through four fields
FPS = RATE * BETWEEN
DEGREES = (3, 5)  # across and down, of the polynomials that a field is made of
SCALE = 3.0  # of the network's numbers: displacements of a third of half a picture are about 1


def points(across: int, down: int) -> Tensor:
    """Give each place of a picture its coordinates in -1..1.  → (2, down, across): x, y."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, down), torch.linspace(-1, 1, across), indexing="ij")
    return torch.stack([x, y])


def backdrop(picture: Tensor) -> Tensor:
    """Take the colour around a picture: the median of its rim.  (3, H, W) → (3, 1, 1)."""
    rim = [picture[:, 0], picture[:, -1], picture[:, :, 0], picture[:, :, -1]]
    return torch.cat(rim, 1).median(1).values[:, None, None]


def ink(picture: Tensor) -> Tensor:
    """Tell the drawing from what is around it.  (3, H, W) in -1..1 → (1, H, W) in 0..1."""
    return (picture - backdrop(picture)).abs().amax(0, keepdim=True).clamp(0, 1)


def seen(picture: Tensor) -> Tensor:
    """Show the network a picture as coarsely as it thinks.  (3, H, W) → (4, EDGE, EDGE)."""
    whole = torch.cat([picture, ink(picture)])
    return functional.adaptive_avg_pool2d(whole, EDGE)


@cache
def calming() -> Tensor:
    """Make the projection on what is smooth: polynomials over the grid.  → (E², E²)."""
    line = np.linspace(-1, 1, EDGE)
    across, down = (np.polynomial.legendre.legvander(line, degree) for degree in DEGREES)
    basis = np.einsum("yj,xi->yxji", down, across).reshape(EDGE * EDGE, -1)
    return torch.from_numpy(basis @ np.linalg.pinv(basis)).float()


def calm(fields: Tensor) -> Tensor:
    """Take away what no motion of a thing would be: the network's own unrest.  (T, 3, E, E)."""
    return (fields.flatten(2) @ calming().to(fields).mT).view_as(fields)


def smooth(fields: Tensor) -> Tensor:
    """Put in-betweens after every field; the first frame is at rest.  (T, 3, E, E) → (3T, …)."""
    rest = torch.zeros_like(fields[:1])
    onward = fields[-1:] - fields[-2:-1]
    held = torch.cat([rest, rest, fields[1:], fields[-1:] + onward, fields[-1:] + 2 * onward])
    count = len(fields)
    before, now, after, later = (held[at : at + count] for at in range(4))
    frames = []
    for part in range(BETWEEN):
        u = part / BETWEEN
        slope, turn = (after - before) / 2, (later - now) / 2
        bend = 2 * (now - after) + slope + turn
        frames.append(now + u * (slope + u * (3 * (after - now) - 2 * slope - turn + u * bend)))
    return torch.stack(frames, 1).flatten(0, 1)


def moved(picture: Tensor, fields: Tensor) -> Tensor:
    """Draw a picture once per field.  (3, H, W), (T, 3, E, E) → (T, 3, H, W)."""
    size = picture.shape[1:]
    fine = functional.interpolate(fields, size=size, mode="bicubic", align_corners=True)
    looked = (points(size[1], size[0]) + fine[:, :2]).permute(0, 2, 3, 1)  # (T, H, W, 2)
    behind = backdrop(picture)
    drawn = functional.grid_sample(
        (picture - behind).expand(len(fields), -1, -1, -1), looked, align_corners=True
    )  # outside is the backdrop
    return behind + drawn * (1 - fine[:, 2:]).clamp(0, 1)

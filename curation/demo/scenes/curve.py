"""Pictures of formulas: fractals, curves and flows."""

import math

import numpy as np
from PIL import Image

from curation.demo import seeds
from curation.demo.drawing import tone
from curation.demo.drawing.canvas import Canvas
from curation.demo.drawing.palettes import contrast, mix, palette
from curation.demo.scenes.job import Job

# Points near the edge of the Mandelbrot set, whose Julia sets are neither dust nor blobs.
_JULIA = (
    *(-0.8 + 0.156j, 0.285 + 0.01j, -0.70176 - 0.3842j, -0.4 + 0.6j, 0.355 + 0.355j),
    *(-0.835 - 0.2321j, -0.7269 + 0.1889j, 0.3 - 0.01j, -0.1 + 0.651j, -0.54 + 0.54j),
    -0.162 + 1.04j,
)
_SEAHORSES = (
    -0.745 + 0.113j,
    -0.16 + 1.0405j,
    -1.25066 + 0.02012j,
    0.2549 + 0.0005j,
    -0.722 + 0.246j,
)


def fractal(job: Job) -> Image.Image:
    """A window in a Julia set or in the Mandelbrot set, coloured by escape time."""
    rng = job.layout
    colours = palette(rng)
    coarse = 2 if max(job.size) > 400 else 1
    wide, high = -(-job.width // coarse), -(-job.height // coarse)
    julia = rng.random() < 0.7
    span = rng.uniform(0.5, 2.6) if julia else 10 ** rng.uniform(-2.4, -0.6)
    turn = complex(math.cos(angle := rng.uniform(0, 6.3)), math.sin(angle))
    x = (np.arange(wide, dtype=np.float32) / wide - 0.5) * span * min(1.6, wide / high)
    y = (np.arange(high, dtype=np.float32) / high - 0.5) * span * min(1.6, high / wide)
    plane = ((x[None, :] + 1j * y[:, None]) * turn).astype(np.complex64)
    if julia:
        step = complex(rng.choice(_JULIA)) + complex(rng.gauss(0, 0.006), rng.gauss(0, 0.006))
        centre = complex(rng.uniform(-0.7, 0.7), rng.uniform(-0.5, 0.5))
        points, constants = plane + np.complex64(centre), np.complex64(step)
        escape = _escape(points, np.full_like(points, constants), 70)
    else:
        centre = rng.choice(_SEAHORSES) + span * complex(rng.gauss(0, 0.25), rng.gauss(0, 0.25))
        constants_2d = plane + np.complex64(centre)
        escape = _escape(constants_2d.copy(), constants_2d, 110)
    wave = 0.5 - 0.5 * np.cos(np.sqrt(escape) * rng.uniform(0.8, 1.8) + rng.uniform(0, 6))
    stops = np.array(
        [mix(colours.ink, (0, 0, 0), 0.3), *colours.accents, colours.ground], np.float32
    )
    place = wave * (len(stops) - 1.001)
    low = place.astype(np.int32)
    share = (place - low)[..., None]
    pixels = stops[low] * (1 - share) + stops[low + 1] * share
    pixels[escape >= 1e6] = mix(colours.ink, (0, 0, 0), 0.5)
    return Image.fromarray(pixels.astype(np.uint8)).resize(job.size, Image.Resampling.BICUBIC)


def _escape(
    points: "np.ndarray[tuple[int, ...], np.dtype[np.complex64]]",
    constants: "np.ndarray[tuple[int, ...], np.dtype[np.complex64]]",
    limit: int,
) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Return smooth escape times of z -> z^2 + c; 1e6 for points that stay."""
    times = np.full(points.size, 1e6, np.float32)
    alive = np.arange(points.size)
    z, c = points.ravel().copy(), constants.ravel()
    for step in range(limit):
        z = z * z + c
        size = z.real**2 + z.imag**2
        gone = size > 64
        if gone.any():
            times[alive[gone]] = step + 1 - np.log2(np.log2(size[gone]) / 6)
            stay = ~gone
            alive, z, c = alive[stay], z[stay], c[stay]
    return times.reshape(points.shape)


def rosette(job: Job) -> Image.Image:
    """Curves of a drawing machine: several loops of cogs in cogs."""
    rng = job.layout
    colours = palette(rng)
    ground = rng.choice((colours.ground, colours.ink))
    inks = sorted(
        (*colours.accents, colours.ink, colours.ground), key=lambda ink: -contrast(ink, ground)
    )[:4]
    sheet = Canvas(job.size, ground)
    for _ in range(rng.randint(3, 6)):
        outer, inner = rng.randint(5, 24), rng.randint(2, 17)
        inner += inner == outer
        arm = rng.uniform(0.4, 1.8) * inner
        size = min(job.size) * rng.uniform(0.16, 0.55) / (abs(outer - inner) + arm)
        centre_x, centre_y = (side * rng.uniform(0.05, 0.95) for side in job.size)
        turns = inner // math.gcd(outer, inner)
        steps = np.linspace(0, 2 * math.pi * turns, 160 * turns + 1)
        ratio = (outer - inner) / inner
        x = centre_x + size * ((outer - inner) * np.cos(steps) + arm * np.cos(ratio * steps))
        y = centre_y + size * ((outer - inner) * np.sin(steps) - arm * np.sin(ratio * steps))
        points = list(zip(x.tolist(), y.tolist(), strict=True))
        if rng.random() < 0.6:
            sheet.polygon(points, (*rng.choice(inks), 190))
        sheet.line(points, rng.choice(inks), min(job.size) * rng.uniform(0.004, 0.014))
    return sheet.finish()


def flow(job: Job) -> Image.Image:
    """Hundreds of lines that follow a smooth field, like combed hair."""
    rng = job.layout
    colours = palette(rng)
    sheet = Canvas(job.size, rng.choice((colours.ground, colours.ink)))
    noise = seeds.array_rolls(rng)
    waves = noise.uniform(-2.6, 2.6, (5, 2)) * math.pi
    phases, gains = noise.uniform(0, 6.3, 5), noise.uniform(0.2, 1, 5)
    count, steps = rng.randint(160, 380), 36
    # Lines start in a few clouds, so that some parts stay empty.
    clouds = noise.random((rng.randint(2, 4), 2))
    spot = clouds[noise.integers(0, len(clouds), count)] + noise.normal(0, 0.2, (count, 2))
    path = np.zeros((steps, count, 2))
    for step in range(steps):
        path[step] = spot
        field = np.sin(spot @ waves.T + phases) @ gains * 1.4
        spot = spot + np.stack([np.cos(field), np.sin(field)], -1) * 0.012
    path *= np.array([job.width, job.height])
    inks = [*colours.accents, colours.accents[0]]
    thick = min(job.size) * rng.uniform(0.003, 0.016)
    for line in range(count):
        ink = inks[int(noise.integers(0, len(inks)))]
        points = [(float(x), float(y)) for x, y in path[:, line]]
        sheet.line(points, (*ink, 220), thick * float(noise.uniform(0.3, 1)))
    return sheet.finish()


def ripples(job: Job) -> Image.Image:
    """Rings from several stones in water, where they meet."""
    rng = job.layout
    colours = palette(rng)
    coarse = 2 if max(job.size) > 500 else 1
    x = np.arange(0, job.width, coarse, dtype=np.float32)[None, :] / min(job.size)
    y = np.arange(0, job.height, coarse, dtype=np.float32)[:, None] / min(job.size)
    wave = np.zeros((y.size, x.size), np.float32)
    for _ in range(rng.randint(2, 5)):
        spot_x, spot_y = rng.uniform(-0.2, 1.4), rng.uniform(-0.2, 1.4)
        away = np.hypot(x - spot_x, y - spot_y)
        wave += np.cos(away * rng.uniform(14, 70) + rng.uniform(0, 6)) * np.exp(
            -away * rng.uniform(0.4, 3)
        )
    level = (wave - wave.min()) / (float(np.ptp(wave)) + 1e-6)
    grey = Image.fromarray((level * 255).astype(np.uint8)).resize(
        job.size, Image.Resampling.BICUBIC
    )
    return tone.duotone(grey.convert("RGB"), colours.ink, colours.ground, colours.accents[0])

"""From an object to the image of it: phase contrast, relief, fluorescence blur, camera.

Lengths are in micrometres; images are float64 arrays (rows, columns).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter

Image = NDArray[np.float64]

WAVELENGTH_UM = 0.55
FULL_SCALE_ELECTRONS = 30_000.0
READ_NOISE_ELECTRONS = 12.0


@dataclass(frozen=True)
class PhaseOptics:
    """A phase-contrast microscope.

    `ring_transmission` is the amplitude that the phase ring lets through; `halo_um` the width of
    the halo, which is long where the ring is narrow; `resolution_um` the standard deviation of the
    point spread; `relief` an asymmetry of the pupil, as of a misaligned annulus: 0 none, 1 strong;
    `stray` the share of light that carries no image.
    """

    pixel_um: float
    ring_transmission: float = 0.85
    stray: float = 0.25
    halo_um: float = 4.0
    resolution_um: float = 0.42
    relief: float = 0.0
    relief_angle: float = 0.8


def phase_contrast(phase: Image, optics: PhaseOptics, defocus_um: float = 0.0) -> Image:
    """The image of a phase object, 1.0 where there is none.

    `phase` is the optical delay in radians. The wave exp(i phase) passes a pupil in which the low
    frequencies (the direct light and what is scattered into the ring) are retarded by a quarter of
    a wave and dimmed (Zernike 1942); the softness of that region makes the halo and the shade-off,
    and thick cells turn bright by themselves as their delay passes half a wave.
    """
    rows, columns = phase.shape
    wave = fft.fft2(np.exp(1j * phase))
    pupil = _pupil(rows, columns, optics, round(defocus_um, 6))
    field = fft.ifft2(wave * pupil)
    seen = np.square(field.real) + np.square(field.imag)
    return (1 - optics.stray) * seen + optics.stray


@lru_cache(maxsize=8)
def _pupil(
    rows: int, columns: int, optics: PhaseOptics, defocus_um: float
) -> NDArray[np.complex128]:
    y = fft.fftfreq(rows, optics.pixel_um)[:, None]
    x = fft.fftfreq(columns, optics.pixel_um)[None, :]
    squared = y**2 + x**2
    direct = np.exp(-2 * np.pi**2 * optics.halo_um**2 * squared)
    ring = (1 - direct) / optics.ring_transmission - 1j * direct
    along = y * np.sin(optics.relief_angle) + x * np.cos(optics.relief_angle)
    asymmetry = 1 + 1j * optics.relief * np.tanh(5 * along * optics.halo_um)
    blur = np.exp(-2 * np.pi**2 * optics.resolution_um**2 * squared)
    focus = np.exp(-1j * np.pi * WAVELENGTH_UM * defocus_um * squared)
    # Light from a condenser annulus is partly coherent: far from focus fine detail fades.
    fading = np.exp(-2 * (np.pi * 0.12 * defocus_um) ** 2 * squared)
    return ring * asymmetry * blur * focus * fading


def fluorescence(
    density: Image,
    pixel_um: float,
    defocus_um: float,
    resolution_um: float = 0.35,
    veiled: float = 0.15,
) -> Image:
    """The image of a dye distribution: a sharp part and the veil of what is out of focus.

    `veiled` is the share of the light in the veil; a confocal pinhole keeps most of it out.
    """
    sharp = np.hypot(resolution_um, 0.35 * abs(defocus_um)) / pixel_um
    veil = gaussian_filter(density, 6.0 / pixel_um, truncate=3)
    return (1 - veiled) * gaussian_filter(density, sharp, truncate=3) + veiled * veil


@dataclass(frozen=True)
class Illumination:
    """How the light falls: a gain, and a smooth bowl whose centre need not be the image's."""

    gain: float = 1.0
    falloff: float = 0.0
    centre: tuple[float, float] = (0.0, 0.0)
    slope: tuple[float, float] = (0.0, 0.0)

    def field(self, rows: int, columns: int) -> Image:
        """Relative brightness, (rows, columns)."""
        y = np.linspace(-1, 1, rows)[:, None]
        x = np.linspace(-1, 1, columns)[None, :]
        bowl = (y - self.centre[0]) ** 2 + (x - self.centre[1]) ** 2
        tilt = self.slope[0] * y + self.slope[1] * x
        return np.maximum(self.gain * (1 - self.falloff * bowl + tilt), 0.02)


def expose(light: Image, noise: float, rng: np.random.Generator) -> Image:
    """Photoelectrons counted by a camera, as a share of its full well, clipped to 0-1.

    `light` is the expected share. Shot noise and read noise of a camera with 30 000 electrons full
    well, times `noise`.
    """
    electrons = np.clip(light, 0, None) * FULL_SCALE_ELECTRONS
    spread = noise * np.sqrt(electrons + READ_NOISE_ELECTRONS**2)
    counted = electrons + spread * rng.standard_normal(light.shape)
    return np.clip(counted / FULL_SCALE_ELECTRONS, 0, 1)

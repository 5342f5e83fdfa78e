"""An autoencoder of a diffusion pipeline: a network from pixels to latents, one back, and how software cuts what they read.

A video is decoded a few latent frames at a time, and a large picture in tiles that overlap; each is a run of the whole network.
Sources: Rombach et al. 2021 (latent diffusion), arXiv:2112.10752, section 3.1; diffusers 0.42, models/autoencoders/.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from floorline.num import Num, ceil, floor, maximum, number, where
from floorline.result import Result
from floorline.tiles import tiles_along, whole_tiles
from floorline.transformer import Transformer


@dataclass(frozen=True)
class Run:
    """Frames that a network reads at once.

    frames  of the video, or of its latents [-]
    times   how often so many are read [-]
    first   1 where they begin with the first frame of the video, else 0 [-]
    """

    frames: Num
    times: Num = 1.0
    first: Num = 1.0


class FrameCut(ABC):
    """How a video is cut along time (abstract; every kind below is final).

    keeps  whether convolutions keep the last frames that they read for the next run
    """

    keeps: ClassVar[bool] = False

    @abstractmethod
    def runs(self, frames: Num) -> tuple[Run, ...]:
        """All runs over so many frames; those that are not there have no times."""


@dataclass(frozen=True)
class AllFrames(FrameCut):
    """Every frame at once.

    >>> AllFrames().runs(16.0)
    (Run(frames=16.0, times=1.0, first=1.0),)
    """

    def runs(self, frames: Num) -> tuple[Run, ...]:
        return (Run(frames),)


@dataclass(frozen=True)
class FramesTogether(FrameCut):
    """So many frames together, and what is left over with the first of them.

    Source: diffusers, autoencoder_kl_cogvideox.py, ``_decode``: 13 latent frames are 3, then five times 2.

    >>> [(run.frames, run.times) for run in FramesTogether(2.0).runs(13.0)]
    [(3.0, 1.0), (2.0, 5.0)]
    """

    keeps: ClassVar[bool] = True
    together: float

    def runs(self, frames: Num) -> tuple[Run, ...]:
        batches = maximum(number(floor(frames / self.together)), 1.0)
        later = number(batches - 1.0)
        return Run(number(frames - later * self.together)), Run(self.together, later, 0.0)


@dataclass(frozen=True)
class FirstFrameAlone(FrameCut):
    """The first frame by itself, then so many at a time; those that do not fill a run are not read.

    Source: diffusers, autoencoder_kl_wan.py, ``_encode`` and ``_decode``: 81 frames are 1, then twenty times 4.

    >>> [(run.frames, run.times) for run in FirstFrameAlone(4.0).runs(81.0)]
    [(1.0, 1.0), (4.0, 20.0)]
    """

    keeps: ClassVar[bool] = True
    together: float

    def runs(self, frames: Num) -> tuple[Run, ...]:
        return Run(1.0), Run(self.together, number(floor((frames - 1.0) / self.together)), 0.0)


@dataclass(frozen=True)
class FramesOverlap(FrameCut):
    """Windows of frames that overlap, where there are more than so many; each begins as the first does.

    most    frames that are read at once where there are no more
    size    frames of a window
    stride  frames from one window to the next

    Source: diffusers, autoencoder_kl_hunyuan_video.py, ``_temporal_tiled_decode``.

    >>> [(run.frames, run.times) for run in FramesOverlap(4.0, 5.0, 3.0).runs(7.0) if run.times > 0.0]
    [(5.0, 1.0), (4.0, 1.0), (1.0, 1.0)]
    """

    most: float
    size: float
    stride: float

    def runs(self, frames: Num) -> tuple[Run, ...]:
        cut = where(number(frames) > self.most, 1.0, 0.0)
        windows = tiles_along(frames, self.size, self.stride)
        return Run(frames, number(1.0 - cut)), *(Run(extent, number(times * cut)) for extent, times in windows)


@dataclass(frozen=True)
class WholeWindows(FrameCut):
    """Windows of frames that overlap, whole ones only; each begins as the first does.

    Source: diffusers, autoencoder_kl_allegro.py, ``tiled_decode``: 22 latent frames are five times 6.

    >>> WholeWindows(6.0, 4.0).runs(22.0)
    (Run(frames=6.0, times=5.0, first=1.0),)
    """

    size: float
    stride: float

    def runs(self, frames: Num) -> tuple[Run, ...]:
        return (Run(*whole_tiles(frames, self.size, self.stride)),)


@dataclass(frozen=True)
class Tile:
    """Tiles along one side, where a picture is larger than one.

    size      of a tile
    stride    from one to the next
    multiple  that the extent of a tile is filled up to
    above     side of a picture above which there are tiles, None for that of a tile
    whole     whether the last tile is a whole one too, and what is left over is not read
    """

    size: float
    stride: float
    multiple: float = 1.0
    above: float | None = None
    whole: bool = False

    def cuts(self, length: Num) -> object:
        """Whether a side is long enough to be cut."""
        return number(length) > (self.size if self.above is None else self.above)

    def along(self, length: Num) -> tuple[tuple[Num, Num], ...]:
        """Extents of tiles, and how often each is there."""
        if self.whole:
            return (whole_tiles(length, self.size, self.stride),)
        return tuple(
            (number(ceil(extent / self.multiple) * self.multiple), times)
            for extent, times in tiles_along(length, self.size, self.stride)
        )


@dataclass(frozen=True)
class Cuts:
    """How a library cuts what one of the two networks reads.

    frames         along time, always
    height, width  into tiles, where they are asked for; None where there is no such choice
    always         whether there are tiles where nobody asks too: the library knows no other way
    uncut          names of the blocks that read everything at once, before it is cut or after it is joined
    """

    frames: FrameCut = field(default_factory=AllFrames)
    height: Tile | None = None
    width: Tile | None = None
    always: bool = False
    uncut: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Autoencoder(Result):
    """Pixels to latents and back.

    name             as the catalogue or the configuration calls it
    encoder, decoder the two networks, as stacks of blocks
    down             pixels of a latent along each side [-]
    frames           frames of a latent frame [-]
    first            1 where the first frame has a latent frame of its own, else 0 [-]
    latent_channels  numbers of a latent [-]
    encoding, decoding  how the library cuts pixels, and latents
    patch            pixels along each side that are one element of what the encoder reads [-]
    still            whether each frame of a video is a picture by itself
    config           the configuration as it was read
    source           where it was read
    """

    name: str
    encoder: Transformer
    decoder: Transformer
    down: Num
    frames: Num = 1.0
    first: Num = 0.0
    latent_channels: Num = 4.0
    encoding: Cuts = field(default_factory=Cuts)
    decoding: Cuts = field(default_factory=Cuts)
    patch: Num = 1.0
    still: bool = True
    config: Mapping[str, object] = field(default_factory=dict, repr=False)
    source: str = ""

    @property
    def parameters(self) -> Num:
        """Parameters of both networks [-]."""
        return self.encoder.parameter_count().total + self.decoder.parameter_count().total

    def answer(self) -> Mapping[str, Any]:
        """The autoencoder in short."""
        return {
            "name": self.name,
            "source": self.source,
            "down": self.down,
            "frames": self.frames,
            "latent_channels": self.latent_channels,
            "parameters": self.parameters,
        }

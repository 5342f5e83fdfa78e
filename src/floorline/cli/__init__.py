"""The command line."""

from __future__ import annotations

from floorline.cli.main import main

__all__ = ["main"]

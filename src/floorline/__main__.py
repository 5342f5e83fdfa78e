"""``python -m floorline``."""

from __future__ import annotations

import sys

from floorline.cli.main import main

sys.exit(main())

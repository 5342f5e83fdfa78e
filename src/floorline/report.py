"""The envelope of every ``--json`` answer: schema version, inputs, calibration, provenance, and the answer itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from floorline import __version__
from floorline.result import exact

SCHEMA_VERSION = 1


def envelope(command: str, inputs: Mapping[str, object], answer: Mapping[str, Any], **more: object) -> dict[str, Any]:
    """What every answer has around it.

    calibration has the digest of what its expected times were fitted to, several joined by +; null where it has none.
    """
    head = {"schema_version": SCHEMA_VERSION, "floorline": __version__, "command": command}
    given = {k: v for k, v in inputs.items() if v is not None and k != "json"}
    provenance = more.get("provenance")
    fitted = provenance.get("calibrations", {}) if isinstance(provenance, Mapping) else {}
    digest = "+".join(dict.fromkeys(each for each in fitted.values() if each)) or None
    found: dict[str, Any] = exact({**head, "inputs": given, "calibration": digest, **answer, **more})
    return found

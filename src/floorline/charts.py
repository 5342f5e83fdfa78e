"""Charts as Vega-Lite JSON: one grammar for files, notebooks, docs and pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from floorline.crossings import Crossing
from floorline.errors import BadInput
from floorline.rooflines import Point, Roof, Roofline
from floorline.validation.report import Validation
from floorline.waterfalls import Waterfall

SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
Chart = dict[str, Any]

FEW = 12
"""Kernels that a legend can name."""


def roofline(found: Roofline) -> Chart:
    """Attainable rate over arithmetic intensity, both logarithmic: the roof, that of the last-level cache where it is known, and a
    point for each kernel at what it may reach, or at what it did reach where that was measured.

    >>> from floorline.rooflines import Point, Roof
    >>> chart = roofline(Roofline(Roof("a", "bf16", 312e12, 1.5e12), (Point("matmul", 2e12, 1e9),)))
    >>> [layer["mark"]["type"] for layer in chart["layer"]]
    ['line', 'point']
    """
    roof = found.roof
    placed = [p for p in found.points if float(p.flops) > 0.0 and float(p.bytes) > 0.0]
    reach, balance = [float(p.intensity) for p in placed], float(roof.balance)
    low, high = min([balance / 100.0, *reach]) / 2.0, max([balance * 10.0, *reach]) * 2.0
    lines = line("memory", low, high, balance, float(roof.peak), float(roof.bandwidth))
    if not np.isnan(float(roof.cache)):
        lines += line("last-level cache", low, high, float(roof.cache_balance), float(roof.peak), float(roof.cache))
    x = logarithmic("intensity", "arithmetic intensity [FLOP/B]", {"domain": [low, high]})
    top = max([float(roof.peak), *(float(p.rate) for p in placed if not np.isnan(float(p.rate)))])
    y = logarithmic("rate", f"rate [FLOP/s], {roof.form}", {"domainMax": 2.0 * top})
    few = len(placed) <= FEW
    shown = {"field": "name" if few else "bound", "type": "nominal", "title": "kernel" if few else "bound by"}
    tips = {"name": "kernel", "bound": "bound by"}
    amounts = {"intensity": "FLOP/B", "rate": "FLOP/s", "flops": "FLOP", "bytes": "B"}
    tooltip = [{"field": k, "title": v} for k, v in tips.items()]
    tooltip += [{"field": k, "title": v, "format": ".4~s"} for k, v in amounts.items()]
    dash = {"field": "roof", "type": "nominal", "title": "roof"}
    return {
        "$schema": SCHEMA,
        "title": f"{found.title} on {roof.name}" if found.title else roof.name,
        "width": 640,
        "height": 400,
        "layer": [
            {"data": {"values": lines}, "mark": {"type": "line"}, "encoding": {"x": x, "y": y, "strokeDash": dash}},
            {
                "data": {"values": [point(p, roof) for p in placed]},
                "mark": {"type": "point", "filled": True, "size": 60},
                "encoding": {"x": x, "y": y, "color": shown, "tooltip": tooltip},
            },
        ],
    }


def predicted(found: Validation) -> Chart:
    """Expected against measured values of runs or kernels, both logarithmic, a panel for each metric: points of one source in one
    colour, beside the line where both are equal.

    >>> predicted(Validation(()))["hconcat"]
    []
    """
    panels = []
    for metric in dict.fromkeys(row.metric for row in found.rows if row.error is not None):
        rows = [row for row in found.rows if row.metric == metric and row.error is not None]
        values = [
            {
                "case": row.case,
                "source": row.source,
                "measured": row.measured,
                "expected": row.expected,
                "error": row.error,
            }
            for row in rows
        ]
        ends = [f(f(row.measured, row.expected or row.measured) for row in rows) for f in (min, max)]
        x, y = (logarithmic(name, f"{name} {metric}", {}) for name in ("measured", "expected"))
        tips = [{"field": "case"}, {"field": "source"}]
        tips += [
            {"field": name, "type": "quantitative", "format": ".3~g"} for name in ("measured", "expected", "error")
        ]
        equal = {"values": [{"measured": end, "expected": end} for end in ends]}
        colour = {"field": "source", "type": "nominal", "title": "source"}
        dots = {"type": "point", "filled": True, "size": 25, "opacity": 0.6}
        panels.append(
            {
                "width": 320,
                "height": 320,
                "layer": [
                    {"data": equal, "mark": {"type": "line", "color": "gray"}, "encoding": {"x": x, "y": y}},
                    {
                        "data": {"values": values},
                        "mark": dots,
                        "encoding": {"x": x, "y": y, "color": colour, "tooltip": tips},
                    },
                ],
            }
        )
    return {"$schema": SCHEMA, "title": "expected against measured", "hconcat": panels}


def waterfall(fall: Waterfall) -> Chart:
    """The way from one time to another: both as bars from zero, and between them a bar for each kind of work, where it stands.

    >>> from floorline.waterfalls import Change
    >>> way = waterfall(Waterfall("a", "b", "latency", "serial", 1.0, 1.5, (Change("matmul", 0.5, 1.0, 1.0, 1.5),)))
    >>> [(x["step"], x["begins"], x["ends"]) for x in way["data"]["values"]]
    [('a', 0.0, 1.0), ('matmul', 1.0, 1.5), ('b', 0.0, 1.5)]
    """
    ends = [(fall.first, fall.start), (fall.second, fall.end)]
    whole = [{"step": name, "begins": 0.0, "ends": time, "change": time, "what": "time"} for name, time in ends]
    steps = [
        {
            **{"step": x.kind, "begins": x.begins, "ends": x.ends, "change": x.change},
            "what": "longer" if x.change >= 0.0 else "shorter",
        }
        for x in fall.changes
    ]
    values = [whole[0], *steps, whole[1]]
    colours = {"domain": ["time", "longer", "shorter"], "range": ["#79808b", "#c4523c", "#3b8a5a"]}
    tips = [{"field": "step", "title": "step"}, {"field": "change", "title": "seconds", "format": ".4~s"}]
    return {
        "$schema": SCHEMA,
        "title": f"{fall.by} {fall.what}: {fall.first} to {fall.second}",
        "width": 640,
        "height": 400,
        "data": {"values": values},
        "mark": {"type": "bar"},
        "encoding": {
            "x": {"field": "step", "type": "nominal", "sort": None, "title": None, "axis": {"labelAngle": -30}},
            "y": {"field": "begins", "type": "quantitative", "title": "time [s]", "axis": {"format": "~s"}},
            "y2": {"field": "ends"},
            "color": {"field": "what", "type": "nominal", "title": None, "scale": colours},
            "tooltip": tips,
        },
    }


def crossing(found: Crossing, grown: Sequence[float]) -> Chart:
    """FLOP of two parts over what grows, both logarithmic, with a rule where they meet.

    >>> from floorline.crossings import crossing as where
    >>> from floorline.specs.module_sizes import ModuleSizes
    >>> chart = crossing(where(ModuleSizes(hidden_size=1536)), (1024.0, 3072.0, 8192.0))
    >>> [v["flops"] for v in chart["layer"][0]["data"]["values"] if v["tokens"] == 3072.0]
    [115964116992.0, 115964116992.0]
    """
    amounts = [found.flops(x) for x in grown]
    values = [
        {found.over: x, "flops": float(both[i]), "part": side.name, "formula": side.formula}
        for i, side in enumerate((found.first, found.second))
        for x, both in zip(grown, amounts, strict=True)
    ]
    x, y = logarithmic(found.over, found.over, {}), logarithmic("flops", "forward pass [FLOP]", {})
    parts = {"field": "part", "type": "nominal", "title": "part"}
    tips = [{"field": "part"}, {"field": "formula"}]
    tips += [{"field": name, "type": "quantitative", "format": ".4~s"} for name in (found.over, "flops")]
    inside = [{found.over: float(found.at)}] if grown[0] <= float(found.at) <= grown[-1] else []
    line = {"type": "line", "point": True}
    return {
        "$schema": SCHEMA,
        "title": f"{found.first.name} against {found.second.name}",
        "width": 640,
        "height": 400,
        "layer": [
            {"data": {"values": values}, "mark": line, "encoding": {"x": x, "y": y, "color": parts, "tooltip": tips}},
            {"data": {"values": inside}, "mark": {"type": "rule", "strokeDash": [4, 4]}, "encoding": {"x": x}},
        ],
    }


def logarithmic(field: str, title: str, more: Mapping[str, object]) -> Chart:
    """An axis."""
    scale = {"type": "log", **more}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": {"format": "~s"}}


def point(p: Point, roof: Roof) -> Chart:
    """A kernel: where it stands, and what its tooltip says."""
    rate = float(roof.attainable(p.intensity) if np.isnan(float(p.rate)) else p.rate)
    amounts = {"intensity": float(p.intensity), "rate": rate, "flops": float(p.flops), "bytes": float(p.bytes)}
    return {"name": p.name, "bound": roof.bound(p), **amounts}


def line(name: str, low: float, high: float, balance: float, peak: float, bandwidth: float) -> list[dict[str, Any]]:
    """A roof: up along the bandwidth to the balance, then flat."""
    corners = [low, min(max(balance, low), high), high]
    return [{"roof": name, "intensity": at, "rate": min(peak, bandwidth * at)} for at in corners]


def save(chart: Chart, path: str) -> None:
    """Write a chart to a file: .json as it is, .svg or .png drawn (needs vl-convert-python).

    raises BadInput for another ending, or where the drawing library is missing
    """
    import json
    from pathlib import Path

    kind, folder = Path(path).suffix, Path(path).parent
    if not folder.is_dir():
        raise BadInput(f"{path}: there is no folder {folder}; expected one that exists")
    if kind == ".json":
        Path(path).write_text(json.dumps(chart, indent=1) + "\n", encoding="utf-8")
        return
    if kind not in (".svg", ".png"):
        raise BadInput(f"{path}: charts are written as .svg, .png or .json; expected such as roofline.svg")
    try:
        import vl_convert
    except ImportError:
        raise BadInput(
            f"{path}: drawing needs vl-convert-python; try 'pip install floorline[charts]', or write .json"
        ) from None
    if kind == ".svg":
        Path(path).write_text(vl_convert.vegalite_to_svg(chart), encoding="utf-8")
    else:
        Path(path).write_bytes(vl_convert.vegalite_to_png(chart, scale=2.0))

"""The page of ``robo assess``: one HTML file that needs nothing else, not even a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from robo.media.theme import FAILURE, SUCCESS
from robo.robots.charts import brief, css, intervals, line_css, lines, svg, text
from robo.storage import plain, write_bytes

FIGURES = {
    "voc_plus": ("VOC+", "order in time, successes"),
    "voc_minus": ("VOC-", "the same, played backwards"),
    "voc_failures": ("VOC+, failures", "order in time of failures"),
    "voc_minus_failures": ("VOC-, failures", "the same, played backwards"),
    "monotonicity": ("monotone", "share of steps that rise, successes"),
    "progress_mae": ("error", "mean absolute error of progress"),
    "kendall_tau_b": ("tau-b", "Kendall, with true progress or success"),
    "ranking_accuracy": ("ranked right", "pairs of episodes, ties half"),
    "mmrv": ("MMRV", "rank violation between actors"),
    "auc": ("AUC", "success against failure"),
    "false_positive_rate": ("false positives", "failures passing where 95 % of successes do"),
    "smd": ("SMD", "standardised mean difference"),
    "mmd": ("MMD", "maximum mean discrepancy, squared"),
    "js": ("JS", "Jensen-Shannon divergence, nats"),
    "brier": ("Brier", "score as a probability of success"),
    "ece": ("ECE", "expected calibration error"),
}
"""Name of a figure to its heading and what it says, in the order of the tables."""
PROBES = {
    "frozen_frame": "successes seen by a camera that hangs at the first frame",
    "blank_camera": "successes seen by black cameras",
    "view_dropped": "one view black, the worst",
    "view_swapped": "two views exchanged",
    "goal_pasted": "failures with a photograph of the goal in the picture",
    "wrong_instruction": "successes under another task's instruction",
    "time_reversed": "successes played backwards",
    "near_miss": "successes cut before they succeed",
    "loop_income": "circling on the way to a success",
    "idle_income": "standing still on the way to a success",
}
"""Name of a probe to what it shows, in the order of the table."""
STYLE = """
main { max-width: 1280px; } td.bad { color: var(--bad); } td.good { color: var(--good); }
td.none, small { color: var(--muted); } td.number, th.number { text-align: right;
  font-variant-numeric: tabular-nums; } small { display: block; font-size: 11px; font-weight: 400; }
td.name { min-width: 150px; overflow-wrap: anywhere; } th { vertical-align: bottom; }
.word { font-size: 11px; font-weight: 700; text-transform: uppercase; letter-spacing: .06em; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(400px, 1fr)); gap: 18px; }
.charts h3, p { overflow-wrap: anywhere; } .dot { fill-opacity: .65; }
td.shade { text-align: center; min-width: 64px; } .key { display: inline-block; width: 11px;
  height: 11px; border-radius: 3px; margin: 0 6px 0 14px; }
"""


def write_page(path: Path, result: dict[str, Any]) -> None:
    """Write the page of a result of :func:`robo.assess.report.assess_rewards`."""
    result = plain(result)
    assessed = {n: r for n, r in result["rewards"].items() if "refused" not in r}
    style = (resources.files("robo.robots") / "assets" / "report.css").read_text() + STYLE
    sections = [
        _head(result),
        _probes(result["rewards"]),
        _figures(assessed),
        _scores(assessed, result["outcomes"]),
        _curves(assessed),
        _distances(result),
        _language(assessed),
        _goodhart(result.get("goodhart") or {}),
        _method(result),
    ]
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<title>robo: rewards assessed</title><link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )
    write_bytes(path, page.encode())


def _head(result: dict[str, Any]) -> str:
    actors = ", ".join(f"{count} by {name}" for name, count in result["actors"].items())
    return (
        f"<header><h1>{len(result['rewards'])} rewards on {result['episodes']} episodes</h1>"
        f"<p>{text(', '.join(result['tasks']))}. {result['successes']} successes, "
        f"{result['episodes'] - result['successes']} failures; {text(actors)}. Discount "
        f"{result['gamma']:g}, time-outs: {text(result.get('timeout', 'bootstrap'))}. "
        f"{time.strftime('%Y-%m-%d %H:%M')}</p></header>"
    )


def _name(name: str, below: str = "") -> str:
    return f"<td class=name><code>{text(name)}</code>{below}</td>"


def _columns(headings: Sequence[tuple[str, str]]) -> str:
    cells = "".join(f"<th class=number>{text(h)}<small>{text(s)}</small></th>" for h, s in headings)
    return f"<thead><tr><th></th>{cells}</tr></thead>"


def _probes(rewards: dict[str, Any]) -> str:
    """A row per reward: what fools it."""
    rows = refused = ""
    for name, found in rewards.items():
        if "refused" in found:
            refused += f"<p class=note><code>{text(name)}</code>: {text(found['refused'])}</p>"
            continue
        colour, word = ("bad", "caught") if found["caught"] else ("good", "not caught")
        verdict = f"<div class=word style='color: var(--{colour})'>{word}</div>"
        probes = {probe["name"]: probe for probe in found["probes"]}
        cells = "".join(_probe_cell(probes.get(probe)) for probe in PROBES)
        rows += f"<tr>{_name(name, verdict)}{cells}</tr>"
    columns = _columns([(name.replace("_", " "), what) for name, what in PROBES.items()])
    return (
        f"<section><h2>Hacking probes</h2><table>{columns}<tbody>{rows}</tbody></table>{refused}"
        "<p class=note>Pictures: the share of episodes, none of them a success, that score like "
        "one. Income: what each further step of circling or standing earns, as a share of what a "
        "success is paid, and in how many episodes going on for ever beats finishing. Red: "
        "caught. A dash: the probe does not apply, since the reward does not read what it changes "
        "or scores failures too little to pass whatever they show; the cell says "
        "which.</p></section>"
    )


def _probe_cell(probe: dict[str, Any] | None) -> str:
    if probe is None or not probe["applies"]:
        note = "there is no success" if probe is None else probe["note"]
        return f"<td class='number none' title='{text(note)}'>-</td>"
    kind = "bad" if probe["caught"] else "good"
    if probe["income"] is not None:
        value = f"{probe['income']:+.2g} a step"
        small = f"preferred in {probe['preferred']:.0%}"
    else:
        value = "-" if probe["fooled"] is None else f"{probe['fooled']:.0%} pass"
        small = f"score moves {probe['change'] or 0:.0%}"
        if probe["lost"] is not None:
            small = f"{probe['lost']:.0%} of successes lost ({probe['note']})"
    return f"<td class='number {kind}'>{value}<small>{text(small)}</small></td>"


def _figures(assessed: dict[str, Any]) -> str:
    drawn = ""
    for name, low, zero in (("auc", 0.0, 0.5), ("voc_plus", -1.0, 0.0)):
        points = [
            (brief(reward, 22), f["value"], f["low"], f["high"], line_css(i))
            for i, (reward, r) in enumerate(assessed.items())
            if (f := r["figures"][name])["value"] is not None and f["low"] is not None
        ]
        if points:
            title = f"{FIGURES[name][0]}: {FIGURES[name][1]}"
            drawn += f"<div><h3>{title}</h3>{intervals(points, low, 1.0, title, zero)}</div>"
    tables, names = "", list(FIGURES)
    for part in (names[:8], names[8:]):
        rows = ""
        for reward, found in assessed.items():
            cells = "".join(_figure_cell(found["figures"][name]) for name in part)
            rows += f"<tr>{_name(reward)}{cells}</tr>"
        tables += f"<table>{_columns([FIGURES[n] for n in part])}<tbody>{rows}</tbody></table>"
    sources = "; ".join(f"{text(n)}: {r['progress_source']}" for n, r in assessed.items())
    return (
        f"<section><h2>Figures</h2><div class=charts>{drawn}</div>{tables}<p class=note>95 % "
        "bootstrap intervals over episodes. A dash: undefined, and the cell says why. What counts "
        f"as the score, by reward: {sources}.</p></section>"
    )


def _figure_cell(found: dict[str, Any]) -> str:
    if found["value"] is None:
        return f"<td class='number none' title='{text(found['note'])}'>-</td>"
    small = ""
    if found["low"] is not None:
        small = f"<small>{found['low']:.3g} to {found['high']:.3g}</small>"
    return f"<td class=number>{found['value']:.3g}{small}</td>"


def _scores(assessed: dict[str, Any], outcomes: Sequence[bool]) -> str:
    """Scores of all episodes as dots, successes above failures."""
    drawn = ""
    for name, found in assessed.items():
        known = [(s, ok) for s, ok in zip(found["scores"], outcomes, strict=True) if s is not None]
        if known:
            picture = strip(known, found["threshold"], f"scores of {name}")
            drawn += f"<div><h3><code>{text(name)}</code></h3>{picture}</div>"
    return (
        f"<section><h2>Scores</h2>{_legend()}<div class=charts>{drawn}</div><p class=note>Each dot "
        "is an episode. The dashed line is the operating threshold.</p></section>"
    )


def _legend() -> str:
    return (
        f"<p class=note><span class=key style='background: {css(SUCCESS)}'></span>success"
        f"<span class=key style='background: {css(FAILURE)}'></span>failure</p>"
    )


def strip(known: Sequence[tuple[float, bool]], threshold: float | None, label: str) -> str:
    """Scores on one axis, successes in the upper row."""
    left, right, width = 20, 700, 720
    values = [value for value, _ in known] + ([] if threshold is None else [threshold])
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return left + (right - left) * (value - low) / span

    parts = []
    for i in range(5):
        value = low + span * i / 4
        parts.append(
            f'<line class="grid" x1="{at(value):.1f}" x2="{at(value):.1f}" y1="6" y2="96"/>'
        )
        parts.append(f'<text x="{at(value):.1f}" y="116" class="tick">{value:.3g}</text>')
    for i, (value, success) in enumerate(known):
        y = (28 if success else 74) + 14 * ((i * 0.618) % 1 - 0.5)  # spread without chance
        colour = css(SUCCESS if success else FAILURE)
        parts.append(
            f'<circle class="dot" cx="{at(value):.1f}" cy="{y:.1f}" r="5" fill="{colour}"/>'
        )
    if threshold is not None:
        x = at(threshold)
        parts.append(f'<line class="zero" x1="{x:.1f}" x2="{x:.1f}" y1="2" y2="100"/>')
    return svg(124, label, parts, width)


def _curves(assessed: dict[str, Any]) -> str:
    drawn = ""
    for name, found in assessed.items():
        curves = [c for c in found["curves"] if None not in c["progress"]]
        if not curves:
            continue
        values = [v for c in curves for v in c["progress"]]
        series = [
            (range(len(c["progress"])), c["progress"], css(SUCCESS if c["success"] else FAILURE))
            for c in curves
        ]
        longest = max(len(c["progress"]) for c in curves) - 1
        limits = (min(0.0, *values), max(values) if max(values) > min(0.0, *values) else 1.0)
        picture = lines(
            series,
            f"{found['progress_source']} of {name} over time",
            x_range=(0.0, float(longest)),
            y_range=limits,
            x_name="steps",
            opacity=0.8,
        )
        drawn += (
            f"<div><h3><code>{text(name)}</code>: {found['progress_source']}</h3>{picture}</div>"
        )
    return f"<section><h2>Over time</h2>{_legend()}<div class=charts>{drawn}</div></section>"


def _matrix(names: Sequence[str], matrix: Sequence[Sequence[float | None]], label: str) -> str:
    """A square table, shaded by value; columns go by the number of their row, names are long."""
    known = [v for row in matrix for v in row if v is not None]
    low, high = min(known, default=0.0), max(known, default=1.0)
    rows = ""
    for number, (name, row) in enumerate(zip(names, matrix, strict=True), start=1):
        cells = ""
        for value in row:
            if value is None:
                cells += "<td class='shade none'>-</td>"
                continue
            share = (value - low) / ((high - low) or 1.0)
            cells += (
                f"<td class=shade style='background: rgba(88,166,255,{0.55 * share:.2f})'>"
                f"{value:.3f}</td>"
            )
        rows += f"<tr>{_name(f'{number}. {name}')}{cells}</tr>"
    columns = _columns([(str(number), "") for number in range(1, len(names) + 1)])
    return f"<table aria-label='{text(label)}'>{columns}<tbody>{rows}</tbody></table>"


DISTANCES = {
    "epic": "EPIC, sampled: invariant to scale and shaping; asks for transitions that the "
    "simulator may never make",
    "dard": "DARD, sampled: as EPIC, over transitions that the simulator made after resets",
    "starc": "STARC, sampled: value canonicalisation under random actions",
}


def _distances(result: dict[str, Any]) -> str:
    found = result["return_distance"]
    body = "<h3>Episode return correlation distance (not invariant to shaping)</h3>"
    body += _matrix(found["names"], found["matrix"], "return distances")
    for name, what in DISTANCES.items():
        matrix = (result.get("distances") or {}).get(name)
        if matrix is not None:
            body += f"<h3>{what}</h3>"
            body += _matrix(result["distances"]["names"], matrix, f"{name} distances")
    for name, why in ((result.get("distances") or {}).get("left_out") or {}).items():
        body += f"<p class=note><code>{text(name)}</code>, EPIC, DARD and STARC: {text(why)}</p>"
    return f"<section><h2>Distances between the rewards</h2>{body}</section>"


def _language(assessed: dict[str, Any]) -> str:
    drawn = ""
    for name, found in assessed.items():
        heard = found["language"]
        if heard is None:
            continue
        if "note" in heard:
            drawn += f"<p class=note><code>{text(name)}</code>: {text(heard['note'])}</p>"
            continue
        sure, apart = "", ""
        if ends := heard["intervals"]:
            low, high = ends["accuracy"]
            sure = f"; 95 % interval {low:.0%} to {high:.0%}"
            apart = " ({:+.3g} to {:+.3g})".format(*ends["margin"])
        drawn += (
            f"<h3><code>{text(name)}</code>: {heard['accuracy']:.0%} of instructions find their "
            f"own videos (chance {1 / len(heard['instructions']):.0%}{sure}), margin "
            f"{heard['margin']:+.3g}{apart}</h3>"
        )
        drawn += _matrix(heard["instructions"], heard["matrix"], f"language confusion of {name}")
    if not drawn:
        return ""
    return (
        f"<section><h2>Language</h2>{drawn}<p class=note>Rows: the instruction that was given. "
        "Columns: the successes of each instruction.</p></section>"
    )


def _goodhart(runs: dict[str, Any]) -> str:
    """The gap along training runs: z-scored return less z-scored success."""
    drawn = absent = ""
    for i, (name, found) in enumerate(runs.items()):
        if "left_out" in found:
            absent += f"<p class=note><code>{text(name)}</code>: {text(found['left_out'])}</p>"
            continue
        low, high = min(found["gap"]), max(found["gap"])
        picture = lines(
            [(found["step"], found["gap"], line_css(i))],
            f"Goodhart gap of {name}",
            x_range=(found["step"][0], found["step"][-1]),
            y_range=(min(low, -0.5), max(high, 0.5)),
            x_name="steps",
            mark=0.0,
        )
        since = found["divergence_step"]
        said = "no divergence" if since is None else f"diverges from step {since:,}"
        drawn += (
            f"<div><h3><code>{text(name)}</code>: {said}; success {found['final_gold']:.0%} at the "
            f"end, {found['peak_gold']:.0%} at its peak</h3>{picture}</div>"
        )
    if not drawn and not absent:
        return ""
    return (
        f"<section><h2>Goodhart gap of training runs</h2><div class=charts>{drawn}</div>{absent}<p "
        "class=note>z-scored return under the learned reward less z-scored success. It rises "
        "where the reward is had without success.</p></section>"
    )


def _method(result: dict[str, Any]) -> str:
    truth = result.get("truth")
    compared = f"the signal <code>{text(truth)}</code>" if truth else "nothing (success ranks)"
    return (
        "<section><h2>How it was measured</h2><p class=note>Every reward scored the same episodes "
        "as it would have in training. The score of an episode is the progress that the reward "
        "sees in its last state, or, for rewards that tell none, the sum it paid. True progress: "
        f"{compared}. Figures and probes are defined in docs/assess.md.</p></section>"
    )

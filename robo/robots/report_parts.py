"""Sections of the report that read single trials: grid, evidence, judges, timing, safety."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from robo.assess.sequential import log_evidence
from robo.robots.charts import (
    OUTCOME_COLOURS,
    OUTCOME_SIGNS,
    css,
    histogram,
    line_css,
    lines,
    short,
    svg,
    text,
)
from robo.robots.evaluation_record import EvaluationRecord
from robo.robots.report_video import inline_videos
from robo.robots.results import pair_counts
from robo.robots.timing import EDGES

Entry = dict[str, Any]
COLUMNS = 40


def grid(entries: Sequence[Entry], names: Mapping[str, str], place: Mapping[str, int]) -> str:
    """Outcome of every policy from every initial state."""
    outcome = {(entry["code"], entry["block"]): entry for entry in entries}
    blocks = sorted({entry["block"] for entry in entries})
    codes = sorted(place, key=lambda code: place[code])
    cell, left, parts, y = 16, 130, [], 4
    for start in range(0, len(blocks), COLUMNS):
        shown = blocks[start : start + COLUMNS]
        for code in codes:
            name = text(short(names[code], 16))
            parts.append(f'<text x="{left - 8}" y="{y + 12}" class="name">{name}</text>')
            for column, block in enumerate(shown):
                entry = outcome.get((code, block))
                kind = "missing" if entry is None else entry["outcome"]
                state = "" if entry is None else f", initial state {entry['initial_state']}"
                x = left + column * (cell - 2)
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{cell - 4}" height="{cell - 2}" rx="2" '
                    f'fill="{css(OUTCOME_COLOURS[kind])}"><title>{text(names[code])}: {kind}'
                    f"{state}</title></rect>"
                    f'<text x="{x + 6}" y="{y + 11}" class="sign">{OUTCOME_SIGNS[kind]}</text>'
                )
            y += cell
        y += 10
    picture = svg(y, "outcome of every policy from every initial state", parts)
    return (
        f"<section><h2>Initial state by initial state</h2>{picture}<p class=note>A column is one "
        "initial state: ✓ success, ~ partial, ✕ failure, · no valid trial.</p></section>"
    )


def evidence_curve(entries: Sequence[Entry], result: Mapping[str, Any]) -> str:
    """How the evidence of the sequential test grew, for two policies."""
    if len(result["policies"]) != 2:
        return ""
    first, second = (policy["code"] for policy in result["policies"])
    ordered = sorted(entries, key=lambda entry: entry["trial"])
    values = [0.0]
    for count in range(1, len(ordered) + 1):
        counts = pair_counts(ordered[:count], first, second)
        value = 0.0 if counts is None else log_evidence(counts.only_a, counts.only_b)
        values.append(value / math.log(10))
    bound = -math.log10(1 - result["confidence"])
    curve = lines(
        [(range(len(values)), values, line_css(0))],
        "evidence against equal success rates, trial by trial",
        x_range=(0, max(len(values) - 1, 1)),
        y_range=(min(values), max(*values, bound) * 1.1),
        x_name="trials judged",
        mark=bound,
        mark_name=f"decides ({10**bound:.3g})",
        y_text=lambda value: f"{10**value:.3g}",
    )
    return (
        "<section><h2>Evidence as trials came in</h2>"
        f"{curve}<p class=note>Evidence against equal success rates, on a logarithmic scale.</p>"
        "</section>"
    )


def judges(found: Mapping[str, Any] | None) -> str:
    """Agreement of the operator and the GRM."""
    if found is None:
        return ""
    low, high = found["interval"]
    auc = "" if found["auc"] is None else f" AUC of its progress: {found['auc']:.3f}."
    return (
        "<section><h2>Two judges</h2><table class=facts><thead><tr><th></th>"
        "<th>GRM: success</th><th>GRM: failure</th></tr></thead>"
        f"<tr><th>operator: success</th><td>{found['both']}</td><td>{found['first_only']}</td></tr>"
        f"<tr><th>operator: failure</th><td>{found['second_only']}</td><td>{found['neither']}</td>"
        f"</tr></table><p>Alike in {found['agreed']:.1%} of {found['trials']} trials ({low:.1%} to "
        f"{high:.1%}), kappa {found['kappa']:.2f}.{auc}</p></section>"
    )


def timing(entries: Sequence[Entry]) -> str:
    """Punctuality of the control loop over all trials."""
    parts = [entry["timing"] for entry in entries if entry["timing"]["ticks"]]
    if not parts:
        return ""
    ticks = sum(part["ticks"] for part in parts)
    met = sum((part["deadlines_met"] or 0) * part["ticks"] for part in parts) / ticks
    charts = ""
    for name, words in (
        ("jitter", "late beginnings of ticks"),
        ("inference", "time of the policy"),
        ("latency", "from a tick's beginning to its command"),
    ):
        counts = [
            sum(column) for column in zip(*(p[name]["histogram"] for p in parts), strict=True)
        ]
        worst = max((p[name]["p99"] or 0.0 for p in parts), default=0.0)
        charts += f"<h3>{words}: p99 of the worst trial {worst:.2f} ms</h3>"
        charts += histogram(counts, EDGES, words)
    return (
        f"<section><h2>Timing</h2><p>{met:.2%} of {ticks} deadlines met, period "
        f"{parts[0]['period_ms']:g} ms.</p>{charts}</section>"
    )


def safety(journal: Sequence[Entry], entries: Sequence[Entry]) -> str:
    """What the envelope did, in all attempts."""
    counts: Counter[tuple[str, str]] = Counter()
    for entry in journal:
        if entry["kind"] == "trial":
            for event in entry["events"]:
                counts[event["action"], event["kind"]] += event["count"]
    invalid = sum(entry["kind"] == "trial" and entry["outcome"] == "invalid" for entry in journal)
    order = {"stop": 0, "hold": 1, "refuse": 2, "limit": 3}
    rows = "".join(
        f"<tr><td>{text(action)}</td><td>{text(kind)}</td><td>{count}</td></tr>"
        for (action, kind), count in sorted(
            counts.items(), key=lambda item: (order.get(item[0][0], 4), -item[1])
        )
    )
    body = (
        f"<table><thead><tr><th>envelope</th><th>because of</th><th>times</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        if rows
        else "<p>Nothing happened.</p>"
    )
    repeated = f"<p>{invalid} trials were invalid and repeated or left out.</p>" if invalid else ""
    return f"<section><h2>Safety events</h2>{body}{repeated}</section>"


def trials(
    record: EvaluationRecord,
    entries: Sequence[Entry],
    names: Mapping[str, str],
    place: Mapping[str, int],
    rate: float,
) -> str:
    """Every trial with its video, by initial state."""
    ordered = sorted(entries, key=lambda e: (e["block"], place[e["code"]]))
    stored = [entry for entry in ordered if entry.get("episode") is not None]
    videos = dict(
        zip(
            (entry["trial"] for entry in stored),
            inline_videos(record.store, [entry["episode"] for entry in stored], rate),
            strict=True,
        )
    )
    cards = ""
    for entry in ordered:
        code, outcome = entry["code"], entry["outcome"]
        video = videos.get(entry["trial"]) or "<p class=note>no video</p>"
        note = f"<p>{text(entry['note'])}</p>" if entry["note"] else ""
        progress = entry.get("progress")
        seen = "" if progress is None else f", GRM {progress:.2f}"
        cards += (
            f'<article style="border-color:{line_css(place[code])}">{video}'
            f'<p><b class="{outcome}">{OUTCOME_SIGNS[outcome]} {outcome}</b> {text(names[code])}'
            f"<br><span class=note>trial {entry['trial'] + 1}, initial state "
            f"{entry['initial_state']}, {entry['seconds']:.1f} s{seen}</span></p>{note}</article>"
        )
    return f"<section><h2>Trials</h2><div class=cards>{cards}</div></section>"

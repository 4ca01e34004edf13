"""The report: one HTML page that needs nothing else, not even a network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib import resources
from typing import Any

from robo.robots.charts import intervals, line_css, lines, short, text
from robo.robots.evaluation_config import EvaluationConfig
from robo.robots.evaluation_record import EvaluationRecord, finished
from robo.robots.loop import DEFAULT_SECONDS
from robo.robots.report_parts import evidence_curve, grid, judges, safety, timing, trials
from robo.storage import write_bytes

Entry = dict[str, Any]


def write_report(
    record: EvaluationRecord, result: dict[str, Any], config: EvaluationConfig
) -> None:
    """Write ``report.html`` of a finished, unblinded evaluation.

    Args:
        record: with its episodes.
        result: what :func:`robo.robots.evaluation.evaluate_on_robot` returns.
        config: settings of the evaluation.
    """
    entries = list(finished(record.entries).values())
    names = record.codes
    place = {policy["code"]: i for i, policy in enumerate(result["policies"])}
    sections = [
        _head(result, config),
        _policies(result["policies"]),
        _comparisons(result),
        grid(entries, names, place),
        evidence_curve(entries, result),
        _progress(entries, place, config),
        judges(result["judges"]),
        timing(entries),
        safety(record.entries, entries),
        trials(record, entries, names, place, config.loop.rate),
        _method(record, result, config),
    ]
    style = (resources.files("robo.robots") / "assets" / "report.css").read_text()
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>robo: evaluation on {text(config.robot)}</title><link rel="icon" href="data:,">'
        f"<style>{style}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )
    write_bytes(record.report_path, page.encode())


def _head(result: dict[str, Any], config: EvaluationConfig) -> str:
    verdicts = "".join(
        f"<p class='verdict {_css_class(c)}'><b>{text(c['verdict'])}</b> {text(c['sentence'])}</p>"
        for c in result["comparisons"]
    )
    early = " It ended early: the sequential test had decided." if result["stopped_early"] else ""
    left_out = result["left_out"]
    missing = f" {left_out} trials have no valid judgement." if left_out and not early else ""
    return (
        f"<header><h1>Evaluation on {text(config.robot)}</h1><p>{result['judged']} of "
        f"{result['trials']} planned trials judged.{early}{missing} "
        f"{time.strftime('%Y-%m-%d %H:%M')}</p></header>{verdicts}"
    )


def _css_class(comparison: dict[str, Any]) -> str:
    return str(comparison["verdict"]).replace(" ", "-")


def _policies(policies: Sequence[dict[str, Any]]) -> str:
    """Success rates with intervals."""
    rows = [
        (short(p["name"], 24), p["success_rate"], *p["interval"], line_css(i))
        for i, p in enumerate(policies)
    ]
    table = "".join(
        f"<tr><td>{text(p['name'])}</td><td>{p['successes']} of {p['episodes']}"
        f"{_partial(p['partial'])}</td>"
        f"<td>{_range(p['interval'])}</td><td>{_range(p['exact_interval'])}</td>"
        f"<td>{_range(p['posterior_interval'])}</td><td>{p['probability_best']:.1%}</td>"
        f"<td>{p['mean_seconds']:.1f} s</td><td>{p['safety_stops']}</td></tr>"
        for p in policies
    )
    return (
        "<section><h2>Success</h2>"
        + intervals(rows, 0.0, 1.0, "success rates with Wilson intervals")
        + "<table><thead><tr><th>policy</th><th>successes</th><th>Wilson</th><th>exact</th>"
        "<th>posterior</th><th>best with probability</th><th>mean time</th><th>safety stops</th>"
        f"</tr></thead><tbody>{table}</tbody></table>"
        "<p class=note>A partial success counts as a failure here.</p></section>"
    )


def _partial(count: int) -> str:
    return f" ({count} partial)" if count else ""


def _range(bounds: Sequence[float]) -> str:
    return f"{bounds[0]:.1%} to {bounds[1]:.1%}"


def _comparisons(result: dict[str, Any]) -> str:
    """Differences, and every test."""
    if not result["comparisons"]:
        return ""
    rows, table = [], ""
    for i, c in enumerate(result["comparisons"]):
        name = f"{short(c['first'], 11)} - {short(c['second'], 11)}"
        rows.append((name, c["difference"], *c["interval"], line_css(i)))
        table += (
            f"<tr><td>{text(c['first'])}</td><td>{text(c['second'])}</td><td>{c['pairs']}</td>"
            f"<td>{c['both']} / {c['only_a']} / {c['only_b']} / {c['neither']}</td>"
            f"<td>{_range(c['interval'])}</td><td>{c['evidence']:.3g}</td>"
            f"<td>{_range(c['win_share'])}</td><td>{c['mcnemar_p']:.4f}</td>"
            f"<td>{c['barnard_p']:.4f}</td></tr>"
        )
    return (
        "<section><h2>Differences</h2>"
        + intervals(rows, -1.0, 1.0, "differences of success rates", zero=0.0)
        + "<table><thead><tr><th>A</th><th>B</th><th>pairs</th><th>both / only A / only B / "
        "neither</th><th>A - B (Newcombe)</th><th>evidence</th><th>A's share of decided pairs</th>"
        f"<th>McNemar p</th><th>Barnard p</th></tr></thead><tbody>{table}</tbody></table>"
        "<p class=note>The evidence and the share hold at every look. The two p-values and the "
        "interval of the difference are for a number of trials fixed beforehand.</p></section>"
    )


def _progress(entries: Sequence[Entry], place: dict[str, int], config: EvaluationConfig) -> str:
    """The GRM's progress over time, a curve per trial."""
    scored = [entry for entry in entries if entry.get("progress_curve")]
    if not scored:
        return ""
    rate = config.loop.rate
    series = [
        ([s / rate for s in e["progress_steps"]], e["progress_curve"], line_css(place[e["code"]]))
        for e in scored
    ]
    longest = max(x[-1] for x, _, _ in series)
    drawn = lines(
        series,
        "progress of each trial as the reward model sees it",
        x_range=(0.0, longest),
        y_range=(0.0, 1.0),
        x_name="seconds",
        mark=config.judging.grm_threshold,
        mark_name="success from here on",
        opacity=0.55,
    )
    return f"<section><h2>Progress seen by the reward model</h2>{drawn}</section>"


def _method(record: EvaluationRecord, result: dict[str, Any], config: EvaluationConfig) -> str:
    level = 1 - config.comparison.confidence
    rows = {
        "order": "random blocks: every policy once per initial state, in random order",
        "blinding": "policies were known by code until the last trial was judged: "
        + ", ".join(f"{code} = {name}" for code, name in record.codes.items()),
        "judge": config.judging.operator,
        "test": f"sequential, type-1 error {level:.3g}"
        if config.comparison.stop_early
        else f"McNemar, fixed number of trials, type-1 error {level:.3g}",
        "smallest difference that matters": f"{config.comparison.smallest_difference:.0%}; a "
        f"design with a fixed number would need {result['required_trials'] or 'over 400'} trials "
        "of each policy to find it around 50 % (Barnard, power 80 %)",
        "control": f"{config.loop.rate:g} Hz, {config.loop.actions}, inference in "
        f"{config.loop.inference}, time limit {config.loop.seconds or DEFAULT_SECONDS:g} s",
    }
    body = "".join(f"<tr><th>{text(k)}</th><td>{text(v)}</td></tr>" for k, v in rows.items())
    return f"<section><h2>How it was done</h2><table class=facts>{body}</table></section>"

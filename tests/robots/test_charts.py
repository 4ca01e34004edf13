"""Labels of the charts."""

from __future__ import annotations

from robo.robots.charts import brief, short


def test_long_names_keep_what_tells_them_apart() -> None:
    names = [f"{kind}:runs/some/where/grm" for kind in ("grm", "naive", "difference")]
    labels = [brief(name, 16) for name in names]
    assert len(set(labels)) == 3 and all(len(label) == 16 for label in labels)
    assert all(label.endswith("e/grm") for label in labels)
    assert brief("success", 16) == short("success", 16) == "success"
    assert short("runs/some/where/first", 8) == "…e/first"

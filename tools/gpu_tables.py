"""Tables of figures taken on a GPU, which stand in the docs pages."""

from __future__ import annotations

from typing import Any

from figure_tables import Builder, count, decimal, machine, percent, table


def grm_throughput_gpu(data: dict[str, Any]) -> str:
    """Rows of benchmarks/grm_throughput.py --vlm 3b --device cuda."""
    rows = [
        [
            row["name"],
            decimal(row["pairs_per_second"], 1),
            decimal(row["operations_per_pair"] / 1e12, 1) if "operations_per_pair" in row else "",
            percent(row["utilisation"]) if row.get("utilisation") else "",
        ]
        for row in data["rows"]
    ]
    header = ("model and call", "pairs/s", "TFLOP a pair", "model-FLOPs utilisation")
    note = (
        "3b: the shape of Qwen2.5-VL-3B with random weights, eight images of 240 x 320 a pair, "
        "three of them new in a rollout; images to hops, with pre-processing. Caching off: all "
        f"eight are encoded for each pair. Layers' parts compiled. {machine(data)}."
    )
    return f"{table(header, rows)}\n\n{note}"


def language_goal_throughput_gpu(data: dict[str, Any]) -> str:
    """Rows of benchmarks/language_goal_throughput.py --device cuda."""
    rows = [
        [
            row["name"],
            decimal(row["ours"], 0),
            decimal(row["peers"]["one frame per step"], 0),
            f"{decimal(row['ratio_to_best'], 1)} x",
            percent(row["utilisation"]),
        ]
        for row in data["rows"]
    ]
    header = ("model", "frames/s, batched", "one by one", "ratio", "model-FLOPs utilisation")
    note = f"Random weights, resize and normalisation included, layers compiled. {machine(data)}."
    return f"{table(header, rows)}\n\n{note}"


def video_encoder_speed(data: dict[str, Any]) -> str:
    """The figure of benchmarks/video_encoder_speed.py."""
    row = [
        f"V-JEPA 2, {data['shape']}, {data['batch']} clips a pass",
        decimal(data["clips_per_second"], 2),
        count(round(data["tflops"])),
        percent(data["utilisation"]),
    ]
    header = ("encoder", "clips/s", "TFLOP/s", "model-FLOPs utilisation")
    return f"{table(header, [row])}\n\nRandom weights, layers compiled. {machine(data)}."


def carl_network_gpu(data: dict[str, Any]) -> str:
    """The update of benchmarks/carl_network.py --device cuda, and the time of each convolution."""
    row = data["rows"][0]
    (_, plain), *_ = row["peers"].items()
    first = [
        row["name"],
        f"{decimal(row['ours'] * 1e3, 0)} ms",
        f"{decimal(plain * 1e3, 0)} ms",
        f"{decimal(row['convolution_limit'] * 1e3, 0)} ms",
        percent(row["of_convolution_limit"]),
    ]
    header = ("update", "robo", "plain PyTorch loop", "convolutions alone", "share")
    layers = data["limit"]["layers"]
    cells = [
        [
            str(one["layer"]),
            one["pass"],
            f"{one['best'][0]}, {one['best'][1].replace('_', ' ')}",
            f"{decimal(one['seconds'] * 1e6, 0)} µs",
        ]
        for one in layers
    ]
    parts = table(("layer", "pass", "fastest in", "time of one minibatch"), cells)
    note = (
        "Images in the GPU's memory for both sides; ours in bfloat16, compiled; the plain loop "
        f"eager float32, whose convolutions PyTorch lets run in TF32. {machine(data)}."
    )
    return f"{table(header, [first])}\n\n{note}\n\n{parts}"


GPU_BUILDERS: dict[str, Builder] = {
    "grm_throughput_gpu": grm_throughput_gpu,
    "language_goal_throughput_gpu": language_goal_throughput_gpu,
    "video_encoder_speed": video_encoder_speed,
    "carl_network_gpu": carl_network_gpu,
}

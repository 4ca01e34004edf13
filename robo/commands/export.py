"""``robo export``: a trained policy as one file for a robot or another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from robo.errors import RoboError


@dataclass(frozen=True)
class Export:
    """A policy alone as TorchScript, ONNX or safetensors: raw observation in, action out."""

    policy: Path
    """Run folder (its best policy, else its last) or policy folder."""
    format: Literal["torchscript", "onnx", "safetensors"] = "torchscript"
    """torchscript runs without robo, onnx without torch too; safetensors holds the parameters."""
    file: Path | None = None
    """Where to write; None: policy.pt, .onnx or .safetensors in the run folder."""
    samples: int = 16
    """Random observations on which the file is compared with the policy before it is kept."""
    threads: int = 1
    """Threads of torch and BLAS."""
    out: Path | None = Path("runs/export")
    """Run folder for result.json; None writes none."""
    json: bool = False
    """Print the result as the last line."""

    def __post_init__(self) -> None:
        """Refuse what cannot be run."""
        if self.samples < 1 or self.threads < 1:
            raise RoboError(
                f"samples is {self.samples} and threads is {self.threads}, expected at least 1 "
                "of each"
            )
        if self.file is None and self.out is None:
            raise RoboError("there is nowhere to write: give --file FILE or --out DIR")

    def run(self) -> dict[str, Any]:
        """Export and check.

        Returns:
            What :func:`robo.policies.export.export_policy` returns, and ``policy``, the folder
            that was used.

        Raises:
            RoboError: no policy there, a missing package, or a file that acts unlike the policy.
        """
        from robo.policies.export import SUFFIXES, export_policy
        from robo.policies.policy_files import load_policy
        from robo.policies.run_folder import find_policy
        from robo.policies.threads import set_threads

        set_threads(self.threads)
        folder = find_policy(self.policy)
        path = self.file
        if path is None:
            assert self.out is not None
            path = self.out / f"policy{SUFFIXES[self.format]}"
        result = export_policy(load_policy(folder), path, self.format, self.samples)
        self._print(result, folder)
        return {**result, "policy": str(folder)}

    def _print(self, result: dict[str, Any], folder: Path) -> None:
        from rich.console import Console

        inputs = ", ".join(
            f"{one['name']} {one['dtype']} {['N', *one['shape']]}" for one in result["inputs"]
        )
        output = result["output"]
        Console(stderr=True, soft_wrap=True).print(
            f"{result['path']}: {result['format']}, {result['bytes']:,} bytes, from {folder}\n"
            f"reads {inputs}; gives {output['dtype']} {['N', *output['shape']]}, "
            f"{result['action']}\nchecked with {result['checked_with']}: largest difference "
            f"{result['largest_difference']:.1e}",
            highlight=False,
            markup=False,
        )

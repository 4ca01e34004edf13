"""Several processes for one run, by torch's elastic launcher (what ``torchrun`` is made of).

Every process gets torchrun's environment variables, by which
:func:`robo.policies.distributed.initialise` finds the others. A process that dies ends the others
on all machines, and all start again from the newest checkpoint, up to ``max_restarts`` times.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robo.errors import RoboError
from robo.storage import plain, write_json

NEW_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Environment variable: torch's launcher makes a new store each time that processes start. The one
that it would share still holds the addresses of processes that are gone: restarted ranks then
connect to nobody, or wait for each other without end (seen with torch 2.14)."""
NOTE = "ROBO_ERROR_NOTE"
"""Environment variable: where a rank leaves the sentence of its error for the launcher."""
BEGUN = "begun"
"""Name of the mark, beside that note, of a launch whose ranks have begun to train."""


@dataclass(frozen=True)
class ProcessConfig:
    """How many processes train, and where they meet."""

    nproc: int = 1
    """Processes on this machine: one per GPU, or per few cores."""
    nnodes: str = "1"
    """Machines, or MIN:MAX where machines may come and go; start the same command on each."""
    rdzv_endpoint: str = ""
    """host:port of one of the machines, where all meet; needed with several machines."""
    rdzv_id: str = "robo"
    """Name of the run at the meeting point, the same on all machines."""
    local_addr: str = ""
    """Address by which the other machines reach this one, where its host name does not say."""
    max_restarts: int = 3
    """How often processes may be restarted from the newest checkpoint after one was lost."""
    timeout_minutes: float = 45.0
    """How long a process waits for the others in one exchange before it gives up."""

    def __post_init__(self) -> None:
        """Refuse what cannot be started."""
        low, _, high = self.nnodes.partition(":")
        if not (
            low.isdecimal() and (high or low).isdecimal() and 1 <= int(low) <= int(high or low)
        ):
            raise RoboError(f"nnodes is {self.nnodes!r}, expected a number such as 2, or 1:4")
        if self.nproc < 1 or self.max_restarts < 0 or not self.timeout_minutes > 0:
            raise RoboError(
                f"nproc is {self.nproc}, max_restarts {self.max_restarts} and timeout_minutes "
                f"{self.timeout_minutes}; expected at least 1, at least 0 and above 0"
            )
        if self.nodes[1] > 1 and not self.rdzv_endpoint:
            raise RoboError(
                "several machines need --rdzv-endpoint HOST:PORT, the address of one of them"
            )

    @property
    def nodes(self) -> tuple[int, int]:
        """Least and greatest number of machines."""
        low, _, high = self.nnodes.partition(":")
        return int(low), int(high or low)

    @property
    def several(self) -> bool:
        """Whether a launcher is needed: more than one process, and not inside one already."""
        return (self.nproc > 1 or self.nodes[1] > 1) and "TORCHELASTIC_RUN_ID" not in os.environ


def begun() -> bool:
    """Whether this machine's launcher has started ranks of this run before.

    The launcher counts restarts after losses on its own machine only: one that joins later, or
    whose peer was lost, counts none. So the first ranks leave a mark, which lasts as long as
    their launcher. Without a place for it (started by torchrun itself) the count must do.
    """
    if NOTE in os.environ:
        return _mark().exists()
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0


def _mark() -> Path:
    return Path(os.environ[NOTE]).with_name(BEGUN)


def goes_on(out: Path, resume: bool) -> bool:
    """Whether the ranks go on from a checkpoint: the same answer on every rank.

    All ranks must call it, since they ask each other. They go on where told to, and where any of
    them has begun before and rank 0 finds a checkpoint.

    Args:
        out: run folder.
        resume: whether the user asked for it.

    Raises:
        RefusedError: a new run, but rank 0 finds checkpoints in the folder.
    """
    from robo.policies import distributed
    from robo.policies.run_folder import RunFolder, earlier_run

    first = distributed.rank() == 0
    own = first and any(RunFolder(out).checkpoints.glob("checkpoint-*.pt"))
    # Unconditionally, on every rank: else some would wait for those that know already.
    found = bool(distributed.broadcast_object(own))
    again = any(distributed.gather_objects(begun()))
    if found and not (resume or again):
        raise RefusedError(earlier_run(out))
    if NOTE in os.environ:
        _mark().touch()
    return resume or (again and found)


def run_in_processes(config: ProcessConfig, function: Callable[..., Any], *arguments: Any) -> Any:
    """Call ``function(*arguments)`` in every process of this machine.

    The function is called again in fresh processes after one was lost. It and its arguments must
    be picklable, hence a function of a module.

    Returns:
        What it returned in the first process of this machine.

    Raises:
        RoboError: the sentence of a rank that refused its input; or processes that were lost more
            often than ``max_restarts``.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    low, high = config.nodes
    alone = high == 1 and not config.rdzv_endpoint
    launch = LaunchConfig(
        min_nodes=low,
        max_nodes=high,
        nproc_per_node=config.nproc,
        run_id=config.rdzv_id,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0" if alone else config.rdzv_endpoint,
        rdzv_configs=_meeting(config),
        local_addr="127.0.0.1" if alone else config.local_addr or None,
        max_restarts=config.max_restarts,
        start_method="spawn",
        logs_specs=DefaultLogsSpecs(),
    )
    with tempfile.TemporaryDirectory(prefix="robo-run-") as folder:
        note = Path(folder) / "error"
        os.environ[NOTE] = str(note)
        os.environ[NEW_STORE] = "1"
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        try:
            results = elastic_launch(launch, _guarded)(config, function, arguments)
        except ChildFailedError as error:
            raise RoboError(_failure(error, note)) from error
        finally:
            del os.environ[NOTE], os.environ[NEW_STORE]
        if note.exists() and note.read_text().startswith("refused\n"):
            raise RoboError(note.read_text().removeprefix("refused\n"))
    return results[min(results)]


def _meeting(config: ProcessConfig) -> dict[str, Any]:
    """Settings of the meeting point: machines may be unreachable for as long as an exchange.

    torch's own would count a machine as lost after 15 s, and end the run when it comes back.
    """
    interval, seconds = 5, int(config.timeout_minutes * 60)
    settings: dict[str, Any] = {
        "read_timeout": seconds,
        "keep_alive_interval": interval,
        "keep_alive_max_attempt": max(3, seconds // interval),
    }
    if config.local_addr:
        # Else torch asks the name service, which may not know the machine's addresses.
        settings["is_host"] = config.rdzv_endpoint.rpartition(":")[0] == config.local_addr
    return settings


def _guarded(config: ProcessConfig, function: Callable[..., Any], arguments: tuple) -> Any:
    """Join the others and call the function: runs in every process."""
    from robo.policies import distributed

    note = Path(os.environ[NOTE])
    if note.exists() and note.read_text().startswith("refused\n"):
        return None  # The same input would be refused again.
    try:
        distributed.initialise(config.timeout_minutes * 60)
        result = function(*arguments)
        distributed.shutdown()
        return result
    except RefusedError as error:
        # Of several machines, one must not return without the others: there, the sentence alone.
        note.write_text(f"refused\n{error}" if config.nodes[1] == 1 else str(error))
        raise
    except RoboError as error:
        note.write_text(str(error))
        raise


class RefusedError(RoboError):
    """An error of the input: starting again would meet it again."""


def _failure(error: Any, note: Path) -> str:
    rank, failure = error.get_first_failure()
    what = f"exit code {failure.exitcode}"
    if failure.exitcode < 0:
        what = f"signal {-failure.exitcode}"
    said = f" ({note.read_text()})" if note.exists() else ""
    return (
        f"process {rank} ended with {what}{said} and the restarts are used up; its messages are "
        "above, go on with --resume"
    )


def train_rank(
    config: Any, out: Path, resume: bool, show: bool, callbacks: Sequence[Any] = ()
) -> dict[str, Any]:
    """One rank's training run.

    Args:
        config: :class:`~robo.policies.train_config.TrainConfig`.
        out: run folder, written by rank 0 only.
        resume: go on from the newest checkpoint; restarted ranks always do, if there is one.
        show: progress display, on rank 0.
        callbacks: see :class:`~robo.policies.trainer.Callback`; those with a ``close`` are closed.
    """
    from robo.policies import distributed
    from robo.policies.run_folder import RunFolder
    from robo.policies.trainer import make_trainer

    first = distributed.rank() == 0
    if first and not RunFolder(out).config.exists():
        # `robo train` has written its own; scripts that call this have not.
        write_json(RunFolder(out).config, {"config": plain(config)})
    resume = goes_on(out, resume)
    try:
        trainer = make_trainer(config, out, callbacks, show=show and first)
    except RoboError as error:
        raise RefusedError(str(error)) from error
    try:
        return trainer.run(resume=resume)
    finally:
        trainer.close()
        for callback in callbacks:
            getattr(callback, "close", lambda: None)()

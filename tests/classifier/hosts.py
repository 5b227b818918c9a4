"""Real host processes around models that misbehave in every way that we could think of."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from smoothscan.classifier.launcher import HostProcess, model_host
from smoothscan.classifier.remote import RemoteClassifier
from smoothscan.config import ScanConfig
from smoothscan.result import InputSpec
from smoothscan.sources import flavors
from smoothscan.sources.model_folder import read_mlmodel

SPEC = InputSpec(channels=3, height=32, width=32)

ODD_NETS = '''
import contextlib
import os
import subprocess
import sys
import time

import torch


class Odd(torch.nn.Module):
    """Three classes from images; subclasses add what is wrong with them."""

    def forward(self, x):
        return self.odd(x.mean((2, 3)))

    def odd(self, logits):
        return logits


class Environment(Odd):
    """Tells by its logits which variables it can see: class k is sure of the k-th name."""

    names = ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_TOKEN", "ARBITRARY", "PATH")

    def odd(self, logits):
        seen = [name in os.environ for name in self.names]
        leaked = any("s3cret" in value for value in os.environ.values()) or any("s3cret" in a for a in sys.argv)
        return logits[:, :1] * 0 + torch.tensor([float(s) for s in (*seen, leaked)])


class Sleeps(Odd):
    """Starts a child, and another one in a session of its own, and is never done; answers while it is loaded."""

    asked = 0

    def odd(self, logits):
        self.asked += 1
        if self.asked > 2:
            for own_session in (False, True):
                with contextlib.suppress(PermissionError):  # where a sandbox holds
                    subprocess.Popen(["sleep", "600"], start_new_session=own_session)
            time.sleep(600)
        return logits


class Exits(Odd):
    """Ends its process."""

    def odd(self, logits):
        print("giving up", flush=True)
        os._exit(3)


class Prints(Odd):
    """Prints some megabytes at each question, more than any pipe holds."""

    def odd(self, logits):
        for stream in (sys.stdout, sys.stderr):
            stream.write("chatter " * 2**17)
            stream.flush()
        return logits


class NaN(Odd):
    """Answers NaN for bright images."""

    def odd(self, logits):
        return torch.where(logits > 0.9, torch.nan, logits)


class Random(Odd):
    """Answers with a little noise."""

    def odd(self, logits):
        return logits + 0.02 * torch.randn_like(logits)


class Counts(Odd):
    """Answers according to how often it was asked."""

    asked = 0

    def odd(self, logits):
        self.asked += 1
        return logits + 0.05 * self.asked * torch.eye(3)[0]


class Tires(Odd):
    """Answers otherwise after a while."""

    asked = 0

    def odd(self, logits):
        self.asked += 1
        return logits if self.asked < 12 else logits.flip(1)


class Mixes(Odd):
    """Normalises by the images that happen to be asked about together."""

    def __init__(self):
        super().__init__()
        self.norm = torch.nn.BatchNorm1d(3, affine=False, track_running_stats=False)

    def odd(self, logits):
        return self.norm(logits) if len(logits) > 1 else logits


class Training(Odd):
    """Is saved in training mode, and drops channels there."""

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)

    def odd(self, logits):
        return self.drop(logits)


class Overflows(Odd):
    """Computes in half precision, with numbers that are too large for it."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 3).half()
        torch.nn.init.ones_(self.head.weight)
        torch.nn.init.ones_(self.head.bias)

    def forward(self, x):
        return self.head(x.mean((2, 3))) * 65000 * 4


class Coarse(torch.nn.Module):
    """Logits so close to each other that bfloat16 rounds the difference away."""

    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(3, 3)
        with torch.no_grad():
            self.head.weight.copy_(torch.eye(3))
            self.head.bias.fill_(1000.0)

    def forward(self, x):
        return self.head(x.mean((2, 3)))


class Fine(Coarse):
    """The same with logits that bfloat16 tells apart."""

    def __init__(self):
        super().__init__()
        with torch.no_grad():
            self.head.bias.zero_()
'''
ODD = ("Environment", "Sleeps", "Exits", "Prints", "NaN", "Coarse", "Fine")


def save_odd_models(folder: Path, only: Sequence[str] = ODD) -> dict[str, Path]:
    """Save one pickled MLflow model for each odd net, with its code."""
    import mlflow.pytorch

    code = folder / "code" / "odd_nets.py"
    code.parent.mkdir()
    code.write_text(ODD_NETS)
    sys.path.insert(0, str(code.parent))
    try:
        import odd_nets  # pickled by the name of its module, so it has to be imported under that name
    finally:
        sys.path.remove(str(code.parent))
    models = {}
    for name in only:
        models[name] = folder / name.lower()
        mlflow.pytorch.save_model(
            getattr(odd_nets, name)(),
            models[name],
            code_paths=[str(code)],
            serialization_format="pickle",
            pip_requirements=["torch"],
        )
    return models


@contextmanager
def running(workspace: Path, folder: Path, *, seconds: float = 120) -> Iterator[HostProcess]:
    """A host process with a fresh workspace, which may read a folder."""
    workspace.mkdir()
    with model_host(workspace, folder, device="cpu", time_limit=seconds) as host:
        yield host


@contextmanager
def remote(
    folder: Path,
    workspace: Path,
    *,
    spec: InputSpec = SPEC,
    allow_model_code: bool = False,
    seconds: float = 120,
    **config: Any,
) -> Iterator[RemoteClassifier]:
    """A model in a host process."""
    asked = ScanConfig(uri=str(folder), images=Path(), threads=1, **config)
    with running(workspace, folder, seconds=seconds) as host:
        stored = flavors.stored(folder, read_mlmodel(folder, str(folder)), str(folder))
        deadline = time.monotonic() + seconds
        yield RemoteClassifier(host, folder, stored, spec, asked, deadline, allow_code=allow_model_code)


def ended(processes: Sequence[psutil.Process], seconds: float = 10) -> bool:
    """Whether all processes end in time; one that nobody has collected yet has ended."""
    limit = time.monotonic() + seconds
    while any(_runs(process) for process in processes):
        if time.monotonic() > limit:
            return False
        time.sleep(0.05)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

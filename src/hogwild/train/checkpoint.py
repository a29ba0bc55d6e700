"""Checkpoints: what a run of training has come to, as safetensors and JSON, whole or not there at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hogwild.errors import ModelCorrupt

MOMENTS = ("exp_avg", "exp_avg_sq")
"""What AdamW keeps for each parameter, beside the number of its steps."""


def save_checkpoint(
    out: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, state: Mapping[str, Any]
) -> Path:
    """Write a checkpoint of ``state["step"]`` and remove those before it; its folder."""
    folder = out / f"checkpoint-{state['step']:06d}"
    new = folder.with_suffix(".new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file(
        {name: parameter.detach().contiguous() for name, parameter in parameters.items()}, new / "weights.safetensors"
    )
    moments = {
        f"{key}/{name}": optimizer.state[parameter][key].contiguous()
        for name, parameter in parameters.items()
        for key in MOMENTS
        if parameter in optimizer.state
    }
    save_file(moments, new / "optimizer.safetensors")
    (new / "state.json").write_text(json.dumps(dict(state), indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)  # from here on it is there, and whole
    for older in checkpoints(out)[:-1]:
        shutil.rmtree(older)
    return folder


def checkpoints(out: Path) -> list[Path]:
    """The folders of all checkpoints, the newest last."""
    return sorted(path for path in out.glob("checkpoint-*") if path.suffix != ".new")


def read_state(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint. Raises `ModelCorrupt` where it cannot be read."""
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    except (OSError, ValueError) as error:
        raise ModelCorrupt(f"{folder} cannot be read, remove it to go on from another one: {error}") from None
    return state


@torch.no_grad()
def load_checkpoint(
    folder: Path, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, step: int
) -> None:
    """Bring weights and optimizer to where they were. Raises `ModelCorrupt` where they do not fit."""
    try:
        weights, moments = load_file(folder / "weights.safetensors"), load_file(folder / "optimizer.safetensors")
    except (OSError, SafetensorError) as error:
        raise ModelCorrupt(f"{folder} cannot be read, remove it to go on from another one: {error}") from None
    if weights.keys() != parameters.keys():
        raise ModelCorrupt(f"{folder} holds other weights than this model trains: choose another --out")
    for name, parameter in parameters.items():
        parameter.copy_(weights[name])
        found: dict[str, Tensor] = {key: moments[f"{key}/{name}"] for key in MOMENTS if f"{key}/{name}" in moments}
        if found:
            count = torch.tensor(float(step))
            on_device = {key: moment.to(parameter.device).clone() for key, moment in found.items()}
            optimizer.state[parameter] = {"step": count, **on_device}

"""LoRA adapters: read from a folder as PEFT writes it, and merged into a model's weights before anything packs them.

W + scale * B A takes the place of W, so a merged model costs what it cost before. PEFT itself is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hogwild.errors import ModelCorrupt, ModelNotFound, ModelUnsupported

WEIGHTS, CONFIG, TEAM = "adapter_model.safetensors", "adapter_config.json", "hogwild.json"
"""The files of an adapter. The last one, which PEFT does not know, says what teams it was trained for."""

PACKAGED = Path(__file__).parent / "adapters"
"""Adapters of the package, a folder each, which bears the adapter's name."""

_PREFIX = "base_model.model."


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory.

    Attributes:
        name: of its folder.
        pairs: for each linear layer, by name, A [rank, inputs] and B [outputs, rank].
        scale: of B A.
        team: options of a `Team` that it was trained for, such as ``prompt``.
    """

    name: str
    pairs: Mapping[str, tuple[Tensor, Tensor]]
    scale: float
    team: Mapping[str, Any] = field(default_factory=dict)


def packaged_adapters() -> list[str]:
    """The names of the adapters in the package."""
    return sorted(path.parent.name for path in PACKAGED.glob(f"*/{CONFIG}"))


def adapter_of(model: str) -> str | None:
    """The adapter of the package that was trained for a packaged model, by name, if there is one."""
    bases = {name: json.loads((PACKAGED / name / CONFIG).read_text(encoding="utf-8")) for name in packaged_adapters()}
    return next((name for name, config in bases.items() if config["base_model_name_or_path"] == model), None)


def find_adapter(given: str | Path) -> Path:
    """The folder of an adapter: one of the package by its name, or any other. Raises `ModelNotFound`."""
    names = packaged_adapters()
    path = PACKAGED / given if str(given) in names else Path(given).expanduser()
    if not (path / CONFIG).is_file() or not (path / WEIGHTS).is_file():
        known = f", or a name ({', '.join(names)})" if names else ""
        raise ModelNotFound(f"adapter {str(given)!r}: give a folder with {CONFIG} and {WEIGHTS}{known}")
    return path


def read_adapter(given: str | Path) -> Adapter:
    """Read an adapter, of the package or in a folder.

    Raises `ModelNotFound`, `ModelCorrupt`, or `ModelUnsupported` for what is no plain LoRA.
    """
    path = find_adapter(given)
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        tensors = load_file(path / WEIGHTS)
        rank, alpha = int(config["r"]), float(config["lora_alpha"])
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelCorrupt(f"adapter {path.name}: its files cannot be read ({' '.join(str(error).split())})") from None
    _check_kind(path.name, config)
    pairs = {
        name: (tensors[f"{_PREFIX}{name}.lora_A.weight"], tensors[f"{_PREFIX}{name}.lora_B.weight"])
        for name in _layers(path.name, tensors)
    }
    scale = alpha / (rank**0.5 if config.get("use_rslora") else rank)
    return Adapter(path.name, pairs, scale, team_options(path))


def team_options(folder: Path) -> dict[str, Any]:
    """What teams an adapter was trained for: options of a `Team`; none where it does not say."""
    path = folder / TEAM
    if not path.is_file():
        return {}
    try:
        options: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["team"]
    except (OSError, ValueError, KeyError, TypeError):
        raise ModelCorrupt(f"adapter {folder.name}: its {TEAM} cannot be read") from None
    return options


def _check_kind(name: str, config: Mapping[str, Any]) -> None:
    if config.get("peft_type") != "LORA":
        raise ModelUnsupported(f"adapter {name}: it is of type {config.get('peft_type')}, and only LoRA can be merged")
    for key in ("use_dora", "modules_to_save", "rank_pattern", "alpha_pattern", "fan_in_fan_out", "lora_bias"):
        if config.get(key):
            raise ModelUnsupported(f"adapter {name}: {key} is more than plain LoRA, which is all that can be merged")
    if config.get("bias", "none") != "none":
        raise ModelUnsupported(f"adapter {name}: it has biases of its own, and only plain LoRA can be merged")


def _layers(name: str, tensors: Mapping[str, Tensor]) -> list[str]:
    """The layers that have both halves. Raises `ModelCorrupt` for anything else among the tensors."""
    halves = [{key.removeprefix(_PREFIX).removesuffix(end) for key in tensors if key.endswith(end)} for end in _ENDS]
    if not halves[0] or halves[0] != halves[1] or 2 * len(halves[0]) != len(tensors):
        raise ModelCorrupt(f"adapter {name}: its tensors are not pairs of lora_A and lora_B")
    return sorted(halves[0])


_ENDS = (".lora_A.weight", ".lora_B.weight")


@torch.no_grad()
def merge(model: nn.Module, adapter: Adapter) -> None:
    """Add an adapter to a model's weights, in place, in float32 (float64), rounded once.

    Raises `ModelUnsupported` where it was made for another model; then nothing has changed.
    """
    layers = dict(model.named_modules())
    for name, (a, b) in adapter.pairs.items():
        layer = layers.get(name)
        if not isinstance(layer, nn.Linear):
            raise ModelUnsupported(f"adapter {adapter.name}: this model has no linear layer {name}")
        if layer.weight.shape != (b.shape[0], a.shape[1]):
            raise ModelUnsupported(f"adapter {adapter.name}: {name} has other sizes in this model: it is for another")
    for name, (a, b) in adapter.pairs.items():
        weight = layers[name].weight
        assert isinstance(weight, Tensor), "it is a linear layer"
        wide = torch.float64 if weight.dtype == torch.float64 else torch.float32
        a, b = a.to(weight.device, wide), b.to(weight.device, wide)
        weight.copy_(weight.to(wide) + adapter.scale * (b @ a))

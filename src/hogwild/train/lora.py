"""What is trained of a model: LoRA on its linear layers, through PEFT, or all weights; and how it is kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from hogwild.errors import ModelUnsupported, OptionError
from hogwild.models.adapter import CONFIG, TEAM, WEIGHTS

_NAME = "default"  # PEFT's for an adapter that nobody has named


class Trained:
    """The part of a model that learns: LoRA of a ``rank``, or all of it where that is 0.

    Attributes: ``parameters`` by name, in float32. Raises `OptionError` where PEFT is not installed.
    """

    def __init__(self, model: PreTrainedModel, rank: int, alpha: int, seed: int, base: str) -> None:
        self._model = model
        self._config: Any = None
        if rank:
            self._add_lora(rank, alpha, seed, base)
        else:
            model.requires_grad_(True)
        self.parameters: dict[str, nn.Parameter] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        for parameter in self.parameters.values():
            parameter.data = parameter.data.float()

    @property
    def count(self) -> int:
        """How many numbers are trained."""
        return sum(parameter.numel() for parameter in self.parameters.values())

    def _add_lora(self, rank: int, alpha: int, seed: int, base: str) -> None:
        try:
            from peft import LoraConfig, inject_adapter_in_model
        except ImportError:
            raise OptionError("training needs peft, which is not installed: pip install 'hogwild[train]'") from None
        model, head = self._model, self._model.get_output_embeddings()
        linear = {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }
        if not linear:
            raise ModelUnsupported(f"{base}: it has no linear layers that LoRA could change: train all weights")
        self._config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            target_modules=sorted(linear),
            base_model_name_or_path=base,
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed)
        inject_adapter_in_model(self._config, model)

    def halved(self, active: bool) -> AbstractContextManager[None]:
        """Under autocast, where it is ``active``: the adapter takes what it is given as it is, not in float32 first."""
        if self._config is None:
            return nullcontext()
        from peft.helpers import disable_input_dtype_casting

        casting: AbstractContextManager[None] = disable_input_dtype_casting(self._model, active)
        return casting

    @property
    def keeps_base(self) -> bool:
        """Whether the untrained model is still there, for `untrained`."""
        return self._config is not None

    @contextmanager
    def untrained(self) -> Iterator[None]:
        """The model computes as if it had learnt nothing, and no gradients."""
        from peft.tuners.tuners_utils import BaseTunerLayer

        layers = [module for module in self._model.modules() if isinstance(module, BaseTunerLayer)]
        for layer in layers:
            layer.enable_adapters(False)
        try:
            with torch.no_grad():
                yield
        finally:
            for layer in layers:
                layer.enable_adapters(True)

    def save(self, folder: Path, team: Mapping[str, Any], tokenizer: Any) -> None:
        """Write what was learnt, for `Engine.load`: an adapter in bfloat16, or a whole model in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._config is None:
            self._model.save_pretrained(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
        else:
            save_file(_as_peft(self.parameters), folder / WEIGHTS, metadata={"format": "pt"})
            config = {key: _plain(value) for key, value in self._config.to_dict().items()}
            (folder / CONFIG).write_text(json.dumps(config | {"inference_mode": True}, indent=1, sort_keys=True) + "\n")
        (folder / TEAM).write_text(json.dumps({"team": dict(team)}, indent=1) + "\n")


def _as_peft(parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Under the names that PEFT gives them in files."""
    return {
        f"base_model.model.{name.replace(f'.{_NAME}.', '.')}": parameter.detach().to("cpu", torch.bfloat16).contiguous()
        for name, parameter in parameters.items()
    }


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, (set, tuple)):
        return sorted(value)
    return value.value if hasattr(value, "value") else value

"""Tensor parallelism: one model over several processes of one machine, by transformers' own plan.

``torchrun --nproc-per-node N`` starts the processes. Each holds a share of every linear layer and of the KV heads, and
runs the same teams with the same seeds. The plan of every model gathers the logits, so that all ranks hold the same
bits and sample the same tokens. What a rank alone knows (its free memory, an interrupt) has to be agreed on first.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hogwild.errors import ModelUnsupported, OptionError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig


@dataclass(frozen=True)
class Ranks:
    """This process among those that share a model: ``rank`` 0 to ``size`` - 1. Alone, it agrees with itself."""

    rank: int = 0
    size: int = 1

    def least(self, value: int) -> int:
        """The smallest value that any rank gave; every rank has to ask."""
        return -self._greatest(-value)

    def any(self, flag: bool) -> bool:
        """Whether any rank says yes; every rank has to ask."""
        return bool(self._greatest(int(flag)))

    def _greatest(self, value: int) -> int:
        if self.size == 1:
            return value
        import torch
        from torch import distributed

        agreed = torch.tensor(value, device=_device_type())
        distributed.all_reduce(agreed, distributed.ReduceOp.MAX)
        return int(agreed)


ALONE = Ranks()


def launched() -> Ranks:
    """This process among those that torchrun started; `ALONE` where it did not."""
    if not {"RANK", "LOCAL_RANK", "WORLD_SIZE"} <= os.environ.keys():
        return ALONE
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))


def join() -> Ranks:
    """The same, for a program that asks to share its model. Raises `OptionError` where there is nobody else."""
    ranks = launched()
    if ranks is ALONE:
        raise OptionError("tensor_parallel needs processes: start the program with torchrun --nproc-per-node N")
    return ranks


def check_parallel(config: PreTrainedConfig, ranks: Ranks, device: str) -> None:
    """Refuse what cannot be shared out, before any weight is read.

    Raises `OptionError` for a device that transformers' plan would not take, `ModelUnsupported` for a model without a
    plan or with heads that do not divide.
    """
    kind = _device_type()
    if device != kind:
        raise OptionError(
            f"device is {device!r}: tensor parallelism runs on this machine's {kind!r}, where each process takes one"
        )
    text = config.get_text_config()
    if not getattr(text, "base_model_tp_plan", None):
        raise ModelUnsupported(f"{config.model_type}: transformers has no tensor parallel plan for it: use one process")
    heads = {name: count for name, count in text.to_dict().items() if name.endswith("_heads") and count}
    uneven = [f"{name} is {count}" for name, count in heads.items() if isinstance(count, int) and count % ranks.size]
    if uneven:
        raise ModelUnsupported(
            f"{config.model_type}: heads do not divide among {ranks.size} processes ({', '.join(uneven)}): start as "
            "many as divide them"
        )


def load_options(ranks: Ranks) -> dict[str, Any]:
    """What ``from_pretrained`` has to be told: nothing where one process has the model alone."""
    if ranks.size == 1:
        return {}
    from transformers.distributed import DistributedConfig

    return {"distributed_config": DistributedConfig(tp_size=ranks.size, tp_plan="auto")}


def _device_type() -> str:
    """Where transformers puts the shares: the accelerator where there is one, each process on its own."""
    import torch

    accelerator = torch.accelerator.current_accelerator(check_available=True)
    return accelerator.type if accelerator else "cpu"

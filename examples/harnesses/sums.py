"""The same questions as a task for inspect_ai."""

import json
from pathlib import Path

from inspect_ai import Task, task
from inspect_ai.dataset import Sample
from inspect_ai.model import GenerateConfig
from inspect_ai.scorer import match
from inspect_ai.solver import generate


@task  # type: ignore[untyped-decorator]
def sums() -> Task:
    """Four sums; the last number of the answer counts."""
    lines = (Path(__file__).parent / "sums.jsonl").read_text().splitlines()
    asked = [json.loads(line) for line in lines]
    samples = [Sample(input=f"{one['question']} Answer with the number only.", target=one["answer"]) for one in asked]
    return Task(dataset=samples, solver=generate(), scorer=match(numeric=True), config=GenerateConfig(max_tokens=32))

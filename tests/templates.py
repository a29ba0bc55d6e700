"""Short chat templates of our own that write tool calls as well-known families do."""

from __future__ import annotations

_CHATML = (
    "{{ '<|im_start|>system\n' + (messages[0].content if messages[0].role == 'system' else 'Help.') }}"
    "{% if tools %}{{ '\n\n# Tools\n<tools>' }}{% for tool in tools %}{{ '\n' }}{{ tool | tojson }}{% endfor %}"
    "{{ '\n</tools>' }}{% endif %}{{ '<|im_end|>\n' }}"
    "{% for m in messages %}"
    "{% if m.role == 'tool' %}{{ '<|im_start|>user\n<tool_response>\n' + m.content }}"
    "{{ '\n</tool_response><|im_end|>\n' }}"
    "{% elif m.tool_calls %}{{ '<|im_start|>assistant' }}{% if m.content %}{{ '\n' + m.content }}{% endif %}"
    "{% for c in m.tool_calls %}CALL{% endfor %}{{ '<|im_end|>\n' }}"
    "{% elif m.role != 'system' %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN = _CHATML.replace(
    "CALL",
    '{{ \'\n<tool_call>\n{"name": "\' + c.function.name + \'", "arguments": \' }}'
    "{{ c.function.arguments | tojson }}{{ '}\n</tool_call>' }}",
)
HERMES = _CHATML.replace(
    "CALL",
    "{{ '\n<tool_call>\n{\"arguments\": ' }}{{ c.function.arguments | tojson }}"
    "{{ ', \"name\": \"' + c.function.name + '\"}\n</tool_call>' }}",
)
# Not JSON: a tag for each argument, as some coders have it.
TAGS = _CHATML.replace(
    "CALL",
    "{{ '\n<function=' + c.function.name + '>' }}{% for k, v in c.function.arguments.items() %}"
    "{{ '<parameter=' + k + '>' + v + '</parameter>' }}{% endfor %}{{ '</function>' }}",
)
LLAMA3 = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' and loop.first and tools %}"
    "{{ '<|start_header_id|>user<|end_header_id|>\n\nFunctions:\n' }}"
    "{% for tool in tools %}{{ tool | tojson(indent=4) }}{{ '\n\n' }}{% endfor %}{{ m.content + '<|eot_id|>' }}"
    "{% elif m.tool_calls %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% set c = m.tool_calls[0].function %}"
    "{{ '{\"name\": \"' + c.name + '\", \"parameters\": ' }}{{ c.arguments | tojson }}{{ '}<|eot_id|>' }}"
    "{% elif m.role == 'tool' %}"
    "{{ '<|start_header_id|>ipython<|end_header_id|>\n\n' }}{{ m.content | tojson }}{{ '<|eot_id|>' }}"
    "{% else %}{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\n\n' + m.content + '<|eot_id|>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
_MISTRAL = (
    "{{ bos_token }}"
    "{% for m in messages %}"
    "{% if m.role == 'user' %}{% if tools %}{{ '[AVAILABLE_TOOLS]' }}{{ tools | tojson }}{{ '[/AVAILABLE_TOOLS]' }}"
    "{% endif %}{{ '[INST] ' + m.content + '[/INST]' }}"
    "{% elif m.tool_calls %}{{ '[TOOL_CALLS]' }}@CALLS@{{ eos_token }}"
    "{% elif m.role == 'tool' %}@RESULT@"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}"
    "{% endfor %}"
)
MISTRAL = _MISTRAL.replace(
    "@CALLS@",
    "{{ '[' }}{% for c in m.tool_calls %}"
    "{% if c.id | length != 9 %}{{ raise_exception('call ids have nine letters') }}{% endif %}"
    '{{ \'{"name": "\' + c.function.name + \'", "arguments": \' }}{{ c.function.arguments | tojson }}'
    "{{ ', \"id\": \"' + c.id + '\"}' }}{{ ', ' if not loop.last }}{% endfor %}{{ ']' }}",
).replace(
    "@RESULT@",
    "{{ '[TOOL_RESULTS]{\"content\": ' }}{{ m.content | tojson }}"
    "{{ ', \"call_id\": \"' + m.tool_call_id + '\"}[/TOOL_RESULTS]' }}",
)
# The name in front of the arguments, which the template takes as text.
MISTRAL_ARGS = _MISTRAL.replace(
    "@CALLS@", "{% for c in m.tool_calls %}{{ c.function.name + '[ARGS]' + c.function.arguments }}{% endfor %}"
).replace("@RESULT@", "{{ '[TOOL_RESULTS]' + m.content + '[/TOOL_RESULTS]' }}")

TOKENS = {
    "qwen": ["<tool_call>", "</tool_call>"],
    "hermes": [],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "mistral": ["[INST]", "[/INST]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"],
    "mistral_args": ["[INST]", "[/INST]", "[TOOL_CALLS]", "[ARGS]"],
}
TEMPLATES = {
    "qwen": QWEN, "hermes": HERMES, "llama3": LLAMA3, "mistral": MISTRAL, "mistral_args": MISTRAL_ARGS,
}  # fmt: skip
"""Those whose calls can be read, with the added tokens that they need."""

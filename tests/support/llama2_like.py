"""A model like Llama 2 but for its size and weights: its tokenizer, chat template and defaults of sampling.

What it shows and byte-level models do not: spaces that are `▁`, of which a text's first is not shown, and characters
without a token, which take one for each of their bytes. Importing it takes seconds: tests take it from a fixture.
"""

from pathlib import Path
from typing import Final

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.support import vocabularies

CONTEXT: Final = 512
TEMPLATE: Final = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}"
    "{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content | trim + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
"""Llama 2's own."""


def build(folder: Path) -> Path:
    """Write the model into `folder` as `save_pretrained` does; the same bytes each time."""
    words = vocabularies.llama_2(2000)
    words.chat_template = TEMPLATE
    words.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        rms_norm_eps=1e-5,
        bos_token_id=1,
        eos_token_id=2,
        initializer_range=0.4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(20230718)
        model = LlamaForCausalLM(config)
    # As Llama-2-chat has it, but for the length, which is the context's.
    model.generation_config.update(
        bos_token_id=1, eos_token_id=2, pad_token_id=0, do_sample=True, temperature=0.6, top_p=0.9
    )
    model.save_pretrained(folder)
    return folder

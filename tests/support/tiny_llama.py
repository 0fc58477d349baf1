"""A Llama small enough for tests: two layers, random but fixed weights, a byte-level tokenizer, a chat template.

Importing it takes seconds (torch, transformers): tests take it from a fixture.
"""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CONTEXT = 256
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{% if message.role not in ['system', 'user', 'assistant'] %}"
    "{{ raise_exception('unknown role ' + message.role) }}{% endif %}"
    "<|{{ message.role }}|>{{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SENTENCES = (
    "The quick brown fox jumps over the lazy dog.",
    "A llama grazes on the Altiplano; it is a camelid, not a camel.",
    "Grüße aus München, voilà, naïve café — schöne Tage 🦙.",
    "The capital of France is Paris, and the capital of Peru is Lima.",
)


def tokenizer() -> PreTrainedTokenizerFast:
    """Byte-level BPE with 400 tokens: every string can be written, and rare characters take several tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    bpe.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")


def build(folder: Path, *, chat_template: bool = True, do_sample: bool = False) -> Path:
    """Write the model into `folder` as `save_pretrained` does; the same bytes each time."""
    words = tokenizer()
    if chat_template:
        words.chat_template = TEMPLATE
    words.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=0,
        eos_token_id=1,
        initializer_range=0.4,
    )
    with torch.random.fork_rng():
        torch.manual_seed(20230718)
        model = LlamaForCausalLM(config)
    model.generation_config.bos_token_id = 0
    model.generation_config.eos_token_id = 1
    model.generation_config.do_sample = do_sample
    model.save_pretrained(folder)
    return folder


class Reference:
    """What transformers itself answers, in float32, one request at a time: the truth to compare with."""

    def __init__(self, folder: Path) -> None:
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer: Any = PreTrainedTokenizerFast.from_pretrained(folder)

    def tokens(self, prompt: str, *, seed: int | None = None, **parameters: Any) -> list[list[int]]:
        """Return the output ids of each sequence, without prompt and padding; `parameters` go to `generate`."""
        inputs = self.tokenizer(prompt, return_tensors="pt")
        length = inputs["input_ids"].shape[1]
        if seed is not None:
            torch.manual_seed(seed)
        if "stop_strings" in parameters:
            parameters["tokenizer"] = self.tokenizer
        with torch.inference_mode():
            rows = self._model.generate(**inputs, pad_token_id=0, **parameters)[:, length:].tolist()
        return [_without_padding(row) for row in rows]

    def likely(self, tokens: list[int]) -> list[float]:
        """Return the log-probability of each token but the first."""
        with torch.inference_mode():
            logs = self._model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        return [float(logs[place, token]) for place, token in enumerate(tokens[1:])]

    def text(self, tokens: list[int]) -> str:
        """Return the text of an output."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)


def _without_padding(row: list[int]) -> list[int]:
    while row and row[-1] == 0:
        row = row[:-1]
    return row

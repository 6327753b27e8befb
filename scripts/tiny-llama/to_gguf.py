# ruff: noqa: INP001 - run by hand, imported by nothing
"""How `tiny-f16.gguf` was made of `hf/`: python to_gguf.py HF_DIR OUT.gguf.

Needs gguf, safetensors and torch, which `build/sglang-cpu` has. llama.cpp turns heads in another
layout than transformers, so the rows of q and k change places.
"""

import json
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.torch import load_file

LAYER = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
}


def names(layers: int) -> dict[str, str]:
    """Each tensor's name there by its name here."""
    found = {
        "model.embed_tokens.weight": "token_embd.weight",
        "model.norm.weight": "output_norm.weight",
    }
    for number in range(layers):
        for here, there in LAYER.items():
            found[f"model.layers.{number}.{here}.weight"] = f"blk.{number}.{there}.weight"
    return found


def turned(rows: Any, heads: int) -> Any:
    """The rows of q or k as llama.cpp wants them."""
    shape = (heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return rows.reshape(shape).swapaxes(1, 2).reshape(rows.shape)


def write_settings(writer: Any, config: dict[str, Any]) -> None:
    """The model's shape."""
    # As the file has had it since it was made: its hash is pinned.
    writer.add_name("cocoon tiny test model")
    writer.add_license("project licence (self-made)")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)


def write_tokenizer(writer: Any, folder: Path, config: dict[str, Any]) -> None:
    """Vocabulary, merges, special tokens, template."""
    told = json.loads((folder / "tokenizer.json").read_text())
    special = {one["id"]: one["content"] for one in told["added_tokens"]}
    known = {number: text for text, number in told["model"]["vocab"].items()} | special
    kinds, texts = [], []
    for number in range(config["vocab_size"]):
        texts.append(known.get(number, f"[PAD{number}]"))
        plain = gguf.TokenType.NORMAL if number in known else gguf.TokenType.UNUSED
        kinds.append(gguf.TokenType.CONTROL if number in special else plain)
    merges = told["model"]["merges"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([one if isinstance(one, str) else " ".join(one) for one in merges])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(0)
    writer.add_add_bos_token(False)  # noqa: FBT003 - the library's own
    writer.add_chat_template((folder / "chat_template.jinja").read_text())


def main(folder: Path, target: Path) -> None:
    """Write the file."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(str(target), "llama")
    write_settings(writer, config)
    write_tokenizer(writer, folder, config)
    heads = {".q_proj": config["num_attention_heads"], ".k_proj": config["num_key_value_heads"]}
    renamed = names(config["num_hidden_layers"])
    for name, tensor in load_file(str(folder / "model.safetensors")).items():
        rows = tensor.float().numpy()
        for mark, count in heads.items():
            rows = turned(rows, count) if mark in name else rows
        writer.add_tensor(renamed[name], rows.astype(np.float32 if rows.ndim == 1 else np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

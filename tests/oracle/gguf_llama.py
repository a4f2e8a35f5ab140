"""Logits of llama.cpp for the files of gguf_dump against ours.

gguf_llama.py FOLDER     reads FOLDER/index ("NAME ARCHITECTURE" a line), NAME.gguf, NAME.tokens and NAME.logits
llama.cpp comes inside the package cyllama.
"""

import pathlib
import sys

import gguf
import numpy as np
from cyllama.llama import llama_cpp

F32, FLASH_OFF, POOLING_NONE = 0, 0, 0
# llama.cpp looks GELU up in a table of half precision.
TOLERANCE = {"gpt2": 5e-3, "bloom": 5e-3, "gemma2": 5e-3, "grok": 5e-3, "bert": 5e-3}
# The same model with rounded weights; llama.cpp rounds what they are multiplied with to the same format. Twice what was
# measured; weights in wrong places make a difference of 4. T5 does not scale its scores down, and so magnifies what the
# table of GELU leaves out.
ROUNDED = {"llama-f16": 3e-2, "llama-bf16": 2e-1, "llama-q8_0": 6e-1, "t5-1.1": 5e-2}
TEXT = "In the beginning \x01\u03b1"


class Model(llama_cpp.LlamaModel):
    """Knows the size of its vocabulary, which cyllama 0.2.18 asks for and does not define."""

    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


def encoder_logits(path, context, tokens):
    """An encoder's graph ends with hidden states, [T, H]; ours are their products with the embedding, [V, H]."""
    batch = llama_cpp.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
    for position, token in enumerate(tokens):
        batch.add(int(token), position, [0], True)
    context.encode(batch)
    hidden = np.array([context.get_embeddings_ith(i) for i in range(len(tokens))], dtype=np.float32)
    [embedding] = [tensor.data for tensor in gguf.GGUFReader(path).tensors if tensor.name == "token_embd.weight"]
    return hidden @ embedding.T


def llama_logits(path, tokens, architecture):
    model = Model(str(path), verbose=False)
    vocab = model.get_vocab()
    ids = list(vocab.tokenize(TEXT, False, False))
    if ids != list(TEXT.encode()):
        sys.exit(f"{path}: tokens are not bytes: {ids}")
    params = llama_cpp.LlamaContextParams()
    params.n_ctx = params.n_batch = params.n_ubatch = len(tokens)
    params.n_threads = params.n_threads_batch = 1
    params.type_k = params.type_v = F32
    params.flash_attn_type = FLASH_OFF
    if architecture == "bert":
        params.embeddings = True
        params.pooling_type = POOLING_NONE
    context = llama_cpp.LlamaContext(model, params, verbose=False)
    rows = []
    if architecture == "bert":
        return encoder_logits(path, context, tokens)
    if architecture == "t5":
        # The encoder reads the same tokens, from the last to the first.
        batch = llama_cpp.LlamaBatch(n_tokens=len(tokens), embd=0, n_seq_max=1)
        for position, token in enumerate(reversed(tokens)):
            batch.add(int(token), position, [0], False)
        context.encode(batch)
    for position, token in enumerate(tokens):
        batch = llama_cpp.LlamaBatch(n_tokens=1, embd=0, n_seq_max=1)
        batch.add(int(token), position, [0], True)
        context.decode(batch)
        rows.append(context.get_logits())
    return np.array(rows, dtype=np.float32)


def main():
    folder = pathlib.Path(sys.argv[1])
    llama_cpp.disable_logging()
    llama_cpp.llama_backend_init()
    wrong = 0
    for line in (folder / "index").read_text().splitlines():
        name, architecture = line.split()
        tokens = np.fromfile(folder / f"{name}.tokens", dtype=np.int32)
        ours = np.fromfile(folder / f"{name}.logits", dtype=np.float32).reshape(len(tokens), -1)
        theirs = llama_logits(folder / f"{name}.gguf", tokens, architecture)
        difference = float(np.abs(ours - theirs).max())
        tolerance = ROUNDED.get(name, TOLERANCE.get(architecture, 1e-4))
        right = ours.shape == theirs.shape and difference <= tolerance and ours.std() > 0.1
        wrong += not right
        print(f"{name:26} {architecture:10} largest difference {difference:.1e} of logits with deviation "
              f"{ours.std():.2f}: {'ok' if right else 'WRONG'}", flush=True)
    sys.exit(1 if wrong else 0)


main()

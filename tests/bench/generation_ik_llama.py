"""One side of tests/bench/interop: ik_llama.cpp inside the package ik-llama-cpp-python.
Arguments: FILE.gguf THREADS ROUNDS PROMPT_TOKENS TOKENS [flash], with its flash attention."""

import ctypes
import json
import sys
import time

import numpy as np
from ik_llama_cpp import _ctypes_api as api
from ik_llama_cpp._internals import IkContext, IkModel, make_batch_range, make_batch_single

FILE, (THREADS, ROUNDS, PROMPT, TOKENS) = sys.argv[1], map(int, sys.argv[2:6])
FLASH = sys.argv[6:] == ["flash"]


def likeliest(context, vocab_size, idx):
    logits = api.llama_get_logits_ith(context.ctx, idx)
    return int(np.argmax(np.ctypeslib.as_array(ctypes.cast(logits, ctypes.POINTER(ctypes.c_float)), (vocab_size,))))


def main():
    model = IkModel(FILE)
    vocab_size = api.llama_vocab_n_tokens(model.vocab)
    context = IkContext(model, n_ctx=PROMPT + TOKENS, n_threads=THREADS, flash_attn=FLASH)
    prompt = [(i * i * 7 + i * 31 + 65) % 256 for i in range(PROMPT)]
    best = dict(prefill=0.0, generation=0.0)
    first_prefill = None
    for _ in range(ROUNDS):
        context.kv_cache_clear()
        batch = make_batch_range(prompt)
        start = time.perf_counter()
        context.decode(batch)
        tokens = [likeliest(context, vocab_size, -1)]
        read = time.perf_counter()
        for i in range(TOKENS):
            context.decode(make_batch_single(tokens[-1], PROMPT + i))
            tokens.append(likeliest(context, vocab_size, -1))
        end = time.perf_counter()
        first_prefill = first_prefill or PROMPT / (read - start)
        best = dict(prefill=max(best["prefill"], PROMPT / (read - start)),
                    generation=max(best["generation"], TOKENS / (end - read)), tokens=tokens)
    print(json.dumps(best | dict(first_prefill=first_prefill)))


main()

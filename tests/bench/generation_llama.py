"""One side of tests/bench/interop: llama.cpp inside the package cyllama.
Arguments: FILE.gguf THREADS ROUNDS PROMPT_TOKENS TOKENS."""

import json
import sys
import time

import numpy as np
from cyllama.llama import llama_cpp

FILE, (THREADS, ROUNDS, PROMPT, TOKENS) = sys.argv[1], map(int, sys.argv[2:])
F32 = 0


class Model(llama_cpp.LlamaModel):
    """Knows the size of its vocabulary, which cyllama 0.2.18 asks for and does not define."""

    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


def main():
    llama_cpp.disable_logging()
    llama_cpp.llama_backend_init()
    model = Model(FILE, verbose=False)
    params = llama_cpp.LlamaContextParams()
    params.n_ctx = params.n_batch = params.n_ubatch = PROMPT + TOKENS
    params.n_threads = params.n_threads_batch = THREADS
    params.type_k = params.type_v = F32
    context = llama_cpp.LlamaContext(model, params, verbose=False)
    prompt = [(i * i * 7 + i * 31 + 65) % 256 for i in range(PROMPT)]
    best = dict(prefill=0.0, generation=0.0)
    first_prefill = None
    for _ in range(ROUNDS):
        context.kv_cache_clear()
        batch = llama_cpp.LlamaBatch(n_tokens=PROMPT, embd=0, n_seq_max=1)
        for position, token in enumerate(prompt):
            batch.add(token, position, [0], position == PROMPT - 1)
        start = time.perf_counter()
        context.decode(batch)
        tokens = [int(np.argmax(context.get_logits_ith(PROMPT - 1)))]
        read = time.perf_counter()
        for i in range(TOKENS):
            batch = llama_cpp.LlamaBatch(n_tokens=1, embd=0, n_seq_max=1)
            batch.add(tokens[-1], PROMPT + i, [0], True)
            context.decode(batch)
            tokens.append(int(np.argmax(context.get_logits())))
        end = time.perf_counter()
        first_prefill = first_prefill or PROMPT / (read - start)
        best = dict(prefill=max(best["prefill"], PROMPT / (read - start)),
                    generation=max(best["generation"], TOKENS / (end - read)), tokens=tokens)
    print(json.dumps(best | dict(first_prefill=first_prefill)))


main()

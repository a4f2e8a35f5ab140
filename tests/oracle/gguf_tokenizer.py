"""Ids of llama.cpp for the files of gguf_dump tokenizer against ours, and of gguf_dump wordpiece against those of gguf_wordpiece.py.

gguf_tokenizer.py FOLDER     reads each NAME.gguf and NAME.json in FOLDER
llama.cpp comes inside the package cyllama.
"""

import json
import pathlib
import sys

from cyllama.llama import llama_cpp


MOST_TIES = 2


class Model(llama_cpp.LlamaModel):
    """Knows the size of its vocabulary, which cyllama 0.2.18 asks for and does not define."""

    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


def main():
    llama_cpp.disable_logging()
    llama_cpp.llama_backend_init()
    files = sorted(pathlib.Path(sys.argv[1]).glob("*.gguf"))
    wrong = 0
    for path in files:
        # The vocabulary lives as long as its model.
        model = Model(str(path), verbose=False)
        vocab = model.get_vocab()
        ours = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        # A text never means SentencePiece's control pieces.
        parse_special = not path.stem.startswith("sentencepiece-")
        differ, ties = [], 0
        for text, expected in zip(ours["texts"], ours["ids"], strict=True):
            theirs = list(vocab.tokenize(text, False, parse_special))
            # Among cuts of the same score the library takes another one than llama.cpp: it adds scores up in float32.
            if "unigram" in path.stem and theirs != expected and sorted(theirs) == sorted(expected):
                ties += 1
            elif theirs != expected:
                differ.append(text)
                print(f"{path.stem}: {text!r}: ours {expected}, llama.cpp's {theirs}")
        wrong += len(differ) + (ties > MOST_TIES)
        print(f"{path.stem:28} {len(ours['texts'])} texts, {sum(map(len, ours['ids']))} tokens: "
              f"{'ok' if not differ and ties <= MOST_TIES else 'WRONG'}{f', {ties} with ties' if ties else ''}", flush=True)
    sys.exit(1 if wrong or not files else 0)


main()

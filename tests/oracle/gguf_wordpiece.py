"""A WordPiece vocabulary for gguf_tokenizer_oracle, and the ids that Hugging Face's tokenizers gives texts.

gguf_wordpiece.py FOLDER OUT     writes FOLDER/tokenizer.json and tokenizer_config.json, and OUT: texts and their ids
"""

import json
import pathlib
import sys

import tokenizers

SENTENCES = [
    "Hello world", "The wagons are sorted onto tracks, and the trains are put together again.",
    "I'm here, YOU'RE there, he'll he'd we've 'tis O'Neill's", "In 1995 there were 12345678 of 3.14159 and 7",
    "one\ntwo\n\nthree\r\nfour\n \n\t\tfive   \n", "def f(x_1):\n    return {x_1: [1, 2]}  # ok!\n",
    "na\u00efve caf\u00e9 \u00dcber \u0416\u0443\u043a \u03b1\u03b2\u03b3", "\u6f22\u5b57 and \u6f22 x",
    "$100 + 50% = ??? !!! ...\n--- === ***", "http://www.example.org/a?b=c&d=%20 e-mail@x.y",
    "\u201cquoted\u201d \u2014 \u2026 \u00a1si!", "words worded wordless unwording", "the [MASK] of [unused1] and [nothing]",
]  # fmt: skip
# Without what the notes of an export name: marks apart from their letters, vertical tabs.
AWKWARD = [
    "   ", "\t \n", "\u00a0\u2003x\u3000y", "caf\u00e9 \u00c5 \u00fc", "tab\there\x1f\x7fend",
    "zzzzqqqq \U0001f600", "a" * 90, "\u1e9e\u00df", "x\u4e00y\u9fffz", "~`^|<>+=$",
]  # fmt: skip
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def main():
    folder = pathlib.Path(sys.argv[1])
    tokenizer = tokenizers.BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(SENTENCES * 20, vocab_size=400, min_frequency=2, limit_alphabet=200,
                                  special_tokens=SPECIAL + ["[unused1]"], show_progress=False)
    begin, end = (tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    tokenizer.post_processor = tokenizers.processors.BertProcessing(("[SEP]", end), ("[CLS]", begin))
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    texts = SENTENCES + AWKWARD
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({"texts": texts, "ids": ids}, file)


main()

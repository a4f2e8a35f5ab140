"""Ids of exported SentencePiece models in transformers. Arguments: SWITCHYARD TOKENIZER_DUMP SCRATCH."""

import pathlib
import random
import subprocess
import sys

import sentencepiece
import transformers

import tokenizer_ids

SWITCHYARD, TOKENIZER_DUMP = sys.argv[1:3]
SCRATCH = pathlib.Path(sys.argv[3])
WORDS = "the expert routes tokens to ranks while gradients travel between nodes naïve café straße 東京 데이터".split()
# Without names of special tokens, for which transformers looks in texts.
TEXTS = [
    "", " ", "a", "the expert routes tokens", "  two  blanks, a\ttab and\nlines\n", "naïve café straße 東京 unknown ☃ 𝔘",
    "e\u0301 \u00e9 \ufb01 \u2460", "1234567890", "\u00a0 \u3000x",
]  # fmt: skip
SMALL = [
    "model.hidden=32", "model.layers=2", "model.heads=4", "model.kv_heads=4", "model.seq_len=32", "moe.experts=4",
    "moe.top_k=2", "moe.expert_width=32",
]  # fmt: skip
# As those of the published models are made.
T5 = dict(
    model_prefix="spiece", model_type="unigram", vocab_size=200, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
)  # fmt: skip
LLAMA = dict(
    model_prefix="tokenizer", model_type="bpe", vocab_size=420, byte_fallback=True, normalization_rule_name="identity",
    remove_extra_whitespaces=False,
)  # fmt: skip


def check(name, settings, arguments):
    """Trains a tokenizer and a model that uses it, exports the model, and compares ids. Returns what is wrong."""
    folder = SCRATCH / name
    folder.mkdir()
    random.seed(3)
    text = folder / "text"
    lines = (" ".join(random.choice(WORDS) for _ in range(10)) + f" {line}." for line in range(2000))
    text.write_text("\n".join(lines))
    settings = settings | dict(model_prefix=str(folder / settings["model_prefix"]), input=str(text), minloglevel=2)
    sentencepiece.SentencePieceTrainer.train(**settings)
    model = pathlib.Path(settings["model_prefix"] + ".model")
    given = arguments + [
        f"data.path={text}", f"data.tokenizer={model}", "model.vocab_size=420", "train.steps=1", "train.global_batch=2",
        f"run.directory={folder / 'run'}",
    ]  # fmt: skip
    run([SWITCHYARD, "train"] + [word for each in given for word in (("--set", each) if "=" in each else (each,))])
    run([SWITCHYARD, "checkpoint", "export", folder / "run/checkpoints/latest", folder / "hf", "--to", "hf"])
    wrong = []
    if (folder / "hf" / model.name).read_bytes() != model.read_bytes():
        wrong.append(f"{name}: the exported {model.name} is another")
    theirs = transformers.AutoTokenizer.from_pretrained(folder / "hf")
    ours = tokenizer_ids.dump(TOKENIZER_DUMP, folder / "hf", [text.encode() for text in TEXTS], folder)
    for text, (ids, _) in zip(TEXTS, ours):
        expected = theirs(text, add_special_tokens=False).input_ids
        if ids != expected:
            wrong.append(f"{name}: {text!r} is {ids}, in transformers {expected}")
    return wrong


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr}")


problems = check("t5", T5, ["--preset", "t5-base", "--scaled-down"]) + check("llama", LLAMA, SMALL)
for problem in problems:
    print(problem)
if problems:
    sys.exit(1)
print(f"{len(TEXTS)} texts have the same ids in transformers, for a T5 and a LLaMA")

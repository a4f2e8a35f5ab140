"""The perplexity of a text by SWITCHYARD eval against the same computed with transformers' model, for each eval.method.
Arguments: SWITCHYARD SCRATCH."""

import math
import pathlib
import re
import subprocess
import sys

import torch
import transformers

SWITCHYARD = sys.argv[1]
SCRATCH = pathlib.Path(sys.argv[2])
CONTEXT = 48
STRIDE = 20
TEXT = "".join(f"{i * i % 97} wagons, {i % 7} tracks; é €\n" for i in range(30))


def run(*words):
    done = subprocess.run([SWITCHYARD, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout


def token_losses(model, ids):
    """Cross entropies of ids[1:], each given those before it."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0, :-1].double()
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")


def sliding(model, ids, stride):
    """transformers, "Perplexity of fixed-length models": a token counts in the first window that holds it."""
    losses, scored = [], 0
    for begin in range(0, len(ids), stride):
        end = min(begin + CONTEXT, len(ids))
        window = token_losses(model, ids[begin:end]) if end - begin > 1 else torch.empty(0)
        num_new = end - max(scored, begin + 1)
        losses += window[len(window) - num_new:].tolist()
        scored = end
        if end == len(ids):
            break
    return losses


def halves(model, ids):
    """llama.cpp, tools/perplexity/perplexity.cpp: whole chunks, of which the second half is scored."""
    losses = []
    first = CONTEXT // 2
    for chunk in range(len(ids) // CONTEXT):
        window = token_losses(model, ids[chunk * CONTEXT:(chunk + 1) * CONTEXT])
        losses += window[first:CONTEXT - 1].tolist()
    return losses


def summary(losses):
    """Perplexity and its standard error, as llama.cpp prints them."""
    count = len(losses)
    mean = sum(losses) / count
    variance = sum(loss * loss for loss in losses) / count - mean * mean
    perplexity = math.exp(mean)
    return perplexity, math.sqrt(variance / (count - 1)) * perplexity, mean, count


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    torch.manual_seed(3)
    config = transformers.Qwen3MoeConfig(
        vocab_size=256, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=8,
        intermediate_size=48, max_position_embeddings=64, num_experts=8, num_experts_per_tok=2,
        moe_intermediate_size=24, norm_topk_prob=True, initializer_range=0.3, bos_token_id=None, eos_token_id=None,
        pad_token_id=None)
    model = transformers.Qwen3MoeForCausalLM(config).eval()
    model.save_pretrained(SCRATCH / "hf")
    run("checkpoint", "import", SCRATCH / "hf", SCRATCH / "checkpoint")
    text = SCRATCH / "text"
    text.write_text(TEXT)
    ids = list(TEXT.encode())
    wrong = 0
    for method, losses in [("windows", sliding(model, ids, CONTEXT)), ("sliding", sliding(model, ids, STRIDE)),
                           ("llama.cpp", halves(model, ids))]:
        perplexity, error, nll, count = summary(losses)
        line = run("eval", "--config", SCRATCH / "checkpoint.conf", "--resume", SCRATCH / "checkpoint", "--set",
                   f"eval.text={text}", "--set", f"eval.method={method}", "--set", f"eval.context={CONTEXT}", "--set",
                   f"eval.stride={STRIDE}")
        found = re.fullmatch(r"perplexity (\S+) \+/- (\S+), (\S+) nats a token, (\S+) bits per byte, over (\d+) tokens.*\n",
                             line)
        assert found, line
        ours = [float(found[i]) for i in range(1, 5)]
        wanted = [perplexity, error, nll, nll / math.log(2)]
        difference = max(abs(a / b - 1) for a, b in zip(ours, wanted))
        right = difference < 1e-5 and int(found[5]) == count
        wrong += not right
        print(f"{method}: perplexity {ours[0]}, transformers {perplexity:.8g}, over {count} tokens, relative difference "
              f"of all figures {difference:.1e}: {'ok' if right else 'WRONG'}")
    return 1 if wrong else 0


sys.exit(main())

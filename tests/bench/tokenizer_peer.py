"""Times our tokenizer beside Hugging Face's. Called by tokenizer_peer."""

import argparse
import os
import struct
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("--files", required=True)
parser.add_argument("--dump", required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--family", default="")
parser.add_argument("texts", nargs="+")
arguments = parser.parse_args()
# It is read when the library first starts its threads.
os.environ["RAYON_NUM_THREADS"] = str(arguments.threads)
os.environ["TOKENIZERS_PARALLELISM"] = "true"
import tokenizers  # noqa: E402

DOCUMENT_BYTES = 10000


def documents():
    texts = []
    for path in arguments.texts:
        with open(path, encoding="utf-8", errors="replace", newline="") as file:
            text = file.read()
        texts += [text[start : start + DOCUMENT_BYTES] for start in range(0, len(text), DOCUMENT_BYTES)]
    return texts


def ours(path, scratch, count):
    """Seconds, processor seconds and ids of one round; the program does not count its start or reading the files."""
    words = [arguments.dump, path, f"{scratch}/texts", f"{scratch}/ids", str(arguments.threads), "1"]
    output = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    seconds, processor_seconds = map(float, output.split())
    ids = []
    with open(f"{scratch}/ids", "rb") as file:
        for _ in range(count):
            (size,) = struct.unpack("<Q", file.read(8))
            ids.append(list(struct.unpack(f"<{size}i", file.read(4 * size))))
            (size,) = struct.unpack("<Q", file.read(8))
            file.seek(size, os.SEEK_CUR)
    return seconds, processor_seconds, ids


def main():
    texts = documents()
    num_bytes = sum(len(text.encode()) for text in texts)
    print(f"# {len(texts)} documents, {num_bytes} bytes, {arguments.threads} threads, tokenizers {tokenizers.__version__}")
    families = [arguments.family] if arguments.family else sorted(os.listdir(arguments.files))
    with tempfile.TemporaryDirectory() as scratch:
        with open(f"{scratch}/texts", "wb") as file:
            for text in texts:
                file.write(struct.pack("<Q", len(text.encode())) + text.encode())
        for family in families:
            path = f"{arguments.files}/{family}/tokenizer.json"
            # Least seconds and least processor seconds of either side.
            best = {"ours": [float("inf")] * 2, "peer": [float("inf")] * 2}

            def note(side, *seconds):
                best[side] = [min(pair) for pair in zip(best[side], seconds)]

            for _ in range(arguments.rounds):
                *seconds, ids = ours(path, scratch, len(texts))
                note("ours", *seconds)
                peer = tokenizers.Tokenizer.from_file(path)
                # The faster way of two, without offsets, where this version has it.
                encode = getattr(peer, "encode_batch_fast", peer.encode_batch)
                start, processor_start = time.perf_counter(), time.process_time()
                encodings = encode(texts, add_special_tokens=False)
                note("peer", time.perf_counter() - start, time.process_time() - processor_start)
                if [encoding.ids for encoding in encodings] != ids:
                    sys.exit(f"{family}: the ids differ")
            for i, unit in enumerate(("MB/s", "MB/s of processor time")):
                rates = [num_bytes / best[side][i] / 1e6 for side in ("ours", "peer")]
                print(f"{family:12} ours {rates[0]:7.2f}  peer {rates[1]:7.2f}  ratio {rates[0] / rates[1]:6.2f}  {unit}, ids equal", flush=True)


main()

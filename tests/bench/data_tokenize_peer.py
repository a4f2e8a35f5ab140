"""Times data tokenize beside a program on Hugging Face's library. Called by data_tokenize_peer.

data_tokenize_peer.py --as-peer TOKENIZER LINES OUT   is that program: ids of the field text, and the end after each document
"""

import argparse
import array
import json
import os
import pathlib
import resource
import struct
import subprocess
import sys
import tempfile
import time

DOCUMENT_BYTES = 10000
DOCUMENTS_AT_ONCE = 1000
HEADER = struct.Struct("<8sII6qQQ")


def run_peer(tokenizer, lines, out):
    import tokenizers

    library = tokenizers.Tokenizer.from_file(tokenizer)
    # The faster way of two, without offsets, where this version has it.
    encode = getattr(library, "encode_batch_fast", library.encode_batch)
    end = json.loads(os.environ["PEER_END"])
    with open(lines, encoding="utf-8") as source, open(out, "wb") as target:
        batch = []

        def write():
            ids = array.array("i")
            for encoding in encode(batch, add_special_tokens=False):
                ids.extend(encoding.ids)
                ids.extend(end)
            ids.tofile(target)
            batch.clear()

        for line in source:
            batch.append(json.loads(line)["text"])
            if len(batch) == DOCUMENTS_AT_ONCE:
                write()
        write()


def write_lines(texts, megabytes, path):
    documents = []
    for text in texts:
        content = pathlib.Path(text).read_text(encoding="utf-8", errors="replace")
        documents += [content[i : i + DOCUMENT_BYTES] for i in range(0, len(content), DOCUMENT_BYTES)]
    num_bytes = num_documents = 0
    with open(path, "w", encoding="utf-8") as file:
        while num_bytes < megabytes * 1e6:
            document = documents[num_documents % len(documents)]
            file.write(json.dumps({"text": document}, ensure_ascii=False) + "\n")
            num_bytes += len(document.encode())
            num_documents += 1
    return num_documents, num_bytes


def ids_of(path):
    """Ids and end-of-text token of a token file (runtime/data/README.md)."""
    with open(path, "rb") as file:
        _, _, width, num_tokens, _, _, _, end, *_ = HEADER.unpack(file.read(HEADER.size))
        ids = array.array("H" if width == 2 else "i")
        ids.fromfile(file, num_tokens)
    return array.array("i", ids), end


def timed(words, environment):
    """Seconds and processor seconds of a program."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment)
    seconds = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", required=True)
    parser.add_argument("--program", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", default="")
    parser.add_argument("--megabytes", type=float, default=100)
    parser.add_argument("texts", nargs="+")
    arguments = parser.parse_args()
    families = [arguments.family] if arguments.family else sorted(os.listdir(arguments.files))
    with tempfile.TemporaryDirectory() as scratch:
        lines = f"{scratch}/lines.jsonl"
        num_documents, num_bytes = write_lines(arguments.texts, arguments.megabytes, lines)
        print(f"# {num_documents} documents, {num_bytes} bytes of text as JSON lines, {arguments.threads} threads; "
              "whole programs, start and writing included")
        for family in families:
            tokenizer = f"{arguments.files}/{family}/tokenizer.json"
            ours, peer = [], []
            for number in range(arguments.rounds):
                out = f"{scratch}/{family}-{number}.tok"
                ours.append(timed([arguments.program, "data", "tokenize", lines, "--tokenizer", tokenizer, "--out", out,
                                   "--threads", str(arguments.threads)], {}))
                ids, end = ids_of(out)
                peer.append(timed([sys.executable, __file__, "--as-peer", tokenizer, lines, f"{scratch}/peer"],
                                  {"RAYON_NUM_THREADS": str(arguments.threads), "TOKENIZERS_PARALLELISM": "true",
                                   "PEER_END": json.dumps([end] if end >= 0 else [])}))
                theirs = array.array("i")
                theirs.frombytes(pathlib.Path(f"{scratch}/peer").read_bytes())
                if ids != theirs:
                    sys.exit(f"{family}: the ids differ")
                os.remove(out)
            for i, unit in enumerate(("MB/s", "MB/s of processor time")):
                rates = [num_bytes / min(pair[i] for pair in pairs) / 1e6 for pairs in (ours, peer)]
                print(f"{family:12} ours {rates[0]:7.2f}  peer {rates[1]:7.2f}  ratio {rates[0] / rates[1]:6.2f}  {unit}, "
                      f"{len(ids)} ids equal", flush=True)


if sys.argv[1:2] == ["--as-peer"]:
    run_peer(*sys.argv[2:])
else:
    main()

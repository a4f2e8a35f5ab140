"""Ids of our tokenizers, by tokenizer_dump."""

import struct
import subprocess


def dump(program, tokenizer, texts, scratch):
    """Our ids and decoded bytes of each text (bytes)."""
    with open(f"{scratch}/texts", "wb") as file:
        for text in texts:
            file.write(struct.pack("<Q", len(text)) + text)
    subprocess.run([program, tokenizer, f"{scratch}/texts", f"{scratch}/ids"], check=True, stdout=subprocess.DEVNULL)
    with open(f"{scratch}/ids", "rb") as file:
        data = file.read()
    place = 0
    results = []
    for _ in texts:
        (count,) = struct.unpack_from("<Q", data, place)
        ids = list(struct.unpack_from(f"<{count}i", data, place + 8))
        place += 8 + 4 * count
        (size,) = struct.unpack_from("<Q", data, place)
        results.append((ids, data[place + 8 : place + 8 + size]))
        place += 8 + size
    return results

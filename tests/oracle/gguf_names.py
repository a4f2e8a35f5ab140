"""Names of Grok-1's tensors, of which transformers has no class, against those that the package gguf knows.

gguf_names.py FOLDER     reads FOLDER/grok.names ("NAME OURS" a line) and FOLDER/grok.gguf.manifest.json, which gguf_dump
                         wrote: llama.cpp's converter has to give a tensor of a folder the name that it has in our file
"""

import json
import pathlib
import re
import sys

import gguf


def main():
    folder = pathlib.Path(sys.argv[1])
    written = json.loads((folder / "grok.gguf.manifest.json").read_text())["tensors"]
    ours = {tensor["name"]: tensor["from"] for tensor in written}
    lines = [line.split() for line in (folder / "grok.names").read_text().splitlines()]
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GROK, 64)
    wrong, found = [], set()
    for name, origin in lines:
        # The converter stacks the experts of a layer.
        stacked = re.sub(r"(\.moe)\.\d+\.", r"\1.", name)
        theirs = known.get_name(stacked, try_suffixes=(".weight",))
        found.add(theirs)
        if origin not in ours.get(theirs, []):
            wrong.append(f"{name} with {origin} is {theirs} there, which has {ours.get(theirs)} here")
    wrong += [f"{name} is in no folder" for name in ours.keys() - found]
    print("\n".join(wrong))
    print(f"grok: {len(lines)} names of a folder, {len(ours)} of a file: {'WRONG' if wrong else 'ok'}")
    sys.exit(1 if wrong or len(lines) < 20 else 0)


main()

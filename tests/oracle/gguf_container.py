"""The container and its number formats against the package gguf, both ways.

gguf_container.py GGUF_DUMP FOLDER    reads FOLDER/container.gguf and FOLDER/container.f32, which gguf_dump wrote;
                                      writes a file of its own and lets gguf_dump read it
"""

import pathlib
import subprocess
import sys

import gguf
import numpy as np

TYPES = {
    "f32": gguf.GGMLQuantizationType.F32,
    "f16": gguf.GGMLQuantizationType.F16,
    "bf16": gguf.GGMLQuantizationType.BF16,
    "q8_0": gguf.GGMLQuantizationType.Q8_0,
}


def raw_of(values, kind):
    if kind == "f32":
        return values
    if kind == "f16":
        return values.astype(np.float16)
    return gguf.quants.quantize(values, TYPES[kind])


def check(right, what):
    if not right:
        sys.exit(f"gguf_container.py: {what}")


def check_ours(path, values):
    reader = gguf.GGUFReader(path)
    field = reader.get_field
    check(field("general.architecture").contents() == "test", "architecture")
    check(field("test.number").contents() == 7 and field("test.flag").contents() is True, "number or flag")
    check(field("test.real").contents() == np.float32(1e-5), "real")
    check(field("test.texts").contents() == ["a", "\u0120b"], "texts")
    check(len(reader.tensors) == len(TYPES), "number of tensors")
    for tensor in reader.tensors:
        kind = tensor.name
        check(tensor.tensor_type == TYPES[kind], f"type of {kind}")
        check([int(dim) for dim in tensor.shape] == list(values.shape)[::-1], f"shape of {kind}")
        check(tensor.data.tobytes() == raw_of(values, kind).tobytes(), f"bytes of {kind}")


def check_theirs(program, folder, values):
    path = folder / "theirs.gguf"
    writer = gguf.GGUFWriter(path, "test")
    writer.add_uint32("test.number", 7)
    writer.add_array("test.texts", ["a", "b"])
    for kind, number in TYPES.items():
        raw = raw_of(values, kind)
        writer.add_tensor(kind, raw, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    subprocess.run([program, "read", path, folder / "theirs.f32"], check=True)
    found = np.fromfile(folder / "theirs.f32", dtype=np.float32).reshape(len(TYPES), -1)
    for row, kind in zip(found, TYPES):
        expected = raw_of(values, kind)
        if kind in ("bf16", "q8_0"):
            expected = gguf.quants.dequantize(expected, TYPES[kind])
        check(np.array_equal(row, expected.astype(np.float32).ravel()), f"values of {kind}, read by us")


def main():
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    values = np.fromfile(folder / "container.f32", dtype=np.float32).reshape(-1, 3, 64)
    check(values.size > 1000 and values.std() > 0, "there is nothing to compare")
    check_ours(folder / "container.gguf", values)
    check_theirs(program, folder, values)
    print(f"container: {values.size} values in {len(TYPES)} types, both ways: ok")


main()

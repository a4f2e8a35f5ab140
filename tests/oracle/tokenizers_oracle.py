"""Compares ids, and what they decode to, with Hugging Face's tokenizers. Called by tokenizers_oracle."""

import json
import os
import random
import sys
import unicodedata

import tokenizers

from tokenizer_ids import dump

FAMILIES = ("qwen3", "deepseek_v3", "llama3", "gpt2")


def is_assigned(character):
    """In the version of Unicode that this Python knows, which is no later than either library's."""
    return unicodedata.category(character) not in ("Cn", "Cs")


# Stretches whose characters behave alike: of these one in sixteen is tried.
ALIKE = ((0x3400, 0xA000), (0xAC00, 0xD7A4), (0xE000, 0xF900), (0x17000, 0x18D00), (0x20000, 0x32000), (0xF0000, 0x110000))


def code_points():
    """Each assigned code point, alone in its text but for letters, blanks and marks around it."""
    texts = []
    for point in range(0x110000):
        character = chr(point)
        alike = any(begin <= point < end for begin, end in ALIKE)
        if is_assigned(character) and (not alike or point % 16 == 0):
            texts.append(f"a{character}b {character}{character} 1{character}\u0301'{character}s\n{character}")
    return texts


def awkward():
    texts = [
        "", " ", "  ", "\n", "\r\n", "\t\t\n \n", " \u00a0\u2003\u3000 x", "\x00\x01\x7f\x80\x9f", "\ufeffBOM\ufeff",
        "It's we'll I'D YOU'RE they'Ve 'ſ 'K don't'", "1234567890123 ½ ²³ ٣٤٥ 一二三 Ⅷ", "e\u0301 \u00e9 A\u030a Å \u212b ｶﾞ 각 각",
        "q\u0323\u0307 q\u0307\u0323 \u0344 \u0958 \u2adc", "👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 👍🏽 ☺️", "שלום עולם \u202eمرحبا\u202c بالعالم", "नमस्ते ไทยคำไทย ភាសាខ្មែរ",
        "中文日本語カタカナ한국어 混ぜるtext2漢字", "\u180e \u180e\u180e x\u200b\u200c\u200d\u2060y \u0085\u2028\u2029",
        "if (x) {\n\t\treturn a[i] + b->c;  // done\n}\n\n\n", "<|endoftext|><|im_start|>user\nHi<|im_end|><think>x</think>",
        "<｜begin▁of▁sentence｜>a<｜end▁of▁sentence｜> <｜tool▁sep｜>b <|begin_of_text|>\n<|eot_id|><|endoftext", "ĠĊ é Ã ▁ <0x0A>",
        "\U0001d400\U0001d7ff \U00020000 \U000e0041 \U0010ffff \ue000", "\u1100\u1161\u11a8 \u0fb2\u0f71\u0f80 \u1e9b\u0323",
    ]
    texts += [blank * count + tail for blank in " \n\t\u3000" for count in (3, 64, 65, 500, 5000) for tail in ("", "x", "\n")]
    texts += ["a" * 100, "ab" * 3000, "x" * 20000, "é" * 700, "漢" * 900, "1" * 2000, "!" * 3000, "=-" * 2000]
    return texts


def mixtures(seed, count):
    """Random texts of pieces that interact."""
    source = random.Random(seed)
    pieces = list("aZ09 \n\r\t'.,-_()é漢かー한ا\u0301\u0323\u200d\u00a0\u3000👍") + [
        "'s", "'LL", "  ", "\n\n", "the", " The", "ing", "<|endoftext|>", "<|im_end|>", "<｜tool▁sep｜>", "<think>", "http://", "100",
        "\u1161", "\u11a8", "\u1100", "ſ", "<|", "|>"]
    return ["".join(source.choices(pieces, k=source.randint(1, 60))) for _ in range(count)]


def newer_nfc(tokenizer, texts):
    """The texts, those normalized already that the library's older tables leave as they are: it has no class for marks
    that came after Unicode 9."""
    if tokenizer.normalizer is None or "NFC" not in repr(tokenizer.normalizer):
        return texts
    results = []
    for text in texts:
        normalized = unicodedata.normalize("NFC", text)
        results.append(text if tokenizer.normalizer.normalize_str(text) == normalized else normalized)
    return results


def compare(name, program, path, texts, scratch):
    """Fails with the first text that differs."""
    theirs = tokenizers.Tokenizer.from_file(path)
    ours = dump(program, path, [text.encode("utf-8") for text in texts], scratch)
    expected = theirs.encode_batch(newer_nfc(theirs, texts), add_special_tokens=False)
    num_tokens = 0
    for text, encoding, (ids, decoded) in zip(texts, expected, ours):
        if encoding.ids != ids:
            first = next((i for i, pair in enumerate(zip(encoding.ids, ids)) if pair[0] != pair[1]), min(len(ids), len(encoding.ids)))
            sys.exit(f"{name}: {text[:80]!a}: token {first}: expected {encoding.ids[first:first + 8]}, found {ids[first:first + 8]}")
        num_tokens += len(ids)
        back = theirs.decode(ids, skip_special_tokens=False)
        if back != decoded.decode("utf-8", errors="replace"):
            sys.exit(f"{name}: {text[:80]!a} decodes to {decoded[:80]}, expected {back[:80]!a}")
    print(f"{name}: {len(texts)} texts, {num_tokens} tokens agree")
    if num_tokens == 0:
        sys.exit(f"{name}: no tokens were compared")


def check_broken_text(name, program, path, scratch):
    """Bytes that are not UTF-8 are words of their own, and come back."""
    parts = [b"one ", b"\xff", "zwei é".encode(), b"\xc3", b" \xe2\x82", b"x\xed\xa0\x80", b"\xf0\x9f\x91", b"end"]
    results = dump(program, path, [b"".join(parts)], scratch)
    if results[0][1] != b"".join(parts):
        sys.exit(f"{name}: bytes that are not UTF-8 came back as {results[0][1]}")


def made_here():
    """Small tokenizers with the parts that the published ones lack, and texts for them."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    words = [["t", "h"], ["th", "e"], ["Ġ", "the"], ["1", "1"], ["a", "b"], ["ab", "ab"], ["Ġ", "Ġ"], ["-", "-"]]
    vocab = {token: i for i, token in enumerate(alphabet + ["".join(pair) for pair in words])}
    size = len(vocab)

    def added(content, number, **flags):
        token = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        return {"id": size + number, "content": content, **token, **flags}

    base = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [added("<l>", 0, lstrip=True), added("<r>", 1, rstrip=True), added("<w>", 2, single_word=True),
                         added("<longer>", 3), added("<long", 4), added("Åx", 5, normalized=True, special=False), added("two words", 6)],
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "vocab": vocab, "merges": words},
    }
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}

    def sequence(*steps):
        return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [*steps, byte_level]}}

    def split(pattern, behavior, invert=False, kind="Regex"):
        return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}

    variants = {"prefix": {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
                "nfc": {**sequence(split(r"\w+|\s+", "Isolated")), "normalizer": {"type": "NFC"}},
                "digits": sequence({"type": "Digits", "individual_digits": False}),
                "single_digits": sequence({"type": "Digits", "individual_digits": True}),
                "string": sequence(split("--", "Removed", kind="String")),
                "empty_matches": sequence(split(r"a*", "Isolated"))}
    for behavior in ("Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"):
        for invert in (False, True):
            variants[f"{behavior}_{invert}"] = sequence(split(r"-|\d", behavior, invert))
    texts = ["the the  <l> <l>  <r>  <r> x<w>y <w> <longer><long><longe", "A\u030ax Åx two words two  words", "11 1--1-1--a12b-- --", "",
             "--", "abab -the- 5", "ababab\n<r>\n<r><l>", "é<w>é _<w> <w>1 \u200d<w>"]
    texts += mixtures(5, 300)
    return {name: ({**base, **change}, texts) for name, change in variants.items()}


def main(program, folder, scratch):
    for name, (content, texts) in made_here().items():
        path = f"{scratch}/{name}.json"
        with open(path, "w", encoding="utf-8") as file:
            json.dump(content, file, ensure_ascii=False)
        compare(name, program, path, texts, scratch)
    all_points = code_points()
    num_skipped = 0
    for family in FAMILIES:
        path = f"{folder}/{family}/tokenizer.json"
        if not os.path.exists(path):
            print(f"SKIPPED: {family}: there is no {path}")
            num_skipped += 1
            continue
        compare(family, program, path, awkward() + mixtures(1, 2000) + all_points, scratch)
        check_broken_text(family, program, path, scratch)
    print(f"{len(FAMILIES) - num_skipped} families agree, {num_skipped} skipped")


main(*sys.argv[1:])

#pragma once

#include <algorithm>

#include "kernels/core/tensor.hpp"
#include "kernels/ops/gemm/kernel.hpp"

namespace sy::ops::detail {

/// How the lines of an operand lie in memory. A line is a row of A or a column of B: what one index of C picks.
enum class Lines { are_rows, are_columns };

/// How elements become 32-bit words: one float each (bf16 widened), or two bf16 of consecutive k.
enum class Words { floats, pairs };

constexpr index_t elements_per_word(Words words) {
    return words == Words::pairs ? 2 : 1;
}

/// The elements along k that make the words `ks`; the last word of an odd number of elements has one, and zero.
struct Elements {
    Range range;
    Elements(Words words, Range ks, index_t num_k)
        : range{ks.begin * elements_per_word(words), std::min(ks.end * elements_per_word(words), num_k)} {}
};

/// Which lines of an operand are packed, and which of their elements.
template <class In>
struct PanelSource {
    MatrixView<const In> x;
    Lines lines;
    Words words;
    Range elements;  ///< along k; begins at a word
    Range picked;    ///< the lines
};

/// Panels of `width` lines (8, 12, 16 or 32), one behind the other.
struct Panels {
    std::byte* data;
    index_t width;
    index_t step;  ///< bytes from one to the next
};

/// panel[word][width] = words of its lines, zeros where the last panel has fewer lines than it is wide.
template <class In>
void pack_panels(const PanelSource<In>& source, const Panels& panels);

/// Copies the words of lines that are rows, `stride` bytes from one row to the next.
template <class In>
void copy_rows(const PanelSource<In>& source, std::byte* target, index_t stride);

/// Prefetches part `part_idx` of `num_parts` of what pack_panels would read into the second-level cache.
template <class In>
void prefetch_lines(const PanelSource<In>& source, index_t num_parts, index_t part_idx);

}  // namespace sy::ops::detail

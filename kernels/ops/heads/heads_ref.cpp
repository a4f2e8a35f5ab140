#include "kernels/ops/heads/heads.hpp"

namespace sy::ops::ref {

void spread_heads(const HeadWidths& widths, MatrixView<const float> expanded, MatrixView<const float> rotary,
                  MatrixView<float> k, MatrixView<float> v) {
    for (index_t t = 0; t < k.rows; ++t) {
        for (index_t h = 0; h < widths.heads; ++h) {
            const index_t first = h * (widths.plain + widths.value);
            for (index_t i = 0; i < widths.plain; ++i) k(t, h * widths.key() + i) = expanded(t, first + i);
            for (index_t i = 0; i < widths.rotary; ++i)
                k(t, h * widths.key() + widths.plain + i) = rotary(t, i);
            for (index_t i = 0; i < widths.value; ++i)
                v(t, h * widths.value + i) = expanded(t, first + widths.plain + i);
        }
    }
}

void gather_heads(const HeadWidths& widths, MatrixView<const float> dk, MatrixView<const float> dv,
                  MatrixView<float> dexpanded, MatrixView<float> drotary) {
    for (index_t t = 0; t < dk.rows; ++t) {
        for (index_t h = 0; h < widths.heads; ++h) {
            const index_t first = h * (widths.plain + widths.value);
            for (index_t i = 0; i < widths.plain; ++i) dexpanded(t, first + i) = dk(t, h * widths.key() + i);
            for (index_t i = 0; i < widths.value; ++i)
                dexpanded(t, first + widths.plain + i) = dv(t, h * widths.value + i);
        }
        for (index_t i = 0; i < widths.rotary; ++i) {
            double sum = 0.0;
            for (index_t h = 0; h < widths.heads; ++h)
                sum += static_cast<double>(dk(t, h * widths.key() + widths.plain + i));
            drotary(t, i) = static_cast<float>(sum);
        }
    }
}

}  // namespace sy::ops::ref

#include "kernels/ops/gemm/check.hpp"
#include "kernels/ops/gemm/host_gemm.hpp"

namespace sy::ops::ref {

template <class In>
void multiply(const HostProduct<In>& product) {
    const index_t num_k = detail::check_sides(product);
    for (index_t m = 0; m < product.c.rows; ++m) {
        for (index_t n = 0; n < product.c.cols; ++n) {
            double sum = 0.0;
            for (index_t k = 0; k < num_k; ++k) {
                const In a = product.transpose_a == Transpose::yes ? product.a(k, m) : product.a(m, k);
                const In b = product.transpose_b == Transpose::yes ? product.b(n, k) : product.b(k, n);
                sum +=
                    static_cast<double>(static_cast<float>(a)) * static_cast<double>(static_cast<float>(b));
            }
            const double before =
                product.write == Write::overwrite ? 0.0 : static_cast<double>(product.c(m, n));
            product.c(m, n) = static_cast<float>(before + sum);
        }
    }
}

template void multiply<float>(const HostProduct<float>&);
template void multiply<bf16>(const HostProduct<bf16>&);

}  // namespace sy::ops::ref

#include <cstring>
#include <type_traits>

#include "kernels/core/fits.hpp"
#include "kernels/core/offsets.hpp"
#include "kernels/core/profile.hpp"
#include "kernels/core/readable_list.hpp"
#include "kernels/core/simd.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/cpu_bodies.hpp"
#include "kernels/ops/cpu_device.hpp"

namespace sy::ops {
namespace {

/// out = ((first + s0) + s1) + ... in one pass over the columns.
template <class In, class Out>
void sum_row(MatrixView<const In> x, const std::int32_t* sources, index_t count, Write write, Out* out) {
    simd::for_isa([=]() SY_BODY {
        simd::for_lanes(x.cols, [&](index_t i, auto load, auto store) SY_BODY {
            simd::f32x16 sum{};
            if (write == Write::add) sum = load(out + i);
            for (index_t s = 0; s < count; ++s) sum += load(x.data + sources[s] * x.stride + i);
            store(out + i, sum);
        });
    });
}

template <class From, class To>
void copy_row(const From* from, To* to, index_t count) {
    if (count == 0) return;  // then there may be no memory
    if constexpr (std::is_same_v<From, To>) {
        std::memcpy(to, from, static_cast<std::size_t>(count) * sizeof(To));
    } else {
        simd::for_isa([=]() SY_BODY {
            simd::for_lanes(count,
                            [&](index_t i, auto load, auto store) SY_BODY { store(to + i, load(from + i)); });
        });
    }
}

template <class From, class To>
void gather(MatrixView<const From> x, std::span<const std::int32_t> row, MatrixView<To> out,
            const Context& context) {
    cpu(context).team().for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i)
            copy_row(x.row(row[static_cast<std::size_t>(i)]), out.row(i), x.cols);
    });
}

template <class T>
void scatter(ConstTensorRef x, std::span<const index_t> places, TensorRef out, const Context& context) {
    const auto from = host<const T>(x);
    const auto to = host<T>(out);
    cpu(context).team().for_ranges(from.rows, 16, [&](index_t begin, index_t end) {
        for (index_t i = begin; i < end; ++i)
            copy_row(from.row(i), to.row(places[static_cast<std::size_t>(i)]), from.cols);
    });
}

template <class In, class Out>
void sum(MatrixView<const In> x, std::span<const index_t> offsets, std::span<const std::int32_t> sources,
         Write write, MatrixView<Out> out, const Context& context) {
    cpu(context).team().for_ranges(out.rows, 16, [&](index_t begin, index_t end) {
        for (index_t r = begin; r < end; ++r) {
            const Range of_row = group_of(offsets, r);
            sum_row(x, sources.data() + of_row.begin, of_row.size(), write, out.row(r));
        }
    });
}

}  // namespace

void on_cpu::gather_rows(ConstTensorRef x, std::span<const std::int32_t> row, TensorRef out,
                         const Context& context) {
    if (x.dtype() == DType::bf16 && out.dtype() == DType::f32) {
        gather(host<const bf16>(x), row, host<float>(out), context);
        return;
    }
    if (x.dtype() == DType::u8) {
        gather(host<const std::uint8_t>(x), row, host<std::uint8_t>(out), context);
        return;
    }
    dispatch_dtype(x.dtype(), [&]<class T>() { gather(host<const T>(x), row, host<T>(out), context); });
}

void on_cpu::scatter_rows(ConstTensorRef x, List<index_t> place, TensorRef out, const Context& context) {
    const std::span<const index_t> places = host_values(place);
    if (x.dtype() == DType::u8) return scatter<std::uint8_t>(x, places, out, context);
    dispatch_dtype(x.dtype(), [&]<class T>() { scatter<T>(x, places, out, context); });
}

void on_cpu::sum_rows(ConstTensorRef x, std::span<const index_t> offsets,
                      std::span<const std::int32_t> sources, Write write, TensorRef out,
                      const Context& context) {
    dispatch_dtype(x.dtype(), [&]<class In>() {
        if (out.dtype() == DType::f32) {
            sum(host<const In>(x), offsets, sources, write, host<float>(out), context);
            return;
        }
        sum(host<const In>(x), offsets, sources, write, host<In>(out), context);
    });
}

}  // namespace sy::ops

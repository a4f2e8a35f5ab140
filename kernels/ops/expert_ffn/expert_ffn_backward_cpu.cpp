// Two passes. First, over (expert x slots): dh' = dy Wdown^T, the backward of the activation in cache, dx. It leaves
// h, dgate, dup and the weighted dy rows in memory. Second, over (expert x tile of a weight): the three gradients.
#include "kernels/ops/activation/activation.hpp"
#include "kernels/ops/expert_ffn/tasks.hpp"

namespace sy::ops {
namespace {

/// Values of all slots that the weight gradients need.
template <class In>
struct Intermediate {
    MatrixView<In> h;         ///< [S, F] activation
    MatrixView<In> dgate;     ///< [S, F]
    MatrixView<In> dup;       ///< [S, F]
    MatrixView<const In> x;   ///< [S, H] input rows by slot
    MatrixView<const In> dy;  ///< [S, H] weighted output gradients by slot
};

void scale_into(MatrixView<const float> from, std::span<const float> weight, MatrixView<float> to) {
    for (index_t r = 0; r < from.rows; ++r) {
        for (index_t i = 0; i < from.cols; ++i) to(r, i) = from(r, i) * weight[static_cast<std::size_t>(r)];
    }
}
void scale_into(MatrixView<const bf16> from, std::span<const float> weight, MatrixView<bf16> to) {
    for (index_t r = 0; r < from.rows; ++r) {
        for (index_t i = 0; i < from.cols; ++i) {
            to(r, i) = bf16(static_cast<float>(from(r, i)) * weight[static_cast<std::size_t>(r)]);
        }
    }
}

template <class In>
void data_task(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
               const ExpertSaved<const In>& saved, const ExpertBackward<In>& backward,
               const Intermediate<In>& between, const detail::SlotTask& task, std::byte* memory,
               const Context& context) {
    const index_t count = task.slots.size();
    const auto first = static_cast<std::size_t>(task.slots.begin);
    auto* const dh_data = reinterpret_cast<float*>(memory);
    auto* const rows_data = reinterpret_cast<In*>(dh_data + detail::kTaskSlots * weights.gate.cols);
    const MatrixView<const In> dy = detail::rows_of_slots(backward.dy, slots, task.slots, rows_data);
    const MatrixView<float> dh(dh_data, count, weights.gate.cols);
    const GemmLibrary& library = context.gemm;
    library.multiply<In>({dy, Transpose::no, weights.down[task.expert], Transpose::yes, dh, 0.0F},
                         context.numerics);
    SwigluBackward<In> activation{saved.gate.rows_of(task.slots),
                                  saved.up.rows_of(task.slots),
                                  dh,
                                  {},
                                  between.h.rows_of(task.slots),
                                  between.dgate.rows_of(task.slots),
                                  between.dup.rows_of(task.slots),
                                  {}};
    if (!slots.weight.empty())
        activation.weight = slots.weight.subspan(first, static_cast<std::size_t>(count));
    if (!backward.dweight.empty())
        activation.dot = backward.dweight.subspan(first, static_cast<std::size_t>(count));
    swiglu_backward(activation);
    const MatrixView<float> dx = backward.dx.rows_of(task.slots);
    library.multiply<In>(
        {activation.dgate, Transpose::no, weights.gate[task.expert], Transpose::yes, dx, 0.0F},
        context.numerics);
    library.multiply<In>({activation.dup, Transpose::no, weights.up[task.expert], Transpose::yes, dx, 1.0F},
                         context.numerics);
    if (slots.row.empty() && slots.weight.empty()) return;
    // Rows by slot for the second pass. Only this task writes these slots.
    const MatrixView<In> x_slots(const_cast<In*>(between.x.data), between.x.rows, between.x.cols);
    const MatrixView<In> dy_slots(const_cast<In*>(between.dy.data), between.dy.rows, between.dy.cols);
    if (!slots.row.empty()) {
        for (index_t slot = task.slots.begin; slot < task.slots.end; ++slot) {
            std::memcpy(x_slots.row(slot), x.row(slots.row[static_cast<std::size_t>(slot)]),
                        static_cast<std::size_t>(x.cols) * sizeof(In));
        }
    }
    if (!slots.weight.empty()) {
        scale_into(dy, activation.weight, dy_slots.rows_of(task.slots));
    } else {
        for (index_t r = 0; r < count; ++r) {
            std::memcpy(dy_slots.row(task.slots.begin + r), dy.row(r),
                        static_cast<std::size_t>(dy.cols) * sizeof(In));
        }
    }
}

/// Which of the three weights, of which expert, and which rows and columns of it.
struct TileTask {
    int weight;  ///< 0 gate, 1 up, 2 down
    index_t expert;
    Range rows;
    Range cols;
};

constexpr index_t kTileSide = 384;

std::vector<TileTask> tile_tasks(const ExpertSlots& slots, index_t hidden, index_t width, index_t side) {
    std::vector<TileTask> tasks;
    for (index_t expert = 0; expert < slots.num_experts(); ++expert) {
        if (slots.offsets[static_cast<std::size_t>(expert)] ==
            slots.offsets[static_cast<std::size_t>(expert) + 1])
            continue;
        for (int weight = 0; weight < 3; ++weight) {
            const index_t num_rows = weight == 2 ? width : hidden;
            const index_t num_cols = weight == 2 ? hidden : width;
            const index_t row_parts = ceil_div(num_rows, side);
            const index_t col_parts = ceil_div(num_cols, side);
            for (index_t r = 0; r < row_parts; ++r) {
                for (index_t c = 0; c < col_parts; ++c) {
                    tasks.push_back(
                        {weight, expert, part_of(num_rows, row_parts, r), part_of(num_cols, col_parts, c)});
                }
            }
        }
    }
    return tasks;
}

/// Adds left^T right over the slots [range] into the tile; in fixed point through `tile`.
template <class In>
void add_tile(MatrixView<const In> left, MatrixView<const In> right, Range range, const TileTask& task,
              GradientView gradient, float* tile, const Context& context) {
    Product<In> product{left.rows_of(range).cols_of(task.rows),
                        Transpose::yes,
                        right.rows_of(range).cols_of(task.cols),
                        Transpose::no,
                        {},
                        1.0F};
    if (gradient.f32 != nullptr) {
        product.c = MatrixView<float>(gradient.f32, gradient.rows, gradient.cols)
                        .rows_of(task.rows)
                        .cols_of(task.cols);
        context.gemm.multiply(product, context.numerics);
        return;
    }
    product.c = {tile, task.rows.size(), task.cols.size()};
    product.beta = 0.0F;
    context.gemm.multiply(product, NumericsMode::reproducible);
    for (index_t r = 0; r < product.c.rows; ++r) {
        accumulate(product.c.row_span(r), (task.rows.begin + r) * gradient.cols + task.cols.begin, gradient);
    }
}

template <class In>
void gradient_task(const ExpertSlots& slots, const Intermediate<In>& between,
                   const ExpertGradients& gradients, const TileTask& task, float* tile,
                   const Context& context) {
    const auto expert = static_cast<std::size_t>(task.expert);
    const Range all{slots.offsets[expert], slots.offsets[expert + 1]};
    const MatrixView<const In> left = task.weight == 2 ? MatrixView<const In>(between.h) : between.x;
    const MatrixView<const In> right = task.weight == 2   ? between.dy
                                       : task.weight == 0 ? MatrixView<const In>(between.dgate)
                                                          : MatrixView<const In>(between.dup);
    const std::span<const GradientView> list = task.weight == 0   ? gradients.gate
                                               : task.weight == 1 ? gradients.up
                                                                  : gradients.down;
    const GradientView gradient = list[expert];
    if (gradient.f32 != nullptr) {
        add_tile(left, right, all, task, gradient, tile, context);
        return;
    }
    const auto first = std::lower_bound(slots.blocks.begin(), slots.blocks.end(), all.begin);
    for (auto block = first; block + 1 < slots.blocks.end() && *block < all.end; ++block) {
        if (block[0] < block[1])
            add_tile(left, right, Range{block[0], block[1]}, task, gradient, tile, context);
    }
}

}  // namespace

template <class In>
void expert_ffn_backward(MatrixView<const In> x, const ExpertWeights<In>& weights, const ExpertSlots& slots,
                         ExpertSaved<const In> saved, const ExpertBackward<In>& backward,
                         const Context& context) {
    detail::check_operands(x, weights, slots);
    const index_t num_slots = slots.num_slots();
    const index_t hidden = x.cols;
    const index_t width = weights.gate.cols;
    SY_REQUIRE(backward.dy.rows == x.rows && backward.dy.cols == hidden && backward.dx.rows == num_slots &&
                   backward.dx.cols == hidden && saved.gate.rows == num_slots && saved.up.rows == num_slots,
               "expert_ffn_backward: dy [", backward.dy.rows, ", ", backward.dy.cols, "], dx [",
               backward.dx.rows, ", ", backward.dx.cols, "], saved rows ", saved.gate.rows, " for ",
               num_slots, " slots of width ", hidden);
    if (num_slots == 0) return;
    const DType dtype = dtype_of<In>::value;
    Tensor activations(context.arena, dtype, {3, num_slots, width});
    In* const data = activations.values<In>().data();
    const bool direct = slots.row.empty() && slots.weight.empty();
    Tensor rows(context.arena, dtype, {direct ? 0 : 2, num_slots, hidden});
    Intermediate<In> between{{data, num_slots, width},
                             {data + num_slots * width, num_slots, width},
                             {data + 2 * num_slots * width, num_slots, width},
                             x,
                             backward.dy};
    if (!direct) {
        In* const row_data = rows.values<In>().data();
        if (!slots.row.empty()) between.x = {row_data, num_slots, hidden};
        between.dy = {row_data + num_slots * hidden, num_slots, hidden};
    }

    const std::vector<detail::SlotTask> tasks = detail::slot_tasks(slots);
    const index_t task_bytes =
        detail::kTaskSlots * (width * index_t{sizeof(float)} + hidden * index_t{sizeof(In)});
    const bool fixed = !backward.gradients.gate.empty() && backward.gradients.gate[0].fixed != nullptr;
    const index_t side = fixed ? kTileSide / 2 : kTileSide;
    detail::ThreadScratch scratch(context, std::max(task_bytes, side * side * index_t{sizeof(float)}));
    context.team.for_tasks(static_cast<index_t>(tasks.size()), [&](index_t task_idx, int thread_idx) {
        data_task(x, weights, slots, saved, backward, between, tasks[static_cast<std::size_t>(task_idx)],
                  scratch.of(thread_idx), context);
    });
    const std::vector<TileTask> tiles = tile_tasks(slots, hidden, width, side);
    context.team.for_tasks(static_cast<index_t>(tiles.size()), [&](index_t task_idx, int thread_idx) {
        gradient_task(slots, between, backward.gradients, tiles[static_cast<std::size_t>(task_idx)],
                      reinterpret_cast<float*>(scratch.of(thread_idx)), context);
    });
}

template void expert_ffn_backward<float>(MatrixView<const float>, const ExpertWeights<float>&,
                                         const ExpertSlots&, ExpertSaved<const float>,
                                         const ExpertBackward<float>&, const Context&);
template void expert_ffn_backward<bf16>(MatrixView<const bf16>, const ExpertWeights<bf16>&,
                                        const ExpertSlots&, ExpertSaved<const bf16>,
                                        const ExpertBackward<bf16>&, const Context&);

}  // namespace sy::ops

#include "model/moe/wire.hpp"

#include <utility>

#include "kernels/ops/cast/cast.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "kernels/ops/quantize/quantize.hpp"

namespace sy::model {

SentRows::SentRows(ConstTensorRef x, WireFormat format, DType dtype, const Context& context) {
    if (format != WireFormat::fp8) {
        product_.emplace(x, format == WireFormat::bf16 ? DType::bf16 : dtype, context);
        return;
    }
    encoded_ = Tensor(context.device, DType::u8, {x.rows(), ops::quantized_row_bytes(x.cols())});
    ops::quantize_rows(x, encoded_, context);
}

WireBytes wire_bytes(WireFormat format, DType dtype) {
    const auto product = static_cast<double>(dtype_bytes(dtype));
    if (format == WireFormat::f32) return {product, product, 4.0};
    if (format == WireFormat::bf16) return {2.0, 2.0, 2.0};
    return {static_cast<double>(ops::quantized_row_bytes(ops::kQuantizedBlock)) / ops::kQuantizedBlock, 2.0,
            2.0};
}

WireFormat gradient_wire(WireFormat format) {
    return format == WireFormat::fp8 ? WireFormat::bf16 : format;
}

void SlotRows::spread(const Context& context) {
    if (row.empty()) return;
    Tensor spread(context.device, x.dtype(), {static_cast<index_t>(row.size()), x.cols()});
    ops::gather_rows(x, row, spread, context);
    own = std::move(spread);
    x = own;
    row = {};
}

SlotRows slot_rows(ConstTensorRef rows, std::span<const std::int32_t> row, index_t width, DType dtype,
                   const Context& context) {
    SlotRows slots;
    if (rows.dtype() == dtype) {
        // There may be rows where there is no slot: an empty list of rows would mean a row for each slot.
        slots.x = row.empty() ? rows.rows_of({0, 0}) : rows;
        slots.row = row;
        return slots;
    }
    slots.own = Tensor(context.device, dtype, {static_cast<index_t>(row.size()), width});
    if (rows.dtype() == DType::u8)
        ops::dequantize_rows(rows, row, slots.own, context);
    else
        ops::gather_rows(rows, row, slots.own, context);
    slots.x = slots.own;
    return slots;
}

SlotResults::SlotResults(comm::Exchange& exchange, const comm::DispatchPlan& plan, index_t width,
                         WireFormat format, const Context& context)
    : exchange_(exchange),
      plan_(plan),
      context_(context),
      results_(exchange.make_results(plan, width, format == WireFormat::f32 ? DType::f32 : DType::bf16)),
      travelling_(results_.ref().rows_of(plan.back.slots)) {
    if (format == WireFormat::f32) return;
    own_ = Tensor(context.device, DType::f32, {plan.back.slots.size(), width});
    values_ = own_;
}

void SlotResults::written(Range slots) {
    if (!own_.empty()) ops::cast(values_.rows_of(slots), travelling_.rows_of(slots), context_);
}

}  // namespace sy::model

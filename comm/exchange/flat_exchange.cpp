#include <algorithm>

#include "comm/exchange/exchange.hpp"
#include "kernels/ops/permute/permute.hpp"

namespace sy::comm {
namespace {

std::vector<index_t> scaled(std::span<const index_t> offsets, index_t factor) {
    std::vector<index_t> result;
    for (const index_t offset : offsets) result.push_back(offset * factor);
    return result;
}

class FlatExchange : public Exchange {
  public:
    FlatExchange(Communicator& group, const Context& context) : group_(group), context_(context) {}

    DispatchPlan plan(const Choices& choices, const Placement& placement, ReturnRows return_rows) override {
        SY_REQUIRE(placement.num_ranks() == group_.size(), "exchange: placement over ", placement.num_ranks(),
                   " ranks in a group of ", group_.size());
        DispatchPlan plan;
        plan.return_rows = return_rows;
        plan.send = make_send_plan(choices, placement, return_rows);
        std::vector<index_t> counts;
        for (std::size_t rank = 0; rank < static_cast<std::size_t>(group_.size()); ++rank) {
            counts.push_back(plan.send.row_offsets[rank + 1] - plan.send.row_offsets[rank]);
            counts.push_back(plan.send.slot_offsets[rank + 1] - plan.send.slot_offsets[rank]);
        }
        const std::vector<index_t> incoming = all_to_all(group_, std::span<const index_t>(counts));
        std::vector<index_t> row_offsets{0};
        std::vector<index_t> slot_offsets{0};
        for (std::size_t rank = 0; rank < static_cast<std::size_t>(group_.size()); ++rank) {
            row_offsets.push_back(row_offsets.back() + incoming[2 * rank]);
            slot_offsets.push_back(slot_offsets.back() + incoming[2 * rank + 1]);
        }
        std::vector<SlotRecord> records(static_cast<std::size_t>(slot_offsets.back()));
        constexpr auto kRecordBytes = static_cast<index_t>(sizeof(SlotRecord));
        start_all_to_all_v(group_, std::as_bytes(std::span<const SlotRecord>(plan.send.slots)),
                           scaled(plan.send.slot_offsets, kRecordBytes),
                           std::as_writable_bytes(std::span<SlotRecord>(records)),
                           scaled(slot_offsets, kRecordBytes), next_tag(), "exchange of slot records")
            .wait();
        plan.receive = make_receive_plan(row_offsets, slot_offsets, records, placement, group_.rank());
        bytes_.metadata += remote(plan.send.slot_offsets) * kRecordBytes +
                           (group_.size() - 1) * 2 * index_t{sizeof(index_t)};
        return plan;
    }

    PendingRows start_dispatch(MatrixView<const float> x, const DispatchPlan& plan) override {
        return dispatch(x, plan);
    }
    PendingRows start_dispatch(MatrixView<const bf16> x, const DispatchPlan& plan) override {
        return dispatch(x, plan);
    }

    PendingRows start_return(MatrixView<const float> slots, const DispatchPlan& plan) override {
        SY_REQUIRE(slots.rows == plan.receive.num_slots(), "exchange: ", slots.rows, " slots returned of ",
                   plan.receive.num_slots());
        const bool per_rank = plan.return_rows == ReturnRows::per_rank;
        const index_t num_out = per_rank ? plan.receive.num_rows() : plan.receive.num_slots();
        const index_t num_in = per_rank ? plan.send.num_rows() : plan.send.num_slots();
        Tensor staging(context_.arena, DType::f32, {num_out, slots.cols});
        const MatrixView<float> out = staging.matrix<float>();
        if (per_rank) {
            ops::sum_rows(slots, plan.receive.row_slot_offsets, plan.receive.slot_of_record,
                          ops::Into::overwrite, out, context_);
        } else {
            ops::gather_rows(slots, std::span<const std::int32_t>(plan.receive.slot_of_record), out,
                             context_);
        }
        const std::vector<index_t>& out_offsets =
            per_rank ? plan.receive.row_offsets : plan.receive.slot_offsets;
        const std::vector<index_t>& in_offsets = per_rank ? plan.send.row_offsets : plan.send.slot_offsets;
        return start_rows(std::move(staging), out_offsets, num_in, in_offsets,
                          remote(plan.receive.row_offsets), "return of rows");
    }

    void return_scalars(std::span<const float> slot_values, const DispatchPlan& plan,
                        MatrixView<float> out) override {
        const index_t num_choices = static_cast<index_t>(plan.send.slot_of_choice.size());
        SY_REQUIRE(static_cast<index_t>(slot_values.size()) == plan.receive.num_slots() &&
                       out.rows == plan.num_tokens() && out.rows * out.cols == num_choices,
                   "exchange: ", slot_values.size(), " scalars of ", plan.receive.num_slots(),
                   " slots into [", out.rows, ", ", out.cols, "] for ", num_choices, " choices of ",
                   plan.num_tokens(), " tokens");
        std::vector<float> by_record(slot_values.size());
        for (std::size_t i = 0; i < by_record.size(); ++i) {
            by_record[i] = slot_values[static_cast<std::size_t>(plan.receive.slot_of_record[i])];
        }
        std::vector<float> back(static_cast<std::size_t>(plan.send.num_slots()));
        start_all_to_all_v(
            group_, std::as_bytes(std::span<const float>(by_record)),
            scaled(plan.receive.slot_offsets, sizeof(float)), std::as_writable_bytes(std::span<float>(back)),
            scaled(plan.send.slot_offsets, sizeof(float)), next_tag(), "return of weight gradients")
            .wait();
        bytes_.metadata += remote(plan.receive.slot_offsets) * index_t{sizeof(float)};
        for (index_t t = 0; t < out.rows; ++t) {
            for (index_t j = 0; j < out.cols; ++j) {
                const std::int32_t slot =
                    plan.send.slot_of_choice[static_cast<std::size_t>(t * out.cols + j)];
                out(t, j) = slot < 0 ? 0.0F : back[static_cast<std::size_t>(slot)];
            }
        }
    }

    ExchangeBytes bytes() const override { return bytes_; }

  private:
    /// Tags go round, so that exchanges under way at the same time never meet.
    int next_tag() { return tag_ = tag_ % 1000 + 1; }

    /// How many of the items in `offsets` belong to other ranks.
    index_t remote(std::span<const index_t> offsets) const {
        const auto me = static_cast<std::size_t>(group_.rank());
        return offsets.back() - (offsets[me + 1] - offsets[me]);
    }

    template <class T>
    PendingRows dispatch(MatrixView<const T> x, const DispatchPlan& plan) {
        SY_REQUIRE(x.rows == plan.num_tokens(), "exchange: ", x.rows, " tokens for a plan of ",
                   plan.num_tokens());
        Tensor staging(context_.arena, dtype_of<T>::value, {plan.send.num_rows(), x.cols});
        ops::gather_rows(x, std::span<const std::int32_t>(plan.send.row_token), staging.matrix<T>(),
                         context_);
        return start_rows(std::move(staging), plan.send.row_offsets, plan.receive.num_rows(),
                          plan.receive.row_offsets, remote(plan.send.row_offsets), "dispatch of rows");
    }

    PendingRows start_rows(Tensor staging, std::span<const index_t> out_offsets, index_t num_in,
                           std::span<const index_t> in_offsets, index_t bound_rows, const char* doing) {
        const index_t width = staging.shape()[1];
        const index_t row_bytes = width * dtype_bytes(staging.dtype());
        Tensor rows(context_.arena, staging.dtype(), {num_in, width});
        PendingExchange exchange =
            start_all_to_all_v(group_, std::as_const(staging).raw(), scaled(out_offsets, row_bytes),
                               rows.raw(), scaled(in_offsets, row_bytes), next_tag(), doing);
        bytes_.rows += remote(out_offsets) * row_bytes;
        bytes_.bound += bound_rows * row_bytes;
        return PendingRows(std::move(rows), std::move(staging), std::move(exchange));
    }

    Communicator& group_;
    const Context& context_;
    int tag_ = 0;
    ExchangeBytes bytes_;
};

}  // namespace

std::unique_ptr<Exchange> make_flat_exchange(Communicator& group, const Context& context) {
    return std::make_unique<FlatExchange>(group, context);
}

}  // namespace sy::comm

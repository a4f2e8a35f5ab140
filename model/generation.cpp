// What a model does outside of training: reading a text, continuing it, measuring how likely it is.
#include <algorithm>
#include <numeric>

#include "comm/collectives.hpp"
#include "kernels/core/host_values.hpp"
#include "kernels/ops/copy/copy.hpp"
#include "model/transformer.hpp"

namespace sy::model {

PassInfo Transformer::generating(std::span<const std::int32_t> ids, index_t seq_len) const {
    index_t global = static_cast<index_t>(ids.size());
    comm::all_reduce(world_.world, std::span<index_t>(&global, 1));
    return {{0, std::max<index_t>(global, 1), 0, 0, 1}, Use::generate, seed_, seq_len, ids, {}};
}

Value& Transformer::read_all(const Stack& stack, Tape& tape, const PassInfo& pass) const {
    std::vector<MoeStatistics> statistics(stack.blocks().size());
    return *stack.forward(tape, pass, statistics).normed;
}

Transformer::Generation Transformer::empty_slots(index_t num_slots, index_t capacity,
                                                 const Context& context) const {
    Generation state;
    state.lengths.resize(static_cast<std::size_t>(num_slots));
    for (const Block& block : stack_->blocks())
        state.caches.push_back({block.attention().make_cache(num_slots, capacity, context), {}});
    return state;
}

Transformer::Generation Transformer::start_generation(index_t num_slots, index_t capacity,
                                                      const Context& context) const {
    SY_REQUIRE(config_.architecture == Architecture::decoder,
               "generation: only a decoder can continue a text");
    Generation state = empty_slots(num_slots, capacity, context);
    if (host_decision().empty()) state.graphs = make_graphs(context);
    return state;
}

std::string Transformer::host_decision() const {
    for (const Block& block : stack_->blocks()) {
        const char* const decision = block.moe() == nullptr ? nullptr : block.moe()->host_decision();
        if (decision != nullptr) return decision;
    }
    return {};
}

void Transformer::check_ids(std::span<const std::int32_t> ids) const {
    for (const std::int32_t id : ids) {
        if (id < 0 || id >= config_.vocab_size) {
            throw ShapeError(concat("generation: token id ", id, " of a vocabulary of ", config_.vocab_size));
        }
    }
}

Transformer::Generation Transformer::start_generation(std::span<const std::int32_t> source,
                                                      index_t source_len, index_t capacity,
                                                      const Context& context) const {
    SY_REQUIRE(encoder_ != nullptr, "generation: only an encoder and decoder reads a source");
    const index_t num_sequences = static_cast<index_t>(source.size()) / source_len;
    Tape tape(Tape::Mode::forward_only, context);
    const PassInfo pass = generating(source, source_len);
    Value& encoded = read_all(*encoder_, tape, pass);
    Generation state = empty_slots(num_sequences, capacity, context);
    for (index_t i = 0; i < std::ssize(state.caches); ++i) {
        state.caches[static_cast<std::size_t>(i)].cross =
            blocks_[i]->cross_attention()->make_cross_cache(encoded.ref(), source_len, context);
    }
    return state;
}

Tensor Transformer::read(std::span<const std::int32_t> ids, index_t seq_len, const Context& context) const {
    SY_REQUIRE(config_.architecture == Architecture::encoder, "reading: only an encoder sees a whole text");
    Tape tape(Tape::Mode::forward_only, context);
    const PassInfo pass = generating(ids, seq_len);
    Value& last = read_all(*stack_, tape, pass);
    Tensor logits(context.device, DType::f32, {last.ref().rows(), config_.vocab_size});
    head_->logits(last.ref(), logits, context);
    return logits;
}

Value& Transformer::extend(Tape& tape, const PassInfo& pass, const CacheRows& rows, Generation& state) const {
    return *stack_->extend(tape, pass, state.caches, rows).normed;
}

void Transformer::check_rows(const CacheRows& rows, const Generation& state) const {
    const index_t most = std::min(state.capacity(), config_.seq_len);
    for (const std::int32_t position : rows.host_positions()) {
        if (position >= most) {
            throw ShapeError(
                concat("generation: position ", position, " is beyond the context of ", most, " tokens"));
        }
    }
}

Tensor Transformer::prefill(std::span<const std::int32_t> ids, index_t slot, LogitRows wanted,
                            Generation& state, const Context& context) const {
    const auto length = static_cast<index_t>(ids.size());
    const CacheRows rows = CacheRows::prompt(slot, length, state.capacity());
    check_rows(rows, state);
    Tape tape(Tape::Mode::forward_only, context);
    const PassInfo pass = generating(ids, 1);
    const ConstTensorRef last = extend(tape, pass, rows, state).ref();
    const index_t first = wanted == LogitRows::all ? 0 : std::max<index_t>(0, length - 1);
    Tensor logits(context.device, DType::f32, {length - first, config_.vocab_size});
    head_->logits(last.rows_of({first, length}), logits, context);
    if (length > 0) state.lengths.at(static_cast<std::size_t>(slot)) = length;
    return logits;
}

Tensor Transformer::decode(std::span<const std::int32_t> ids, std::span<const index_t> slots,
                           Generation& state, const Context& context) const {
    SY_REQUIRE(ids.size() == slots.size(), "generation: ", ids.size(), " tokens for ", slots.size(),
               " slots");
    PerRow<index_t> slot;
    PerRow<std::int32_t> position;
    for (const index_t each : slots) {
        slot.push_back(each);
        position.push_back(narrow<std::int32_t>(state.lengths.at(static_cast<std::size_t>(each))++));
    }
    CacheRows rows = CacheRows::next_tokens(std::move(slot), std::move(position), state.capacity());
    check_rows(rows, state);
    const PassInfo pass = generating(ids, 1);
    const auto queue = [&](TensorRef logits) {
        Tape tape(Tape::Mode::forward_only, context);
        head_->logits(extend(tape, pass, rows, state).ref(), logits, context);
    };
    Tensor logits(context.device, DType::f32, {rows.size(), config_.vocab_size});
    if (rows.size() == 0 || context.device.is_host_memory()) {
        queue(logits);
        return logits;
    }
    check_ids(ids);
    Generation::Step& step = state.steps[rows.size()];
    rows.upload(ids, step.lists, context);
    if (state.graphs == nullptr) {
        queue(logits);
        return logits;
    }
    if (step.logits.empty()) step.logits = Tensor(context.device, DType::f32, logits.shape());
    state.graphs->run(rows.size(), [&] { queue(step.logits); });
    ops::copy(step.logits, logits, context);
    return logits;
}

Tensor Transformer::decode(std::span<const std::int32_t> ids, Generation& state,
                           const Context& context) const {
    std::vector<index_t> slots(state.lengths.size());
    std::iota(slots.begin(), slots.end(), index_t{0});
    return decode(ids, slots, state, context);
}

std::vector<float> Transformer::score(std::span<const std::int32_t> ids, index_t row_len,
                                      const Context& context) const {
    SY_REQUIRE(config_.architecture == Architecture::decoder,
               "scoring: only a decoder says how likely a text is");
    SY_REQUIRE(
        row_len >= 2 && row_len <= config_.seq_len + 1 && static_cast<index_t>(ids.size()) % row_len == 0,
        "scoring: ", ids.size(), " ids in rows of ", row_len, " (expected 2 to ", config_.seq_len + 1, ")");
    const index_t num_rows = static_cast<index_t>(ids.size()) / row_len;
    std::vector<std::int32_t> inputs;
    std::vector<std::int32_t> targets;
    for (index_t row = 0; row < num_rows; ++row) {
        const auto first = ids.begin() + row * row_len;
        inputs.insert(inputs.end(), first, first + row_len - 1);
        targets.insert(targets.end(), first + 1, first + row_len);
    }
    Tape tape(Tape::Mode::forward_only, context);
    const PassInfo pass = generating(inputs, row_len - 1);
    Value& last = read_all(*stack_, tape, pass);
    Tensor losses(context.device, DType::f32, {static_cast<index_t>(inputs.size())});
    head_->forward(tape, last, {targets, 0.0F, losses}, pass);
    const HostValues read(HostRead::step, {losses}, context);
    const auto values = host_values<const float>(read[0]);
    return {values.begin(), values.end()};
}

}  // namespace sy::model

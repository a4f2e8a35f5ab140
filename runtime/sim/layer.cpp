#include "runtime/sim/layer.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>
#include <tuple>
#include <utility>

#include "comm/collectives.hpp"
#include "kernels/core/philox.hpp"

namespace sy::runtime::sim {
namespace {

class Layer {
  public:
    Layer(const LayerShape& shape, const RankRouting& routing, comm::Exchange& exchange,
          comm::Communicator& group, Ground& ground, const Context& context)
        : shape_(shape),
          routing_(routing),
          exchange_(exchange),
          group_(group),
          ground_(ground),
          context_(context),
          placement_(comm::block_placement(shape.routing.experts, group.size())),
          x_(context.device, shape.dtype, {routing.tokens(), shape.carried}),
          y_(context.device, DType::f32, {routing.tokens(), shape.carried}) {
        x_.fill_zero();
        y_.fill_zero();
        if (shape.dtype != DType::f32) return;
        for (std::size_t i = 0; i < x_.values<float>().size(); ++i)
            x_.values<float>()[i] = uniform(
                {7, static_cast<std::uint64_t>(group.rank()), 0, RandomPurpose::test}, std::uint64_t{i});
    }

    LayerTimes run(int repeats) {
        LayerTimes times;
        times.plan = fastest(repeats, [&] { make_plan(); });
        const comm::ExchangeTraffic before = exchange_.traffic();
        Tensor rows;
        times.dispatch = fastest(repeats, [&] {
            rows = start_dispatch().wait();
            ground_.carry(Cargo::plans);
        });
        std::vector<double> backs;
        for (int repeat = 0; repeat < repeats; ++repeat) {
            Tensor results = exchange_.make_results(plan_, shape_.carried);
            weigh(rows, {0, plan_.receive.num_slots()}, results.ref().rows_of(plan_.back.slots));
            backs.push_back(timed([&] {
                comm::PendingRows returning = start_return(std::move(results));
                finish_return(returning);
            }));
        }
        times.back = *std::ranges::min_element(backs);
        add_traffic(times, before, repeats);
        times.error = error_of_tokens();
        const double waited = group_.waited_seconds();
        std::vector<std::pair<double, double>> passes;
        for (int repeat = 0; repeat < repeats; ++repeat) {
            const double forward_seconds = timed([&] { forward(); });
            passes.emplace_back(forward_seconds, timed([&] { backward(); }));
        }
        times.waited = (group_.waited_seconds() - waited) / repeats;
        std::tie(times.forward, times.backward) =
            *std::ranges::min_element(passes, {}, [](const auto& pass) { return pass.first + pass.second; });
        agree(times);
        return times;
    }

  private:
    double timed(const std::function<void()>& body) {
        comm::barrier(group_);
        const double start = ground_.now();
        body();
        double seconds = ground_.now() - start;
        comm::all_reduce(group_, std::span<double>(&seconds, 1), comm::ReduceOp::max);
        return seconds;
    }
    double fastest(int repeats, const std::function<void()>& body) {
        double best = HUGE_VAL;
        for (int repeat = 0; repeat < repeats; ++repeat) best = std::min(best, timed(body));
        return best;
    }

    double wide(index_t rows, DType dtype) const {
        return static_cast<double>(rows * shape_.hidden * dtype_bytes(dtype));
    }
    /// Seconds of a gated block's three products forward; each has two of the same size backward.
    double products(index_t rows, index_t width) const {
        return 6.0 * static_cast<double>(rows * shape_.hidden * width) / shape_.flops;
    }

    void make_plan() {
        ground_.carry(Cargo::plans);
        plan_ = exchange_.plan(routing_.choices(), placement_, comm::ReturnRows::per_unit,
                               comm::SlotChunks::by_arrival);
    }

    comm::PendingRows start_dispatch() {
        ground_.carry(Cargo::rows);
        const Range own = plan_.receive.row_offsets[group_.rank()];
        ground_.copy(2.0 * wide(plan_.send.num_rows() - own.size(), shape_.dtype));
        comm::PendingRows arriving = exchange_.start_dispatch(x_, plan_);
        ground_.copy(2.0 * wide(own.size(), shape_.dtype));
        return arriving;
    }

    /// Slots are their rows times their weights: as the weights of a token add up to one, it comes back as it went.
    void weigh(ConstTensorRef rows, Range of_slots, TensorRef to) const {
        const MatrixView<float> slots = host<float>(to);
        const bool carries_values = shape_.dtype == DType::f32;
        for (index_t s = of_slots.begin; s < of_slots.end; ++s) {
            for (index_t i = 0; i < slots.cols; ++i)
                slots(s, i) = carries_values ? plan_.receive.slot_weight[s] *
                                                   host<const float>(rows)(plan_.receive.slot_row[s], i)
                                             : 0.0F;
        }
    }

    comm::PendingRows start_return(Tensor results) {
        ground_.carry(Cargo::rows);
        ground_.copy(wide(plan_.gateway.row_slots.size() + plan_.gateway.row_offsets.total(), DType::f32));
        return exchange_.start_return(std::move(results), plan_);
    }
    void finish_return(comm::PendingRows& returning) {
        const Tensor all = returning.wait();
        ground_.copy(wide(plan_.back.rows.size() + plan_.num_tokens(), DType::f32));
        comm::combine_returned(all, plan_, Write::overwrite, y_, context_);
        ground_.carry(Cargo::plans);
    }

    /// What a pass computes, in products forward: of shared experts, of a slot before its result can travel, and after.
    struct Work {
        double shared;
        double before;
        double after;
    };

    /// Slots of near rows are computed while the others travel.
    void pass(const Work& work) {
        comm::PendingRows arriving = start_dispatch();
        ground_.compute(work.shared * products(plan_.num_tokens(), shape_.shared_width), [] {});
        Tensor results = exchange_.make_results(plan_, shape_.carried);
        const TensorRef slots = results.ref().rows_of(plan_.back.slots);
        Tensor rows;
        std::optional<comm::PendingRows> returning;
        for (const comm::SlotChunk& chunk : plan_.receive.chunks) {
            if (!chunk.near) rows = arriving.wait();
            const ConstTensorRef here = rows.empty() ? arriving.near_rows() : std::as_const(rows).ref();
            const double seconds = products(chunk.slots.size(), shape_.width);
            ground_.compute(work.before * seconds, [&] { weigh(here, chunk.slots, slots); });
            if (!chunk.near) returning.emplace(start_return(std::move(results)));
            ground_.compute(work.after * seconds, [] {});
        }
        finish_return(*returning);
    }

    void forward() {
        make_plan();
        pass({1.0, 1.0, 0.0});
    }
    void backward() {
        pass({2.0, 1.0, 1.0});
        Tensor slot_values(context_.device, DType::f32, {plan_.receive.num_slots()});
        slot_values.fill_zero();
        Tensor choices(context_.device, DType::f32, {plan_.num_tokens(), routing_.top_k()});
        exchange_.return_scalars(slot_values, plan_, choices);
    }

    double error_of_tokens() const {
        double error = 0.0;
        if (shape_.dtype != DType::f32 || shape_.carried != shape_.hidden) return error;
        for (std::size_t i = 0; i < y_.values<float>().size(); ++i) {
            const double difference =
                static_cast<double>(y_.values<float>()[i]) - static_cast<double>(x_.values<float>()[i]);
            error = std::max(error, std::isfinite(difference) ? std::fabs(difference) : HUGE_VAL);
        }
        return error;
    }

    void add_traffic(LayerTimes& times, const comm::ExchangeTraffic& before, int repeats) const {
        const comm::ExchangeTraffic after = exchange_.traffic();
        const double wider = static_cast<double>(shape_.hidden / shape_.carried) / repeats;
        times.node_bytes = wider * static_cast<double>(after.node.bytes - before.node.bytes);
        times.network_bytes = wider * static_cast<double>(after.network.bytes - before.network.bytes);
        times.network_bound = wider * static_cast<double>(after.network_bound - before.network_bound);
    }

    void agree(LayerTimes& times) const {
        double sums[] = {times.node_bytes, times.network_bytes, times.network_bound,
                         times.waited / group_.size()};
        comm::all_reduce(group_, std::span<double>(sums));
        times.node_bytes = sums[0];
        times.network_bytes = sums[1];
        times.network_bound = sums[2];
        times.waited = sums[3];
        comm::all_reduce(group_, std::span<double>(&times.error, 1), comm::ReduceOp::max);
    }

    const LayerShape& shape_;
    const RankRouting& routing_;
    comm::Exchange& exchange_;
    comm::Communicator& group_;
    Ground& ground_;
    const Context& context_;
    comm::Placement placement_;
    Tensor x_;
    Tensor y_;
    comm::DispatchPlan plan_;
};

}  // namespace

LayerTimes run_layer(const LayerShape& shape, const RankRouting& routing, comm::Exchange& exchange,
                     comm::Communicator& group, Ground& ground, const Context& context, int repeats) {
    SY_REQUIRE(shape.carried >= 1 && shape.hidden % shape.carried == 0, "layer: rows of ", shape.hidden,
               " cannot be carried by rows of ", shape.carried);
    return Layer(shape, routing, exchange, group, ground, context).run(repeats);
}

}  // namespace sy::runtime::sim

#include "runtime/bench/round_trip.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <iterator>
#include <optional>
#include <utility>

#include "comm/mpi/mpi_session.hpp"
#include "kernels/core/host_view.hpp"
#include "kernels/ops/permute/permute.hpp"
#include "model/moe/wire.hpp"

namespace sy::runtime::bench {
namespace {

double difference(float found, double expected) {
    const double difference = static_cast<double>(found) - expected;
    return std::isfinite(difference) ? std::fabs(difference) : HUGE_VAL;
}

/// slots[s] = weight[s] * rows[row[s]], or of rows[s] where `row` is empty.
void weigh(ConstTensorRef rows, std::span<const std::int32_t> row, std::span<const float> weight,
           TensorRef slots) {
    const MatrixView<const float> all = host<const float>(rows);
    const MatrixView<float> to = host<float>(slots);
    for (index_t s = 0; s < to.rows; ++s) {
        const auto slot = static_cast<std::size_t>(s);
        const auto from = all.row_span(row.empty() ? s : row[slot]);
        for (index_t i = 0; i < to.cols; ++i) to(s, i) = weight[slot] * from[static_cast<std::size_t>(i)];
    }
}

/// The rows of a flat exchange there and back as they are, by MPI's all-to-all: what its wire takes.
class BareAllToAll : public RoundTrip {
  public:
    BareAllToAll(ExchangeTask& task, const comm::DispatchPlan& plan)
        : world_(task.world()),
          out_(plan.send.row_offsets.scaled(task.hidden() * index_t{sizeof(float)})),
          in_(plan.receive.row_offsets.scaled(task.hidden() * index_t{sizeof(float)})),
          sent_(task.machine().device, DType::f32, {plan.send.num_rows(), task.hidden()}),
          there_(task.machine().device, DType::f32, {plan.receive.num_rows(), task.hidden()}),
          back_(task.machine().device, DType::f32, sent_.shape()) {
        ops::gather_rows(task.x(), plan.send.row_token, sent_, task.machine().context);
        back_.fill_zero();
    }
    const char* name() const override { return "alltoallv"; }
    void dispatch() override {
        comm::mpi_alltoallv(world_, std::as_const(sent_).raw(), out_, there_.raw(), in_);
    }
    void bring_back() override {
        comm::mpi_alltoallv(world_, std::as_const(there_).raw(), in_, back_.raw(), out_);
    }
    double take_error() override {
        double error = 0.0;
        const std::span<const float> sent = std::as_const(sent_).values<float>();
        const std::span<const float> back = std::as_const(back_).values<float>();
        for (std::size_t i = 0; i < sent.size(); ++i)
            error = std::max(error, difference(back[i], static_cast<double>(sent[i])));
        back_.fill_zero();
        return error;
    }

  private:
    comm::Communicator& world_;
    comm::UnitOffsets out_;
    comm::RankOffsets in_;
    Tensor sent_;
    Tensor there_;
    Tensor back_;
};

/// A row for each choice, gathered by destination, carried by MPI's all-to-all and added up at home: a program without
/// plans.
class RowPerChoice : public RoundTrip {
  public:
    RowPerChoice(ExchangeTask& task, const comm::DispatchPlan& plan)
        : task_(task),
          out_(plan.send.slot_offsets.scaled(task.hidden() * index_t{sizeof(float)})),
          here_(task.machine().device, DType::f32, {plan.send.num_slots(), task.hidden()}),
          there_(task.machine().device, DType::f32, {plan.receive.num_slots(), task.hidden()}),
          weighted_(task.machine().device, DType::f32, there_.shape()) {
        for (const comm::SlotRecord& slot : plan.send.slots) token_of_row_.push_back(slot.token);
        comm::RankOffsets records;
        for (int source = 0; source < task.world().size(); ++source)
            records.append(std::ranges::count(plan.receive.slot_source, source));
        in_ = records.scaled(task.hidden() * index_t{sizeof(float)});
        for (const std::int32_t slot : plan.receive.slot_of_record)
            weight_.push_back(plan.receive.slot_weight[slot]);
        const index_t top_k = plan.send.top_k();
        for (index_t t = 0; t < plan.num_tokens(); ++t) {
            index_t num_kept = 0;
            for (index_t i = t * top_k; i < (t + 1) * top_k; ++i) {
                const std::int32_t place = plan.send.slot_of_choice[i];
                if (place < 0) continue;
                place_of_choice_.push_back(place);
                ++num_kept;
            }
            choices_.append(num_kept);
        }
    }
    const char* name() const override { return "per choice"; }
    void dispatch() override {
        ops::gather_rows(task_.x(), token_of_row_, here_, task_.machine().context);
        comm::mpi_alltoallv(task_.world(), std::as_const(here_).raw(), out_, there_.raw(), in_);
    }
    void weigh_rows() override { weigh(there_, {}, weight_, weighted_); }
    void bring_back() override {
        comm::mpi_alltoallv(task_.world(), std::as_const(weighted_).raw(), in_, here_.raw(), out_);
        ops::sum_rows(here_, choices_, place_of_choice_, Write::overwrite, task_.y(),
                      task_.machine().context);
    }
    double take_error() override { return task_.take_error(); }

  private:
    ExchangeTask& task_;
    comm::PlaceOffsets out_;
    comm::RankOffsets in_;
    std::vector<std::int32_t> token_of_row_;
    std::vector<float> weight_;  ///< of each row that came
    Offsets<TokenAxis> choices_;
    std::vector<std::int32_t> place_of_choice_;
    Tensor here_;
    Tensor there_;
    Tensor weighted_;
};

/// Rows in the format of the task, as a mixture sends them: encoding and decoding are part of the steps.
class ExchangeRoundTrip : public RoundTrip {
  public:
    ExchangeRoundTrip(ExchangeTask& task, comm::ExchangeKind kind)
        : task_(task),
          kind_(kind),
          exchange_(comm::make_exchange(kind, task.world(), task.topology(), task.machine().context)) {}
    const char* name() const override { return comm::exchange_name(kind_); }
    model::WireFormat wire() const override { return task_.wire(); }
    bool has_plan() const override { return true; }
    void plan() override {
        plan_ = exchange_->plan(task_.routing().choices(), task_.placement(), comm::ReturnRows::per_unit);
    }
    void dispatch() override {
        const model::SentRows sent(task_.x(), wire(), DType::f32, task_.machine().context);
        rows_ = exchange_->start_dispatch(sent.ref(), plan_).wait();
        slots_ = model::slot_rows(rows_, plan_.receive.slot_row, task_.hidden(), DType::f32,
                                  task_.machine().context);
    }
    void make_room() override {
        results_.emplace(*exchange_, plan_, task_.hidden(), wire(), task_.machine().context);
    }
    void weigh_rows() override { weigh(slots_.x, slots_.row, plan_.receive.slot_weight, results_->values()); }
    void bring_back() override {
        results_->written({0, plan_.receive.num_slots()});
        returned_ = results_->start_return().wait();
        comm::combine_returned(returned_, plan_, Write::overwrite, task_.y(), task_.machine().context);
    }
    double take_error() override {
        slots_ = {};
        rows_ = {};
        results_.reset();
        returned_ = {};
        return task_.take_error();
    }
    void close() override { exchange_->close(); }

  private:
    ExchangeTask& task_;
    comm::ExchangeKind kind_;
    std::unique_ptr<comm::Exchange> exchange_;
    comm::DispatchPlan plan_;
    Tensor rows_;
    model::SlotRows slots_;
    std::optional<model::SlotResults> results_;
    Tensor returned_;
};

/// Milliseconds of one step of a way on this rank, begun by all ranks at once.
double time_step(comm::Communicator& world, const std::function<void()>& step) {
    comm::barrier(world);
    const auto start = std::chrono::steady_clock::now();
    step();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

/// What the rounds of one way have taken on this rank.
struct RoundTimes {
    std::vector<double> plan;
    std::vector<double> dispatch;
    std::vector<double> back;
    double error = 0.0;

    void add_round(comm::Communicator& world, RoundTrip& way) {
        plan.push_back(way.has_plan() ? time_step(world, [&] { way.plan(); }) : 0.0);
        dispatch.push_back(time_step(world, [&] { way.dispatch(); }));
        const double room = time_step(world, [&] { way.make_room(); });
        way.weigh_rows();
        back.push_back(room + time_step(world, [&] { way.bring_back(); }));
        error = std::max(error, way.take_error());
    }
};

Times sorted(std::vector<double> times) {
    std::sort(times.begin(), times.end());
    return {times.front(), times[times.size() / 2]};
}

RoundTripTimes of_slowest_rank(comm::Communicator& world, RoundTimes rounds) {
    for (std::vector<double>* const times : {&rounds.plan, &rounds.dispatch, &rounds.back})
        comm::all_reduce(world, std::span<double>(*times), comm::ReduceOp::max);
    comm::all_reduce(world, std::span<double>(&rounds.error, 1), comm::ReduceOp::max);
    std::vector<double> there_and_back;
    std::ranges::transform(rounds.dispatch, rounds.back, std::back_inserter(there_and_back), std::plus());
    return {sorted(rounds.plan), sorted(rounds.dispatch), sorted(rounds.back), sorted(there_and_back),
            rounds.error};
}

}  // namespace

ExchangeTask::ExchangeTask(const ExchangeShape& shape, BenchRouting routing, model::WireFormat wire,
                           Machine& machine, comm::Communicator& world)
    : machine_(machine),
      world_(world),
      topology_(comm::discover_topology(world)),
      placement_(comm::block_placement(shape.experts, world.size())),
      routing_(std::move(routing)),
      wire_(wire),
      x_(machine.random<float>({routing_.num_tokens(), shape.hidden},
                               static_cast<std::uint64_t>(10 + world.rank()))),
      y_(machine.device, DType::f32, x_.shape()) {
    y_.fill_zero();
}

double ExchangeTask::take_error() {
    const MatrixView<const float> sent = std::as_const(x_).matrix<float>();
    const MatrixView<const float> found = std::as_const(y_).matrix<float>();
    double error = 0.0;
    for (index_t t = 0; t < found.rows; ++t) {
        const double share = routing_.kept_weight(t);
        for (index_t i = 0; i < found.cols; ++i)
            error = std::max(error, difference(found(t, i), share * static_cast<double>(sent(t, i))));
    }
    y_.fill_zero();
    return error;
}

std::vector<std::unique_ptr<RoundTrip>> make_round_trips(ExchangeTask& task, Peers peers) {
    std::vector<std::unique_ptr<RoundTrip>> ways;
    if (peers == Peers::mpi_alltoallv) {
        const auto flat = comm::make_exchange(comm::ExchangeKind::flat, task.world(), task.topology(),
                                              task.machine().context);
        const comm::DispatchPlan plan =
            flat->plan(task.routing().choices(), task.placement(), comm::ReturnRows::per_unit);
        flat->close();
        ways.push_back(std::make_unique<BareAllToAll>(task, plan));
        ways.push_back(std::make_unique<RowPerChoice>(task, plan));
    }
    for (const comm::ExchangeKind kind : comm::kExchangeKinds) {
        if (comm::has_exchange(kind)) ways.push_back(std::make_unique<ExchangeRoundTrip>(task, kind));
    }
    return ways;
}

std::vector<RoundTripTimes> time_round_trips(const BenchOptions& options, comm::Communicator& world,
                                             std::span<const std::unique_ptr<RoundTrip>> ways) {
    std::vector<RoundTimes> warm_up(ways.size());
    for (std::size_t i = 0; i < ways.size(); ++i) warm_up[i].add_round(world, *ways[i]);
    std::vector<RoundTimes> rounds(ways.size());
    const auto start = std::chrono::steady_clock::now();
    std::int32_t more = 1;
    for (int round = 0; more != 0; ++round) {
        for (std::size_t i = 0; i < ways.size(); ++i) rounds[i].add_round(world, *ways[i]);
        const std::chrono::duration<double, std::milli> total = std::chrono::steady_clock::now() - start;
        more = go_on(options, round + 1, total.count()) ? 1 : 0;
        comm::broadcast(world, std::span<std::int32_t>(&more, 1), 0);
    }
    for (const auto& way : ways) way->close();
    std::vector<RoundTripTimes> times;
    for (RoundTimes& of_way : rounds) times.push_back(of_slowest_rank(world, std::move(of_way)));
    return times;
}

}  // namespace sy::runtime::bench

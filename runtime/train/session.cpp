#include "runtime/train/session.hpp"

#include <functional>
#include <utility>

#include "comm/collectives.hpp"

#include "runtime/checkpoint/on_all_ranks.hpp"
#include "runtime/train/freeze.hpp"
#include "runtime/train/isa_bits.hpp"

namespace sy::runtime {
Session::Session(const Config& config, comm::Communicator& world, Purpose purpose)
    : config_(config),
      world_(world),
      topology_(comm::discover_topology(world)),
      processors_(plan_processors(config.parallel.threads, world, topology_)),
      device_(config.parallel.device, processors_.threads, world, topology_),
      grid_(comm::make_process_grid(world.size(), narrow<int>(config.parallel.expert_parallel))),
      groups_(comm::split_grid(world, grid_)),
      row_groups_(world, groups_, device_.device()),
      context_{device_.device(), device_.device().compute(), config.numerics},
      group_topology_(comm::discover_topology(*groups_.expert_group)),
      exchange_choice_(choose_exchange(config, world, group_topology_)),
      exchange_(comm::make_exchange(exchange_choice_.kind, *row_groups_.groups().expert_group,
                                    group_topology_, context_)),
      model_world_{
          world,     *exchange_, groups_.expert_group.get(), config.run.drop_ledger ? &drops_ : nullptr,
          &routing_, &trace_},
      parameters_(model::blueprint(config.model, config.moe),
                  comm::block_placements(model::moe_blocks(config.moe, config.model), config.moe.experts,
                                         groups_.expert_group->size()),
                  groups_.expert_group->rank(), config.model.dtype, context_),
      transformer_(std::make_unique<model::Transformer>(config.model, config.moe, parameters_, model_world_,
                                                        config.train.seed)) {
    if (world.size() > 1) {
        device_.set_poll([this] {
            exchange_->poll();
            row_groups_.poll();
        });
    }
    check_isa_of_ranks(config, device_.instruction_set(), world);
    freeze_parameters(config.train.freeze, parameters_);
    if (purpose == Purpose::infer) {
        parameters_.allocate_weights();
        return;
    }
    parameters_.set_step_tokens(config.train.global_batch * config.model.seq_len);
    parameters_.allocate(config.train.seed);
    optimizer_ = std::make_unique<ShardedOptimizer>(config.optimizer, parameters_, row_groups_.world(),
                                                    row_groups_.groups(), context_);
    optimizer_->set_trace(&trace_);
}

std::string Session::layout() const {
    return concat(topology_.to_string(), ", ", grid_.to_string());
}

Session::Snapshot Session::snapshot() {
    std::vector<Piece> pieces;
    std::vector<ConstTensorRef> refs;
    for (const ShardedOptimizer::OwnedRows& owned : optimizer().owned_rows()) {
        for (const auto& [kind, values] :
             {std::pair{Kind::weight, owned.weight}, {Kind::m, owned.m}, {Kind::v, owned.v}}) {
            pieces.push_back(
                {{kind, owned.spec.name, owned.global_idx}, owned.spec.shape, owned.rows, owned.cols, {}});
            refs.push_back(values);
        }
    }
    Snapshot snapshot{HostValues(HostRead::snapshot, std::move(refs), context_), std::move(pieces)};
    for (std::size_t i = 0; i < snapshot.pieces.size(); ++i)
        snapshot.pieces[i].values = host_values<const float>(snapshot.values[i]);
    return snapshot;
}

void Session::replace_experts(comm::Placements placements) {
    std::string text;
    for (const auto& [layer, placement] : placements)
        text += concat(layer, ": ", placement.to_string(), "\n");
    // A rank that planned otherwise would wait for messages that nobody sends.
    const std::uint64_t mine[] = {std::hash<std::string>()(text)};
    for (const std::uint64_t hash : comm::all_gather(world_, std::span<const std::uint64_t>(mine)))
        SY_REQUIRE(hash == mine[0], "placement: ranks do not agree; here it is\n", text);
    optimizer().replace_experts(std::move(placements));
}

void Session::read_values(const CheckpointReader& reader) {
    const auto read = [&](const MatrixId& id, Range rows, index_t cols, TensorRef to) {
        HostRoom room(to, context_);
        reader.read(id.kind, id.tensor, id.matrix, rows, cols, host_values<float>(room.writable()));
        room.finish(context_);
    };
    for (const model::Sharding sharding : {model::Sharding::replicated, model::Sharding::expert}) {
        model::FlatGroup& flat = parameters_.group(sharding);
        for (const model::LocalMatrix& matrix : flat.matrices) {
            const comm::FlatMatrix& place = matrix.place;
            read({Kind::weight, parameters_.spec(matrix.parameter).name, matrix.global_idx}, {0, place.rows},
                 place.cols,
                 flat.weights.ref().cols_of({place.offset, place.offset + place.rows * place.cols}));
        }
    }
    if (optimizer_ == nullptr) return;
    for (const ShardedOptimizer::OwnedRows& owned : optimizer_->owned_rows()) {
        read({Kind::m, owned.spec.name, owned.global_idx}, owned.rows, owned.cols, owned.m);
        read({Kind::v, owned.spec.name, owned.global_idx}, owned.rows, owned.cols, owned.v);
    }
}

void Session::restore(const CheckpointReader& reader) {
    std::vector<std::string> problems;
    const std::map<std::string, Shape>& saved = reader.manifest().shapes;
    for (const model::ParameterSpec& spec : parameters_.specs()) {
        const auto found = saved.find(spec.name);
        if (found == saved.end()) {
            problems.push_back(
                concat("checkpoint: ", spec.name, " ", spec.shape.to_string(), " is not in it"));
        } else if (found->second != spec.shape) {
            problems.push_back(concat("checkpoint: ", spec.name, " is ", found->second.to_string(),
                                      " there and ", spec.shape.to_string(), " in this model"));
        }
    }
    if (saved.size() > parameters_.specs().size()) {
        problems.push_back(concat("checkpoint: it holds ", saved.size(), " tensors, this model has ",
                                  parameters_.specs().size()));
    }
    if (!problems.empty()) throw ConfigError(problems);
    transformer_->set_router_state(reader.manifest().state.router);
    detail::fail_on_all_ranks(world_, "reading the checkpoint failed", [&] { read_values(reader); });
    parameters_.refresh_working();
    // Experts have shadows only where training has given them other places.
    if (optimizer_ != nullptr) optimizer_->refresh_shadows();
}

}  // namespace sy::runtime

#include "runtime/train/upcycle.hpp"

#include <algorithm>
#include <set>

#include "comm/local/local_fabric.hpp"
#include "kernels/ops/cpu_device.hpp"
#include "model/transformer.hpp"
#include "runtime/checkpoint/reshard.hpp"
#include "runtime/train/resume.hpp"

namespace sy::runtime {
namespace {

/// A model without weights: what its routers carry from step to step, and what draws initial values.
struct EmptyModel {
    CpuDevice device{1};
    Context context{device, device.compute()};
    std::unique_ptr<comm::Exchange> exchange;
    model::ModelWorld world;
    model::Parameters parameters;
    model::Transformer transformer;

    EmptyModel(const Config& config, comm::Communicator& alone)
        : exchange(
              comm::make_exchange(comm::ExchangeKind::flat, alone, comm::discover_topology(alone), context)),
          world{alone, *exchange},
          parameters(
              model::blueprint(config.model, config.moe),
              comm::block_placements(model::moe_blocks(config.moe, config.model), config.moe.experts, 1), 0,
              config.model.dtype, context),
          transformer(config.model, config.moe, parameters, world, config.train.seed) {}
};

bool is_one_expert(const Shape& dense, const Shape& experts) {
    return dense.num_dims() == 2 && experts.num_dims() == 3 && dense[0] == experts[1] &&
           dense[1] == experts[2];
}

class Planner {
  public:
    Planner(const std::map<std::string, Shape>& dense, const model::ModelConfig& model) : dense_(dense) {
        model::MoeConfig none;
        none.layers = "none";
        for (model::ParameterSpec& spec : model::blueprint(model, none))
            dense_names_[spec.key] = std::move(spec.name);
    }

    void add(const model::ParameterSpec& spec) {
        using Kind = UpcycleSource::Kind;
        const auto same = dense_.find(spec.name);
        const auto feed_forward = dense_.find(dense_name(spec.key));
        if (same != dense_.end()) {
            use(spec, *same, Kind::copied, same->second == spec.shape);
        } else if (feed_forward != dense_.end()) {
            use(spec, *feed_forward, Kind::spread, is_one_expert(feed_forward->second, spec.shape));
        } else if (spec.key.layer.part == model::Part::mixture) {
            plan_[spec.name] = {Kind::fresh, {}};
        } else if (spec.key.layer.part == model::Part::shared_experts) {
            problem(concat(spec.name, " ", spec.shape.to_string(),
                           ": a dense model has no shared experts; set moe.shared_experts = 0"));
        } else {
            problem(concat(spec.name, " ", spec.shape.to_string(), " has no source in the dense checkpoint"));
        }
    }

    std::map<std::string, UpcycleSource> finish() {
        for (const auto& [name, shape] : dense_) {
            if (!used_.contains(name))
                problem(concat(name, " ", shape.to_string(),
                               " of the dense checkpoint has no place in this model"));
        }
        const bool mixes = std::ranges::any_of(
            plan_, [](const auto& entry) { return entry.second.kind == UpcycleSource::Kind::spread; });
        if (!mixes && problems_.empty())
            problem("no feed-forward of the checkpoint becomes a mixture; see moe.layers");
        if (!problems_.empty()) throw ConfigError(problems_);
        return std::move(plan_);
    }

  private:
    /// The matrix of a dense feed-forward that each expert's begins as; empty for other parameters.
    std::string dense_name(model::ParameterKey key) const {
        if (key.layer.part != model::Part::experts) return {};
        key.layer.part = model::Part::feed_forward;
        return dense_names_.at(key);
    }
    void use(const model::ParameterSpec& spec, const std::pair<const std::string, Shape>& source,
             UpcycleSource::Kind kind, bool fits) {
        used_.insert(source.first);
        plan_[spec.name] = {kind, source.first};
        if (fits) return;
        const char* const remedy =
            kind == UpcycleSource::Kind::spread
                ? "; an expert is as large as the feed-forward: moe.expert_width = its width"
                : "";
        problem(concat(source.first, " is ", source.second.to_string(), " in the dense checkpoint, ",
                       spec.name, " is ", spec.shape.to_string(), remedy));
    }
    void problem(const std::string& text) { problems_.push_back("upcycle: " + text); }

    const std::map<std::string, Shape>& dense_;
    std::map<model::ParameterKey, std::string> dense_names_;  ///< of the same model without mixtures
    std::set<std::string> used_;
    std::map<std::string, UpcycleSource> plan_;
    std::vector<std::string> problems_;
};

void write_mixture(const CheckpointReader& reader, const std::filesystem::path& new_folder,
                   const Config& config, const EmptyModel& model) {
    if (config.moe.router == "hash" && config.moe.hash == model::HashTable::balanced) {
        throw ConfigError(
            "upcycle: moe.hash = balanced is made from the text of a run that starts anew; set moe.hash = "
            "random");
    }
    const std::map<std::string, UpcycleSource> sources =
        plan_upcycle(reader.manifest().shapes, config.model, config.moe);
    const std::vector<model::ParameterSpec> specs = model::blueprint(config.model, config.moe);
    std::map<std::string, const model::ParameterSpec*> spec_of;
    std::map<std::string, Shape> shapes;
    for (const model::ParameterSpec& spec : specs) {
        spec_of[spec.name] = &spec;
        shapes[spec.name] = spec.shape;
    }
    const auto fill = [&](const ReshardPart& part, std::span<float> values) {
        const Shape& shape = shapes.at(part.id.tensor);
        const UpcycleSource& source = sources.at(part.id.tensor);
        if (source.kind == UpcycleSource::Kind::fresh) {
            const index_t row = part.id.matrix * matrix_shape(shape).rows + part.rows.begin;
            model::initial_values(*spec_of.at(part.id.tensor), config.train.seed, row * part.cols,
                                  host_operand(values), model.context);
        } else {
            const bool spread = source.kind == UpcycleSource::Kind::spread;
            reader.read(Kind::weight, source.tensor, spread ? 0 : part.id.matrix, part.rows, part.cols,
                        values);
        }
    };
    const auto check = [](const Manifest& written) {
        const std::vector<std::string> problems = coverage_problems(written);
        if (!problems.empty()) throw IoError(concat("upcycle: ", problems[0]));
    };
    Manifest manifest;
    manifest.config = dump(config);
    manifest.shapes = shapes;
    manifest.written_on = concat("upcycled from step ", reader.manifest().step);
    manifest.state = first_state(config);
    manifest.state.router = model.transformer.router_state();
    // In turn: initial values are made by all threads of the model.
    write_checkpoint(new_folder,
                     {.manifest = std::move(manifest),
                      .fill = fill,
                      .check = check,
                      .moments = NewCheckpoint::Moments::zero},
                     plan_reshard(shapes, 1));
}

}  // namespace

std::map<std::string, UpcycleSource> plan_upcycle(const std::map<std::string, Shape>& dense,
                                                  const model::ModelConfig& model,
                                                  const model::MoeConfig& moe) {
    Planner planner(dense, model);
    for (const model::ParameterSpec& spec : model::blueprint(model, moe)) planner.add(spec);
    return planner.finish();
}

std::vector<std::string> upcycle_notes(const model::MoeConfig& moe) {
    std::vector<std::string> notes;
    const auto differs = [&](bool yes, const char* text) {
        if (yes) notes.push_back(concat(text, ", so its first outputs differ from the dense model's"));
    };
    differs(!moe.renormalise, "moe.renormalise = no: the weights of a token's experts do not add to 1");
    differs(moe.routed_scale != 1.0, "moe.routed_scale is not 1");
    differs(moe.capacity_factor > 0.0,
            "moe.capacity_factor limits the experts: a dropped choice adds nothing");
    return notes;
}

void upcycle_checkpoint(const std::filesystem::path& from, const std::filesystem::path& new_folder,
                        const Config& config) {
    const CheckpointReader reader(from);
    comm::LocalFabric(1).run([&](comm::Communicator& alone) {
        const EmptyModel model(config, alone);
        write_mixture(reader, new_folder, config, model);
    });
}

}  // namespace sy::runtime

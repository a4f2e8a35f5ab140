// Trains tiny models for a few steps and writes what an independent program needs to repeat them: configs, tokens,
// initial weights, and for each step the losses, logits, gradients and new weights.
//   oracle_dump FOLDER      writes FOLDER/<variant>/index.json and FOLDER/<variant>/values.f32
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include "comm/local/local_fabric.hpp"
#include "comm/topology/topology.hpp"
#include "model/objective/spans.hpp"
#include "model/transformer.hpp"
#include "runtime/train/optimizer.hpp"
#include "tests/oracle/variants.hpp"
#include "tests/support/session.hpp"

namespace sy::test {
namespace {

using runtime::Json;

/// Tensors by name, put together from what the ranks of a variant hold. Ranks are threads: every call locks.
class Record {
  public:
    /// Values that every holder must agree on, bit for bit.
    void put(const std::string& name, const Shape& shape, index_t first, std::span<const float> values) {
        const std::lock_guard lock(mutex_);
        Entry& entry = entry_of(name, shape);
        for (std::size_t i = 0; i < values.size(); ++i) {
            const auto at = static_cast<std::size_t>(first) + i;
            const auto value = static_cast<double>(values[i]);
            SY_REQUIRE(!entry.written[at] || entry.values[at] == value, name, " differs between ranks at ",
                       at);
            entry.values[at] = value;
            entry.written[at] = true;
        }
    }

    /// Shares of a sum over the ranks.
    void add(const std::string& name, const Shape& shape, index_t first, std::span<const float> values) {
        const std::lock_guard lock(mutex_);
        Entry& entry = entry_of(name, shape);
        for (std::size_t i = 0; i < values.size(); ++i) {
            entry.values[static_cast<std::size_t>(first) + i] += static_cast<double>(values[i]);
            entry.written[static_cast<std::size_t>(first) + i] = true;
        }
    }

    /// Writes all values as little-endian float32. @return what is where, offsets counted in elements
    Json::Array write(const std::filesystem::path& file) const {
        Json::Array index;
        std::ofstream out(file, std::ios::binary);
        index_t offset = 0;
        for (const auto& [name, entry] : entries_) {
            std::vector<float> rounded;
            for (std::size_t i = 0; i < entry.values.size(); ++i) {
                SY_REQUIRE(entry.written[i], "no rank wrote element ", i, " of ", name);
                rounded.push_back(static_cast<float>(entry.values[i]));
            }
            Json::Array shape;
            for (int dim = 0; dim < entry.shape.num_dims(); ++dim) shape.push_back(entry.shape[dim]);
            index.push_back(Json::Object{{"name", name}, {"shape", shape}, {"offset", offset}});
            out.write(reinterpret_cast<const char*>(rounded.data()),
                      static_cast<std::streamsize>(rounded.size() * sizeof(float)));
            offset += static_cast<index_t>(rounded.size());
        }
        out.close();
        SY_REQUIRE(out.good(), "cannot write ", file.string());
        return index;
    }

  private:
    struct Entry {
        Shape shape;
        std::vector<double> values;
        std::vector<bool> written;
    };
    Entry& entry_of(const std::string& name, const Shape& shape) {
        Entry& entry = entries_[name];
        if (entry.values.empty()) {
            const auto count = static_cast<std::size_t>(shape.num_elements());
            entry = {shape, std::vector<double>(count, 0.0), std::vector<bool>(count, false)};
        }
        return entry;
    }

    std::mutex mutex_;
    std::map<std::string, Entry> entries_;
};

/// One rank of a variant: everything a model needs, built as a session would.
class OracleRank {
  public:
    OracleRank(comm::Communicator& ranks, const Variant& variant, Record& record)
        : variant_(variant),
          ranks_(ranks),
          record_(record),
          session_(1, variant.numerics),
          groups_(comm::split_grid(ranks, comm::make_process_grid(ranks.size(), variant.expert_parallel))),
          exchange_(comm::make_exchange(comm::ExchangeKind::flat, *groups_.expert_group,
                                        comm::discover_topology(*groups_.expert_group), session_.context)),
          world_{ranks, *exchange_},
          parameters_(model::blueprint(variant.model, variant.moe),
                      comm::block_placements(model::moe_blocks(variant.moe, variant.model),
                                             variant.moe.experts, groups_.expert_group->size()),
                      groups_.expert_group->rank(), variant.model.dtype, session_.context),
          transformer_(variant.model, variant.moe, parameters_, world_, kSeed) {
        parameters_.allocate(kSeed);
        move_gains();
        optimizer_.emplace(variant.optimizer, parameters_, ranks, groups_, session_.context);
    }
    void close() { groups_.close(); }

    /// @return the step's scalars
    Json run_step(index_t step) {
        if (step == 1) put_weights(0);
        Json::Array micro_steps;
        model::PassResult last_pass;
        for (index_t micro = 0; micro < variant_.accumulation; ++micro) {
            const bool last = micro + 1 == variant_.accumulation;
            transformer_.on_gradient_ready([this, last](model::ParameterId id) {
                if (last) optimizer_->gradient_ready(id);
            });
            const Range mine = part_of(kSequences, ranks_.size(), ranks_.rank());
            const model::BatchInfo batch{mine.begin * variant_.model.seq_len,
                                         kSequences * variant_.model.seq_len, step, micro,
                                         variant_.accumulation};
            const std::vector<std::int32_t> ids = variant_.tokens(step, micro, mine);
            const double evaluated = transformer_.evaluate(ids, batch, session_.context).total;
            const model::PassResult pass = transformer_.train(ids, batch, session_.context);
            micro_steps.push_back(Json::Object{{"total", pass.total},
                                               {"token_loss", pass.token_loss},
                                               {"balance_loss", pass.extra_losses[0].value},
                                               {"z_loss", pass.extra_losses[1].value},
                                               {"dropped", pass.num_dropped},
                                               {"imbalance", pass.imbalance},
                                               {"evaluated_total", evaluated}});
            last_pass = pass;
        }
        add_gradients(step);
        const runtime::ShardedOptimizer::Result result = optimizer_->step(step, kPlannedSteps);
        SY_REQUIRE(result.applied, variant_.name, ": step ", step, " was skipped");
        SY_REQUIRE(variant_.moe.balance.bias_rate == 0.0 || variant_.accumulation == 1, variant_.name,
                   ": a bias learns from the loads of one pass here");
        transformer_.finish_step(last_pass);
        put_weights(step);
        return Json::Object{{"micro_steps", micro_steps}, {"gradient_norm", result.gradient_norm}};
    }

    /// Logits of the first micro-batch: an encoder's at once, a decoder's one token at a time through the cache.
    void put_logits(index_t step) {
        const Range mine = part_of(kSequences, ranks_.size(), ranks_.rank());
        if (variant_.model.architecture == model::Architecture::encoder) {
            const Tensor logits =
                transformer_.read(variant_.corrupted(1, 0, mine).ids, variant_.num_rows(), session_.context);
            for (index_t row = 0; row < logits.shape()[0]; ++row)
                put_row(step, mine.begin * variant_.num_rows() + row, logits.matrix<float>().row_span(row));
            return;
        }
        std::vector<std::int32_t> ids = variant_.tokens(1, 0, mine);
        index_t stride = variant_.model.seq_len + 1;
        model::Transformer::Generation state;
        if (variant_.model.architecture == model::Architecture::decoder) {
            state = transformer_.start_generation(mine.size(), variant_.num_rows(), session_.context);
        } else {
            Variant::Corrupted rows = variant_.corrupted(1, 0, mine);
            ids = std::move(rows.ids);
            stride = variant_.num_rows();
            const index_t source_len = span_lengths(variant_.model).encoder;
            state = transformer_.start_generation(rows.source, source_len, stride, session_.context);
        }
        for (index_t t = 0; t < variant_.num_rows(); ++t) {
            std::vector<std::int32_t> column;
            for (index_t s = 0; s < mine.size(); ++s)
                column.push_back(ids[static_cast<std::size_t>(s * stride + t)]);
            const Tensor logits = transformer_.decode(column, state, session_.context);
            for (index_t s = 0; s < mine.size(); ++s)
                put_row(step, (mine.begin + s) * variant_.num_rows() + t, logits.matrix<float>().row_span(s));
        }
    }

  private:
    void put_row(index_t step, index_t row, std::span<const float> logits) {
        const index_t vocab_size = variant_.model.vocab_size;
        record_.put(concat("logits/", step), {kSequences, variant_.num_rows(), vocab_size}, row * vocab_size,
                    logits);
    }

    /// Gains start at one and biases at zero, where a misplaced one would not show.
    void move_gains() {
        model::FlatGroup& flat = parameters_.group(model::Sharding::replicated);
        for (const model::LocalMatrix& matrix : flat.matrices) {
            if (parameters_.specs()[static_cast<std::size_t>(matrix.parameter)].init == model::Init::normal)
                continue;
            for (index_t i = 0; i < matrix.place.cols; ++i) {
                const RandomKey key{kSeed, static_cast<std::uint64_t>(matrix.parameter), 0,
                                    RandomPurpose::test};
                flat.weights.values<float>()[static_cast<std::size_t>(matrix.place.offset + i)] +=
                    0.3F * normal(key, static_cast<std::uint64_t>(i));
            }
        }
    }

    template <class Body>
    void for_matrices(const Body& body) {
        for (const model::Sharding sharding : {model::Sharding::replicated, model::Sharding::expert}) {
            model::FlatGroup& flat = parameters_.group(sharding);
            for (const model::LocalMatrix& matrix : flat.matrices) {
                const index_t count = matrix.place.rows * matrix.place.cols;
                body(flat, parameters_.specs()[static_cast<std::size_t>(matrix.parameter)],
                     matrix.global_idx * count, static_cast<std::size_t>(matrix.place.offset),
                     static_cast<std::size_t>(count));
            }
        }
    }

    void put_weights(index_t step) {
        for_matrices([&](model::FlatGroup& flat, const model::ParameterSpec& spec, index_t first,
                         std::size_t offset, std::size_t count) {
            record_.put(concat("weights/", step, "/", spec.name), spec.shape, first,
                        std::as_const(flat.weights).values<float>().subspan(offset, count));
        });
    }

    /// The gradients as backward left them on this rank, before they are reduced and clipped.
    void add_gradients(index_t step) {
        for_matrices([&](model::FlatGroup& flat, const model::ParameterSpec& spec, index_t first,
                         std::size_t offset, std::size_t count) {
            std::vector<float> values(count);
            if (variant_.numerics == NumericsMode::fast) {
                const std::span<const float> all = std::as_const(flat.gradient).values<float>();
                std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(offset), count, values.begin());
            } else {
                from_fixed_point(flat.gradient_fixed.values<std::int64_t>().subspan(offset, count), values);
            }
            record_.add(concat("gradients/", step, "/", spec.name), spec.shape, first, values);
        });
    }

    const Variant& variant_;
    comm::Communicator& ranks_;
    Record& record_;
    TestSession session_;
    comm::GridCommunicators groups_;
    std::unique_ptr<comm::Exchange> exchange_;
    model::ModelWorld world_;
    model::Parameters parameters_;
    model::Transformer transformer_;
    std::optional<runtime::ShardedOptimizer> optimizer_;
};

void write_variant(const Variant& variant, const std::filesystem::path& folder) {
    Record record;
    Json::Array steps;
    comm::LocalFabric(variant.ranks).run([&](comm::Communicator& world) {
        OracleRank rank(world, variant, record);
        rank.put_logits(0);
        for (index_t step = 1; step <= kSteps; ++step) {
            Json scalars = rank.run_step(step);
            rank.put_logits(step);
            if (world.rank() == 0) steps.push_back(std::move(scalars));
        }
        rank.close();
    });
    std::filesystem::create_directories(folder);
    Json index = variant.describe();
    index["steps"] = steps;
    index["tensors"] = record.write(folder / "values.f32");
    std::ofstream out(folder / "index.json");
    out << index.text() << "\n";
    out.close();
    SY_REQUIRE(out.good(), "cannot write ", (folder / "index.json").string());
}

}  // namespace
}  // namespace sy::test

int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr, "usage: oracle_dump FOLDER\n");
        return 2;
    }
    try {
        for (const sy::test::Variant& variant : sy::test::oracle_variants())
            sy::test::write_variant(variant, std::filesystem::path(argv[1]) / variant.name);
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "oracle_dump: %s\n", problem.what());
        return 1;
    }
    return 0;
}

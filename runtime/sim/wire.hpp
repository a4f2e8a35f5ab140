#pragma once

#include <array>

#include "comm/communicator.hpp"
#include "comm/topology/topology.hpp"
#include "runtime/sim/layer.hpp"

namespace sy::runtime::sim {

/// Address space that is never touched, for messages of which only the size counts.
class StandIn {
  public:
    static constexpr index_t kBytes = index_t{1} << 36;
    /// @throws IoError when the system gives none
    StandIn();
    ~StandIn();
    StandIn(const StandIn&) = delete;
    StandIn& operator=(const StandIn&) = delete;

    std::span<std::byte> first(index_t bytes) const;
    bool contains(const void* address) const;

  private:
    std::byte* data_;
};

/// A communicator that counts what it is given to send, and sends messages of rows as wide as the rows that they stand for:
/// `factor` times as many bytes, whose values do not arrive. With factor 1 everything arrives.
class Wire : public comm::Communicator {
  public:
    enum class Level { node, network };

    /// @param inner, topology, stand_in  borrowed
    Wire(comm::Communicator& inner, const comm::Topology& topology, const StandIn& stand_in, index_t factor);

    void carry(Cargo cargo) { cargo_ = cargo; }
    /// Bytes of rows that this rank has sent to others, as wide as they are.
    index_t row_bytes(Level level) const { return row_bytes_[static_cast<std::size_t>(level)]; }

    int rank() const override { return inner_.rank(); }
    int size() const override { return inner_.size(); }
    std::unique_ptr<comm::Request> send(std::span<const std::byte> bytes, int destination, int tag) override;
    std::unique_ptr<comm::Request> receive(std::span<std::byte> bytes, int source, int tag) override;
    void poll() override { inner_.poll(); }
    std::unique_ptr<comm::Communicator> split(int color, int key) override {
        return inner_.split(color, key);
    }
    std::unique_ptr<comm::Communicator> split_by_node() override { return inner_.split_by_node(); }
    void close() override {}
    const Settings& settings() const override { return inner_.settings(); }

  private:
    bool stands_in() const { return cargo_ == Cargo::rows && factor_ > 1; }

    comm::Communicator& inner_;
    const comm::Topology& topology_;
    const StandIn& stand_in_;
    index_t factor_;
    Cargo cargo_ = Cargo::plans;
    std::array<index_t, 2> row_bytes_{};
};

}  // namespace sy::runtime::sim

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

/// What connects the ranks of a communicator in the stand-in for NCCL: memory that they share, whether they are threads
/// or processes of a machine, with a ring of bytes from each rank to each other. It has no name and is gone with the last
/// process that holds it.
namespace sy::emulation {

class Fabric {
  public:
    static constexpr int kMaxRanks = 16;

    /// What a unique id holds.
    struct Id {
        std::uint64_t magic = 0;
        std::uint64_t nonce = 0;  ///< tells it from others made by the same process
        std::int64_t process = 0;
        std::int32_t file = -1;
    };

    /// Memory for a new communicator, which this process holds until all ranks have joined.
    static Id create();

    /// @pre num_ranks <= kMaxRanks
    Fabric(const Id& id, int rank, int num_ranks);
    Fabric(const Fabric&) = delete;
    Fabric& operator=(const Fabric&) = delete;
    ~Fabric();

    /// What keeps the ranks from being one communicator, as far as it is known; null if nothing does.
    const char* problem() const;
    /// Makes this rank known to the others, with the device that it uses.
    void join(int device);
    bool all_have_joined();
    /// Two ranks of one machine that use the same device, which NCCL refuses; null if there are none.
    bool shares_a_device() const;

    /// Whether anything can be put, or taken.
    bool has_room(int destination) const;
    bool has_bytes(int source) const;
    /// Puts as many bytes into the ring to a rank as there is room for. @return how many
    std::size_t put(int destination, const char* bytes, std::size_t count);
    /// Takes up to `count` bytes out of the ring from a rank. @return how many
    std::size_t take(int source, char* bytes, std::size_t count);

    /// Memory of a rank that the others are to map.
    struct Offer {
        std::int64_t process = 0;
        std::int32_t file = -1;  ///< descriptor of the process
        std::uint64_t bytes = 0;
    };
    /// This rank's offer of a round, counted from 1. @pre all offers of the round before have been seen
    void offer(std::uint64_t round, const Offer& mine);
    /// Whether a rank has made its offer of a round.
    bool has_offer(std::uint64_t round, int rank) const;
    Offer offer_of(std::uint64_t round, int rank) const;

    /// Tells all ranks that this one has failed.
    void fail();
    bool has_failed() const;

  private:
    static constexpr std::size_t kRingBytes = 1 << 14;
    struct Ring {
        alignas(64) std::atomic<std::uint64_t> num_written;
        alignas(64) std::atomic<std::uint64_t> num_read;
        char bytes[kRingBytes];
    };
    struct Offered {
        std::atomic<std::uint64_t> round;
        Offer offer;
    };
    /// Zeros at first.
    struct Shared {
        std::atomic<int> num_ranks;
        std::atomic<int> num_joined;
        std::atomic<int> has_failed;
        std::atomic<int> device[kMaxRanks];  ///< and 1
        Offered offered[kMaxRanks][2];  ///< of the last two rounds: a rank is one ahead of another at most
    };

    Ring& ring(int source, int destination) const;

    Id id_;
    int rank_;
    int num_ranks_;
    const char* problem_ = nullptr;
    std::size_t mapped_bytes_ = 0;
    Shared* shared_ = nullptr;
    Ring* rings_ = nullptr;  ///< by source, then by destination
};

}  // namespace sy::emulation

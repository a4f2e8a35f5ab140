#include "comm/collectives.hpp"

#include <algorithm>

#include "comm/add.hpp"
#include "comm/axes.hpp"
#include "comm/check_offsets.hpp"
#include "comm/ring.hpp"

namespace sy::comm {
namespace {

enum InternalTag : int {
    kTagGather = kMaxTag + 1,
    kTagScan,
    kTagBroadcast,
    kTagScatter,
    kTagBarrier,
    kTagCounts
};

template <class T>
std::span<const std::byte> bytes_of(std::span<const T> values) {
    return std::as_bytes(values);
}

template <class T>
void combine(std::span<T> into, std::span<const T> from, ReduceOp op) {
    for (std::size_t i = 0; i < into.size(); ++i) {
        if (op == ReduceOp::sum) into[i] = add(into[i], from[i]);
        if (op == ReduceOp::max) into[i] = std::max(into[i], from[i]);
        if (op == ReduceOp::min) into[i] = std::min(into[i], from[i]);
    }
}

/// A row of `count` values for each rank.
template <class T>
class Rows {
  public:
    Rows(std::size_t count, int num_ranks)
        : values_(count * static_cast<std::size_t>(num_ranks)), count_(count) {}
    std::span<T> operator[](int rank) {
        return std::span<T>(values_).subspan(static_cast<std::size_t>(rank) * count_, count_);
    }

  private:
    std::vector<T> values_;
    std::size_t count_;
};

RankOffsets even_offsets(index_t count, int num_ranks) {
    RankOffsets offsets;
    for (int rank = 0; rank < num_ranks; ++rank) offsets.append(part_of(count, num_ranks, rank).size());
    return offsets;
}

/// Every rank receives its part from all others and adds in ascending rank order.
template <class T>
void scatter_reduce(Communicator& comm, std::span<const T> values, std::span<const index_t> offsets,
                    std::span<T> sum, ReduceOp op) {
    check_offsets(comm, offsets, values.size(), "reduce_scatter");
    const std::span<const T> own = part(values, group_of(offsets, comm.rank()));
    SY_REQUIRE(sum.size() == own.size(), "reduce_scatter: part of ", sum.size(), " for ", own.size(), " of ",
               values.size());
    Rows<T> received(own.size(), comm.size());
    std::vector<std::unique_ptr<Request>> requests;
    for_ring(comm, [&](int source, int destination) {
        const std::span<T> incoming = received[source];
        if (!incoming.empty())
            requests.push_back(comm.receive(std::as_writable_bytes(incoming), source, kTagScatter));
        const std::span<const T> outgoing = part(values, group_of(offsets, destination));
        if (!outgoing.empty()) requests.push_back(comm.send(bytes_of<T>(outgoing), destination, kTagScatter));
    });
    std::ranges::copy(own, received[comm.rank()].begin());
    wait_all(comm, requests, "reduce_scatter");
    std::ranges::copy(received[0], sum.begin());
    for (int source = 1; source < comm.size(); ++source) combine<T>(sum, received[source], op);
}

/// What all ranks hold after log2(P) rounds: in round i every rank passes on the 2^i rows that it has.
/// @return  [P, mine.size()] in rank order
/// @par Source  Bruck et al., "Efficient algorithms for all-to-all communications" (1997)
template <class T>
std::vector<T> gather_by_doubling(Communicator& comm, std::span<const T> mine, std::string_view doing) {
    const int num_ranks = comm.size();
    const auto count = static_cast<index_t>(mine.size());
    // Row i is that of the i-th rank after this one.
    std::vector<T> rows(mine.size() * static_cast<std::size_t>(num_ranks));
    std::ranges::copy(mine, rows.begin());
    for (int held = 1; held < num_ranks; held *= 2) {
        const int passed = std::min(held, num_ranks - held);
        const std::span<T> incoming = part<T>(rows, {held * count, (held + passed) * count});
        const std::span<T> outgoing = part<T>(rows, {0, passed * count});
        std::vector<std::unique_ptr<Request>> requests;
        requests.push_back(
            comm.receive(std::as_writable_bytes(incoming), (comm.rank() + held) % num_ranks, kTagGather));
        requests.push_back(
            comm.send(std::as_bytes(outgoing), (comm.rank() + num_ranks - held) % num_ranks, kTagGather));
        wait_all(comm, requests, doing);
    }
    std::ranges::rotate(rows, rows.begin() + (num_ranks - comm.rank()) % num_ranks * count);
    return rows;
}

/// Above this, ranks receive their parts from all others instead of everything from a few.
constexpr std::size_t kShortGatherBytes = std::size_t{1} << 20;

bool is_short(const Communicator& comm, std::size_t bytes) {
    constexpr std::size_t kShortBytes = 16384;
    return bytes <= kShortBytes && bytes * static_cast<std::size_t>(comm.size()) <= kShortGatherBytes;
}

template <class T>
IntegerSpan integers(std::span<T> values) {
    if constexpr (std::is_same_v<T, std::int32_t>)
        return {std::as_writable_bytes(values), IntegerType::int32};
    if constexpr (std::is_same_v<T, std::int64_t>)
        return {std::as_writable_bytes(values), IntegerType::int64};
    if constexpr (std::is_same_v<T, std::uint64_t>)
        return {std::as_writable_bytes(values), IntegerType::uint64};
}

/// Up to how many bytes the library was faster (tests/bench/collectives_peer). It copies the values into memory of its own,
/// counts in ints, and cannot be stopped: so what is long is ours in any case. Broadcasts were faster by our own tree.
constexpr std::size_t kNativeReduceBytes = 16384;
constexpr std::size_t kNativeScanBytes = 2048;
constexpr std::size_t kNativeGatherBytes = 8192;

/// Null when our own messages are to be used. Two ranks are one message apart, which no algorithm makes shorter.
NativeCollectives* native_for(Communicator& comm, std::size_t bytes, std::size_t most_bytes) {
    return comm.size() > 2 && bytes <= most_bytes ? comm.native_collectives() : nullptr;
}

void wait_for(Communicator& comm, std::unique_ptr<Request> request, std::string_view doing) {
    wait_all(comm, std::span<const std::unique_ptr<Request>>(&request, 1), doing);
}

void broadcast_by_tree(Communicator& comm, std::span<std::byte> bytes, int root, std::string_view doing) {
    if (comm.size() == 1) return;
    // Binomial tree over ranks counted from the root: a rank receives from the one without its lowest set bit.
    const int me = (comm.rank() - root + comm.size()) % comm.size();
    int bit = 1;
    while (bit < comm.size() && (me & bit) == 0) bit <<= 1;
    std::vector<std::unique_ptr<Request>> requests;
    if (me != 0) {
        requests.push_back(comm.receive(bytes, (me - bit + root) % comm.size(), kTagBroadcast));
        wait_all(comm, requests, doing);
        requests.clear();
    }
    for (bit >>= 1; bit > 0; bit >>= 1) {
        if (me + bit < comm.size()) {
            requests.push_back(comm.send(bytes, (me + bit + root) % comm.size(), kTagBroadcast));
        }
    }
    wait_all(comm, requests, doing);
}

/// Integers of all lower ranks and of all ranks: in round i a rank adds what the rank 2^i below has added so far.
/// @return  totals
/// @par Source  Hillis and Steele, "Data parallel algorithms" (1986)
template <class T>
std::vector<T> scan_by_doubling(Communicator& comm, std::span<T> values) {
    std::vector<T> totals(values.begin(), values.end());
    std::ranges::fill(values, T{});
    if (values.empty()) return totals;
    std::vector<T> received(values.size());
    for (int distance = 1; distance < comm.size(); distance *= 2) {
        const bool has_lower = comm.rank() >= distance;
        std::vector<std::unique_ptr<Request>> requests;
        if (has_lower)
            requests.push_back(comm.receive(std::as_writable_bytes(std::span<T>(received)),
                                            comm.rank() - distance, kTagScan));
        if (comm.rank() + distance < comm.size())
            requests.push_back(comm.send(bytes_of<T>(totals), comm.rank() + distance, kTagScan));
        wait_all(comm, requests, "exscan");
        if (!has_lower) continue;
        combine<T>(values, received, ReduceOp::sum);
        combine<T>(totals, received, ReduceOp::sum);
    }
    broadcast_by_tree(comm, std::as_writable_bytes(std::span<T>(totals)), comm.size() - 1, "exscan");
    return totals;
}

/// Floats have an order: everyone adds all ranks' values.
template <class T>
std::vector<T> scan_in_order(Communicator& comm, std::span<T> values) {
    const std::vector<T> all = all_gather(comm, std::span<const T>(values.data(), values.size()));
    std::vector<T> totals(values.size(), T{});
    for (int rank = 0; rank < comm.size(); ++rank) {
        if (rank == comm.rank()) std::copy(totals.begin(), totals.end(), values.begin());
        // The first addend as it is, so that a rank alone keeps even a negative zero.
        const auto count = static_cast<index_t>(totals.size());
        const std::span<const T> next = part<const T>(all, {rank * count, (rank + 1) * count});
        if (rank == 0) std::copy(next.begin(), next.end(), totals.begin());
        if (rank > 0) combine<T>(totals, next, ReduceOp::sum);
    }
    return totals;
}

}  // namespace

template <class T>
void all_reduce(Communicator& comm, std::span<T> values, ReduceOp op) {
    if (comm.size() == 1 || values.empty()) return;
    if constexpr (std::is_integral_v<T>) {
        if (NativeCollectives* const native = native_for(comm, values.size_bytes(), kNativeReduceBytes)) {
            wait_for(comm, native->all_reduce(integers(values), op), "all_reduce");
            return;
        }
    }
    if (is_short(comm, values.size_bytes())) {
        const std::vector<T> all = gather_by_doubling<T>(comm, values, "all_reduce");
        const auto count = static_cast<index_t>(values.size());
        std::ranges::copy(part<const T>(all, {0, count}), values.begin());
        for (int rank = 1; rank < comm.size(); ++rank)
            combine<T>(values, part<const T>(all, {rank * count, (rank + 1) * count}), op);
        return;
    }
    const RankOffsets offsets = even_offsets(static_cast<index_t>(values.size()), comm.size());
    const std::span<T> own = part(values, offsets[comm.rank()]);
    std::vector<T> sum(own.size());
    scatter_reduce<T>(comm, values, offsets, sum, op);
    std::ranges::copy(sum, own.begin());
    all_gather(comm, values, offsets.edges());
}

template <class T>
void reduce_scatter(Communicator& comm, std::span<const T> values, std::span<const index_t> offsets,
                    std::span<T> part) {
    scatter_reduce(comm, values, offsets, part, ReduceOp::sum);
}

template <class T>
void all_gather(Communicator& comm, std::span<T> values, std::span<const index_t> offsets) {
    check_offsets(comm, offsets, values.size(), "all_gather");
    if (comm.size() == 1 || values.empty()) return;
    if (NativeCollectives* const native = native_for(comm, values.size_bytes(), kNativeGatherBytes)) {
        std::vector<index_t> starts;
        for (const index_t offset : offsets) starts.push_back(offset * static_cast<index_t>(sizeof(T)));
        wait_for(comm, native->all_gather(std::as_writable_bytes(values), starts), "all_gather");
        return;
    }
    const std::span<const T> own = part(values, group_of(offsets, comm.rank()));
    std::vector<std::unique_ptr<Request>> requests;
    for_ring(comm, [&](int source, int destination) {
        const std::span<T> incoming = part(values, group_of(offsets, source));
        if (!incoming.empty())
            requests.push_back(comm.receive(std::as_writable_bytes(incoming), source, kTagGather));
        if (!own.empty()) requests.push_back(comm.send(bytes_of<T>(own), destination, kTagGather));
    });
    wait_all(comm, requests, "all_gather");
}

template <class T>
std::vector<T> all_gather(Communicator& comm, std::span<const T> mine) {
    std::vector<T> all(mine.size() * static_cast<std::size_t>(comm.size()));
    if (is_short(comm, mine.size_bytes()) &&
        native_for(comm, std::span<T>(all).size_bytes(), kNativeGatherBytes) == nullptr)
        return gather_by_doubling(comm, mine, "all_gather");
    const RankOffsets offsets = even_offsets(static_cast<index_t>(all.size()), comm.size());
    std::ranges::copy(mine, part<T>(all, offsets[comm.rank()]).begin());
    all_gather(comm, std::span<T>(all), offsets.edges());
    return all;
}

template <class T>
std::vector<T> exscan(Communicator& comm, std::span<T> values) {
    if constexpr (!std::is_integral_v<T>) {
        return scan_in_order(comm, values);
    } else {
        NativeCollectives* const native = native_for(comm, values.size_bytes(), kNativeScanBytes);
        if (native == nullptr || comm.size() == 1 || values.empty()) return scan_by_doubling(comm, values);
        std::vector<T> totals(values.begin(), values.end());
        std::vector<std::unique_ptr<Request>> requests;
        requests.push_back(native->exscan(integers(values)));
        requests.push_back(native->all_reduce(integers(std::span<T>(totals)), ReduceOp::sum));
        wait_all(comm, requests, "exscan");
        if (comm.rank() == 0) std::ranges::fill(values, T{});
        return totals;
    }
}

template <class T>
void broadcast(Communicator& comm, std::span<T> values, int root) {
    SY_REQUIRE(root >= 0 && root < comm.size(), "broadcast from rank ", root, " of ", comm.size());
    broadcast_by_tree(comm, std::as_writable_bytes(values), root, "broadcast");
}

std::vector<std::string> all_gather(Communicator& comm, const std::string& mine) {
    const auto length = static_cast<index_t>(mine.size());
    const std::vector<index_t> lengths = all_gather(comm, std::span<const index_t>(&length, 1));
    const RankOffsets offsets = RankOffsets::of_counts(lengths);
    std::vector<char> text(static_cast<std::size_t>(offsets.total()));
    std::ranges::copy(mine, part<char>(text, offsets[comm.rank()]).begin());
    all_gather(comm, std::span<char>(text), offsets.edges());
    std::vector<std::string> result;
    for (int rank = 0; rank < comm.size(); ++rank) {
        const std::span<char> theirs = part<char>(text, offsets[rank]);
        result.emplace_back(theirs.begin(), theirs.end());
    }
    return result;
}

void barrier(Communicator& comm) {
    if (comm.size() == 1) return;
    if (NativeCollectives* const native = native_for(comm, 0, 0)) {
        wait_for(comm, native->barrier(), "barrier");
        return;
    }
    // Dissemination: after round r a rank has heard, directly or not, from 2^(r+1) - 1 ranks below it.
    for (int distance = 1; distance < comm.size(); distance *= 2) {
        std::vector<std::unique_ptr<Request>> requests;
        requests.push_back(
            comm.receive({}, (comm.rank() + comm.size() - distance) % comm.size(), kTagBarrier));
        requests.push_back(comm.send({}, (comm.rank() + distance) % comm.size(), kTagBarrier));
        wait_all(comm, requests, "barrier");
    }
}

void all_reduce(Communicator& comm, std::span<ExactSum> sums) {
    std::vector<std::int64_t> words = ExactSum::to_words(sums);
    all_reduce(comm, std::span<std::int64_t>(words));
    ExactSum::from_words(words, sums);
}

template <class T>
std::vector<T> all_to_all(Communicator& comm, std::span<const T> values) {
    SY_REQUIRE(static_cast<int>(values.size()) % comm.size() == 0, "all_to_all: ", values.size(),
               " values for ", comm.size(), " ranks");
    std::vector<T> result(values.size());
    const RankOffsets offsets = even_offsets(static_cast<index_t>(values.size_bytes()), comm.size());
    start_all_to_all_v(comm, std::as_bytes(values), offsets, std::as_writable_bytes(std::span<T>(result)),
                       offsets, kTagCounts, "all_to_all")
        .wait();
    return result;
}

#define SY_INSTANTIATE(T)                                                                        \
    template void all_reduce<T>(Communicator&, std::span<T>, ReduceOp);                          \
    template void reduce_scatter<T>(Communicator&, std::span<const T>, std::span<const index_t>, \
                                    std::span<T>);                                               \
    template void all_gather<T>(Communicator&, std::span<T>, std::span<const index_t>);          \
    template std::vector<T> all_gather<T>(Communicator&, std::span<const T>);                    \
    template std::vector<T> exscan<T>(Communicator&, std::span<T>);                              \
    template void broadcast<T>(Communicator&, std::span<T>, int);                                \
    template std::vector<T> all_to_all<T>(Communicator&, std::span<const T>);
SY_INSTANTIATE(float)
SY_INSTANTIATE(double)
SY_INSTANTIATE(std::int32_t)
SY_INSTANTIATE(std::int64_t)
SY_INSTANTIATE(std::uint64_t)
#undef SY_INSTANTIATE
template void broadcast<char>(Communicator&, std::span<char>, int);

}  // namespace sy::comm

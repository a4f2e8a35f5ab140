#include "comm/relocation/move_rows.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include "kernels/core/offsets.hpp"

namespace sy::comm {
namespace {

template <class T>
std::span<T> rows_in(std::span<T> values, index_t first, const Move& move, const char* which) {
    SY_REQUIRE(first >= 0 && first + move.elements() <= static_cast<index_t>(values.size()), "moving rows ",
               move.rows.begin, " to ", move.rows.end - 1, " of matrix ", move.matrix, ": elements ", first,
               " to ", first + move.elements(), " of the ", which, " ", values.size());
    return part(values, {first, first + move.elements()});
}

}  // namespace

index_t move_rows(Communicator& comm, const MovePlan& plan, std::span<const float> before,
                  std::span<float> after, int tag, std::string_view doing) {
    std::vector<std::unique_ptr<Request>> requests;
    index_t sent_bytes = 0;
    // Between two ranks messages with equal tags arrive in order, and both go through the plan in the same one.
    for (const Move& move : plan.moves) {
        const bool gives = move.source == comm.rank();
        const bool takes = move.destination == comm.rank();
        if (gives && takes) {
            const std::span<const float> values = rows_in(before, move.from, move, "old");
            std::ranges::copy(values, rows_in(after, move.to, move, "new").begin());
        } else if (gives) {
            const std::span<const float> values = rows_in(before, move.from, move, "old");
            requests.push_back(comm.send(std::as_bytes(values), move.destination, tag));
            sent_bytes += static_cast<index_t>(values.size_bytes());
        } else if (takes) {
            const std::span<float> values = rows_in(after, move.to, move, "new");
            requests.push_back(comm.receive(std::as_writable_bytes(values), move.source, tag));
        }
    }
    wait_all(comm, requests, doing);
    return sent_bytes;
}

}  // namespace sy::comm

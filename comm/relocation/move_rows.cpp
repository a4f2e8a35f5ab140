#include "comm/relocation/move_rows.hpp"

#include <memory>
#include <vector>

#include "kernels/core/host_values.hpp"
#include "kernels/core/host_view.hpp"

namespace sy::comm {
namespace {

template <class Ref>
Ref rows_in(Ref values, index_t first, const Move& move, const char* which) {
    SY_REQUIRE(first >= 0 && first + move.elements() <= values.num_elements(), "moving rows ",
               move.rows.begin, " to ", move.rows.end - 1, " of matrix ", move.matrix, ": elements ", first,
               " to ", first + move.elements(), " of the ", which, " ", values.num_elements());
    return values.cols_of({first, first + move.elements()});
}

}  // namespace

index_t move_rows(Communicator& comm, const MovePlan& plan, ConstTensorRef before, TensorRef after, int tag,
                  std::string_view doing, const Context& context) {
    std::vector<ConstTensorRef> given;
    for (const Move& move : plan.moves) {
        if (move.source == comm.rank() && move.destination != comm.rank())
            given.push_back(rows_in(before, move.from, move, "old"));
    }
    const HostValues sent(HostRead::messages, std::move(given), context);
    std::size_t next = 0;
    std::vector<HostRoom> rooms;
    std::vector<std::unique_ptr<Request>> requests;
    index_t sent_bytes = 0;
    // Between two ranks messages with equal tags arrive in order, and both go through the plan in the same one.
    for (const Move& move : plan.moves) {
        const bool gives = move.source == comm.rank();
        const bool takes = move.destination == comm.rank();
        if (gives && takes) {
            context.device.copy(rows_in(before, move.from, move, "old"), rows_in(after, move.to, move, "new"),
                                context.stream);
        } else if (gives) {
            const std::span<const std::byte> values = host_bytes(sent[next++]);
            requests.push_back(comm.send(values, move.destination, tag));
            sent_bytes += static_cast<index_t>(values.size());
        } else if (takes) {
            HostRoom& room = rooms.emplace_back(rows_in(after, move.to, move, "new"), context);
            requests.push_back(comm.receive(host_bytes(room.writable()), move.source, tag));
        }
    }
    wait_all(comm, requests, doing);
    for (HostRoom& room : rooms) room.finish(context);
    return sent_bytes;
}

}  // namespace sy::comm

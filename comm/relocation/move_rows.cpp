#include "comm/relocation/move_rows.hpp"

#include "comm/row_messages.hpp"

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
    RowMessages messages(comm, tag, device_messages(comm), context);
    // Between two ranks messages with equal tags arrive in order, and both go through the plan in the same one.
    for (const Move& move : plan.moves) {
        const bool gives = move.source == comm.rank();
        const bool takes = move.destination == comm.rank();
        if (gives && takes) {
            context.device.copy(rows_in(before, move.from, move, "old"), rows_in(after, move.to, move, "new"),
                                context.stream);
        } else if (gives) {
            messages.send(rows_in(before, move.from, move, "old"), move.destination);
        } else if (takes) {
            messages.receive(rows_in(after, move.to, move, "new"), move.source);
        }
    }
    messages.start();
    messages.wait(doing);
    return messages.sent_bytes();
}

}  // namespace sy::comm

#include "comm/relocation/move_plan.hpp"

#include <algorithm>
#include <tuple>

namespace sy::comm {
namespace {

/// Rows with their rank, what is left of them to match.
struct Piece {
    HeldRows held;
    int rank;
};

std::string name(const Piece& piece) {
    return concat("rows ", piece.held.rows.begin, " to ", piece.held.rows.end - 1, " of matrix ",
                  piece.held.matrix, " on rank ", piece.rank);
}

std::vector<Piece> sorted_pieces(const RowOwners& owners) {
    std::vector<Piece> pieces;
    for (int rank = 0; rank < owners.size(); ++rank) {
        for (const HeldRows& held : owners[rank]) {
            if (held.rows.size() > 0) pieces.push_back({held, rank});
        }
    }
    std::ranges::sort(pieces, {}, [](const Piece& piece) {
        return std::tuple(piece.held.matrix, piece.held.rows.begin, piece.rank);
    });
    for (std::size_t i = 1; i < pieces.size(); ++i) {
        const HeldRows& last = pieces[i - 1].held;
        const HeldRows& next = pieces[i].held;
        SY_REQUIRE(last.matrix != next.matrix || last.rows.end <= next.rows.begin,
                   "move plan: ", name(pieces[i - 1]), " are also ", name(pieces[i]));
    }
    return pieces;
}

/// Takes `count` rows off the front. @return whether none are left
bool take(Piece& piece, index_t count) {
    piece.held.rows.begin += count;
    piece.held.offset += count * piece.held.cols;
    return piece.held.rows.size() == 0;
}

}  // namespace

MovePlan plan_moves(const RowOwners& before, const RowOwners& after) {
    std::vector<Piece> from = sorted_pieces(before);
    std::vector<Piece> to = sorted_pieces(after);
    MovePlan plan;
    std::size_t i = 0;
    std::size_t j = 0;
    while (i < from.size() && j < to.size()) {
        const HeldRows& source = from[i].held;
        const HeldRows& target = to[j].held;
        const auto place = [](const HeldRows& held) { return std::tuple(held.matrix, held.rows.begin); };
        SY_REQUIRE(place(source) >= place(target), "move plan: ", name(from[i]), " would be lost");
        SY_REQUIRE(place(source) <= place(target), "move plan: ", name(to[j]), " are with nobody");
        SY_REQUIRE(source.cols == target.cols, "move plan: ", name(from[i]), " have ", source.cols,
                   " columns, on rank ", to[j].rank, " they would have ", target.cols);
        const index_t count = std::min(source.rows.size(), target.rows.size());
        plan.moves.push_back({source.matrix,
                              {source.rows.begin, source.rows.begin + count},
                              source.cols,
                              from[i].rank,
                              to[j].rank,
                              source.offset,
                              target.offset});
        if (take(from[i], count)) ++i;
        if (take(to[j], count)) ++j;
    }
    SY_REQUIRE(i == from.size(), "move plan: ", name(from[i]), " would be lost");
    SY_REQUIRE(j == to.size(), "move plan: ", name(to[j]), " are with nobody");
    return plan;
}

index_t MovePlan::moved_elements() const {
    index_t elements = 0;
    for (const Move& move : moves) elements += move.source == move.destination ? 0 : move.elements();
    return elements;
}

std::string MovePlan::to_string() const {
    std::string text = concat(moves.size(), " moves, ", moved_elements(), " elements to other ranks:");
    for (const Move& move : moves) {
        text += concat("\n  matrix ", move.matrix, ", rows ", move.rows.begin, " to ", move.rows.end - 1,
                       ": rank ", move.source, " -> ", move.destination);
    }
    return text;
}

}  // namespace sy::comm

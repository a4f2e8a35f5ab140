#pragma once

#include <cstdint>
#include <vector>

#include "kernels/core/tensor_ref.hpp"

namespace sy::model {

/// How far an assignment's sum of scores may lie below the best one, as a part of what the assignment gains over a
/// balanced one drawn at random; what the auction proves of its result before it stops. The sum itself would not do: an
/// offset of a token's or an expert's scores makes it as large as one likes and changes no choice.
inline constexpr double kAuctionGap = 1e-5;

/// Experts for T tokens so that the sum of the chosen scores is as high as it can be when every expert takes T / E
/// tokens; when E does not divide T, the lower T mod E experts take one more. Exactly balanced; the sum falls short of
/// the optimum by at most kAuctionGap of its gain, or by 2^-22 of the range of scores a token, whichever is more.
/// The same input gives the same result on every machine. Scores that are not finite count as the largest or, for NaN,
/// the lowest finite float.
///
/// Unassigned tokens bid, one at a time, for the cheapest slot of the expert that is worth most to them after its
/// price; slots of one expert differ in price only, so a bid exceeds the next best *expert* by epsilon. Prices stay
/// from round to round while epsilon falls; each round ends with the distance to the dual bound.
///
/// @param scores  [T, E] f32, any numbers
/// @return        [T]
/// @par Cost      O(E + log(T / E)) a bid; some bids a token and round
/// @par Source    Bertsekas and Castanon, "The auction algorithm for the transportation problem" (1989), similar
///                objects; epsilon scaling: Bertsekas, "Auction algorithms for network flow problems" (1992)
std::vector<std::int32_t> balanced_assignment(ConstTensorRef scores);

}  // namespace sy::model

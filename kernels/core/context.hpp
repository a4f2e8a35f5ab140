#pragma once

#include "kernels/core/arena.hpp"
#include "kernels/core/thread_team.hpp"

namespace sy {

namespace ops {
class Gemm;
}
class Profile;

/// `fast`: same layout and seed give the same bits. `reproducible`: every layout gives the same bits.
enum class NumericsMode { fast, reproducible };

/// What an operation needs besides its operands. Borrowed by every call; built by the session.
struct Context {
    ThreadTeam& team;
    Arena& arena;
    const ops::Gemm& gemm;
    NumericsMode numerics = NumericsMode::fast;
    Profile* profile = nullptr;  ///< where operations report their time; null: nowhere
};

}  // namespace sy

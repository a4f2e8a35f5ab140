#pragma once

#include "kernels/core/device.hpp"

namespace sy {

class Profile;

/// `fast`: same layout and seed give the same bits. `reproducible`: every layout gives the same bits.
enum class NumericsMode { fast, reproducible };

/// What an operation needs besides its operands. Borrowed by every call; built by the session.
struct Context {
    Device& device;
    Stream& stream;  ///< of the device: where operations are queued
    NumericsMode numerics = NumericsMode::fast;
    Profile* profile = nullptr;  ///< where operations report their time; null: nowhere
};

}  // namespace sy

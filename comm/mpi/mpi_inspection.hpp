#pragma once

#include <string>
#include <vector>

/// What the MPI library reports about itself through its tool interface (MPI_T).
namespace sy::comm {

struct MpiMessaging {
    /// The components that could carry messages, as far as the library tells: for a running Open MPI the selected one.
    std::vector<std::string> components;
    std::string
        requested;  ///< the selection that was requested: "^ucx"; empty when the library does not tell
};

/// Reads the control variables of Open MPI's point-to-point layer ("pml"); empty for other libraries.
/// @throws CommError when the tool interface fails
MpiMessaging inspect_messaging();

/// What carries the messages, in words. `started`: whether MPI runs, since it selects when it starts.
/// "UCX", "ob1, without UCX", or "not known: ..." with what is known.
enum class MpiState { started, not_started };
std::string messaging_text(const MpiMessaging& messaging, MpiState state);

}  // namespace sy::comm

#include "comm/mpi/mpi_inspection.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "comm/mpi/check.hpp"

namespace sy::comm {
namespace {

/// The tool interface from start to end; usable before MPI itself starts.
class ToolInterface {
  public:
    ToolInterface() {
        int provided = 0;
        SY_MPI(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    }
    ~ToolInterface() { MPI_T_finalize(); }
    ToolInterface(const ToolInterface&) = delete;
    ToolInterface& operator=(const ToolInterface&) = delete;
};

std::string read_text(int variable) {
    MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
    int length = 0;
    SY_MPI(MPI_T_cvar_handle_alloc(variable, nullptr, &handle, &length));
    std::string text(static_cast<std::size_t>(length) + 1, '\0');
    SY_MPI(MPI_T_cvar_read(handle, text.data()));
    SY_MPI(MPI_T_cvar_handle_free(&handle));
    return text.c_str();
}

/// "ob1" of "pml_ob1_eager_limit"; empty for variables of no component that carries messages.
std::string component_of(std::string_view name) {
    constexpr std::string_view kPrefix = "pml_";
    if (!name.starts_with(kPrefix)) return {};
    const std::string_view component =
        name.substr(kPrefix.size(), name.find('_', kPrefix.size()) - kPrefix.size());
    for (const std::string_view other : {"base", "v", "monitoring"}) {
        if (component == other) return {};
    }
    return std::string(component);
}

}  // namespace

MpiMessaging inspect_messaging() {
    const ToolInterface tool;
    int num_variables = 0;
    SY_MPI(MPI_T_cvar_get_num(&num_variables));
    MpiMessaging messaging;
    for (int i = 0; i < num_variables; ++i) {
        std::array<char, 256> name{};
        int length = static_cast<int>(name.size());
        int verbosity = 0;
        int binding = 0;
        int scope = 0;
        MPI_Datatype type = MPI_DATATYPE_NULL;
        // Variables of components that were closed stay numbered and refuse to be read: no error.
        if (MPI_T_cvar_get_info(i, name.data(), &length, &verbosity, &type, nullptr, nullptr, nullptr,
                                &binding, &scope) != MPI_SUCCESS)
            continue;
        if (std::string_view(name.data()) == "pml" && type == MPI_CHAR) messaging.requested = read_text(i);
        const std::string component = component_of(name.data());
        const auto& known = messaging.components;
        if (!component.empty() && std::find(known.begin(), known.end(), component) == known.end())
            messaging.components.push_back(component);
    }
    return messaging;
}

std::string messaging_text(const MpiMessaging& messaging, MpiState state) {
    const std::string asked =
        messaging.requested.empty() ? std::string() : concat(" (pml = ", messaging.requested, ")");
    if (state == MpiState::started && messaging.components.size() == 1)
        return messaging.components[0] == "ucx" ? "UCX" + asked
                                                : messaging.components[0] + ", without UCX" + asked;
    std::string text = "not known: ";
    if (messaging.components.empty()) return text + "this library does not tell";
    text += state == MpiState::started ? "one of" : "chosen when MPI starts, among";
    for (const std::string& component : messaging.components) text += " " + component;
    return text + asked;
}

}  // namespace sy::comm

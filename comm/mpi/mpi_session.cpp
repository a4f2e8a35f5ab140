#include "comm/mpi/mpi_session.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "comm/mpi/check.hpp"

namespace sy::comm {

namespace detail {

void check_mpi(int status, const char* call, const char* file, int line) {
    if (status == MPI_SUCCESS) return;
    std::array<char, MPI_MAX_ERROR_STRING> text{};
    int length = 0;
    MPI_Error_string(status, text.data(), &length);
    throw CommError(concat(call, " failed: ", std::string(text.data(), static_cast<std::size_t>(length)),
                           " (", file, ":", line, ")"));
}

}  // namespace detail

#ifdef SY_SIMULATED
// SimGrid's MPI grants no threads, and simulated ranks compute with none.
constexpr int kLeastThreadLevel = MPI_THREAD_SINGLE;
#else
constexpr int kLeastThreadLevel = MPI_THREAD_FUNNELED;
#endif

namespace {

/// Two ranks that send each other long messages over TCP at once should get the link's bandwidth both ways. Open MPI answers
/// the announcement of a message on the connection that carries its own: by default (put) it hands that connection a
/// message as a whole, and the system's buffer grows to megabytes, so that the answer leaves when all of that has left, and
/// the ranks take turns. In parts (send), with little in the buffer, it goes between. What the user has set stays.
void prefer_both_ways() {
    constexpr int kUnlessSet = 0;
    setenv("OMPI_MCA_btl_tcp_flags", "send,inplace", kUnlessSet);
    // As much as 10 Gbit/s carry between two polls of a rank that computes.
    setenv("OMPI_MCA_btl_tcp_sndbuf", "262144", kUnlessSet);
}

}  // namespace

MpiSession::MpiSession() {
    prefer_both_ways();
    SY_MPI(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &thread_level_));
    if (thread_level_ < kLeastThreadLevel)
        throw CommError(concat("MPI_Init_thread: this library supports thread level '", thread_level(),
                               "' only; 'funneled' is needed, since ranks compute with several threads"));
    SY_MPI(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    SY_MPI(MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN));
}

MpiSession::~MpiSession() {
    if (std::uncaught_exceptions() > 0) return;
    const int status = MPI_Finalize();
    if (status != MPI_SUCCESS) std::fprintf(stderr, "switchyard: MPI_Finalize failed with code %d\n", status);
}

std::string MpiSession::library_version() {
    std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
    int length = 0;
    SY_MPI(MPI_Get_library_version(text.data(), &length));
    std::string version(text.data());
    std::replace(version.begin(), version.end(), '\n', ' ');
    return version;
}

std::string MpiSession::thread_level() const {
    switch (thread_level_) {
        case MPI_THREAD_SINGLE:
            return "single";
        case MPI_THREAD_FUNNELED:
            return "funneled";
        case MPI_THREAD_SERIALIZED:
            return "serialized";
        case MPI_THREAD_MULTIPLE:
            return "multiple";
        default:
            return concat("unknown (", thread_level_, ")");
    }
}

std::string MpiSession::processor_name() {
    std::array<char, MPI_MAX_PROCESSOR_NAME> text{};
    int length = 0;
    SY_MPI(MPI_Get_processor_name(text.data(), &length));
    return text.data();
}

void MpiSession::abort(int exit_code) {
    int initialised = 0;
    int finalised = 0;
    MPI_Initialized(&initialised);
    MPI_Finalized(&finalised);
    if (initialised != 0 && finalised == 0) MPI_Abort(MPI_COMM_WORLD, exit_code);
    std::_Exit(exit_code);
}

bool launched_by_mpi() {
    for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"}) {
        if (std::getenv(name) != nullptr) return true;
    }
    return false;
}

}  // namespace sy::comm

#include "comm/mpi/mpi_roll_call.hpp"

#include <algorithm>
#include <map>
#include <thread>

#include "comm/communicator.hpp"
#include "comm/mpi/check.hpp"

namespace sy::comm {
namespace {

constexpr int kTagRollCall = kMaxInternalTag - 1;

std::string list_text(const std::vector<int>& ranks) {
    constexpr std::size_t kMostShown = 16;
    std::string text;
    for (std::size_t i = 0; i < std::min(ranks.size(), kMostShown); ++i) text += concat(" ", ranks[i]);
    if (ranks.size() > kMostShown) text += concat(" and ", ranks.size() - kMostShown, " more");
    return text;
}

}  // namespace

MpiRollCall::MpiRollCall() {
    SY_MPI(MPI_Comm_rank(MPI_COMM_WORLD, &rank_));
}

void MpiRollCall::begin(const Wait& wait) {
    if (report_ != nullptr) return;
    int size = 0;
    SY_MPI(MPI_Comm_size(MPI_COMM_WORLD, &size));
    heard_.resize(static_cast<std::size_t>(size));
    has_report_.resize(static_cast<std::size_t>(size));
    Text text{};
    concat(wait.doing, " on ", wait.communicator).copy(text.data(), text.size() - 1);
    // Never freed, as reports may still be under way when this is destroyed.
    report_ = new Text(text);
    heard_[static_cast<std::size_t>(rank_)] = text;
    has_report_[static_cast<std::size_t>(rank_)] = 1;
}

void MpiRollCall::report_to(int rank) {
    char& told = has_report_[static_cast<std::size_t>(rank)];
    if (told != 0) return;
    told = 1;
    MPI_Request request = MPI_REQUEST_NULL;
    SY_MPI(MPI_Isend(report_->data(), static_cast<int>(report_->size()), MPI_CHAR, rank, kTagRollCall,
                     MPI_COMM_WORLD, &request));
    // Its end is not waited for: a rank that has died takes nothing.
    SY_MPI(MPI_Request_free(&request));
}

void MpiRollCall::hear(const Wait& wait) {
    for (;;) {
        int has_come = 0;
        MPI_Status status;
        SY_MPI(MPI_Iprobe(MPI_ANY_SOURCE, kTagRollCall, MPI_COMM_WORLD, &has_come, &status));
        if (has_come == 0) return;
        begin(wait);
        const int rank = status.MPI_SOURCE;
        Text& text = heard_[static_cast<std::size_t>(rank)];
        SY_MPI(MPI_Recv(text.data(), static_cast<int>(text.size()), MPI_CHAR, rank, kTagRollCall,
                        MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        report_to(rank);
    }
}

void MpiRollCall::answer(const Wait& wait) {
    hear(wait);
}

std::vector<int> MpiRollCall::silent_ranks() const {
    std::vector<int> silent;
    for (std::size_t rank = 0; rank < heard_.size(); ++rank)
        if (heard_[rank].front() == '\0') silent.push_back(static_cast<int>(rank));
    return silent;
}

std::string MpiRollCall::answers() const {
    std::map<std::string, std::vector<int>> ranks_of;
    for (std::size_t rank = 0; rank < heard_.size(); ++rank)
        if (heard_[rank].front() != '\0') ranks_of[heard_[rank].data()].push_back(static_cast<int>(rank));
    constexpr std::size_t kMostShown = 8;
    std::string text;
    std::size_t num_shown = 0;
    for (const auto& [waits_for, ranks] : ranks_of) {
        if (++num_shown > kMostShown) break;
        text += concat("\n  in ", waits_for, ":", list_text(ranks));
    }
    if (ranks_of.size() > kMostShown) text += concat("\n  and in ", ranks_of.size() - kMostShown, " others");
    return text;
}

std::string MpiRollCall::call(const Wait& wait) {
    constexpr std::chrono::seconds kPatience{2};
    const Clock::time_point end = Clock::now() + kPatience;
    std::vector<int> silent;
    try {
        begin(wait);
        for (std::size_t rank = 0; rank < heard_.size(); ++rank) report_to(static_cast<int>(rank));
        for (;;) {
            hear(wait);
            silent = silent_ranks();
            if (silent.empty() || Clock::now() >= end) break;
            std::this_thread::sleep_for(std::chrono::microseconds(200));
        }
    } catch (const CommError& error) {
        return concat("The other ranks cannot be asked what they wait for: ", error.what());
    }
    return concat(silent.empty() ? "No rank is silent." : "These ranks do not answer:", list_text(silent),
                  "\nRanks that wait:", answers());
}

}  // namespace sy::comm

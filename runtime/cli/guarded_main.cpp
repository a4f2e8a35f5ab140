#include "runtime/cli/guarded_main.hpp"

#include <charconv>
#include <cstdlib>
#include <cstring>
#include <new>
#include <ostream>
#include <thread>

#include "kernels/core/error.hpp"

namespace sy::runtime {
namespace {

int fail(const std::string& text, int exit_code, const Guard& guard) {
    if (guard.rank > 0) std::this_thread::sleep_for(guard.patience);
    guard.messages << "switchyard";
    if (guard.rank >= 0) guard.messages << ", rank " << guard.rank;
    // Several problems stand below each other, one a line.
    const bool several = text.find('\n') != std::string::npos;
    guard.messages << " on " << guard.host << ":" << (several ? "\n" : " ") << text << std::endl;
    if (guard.abort_job) guard.abort_job(exit_code);
    return exit_code;
}

}  // namespace

int guarded_main(const std::function<int()>& body, const Guard& guard) {
    try {
        return body();
    } catch (const ConfigError& error) {
        return fail(error.what(), 2, guard);
    } catch (const CommError& error) {
        return fail(error.what(), 3, guard);
    } catch (const std::bad_alloc&) {
        return fail(
            "out of memory; lower model sizes or train.global_batch / train.accumulation, or use more ranks",
            1, guard);
    } catch (const std::exception& error) {
        return fail(error.what(), 1, guard);
    } catch (...) {
        return fail("something that is no exception of this program was thrown", 1, guard);
    }
}

int launcher_rank() {
    for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
        const char* value = std::getenv(name);
        if (value == nullptr) continue;
        int rank = 0;
        const char* const end = value + std::strlen(value);
        if (std::from_chars(value, end, rank).ptr == end && rank >= 0) return rank;
    }
    return -1;
}

}  // namespace sy::runtime

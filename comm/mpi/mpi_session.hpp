#pragma once

#include <memory>
#include <string>

#include "comm/communicator.hpp"

namespace sy::comm {

/// Who carries out comm/collectives.hpp under MPI: our messages alone, or the library too where it is faster.
enum class MpiCollectiveBody { own, library };

/// MPI from initialisation to finalisation; a process has one. MPI's errors are returned, checked and thrown.
class MpiSession {
  public:
    /// @throws CommError when MPI cannot start
    MpiSession();
    /// Finalises in normal flow only; while an exception is in flight the job is ended by abort().
    ~MpiSession();
    MpiSession(const MpiSession&) = delete;
    MpiSession& operator=(const MpiSession&) = delete;

    /// All ranks of the job. @param piece_bytes  messages of this size and more are sent in pieces; below 2^31
    std::unique_ptr<Communicator> world(Communicator::Settings settings,
                                        index_t piece_bytes = index_t{1} << 30,
                                        MpiCollectiveBody collectives = MpiCollectiveBody::library) const;

    /// "Open MPI v4.1.4, ..." in one line.
    static std::string library_version();
    /// "single", "funneled", "serialized" or "multiple".
    std::string thread_level() const;
    static std::string processor_name();

    /// Ends the whole job at once with this exit code.
    [[noreturn]] static void abort(int exit_code);

  private:
    int thread_level_ = 0;
};

/// Whether this process was started by mpirun or srun, from the environment; does not touch MPI.
bool launched_by_mpi();

/// The library's own collective on the world of `comm`, as the peer that benchmarks compare with. Counts and
/// offsets in bytes, one per rank. @par Collective
/// @throws CommError when `comm` is not an MPI communicator or a count exceeds 2^31 - 1
void mpi_alltoallv(Communicator& comm, std::span<const std::byte> send, std::span<const index_t> send_offsets,
                   std::span<std::byte> receive, std::span<const index_t> receive_offsets);

}  // namespace sy::comm

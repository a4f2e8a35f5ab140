#pragma once

#include <mpi.h>

#include <vector>

#include "comm/native_collectives.hpp"

namespace sy::comm {

/// The non-blocking collectives of the MPI library, on one of its communicators.
class MpiCollectives : public NativeCollectives {
  public:
    /// @param handle  borrowed; must outlive this; errors are returned
    explicit MpiCollectives(MPI_Comm handle);

    std::unique_ptr<Request> all_reduce(IntegerSpan values, ReduceOp op) override;
    std::unique_ptr<Request> exscan(IntegerSpan values) override;
    std::unique_ptr<Request> all_gather(std::span<std::byte> bytes,
                                        std::span<const index_t> offsets) override;
    std::unique_ptr<Request> barrier() override;
    std::string roll_call() override;

  private:
    class Operation;
    std::unique_ptr<Operation> begin(std::string_view call, std::span<std::byte> values);
    void begin_roll_call();
    /// Tells `rank`, once, in which operation this rank waits.
    void report_to(int rank);
    void hear_reports();

    MPI_Comm handle_;
    int rank_ = 0;
    int size_ = 1;
    std::int64_t num_started_ = 0;
    // The roll call, which the first report from another rank or a time-out of this one begins:
    const std::int64_t* waits_in_ = nullptr;  ///< the operation that this rank reports; null before
    std::vector<std::int64_t> heard_;         ///< by rank, the operation that it reports; 0 before
    std::vector<char> has_report_;            ///< by rank, whether it has been told
};

}  // namespace sy::comm

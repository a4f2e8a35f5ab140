#pragma once

#include <mpi.h>

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

  private:
    class Operation;
    std::unique_ptr<Operation> begin(std::string_view call, std::span<std::byte> values);

    MPI_Comm handle_;
    int size_ = 1;
    std::int64_t num_started_ = 0;
};

}  // namespace sy::comm

#include "comm/mpi/mpi_collectives.hpp"

#include <algorithm>

#include "comm/mpi/check.hpp"

namespace sy::comm {
namespace {

/// Sums are those of unsigned integers, which wrap around; maxima and minima need the sign.
MPI_Datatype mpi_type(IntegerType type, ReduceOp op) {
    switch (type) {
        case IntegerType::int32:
            return op == ReduceOp::sum ? MPI_UINT32_T : MPI_INT32_T;
        case IntegerType::int64:
            return op == ReduceOp::sum ? MPI_UINT64_T : MPI_INT64_T;
        case IntegerType::uint64:
            return MPI_UINT64_T;
    }
    SY_REQUIRE(false, "no such type of integers");
    return MPI_DATATYPE_NULL;
}

MPI_Op mpi_op(ReduceOp op) {
    switch (op) {
        case ReduceOp::sum:
            return MPI_SUM;
        case ReduceOp::max:
            return MPI_MAX;
        case ReduceOp::min:
            return MPI_MIN;
    }
    SY_REQUIRE(false, "no such operation");
    return MPI_OP_NULL;
}

int num_values(IntegerSpan values) {
    const std::size_t value_bytes = values.type == IntegerType::int32 ? 4 : 8;
    return narrow<int>(static_cast<index_t>(values.bytes.size() / value_bytes));
}

}  // namespace

/// A started operation, on a copy of its values: MPI has no way to stop a collective, so when a rank gives up waiting, the
/// memory that the library may still read and write must not be the caller's. It is then never freed; the job ends.
class MpiCollectives::Operation : public Request {
  public:
    /// What MPI uses until the operation is complete.
    struct Memory {
        std::vector<std::byte> values;
        std::vector<int> counts;
        std::vector<int> starts;
    };

    Operation(std::string description, std::span<std::byte> values)
        : description_(std::move(description)), values_(values), memory_(std::make_unique<Memory>()) {
        memory_->values.assign(values.begin(), values.end());
    }
    ~Operation() override {
        if (request_ == MPI_REQUEST_NULL) return;
        detail::report_dropped(*this);
        static_cast<void>(memory_.release());
    }

    bool test() override {
        if (request_ == MPI_REQUEST_NULL) return true;
        int done = 0;
        const int code = MPI_Test(&request_, &done, MPI_STATUS_IGNORE);
        if (code != MPI_SUCCESS) fail(code);
        if (done == 0) return false;
        std::ranges::copy(memory_->values, values_.begin());
        return true;
    }
    std::string description() const override { return description_; }

    Memory& memory() { return *memory_; }
    MPI_Request* request() { return &request_; }

  private:
    [[noreturn]] void fail(int code) {
        // Nobody knows what the library still does with it.
        static_cast<void>(memory_.release());
        request_ = MPI_REQUEST_NULL;
        try {
            SY_MPI(code);
        } catch (const CommError& error) {
            throw CommError(concat(description_, ": ", error.what()));
        }
        throw CommError(description_);
    }

    std::string description_;
    std::span<std::byte> values_;
    std::unique_ptr<Memory> memory_;
    MPI_Request request_ = MPI_REQUEST_NULL;
};

MpiCollectives::MpiCollectives(MPI_Comm handle) : handle_(handle) {
    SY_MPI(MPI_Comm_size(handle_, &size_));
}

std::unique_ptr<MpiCollectives::Operation> MpiCollectives::begin(std::string_view call,
                                                                 std::span<std::byte> values) {
    ++num_started_;
    return std::make_unique<Operation>(
        concat(call, " of ", values.size(), " bytes, collective operation ", num_started_), values);
}

std::unique_ptr<Request> MpiCollectives::all_reduce(IntegerSpan values, ReduceOp op) {
    auto operation = begin("MPI_Iallreduce", values.bytes);
    SY_MPI(MPI_Iallreduce(MPI_IN_PLACE, operation->memory().values.data(), num_values(values),
                          mpi_type(values.type, op), mpi_op(op), handle_, operation->request()));
    return operation;
}

std::unique_ptr<Request> MpiCollectives::exscan(IntegerSpan values) {
    auto operation = begin("MPI_Iexscan", values.bytes);
    SY_MPI(MPI_Iexscan(MPI_IN_PLACE, operation->memory().values.data(), num_values(values),
                       mpi_type(values.type, ReduceOp::sum), MPI_SUM, handle_, operation->request()));
    return operation;
}

std::unique_ptr<Request> MpiCollectives::all_gather(std::span<std::byte> bytes,
                                                    std::span<const index_t> offsets) {
    auto operation = begin("MPI_Iallgatherv", bytes);
    Operation::Memory& memory = operation->memory();
    for (std::size_t rank = 0; rank + 1 < offsets.size(); ++rank) {
        memory.starts.push_back(narrow<int>(offsets[rank]));
        memory.counts.push_back(narrow<int>(offsets[rank + 1] - offsets[rank]));
    }
    if (std::ranges::count(memory.counts, memory.counts.front()) == size_) {
        SY_MPI(MPI_Iallgather(MPI_IN_PLACE, 0, MPI_BYTE, memory.values.data(), memory.counts.front(),
                              MPI_BYTE, handle_, operation->request()));
    } else {
        SY_MPI(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_BYTE, memory.values.data(), memory.counts.data(),
                               memory.starts.data(), MPI_BYTE, handle_, operation->request()));
    }
    return operation;
}

std::unique_ptr<Request> MpiCollectives::barrier() {
    auto operation = begin("MPI_Ibarrier", {});
    SY_MPI(MPI_Ibarrier(handle_, operation->request()));
    return operation;
}

}  // namespace sy::comm

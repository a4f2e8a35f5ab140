#include <limits>
#include <optional>

#include "comm/collectives.hpp"
#include "comm/mpi/blocking_request.hpp"
#include "comm/mpi/check.hpp"
#include "comm/mpi/mpi_collectives.hpp"
#include "comm/mpi/mpi_roll_call.hpp"
#include "comm/mpi/mpi_session.hpp"
#include "comm/mpi/pieces.hpp"

namespace sy::comm {
namespace {

/// The pieces of one message (pieces.hpp). Sizes are checked when a piece arrives.
class MpiRequest : public BlockingRequest {
  public:
    MpiRequest(std::string description, bool receiving)
        : description_(std::move(description)), receiving_(receiving) {}
    ~MpiRequest() override {
        // Destructors never communicate: what is unfinished here belongs to a job that is being ended.
        if (next_ < pieces_.size()) detail::report_dropped(*this);
    }

    bool test() override {
        while (next_ < pieces_.size()) {
            int done = 0;
            MPI_Status status;
            const int code = MPI_Test(&pieces_[next_].request, &done, &status);
            if (code == MPI_SUCCESS && done == 0) return false;
            finish_piece(code, status);
        }
        return true;
    }
    void block() override {
        while (next_ < pieces_.size()) {
            MPI_Status status;
            const int code = MPI_Wait(&pieces_[next_].request, &status);
            finish_piece(code, status);
        }
    }
    std::string description() const override { return description_; }

    struct Piece {
        MPI_Request request = MPI_REQUEST_NULL;
        int bytes = 0;
    };
    std::vector<Piece>& pieces() { return pieces_; }

  private:
    void finish_piece(int code, const MPI_Status& status) {
        const Piece& piece = pieces_[next_++];
        int received = piece.bytes;
        if (code == MPI_SUCCESS && receiving_) SY_MPI(MPI_Get_count(&status, MPI_BYTE, &received));
        if (code == MPI_SUCCESS && received == piece.bytes) return;
        give_up();
        fail(code, piece.bytes, received);
    }

    [[noreturn]] void fail(int code, int expected, int received) const {
        int kind = MPI_SUCCESS;
        if (code != MPI_SUCCESS) SY_MPI(MPI_Error_class(code, &kind));
        if (kind == MPI_ERR_TRUNCATE) throw CommError(description_ + ": a longer message arrived");
        if (kind != MPI_SUCCESS) {
            try {
                SY_MPI(code);
            } catch (const CommError& error) {
                throw CommError(concat(description_, ": ", error.what()));
            }
        }
        throw CommError(concat(description_, ": a message with a piece of ", received, " bytes instead of ",
                               expected, " arrived"));
    }

    /// Takes back the receives of what will not be used, so that nothing is written into a buffer that is gone.
    void give_up() {
        for (; next_ < pieces_.size(); ++next_) {
            if (receiving_) SY_MPI(MPI_Cancel(&pieces_[next_].request));
            SY_MPI(MPI_Request_free(&pieces_[next_].request));
        }
    }

    std::string description_;
    bool receiving_;
    std::vector<Piece> pieces_;
    std::size_t next_ = 0;
};

class MpiCommunicator : public Communicator {
  public:
    /// @param owned  whether close() frees the handle
    MpiCommunicator(MPI_Comm handle, bool owned, Settings settings, index_t piece_bytes,
                    MpiCollectiveBody collectives)
        : handle_(handle), owned_(owned), settings_(std::move(settings)), piece_bytes_(piece_bytes) {
        SY_MPI(MPI_Comm_set_errhandler(handle_, MPI_ERRORS_RETURN));
        SY_MPI(MPI_Comm_rank(handle_, &rank_));
        SY_MPI(MPI_Comm_size(handle_, &size_));
        if (collectives == MpiCollectiveBody::library) collectives_.emplace(handle_);
    }

    int rank() const override { return rank_; }
    int size() const override { return size_; }
    const Settings& settings() const override { return settings_; }

    std::unique_ptr<Request> send(std::span<const std::byte> bytes, int destination, int tag) override {
        check(destination, tag);
        auto request = std::make_unique<MpiRequest>(
            concat("send of ", bytes.size(), " bytes to rank ", destination, ", tag ", tag), false);
        for_pieces(static_cast<index_t>(bytes.size()), [&](index_t offset, int count) {
            MpiRequest::Piece piece{MPI_REQUEST_NULL, count};
            SY_MPI(
                MPI_Isend(bytes.data() + offset, count, MPI_BYTE, destination, tag, handle_, &piece.request));
            request->pieces().push_back(piece);
        });
        return request;
    }

    std::unique_ptr<Request> receive(std::span<std::byte> bytes, int source, int tag) override {
        check(source, tag);
        auto request = std::make_unique<MpiRequest>(
            concat("receive of ", bytes.size(), " bytes from rank ", source, ", tag ", tag), true);
        for_pieces(static_cast<index_t>(bytes.size()), [&](index_t offset, int count) {
            MpiRequest::Piece piece{MPI_REQUEST_NULL, count};
            SY_MPI(MPI_Irecv(bytes.data() + offset, count, MPI_BYTE, source, tag, handle_, &piece.request));
            request->pieces().push_back(piece);
        });
        return request;
    }

    void poll() override {
        // Any call into the library moves everything on; nobody sends to oneself with this tag.
        int arrived = 0;
        SY_MPI(MPI_Iprobe(rank_, kMaxInternalTag, handle_, &arrived, MPI_STATUS_IGNORE));
    }

    NativeCollectives* native_collectives() override {
        check_open();
        return collectives_ ? &*collectives_ : nullptr;
    }

    std::unique_ptr<Communicator> split(int color, int key) override {
        check_open();
        SY_REQUIRE(color >= 0, settings_.name, ": split by colour ", color);
        // The library's own collectives know no deadline: a rank that does not come is noticed here.
        barrier(*this);
        MPI_Comm part = MPI_COMM_NULL;
        SY_MPI(MPI_Comm_split(handle_, color, key, &part));
        Settings settings = settings_;
        settings.name = concat(settings_.name, "/", color);
        return part_on(part, settings);
    }

    std::unique_ptr<Communicator> split_by_node() override {
        check_open();
        barrier(*this);
        MPI_Comm node = MPI_COMM_NULL;
        SY_MPI(MPI_Comm_split_type(handle_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
        Settings settings = settings_;
        settings.name = settings_.name + "/node";
        return part_on(node, settings);
    }

    void close() override {
        if (handle_ == MPI_COMM_NULL) return;
        if (owned_) {
            barrier(*this);
            SY_MPI(MPI_Comm_free(&handle_));
        }
        handle_ = MPI_COMM_NULL;
    }

    MPI_Comm handle() const { return handle_; }

  private:
    void check_open() const { SY_REQUIRE(handle_ != MPI_COMM_NULL, settings_.name, ": used after close"); }
    void check(int peer, int tag) const {
        check_open();
        detail::check_message(*this, peer, tag);
    }

    std::unique_ptr<Communicator> part_on(MPI_Comm handle, const Settings& settings) const {
        auto part = std::make_unique<MpiCommunicator>(
            handle, true, settings, piece_bytes_,
            collectives_ ? MpiCollectiveBody::library : MpiCollectiveBody::own);
        part->belong_with(*this);
        return part;
    }

    template <class Body>
    void for_pieces(index_t bytes, const Body& body) const {
        for (index_t i = 0; i < detail::num_pieces(bytes, piece_bytes_); ++i) {
            const Range piece = detail::piece_of(bytes, piece_bytes_, i);
            body(piece.begin, narrow<int>(piece.size()));
        }
    }

    MPI_Comm handle_;
    bool owned_;
    Settings settings_;
    index_t piece_bytes_;
    std::optional<MpiCollectives> collectives_;
    int rank_ = 0;
    int size_ = 1;
};

}  // namespace

std::unique_ptr<Communicator> MpiSession::world(Communicator::Settings settings, index_t piece_bytes,
                                                MpiCollectiveBody collectives) const {
    SY_REQUIRE(piece_bytes >= 1 && piece_bytes <= std::numeric_limits<int>::max(), "MPI: pieces of ",
               piece_bytes, " bytes; MPI counts them in an int");
    auto world = std::make_unique<MpiCommunicator>(MPI_COMM_WORLD, false, std::move(settings), piece_bytes,
                                                   collectives);
    world->set_roll_call(std::make_unique<MpiRollCall>());
    return world;
}

void mpi_alltoallv(Communicator& comm, std::span<const std::byte> send, std::span<const index_t> send_offsets,
                   std::span<std::byte> receive, std::span<const index_t> receive_offsets) {
    auto* const mpi = dynamic_cast<MpiCommunicator*>(&comm);
    if (mpi == nullptr)
        throw CommError("mpi_alltoallv: this communicator is not MPI's; start the program with mpirun");
    std::vector<int> counts[2];
    std::vector<int> starts[2];
    for (std::size_t rank = 0; rank + 1 < send_offsets.size(); ++rank) {
        counts[0].push_back(narrow<int>(send_offsets[rank + 1] - send_offsets[rank]));
        starts[0].push_back(narrow<int>(send_offsets[rank]));
        counts[1].push_back(narrow<int>(receive_offsets[rank + 1] - receive_offsets[rank]));
        starts[1].push_back(narrow<int>(receive_offsets[rank]));
    }
    SY_MPI(MPI_Alltoallv(send.data(), counts[0].data(), starts[0].data(), MPI_BYTE, receive.data(),
                         counts[1].data(), starts[1].data(), MPI_BYTE, mpi->handle()));
}

}  // namespace sy::comm
